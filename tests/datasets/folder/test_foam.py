"""Trees of OpenFOAM cases."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from meshops.datasets import FolderCases, guess_study
from meshops.datasets.folder.foam import body_patches


def scaled(text: str, factor: float, shift: float) -> str:
    """Values of an OpenFOAM field, one a line, times a factor plus a shift; counts stay."""

    def change(match: re.Match[str]) -> str:
        is_value = "." in match[0] or "-" in match[0]
        return f"{float(match[0]) * factor + shift}" if is_value else match[0]

    return re.sub(r"(?m)^-?\d+\.?\d*(e[-+]?\d+)?$", change, text)


@pytest.fixture
def tree(shared_data: Path, tmp_path: Path) -> Path:
    """Four cases at two speeds and two angles below each other, fields scaled, a table by path."""
    source = shared_data / "field" / "openfoam-patches" / "input" / "case"
    rows = ["case;U [m/s];drag"]
    for speed in (10, 20):
        for angle in (0, 5):
            case = tmp_path / f"U{speed}" / f"angle_{angle}"
            shutil.copytree(source, case)
            field = case / "100" / "pMean"
            field.chmod(0o644)
            field.write_text(scaled(field.read_text(), speed**2, angle))
            rows.append(f"U{speed}/angle_{angle};{speed};{speed * angle}")
    (tmp_path / "table.csv").write_text("\n".join(rows))
    return tmp_path


def test_the_walls_of_a_body_are_its_surface(tree: Path) -> None:
    study = guess_study(tree)
    assert study.layout == "openfoam" and study.region == "body_front,body_rear" and study.files == "U*/angle_*"
    data = study.open()
    assert isinstance(data, FolderCases) and len(data) == 4
    assert data.cases == ("U10/angle_0", "U10/angle_5", "U20/angle_0", "U20/angle_5")
    assert data[0].num_cells == 12 and data[0].normal.shape == (12, 3) and data.location == "cell"
    assert data.conditions_of(2) == {"angle": 0.0, "U": 20.0} and data.numbers_of(3) == {"drag": 100.0}
    assert any("time 100" in note for note in data.notes_of(0))


def test_the_volume_where_it_is_asked_for(tree: Path) -> None:
    from dataclasses import replace

    data = replace(guess_study(tree), region="").open()
    assert isinstance(data, FolderCases) and data[0].num_cells == 68


def test_bodies_and_grounds(shared_data: Path) -> None:
    field = shared_data / "field"
    assert body_patches(field / "openfoam-patches" / "input" / "case")[1] == ("body_front", "body_rear")
    assert body_patches(field / "volume-body" / "input" / "turned_tunnel")[1] == ("body",)
