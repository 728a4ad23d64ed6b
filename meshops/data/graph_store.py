"""A graph as a group of Zarr arrays (format 3): read whole, or some of its rows without the rest.

Arrays with a row per node lie in chunks of :data:`ROWS` rows, many chunks to a file. A group is written under another
name and renamed, so that a group that is there is whole; its digest tells damage that came later.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from meshops.data.hdf5_files import MOST_PACKED, MOST_UNSTORED
from meshops.data.mesh_graph import MeshGraph
from meshops.errors import InputError
from meshops.io import replacing_folder
from meshops.optional import require

ROWS = 16_384  # of a chunk
CHUNKS = 64  # of a file
ATTRIBUTES = "meshops"
Plain = Any


def zarr_module() -> Any:
    """The zarr package.

    Raises:
        MissingPackageError: It is not installed.
    """
    return require("zarr", extra="store", purpose="a store of prepared cases")


def write_graph(path: Path, graph: MeshGraph, more: Mapping[str, Plain] | None = None) -> str:
    """Write a graph; returns its digest.

    Args:
        path: Folder of the group; what is there is replaced.
        graph: Tensors, and attributes that are plain values.
        more: Plain values that are kept beside it.
    """
    zarr, tensors, plain = zarr_module(), {}, {}
    for key, value in graph.to_dict().items():
        if isinstance(value, Tensor):
            tensors[key] = value.detach().cpu().contiguous().numpy()
        elif value is not None:
            plain[key] = value
    told = {"plain": plain, "tuples": [k for k, v in plain.items() if isinstance(v, tuple)], "more": dict(more or {})}
    digest = _digest(tensors, told)
    with replacing_folder(path) as partial:
        group = zarr.open_group(str(partial), mode="w", zarr_format=3)
        for key, array in tensors.items():
            _write_array(group, key, array)
        group.attrs[ATTRIBUTES] = {**told, "digest": digest, "order": list(tensors)}
        if path.exists():
            _remove(path)
    return digest


def read_graph(path: Path, *, check: bool = False) -> tuple[MeshGraph, dict[str, Plain]]:
    """The graph of a group, and what is kept beside it.

    Args:
        path: Folder of the group.
        check: Compare the digest too.

    Raises:
        InputError: It is missing or damaged.
    """
    group, told = opened(path)
    try:
        tensors = {key: np.asarray(_checked(group, key, path)[...]) for key in told["order"]}
    except Exception as error:  # zarr and its codecs raise many kinds
        raise _damaged(path, error) from None
    if check and _digest(tensors, {key: told[key] for key in ("plain", "tuples", "more")}) != told["digest"]:
        raise InputError(f"{path}: its content is not what was written; remove it and prepare the store again")
    out = MeshGraph(**{key: torch.from_numpy(array) for key, array in tensors.items()})
    for key, value in told["plain"].items():
        out[key] = _tupled(value) if key in told["tuples"] else value
    return out, told["more"]


def read_rows(path: Path, keys: tuple[str, ...], rows: slice) -> dict[str, Tensor]:
    """Consecutive rows of some arrays; those that are not there are left out.

    Raises:
        InputError: The group is missing or damaged.
    """
    group, told = opened(path)
    try:
        return {
            key: torch.from_numpy(np.asarray(_checked(group, key, path)[rows])) for key in keys if key in told["order"]
        }
    except Exception as error:
        raise _damaged(path, error) from None


def opened(path: Path) -> tuple[Any, dict[str, Any]]:
    """A group and its attributes.

    Raises:
        InputError: It is missing or damaged.
    """
    zarr = zarr_module()
    try:
        group = zarr.open_group(str(path), mode="r", zarr_format=3)
        return group, dict(group.attrs[ATTRIBUTES])
    except Exception as error:
        raise _damaged(path, error) from None


def _checked(group: Any, key: str, path: Path) -> Any:
    """An array that does not declare far more than its files hold."""
    array = group[key]
    stored = sum(file.stat().st_size for file in (path / array.path).rglob("*") if file.is_file())
    if array.nbytes > MOST_UNSTORED + MOST_PACKED * stored:
        raise ValueError(f"'{key}' declares {array.nbytes} bytes and stores {stored}")
    return array


def _write_array(group: Any, key: str, array: np.ndarray[Any, Any]) -> None:
    chunks = (min(ROWS, max(1, len(array))), *(max(1, n) for n in array.shape[1:])) if array.ndim else ()
    shards = (chunks[0] * min(CHUNKS, -(-max(1, len(array)) // chunks[0])), *chunks[1:]) if array.ndim else None
    made = group.create_array(key, shape=array.shape, dtype=array.dtype, chunks=chunks or "auto", shards=shards)
    if array.size:
        made[...] = array


def _digest(tensors: Mapping[str, np.ndarray[Any, Any]], told: Mapping[str, Any]) -> str:
    found = hashlib.sha256(json.dumps(told, sort_keys=True, default=list).encode())
    for key, array in tensors.items():
        found.update(f"{key} {array.dtype.str} {array.shape}".encode())
        found.update(np.ascontiguousarray(array).data.cast("B") if array.size else b"")
    return found.hexdigest()


def _tupled(value: Any) -> Any:
    return tuple(_tupled(v) for v in value) if isinstance(value, list) else value


def _damaged(path: Path, error: Exception) -> InputError:
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:160]
    return InputError(f"{path}: missing or damaged ({reason}); remove it and prepare the store again, the rest is kept")


def _remove(path: Path) -> None:
    import shutil

    shutil.rmtree(path)
