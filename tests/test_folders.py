"""Folders for what is kept between calls: private, and none where none can be written."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshops.errors import InputError
from meshops.folders import check_temporary_folder, place_matplotlib, private_folder, writable

posix = pytest.mark.skipif(not hasattr(os, "getuid"), reason="needs owners and modes of files")


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    private_folder.cache_clear()
    yield tmp_path
    private_folder.cache_clear()


def nowhere() -> str:
    raise FileNotFoundError(2, "No usable temporary directory found in ['a', 'b']")


@posix
def test_the_folder_is_private_and_found_again(temporary: Path) -> None:
    folder = private_folder()
    assert folder is not None and folder.parent == temporary and folder.stat().st_mode & 0o777 == 0o700
    private_folder.cache_clear()
    assert private_folder() == folder


@posix
@pytest.mark.parametrize("trap", ["open to others", "a link", "a file", "of another user"])
def test_what_another_user_may_have_put_there_is_not_trusted(
    trap: str, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = temporary / f"meshops-{os.getuid()}"
    if trap == "open to others":
        place.mkdir()
        place.chmod(0o777)
    elif trap == "a link":
        (temporary / "elsewhere").mkdir(mode=0o700)
        place.symlink_to(temporary / "elsewhere")
    elif trap == "a file":
        place.write_text("")
    else:
        place.mkdir(mode=0o700)
        user = os.getuid()
        place.rename(temporary / f"meshops-{user + 1}")
        monkeypatch.setattr(os, "getuid", lambda: user + 1)
    assert private_folder() is None


def test_without_temporary_files_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", nowhere)
    assert private_folder() is None
    with pytest.raises(InputError, match=r"found in \['a', 'b'\]\); set the environment variable TMPDIR"):
        check_temporary_folder()


def test_a_folder_that_does_not_exist_is_judged_by_its_parents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    assert writable(str(tmp_path / "a" / "b")) and writable(str(tmp_path))
    assert not writable("~/.config") and not writable(str(tmp_path / "file"))
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert not writable(str(tmp_path / "a" / "b"))


@posix
def test_matplotlib_keeps_the_folder_of_the_user_where_it_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "matplotlib", raising=False)
    for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "MPLCONFIGDIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    place_matplotlib()
    assert "MPLCONFIGDIR" not in os.environ
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    (tmp_path / "file").write_text("")
    place_matplotlib()
    given = os.environ["MPLCONFIGDIR"]
    monkeypatch.setenv("MPLCONFIGDIR", given)  # taken away after the test
    assert given == str(private_folder() / "matplotlib")  # type: ignore[operator]
    monkeypatch.setenv("MPLCONFIGDIR", "mine")
    place_matplotlib()
    assert os.environ["MPLCONFIGDIR"] == "mine"
