"""``meshops fit`` as it is called: a folder, a study, another start, what is refused, how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import pyvista as pv

from meshops.cli.main import main


def bumps(folder: Path, count: int = 10, *, table: bool = True, broken: bool = False) -> Path:
    """A bump on one plane mesh whose place follows an angle, with a table of angles and lifts."""
    folder.mkdir()
    plane = pv.Plane(i_resolution=14, j_resolution=10).triangulate()
    rng = np.random.default_rng(1)
    rows = ["case,angle [deg],lift"]
    for i in range(count):
        angle = float(rng.uniform(-5, 5))
        mesh = plane.cast_to_unstructured_grid()
        x, y = mesh.points[:, 0], mesh.points[:, 1]
        mesh.point_data["p"] = np.exp(-((x - 0.05 * angle) ** 2 + y**2) / 0.05)
        mesh.save(folder / f"case_{i}.vtu")
        rows.append(f"case_{i},{angle:.6f},{2 * angle + 1:.6f}")
    if broken:
        (folder / "case_99.vtu").write_bytes(b"<VTKFile type='UnstructuredGrid'")
    if table:
        (folder / "parameters.csv").write_text("\n".join(rows) + "\n")
    return folder


def fitted(data: Path, out: Path, *more: str) -> int:
    return main(["fit", str(data), "--out", str(out), "--minutes", "0.2", "--networks", "none", *more])


def test_two_commands_and_a_prediction_at_a_new_angle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, out = bumps(tmp_path / "runs"), tmp_path / "fit"
    assert main(["look", str(data), "--out", str(tmp_path / "look")]) == 0
    assert fitted(tmp_path / "look" / "study.yaml", out) == 0
    told = capsys.readouterr()
    assert "angle [deg]" in told.err and "chosen: " in told.out
    for name in ("model.ckpt", "metrics.json", "report.html", "study.yaml"):
        assert (out / name).is_file(), name
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["mean"]["p_rel_l2"] < 0.05 < metrics["baselines"]["average"]["p_rel_l2"]
    assert main(["predict", str(out / "model.ckpt"), "--set", "angle=2", "--out", str(tmp_path / "p"), "--json"]) == 0
    found = next(iter(json.loads(capsys.readouterr().out).values()))
    lift = found["numbers"]["lift"]
    assert lift["value"] == pytest.approx(5, abs=0.2) and lift["low"] <= lift["value"] <= lift["high"]
    assert 0.8 <= lift["level"] <= 0.9
    written = pv.read(next((tmp_path / "p").glob("*_predicted.vtu")))
    x, y = written.points[:, 0], written.points[:, 1]
    np.testing.assert_allclose(written.point_data["p_predicted"], np.exp(-((x - 0.1) ** 2 + y**2) / 0.05), atol=0.1)


def test_one_bad_case_is_left_out_and_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = bumps(tmp_path / "runs", broken=True)
    assert fitted(data, tmp_path / "fit") == 0
    assert "case_99" in capsys.readouterr().err
    assert "case_99" in (tmp_path / "fit" / "report.html").read_text()


def test_few_cases_say_that_only_yardsticks_were_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fitted(bumps(tmp_path / "runs", 3), tmp_path / "fit") == 0
    assert "3 cases are too few to choose a model by" in capsys.readouterr().err


def test_a_fit_is_not_overwritten_and_can_be_resumed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, out = bumps(tmp_path / "runs"), tmp_path / "fit"
    assert fitted(data, out) == 0
    assert fitted(data, out) == 2
    assert "holds a fit already" in capsys.readouterr().err
    assert fitted(data, out, "--resume") == 0
    assert fitted(data, out, "--overwrite") == 0


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda folder: folder.mkdir(), "found no files"),
        (lambda folder: None, "no folder"),
        (lambda folder: (folder.mkdir(), (folder / "notes.txt").write_text("x")), ".txt"),
    ],
)
def test_folders_without_cases_say_what_was_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], prepare: object, message: str
) -> None:
    prepare(tmp_path / "runs")  # type: ignore[operator]
    assert fitted(tmp_path / "runs", tmp_path / "fit") == 2
    told = capsys.readouterr().err
    assert message in told and len(told.strip().splitlines()) <= 4, told
    assert not (tmp_path / "fit").exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = bumps(tmp_path / "runs")
    (tmp_path / "file").write_text("x")
    assert fitted(data, tmp_path / "file" / "fit") == 2
    assert "choose another --out" in capsys.readouterr().err
