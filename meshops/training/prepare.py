"""Cases of a dataset as training data, and what a surrogate remembers of the training shapes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.progress import track

from meshops.data.mesh_graph import MeshGraph
from meshops.datasets import CaseDataset
from meshops.tasks.cases import BodySurface, attach_body
from meshops.tasks.envelope import Envelope
from meshops.tasks.steady import SteadySpec, SteadyTask

# Names under which the public datasets store the fields that get drawn and integrated.
ROLES = {
    "pressure": ("pMean", "pMeanTrim", "pressure", "p", "point_scalars"),
    "shear": ("wallShearStressMean", "wallShearStressMeanTrim", "wallShearStress", "shear"),
    "velocity": ("UMean", "UMeanTrim", "velocity", "U"),
}


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
    graphs, descriptors, sizes = [], [], []
    cases = track(range(len(data)), "reading and describing shapes", console=console, transient=True,
                  disable=not console.is_terminal)  # fmt: skip
    for i in cases:
        graph = with_body(data[i], spec)
        prepared, _ = SteadyTask.prepare(graph, spec)
        graphs.append(prepared)
        if spec.domain == "surface":
            body = surface_of(graph)
            value = body.descriptors(spec.conditions)
            descriptors.append(value)
            sizes.append(body.resolution(spec.conditions))
    envelope = Envelope(np.array(descriptors), data.cases) if descriptors else None
    size, points = np.median(sizes, axis=0) if sizes else (None, None)
    return Prepared(graphs, envelope, None if size is None else float(size), None if points is None else float(points))


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
