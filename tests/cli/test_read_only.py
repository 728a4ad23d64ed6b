"""The verbs run where neither the install nor the home can be written, as for users of containers and clusters."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numba
import pytest
import pyvista as pv

PACKAGE = Path(__file__).resolve().parents[2] / "meshops"
SITE = Path(numba.__file__).parents[1]
NOBODY = "65534"
OTHER_USER = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
NO_PRIVILEGES = ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner"]
"""Still the administrator, but bound by the modes of files."""

Run = Callable[..., "subprocess.CompletedProcess[str]"]

pytestmark = pytest.mark.skipif(not hasattr(os, "getuid"), reason="needs users and modes of files")


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A read-only copy of the package, a read-only home, a folder for temporary files and one for results."""
    place = Path(tempfile.mkdtemp())  # not one of pytest's, which other users cannot enter
    shutil.copytree(PACKAGE, place / "install" / "meshops", ignore=shutil.ignore_patterns("__pycache__"))
    (place / "home").mkdir()
    for path in (place, *place.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    place.chmod(0o755)
    for name in ("temporary", "results"):
        (place / name).mkdir()
        (place / name).chmod(0o777)
    yield place
    for path in (place, *place.rglob("*")):
        if path.is_dir() and path.stat().st_uid == os.getuid():
            path.chmod(0o755)
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture(scope="module")
def run(place: Path) -> Run:
    """Run Python as a user who can write to two folders only; skips where no such user can be had."""
    environment = {
        "PATH": os.environ.get("PATH", os.defpath), "HOME": str(place / "home"), "TMPDIR": str(place / "temporary"),
        "PYTHONPATH": os.pathsep.join([str(place / "install"), str(SITE)]), "OMP_NUM_THREADS": "1",
    }  # fmt: skip

    def run(user: list[str], *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*user, *arguments], env=environment, cwd=place / "results", capture_output=True, text=True, timeout=500
        )

    def works(user: list[str]) -> bool:
        """It can run Python and the packages, but not write to the home and the install."""
        closed = [str(place / "home"), str(place / "install" / "meshops")]
        script = f"import os, numba; print([os.access(folder, os.W_OK) for folder in {closed!r}])"
        try:
            return "[False, False]" in run(user, "-c", script).stdout
        except OSError:  # there is no setpriv
            return False

    users = [[sys.executable]]
    if os.getuid() == 0:
        system = shutil.which(f"python{sys.version_info.major}.{sys.version_info.minor}", path=os.defpath)
        users = [[*OTHER_USER, python] for python in (sys.executable, system) if python]
        users.append([*NO_PRIVILEGES, sys.executable])
    for user in users:
        if works(user):
            return lambda *arguments: run(user, *arguments)
    pytest.skip("needs a user without privileges (by setpriv for the administrator) who can run this Python")


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_compiled_kernels_run_and_are_kept(run: Run, place: Path) -> None:
    pv.Sphere().save(str(place / "results" / "shape.stl"))
    before = files(place / "install"), files(place / "home")
    process = run("-m", "meshops", "partition", "shape.stl", "--out", "patches.vtp")
    assert process.returncode == 0, process.stderr
    assert (place / "results" / "patches.vtp").exists() and process.stderr == ""
    assert list((place / "temporary").glob("meshops-*/numba/*/*.nbi"))
    assert (files(place / "install"), files(place / "home")) == before


def test_info_says_where_they_are_kept(run: Run, place: Path) -> None:
    process = run("-m", "meshops", "info", "--json")
    assert process.returncode == 0 and process.stderr == "", process.stderr
    assert json.loads(process.stdout)["compiled in"].startswith(str(place / "temporary"))


def test_matplotlib_is_quiet(run: Run) -> None:
    script = "from meshops.cli.main import main; main(['predict', '--help']); import matplotlib.font_manager"
    for _ in range(2):
        process = run("-c", script)
        assert process.returncode == 0
    assert process.stderr == ""  # the first time it may say that it looks for fonts


@pytest.mark.parametrize("verb", ["demo", "train", "evaluate", "predict", "compress", "generate", "data", "bench"])
def test_every_verb_starts(verb: str, run: Run) -> None:
    process = run("-m", "meshops", verb, "--help")
    assert process.returncode == 0 and process.stderr == "" and "usage" in process.stdout
