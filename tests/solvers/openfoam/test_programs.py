"""Programs that fail, hang, are missing or are stopped, with shell scripts in their place."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from meshops.errors import MissingPackageError
from meshops.solvers.openfoam.programs import FoamError, FoamStopped, find_programs


def script(folder: Path, name: str, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


def test_what_is_missing_is_named_with_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(tmp_path, "blockMesh", "true")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingPackageError, match=r"snappyHexMesh, simpleFoam are not on the PATH.*apt-get install"):
        find_programs()


def test_a_failure_shows_the_last_lines_of_the_log(bin_folder: Path, tmp_path: Path) -> None:
    script(bin_folder, "blockMesh", 'echo one; echo "FOAM FATAL ERROR: no such patch"; exit 3')
    with pytest.raises(FoamError, match=r"code 3(.|\n)*no such patch"):
        find_programs(("blockMesh",)).run("blockMesh", tmp_path)


def test_a_program_that_hangs_is_ended_with_its_children(bin_folder: Path, tmp_path: Path) -> None:
    script(bin_folder, "simpleFoam", "sleep 60 & echo $! > child; wait")
    began = time.monotonic()
    with pytest.raises(FoamError, match=r"past its limit of 0.5 s"):
        find_programs(("simpleFoam",)).run("simpleFoam", tmp_path, timeout=0.5)
    assert time.monotonic() - began < 10
    assert gone(int((tmp_path / "child").read_text()))


def test_a_stop_ends_what_runs(bin_folder: Path, tmp_path: Path) -> None:
    script(bin_folder, "simpleFoam", "sleep 60 & echo $! > child; wait")
    programs = find_programs(("simpleFoam",))
    threading.Timer(0.5, programs.stop.set).start()
    with pytest.raises(FoamStopped):
        programs.run("simpleFoam", tmp_path)
    assert gone(int((tmp_path / "child").read_text()))


def gone(process: int) -> bool:
    """Whether a process has ended, or is only waited for."""
    for _ in range(50):
        try:
            os.kill(process, 0)
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except (ProcessLookupError, FileNotFoundError):
            return True
        if state == "Z":
            return True
        time.sleep(0.1)
    return False
