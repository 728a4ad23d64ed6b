"""GraphViT, the EAGLE mesh transformer (Janny, Béneteau, Nadri, Digne, Thome, Wolf; ICLR 2023, 2302.10803).

Nodes exchange messages over mesh edges (4 rounds), a recurrent network pools the nodes of each cluster into a token,
the tokens attend to each other (4 blocks), and every node reads its cluster's token in a last round of messages.

    e_ij' = e_ij + LN(MLP([v_i, c_i, v_j, c_j, e_ij])),   v_i' = v_i + LN(MLP([v_i, c_i, sum_j e_ij']))
    c_i = [F(x_i), F(center - x_i)],   F(p) = [cos(2^k pi p), sin(2^k pi p)], k = -3..4

Departures: batches are ragged, without ghost nodes; members of a cluster are read in the order of the partition, or
pooled as a set (``pooling="mean"``); the first layer on edges is split into node projections (exact). Position codes,
raw inputs and the last layer keep 8 bits when the network is quantised.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from meshops.errors import InputError
from meshops.models.registry import register_model
from meshops.nn.mesh_model import Clusters, MeshInputs, MeshModel
from meshops.nn.message_passing import EdgeLinear, RowGRUCell, RowMLP
from meshops.nn.ragged import RaggedPlan, ragged_attention
from meshops.nn.row_linear import RAW_BITS, Part, RowLinear, SplitLinear
from meshops.ops.segment import segment_mean, segment_sum
from meshops.partition.registry import create_positional

FREQUENCIES = range(-3, 5)


def position_code(p: Tensor) -> Tensor:
    """``[n, d] -> [n, 16 d]`` cosines and sines of eight frequencies of every coordinate."""
    angles = torch.cat([p * (2.0**k * torch.pi) for k in FREQUENCIES], 1)
    return torch.cat([angles.cos(), angles.sin()], 1)


class GraphNetBlock(nn.Module):
    """One round of messages; two hidden layers everywhere, ReLU."""

    def __init__(self, node_parts: list[Part], channels: int, *, norm: bool, split: bool) -> None:
        super().__init__()
        self.edge = EdgeLinear(node_parts, [(channels, None)], channels, split=split)
        self.edge_mlp = RowMLP([channels] * 3, rows="edge")
        self.node = SplitLinear([*node_parts, (channels, None)], channels, rows="node")
        self.node_mlp = RowMLP([channels] * 3, rows="node")
        self.edge_norm = nn.LayerNorm(channels) if norm else nn.Identity()
        self.node_norm = nn.LayerNorm(channels) if norm else nn.Identity()

    def forward(self, nodes: list[Tensor], e: Tensor, inputs: MeshInputs) -> tuple[Tensor, Tensor]:
        """Changes of nodes ``[n, c]`` and edges ``[e, c]``."""
        messages = self.edge(
            [inputs.seen(rows) for rows in nodes], [e], inputs.sender, inputs.receiver, activation="relu"
        )
        messages = self.edge_norm(self.edge_mlp(messages))
        received = segment_sum(messages, inputs.ptr)
        change = self.node_mlp(self.node(*nodes, received, activation="relu"))
        return self.node_norm(change), messages


class ClusterAttention(nn.Module):
    """Pre-norm attention among the clusters of a graph, with their position code; then a perceptron."""

    def __init__(self, tokens: int, code: int, num_heads: int) -> None:
        super().__init__()
        width = tokens + code
        if width % num_heads:
            raise InputError(f"tokens + code ({width}) must be a multiple of num_heads ({num_heads})")
        self.num_heads, self.width = num_heads, width
        self.norm_1, self.norm_2 = nn.LayerNorm(tokens), nn.LayerNorm(tokens)
        self.qkv = SplitLinear([(tokens, None), (code, RAW_BITS)], 3 * width, rows="cluster")
        self.mix = RowLinear(width, width, rows="cluster")
        self.project = RowLinear(width, tokens, rows="cluster")
        self.mlp = RowMLP([tokens, tokens, tokens], rows="cluster")

    def forward(self, w: Tensor, code: Tensor, plan: RaggedPlan) -> Tensor:
        """``[c, tokens]``."""
        qkv = self.qkv(self.norm_1(w), code).unflatten(1, (3, self.num_heads, -1))
        mixed = ragged_attention(qkv[:, 0], qkv[:, 1], qkv[:, 2], plan).flatten(1)
        w = w + self.project(self.mix(mixed))
        out: Tensor = w + self.mlp(self.norm_2(w))
        return out


class ClusterPool(nn.Module):
    """Members of each cluster -> one token: a recurrent network over them, or their mean."""

    def __init__(self, parts: list[Part], tokens: int, pooling: str) -> None:
        super().__init__()
        self.pooling = pooling
        if pooling == "gru":
            self.cell = RowGRUCell(parts, tokens)
        else:
            self.lift = SplitLinear(parts, tokens, rows="node")
        self.mlp = RowMLP([tokens, tokens // 4, tokens], rows="cluster")

    def forward(self, nodes: list[Tensor], clusters: Clusters) -> Tensor:
        """``[n, c_i] ... -> [c, tokens]``."""
        if self.pooling != "gru":
            lifted = self.lift(*nodes, activation="relu")
            return self.mlp(segment_mean(lifted, clusters.ptr, clusters.perm))  # type: ignore[no-any-return]
        gates = self.cell.inputs(*nodes)
        size, start = clusters.size, clusters.ptr[:-1]
        h = gates.new_zeros(len(size), self.cell.hidden)
        for place in range(int(size.max())):
            here = place < size
            member = clusters.perm[torch.where(here, start + place, 0)]
            after = self.cell.step(gates.index_select(0, member), h)
            h = after if bool(here.all()) else torch.where(here.unsqueeze(1), after, h)
        return self.mlp(h)  # type: ignore[no-any-return]


@register_model
class GraphViT(MeshModel):
    """Message passing, attention among clusters, message passing: ``x [n, in_channels] -> [n, out_channels]``.

    Args:
        in_channels: Channels of a node: state and one-hot kind of node; 0: geometry alone.
        out_channels: Channels predicted.
        pos_dim: Space dimensions.
        channels: Width of nodes and edges.
        tokens: Width of a cluster's token.
        depth: Rounds of messages before the pooling.
        attention_depth: Blocks of attention.
        num_heads: Attention heads.
        cluster_size: Nodes in a cluster (published: 10 to 40).
        clustering: Where a graph brings no clusters (``graph.cluster``): the registered partitioner that
            finds them: ``"ball_tree"``, or ``"kmeans"``, clusters of equal size as published (slower).
        pooling: ``"gru"`` as published or ``"mean"``, which does not depend on the order of the members.
        split: Evaluate first edge layers on nodes.
        neighbors: Edges to this many nearest nodes where a graph has none.

    Raises:
        InputError: A combination that does not fit.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        pos_dim: int = 3,
        channels: int = 128,
        tokens: int = 512,
        depth: int = 4,
        attention_depth: int = 4,
        num_heads: int = 4,
        cluster_size: int = 20,
        clustering: str = "ball_tree",
        pooling: Literal["gru", "mean"] = "gru",
        split: bool = True,
        neighbors: int = 8,
    ) -> None:
        super().__init__()
        if cluster_size < 1 or pooling not in ("gru", "mean"):
            raise InputError(f"cluster_size must be at least 1, pooling gru or mean; got {cluster_size}, '{pooling}'")
        create_positional(clustering, patch_size=cluster_size)  # refuses unknown names
        self.cluster_size, self.clustering, self.neighbors = cluster_size, clustering, neighbors
        self.out_channels = out_channels
        code = 16 * pos_dim
        parts: list[Part] = [(channels, None), (2 * code, RAW_BITS)]
        read: list[Part] = [(channels, None), (tokens, None), (2 * code, RAW_BITS)]
        self.node_encoder = RowMLP([max(in_channels, 1), channels, channels], rows="node", first_fixed=RAW_BITS)
        self.edge_encoder = RowMLP([pos_dim + 1, channels, channels], rows="edge", first_fixed=RAW_BITS)
        self.rounds = nn.ModuleList(GraphNetBlock(parts, channels, norm=True, split=split) for _ in range(depth))
        self.pool = ClusterPool(parts, tokens, pooling)
        self.attention = nn.ModuleList(ClusterAttention(tokens, code, num_heads) for _ in range(attention_depth))
        self.norm = nn.LayerNorm(tokens)
        self.retrieve = GraphNetBlock(read, channels, norm=False, split=split)
        self.head = nn.ModuleList(
            [
                RowLinear(channels, channels, rows="node"),
                RowLinear(channels, channels, rows="node"),
                RowLinear(channels, out_channels, rows="node", fixed=RAW_BITS),
            ]
        )

    def forward(self, inputs: MeshInputs) -> Tensor:
        """``[n, out_channels]``; ``inputs`` from :meth:`unpack`."""
        pos, x, clusters = inputs.pos, inputs.x, inputs.clusters
        assert clusters is not None, "GraphViT needs clusters: take the inputs from unpack"
        home = clusters.of_node
        code = torch.cat([position_code(pos), position_code(clusters.center.index_select(0, home) - pos)], 1)
        between = pos.index_select(0, inputs.sender) - pos.index_select(0, inputs.receiver)
        v = self.node_encoder(x if x.shape[1] else torch.ones_like(pos[:, :1]))
        e = self.edge_encoder(torch.cat([between, between.norm(dim=1, keepdim=True)], 1))
        for block in self.rounds:
            change, messages = block([v, code], e, inputs)
            v, e = v + change, e + messages
        w = self.pool([v, code], clusters)
        plan, cluster_code = RaggedPlan.of(clusters.graph_ptr), position_code(clusters.center)
        for attention in self.attention:
            w = attention(w, cluster_code, plan)
        w = self.norm(w)
        out, _ = self.retrieve([v, w.index_select(0, home), code], e, inputs)
        for layer in self.head[:-1]:
            out = torch.tanh(layer(out))
        result: Tensor = self.head[-1](out)
        return result

    def other_macs(self, inputs: MeshInputs) -> dict[str, float]:
        """Products of queries, keys and values."""
        assert inputs.clusters is not None
        pairs = float(inputs.clusters.graph_ptr.diff().square().sum())
        block: Any = self.attention[0] if len(self.attention) else None
        return {"attention": 0.0 if block is None else 2 * pairs * block.width * len(self.attention)}


@register_model
def graph_vit_eagle(**changes: Any) -> GraphViT:
    """The published network for EAGLE (10,317,956 weights): velocity and two pressures, nine kinds of nodes."""
    settings: dict[str, Any] = {"in_channels": 13, "out_channels": 4, "pos_dim": 2}
    return GraphViT(**(settings | changes))
