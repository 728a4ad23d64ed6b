"""Cases for a surrogate of fields that was trained on others: prepared as it sees them.

Fields at the points of a surface are averaged to its cells for a surrogate of cells, and the other way round, as a
prediction does. Features of the mesh itself are hidden where the cells are unlike those the surrogate knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meshops.aero.conditions import FlowConditions
from meshops.aero.prepare import not_mirrored, placed, prepare, surface_of, with_body
from meshops.data.mesh_graph import MeshGraph
from meshops.datasets.base import CaseDataset
from meshops.errors import InputError, listing
from meshops.tasks.base import CaseSource, Context, Task, training_count
from meshops.tasks.fields_samples import LOOKED_AT, FieldsSamples, as_cases
from meshops.tasks.fields_spec import FieldsSettings, FieldsSpec
from meshops.tasks.prepared import PreparedGraphs, case_flow, prepare_lacking, table_of

Array = NDArray[np.float64]
FREE = ("loss", "weights", "number_weight", "metrics")  # settings of the learning, which may be others
KEPT = ("radii", "potential_flow", "potential_change", "max_sources", "mesh_cues", "geometry", "hide_cues", "nodes")
"""Settings of what the model sees: decided by the start."""


def begun_samples(data: CaseSource, settings: FieldsSettings, context: Context) -> FieldsSamples:
    """Training samples for the surrogate ``context.start``, which they name as the one that is continued.

    Args:
        data: Cases with the same fields. Their flow and the place of their fields may be others.
        settings: Loss and weights are taken from here where they are not the default.
        context: What is held out, and the surrogate.

    Raises:
        InputError: The start is of another kind, or the cases lack its fields, inputs or conditions.
    """
    start: Task | None = context.start  # type: ignore[type-arg]
    assert start is not None
    if not isinstance(start.spec, FieldsSpec):
        raise InputError(f"task.start holds a surrogate of kind '{start.kind}'; give one of kind 'fields'")
    cases = as_cases(data)
    spec = begun_spec(start.spec, cases, settings)
    kept = training_count(len(cases), context.held_out)
    graphs, descriptors, sizes = (_kept if cases.keeps is not None else _read)(cases, spec, context)
    said = "inputs, features and normalisation are those of the surrogate that is continued"
    if spec.bodies and cases[0].get("location") not in (None, spec.location):
        said += f"; fields were averaged to the {spec.location}s, where it has them"
    known = start.memory()
    size, points = known["cell_size"], known["cell_points"]
    if spec.cues() and not (len(sizes) and like_cells(np.median(sizes, axis=0).tolist(), (size, points))):
        graphs = _hidden(start, graphs)
        said += "; features of the mesh itself are hidden, its cells are unlike those it learnt from"
    start.spec = spec
    samples = FieldsSamples(
        spec=spec,
        graphs=graphs[:kept],
        held_out=graphs[kept:],
        offers=frozenset(),
        names=tuple(cases.cases),
        descriptors=np.array(descriptors) if len(descriptors) else None,
        cell_size=size,  # type: ignore[arg-type]
        cell_points=points,  # type: ignore[arg-type]
        decided=(said,),
    )
    samples.begun = start
    return samples


Described = tuple[Sequence[MeshGraph], Sequence[Array], Sequence[Array]]


def _read(cases: CaseDataset, spec: FieldsSpec, context: Context) -> Described:
    """Cases as the surrogate sees them, and descriptors and resolution of bodies on surfaces."""
    graphs, descriptors, sizes = [], [], []
    for index in context.track(len(cases), "reading the cases"):
        graph, flow = placed(with_body(cases[index], spec), spec), case_flow(cases, index, spec)
        graphs.append(prepare(graph, spec, flow, cases.conditions_of(index), cases.numbers_of(index))[0])
        if graphs[-1].get("y") is None:
            raise InputError(f"{graph.label}: lacks a field of the start; it has {listing(graph.fields)}")
        if spec.domain == "surface":
            body = surface_of(graph)
            descriptors.append(body.descriptors(flow))
            sizes.append(np.asarray(body.resolution(flow)))
    return graphs, descriptors, sizes


def _kept(cases: CaseDataset, spec: FieldsSpec, context: Context) -> Described:
    """The same of cases that are kept on disk, none of them held."""
    prepare_lacking(cases, spec, context.track(len(cases), "preparing the cases"))
    graphs = PreparedGraphs(cases, spec, range(len(cases)))
    if not all(known := graphs.have("y")):
        raise InputError(f"{cases.cases[known.index(False)]}: lacks a field of the start, {listing(spec.fields)}")
    if spec.domain != "surface":
        return graphs, [], []
    return graphs, list(table_of(graphs, "descriptors")), list(table_of(graphs, "resolution"))


def _hidden(start: Any, graphs: Sequence[MeshGraph]) -> Sequence[MeshGraph]:
    """Cases without features of the mesh itself."""
    if not isinstance(graphs, PreparedGraphs):
        return [start.without_cues(graph) for graph in graphs]
    graphs.hidden = start._cue_columns()
    return graphs


def like_cells(found: Sequence[float], known: Sequence[object]) -> bool:
    """Cells about as large (over the length of the body) and with about as many points as those that are known."""
    (size, points), (known_size, known_points) = found, known
    if not isinstance(known_size, float) or not isinstance(known_points, float):
        return False
    return 0.5 < size / known_size < 2 and abs(points - known_points) < 0.4


def begun_spec(spec: FieldsSpec, cases: CaseDataset, settings: FieldsSettings) -> FieldsSpec:
    """What a trained surrogate learns of other cases.

    Raises:
        InputError: They lack one of its fields, or their nodes or their symmetry are none it can work with.
    """
    graph = cases[0]
    missing = [name for name in spec.fields if name not in graph.fields]
    if missing:
        raise InputError(
            f"{graph.label}: the surrogate to continue predicts {listing(spec.fields)}, and the cases have no "
            f"{listing(missing)}; they have {listing(graph.fields)}"
        )
    _check_settings(spec, settings)
    default = FieldsSettings()
    changed = {name: getattr(settings, name) for name in FREE if getattr(settings, name) != getattr(default, name)}
    spec = replace(spec, **changed)
    if not spec.bodies:
        return spec
    if cases.flow_stated:
        spec = replace(spec, flow=replace(cases.flow, symmetric=spec.flow.symmetric), flow_stated=True)
    if spec.flow.symmetric and (found := not_mirrored(_first(cases, spec), spec)):
        raise InputError(
            "the surrogate to continue learnt from bodies with a mirror plane across the flow and uses it, but "
            f"{found}; train a new one"
        )
    return spec


def _first(cases: CaseDataset, spec: FieldsSpec) -> Sequence[tuple[MeshGraph, FlowConditions]]:
    first = range(min(LOOKED_AT, len(cases)))
    return [(placed(with_body(cases[i], spec), spec), case_flow(cases, i, spec)) for i in first]


def _check_settings(spec: FieldsSpec, settings: FieldsSettings) -> None:
    """What a run file asks for must be what the surrogate has."""
    default = FieldsSettings()
    given = {f.name: getattr(settings, f.name) for f in fields(settings)}
    asked = {name: value for name, value in given.items() if value != getattr(default, name)}
    for name in ("fields", "conditions", "numbers"):
        if name in asked and tuple(asked[name]) != getattr(spec, name):
            raise InputError(
                f"task.{name} is {listing(asked[name])}, but the surrogate to continue has "
                f"{listing(getattr(spec, name))}; leave it out"
            )
    for name in KEPT:
        own = {"geometry": "body" if spec.bodies else "none", "hide_cues": spec.hide, "nodes": spec.nodes}
        has = own[name] if name in own else getattr(spec.features, name, None)
        if name in asked and asked[name] != has:
            raise InputError(f"task.{name} is {asked[name]}, but the surrogate to continue has {has}; leave it out")
