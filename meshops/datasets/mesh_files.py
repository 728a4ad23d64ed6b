"""Mesh files with input and output arrays: the layout for one's own simulations where a run file says what is what.

    <root>/train/*.vtu, <root>/test/*.vtu       or <root>/*.vtu: a share drawn at random is tested on

Any format that :func:`meshops.read` knows will do. A mesh without extent along one axis is a plane mesh. A table
``cases.csv`` with a row per case gives conditions and numbers. Anything else in a folder is a study:
:func:`meshops.datasets.open`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from meshops.data.mesh_graph import MeshGraph
from meshops.datasets.base import Transform, existing_root, one_of
from meshops.datasets.folder.arrays import CaseLook
from meshops.datasets.folder.cases import list_cases
from meshops.datasets.folder.dataset import FolderCases
from meshops.datasets.folder.description import Description, FieldEntry, Place, Quantity
from meshops.datasets.folder.looking import look
from meshops.datasets.folder.suffixes import MESHES, SHAPES, WITH_FIELDS
from meshops.datasets.folder.tables import read_table
from meshops.datasets.folder.walk import natural
from meshops.datasets.registry import register_dataset
from meshops.errors import InputError, MissingDataError, listing
from meshops.io import replacing

TABLE = "cases.csv"
HELPERS = ("Normals", "TCoords", "Texture Coordinates", "Area", "Volume", "Length")
FEW = 5  # cases that are opened to see what they hold


@register_dataset("mesh_files", layout=("train/*.vtu", "train/*.vtp"), last=True)
class MeshFiles(FolderCases):
    """Graphs of mesh files: nodes at the points or at the cells, where the fields are; inputs ``x``, fields ``y``.

    Args:
        root: Folder, see above.
        split: ``"train"``, ``"test"`` or ``"all"``.
        inputs: Arrays given to the model, in this order; also whole numbers.
        fields: Arrays to predict; None: all others of the place with most of them.
        conditions: Columns of the table that were set: a model may be told them.
        numbers: Columns that came out.
        cache: Keep read cases in memory.
        transform: Applied to each graph that is handed out.

    Raises:
        MissingDataError: No folder, or no mesh files in it.
        InputError: Unknown split, an array that the cases lack, or a column that the table lacks.
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
        folder = existing_root(root, "mesh_files", "give the folder that holds the files of the cases")
        one_of("mesh_files: split", split, ("train", "test", "all"))
        study = _described(folder, split, _names(inputs), None if fields is None else _names(fields))
        study = _with_table(study, _names(conditions), _names(numbers))
        super().__init__(study, split, cache=cache, transform=transform)

    @classmethod
    def standin(cls, root: str | Path, num: int = 4) -> Path:
        """Darcy flow on irregular meshes from finite elements."""
        from meshops.solvers.mesh_registry import generate_mesh

        graphs = [generate_mesh("darcy", seed, num_points=200) for seed in range(num)]
        return write_graphs([g for g in graphs if isinstance(g, MeshGraph)], root, test=max(1, num // 4))


def _described(folder: Path, split: str, inputs: tuple[str, ...], fields: tuple[str, ...] | None) -> Description:
    """The files of a folder with the arrays asked for, at the place where they are."""
    parted = all((folder / part).is_dir() for part in ("train", "test"))
    parts = [folder / "train", folder / "test"] if parted else [folder]
    every = [path for part in parts for path in mesh_files(part)]
    chosen = [path for path in every if not parted or split in ("all", path.parent.name)]
    if not chosen:
        raise MissingDataError(
            f"mesh_files: no files for the split '{split}' in {folder}; looked for {listing(MESHES)} there or in "
            "train/ and test/"
        )
    endings = {path.suffix for path in every}
    files = ("*/*" if parted else "*") + (endings.pop() if len(endings) == 1 else "")
    study = Description(root=folder, files=files, test=("test/*",) if parted else 0.2, inputs=inputs)
    cases = [case for case in list_cases(study) if case.path in chosen]
    looked = look(study, cases[:FEW])
    if not looked.looks:
        raise InputError(f"{cases[0].path}: {next(iter(looked.bad.values()))}")
    place, names = _arrays(looked.looks, inputs, fields, str(cases[0].path))
    sizes = {
        name: Counter(look.arrays[place, name].size for look in looked.looks if (place, name) in look.arrays)
        for name in names
    }
    entries = tuple(FieldEntry(name, place, counts.most_common(1)[0][0]) for name, counts in sizes.items())
    return replace(study, fields=entries)


def _arrays(
    looks: Sequence[CaseLook], inputs: tuple[str, ...], fields: tuple[str, ...] | None, label: str
) -> tuple[Place, tuple[str, ...]]:
    """Where the nodes are, and the fields: those asked for, else all others of the first file."""
    there: dict[Place, list[str]] = {"point": [], "cell": []}
    for (where, name), array in looks[0].arrays.items():
        if name not in HELPERS and (array.kind == "f" or name in (*inputs, *(fields or ()))):
            there[where].append(name)
    wanted = (*inputs, *(fields or ()))
    having = [where for where, names in there.items() if names and all(name in names for name in wanted)]
    place: Place = having[0] if having else "point" if there["point"] else "cell"
    known = {name for look in looks for where, name in look.arrays if where == place}
    names = tuple(name for name in there[place] if name not in inputs) if fields is None else fields
    missing = [name for name in (*inputs, *names) if name not in known]
    if missing or not names:
        what = f"no array {listing(missing)}" if missing else "no field left to predict"
        other: Place = "cell" if place == "point" else "point"
        also = f"; at the {other}s: {listing(there[other])}" if there[other] else ""
        raise InputError(f"{label}: {what} at the {place}s; arrays there: {listing(there[place])}{also}")
    return place, names


def _with_table(study: Description, conditions: tuple[str, ...], numbers: tuple[str, ...]) -> Description:
    """Add the table, and the columns of it that are asked for.

    Raises:
        MissingDataError: There is no table but columns are wanted.
        InputError: It lacks one.
    """
    path = study.root / TABLE
    if not path.is_file():
        if conditions or numbers:
            wanted = listing((*conditions, *numbers))
            raise MissingDataError(f"mesh_files: no table {path} with {wanted}; write one, a row per case")
        return study
    if not conditions and not numbers:
        return study
    table = read_table(path)
    missing = [name for name in (*conditions, *numbers) if name not in table.columns]
    if missing:
        raise InputError(f"{path}: no column {listing(missing)}; columns: {listing(table.columns)}")
    return replace(
        study,
        tables=(TABLE,),
        conditions=tuple(Quantity(name, table.units.get(name, "")) for name in conditions),
        numbers=tuple(Quantity(name, table.units.get(name, "")) for name in numbers),
    )


def _names(given: Sequence[str]) -> tuple[str, ...]:
    """Names, where a single one may be given as it is."""
    return (given,) if isinstance(given, str) else tuple(given)


def mesh_files(folder: Path) -> list[Path]:
    """Mesh files of a folder in natural order; shapes without fields only where there is nothing else."""
    files = [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    for suffixes in (WITH_FIELDS, SHAPES):
        found = sorted((path for path in files if path.suffix.lower() in suffixes), key=natural)
        if found:
            return found
    return []


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
