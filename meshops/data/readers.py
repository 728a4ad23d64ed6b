"""Reading meshes: :func:`open_mesh` for all a file says, :func:`read_mesh` for the mesh, :func:`read` for a graph."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from meshops.data.cells import Mesh
from meshops.data.clean import check_fields, check_points, clean_mesh
from meshops.data.contained import read_contained
from meshops.data.convert import Where, choose_location, float_arrays, from_pyvista
from meshops.data.formats import SUFFIXES
from meshops.data.mesh_graph import MeshGraph
from meshops.data.reading import MeshRead, Region, Time
from meshops.errors import DataWarning

__all__ = ["SUFFIXES", "open_mesh", "read", "read_mesh"]


def open_mesh(path: str | Path, *, region: Region = None, time: Time = "last") -> MeshRead:
    """Read a mesh with all its arrays, and what was read, left out and assumed.

    Files of other libraries' formats are read in another process (:mod:`meshops.data.contained`).

    Args:
        path: File (ending and beginning say what it is) or OpenFOAM case folder.
        region: Parts: name, group or pattern, several separated by commas or as a sequence; None: all of them, of an
            OpenFOAM case the volume.
        time: ``"last"`` or one of the times of the file.

    Returns:
        PolyData or UnstructuredGrid, as the file has it; structured grids become unstructured in their own order.

    Raises:
        InputError: Not found, unsupported, of another kind than its ending says, damaged, empty; no such part or time.

    Example:
        >>> read = open_mesh("case.vtm", region="wheel.*,body")  # doctest: +SKIP
        >>> read.notes.chosen, read.cell_part.shape  # doctest: +SKIP
        (('body', 'wheel_1', 'wheel_2'), (9216,))
    """
    return read_contained(Path(path), region=region, time=time)


def read_mesh(path: str | Path, *, region: Region = None, time: Time = "last") -> Mesh:
    """The mesh of :func:`open_mesh` alone."""
    return open_mesh(path, region=region, time=time).mesh


def read(
    path: str | Path,
    *,
    fields: Sequence[str] | None = None,
    location: Where = "auto",
    region: Region = None,
    time: Time = "last",
    units: Sequence[str] = (),
) -> MeshGraph:
    """Read a case as a graph: :func:`open_mesh`, then cleaning, then conversion.

    Args:
        path: File or OpenFOAM case folder.
        fields: Arrays that become ``y``; None: all floating-point arrays of the location; ``()``: none.
        location: ``"cell"``, ``"point"``, ``"free"`` (point cloud) or ``"auto"`` (where the fields are).
        region: Parts, as for :func:`open_mesh`.
        time: ``"last"`` or one of the times of the file.
        units: Unit of each field.

    Raises:
        InputError: The file cannot be used; the message names the file, the array and the remedy.

    Example:
        >>> graph = read("boundary_1.vtp", fields=("pMean",), units=("m^2/s^2",))  # doctest: +SKIP
        >>> graph.normal.shape  # doctest: +SKIP
        torch.Size([8274, 3])
    """
    path = Path(path)
    opened = open_mesh(path, region=region, time=time)
    label = str(path) if region is None else f"{path} [{region if isinstance(region, str) else ','.join(region)}]"
    with said() as remarks:
        graph = _graph(opened.mesh, fields, location, label, units)
    graph.name, graph.source = path.stem, str(path)
    told = (*opened.notes.lines(), *(text.removeprefix(f"{label}: ") for text in remarks), *(graph.get("notes") or ()))
    graph.notes = tuple(dict.fromkeys(told))
    return graph


def _graph(mesh: Mesh, fields: Sequence[str] | None, location: Where, label: str, units: Sequence[str]) -> MeshGraph:
    if fields is None:
        association = choose_location(mesh, ()) if location == "auto" else "cell" if location == "cell" else "point"
        fields = float_arrays(mesh, association)
        if not fields and location == "auto":
            fields = float_arrays(mesh, "point")
    if location == "free":
        check_points(mesh, label)
        check_fields(mesh, fields, label)
    else:
        mesh = clean_mesh(mesh, label=label, fields=fields).mesh
    return from_pyvista(mesh, fields=fields, location=location, label=label, units=units)


@contextmanager
def said() -> Iterator[list[str]]:
    """Collect what is warned about the data; it is warned of all the same."""
    texts: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DataWarning)
        yield texts
    for warning in caught:
        if issubclass(warning.category, DataWarning):
            texts.append(str(warning.message))
    for warning in caught:
        warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
