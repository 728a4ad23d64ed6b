"""Files as cases: bodies are cleaned, oriented and refined where they are too coarse, other meshes stay as they are."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from meshops.aero.body_surface import BodySurface, attach_body
from meshops.aero.case_spec import CaseSpec
from meshops.aero.cases import Case, Source
from meshops.aero.conditions import FlowConditions
from meshops.data.graph_files import array_of, channel_names, graph_of_mesh
from meshops.data.mesh_graph import MeshGraph, origin_of
from meshops.data.reading import MeshRead, Region
from meshops.errors import InputError, collecting, listing, settings, warn

if TYPE_CHECKING:
    from meshops.data.cells import Mesh

Array = NDArray[np.float32]
PART = "meshops part"  # cells keep their part through the cleaning under this name
COARSE = 2.5  # cells this many times longer than those of the training meshes are refined


def open_case(
    source: Source,
    spec: CaseSpec,
    *,
    scale: float | None = None,
    region: Region = None,
    cell_size: float | None = None,
    names: Mapping[str, str] | None = None,
    flow: FlowConditions | None = None,
    conditions: Mapping[str, float] | None = None,
) -> Case:
    """Read a file for a task: a body is cleaned, oriented and refined if it is too coarse; others stay as they are.

    Args:
        source: Path, or a PyVista mesh.
        spec: Domain, location, inputs and fields.
        scale: Factor that brings the coordinates to metres; None: they are.
        region: Parts of the file, see :func:`meshops.data.readers.open_mesh`.
        cell_size: Typical edge over body length of the training meshes; None: never refine.
        names: Field of the model -> array of the file that holds its truth, where the names differ.
        flow: Flow past it; default: that of the training.
        conditions: Named conditions; those left out are looked for in the file.

    Raises:
        InputError: The file cannot be used.
    """
    from meshops.data.readers import open_mesh

    notes: list[str] = []
    with collecting(notes):
        label = str(source) if isinstance(source, (str, os.PathLike)) else "mesh"
        opened = open_mesh(Path(label), region=region) if label != "mesh" else MeshRead(source.copy())  # type: ignore[union-attr]
        if opened.walls is not None and region is None and spec.bodies and spec.domain == "surface":
            opened = _body_patches(opened, Path(label), notes)
        mesh = opened.mesh
        if opened.cell_part is not None:
            mesh.cell_data[PART] = opened.cell_part
        if scale is not None and scale != 1.0:
            for each in (mesh, opened.walls, opened.body):
                if each is not None:
                    each.points = np.asarray(each.points, dtype=np.float64) * scale
            notes.append(f"coordinates multiplied by {scale:g}")
        for name, array in (names or {}).items():
            _rename(mesh, array, name, label)
        known = _known_fields(mesh, spec, label)
        flow = spec.at(flow)
        if spec.bodies:
            case = _body_case(opened, spec, label, known, flow)
        else:
            case = _plain_case(mesh, spec, label, known, flow)
        _add_partial(case, spec)
        missing = [name for name in spec.fields if name not in case.truth]
        if case.truth and missing:
            warn(f"{label}: has {listing(case.truth)} but not {listing(missing)}; only those are compared")
        if case.body is not None and (axis := case.body.cut_plane(case.flow)):
            warn(
                f"{label}: this looks like half a body (its open rim lies in one plane across {axis}); it is predicted "
                "as it is, and forces are those of the half; mirror it to get the whole"
            )
        if cell_size is not None and case.body is not None and spec.location == "cell" and not spec.inputs:
            _refine(case, case.body, cell_size)
        case.conditions = _conditions(mesh, spec, label, conditions or {})
        case.numbers = {name: value for name in spec.numbers if (value := _scalar(mesh, name)) is not None}
    if case.mesh is not None and PART in case.mesh.cell_data:
        case.parts, case.cell_part = opened.notes.chosen, np.array(case.mesh.cell_data[PART])
        del case.mesh.cell_data[PART]
    case.source = None if label == "mesh" else Path(label)
    case.notes = list(dict.fromkeys([*case.notes, *notes, *opened.notes.remarks, *(case.graph.get("notes") or ())]))
    return case


def _known_fields(mesh: Mesh, spec: CaseSpec, label: str) -> tuple[str, ...]:
    """Fields of the spec whose truth the mesh holds; one that is not finite in part is compared where it is."""
    known = []
    for name in spec.fields:
        array = mesh.cell_data.get(name, mesh.point_data.get(name))
        if array is None:
            continue
        good = np.asarray(np.isfinite(np.asarray(array, dtype=np.float64)).reshape(len(array), -1).all(1))
        if good.all():
            known.append(name)
        elif good.any() and name in _at(mesh, spec):
            warn(
                f"{label}: the field '{name}' holds {int((~good).sum())} NaN or infinite values of {len(good)}; it is "
                "compared on the rest"
            )
        else:
            warn(f"{label}: the field '{name}' holds NaN or infinite values; it is not compared with")
    return tuple(known)


def _at(mesh: Mesh, spec: CaseSpec) -> Any:
    """Arrays of a mesh where the fields of the spec live."""
    return mesh.cell_data if spec.location == "cell" else mesh.point_data


def _add_partial(case: Case, spec: CaseSpec) -> None:
    """True fields that are known in part: NaN where they are not."""
    there = _at(case.original(), spec)
    for name, size in zip(spec.fields, spec.sizes, strict=True):
        if name in case.truth or name not in there:
            continue
        values = np.array(there[name], dtype=np.float32)
        good = np.isfinite(values).reshape(len(values), -1).all(1)
        if good.any() and not good.all() and values.size == size * len(values):
            values[~good] = np.nan
            case.truth[name] = values


def _body_case(opened: MeshRead, spec: CaseSpec, label: str, known: Sequence[str], flow: FlowConditions) -> Case:
    from meshops.data.clean import clean_mesh  # VTK
    from meshops.data.convert import from_pyvista
    from meshops.data.orientation import copied_faces
    from meshops.data.surface import is_surface, oriented_geometry

    mesh = clean_mesh(opened.mesh, label=label, fields=known).mesh
    _check_domain(is_surface(mesh), spec, label)
    _check_extent(mesh, label)
    near = _near_origin(mesh, flow)
    inputs = _input_arrays(near, spec)
    geometry = oriented_geometry(near, label=label) if spec.domain == "surface" else None
    graph = from_pyvista(near, fields=(*known, *inputs), location=spec.location, label=label, geometry=geometry)
    truth = _truth(graph, spec, known, label)
    if inputs:
        columns = {name: graph.field(name).reshape(len(graph.pos), -1) for name in inputs}
        graph.x = torch.cat(list(columns.values()), 1)
        graph.x_names = channel_names({name: column.shape[1] for name, column in columns.items()})
        _check_inputs(graph, spec, label)
    if spec.domain == "volume":
        origin = _middle(mesh, flow) + origin_of(graph).numpy()
        attach_body(graph, mesh, walls=opened.walls, chosen=opened.body, origin=origin)
        return Case(mesh, graph, spec.location, label, truth, flow)
    body, copies = BodySurface.of(near, label, geometry), copied_faces(mesh)
    return Case(mesh, graph, spec.location, label, truth, flow, body=body, copies=copies)


def _refine(case: Case, body: BodySurface, cell_size: float) -> None:
    """Split triangles that are much coarser than those of the training meshes."""
    from meshops.data.convert import from_pyvista
    from meshops.data.surface import refine

    near = _near_origin(case.original(), case.flow)
    length = float(np.ptp(near.points @ np.array(case.flow.flow)))
    limit = COARSE * cell_size * length
    edge = np.sqrt(2 * body.area / (body.cell_points - 2))
    if body.area[edge > limit].sum() <= 0.01 * body.area.sum():
        return
    try:
        fine, parents = refine(near, limit)  # type: ignore[arg-type]
    except InputError as error:
        raise InputError(f"{case.label}: {error}") from None
    warn(
        f"{case.label}: cells up to {edge.max():.3g} m are much larger than those of the training meshes; split to "
        f"{fine.n_cells} triangles of at most {limit:.3g} m, results averaged back on the {case.rows} cells"
    )
    said = case.graph.get("notes")  # of the cells of the file; the parts say the same with other numbers
    with collecting([]):
        case.graph = from_pyvista(fine, location="cell", label=case.label)
    case.graph.notes = said
    case.parents = np.asarray(parents)


def _plain_case(mesh: Mesh, spec: CaseSpec, label: str, known: Sequence[str], flow: FlowConditions) -> Case:
    from meshops.data.clean import clean_mesh  # VTK

    mesh = clean_mesh(mesh, label=label, cloud=spec.location != "cell").mesh
    data = mesh.cell_data if spec.location == "cell" else mesh.point_data
    here = tuple(name for name in known if name in data)
    if len(here) < len(known):
        away = listing(name for name in known if name not in here)
        warn(f"{label}: {away} is not at the {spec.location}s, where the model predicts it; it is not compared with")
    graph = graph_of_mesh(mesh, _input_arrays(mesh, spec), here, label=label, location=spec.location)
    if graph.pos.shape[1] != spec.dim:
        raise InputError(
            f"{label}: the mesh is {graph.pos.shape[1]}-D, the model was made for {spec.dim}-D meshes; give one of them"
        )
    _check_inputs(graph, spec, label)
    return Case(mesh, graph, spec.location, label, _truth(graph, spec, here, label), flow)


def _input_arrays(mesh: Mesh, spec: CaseSpec) -> tuple[str, ...]:
    """Arrays of a mesh that hold the input channels of a model, in their order."""
    there = mesh.cell_data if spec.location == "cell" else mesh.point_data
    return tuple(dict.fromkeys(array_of(name, list(there)) for name in spec.inputs))


def _check_inputs(graph: MeshGraph, spec: CaseSpec, label: str) -> None:
    """Raise ``InputError`` unless the input channels are those of the training, in their order."""
    found = tuple(graph.get("x_names") or ())
    if found != spec.inputs:
        raise InputError(
            f"{label}: its input arrays give the channels {listing(found)}, the model was trained with "
            f"{listing(spec.inputs)}; export them with as many components as in training"
        )


def _truth(graph: MeshGraph, spec: CaseSpec, known: Sequence[str], label: str) -> dict[str, Array]:
    out = {}
    sizes = dict(zip(spec.fields, spec.sizes, strict=True))
    for name in known:
        values = graph.field(name).numpy()
        if values.size != sizes[name] * len(graph.pos):
            channels = values.size // len(graph.pos)
            raise InputError(f"{label}: field '{name}' has {channels} channels, the model predicts {sizes[name]}")
        out[name] = values
    return out


def _conditions(mesh: Mesh, spec: CaseSpec, label: str, given: Mapping[str, float]) -> dict[str, float]:
    """Conditions of the spec: given ones first, then single numbers stored in the file.

    Raises:
        InputError: One is missing.
    """
    out = {name: float(given[name]) if name in given else _scalar(mesh, name) for name in spec.conditions}
    missing = [name for name, value in out.items() if value is None]
    if missing:
        raise InputError(
            f"{label}: the model needs the condition {listing(missing)}; give {settings(missing)}, or store it as "
            "a field of one value in the file"
        )
    return {name: value for name, value in out.items() if value is not None}


def _scalar(mesh: Mesh, name: str) -> float | None:
    """A single number stored with a mesh."""
    if name not in mesh.field_data:
        return None
    values = np.asarray(mesh.field_data[name]).reshape(-1)
    return float(values[0]) if values.size == 1 else None


def _body_patches(opened: MeshRead, path: Path, notes: list[str]) -> MeshRead:
    """The patches of a case that are its body, where nobody said which: walls that are no outer wall."""
    from meshops.data.readers import open_mesh
    from meshops.data.volume_body import body_parts

    parts = opened.notes.parts
    chosen = [parts[i] for i in body_parts(opened.mesh, opened.walls, label=str(path))]  # type: ignore[arg-type]
    notes.append(f"the body is {listing(chosen)}, of type wall and no outer wall; choose others with --region")
    return open_mesh(path, region=chosen)


def _near_origin(mesh: Mesh, flow: FlowConditions) -> Mesh:
    """Copy of a mesh with its middle at the origin: far from it, single precision is too coarse for nodes.

    With a ground the height stays, so that the ground need not move.
    """
    near = mesh.copy()
    near.points = np.asarray(mesh.points, dtype=np.float64) - _middle(mesh, flow)
    return near


def _middle(mesh: Mesh, flow: FlowConditions) -> NDArray[np.float64]:
    points = np.asarray(mesh.points, dtype=np.float64)
    middle = (points.min(0) + points.max(0)) / 2
    if flow.ground is not None:
        up = np.array(flow.up)
        middle -= (middle @ up) * up
    return np.asarray(middle)


def _rename(mesh: Mesh, array: str, name: str, label: str) -> None:
    for data in (mesh.cell_data, mesh.point_data):
        if array in data:
            data[name] = data[array]
            return
    present = [*mesh.cell_data, *mesh.point_data]
    raise InputError(f"{label}: no array '{array}' to compare '{name}' with; arrays: {listing(present)}")


def _check_extent(mesh: Mesh, label: str) -> None:
    low, high = np.min(mesh.points, axis=0), np.max(mesh.points, axis=0)
    flat = (high - low) <= 1e-6 * (high - low).max()
    if flat.any():
        axis = "xyz"[int(flat.argmax())]
        raise InputError(
            f"{label}: a flat (2-D) mesh, without extent along {axis}; the model was trained on 3-D bodies, give one"
        )


def _check_domain(surface: bool, spec: CaseSpec, label: str) -> None:
    if spec.domain == "surface" and not surface:
        raise InputError(
            f"{label}: a volume mesh, but the model predicts surface fields; give the surface (STL, VTP), "
            "or for an OpenFOAM case its patch with --region"
        )
    if spec.domain == "volume" and surface:
        raise InputError(
            f"{label}: a surface mesh, but the model predicts volume fields; give the volume mesh (VTU, OpenFOAM case)"
        )
