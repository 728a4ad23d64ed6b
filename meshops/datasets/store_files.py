"""What lies where in a store, and its index; see :mod:`meshops.datasets.store`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from meshops.errors import InputError, MissingDataError
from meshops.io import read_json

NAME = "Store"
VERSION = 1
INDEX = "store.json"
BEGUN = "begun.json"
ADVICE = "make one with 'meshops data prepare ROOT --out STORE'"


def case_path(root: Path, index: int) -> Path:
    """Group of a case: by its number, so that names never become paths."""
    return root / "cases" / f"{index:06d}.zarr"


def read_index(root: Path) -> Mapping[str, Any]:
    """What the cases of a store share.

    Raises:
        MissingDataError: There is no store, or it is not finished.
        InputError: It is of another version, or damaged.
    """
    path = root / INDEX
    if not path.is_file():
        begun = (root / BEGUN).is_file()
        state = "the store is not finished; run the same 'meshops data prepare' again" if begun else ADVICE
        raise MissingDataError(f"{NAME}: no {path}: {state}")
    try:
        known: dict[str, Any] = read_json(path, "run the same 'meshops data prepare' again")
        version = known["version"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: damaged ({error}); run the same 'meshops data prepare' again") from None
    if version != VERSION:
        raise InputError(f"{path}: version {version} of a store, this meshops reads {VERSION}; prepare it again")
    return known
