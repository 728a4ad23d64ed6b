"""A case as a model sees it, not yet normalised: in body lengths, fields free of density and speed, features."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from meshops.aero.body_surface import BodySurface, attach_body
from meshops.aero.case_spec import CaseSpec
from meshops.aero.conditions import FlowConditions
from meshops.aero.features import body_of, frame_of, node_features
from meshops.aero.frame import Frame
from meshops.aero.symmetry import LOPSIDED, lopsided_fields, lopsided_share
from meshops.data.mesh_graph import MeshGraph
from meshops.data.shape import places, shape_numbers, topology
from meshops.errors import DataWarning, InputError, listing, settings

GEOMETRY = frozenset({"x", "y", "z", "sdf", "normal_x", "normal_y", "normal_z"})  # of a body, these are computed
ODD = 0.3  # fields with a larger antisymmetric part were made by conditions that are not symmetric
IN_VOLUME = 2  # ``node_type`` of nodes around a body, in cases that hold its surface too
KEPT = ("pos", "x", "edge_index", "cluster", "time", "grid_shape", "spacing", "periodic", "name")


def prepare(
    graph: MeshGraph, spec: CaseSpec, flow: FlowConditions | None = None,
    conditions: Mapping[str, float] | None = None, numbers: Mapping[str, float] | None = None,
) -> tuple[MeshGraph, Frame | None]:  # fmt: skip
    """A case as the model sees it, not yet normalised: body lengths, fields free of density and speed for bodies.

    Args:
        graph: The case as read.
        spec: What is learnt.
        flow: Of this case; default: that of the spec.
        conditions: Named conditions, those of the spec among them.
        numbers: Known named results.

    Raises:
        InputError: Another dimension, inputs or channels than the spec, or a condition is missing.
    """
    _check_graph(graph, spec)
    frame = None
    if spec.features is None:
        out = MeshGraph(**{key: graph[key] for key in KEPT if graph.get(key) is not None})
        out.x = graph.pos.new_zeros(len(graph.pos), 0) if graph.get("x") is None else graph.x
        if _complete(graph, spec):
            out.y = torch.cat([graph.field(name).reshape(len(graph.pos), -1) for name in spec.fields], 1)
        if graph.get("y_use") is not None and "y" in out:
            out.y_use = graph.y_use[:, [graph.fields.index(name) for name in spec.fields]]
        if (kinds := graph.get("node_type")) is not None and bool((kinds == IN_VOLUME).any()):
            out.in_volume = kinds == IN_VOLUME
    else:
        at = spec.at(flow)
        frame = frame_of(graph, at, spec.domain)
        reynolds = at.reynolds(frame.length) if spec.features.reynolds else None
        computed = node_features(graph, frame, spec.features, spec.domain, reynolds=reynolds)
        x = computed if not spec.inputs else torch.cat([computed, graph.x[:, own_columns(graph)]], 1)
        out = MeshGraph(pos=frame.points(graph.pos), x=x)
        if graph.get("area") is not None:
            out.area = graph.area
        if _complete(graph, spec):
            out.y = _free_fields(graph, frame, spec, at)
    if spec.shape:
        _add_shape(out, graph, spec)
    if spec.conditions:
        out.conditions = _row(spec.conditions, conditions or {}, f"{graph.label}: the condition")
    if spec.numbers and numbers and all(name in numbers for name in spec.numbers):
        out.numbers = _row(spec.numbers, numbers, f"{graph.label}: the number")
    return out, frame


def restored(values: Tensor, spec: CaseSpec, frame: Frame | None, flow: FlowConditions) -> dict[str, Tensor]:
    """The way back from :func:`prepare`: ``values [n, c]`` with density and speed, in the axes of the file."""
    scaling, out = spec.scaling(flow), {}
    for (name, channels), size in zip(spec.slices().items(), spec.sizes, strict=True):
        shift, scale = scaling[name]
        part = values[:, channels] * scale + shift
        part = frame.restore(part) if frame is not None and size == 3 else part
        out[name] = part[:, 0] if size == 1 else part
    return out


def not_mirrored(cases: Iterable[tuple[MeshGraph, FlowConditions]], spec: CaseSpec) -> str:
    """What speaks against a mirror plane across the flow, of graphs in their flows; empty: nothing."""
    shapes, fields = [], []
    for graph, flow in cases:
        frame = frame_of(graph, flow, spec.domain)
        shapes.append(lopsided_share(body_of(graph, frame, spec.domain)))
        values = {name: graph.field(name) for name in spec.fields}
        normal = graph.normal if spec.domain == "surface" else None
        fields.append(lopsided_fields(graph.pos, normal, values, frame))
    odd = {name: float(np.mean([row[name] for row in fields])) for name in spec.fields}
    worst = max(odd, key=lambda name: odd[name])
    if max(shapes) > LOPSIDED:
        return f"{100 * max(shapes):.0f} % of the surface of a body has no mirror image"
    if odd[worst] > ODD:
        return f"{100 * odd[worst]:.0f} % of the variation of '{worst}' is not mirrored, so the conditions are not"
    return ""


def with_body(graph: MeshGraph, spec: CaseSpec) -> MeshGraph:
    """A volume graph with the body inside it attached; others as they are."""
    if spec.domain != "volume" or graph.get("body_pos") is not None:
        return graph
    from meshops.data.convert import to_pyvista  # VTK

    return attach_body(graph, to_pyvista(graph, near=True))


def placed(graph: MeshGraph, spec: CaseSpec) -> MeshGraph:
    """A graph of a body with nodes where the surrogate has them: at the cells, or at the points."""
    where = graph.get("location")
    if not spec.bodies or where == spec.location or where not in ("cell", "point") or not graph.num_cells:
        return graph
    from meshops.data.convert import from_pyvista, to_pyvista  # VTK

    units = graph.get("y_units") or ()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # said once, for all cases
        out = from_pyvista(
            to_pyvista(graph), fields=graph.fields, location=spec.location, label=graph.label, units=units
        )
    for key in ("flow", "conditions", "numbers"):
        if graph.get(key) is not None:
            out[key] = graph[key]
    return out


def surface_of(graph: MeshGraph) -> BodySurface:
    """The cells of a surface graph, for integration and description."""
    from meshops.data.convert import to_pyvista  # VTK

    return BodySurface.of(to_pyvista(graph), graph.label)


def input_names(graph: MeshGraph) -> tuple[str, ...]:
    """Name of each channel of ``x``: given, else numbered."""
    x = graph.get("x")
    if x is None:
        return ()
    names = tuple(graph.get("x_names") or ())
    return names if len(names) == x.shape[1] else tuple(f"x{i}" for i in range(x.shape[1]))


def own_columns(graph: MeshGraph) -> list[int]:
    """Input channels of a body beside those that say again where its nodes are and how they face."""
    return [i for i, name in enumerate(input_names(graph)) if name not in GEOMETRY]


def _add_shape(out: MeshGraph, graph: MeshGraph, spec: CaseSpec) -> None:
    """Add the numbers of the shape, and the place of each node in it: on the reference where nodes correspond."""
    area = graph.get("area")
    out.case_shape = shape_numbers(out.pos, area).view(1, -1)
    names = spec.feature_names()
    facing = [names.index(f"normal_{axis}") for axis in "xyz" if f"normal_{axis}" in names]
    out.place = places(out.pos, out.x[:, facing] if spec.domain == "surface" and len(facing) == 3 else None)
    if spec.topology and topology(graph) == spec.topology:
        out.node_number = torch.arange(len(out.pos))


def _check_graph(graph: MeshGraph, spec: CaseSpec) -> None:
    if graph.pos.shape[1] != spec.dim:
        raise InputError(
            f"{graph.label}: the mesh is {graph.pos.shape[1]}-D, the model was made for {spec.dim}-D meshes"
            + ("; extrude the mesh or train a model on 2-D cases" if spec.dim == 3 else "")
        )
    found = len(own_columns(graph) if spec.bodies else input_names(graph))
    if found != len(spec.inputs):
        raise InputError(
            f"{graph.label}: the graph has {found} input channels in x, the model takes {listing(spec.inputs)}"
        )


def _complete(graph: MeshGraph, spec: CaseSpec) -> bool:
    return graph.get("y") is not None and all(name in graph.fields for name in spec.fields)


def _row(names: Sequence[str], values: Mapping[str, float], what: str) -> Tensor:
    missing = [name for name in names if name not in values]
    if missing:
        raise InputError(f"{what} {listing(missing)} is missing; give it ({settings(missing)})")
    return torch.tensor([[float(values[name]) for name in names]])


def _free_fields(graph: MeshGraph, frame: Frame, spec: CaseSpec, flow: FlowConditions) -> Tensor:
    """``[n, c]`` fields in the frame of the body, free of density and speed."""
    columns = []
    scaling = spec.scaling(flow)
    for name, size in zip(spec.fields, spec.sizes, strict=True):
        values = graph.field(name).reshape(len(graph.pos), -1)
        if values.shape[1] != size:
            raise InputError(f"{graph.label}: field '{name}' has {values.shape[1]} channels, the model has {size}")
        shift, scale = scaling[name]
        values = (values - shift) / scale
        columns.append(frame.vectors(values) if size == 3 else values)
    return torch.cat(columns, 1)
