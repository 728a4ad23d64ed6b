"""Boosted regression trees on the features of single nodes (Friedman 2001; trees on histograms: Ke et al. 2017).

    u_c(x) = b_c + sum_t v_ct(x)

Every node is judged by itself, from its position and its inputs: for bodies these hold the shape around it and the
potential flow, which is most of what a few cases can teach. Fitted in seconds, without steps of an optimiser.

Departure: the mean of several boostings that differ in the features each split may choose from.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from meshops.models.registry import register_model
from meshops.ops.trees import TreeTable, tree_sums


@register_model
class Trees(nn.Module):
    """See the module text; :func:`meshops.training.boosting.boosted` makes one of training cases.

    Args:
        in_channels: Inputs beside the position.
        out_channels: c.
        pos_dim: Of the positions.
        nodes: Of all trees together.
        trees: Number of trees.
        depth: Largest number of steps from a root to a leaf.
    """

    takes: ClassVar[frozenset[str]] = frozenset({"case"})  # fitted, not trained: no run file builds one
    base: Tensor

    def __init__(
        self, in_channels: int, out_channels: int, *, pos_dim: int = 3, nodes: int = 1, trees: int = 1, depth: int = 1
    ) -> None:
        super().__init__()
        self.columns = pos_dim + in_channels
        self.depth = depth
        self.register_buffer("base", torch.zeros(out_channels))
        whole, real = torch.int32, torch.float32
        kinds = {"feature": whole, "threshold": real, "child": whole, "value": real, "root": whole, "channel": whole}
        for name, kind in kinds.items():
            count = trees if name in ("root", "channel") else nodes
            self.register_buffer(name, torch.zeros((count, 2) if name == "child" else count, dtype=kind))

    def unpack(self, graph: Any) -> Tensor:
        """Rows ``[n, pos_dim + in_channels]``: position and inputs of each node."""
        return torch.cat([graph.pos, graph.x], 1)

    def forward(self, rows: Tensor) -> Tensor:
        """Fields ``[n, c]``."""
        return self.base + tree_sums(rows.detach(), self.table(), len(self.base))

    def table(self) -> TreeTable:
        """The trees."""
        arrays: dict[str, Any] = {name: getattr(self, name) for name in TreeTable._fields[:-1]}
        return TreeTable(**arrays, depth=self.depth)
