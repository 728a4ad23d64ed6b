"""AhmedMini: 30 RANS surfaces of parametric Ahmed bodies, shipped inside the package (CC0).

OpenFOAM v1912, snappyHexMesh with about 55,000 cells, simpleFoam, k-omega SST with wall functions, 300 iterations,
moving ground; U = 1 m/s and rho = 1 kg/m^3. Coarse meshes: for learning the toolkit and for tests, not for design.
The file is made from a folder in the AhmedML layout::

    python -m meshops.datasets.ahmed.mini ROOT OUT
"""

from __future__ import annotations

import io
import lzma
import sys
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyvista as pv

from meshops.data import convert, readers
from meshops.data.mesh_graph import MeshGraph
from meshops.data.writers import write_mesh
from meshops.datasets.ahmed.layout import CONDITIONS, DEFAULT_FIELDS, UNITS
from meshops.datasets.base import CaseDataset, GraphCache, Transform, one_of, read_number_table, select
from meshops.datasets.registry import register_dataset
from meshops.datasets.runs import find_runs
from meshops.errors import InputError, MissingDataError
from meshops.io import write_bytes

NAME = "AhmedMini"
PACK = Path(__file__).with_name("mini.npz.xz")
FIELDS = DEFAULT_FIELDS["surface"]
SPLITS = {"train": tuple(range(1, 25)), "test": tuple(range(25, 31))}

Array = np.ndarray[Any, Any]
Pack = dict[str, Array]


@register_dataset("ahmed_mini")
class AhmedMini(CaseDataset):
    """The 30 shipped cases: runs 1 to 24 train, 25 to 30 test.

    Nodes are the polygons of the surface mesh; ``pMean`` is the kinematic pressure (Cp = 2 pMean) and
    ``wallShearStressMean`` has OpenFOAM's sign. Graphs equal those read from the original VTP files.

    Args:
        split: ``"train"``, ``"test"`` or ``"all"``.
        fields: Which of the two fields to predict; None: both.
        transform: Applied to each graph that is handed out.
        cache: Keep converted cases in memory (about 2 MB each).

    Example:
        >>> test = AhmedMini("test")
        >>> test.cases[0], test.fields
        ('run_25', ('pMean', 'wallShearStressMean'))
    """

    def __init__(
        self,
        split: str = "train",
        *,
        fields: Sequence[str] | None = None,
        transform: Transform | None = None,
        cache: bool = True,
    ) -> None:
        self.split = split
        self.runs = select(SPLITS, split, NAME)
        self.cases = tuple(f"run_{run}" for run in self.runs)
        self.fields = tuple(one_of(f"{NAME}: field", name, FIELDS) for name in (FIELDS if fields is None else fields))
        self.units = tuple(UNITS[name] for name in self.fields)
        self.flow = CONDITIONS
        self.transform = transform
        self.cache = GraphCache(cache)

    def read(self, index: int) -> MeshGraph:
        """Read the polygons of one run."""
        graph = convert.from_pyvista(
            self.mesh(index), fields=self.fields, location="cell", label=self.cases[index], units=self.units
        )
        graph.name = self.cases[index]
        return graph

    def mesh(self, index: int) -> pv.PolyData:
        """Surface of one run with its cell arrays, exactly the polygons of the original VTP file."""
        return unpack_surface(load_pack(), self.runs[self.position(index)])

    def files(self, index: int) -> dict[str, Path]:
        """Name the one file that holds all cases."""
        self.position(index)
        return {"pack": PACK}

    def parameters(self, index: int) -> dict[str, float]:
        """Geometry parameters: lengths in m, slant angle in degrees, frontal area in m^2 (width times height)."""
        return _row(load_pack(), "parameter", self.runs[self.position(index)])

    def numbers_of(self, index: int) -> dict[str, float]:
        """``cd`` and ``cl`` of the solver (mean of the last 100 iterations), frontal area of each body."""
        return _row(load_pack(), "force", self.runs[self.position(index)])

    def to_case_folder(self, root: str | Path, indices: Iterable[int] | None = None) -> Path:
        """Write cases in the AhmedML layout.

        The STL is the triangulated surface mesh; ``force_mom`` and ``force_mom_varref`` hold the same values.

        Args:
            root: Folder to write ``run_<i>`` into; made if needed.
            indices: Which cases; None: all of this split.

        Returns:
            ``root``.
        """
        root = Path(root)
        for index in range(len(self)) if indices is None else indices:
            run = self.runs[self.position(index)]
            folder = root / f"run_{run}"
            folder.mkdir(parents=True, exist_ok=True)
            mesh = self.mesh(index)
            write_mesh(mesh, folder / f"boundary_{run}.vtp")
            write_mesh(outward_triangles(mesh), folder / f"ahmed_{run}.stl")
            forces = _csv_row(self.numbers_of(index))
            write_bytes(folder / f"force_mom_{run}.csv", forces)
            write_bytes(folder / f"force_mom_varref_{run}.csv", forces)
            write_bytes(folder / f"geo_parameters_{run}.csv", _csv_row(self.parameters(index)))
        return root

    @classmethod
    def standin(cls, root: str | Path, num: int = 4) -> Path:
        """Write the first ``num`` cases as :meth:`to_case_folder` does: the set is its own stand-in."""
        mini = cls("all")
        if not 1 <= num <= len(mini):
            raise InputError(f"{NAME}.standin: num must be 1..{len(mini)}, got {num}")
        return mini.to_case_folder(root, range(num))


@lru_cache(maxsize=1)
def load_pack(path: Path = PACK) -> Pack:
    """All arrays of the shipped file, decompressed once per process (about 14 MB).

    Raises:
        MissingDataError: The installation is incomplete.
        InputError: The file is damaged.
    """
    if not path.is_file():
        raise MissingDataError(f"{NAME}: {path} is missing; the installation is incomplete, install meshops again")
    try:
        with np.load(io.BytesIO(lzma.decompress(path.read_bytes())), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (lzma.LZMAError, ValueError, OSError, EOFError) as error:
        raise InputError(f"{NAME}: {path} is damaged ({error}); install meshops again") from error


def write_pack(root: str | Path, out: str | Path) -> Path:
    """Pack the surfaces of an AhmedML-layout folder into one compressed file, without loss.

    Args:
        root: Folder with ``run_<i>``.
        out: File to write: an ``npz`` of plain arrays inside ``xz``.

    Returns:
        ``out``.
    """
    buffer = io.BytesIO()
    np.savez(buffer, **pack_arrays(root))  # type: ignore[arg-type]
    write_bytes(Path(out), lzma.compress(buffer.getvalue(), preset=9))
    return Path(out)


def pack_arrays(root: str | Path) -> Pack:
    """Arrays of all runs of an AhmedML-layout folder, side by side.

    Floats are stored as byte planes and indices as differences, which halves the size once compressed.
    """
    runs = find_runs(Path(root), NAME, "give a folder in the layout of AhmedML")
    parts = [_pack_run(Path(root) / f"run_{run}", run) for run in runs]
    arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0] if not name.endswith("_names")}
    arrays |= {name: parts[0][name] for name in parts[0] if name.endswith("_names")}
    arrays["run"] = np.array(runs, dtype=np.int32)
    return arrays | {name: _to_planes(arrays[name]) for name in ("points", *FIELDS)}


def unpack_surface(pack: Pack, run: int) -> pv.PolyData:
    """Surface mesh of one run from the arrays of :func:`load_pack`."""
    row = int(np.flatnonzero(pack["run"] == run)[0])
    points, cells, nodes = (_range(pack[f"num_{what}"], row) for what in ("points", "cells", "nodes"))
    sizes = pack["cell_size"][cells].astype(np.int64)
    # Differences restart at each run, and every run's first entry is the index itself.
    indices = np.cumsum(pack["cell_nodes"][nodes].astype(np.int64))
    starts = np.cumsum(sizes) - sizes
    mesh = pv.PolyData(_from_planes(pack["points"], points), faces=np.insert(indices, starts, sizes))
    for name in FIELDS:
        values = _from_planes(pack[name], cells)
        mesh.cell_data[name] = values[:, 0] if values.shape[1] == 1 else values
    mesh.set_active_scalars(FIELDS[0], preference="cell")
    return mesh


def _pack_run(folder: Path, run: int) -> Pack:
    mesh = readers.read_mesh(folder / f"boundary_{run}.vtp")
    faces = np.asarray(mesh.faces)
    sizes = np.diff(np.asarray(mesh.GetPolys().GetOffsetsArray()))
    nodes = np.delete(faces, np.cumsum(sizes + 1) - sizes - 1)
    parameters = read_number_table(folder / f"geo_parameters_{run}.csv")[0]
    forces = read_number_table(folder / f"force_mom_{run}.csv")[0]
    fields = {name: np.asarray(mesh.cell_data[name], dtype=np.float32).reshape(len(sizes), -1) for name in FIELDS}
    return {
        "num_points": np.array([mesh.n_points], dtype=np.int32),
        "num_cells": np.array([len(sizes)], dtype=np.int32),
        "num_nodes": np.array([len(nodes)], dtype=np.int32),
        "points": np.asarray(mesh.points, dtype=np.float32),
        "cell_size": sizes.astype(np.uint8),
        "cell_nodes": np.diff(nodes, prepend=0).astype(np.int32),
        "parameter_names": np.array(list(parameters)),
        "parameter_values": np.array([list(parameters.values())]),
        "force_names": np.array(list(forces)),
        "force_values": np.array([list(forces.values())]),
        **fields,
    }


def _to_planes(values: Array) -> Array:
    """``[n, c]`` float32 -> ``[4, c, n]`` bytes: like bytes side by side compress better."""
    planes: Array = np.ascontiguousarray(values.T).view(np.uint8).reshape(values.shape[1], values.shape[0], 4)
    return np.ascontiguousarray(planes.transpose(2, 0, 1))


def _from_planes(planes: Array, rows: slice) -> Array:
    part = np.ascontiguousarray(planes[:, :, rows].transpose(2, 1, 0))
    values: Array = part.view(np.float32)[:, :, 0]
    return np.ascontiguousarray(values)


def _range(counts: Array, row: int) -> slice:
    end = int(counts[: row + 1].sum())
    return slice(end - int(counts[row]), end)


def _row(pack: Pack, what: str, run: int) -> dict[str, float]:
    row = int(np.flatnonzero(pack["run"] == run)[0])
    return dict(zip(pack[f"{what}_names"].tolist(), pack[f"{what}_values"][row].tolist(), strict=True))


def outward_triangles(mesh: pv.PolyData) -> pv.PolyData:
    """Fan of triangles for every polygon, facing out of the body; VTK's own triangulation drops some thin polygons."""
    polygons = mesh.GetPolys()
    starts, nodes = np.asarray(polygons.GetOffsetsArray()), np.asarray(polygons.GetConnectivityArray())
    counts = np.diff(starts) - 2
    first = np.repeat(starts[:-1], counts)
    step = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    triangles = nodes[np.stack([first, first + step + 1, first + step + 2], axis=1)]
    # The polygons are those of a flow mesh, whose normals point out of the fluid, into the body.
    inward = _signed_volume(np.asarray(mesh.points, dtype=np.float64)[triangles]) < 0
    return pv.PolyData.from_regular_faces(mesh.points, triangles[:, ::-1] if inward else triangles)


def _signed_volume(corners: Array) -> float:
    a, b, c = corners.transpose(1, 0, 2)
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)


def main(arguments: Sequence[str]) -> None:
    """Command line of :func:`write_pack`: ROOT OUT."""
    if len(arguments) != 2:
        raise InputError("usage: python -m meshops.datasets.ahmed.mini ROOT OUT")
    write_pack(*arguments)


if __name__ == "__main__":
    main(sys.argv[1:])


def _csv_row(row: dict[str, float]) -> bytes:
    """Header line and one line of values with nine significant digits."""
    return (",".join(row) + "\n" + ",".join(f"{value:.9g}" for value in row.values()) + "\n").encode()
