"""``njit`` that works wherever files cannot be written; what a real read-only install does is in ``tests/cli``."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numba
import pytest
from numba.core import config

from meshops.ops.kernels import compile as compiling

PACKAGE = Path(compiling.__file__).parents[2]


def twice(x: float) -> float:
    return 2 * x


@pytest.fixture
def no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numba finds no place but a folder that it is given."""

    def njit(**options: Any) -> Any:
        if options.get("cache") and (not config.CACHE_DIR or Path(config.CACHE_DIR).is_file()):
            raise RuntimeError("cannot cache function 'twice': no locator available for file 'twice.py'")
        return numba.njit(**options)

    monkeypatch.setattr(config, "CACHE_DIR", "")
    monkeypatch.setattr(compiling, "numba", SimpleNamespace(njit=njit))  # Numba uses its own when it compiles


@pytest.mark.usefixtures("no_place")
def test_code_is_kept_among_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "private_folder", lambda: tmp_path)
    function = compiling.njit(nogil=True)(twice)
    assert function(4.0) == 8.0 and function.targetoptions["nogil"]
    assert list((tmp_path / "numba").rglob("*.nbi")) and compiling.kept_in().startswith(str(tmp_path / "numba"))
    assert config.CACHE_DIR == ""  # that of other packages stays
    again = compiling.njit(nogil=True)(twice)
    assert again(4.0) == 8.0 and sum(again.stats.cache_hits.values()) == 1


@pytest.mark.usefixtures("no_place")
@pytest.mark.parametrize("there", [False, True])
def test_without_any_folder_code_is_kept_in_memory(
    there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    (tmp_path / "numba").write_text("")  # so that nothing can be written below
    monkeypatch.setattr(compiling, "private_folder", lambda: tmp_path if there else None)
    function = compiling.njit()(twice)
    assert function(4.0) == 8.0
    assert [str(item.message) for item in recwarn if "cache" in str(item.message)] == []
    assert function.stats.cache_path is None and compiling.kept_in().startswith("memory")


def test_other_errors_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def njit(**_: Any) -> Any:
        raise RuntimeError("broken")

    monkeypatch.setattr(compiling, "numba", SimpleNamespace(njit=njit))  # Numba uses its own when it compiles
    monkeypatch.setattr(compiling, "private_folder", lambda: None)
    with pytest.raises(RuntimeError, match="broken"):
        compiling.njit()(twice)


def test_every_kernel_is_compiled_through_it() -> None:
    files = [path for path in PACKAGE.rglob("*.py") if path.name != "compile.py"]
    found = [path for path in files if "numba.njit" in path.read_text(encoding="utf-8")]
    found += [path for path in files if "from numba import njit" in path.read_text(encoding="utf-8")]
    assert found == []
