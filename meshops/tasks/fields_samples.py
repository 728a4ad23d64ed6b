"""Cases as training samples of fields, read once: fields, inputs, conditions, mirror symmetry, features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from meshops.aero.case_spec import ROLE_NAMES
from meshops.aero.cases import Case, graph_case
from meshops.aero.prepare import input_names, not_mirrored, own_columns, prepare, surface_of, with_body
from meshops.data.mesh_graph import MeshGraph
from meshops.datasets.base import CaseDataset
from meshops.datasets.graph_list import GraphList, graphs_of
from meshops.datasets.mesh_trajectory import MeshTrajectoryDataset
from meshops.datasets.trajectory import TrajectoryDataset
from meshops.errors import InputError, listing
from meshops.tasks.base import CaseSource, Context, Samples, training_count
from meshops.tasks.fields_spec import FieldsSettings, FieldsSpec
from meshops.tasks.prepared import PreparedGraphs, case_flow, kept_case, prepare_case, prepare_lacking, table_of

T = TypeVar("T")

LOOKED_AT = 4  # cases on which mirror symmetry is decided


@dataclass(eq=False, kw_only=True)
class FieldsSamples(Samples):
    """Prepared cases.

    Attributes:
        graphs: Training cases as the model sees them, not yet normalised.
        names: Of all cases.
        descriptors: ``[s, k]`` numbers of the shapes of bodies on surfaces.
        cell_size: Median edge length over body length; None for others.
        cell_points: Mean number of points of a cell.
        places: ``[s, 2]`` middle of each body along the flow and across it, m.
        decided: What was decided, for the screen.
        reference: The mesh that all cases share; None where they differ, or where inputs of the nodes do.
    """

    spec: FieldsSpec
    graphs: Sequence[MeshGraph]
    held_out: Sequence[MeshGraph]
    offers: frozenset[str]
    names: tuple[str, ...]
    descriptors: NDArray[np.float64] | None = None
    cell_size: float | None = None
    cell_points: float | None = None
    places: NDArray[np.float64] | None = None
    decided: tuple[str, ...] = ()
    reference: MeshGraph | None = None

    def __post_init__(self) -> None:
        self.cases = len(self.graphs)

    def __len__(self) -> int:
        """Number of training cases."""
        return len(self.graphs)

    def size(self, number: int) -> int:
        """Nodes of a case, or of the subset that is drawn of it."""
        graphs = self.graphs
        nodes = int(graphs.told(number)["nodes"]) if isinstance(graphs, PreparedGraphs) else len(graphs[number].pos)
        return min(nodes, self.spec.nodes) if self.spec.nodes else nodes

    def describe(self) -> str:
        """Cases, fields and conditions."""
        told = ", ".join(map(self.spec.named, self.spec.conditions))
        told = f", conditions {told}" if told else ""
        return f"{len(self.graphs) + len(self.held_out)} training cases, fields {', '.join(self.spec.fields)}{told}"

    def notes(self) -> Sequence[str]:
        """What was decided."""
        return self.decided


def make_samples(data: CaseSource, settings: FieldsSettings, context: Context) -> FieldsSamples:
    """Read every case once: features, fields, conditions, descriptors.

    Raises:
        InputError: The cases are trajectories, lack a field, differ in what they hold, or too few are left.
    """
    cases = as_cases(data)
    spec, decided = decided_spec(cases, settings)
    kept = training_count(len(cases), context.held_out)
    reference = shared_mesh(cases) if spec.shape else None
    if cases.keeps is not None:
        return _kept_samples(cases, spec, kept, reference, decided, context)
    graphs, descriptors, sizes, places = [], [], [], []
    for index in context.track(len(cases), "reading the cases"):
        graph, flow = with_body(cases[index], spec), case_flow(cases, index, spec)
        graphs.append(prepare(graph, spec, flow, cases.conditions_of(index), cases.numbers_of(index))[0])
        if spec.domain == "surface":
            body = surface_of(graph)
            descriptors.append(body.descriptors(flow))
            sizes.append(body.resolution(flow))
            places.append(body.middle(flow))
    size, points = (float(v) for v in np.median(sizes, axis=0)) if sizes else (None, None)
    return FieldsSamples(
        spec=spec,
        graphs=graphs[:kept],
        held_out=graphs[kept:],
        offers=_offers(graphs, spec),
        names=tuple(cases.cases),
        descriptors=np.array(descriptors) if descriptors else None,
        cell_size=size,
        cell_points=points,
        places=np.array(places) if places else None,
        decided=(decided,) if decided else (),
        reference=reference,
    )


def decided_spec(cases: CaseDataset, settings: FieldsSettings) -> tuple[FieldsSpec, str]:
    """What is learnt of the cases, and what was decided of their symmetry, in a sentence or empty.

    Raises:
        InputError: See :func:`make_spec`.
    """
    spec, decided = make_spec(cases, settings), ""
    if spec.bodies:
        spec, decided = decide_symmetry(cases, spec)
    if spec.shape and len(found := {cases.topology_of(i) for i in range(len(cases))}) == 1:
        spec = replace(spec, topology=found.pop())
    return spec, decided


def prepare_all(cases: CaseDataset, spec: FieldsSpec, *, jobs: int = 1) -> Iterator[str]:
    """Compute what models see of cases that keep it; yields what came of each, see :func:`prepare_case`.

    Work is spread by joblib, whose back ends serve as they are.
    """
    from joblib import Parallel, delayed  # type: ignore[import-untyped]

    work = Parallel(n_jobs=jobs, return_as="generator_unordered")
    yield from work(delayed(prepare_case)(cases, i, spec) for i in range(len(cases)))


def _kept_samples(
    cases: CaseDataset, spec: FieldsSpec, kept: int, reference: MeshGraph | None, decided: str, context: Context
) -> FieldsSamples:
    """Samples of cases that keep what is computed of them: what lacks is computed, then all is read as it is needed."""
    there = prepare_lacking(cases, spec, context.track(len(cases), "preparing the cases"))
    graphs = PreparedGraphs(cases, spec, range(len(cases)))
    solid = spec.domain == "surface"
    sizes = table_of(graphs, "resolution") if solid else None
    said = f"{there} of {len(cases)} prepared cases were there already"
    return FieldsSamples(
        spec=spec,
        graphs=graphs[:kept],
        held_out=graphs[kept:],
        offers=_offers(graphs[:1], spec),
        names=tuple(cases.cases),
        descriptors=table_of(graphs, "descriptors") if solid else None,
        cell_size=None if sizes is None else float(np.median(sizes[:, 0])),
        cell_points=None if sizes is None else float(np.median(sizes[:, 1])),
        places=table_of(graphs, "place") if solid else None,
        decided=(decided, said) if decided else (said,),
        reference=reference,
    )


def shared_mesh(cases: CaseDataset) -> MeshGraph | None:
    """The mesh of all cases, without fields; None where nodes, cells or inputs of the nodes differ."""
    first = cases[0]
    if not cases.topology_of(0):
        return None
    mesh = cases.mesh_of(0)
    if not all(cases.mesh_of(i) == mesh for i in range(1, len(cases))):
        return None
    out = first.clone_shallow()
    for key in ("y", "y_names", "y_sizes", "y_units", "notes", "source"):
        if key in out:
            del out[key]
    out.name = "the mesh of the training"
    return out


def as_cases(data: CaseSource) -> CaseDataset:
    """Cases of a data set, or of a list of PyG ``Data``.

    Raises:
        InputError: The data are trajectories, or something else.
    """
    if isinstance(data, CaseDataset):
        return data
    if isinstance(data, TrajectoryDataset | MeshTrajectoryDataset):
        raise InputError(
            f"kind 'fields' learns finished cases, and {type(data).__name__} holds trajectories; use kind: rollout, "
            "autoencode or generate"
        )
    return GraphList(graphs_of(data))


def make_spec(cases: CaseDataset, settings: FieldsSettings) -> FieldsSpec:
    """What the cases offer, as a task.

    Raises:
        InputError: A wanted field, number or condition is not there, or the cases mix surface and volume.
    """
    graph = cases[0]
    joint = graph.get("y_use") is not None
    if joint and settings.geometry == "body":
        raise InputError(
            f"{graph.label}: features of a body are computed for its surface or for the air around it, and these cases "
            "hold both; leave out task.geometry, so that the inputs of the data are taken"
        )
    if settings.surface_share is not None and not (joint and settings.nodes):
        raise InputError(
            "task.surface_share divides subsets of cases that hold surface and volume: give task.nodes too, and such "
            "cases (--data.options.domain all)"
        )
    sizes = {name: s.stop - s.start for name, s in graph.field_slices().items()}
    chosen = tuple(settings.fields or graph.fields)
    if not chosen:
        raise InputError(
            f"{graph.label}: no field to learn; give y [n, c], and y_names and y_sizes of its fields; results of "
            "shapes alone are learnt by 'meshops fit'"
        )
    for name in chosen:
        graph.field(name)  # says which fields there are
    units = dict(zip(graph.fields, graph.get("y_units") or ("",) * len(graph.fields), strict=True))
    units |= dict(zip(cases.fields, cases.units, strict=True))
    conditions, numbers = _chosen_conditions(cases, settings), _chosen_numbers(cases, settings)
    spec = FieldsSpec(
        fields=chosen,
        sizes=tuple(sizes[name] for name in chosen),
        units=tuple(units[name] for name in chosen),
        dim=graph.pos.shape[1],
        inputs=input_names(graph),
        conditions=conditions,
        numbers=numbers,
        quantity_units=tuple(cases.quantity_units.get(name, "") for name in (*conditions, *numbers)),
        location="cell" if graph.get("location") == "cell" else "point",
        nodes=settings.nodes or 0,
        surface_share=settings.surface_share,
        loss=_of_chosen(settings.loss, chosen, graph.fields),
        weights=_of_chosen(settings.weights, chosen, graph.fields),
        number_weight=settings.number_weight,
        metrics=settings.metrics,
        shape=settings.shape,
    )
    if joint or not _is_body(cases, graph, settings):
        return spec
    known = {role: (cases.roles.get(role), *names) for role, names in ROLE_NAMES.items()}
    roles: dict[str, Any] = {role: next((n for n in names if n in chosen), None) for role, names in known.items()}
    return replace(
        spec,
        **roles,
        inputs=tuple(spec.inputs[i] for i in own_columns(graph)),
        domain="volume" if graph.num_cells and int(graph.cell_type[0]) >= 10 else "surface",
        flow=cases.flow,
        flow_stated=cases.flow_stated,
        features=settings.features(cases.flow),
        nodes=2048 if settings.nodes is None else settings.nodes,
        hide=settings.hide_cues,
    )


def _of_chosen(values: tuple[T, ...], chosen: Sequence[str], every: Sequence[str]) -> tuple[T, ...]:
    """Settings one per field: a recipe that gives them for all fields of the data keeps those of the chosen ones."""
    if len(values) in (1, len(chosen)) or len(values) != len(every):
        return values  # a wrong number is refused by the spec
    return tuple(values[list(every).index(name)] for name in chosen)


def _is_body(cases: CaseDataset, graph: MeshGraph, settings: FieldsSettings) -> bool:
    able = graph.pos.shape[1] == 3 and graph.num_cells > 0
    if settings.geometry == "body" and not able:
        raise InputError(
            f"{graph.label}: features of a body need a 3-D mesh with cells, got {graph.pos.shape[1]}-D with "
            f"{graph.num_cells} cells; use task.geometry none"
        )
    return settings.geometry == "body" or (settings.geometry == "auto" and able and cases.flow_stated)


def _chosen_conditions(cases: CaseDataset, settings: FieldsSettings) -> tuple[str, ...]:
    rows = [cases.conditions_of(i) for i in range(len(cases))]
    shared = [name for name in rows[0] if all(name in row for row in rows)]
    if settings.conditions is None:
        return tuple(name for name in shared if len({row[name] for row in rows}) > 1)
    missing = [name for name in settings.conditions if name not in shared]
    if missing:
        raise InputError(f"not every case states the condition {listing(missing)}; all state {listing(shared)}")
    return settings.conditions


def _chosen_numbers(cases: CaseDataset, settings: FieldsSettings) -> tuple[str, ...]:
    for index, case in enumerate(cases.cases if settings.numbers else ()):
        known = cases.numbers_of(index)
        missing = [name for name in settings.numbers if name not in known]
        if missing:
            raise InputError(f"{case}: no number {listing(missing)} to learn; the case has {listing(known)}")
    return settings.numbers


def _offers(graphs: Sequence[MeshGraph], spec: FieldsSpec) -> frozenset[str]:
    """Grids too, where whole cases of one grid are learnt."""
    shapes = {None if (s := graph.get("grid_shape")) is None else tuple(s.flatten().tolist()) for graph in graphs}
    whole = not spec.nodes and len(shapes) == 1 and None not in shapes
    return frozenset({"points", "graph"} | ({"grid"} if whole else set()) | ({"case"} if spec.shape else set()))


def decide_symmetry(cases: CaseDataset, spec: FieldsSpec) -> tuple[FieldsSpec, str]:
    """Fold the cases in half only where their flow, their shapes and their fields have a mirror plane.

    Returns:
        The spec with ``flow.symmetric`` as decided, and the reason in a sentence. Looks at the first cases.
    """
    if not spec.flow.symmetric:
        return spec, "mirror symmetry is not used: the conditions say that there is none"
    first = range(min(LOOKED_AT, len(cases)))
    found = not_mirrored(((with_body(cases[i], spec), case_flow(cases, i, spec)) for i in first), spec)
    if not found:
        return spec, "mirror symmetry is used: shapes and fields have a mirror plane across the flow"
    return replace(spec, flow=replace(spec.flow, symmetric=False)), f"mirror symmetry is not used: {found}"


def case_at(cases: CaseDataset, index: int, spec: FieldsSpec) -> Case:
    """A case of a data set, opened: what it has of the fields is the truth."""
    graph = with_body(cases[index], spec)
    case = graph_case(
        graph,
        spec,
        flow=case_flow(cases, index, spec) if spec.bodies else None,
        conditions=cases.conditions_of(index),
        numbers=cases.numbers_of(index),
    )
    if cases.keeps is not None and case.graph is graph:
        case.keeping = partial(kept_case, cases, index, spec, case)
    return case
