"""Cases of a dataset as training data, and what a surrogate remembers of the training shapes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from rich.console import Console
from rich.progress import track

from meshops.data.conditions import FlowConditions
from meshops.data.features import body_of, frame_of
from meshops.data.mesh_graph import MeshGraph
from meshops.data.symmetry import LOPSIDED, lopsided_fields, lopsided_share
from meshops.datasets import CaseDataset
from meshops.tasks.cases import BodySurface, attach_body
from meshops.tasks.envelope import Envelope, FeatureRange
from meshops.tasks.steady import SteadySpec, SteadyTask, varying_features, varying_names

# Names under which the public datasets store the fields that get drawn and integrated.
ROLES = {
    "pressure": ("pMean", "pMeanTrim", "pressure", "p", "point_scalars"),
    "shear": ("wallShearStressMean", "wallShearStressMeanTrim", "wallShearStress", "shear"),
    "velocity": ("UMean", "UMeanTrim", "velocity", "U"),
}
LOOKED_AT = 4  # cases on which mirror symmetry is decided
ODD = 0.3  # fields with a larger antisymmetric part were made by conditions that are not symmetric


@dataclass(frozen=True, eq=False)
class Prepared:
    """Training data.

    Attributes:
        graphs: Canonical graphs with features and fields, one per case.
        envelope: Descriptors of the shapes; None for volumes.
        cell_size: Median edge length over body length; None for volumes.
        cell_points: Mean number of points of a cell.
    """

    graphs: list[MeshGraph]
    envelope: Envelope | None
    cell_size: float | None
    cell_points: float | None


def prepare_cases(data: CaseDataset, spec: SteadySpec, console: Console) -> Prepared:
    """Read every case once: features, fields, descriptors."""
    graphs, descriptors, sizes, names = [], [], [], varying_names(spec)
    cases = track(range(len(data)), "reading and describing shapes", console=console, transient=True,
                  disable=not console.is_terminal)  # fmt: skip
    for i in cases:
        graph, conditions = with_body(data[i], spec), case_conditions(data, i, spec)
        prepared, _ = SteadyTask.prepare(graph, spec, conditions)
        graphs.append(prepared)
        if spec.domain == "surface":
            body = surface_of(graph)
            descriptors.append(body.descriptors(conditions))
            sizes.append(body.resolution(conditions))
    envelope = None
    if descriptors:
        seen = FeatureRange.over(names, (varying_features(graph, spec) for graph in graphs))
        envelope = Envelope(np.array(descriptors), data.cases, seen)
    size, points = np.median(sizes, axis=0) if sizes else (None, None)
    return Prepared(graphs, envelope, None if size is None else float(size), None if points is None else float(points))


def decide_symmetry(data: CaseDataset, spec: SteadySpec) -> tuple[SteadySpec, str]:
    """Fold the cases in half only where their conditions, their shapes and their fields have a mirror plane.

    Returns:
        The spec with ``conditions.symmetric`` as decided, and the reason in a sentence. Looks at the first cases.
    """
    if not spec.conditions.symmetric:
        return spec, "mirror symmetry is not used: the conditions say that there is none"
    shapes, fields = [], []
    for i in range(min(LOOKED_AT, len(data))):
        graph = with_body(data[i], spec)
        frame = frame_of(graph, case_conditions(data, i, spec), spec.domain)
        shapes.append(lopsided_share(body_of(graph, frame, spec.domain)))
        values = {name: graph.field(name) for name in spec.fields}
        normal = graph.normal if spec.domain == "surface" else None
        fields.append(lopsided_fields(graph.pos, normal, values, frame))
    odd = {name: float(np.mean([row[name] for row in fields])) for name in spec.fields}
    worst = max(odd, key=lambda name: odd[name])
    if max(shapes) > LOPSIDED:
        found = f"{100 * max(shapes):.0f} % of the surface of a body has no mirror image"
    elif odd[worst] > ODD:
        found = f"{100 * odd[worst]:.0f} % of the variation of '{worst}' is not mirrored, so the conditions are not"
    else:
        return spec, "mirror symmetry is used: shapes and fields have a mirror plane across the flow"
    conditions = replace(spec.conditions, symmetric=False)
    return replace(spec, conditions=conditions), f"mirror symmetry is not used: {found}"


def case_conditions(data: CaseDataset, index: int, spec: SteadySpec) -> FlowConditions:
    """Conditions of a case, folded as the task is; those of the training where either states none."""
    return spec.at(data.conditions_of(index) if spec.conditions_stated and data.conditions_stated else None)


def with_body(graph: MeshGraph, spec: SteadySpec) -> MeshGraph:
    """A volume graph with the body inside it attached; surfaces as they are."""
    if spec.domain == "surface" or graph.get("body_pos") is not None:
        return graph
    from meshops.data.convert import to_pyvista  # VTK

    return attach_body(graph, to_pyvista(graph))


def surface_of(graph: MeshGraph) -> BodySurface:
    """The cells of a surface graph, for integration and description."""
    from meshops.data.convert import to_pyvista  # VTK

    return BodySurface.of(to_pyvista(graph), graph.label)
