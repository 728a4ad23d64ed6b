"""A folder of mesh files with input and output arrays at the points: the layout for one's own simulations.

    <root>/train/*.vtu, <root>/test/*.vtu       or <root>/*.vtu: the last tenth is tested on

Any format that :func:`meshops.read` knows will do. A file without extent along z is a plane mesh. A table ``cases.csv``
with a row per case gives conditions and numbers, see :mod:`meshops.datasets.case_table`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from meshops.aero.conditions import FlowConditions
from meshops.data.graph_files import arrays_of, read_graph
from meshops.data.mesh_graph import MeshGraph
from meshops.datasets.base import CaseDataset, GraphCache, Transform, existing_root, one_of
from meshops.datasets.case_table import CaseTable
from meshops.datasets.registry import register_dataset
from meshops.errors import InputError, MissingDataError, listing
from meshops.io import replacing

SUFFIXES = (".vtu", ".vtp", ".vtk", ".msh")


@register_dataset("mesh_files", layout=("train/*.vtu", "train/*.vtp"), last=True)
class MeshFiles(CaseDataset):
    """Graphs of mesh files: points, edges of the cells, inputs ``x``, fields ``y``.

    Args:
        root: Folder, see above.
        split: ``"train"``, ``"test"`` or ``"all"``.
        inputs: Arrays at the points given to the model, in this order.
        fields: Arrays at the points to predict; None: all others of the first file.
        conditions: Columns of the table that were set: a model may be told them.
        numbers: Columns that came out.
        cache: Keep read cases in memory.
        transform: Applied to each graph that is handed out.

    Raises:
        MissingDataError: No folder, or no mesh files in it.
        InputError: Unknown split, an array that the first file lacks, or a column that the table lacks.
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        inputs: Sequence[str] = (),
        fields: Sequence[str] | None = None,
        conditions: Sequence[str] = (),
        numbers: Sequence[str] = (),
        cache: bool = True,
        transform: Transform | None = None,
    ) -> None:
        self.root = existing_root(root, "mesh_files", "give the folder that holds the files of the cases")
        one_of("mesh_files: split", split, ("train", "test", "all"))
        self.paths = self._choose(split)
        self.cases = tuple(path.stem for path in self.paths)
        self.flow, self.flow_stated = FlowConditions(ground=None), False
        self.inputs = _names(inputs)
        self.transform, self.cache = transform, GraphCache(cache)
        present = arrays_of(self.paths[0])
        others = tuple(name for name in present if name not in self.inputs)
        self.fields = others if fields is None else _names(fields)
        missing = [name for name in (*self.inputs, *self.fields) if name not in present]
        if missing or not self.fields:
            what = f"no array {listing(missing)}" if missing else "no field left to predict"
            raise InputError(f"{self.paths[0]}: {what} at the points; arrays there: {listing(present)}")
        self.units = ("",) * len(self.fields)
        self.condition_names, self.number_names = _names(conditions), _names(numbers)
        self._read_table()

    def _read_table(self) -> None:
        path = self.root / "cases.csv"
        self.table = CaseTable.read(path) if path.is_file() else None
        if self.table is None:
            wanted = (*self.condition_names, *self.number_names)
            if wanted:
                raise MissingDataError(f"mesh_files: no table {path} with {listing(wanted)}; write one, a row per case")
            return
        self.table.check(self.number_names, "numbers")
        self.table.check(self.condition_names, "conditions")
        self.quantity_units = dict(self.table.units)

    def conditions_of(self, index: int) -> dict[str, float]:
        """What was set, from the table."""
        return self._quantities(index, self.condition_names)

    def numbers_of(self, index: int) -> dict[str, float]:
        """What came out, from the table."""
        return self._quantities(index, self.number_names)

    def _quantities(self, index: int, names: Sequence[str]) -> dict[str, float]:
        if self.table is None:
            return {}
        row = self.table.row(self.paths[self.position(index)])
        return {name: row[name] for name in names if name in row}

    def _choose(self, split: str) -> list[Path]:
        folders = [self.root / "train", self.root / "test"]
        if all(folder.is_dir() for folder in folders):
            parts = [mesh_files(folder) for folder in folders]
        else:
            every = mesh_files(self.root)
            held_out = max(1, len(every) // 10) if len(every) > 1 else 0
            parts = [every[: len(every) - held_out], every[len(every) - held_out :]]
        chosen = {"train": parts[0], "test": parts[1], "all": parts[0] + parts[1]}[split]
        if not chosen:
            raise MissingDataError(
                f"mesh_files: no files for the split '{split}' in {self.root}; looked for {listing(SUFFIXES)} there or "
                "in train/ and test/"
            )
        return chosen

    def files(self, index: int) -> dict[str, Path]:
        """The file of a case."""
        return {"mesh": self.paths[self.position(index)]}

    def read(self, index: int) -> MeshGraph:
        """Read a case: ``pos``, ``x``, ``y``, ``edge_index`` and the cells."""
        return read_graph(self.paths[index], self.inputs, self.fields)

    @classmethod
    def standin(cls, root: str | Path, num: int = 4) -> Path:
        """Darcy flow on irregular meshes from finite elements."""
        from meshops.solvers.mesh_registry import generate_mesh

        graphs = [generate_mesh("darcy", seed, num_points=200) for seed in range(num)]
        return write_graphs([g for g in graphs if isinstance(g, MeshGraph)], root, test=max(1, num // 4))


def _names(given: Sequence[str]) -> tuple[str, ...]:
    """Names, where a single one may be given as it is."""
    return (given,) if isinstance(given, str) else tuple(given)


def mesh_files(folder: Path) -> list[Path]:
    """Mesh files of a folder, sorted by name."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)


def write_graphs(graphs: Sequence[MeshGraph], root: str | Path, *, test: int) -> Path:
    """Write graphs with cells as ``train/NAME.vtu`` and, the last ``test`` of them, ``test/NAME.vtu``.

    Args:
        graphs: ``pos [n, 2 or 3]``, cells, ``x`` with ``x_names``, ``y`` with its names.
        root: Folder; is made.
        test: Number of graphs to test on.
    """
    folder = Path(root)
    for place, graph in enumerate(graphs):
        split = "test" if place >= len(graphs) - test else "train"
        path = folder / split / f"{graph.name}.vtu"
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial:
            _as_grid(graph).save(partial.with_suffix(".vtu"))
            if partial.with_suffix(".vtu") != partial:
                partial.with_suffix(".vtu").rename(partial)
    return folder


def _as_grid(graph: MeshGraph) -> Any:
    import numpy as np
    import pyvista as pv

    points = np.zeros((len(graph.pos), 3))
    points[:, : graph.pos.shape[1]] = graph.pos.numpy()
    starts = graph.cell_ptr[:-1]
    cells = [np.r_[k, graph.cell_nodes[s : s + k].numpy()] for s, k in
             zip(starts.tolist(), graph.cell_size.tolist(), strict=True)]  # fmt: skip
    grid = pv.UnstructuredGrid(np.concatenate(cells), graph.cell_type.numpy().astype(np.uint8), points)
    for i, name in enumerate(graph.get("x_names") or ()):
        grid.point_data[name] = graph.x[:, i].numpy()
    for name in graph.fields:
        grid.point_data[name] = graph.field(name).numpy()
    return grid
