"""Opening HDF5 files with messages a user can act on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from meshops.data.contained import check_hdf5
from meshops.data.hdf5_files import check_declared
from meshops.datasets.base import existing_file
from meshops.errors import InputError, MeshopsError, listing


@contextmanager
def opened(path: Path, name: str, advice: str) -> Iterator[Any]:
    """An open file; damage found while it is open becomes an ``InputError`` that names the file.

    Args:
        path: The file.
        name: Of the dataset, for messages.
        advice: What to download and where from.
    """
    import h5py  # takes a tenth of a second

    existing_file(path, name, advice)
    try:
        check_hdf5(path)
        with h5py.File(path, "r") as file:
            yield file
    except MeshopsError:
        raise
    except Exception as error:  # h5py raises KeyError, RuntimeError and others on damage
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise InputError(
            f"{path}: cannot be read as HDF5 ({reason}); the file is truncated or damaged, download it again"
        ) from None


def entry(group: Any, key: str, path: Path) -> Any:
    """``group[key]``, or an ``InputError`` that says which entries there are."""
    if key not in group:
        raise InputError(
            f"{path}: no entry '{key}' in '{group.name}'; it holds {listing(sorted(group))}. "
            "Is it a file of this dataset?"
        )
    found = group[key]
    check_declared(found, path)
    return found


def attribute(group: Any, key: str, path: Path) -> Any:
    """Attribute of a group, bytes decoded; or an ``InputError`` that says which there are."""
    if key not in group.attrs:
        raise InputError(f"{path}: '{group.name}' has no attribute '{key}'; it has {listing(sorted(group.attrs))}")
    return text(group.attrs[key])


def text(value: Any) -> Any:
    """Strings for bytes, lists for arrays."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, np.ndarray):
        return [text(v) for v in value.tolist()]
    return value.item() if isinstance(value, np.generic) else value


def read(dataset: Any, place: Any, path: Path) -> Tensor:
    """Part of a dataset as float32."""
    try:
        return torch.from_numpy(np.asarray(dataset[place], dtype=np.float32))
    except (OSError, RuntimeError) as error:
        raise InputError(f"{path}: '{dataset.name}' cannot be read ({error}); download the file again") from None
