"""Optional packages: the one place where one is imported."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

from meshops.errors import MissingPackageError


def require(name: str, *, extra: str, purpose: str = "this") -> ModuleType:
    """Import an optional package or say how to install it.

    Args:
        name: Module to import, such as ``"meshio"``.
        extra: The extra of meshops that installs it.
        purpose: What it is needed for, completing "... is needed for".

    Raises:
        MissingPackageError: The package is not installed. An error *inside* the package is not hidden.
    """
    if not available(name):
        raise MissingPackageError(
            f"{name} is needed for {purpose} and is not installed; run: pip install 'meshops[{extra}]'"
        )
    return importlib.import_module(name)


def available(name: str) -> bool:
    """True if the top-level package of ``name`` is installed."""
    return importlib.util.find_spec(name.partition(".")[0]) is not None
