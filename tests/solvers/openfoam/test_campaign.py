"""Many bodies: what is done is kept, what is half written is made anew, what fails is named; without OpenFOAM."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from meshops.cli.main import main
from meshops.errors import InputError
from meshops.solvers.openfoam import campaign
from meshops.solvers.openfoam.campaign import generate_ahmed
from meshops.solvers.openfoam.layout import Coefficients
from tests.solvers.openfoam.test_programs import bin_folder, script

__all__ = ["bin_folder"]
STEADY = """mkdir -p postProcessing/forces/0
i=1; while [ $i -le 31 ]; do echo "$i (0.02 0 0)" >> postProcessing/forces/0/force.dat
echo "Time = $i"; echo "x:  Solving for p, Initial residual = 1e-5, Final"; i=$((i + 1)); done"""


@pytest.fixture
def foam(bin_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Programs that do nothing, and a solver that settles at once; what is read of the mesh is left out."""

    def write_run(folder: Path, number: int, *args: Any, **kwargs: Any) -> Coefficients:
        folder.mkdir()
        (folder / f"boundary_{number}.vtp").write_text("whole")
        return Coefficients(0.3, 0.1, type("F", (), {"cd": 0.3})(), 100)  # type: ignore[arg-type]

    monkeypatch.setattr(campaign, "write_run", write_run)
    for name in ("blockMesh", "snappyHexMesh"):
        script(bin_folder, name, "true")
    script(bin_folder, "simpleFoam", STEADY)
    return bin_folder


def test_a_second_call_adds_what_is_missing_and_makes_half_written_ones_anew(foam: Path, tmp_path: Path) -> None:
    root = tmp_path / "bodies"
    first = generate_ahmed(root, num=2, jobs=2)
    assert [row["state"] for row in first.values()] == ["done", "done"]
    kept = (root / "run_1" / "boundary_1.vtp").stat().st_mtime_ns
    (root / ".work" / "run_3").mkdir(parents=True)
    (root / ".work" / "run_3" / "half").write_text("written")
    (root / "run_2" / "boundary_2.vtp").unlink()
    (root / "run_2").rmdir()
    told: list[str] = []
    found = generate_ahmed(root, num=3, told=lambda name, row: told.append(name))
    assert told == ["run_2", "run_3"]
    assert [row["state"] for row in found.values()] == ["done"] * 3
    assert (root / "run_1" / "boundary_1.vtp").stat().st_mtime_ns == kept
    assert sorted(path.name for path in root.iterdir()) == ["generate.json", "run_1", "run_2", "run_3"]


def test_a_failed_mesh_and_a_diverged_flow_are_named_and_left_out(
    foam: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "bodies"
    script(foam, "snappyHexMesh", "case $PWD in *run_1) echo 'no cells left'; exit 1;; esac")
    script(foam, "simpleFoam", f"case $PWD in *run_2) sleep 30;; esac\n{STEADY.replace('0.02 0 0', 'nan 0 0')}")
    given = ["generate", "ahmed", "--num", "3", "--out", str(root), "--timeout", "1"]
    assert main([*given, "--keep", str(tmp_path / "cases")]) == 1
    told = capsys.readouterr().out
    assert "0 of 3 bodies" in told
    assert "3 refused (run_1, run_2, run_3)" in told
    reasons = {name: row["reason"] for name, row in json.loads((root / "generate.json").read_text())["cases"].items()}
    assert "no cells left" in reasons["run_1"]
    assert "simpleFoam ran past its limit of 1 s" in reasons["run_2"]
    assert reasons["run_3"].startswith("diverged")
    assert sorted(path.name for path in root.iterdir()) == ["generate.json"]
    assert (tmp_path / "cases" / "run_1" / "log.snappyHexMesh").is_file()
    script(foam, "snappyHexMesh", "true")
    script(foam, "simpleFoam", STEADY)
    assert main(given) == 1  # what was refused stays so
    assert main([*given, "--retry"]) == 0
    assert (root / "run_1").is_dir()


def test_other_settings_and_other_folders_are_refused(foam: Path, tmp_path: Path) -> None:
    root = tmp_path / "bodies"
    generate_ahmed(root, num=1)
    with pytest.raises(InputError, match=r"other settings.*seed 0, now 1"):
        generate_ahmed(root, num=1, seed=1)
    with pytest.raises(InputError, match="cells 25000, now 9000"):
        generate_ahmed(root, num=1, settings=campaign.AhmedSettings(cells=9000))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "data.csv").write_text("1")
    with pytest.raises(InputError, match="it is not ours"):
        generate_ahmed(tmp_path / "mine", num=1)
    with pytest.raises(InputError, match="jobs must be at least 1"):
        generate_ahmed(root, num=1, jobs=0)


def test_a_stop_ends_the_programs_and_leaves_what_is_done(foam: Path, tmp_path: Path) -> None:
    root = tmp_path / "bodies"
    script(foam, "simpleFoam", f"case $PWD in *run_1) ;; *) sleep 60;; esac\n{STEADY}")

    def stop(name: str, row: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate_ahmed(root, num=3, jobs=2, told=stop)
    assert (root / "run_1").is_dir()
    assert sorted(json.loads((root / "generate.json").read_text())["cases"]) == ["run_1"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--range", "slant_angle"], "--range is NAME=LOW:HIGH"),
        (["--range", "slant_angle=30:20"], "--range is NAME=LOW:HIGH"),
        (["--cells", "3"], "cells must be at least 2000"),
        ([], "give --out FOLDER"),
    ],
)
def test_options_that_make_no_sense(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", "nowhere"] if words else []
    assert main(["generate", "ahmed", *words, *out]) == 2
    assert told in capsys.readouterr().err
    assert main(["generate", "--num", "1", "ahmed", "--out", "x"]) == 2
    assert "the name comes first" in capsys.readouterr().err
