"""Predictions that need no training: what any surrogate has to beat on the same held-out shapes.

``nearest``: the fields of the nearest training case. ``average``: the mean of the fields of all training cases. Both
carry values over from the nearest point in coordinates of the unit bounding box; "nearest" means the Euclidean distance
of the z-scored geometry parameters (of the shape descriptors where a dataset has no parameters; for plain fields of the
conditions, and of mean and spread of places and inputs).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from meshops.aero.cases import Case, graph_case
from meshops.aero.prepare import restored
from meshops.data.mesh_graph import MeshGraph, origin_of
from meshops.datasets.base import CaseDataset
from meshops.tasks.base import CaseSource
from meshops.tasks.fields_report import case_row, summary
from meshops.tasks.fields_samples import as_cases
from meshops.tasks.fields_spec import FieldsSpec
from meshops.tasks.prepared import case_flow
from meshops.tasks.report import Row, shown

Array = NDArray[np.float64]
EXAMPLE_NODES = 400_000  # of a training case that are kept
FEWEST = 20  # training cases that are taken in any case
MOST_LOOKUPS, MOST_HELD = 2e8, 2e7  # values that are carried over, and nodes that are held, in all


@dataclass(frozen=True, eq=False)
class Example:
    """A training shape.

    Attributes:
        pos: ``[n, 3]`` nodes.
        corners: ``[2, 3]`` lower and upper corner of the bounding box of the mesh.
        fields: ``[n, c]``.
        parameters: ``[g]`` geometry parameters.
    """

    pos: Array
    corners: Array
    fields: Array
    parameters: Array


class Yardsticks:
    """The two yardsticks for a training set; the training mean is judged by the task itself.

    Args:
        training: Training shapes.
    """

    def __init__(self, training: Sequence[Example]) -> None:
        self.training = training
        self.trees = [cKDTree(unit_box(example.pos, example.corners)) for example in training]
        self.parameters = np.array([example.parameters for example in training])
        self.scale = self.parameters.std(0)
        self.scale[self.scale == 0] = 1

    def predict(self, pos: Array, corners: Array, parameters: Array) -> dict[str, Array]:
        """Fields ``[n, c]`` of each yardstick at the nodes of a new shape."""
        unit = unit_box(pos, corners)
        carried = [
            example.fields if _same(example.pos, pos) else example.fields[tree.query(unit, workers=-1)[1]]
            for example, tree in zip(self.training, self.trees, strict=True)
        ]
        distance = np.linalg.norm((self.parameters - parameters) / self.scale, axis=1)
        return {"nearest": carried[int(distance.argmin())], "average": np.mean(carried, axis=0)}


def _same(one: Array, other: Array) -> bool:
    return one.shape == other.shape and bool(np.array_equal(one, other))


def unit_box(pos: Array, corners: Array) -> Array:
    """Positions scaled so that the bounding box becomes [0, 1]^3."""
    low, high = corners
    return np.asarray((pos - low) / np.where(high > low, high - low, 1), dtype=np.float64)


def yardstick_rows(spec: FieldsSpec, data: CaseSource, training: CaseSource) -> dict[str, Row]:
    """Mean errors of each yardstick on cases, as a report has them; empty for volumes around bodies.

    Of many training cases some are taken, evenly, and of large ones some nodes, so that work and memory stay bounded.
    """
    if spec.domain == "volume":
        return {}
    if not len(data) or not len(training):
        return {}
    cases, shapes = as_cases(data), as_cases(training)
    known = Yardsticks([_thinned(_example(shapes, i, spec)[0]) for i in _some(shapes, cases)])
    tables: dict[str, dict[str, Row]] = {}
    for i, name in enumerate(cases.cases):
        example, case = _example(cases, i, spec)
        for yardstick, values in known.predict(example.pos, example.corners, example.parameters).items():
            fields = restored(torch.as_tensor(values), spec, None, case.flow)
            row = case_row(case, {key: array.float().numpy() for key, array in fields.items()}, spec)
            tables.setdefault(yardstick, {})[name] = row
    return {name: summary(table) for name, table in tables.items()}


def behind(held_out: object) -> list[str]:
    """A sentence for each held-out error of a surrogate that a yardstick beats; ``held_out`` as in a checkpoint."""
    if not isinstance(held_out, Mapping):
        return []
    mean, baselines = held_out.get("mean") or {}, held_out.get("baselines") or {}
    out = []
    for key, own in mean.items():
        if own is None or not key.endswith(("_rel_l2", "_error")):
            continue
        others = [
            (float(value), name) for name, row in baselines.items()
            if not name.startswith(" ") and (value := row.get(key)) is not None
        ]  # fmt: skip
        if others and min(others)[0] < own:
            value, name = min(others)
            out.append(
                f"on held-out cases this surrogate is worse than '{name}' in {key} ({shown(own)} against "
                f"{shown(value)}): no skill there"
            )
    return out


def _thinned(example: Example) -> Example:
    """The same with no more than :data:`EXAMPLE_NODES` nodes, at random."""
    if len(example.pos) <= EXAMPLE_NODES:
        return example
    chosen = np.sort(np.random.default_rng(0).permutation(len(example.pos))[:EXAMPLE_NODES])
    return replace(example, pos=example.pos[chosen], fields=example.fields[chosen])


def _some(shapes: CaseDataset, cases: CaseDataset) -> list[int]:
    nodes = max(1, shapes.nodes_of(0))
    most = max(FEWEST, int(min(MOST_LOOKUPS / len(cases), MOST_HELD) / nodes))
    return sorted(set(np.linspace(0, len(shapes) - 1, min(most, len(shapes))).astype(int).tolist()))


def _example(cases: CaseDataset, index: int, spec: FieldsSpec) -> tuple[Example, Case]:
    """A case for the yardsticks: fields free of speed and density."""
    graph = cases[index]
    case = graph_case(graph, spec, flow=case_flow(cases, index, spec))
    points = graph.get("points")
    plain = points is None or spec.domain == "graph"
    corners = graph.pos if plain else points.double() - origin_of(graph)
    values = _description(cases, index, case, graph)
    scaling = spec.scaling(case.flow)
    columns = [
        (graph.field(name).reshape(len(graph.pos), -1).double() - scaling[name][0]) / scaling[name][1]
        for name in spec.fields
    ]
    box = np.stack([corners.amin(0).numpy(), corners.amax(0).numpy()]).astype(np.float64)
    return Example(graph.pos.double().numpy(), box, torch.cat(columns, 1).numpy(), values), case


def _description(cases: CaseDataset, index: int, case: Case, graph: MeshGraph) -> Array:
    """What "near" is measured in: geometry parameters, descriptors of a body, or conditions, extents and inputs."""
    parameters = np.array(list(cases.parameters(index).values()), dtype=np.float64)
    if case.body is not None:
        return parameters if parameters.size else np.asarray(case.body.descriptors(case.flow), dtype=np.float64)
    spread = [graph.pos] if graph.get("x") is None else [graph.pos, graph.x]
    rows = torch.cat([values.reshape(len(graph.pos), -1).double() for values in spread], 1)
    stated = [float(value) for _, value in sorted(cases.conditions_of(index).items())]
    shape = torch.cat([rows.mean(0), rows.std(0, correction=0)]).numpy()
    return np.concatenate([parameters, stated, shape])
