"""Arrays of the Geo-FNO benchmarks on disk (.npy, MATLAB v5 and v7.3), their splits, and structured grids as graphs."""

from __future__ import annotations

import functools
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from meshops.data.contained import check_hdf5
from meshops.data.hdf5_files import is_hdf5
from meshops.data.mesh_graph import MeshGraph
from meshops.datasets.base import existing_file, existing_root, one_of
from meshops.datasets.formats.hdf5 import entry, opened
from meshops.datasets.formats.npy_rows import check_mat
from meshops.errors import InputError, MissingDataError, listing

Array = np.ndarray[Any, Any]

SPLITS = ("train", "test", "all")
VTK_QUAD = 9
# What SciPy raises on a truncated or foreign .mat file, depending on where it breaks.
DAMAGE = (ValueError, TypeError, LookupError, OSError, EOFError, NotImplementedError, struct.error, zlib.error)


def find_folder(root: str | Path, folders: tuple[str, ...], files: tuple[str, ...], name: str, advice: str) -> Path:
    """First of ``root`` and the usual folders below it that holds one of ``files``.

    Raises:
        MissingDataError: None does; says where it was looked and what to download.
    """
    path = existing_root(root, name, advice)
    places = (path, *(path / folder for folder in folders))
    for place in places:
        if any((place / file).is_file() for file in files):
            return place
    looked = listing(str(place.relative_to(path)) for place in places)
    raise MissingDataError(f"{name}: no file {' or '.join(files)} in {path} (folders {looked}); {advice}")


def choose(
    split: str, total: int, *, num_train: int, num_test: int, last: bool, what: str, apart: bool = False
) -> range:
    """Samples of a split, in the order of the file.

    Args:
        split: ``"train"`` takes the first ``num_train``, ``"test"`` see ``last``, ``"all"`` all.
        total: Samples in the file.
        num_train: Samples to train on.
        num_test: Samples to test on.
        last: Test on the last samples; else on those that follow the training samples.
        what: Dataset and file, for the message.
        apart: Train and test samples are in files of their own: each takes the first of its file.

    Raises:
        InputError: Unknown split, a number below 1, or the file holds too few samples.
    """
    one_of(f"{what}: split", split, SPLITS)
    if num_train < 1 or num_test < 1:
        raise InputError(f"{what}: num_train and num_test must be at least 1, got {num_train} and {num_test}")
    if split == "all":
        return range(total)
    begin = num_train if split == "test" and not apart else 0
    count = num_train if split == "train" else num_test
    if begin + count > total:
        wanted = f"{num_train} + {num_test}" if begin else f"{count}"
        raise InputError(
            f"{what}: the split '{split}' wants {wanted} samples, the file holds {total}; give num_train= and "
            "num_test= that fit, or split='all', or download the whole file"
        )
    begin = total - count if split == "test" and last and not apart else begin
    return range(begin, begin + count)


def open_npy(path: Path, name: str, advice: str) -> Array:
    """An array of a .npy file, read where it is used; pickled objects are refused.

    Raises:
        MissingDataError: There is no such file.
        InputError: It is damaged or holds objects.
    """
    existing_file(path, name, advice)
    try:
        values: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # damaged heads raise ValueError, OverflowError, TokenError, SyntaxError, ...
        raise InputError(f"{path}: cannot be read as a .npy file of numbers ({error}); download it again") from None
    return values


def mat_shape(path: Path, key: str, name: str, advice: str) -> tuple[int, ...]:
    """Shape of one array of a .mat file in MATLAB's axis order, without reading it.

    Raises:
        MissingDataError: There is no such file.
        InputError: It is damaged or has no such array; lists those it has.
    """
    import scipy.io

    existing_file(path, name, advice)
    if is_hdf5(path):
        with opened(path, name, advice) as file:
            return tuple(reversed(entry(file, key, path).shape))
    try:
        shapes = {found: tuple(shape) for found, shape, _ in scipy.io.whosmat(path, appendmat=False)}
    except (*DAMAGE, scipy.io.matlab.MatReadError) as error:
        raise InputError(f"{path}: cannot be read as a .mat file ({error}); download it again") from None
    if key not in shapes:
        raise InputError(f"{path}: no array '{key}'; it holds {listing(shapes)}. Is it a file of {name}?")
    return shapes[key]


def read_mat(path: Path, key: str, samples: range, step: int = 1) -> Array:
    """Samples of an array ``[n, ...]`` of a .mat file, MATLAB's axis order, float32.

    v7.3 files are HDF5 with the axes reversed, as MATLAB writes them.

    Args:
        path: From :func:`mat_shape`, which has checked it.
        key: Name of the array.
        samples: Consecutive samples.
        step: Keep every ``step``-th entry of the two axes behind the samples.

    Raises:
        InputError: The file is damaged.
    """
    import h5py  # takes a tenth of a second
    import scipy.io

    part = slice(samples.start, samples.stop)
    try:
        if is_hdf5(path):
            check_hdf5(path)
            with h5py.File(path, "r") as file:
                values = np.asarray(file[key][..., part]).T
        else:
            check_mat(path)
            values = scipy.io.loadmat(path, variable_names=[key], appendmat=False)[key][part]
    except (*DAMAGE, scipy.io.matlab.MatReadError) as error:
        raise InputError(f"{path}: '{key}' cannot be read ({error}); download the file again") from None
    return np.ascontiguousarray(values[:, ::step, ::step] if step > 1 else values, dtype=np.float32)


def check_shape(path: Path, key: str, shape: tuple[int, ...], wanted: tuple[int | str, ...]) -> None:
    """Compare a shape with what it should be: numbers must agree, names stand for any length.

    Raises:
        InputError: They differ.
    """
    fits = len(shape) == len(wanted) and all(
        length == want for length, want in zip(shape, wanted, strict=True) if isinstance(want, int)
    )
    if not fits:
        described = ", ".join(str(want) for want in wanted)
        raise InputError(
            f"{path}: '{key}' must be [{described}], got {shape}; is it the published file, axes in their order?"
        )


def tensor(values: Array) -> Tensor:
    """A float32 tensor of its own."""
    return torch.from_numpy(np.array(values, dtype=np.float32, order="C"))


@functools.lru_cache(maxsize=8)
def grid_edges(rows: int, columns: int) -> Tensor:
    """``[2, e]`` from the eight neighbours to each node of a row-major grid, sorted by receiver, then sender."""
    index = torch.arange(rows * columns).view(rows, columns)
    pairs = []
    for down in (0, 1):
        for right in (-1, 0, 1):
            if (down, right) <= (0, 0):
                continue
            left, width = max(0, -right), columns - abs(right)
            first = index[: rows - down, left : left + width]
            second = index[down:, left + right : left + right + width]
            pairs.append(torch.stack([first.flatten(), second.flatten()]))
    one_way = torch.cat(pairs, 1)
    both = torch.cat([one_way, one_way.flip(0)], 1)
    return both[:, torch.argsort(both[1] * rows * columns + both[0])]


@functools.lru_cache(maxsize=8)
def grid_cells(rows: int, columns: int) -> Tensor:
    """``[(rows - 1) (columns - 1), 4]`` corners of the quads of a grid of points, row-major, around each quad."""
    index = torch.arange(rows * columns).view(rows, columns)
    corners = [index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]]
    return torch.stack([corner.flatten() for corner in corners], 1)


def point_graph(pos: Array, y: Array, x: Array | None = None) -> MeshGraph:
    """Points as a graph; where they form a grid, with edges, quads and ``grid_shape``.

    Args:
        pos: ``[n, 2]`` points or ``[rows, columns, 2]`` grid.
        y: ``[..., c_out]``, leading axes as ``pos``.
        x: ``[..., c_in]``, likewise.
    """
    graph = MeshGraph(pos=tensor(pos.reshape(-1, pos.shape[-1])), y=tensor(y.reshape(-1, y.shape[-1])))
    graph.location = "point"
    if x is not None:
        graph.x = tensor(x.reshape(-1, x.shape[-1]))
    if pos.ndim == 3:
        rows, columns = pos.shape[:2]
        cells = grid_cells(rows, columns)
        graph.edge_index = grid_edges(rows, columns)
        graph.cell_size = torch.full((len(cells),), 4)
        graph.cell_nodes = cells.flatten()
        graph.cell_type = torch.full((len(cells),), VTK_QUAD)
        graph.grid_shape = torch.tensor([[rows, columns]])
    return graph
