"""``njit`` of kernels: compiled at the first call and kept on disk, wherever files can be written.

Numba keeps compiled code beside the source or in the user's cache folder. Where it can write to neither (installs by an
administrator, containers without a home) it refuses to define a function at all. A private folder among the temporary
files is used then; where there is none either, every process compiles for itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numba
from numba.core import config

from meshops.folders import private_folder

_LOCK = threading.Lock()


def njit(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """``numba.njit(cache=True, ...)`` that also works where Numba finds no place for its cache."""

    def decorate(function: Callable[..., Any]) -> Any:
        try:
            return numba.njit(cache=True, **options)(function)
        except RuntimeError:  # "no locator available"; any other comes again below
            pass
        folder = private_folder()
        if folder is not None:
            try:
                with _cache_in(folder / "numba"):
                    return numba.njit(cache=True, **options)(function)
            except RuntimeError:  # no longer writable
                pass
        return numba.njit(**options)(function)

    return decorate


def kept_in() -> str:
    """Where compiled kernels are kept, for ``meshops info``."""
    path = njit()(_nothing).stats.cache_path
    return "memory, compiled anew by every process: no folder can be written" if path is None else str(path)


def _nothing() -> None:
    """Stands beside the kernels, so that its code would be kept where theirs is."""


@contextmanager
def _cache_in(folder: Path) -> Iterator[None]:
    """Numba reads the folder when a function is defined; functions of others keep theirs."""
    with _LOCK:
        before = config.CACHE_DIR
        config.CACHE_DIR = str(folder)
        try:
            yield
        finally:
            config.CACHE_DIR = before
