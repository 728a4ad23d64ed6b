"""Arrays in files of NumPy, HDF5, MATLAB and CSV: what there is, and one slice of it."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from meshops.data.contained import check_hdf5
from meshops.data.hdf5_files import is_hdf5
from meshops.datasets.formats.npy_rows import NpzRows, check_mat
from meshops.errors import InputError, MissingDataError

SUFFIXES = (".npy", ".npz", ".h5", ".hdf5", ".hdf", ".mat", ".csv", ".txt", ".dat")
MOST_VALUES = 2**31
MOST_TEXT = 512 * 1024**2
Array = np.ndarray[Any, Any]


@contextmanager
def said(path: Path) -> Iterator[None]:
    """Turn whatever a parser of a damaged file raises into an ``InputError`` that names it."""
    try:
        yield
    except InputError:
        raise
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise MissingDataError(f"{path}: no such file; correct the entry 'snapshots'") from error
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); export or copy it again") from error
    except Exception as error:  # parsers raise anything on damage
        reason = " ".join(f"{type(error).__name__} {error}".split())[:150]
        raise InputError(f"{path}: cannot be read, damaged or no plain numbers ({reason}); export it again") from error


def shapes_in(path: Path) -> dict[str, tuple[int, ...]]:
    """Shape of each array of numbers in a file, by its key; empty key: the only one.

    Raises:
        InputError: It cannot be read.
    """
    with said(path):
        return dict(_shapes(path, path.suffix.lower()))


def _shapes(path: Path, suffix: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    if suffix == ".npz":
        with NpzRows(path) as archive:
            for name in archive.names:
                member = archive.member(name)
                if member.dtype.kind in "fiub":
                    yield name, member.shape
    elif suffix in (".h5", ".hdf5", ".hdf") or (suffix == ".mat" and is_hdf5(path)):
        yield from _hdf5_shapes(path)
    elif suffix == ".mat":
        from scipy.io import whosmat

        for name, shape, kind in whosmat(str(path)):
            if kind in ("double", "single", "logical") or kind.startswith(("int", "uint")):
                yield name, tuple(shape)
    else:
        array = whole(path, "")
        yield "", array.shape


def _hdf5_shapes(path: Path) -> list[tuple[str, tuple[int, ...]]]:
    import h5py

    out: list[tuple[str, tuple[int, ...]]] = []

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.dtype.kind in "fiub" and not name.startswith("#"):
            out.append((name, tuple(item.shape)))

    check_hdf5(path)
    with h5py.File(path, "r") as file:
        file.visititems(visit)
    return out


def take(path: Path, key: str, axis: int | None, row: int) -> Array:
    """An array, or of its ``axis`` the entry ``row``.

    Raises:
        InputError: It cannot be read, or has no such array.
    """
    with said(path):
        suffix = path.suffix.lower()
        if suffix in (".h5", ".hdf5", ".hdf") or (suffix == ".mat" and is_hdf5(path)):
            import h5py

            check_hdf5(path)
            with h5py.File(path, "r") as file:
                if key not in file:
                    raise InputError(f"{path}: no array '{key}'; correct the entry 'snapshots'")
                item = file[key]
                _check_size(item.shape if axis is None else np.delete(item.shape, axis), path)
                index = tuple(row if i == axis else slice(None) for i in range(item.ndim))
                return np.asarray(item[index])
        array = whole(path, key)
        return np.asarray(array if axis is None else array.take(row, axis=axis))


def whole(path: Path, key: str) -> Array:
    """A whole array; files of NumPy stay on disk, others are kept for the next call."""
    if path.suffix.lower() == ".npy":
        array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
        return array
    return _kept(str(path), key, path.stat().st_mtime)


@lru_cache(maxsize=8)
def _kept(name: str, key: str, stamp: float) -> Array:
    del stamp
    path = Path(name)
    suffix = path.suffix.lower()
    if suffix == ".npz":
        with NpzRows(path) as archive:
            shape = archive.member(key).shape
            return archive.rows(key, 0, shape[0]) if shape else archive.whole(key)
    if suffix == ".mat":
        from scipy.io import loadmat

        check_mat(path)
        found = loadmat(str(path), variable_names=[key])
        if key not in found:
            raise InputError(f"{path}: no array '{key}'; correct the entry 'snapshots'")
        return np.asarray(found[key])
    return _text(path)


def _text(path: Path) -> Array:
    """A matrix of numbers in a text file, with or without a header line."""
    if path.stat().st_size > MOST_TEXT:
        raise InputError(f"{path}: larger than {MOST_TEXT // 1024**2} MB of text; give the array as .npy")
    with path.open(newline="", encoding="utf-8-sig") as file:
        first = file.readline()
        mark = next((mark for mark in (";", "\t", ",") if mark in first), None)
        cells = next(csv.reader([first], delimiter=mark)) if mark else first.split()
        header = not all(_is_number(cell) for cell in cells if cell.strip())
    return np.loadtxt(path, delimiter=mark, skiprows=int(header), ndmin=2, encoding="utf-8-sig")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _check_size(shape: Any, path: Path) -> None:
    if float(np.prod(np.asarray(shape, dtype=np.float64))) > MOST_VALUES:
        raise InputError(f"{path}: declares an array of shape {tuple(shape)}, too large for one case")
