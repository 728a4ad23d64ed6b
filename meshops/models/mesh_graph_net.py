"""MeshGraphNet (Pfaff, Fortunato, Sanchez-Gonzalez, Battaglia; ICLR 2021, 2010.03409): the baseline on meshes.

    e_ij' = e_ij + LN(MLP([v_i, v_j, e_ij])),   v_i' = v_i + LN(MLP([v_i, sum_j e_ij']))        (sec. 3.2, 15 rounds)

Mesh edges only: world edges matter for bodies in contact. Perceptrons have two hidden layers of 128, as published. The
first layer on edges is split into node projections (exact).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from meshops.models.graph_vit import GraphNetBlock
from meshops.models.registry import register_model
from meshops.nn.mesh_model import MeshInputs, MeshModel
from meshops.nn.message_passing import RowMLP
from meshops.nn.row_linear import RAW_BITS


@register_model
class MeshGraphNet(MeshModel):
    """Encode, exchange messages, decode: ``x [n, in_channels] -> [n, out_channels]``.

    Args:
        in_channels: Channels of a node: state and one-hot kind of node; 0: geometry alone.
        out_channels: Channels predicted.
        pos_dim: Space dimensions.
        channels: Width of nodes and edges.
        depth: Rounds of messages.
        split: Evaluate first edge layers on nodes.
        neighbors: Edges to this many nearest nodes where a graph has none.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        pos_dim: int = 3,
        channels: int = 128,
        depth: int = 15,
        split: bool = True,
        neighbors: int = 8,
    ) -> None:
        super().__init__()
        self.neighbors, self.out_channels = neighbors, out_channels
        hidden = [channels] * 3
        self.node_encoder = RowMLP([max(in_channels, 1), *hidden], rows="node", first_fixed=RAW_BITS)
        self.edge_encoder = RowMLP([pos_dim + 1, *hidden], rows="edge", first_fixed=RAW_BITS)
        self.node_norm, self.edge_norm = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.rounds = nn.ModuleList(
            GraphNetBlock([(channels, None)], channels, norm=True, split=split) for _ in range(depth)
        )
        self.decoder = RowMLP([*hidden, out_channels], rows="node", last_fixed=RAW_BITS)

    def forward(self, inputs: MeshInputs) -> Tensor:
        """``[n, out_channels]``; ``inputs`` from :meth:`unpack`."""
        pos, x = inputs.seen(inputs.pos), inputs.x
        between = pos.index_select(0, inputs.sender) - pos.index_select(0, inputs.receiver)
        v = self.node_norm(self.node_encoder(x if x.shape[1] else torch.ones_like(inputs.pos[:, :1])))
        e = self.edge_norm(self.edge_encoder(torch.cat([between, between.norm(dim=1, keepdim=True)], 1)))
        for block in self.rounds:
            change, messages = block([v], e, inputs)
            v, e = v + change, e + messages
        out: Tensor = self.decoder(v)
        return out
