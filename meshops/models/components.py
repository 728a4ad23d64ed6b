"""Fields of a case from principal components: proper orthogonal decomposition with a regression of the coefficients.

    u(x, v) = mean(x) + sum_k c_k(v) phi_k(x),      phi: components of the training fields, c: a regression of the case

(Sirovich 1987; with a Gaussian process, Guo and Hesthaven 2018, eq. 24.) The case vector v holds the conditions and,
where shapes differ, the numbers of :func:`meshops.data.shape.shape_numbers`. With no component left this is the mean of
the training cases; with all of them and the nearest case as regression it is the nearest neighbour.

Departure: cases need not share a mesh. Components live on the nodes of one reference case; nodes of other cases take
the values of the nearest places (:func:`meshops.data.shape.places`), weighted by their inverse squared distance.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from meshops.models.registry import register_model
from meshops.nn.case_inputs import CaseInputs, case_inputs
from meshops.nn.case_regression import CaseRegression
from meshops.ops.neighbors import knn_search

NEIGHBORS = 4


@register_model
class Components(nn.Module):
    """See the module text; :func:`meshops.selection.reduced.fitted` makes one of training cases.

    Args:
        nodes: Nodes of the reference.
        places: Numbers of a place.
        out_channels: c.
        rank: Number of components.
        shape: The case vector holds the shape.
        regression: Arguments of :class:`~meshops.nn.case_regression.CaseRegression`.
        corresponding: Numbered nodes of a case are those of the reference, which has all of them.
    """

    takes: ClassVar[frozenset[str]] = frozenset({"case"})
    where: Tensor
    mean: Tensor
    modes: Tensor

    def __init__(
        self, *, nodes: int, places: int, out_channels: int, rank: int, shape: bool, regression: dict[str, Any],
        corresponding: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self.shape, self.corresponding = shape, corresponding
        self.regression = CaseRegression(**regression)
        self.register_buffer("where", torch.zeros(nodes, places))
        self.register_buffer("mean", torch.zeros(nodes, out_channels))
        self.register_buffer("modes", torch.zeros(rank, nodes, out_channels))

    def unpack(self, graph: Any) -> CaseInputs:
        """Case vectors and places of the nodes."""
        inputs = case_inputs(graph, shape=self.shape)
        return inputs if self.corresponding else inputs._replace(number=None)

    def forward(self, inputs: CaseInputs) -> Tensor:
        """Fields ``[n, c]``."""
        coefficients = self.regression(inputs.vector).to(self.mean.dtype)
        index, weight = on_reference(self.where, inputs)
        out = []
        for rows, (first, last) in zip(coefficients, inputs.graph_ptr.unfold(0, 2, 1).tolist(), strict=True):
            nodes = index[first:last]
            used, place = torch.unique(nodes, return_inverse=True)
            fields = self.mean[used] + torch.einsum("r,rnc->nc", rows, self.modes[:, used])
            out.append((fields[place] * weight[first:last].unsqueeze(-1)).sum(1))
        return torch.cat(out)


def on_reference(where: Tensor, inputs: CaseInputs) -> tuple[Tensor, Tensor]:
    """Nodes of the reference ``[n, k]`` that stand for each node, and their weights, which sum to 1."""
    if inputs.number is not None:
        index = inputs.number.unsqueeze(1)
        return index, torch.ones_like(index, dtype=where.dtype)
    found = knn_search(where, min(NEIGHBORS, len(where)), inputs.place)
    shape = (len(inputs.place), -1)
    weight = 1 / found.distance.view(shape).square().clamp(min=1e-12)
    return found.index.view(shape), weight / weight.sum(1, keepdim=True)
