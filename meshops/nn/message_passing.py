"""Layers of networks on graphs: a linear layer on edges that works on nodes, perceptrons and a recurrent unit."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from meshops.nn.row_linear import Kind, Part, RowLinear, SplitLinear, reset_as_one
from meshops.ops.rows import ACTIVATIONS, Activation, Rows


class RowMLP(nn.Module):
    """Linear layers with an activation between them, on rows that are nodes, edges or clusters.

    Args:
        channels: Width of the input, of each hidden layer and of the output.
        rows: What a row is.
        activation: Between the layers.
        last: Activation after the last one.
        first_fixed: Bits of the first layer once quantised, whatever is assigned (raw inputs).
        last_fixed: The same for the last layer (outputs).
    """

    def __init__(
        self,
        channels: Sequence[int],
        *,
        rows: Kind,
        activation: Activation = "relu",
        last: Activation = "none",
        first_fixed: int | None = None,
        last_fixed: int | None = None,
    ) -> None:
        super().__init__()
        pairs = list(pairwise(channels))
        layers = []
        for i, (width_in, width_out) in enumerate(pairs):
            fixed = first_fixed if i == 0 else None
            fixed = last_fixed if i == len(pairs) - 1 and last_fixed is not None else fixed
            layers.append(RowLinear(width_in, width_out, rows=rows, fixed=fixed))
        self.layers = nn.ModuleList(layers)
        self.activations: list[Activation] = [activation] * (len(pairs) - 1) + [last]

    def forward(self, x: Tensor) -> Tensor:
        """``[r, channels[0]] -> [r, channels[-1]]``."""
        for layer, activation in zip(self.layers, self.activations, strict=True):
            x = layer(x, activation=activation)
        return x


class EdgeLinear(nn.Module):
    """A linear layer on ``[receiver, sender, edge]``: ``y_ij = W_r h_i + W_s h_j + W_e e_ij + b``.

    With ``split`` the first two are computed once per node and gathered, which is exact and saves most of the work of
    the edges; their rows are then nodes, with the bits of nodes. Without, edges. Same weights.

    Args:
        node_parts: Channels of each node input and its fixed bits (None: assigned).
        edge_parts: The same for edge inputs.
        out_features: Channels of the output.
        split: See above.
    """

    def __init__(
        self,
        node_parts: Sequence[Part],
        edge_parts: Sequence[Part],
        out_features: int,
        *,
        split: bool = True,
    ) -> None:
        super().__init__()
        rows: Kind = "node" if split else "edge"
        self.split = split
        self.receiver = SplitLinear(node_parts, out_features, rows=rows)
        self.sender = SplitLinear(node_parts, out_features, rows=rows, bias=False)
        self.edge = SplitLinear(edge_parts, out_features, rows="edge", bias=False) if edge_parts else None
        layers = [*self.receiver.parts, *self.sender.parts, *(self.edge.parts if self.edge is not None else ())]
        reset_as_one([layer for layer in layers if isinstance(layer, RowLinear)])

    def forward(
        self,
        nodes: Sequence[Tensor],
        edges: Sequence[Tensor],
        sender: Tensor,
        receiver: Tensor,
        *,
        activation: Activation = "none",
    ) -> Tensor:
        """``[n, c_i] ...``, ``[e, c_j] ...`` -> ``[e, out]``."""
        if self.split:
            added = [Rows(self.receiver(*nodes), receiver), Rows(self.sender(*nodes), sender)]
        else:
            here = self.receiver(*(part.index_select(0, receiver) for part in nodes))
            added = [Rows(here + self.sender(*(part.index_select(0, sender) for part in nodes)))]
        if self.edge is not None:
            out: Tensor = self.edge(*edges, added=added, activation=activation)
            return out
        total = torch.zeros((), device=sender.device)
        for table, index in added:
            total = total + (table if index is None else table.index_select(0, index))
        return ACTIVATIONS[activation](total)


class RowGRUCell(nn.Module):
    """Gated recurrent unit (Cho et al. 2014) as in ``torch.nn.GRU``, over the members of clusters.

        r = sigma(W_ir x + b_ir + W_hr h + b_hr),   z = sigma(W_iz x + b_iz + W_hz h + b_hz)
        n = tanh(W_in x + b_in + r (W_hn h + b_hn)),   h' = (1 - z) n + z h

    Args:
        parts: Channels of each input and its fixed bits; inputs are rows of nodes.
        hidden: Channels of the state; states are rows of clusters.
    """

    def __init__(self, parts: Sequence[Part], hidden: int) -> None:
        super().__init__()
        self.inputs = SplitLinear(parts, 3 * hidden, rows="node")
        self.state = RowLinear(hidden, 3 * hidden, rows="cluster", per_member=True)
        self.hidden = hidden
        bound = hidden**-0.5
        for parameter in [w for part in [*self.inputs.parts, self.state] for w in (part.weight, part.bias)]:
            if isinstance(parameter, nn.Parameter):
                nn.init.uniform_(parameter, -bound, bound)

    def step(self, gates: Tensor, h: Tensor) -> Tensor:
        """Next state ``[c, hidden]`` from ``gates = inputs(x) [c, 3 hidden]`` and the state ``h``."""
        from_state = self.state(h)
        r_x, z_x, n_x = gates.chunk(3, 1)
        r_h, z_h, n_h = from_state.chunk(3, 1)
        r, z = torch.sigmoid(r_x + r_h), torch.sigmoid(z_x + z_h)
        n = torch.tanh(n_x + r * n_h)
        return n + z * (h - n)
