"""How candidates are compared: held-out predictions at the same nodes of each case, and their relative errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from meshops.data.mesh_graph import MeshGraph
from meshops.data.normalize import Normalizer
from meshops.ops.neighbors import knn_search
from meshops.tasks.fields import FieldsTask
from meshops.tasks.prepared import sizes_of
from meshops.training.compared import compared_nodes

Sheet = list[Tensor]  # normalised predictions ``[s, c]`` of one candidate, one tensor per case


@dataclass(frozen=True, eq=False)
class Truth:
    """What predictions are compared with.

    Attributes:
        nodes: ``[s]`` chosen nodes of each case, in ascending order.
        values: ``[s, c]`` normalised fields there.
        channels: Range of each field.
        origin: ``[c]`` normalised values of physical zero.
        norm: Of the fields.
    """

    nodes: list[Tensor]
    values: list[Tensor]
    channels: Mapping[str, slice]
    origin: Tensor
    norm: Normalizer

    @classmethod
    def of(cls, task: FieldsTask, graphs: Sequence[MeshGraph], *, seed: int = 0) -> Truth:
        """Truth of prepared cases, at the nodes of :func:`~meshops.training.compared.compared_nodes`."""
        count = len(graphs)
        return cls.at(task, graphs, [compared_nodes(n, i, count, seed=seed) for i, n in enumerate(sizes_of(graphs))])

    @classmethod
    def at(cls, task: FieldsTask, graphs: Sequence[MeshGraph], nodes: Sequence[Tensor]) -> Truth:
        """Truth at chosen nodes."""
        norm = task.output_norm
        values = [norm(graph.y[index]).cpu() for graph, index in zip(graphs, nodes, strict=True)]
        return cls(list(nodes), values, task.spec.slices(), (-norm.shift / norm.scale).cpu(), norm)

    def errors(self, case: int, prediction: Tensor) -> dict[str, float]:
        """Relative L2 error of each field of a case; NaN of a field that is zero."""
        out = {}
        for name, c in self.channels.items():
            truth = self.values[case][:, c]
            size = float((truth - self.origin[c]).norm())
            out[name] = float((prediction[:, c] - truth).norm()) / size if size > 0 else float("nan")
        return out

    def whole(self, case: int, rows: Tensor, graph: MeshGraph) -> Tensor:
        """``[n, c]`` a held-out prediction at all nodes: where it was not made, with the error of the nearest node."""
        nodes = self.nodes[case]
        if len(nodes) == len(graph.pos):
            return rows
        near = knn_search(graph.pos[nodes], 1, graph.pos).index.view(-1)
        error = torch.zeros(len(nodes), rows.shape[1]) + (rows - self.values[case])
        return self.all_of(graph) + error[near]

    def all_of(self, graph: MeshGraph) -> Tensor:
        """``[n, c]`` normalised fields of a case."""
        out: Tensor = self.norm(graph.y).cpu()
        return out

    def table(self, sheet: Sheet) -> NDArray[np.float64]:
        """``[cases, fields]`` errors of a candidate."""
        return np.array([list(self.errors(i, rows).values()) for i, rows in enumerate(sheet)])

    def weights(self, case: int) -> Tensor:
        """``[c]`` factors that turn squared differences of a case into squared relative errors, 0 for a zero field."""
        out = torch.zeros(len(self.origin))
        for c in self.channels.values():
            size = (self.values[case][:, c] - self.origin[c]).square().sum()
            out[c] = 1 / size if float(size) > 0 else 0.0
        return out


def score(errors: NDArray[np.float64]) -> float:
    """One number of a table of errors: its mean over cases and fields, those that are defined."""
    known = errors[np.isfinite(errors)]
    return float(known.mean()) if known.size else float("nan")
