"""What models on meshes share: the tensors they take of a graph, and how much each node, edge and cluster costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from meshops.errors import InputError
from meshops.nn.quantized import Kind, MeshBits, quantized_layers
from meshops.ops.neighbors import knn_search
from meshops.ops.pointers import pointers
from meshops.ops.segment import segment_mean
from meshops.partition.ball_tree import BallTree
from meshops.partition.checks import graph_ptr
from meshops.partition.cluster import SameSizeKMeans

Clustering = Literal["tree", "kmeans"]
Criterion = Callable[[Tensor], dict[str, Tensor]]


class Clusters(NamedTuple):
    """Nodes of a batch in clusters.

    Attributes:
        perm: ``[n]`` nodes, cluster after cluster.
        ptr: ``[c + 1]`` cluster i owns ``perm[ptr[i]:ptr[i + 1]]``.
        center: ``[c, d]`` mean position of the members.
        graph_ptr: ``[b + 1]`` graph j owns the clusters ``graph_ptr[j]:graph_ptr[j + 1]``.
    """

    perm: Tensor
    ptr: Tensor
    center: Tensor
    graph_ptr: Tensor

    @property
    def size(self) -> Tensor:
        """``[c]`` number of members."""
        return self.ptr.diff()

    @property
    def of_node(self) -> Tensor:
        """``[n]`` cluster of each node."""
        out = torch.empty_like(self.perm)
        out[self.perm] = torch.repeat_interleave(self.size, output_size=len(self.perm))
        return out


class MeshInputs(NamedTuple):
    """Tensors of a batch of graphs.

    Attributes:
        pos: ``[n, d]``.
        x: ``[n, f]``.
        sender: ``[e]``.
        receiver: ``[e]``, sorted.
        ptr: ``[n + 1]`` node i receives the edges ``ptr[i]:ptr[i + 1]``.
        graph_ptr: ``[b + 1]`` graph j owns the nodes ``graph_ptr[j]:graph_ptr[j + 1]``.
        clusters: For models with clusters.
    """

    pos: Tensor
    x: Tensor
    sender: Tensor
    receiver: Tensor
    ptr: Tensor
    graph_ptr: Tensor
    clusters: Clusters | None = None

    def counts(self) -> dict[str, int]:
        """Number of nodes, edges and clusters."""
        clusters = 0 if self.clusters is None else len(self.clusters.ptr) - 1
        return {"nodes": len(self.pos), "edges": len(self.sender), "clusters": clusters}


class RowCosts(NamedTuple):
    """Multiply-accumulates at the bits that are assigned, per row; ``fixed`` at their own bits (see there).

    Attributes:
        node: Per node, at its bits.
        edge: Per edge, at its bits.
        cluster: Per cluster, at its bits.
        member: Per member of a cluster, at the bits of the cluster.
        fixed: Bit operations per node, edge and cluster of the layers at fixed bits.
    """

    node: float
    edge: float
    cluster: float
    member: float
    fixed: tuple[float, float, float]


@runtime_checkable
class LearnsWithTruth(Protocol):
    """A model with a loss of its own beside that of the task, such as an auxiliary predictor's."""

    def learn(self, inputs: Any, truth: Tensor, criterion: Criterion) -> dict[str, Tensor]:
        """``criterion(prediction)`` and the model's own parts; ``"loss"`` is their sum.

        Args:
            inputs: From ``unpack``.
            truth: ``[n, c]`` normalised.
            criterion: Loss and its parts for a prediction ``[n, c]``.
        """


class MeshModel(nn.Module):
    """Base of models on graphs: ``forward(inputs) -> [n, out_channels]``, ``inputs`` from :meth:`unpack`.

    Attributes:
        neighbors: Edges to this many nearest nodes where a graph has no edges.
        cluster_size: Nodes of a cluster; 0: no clusters.
        clustering: How clusters are found where a graph has none stored: ``"tree"`` (ball tree) or ``"kmeans"``.
    """

    neighbors: int = 8
    cluster_size: int = 0
    clustering: Clustering = "tree"

    def unpack(self, graph: Any) -> MeshInputs:
        """Tensors of a graph or of a batch of graphs.

        Raises:
            InputError: No node features, or no edges and too few nodes to find some.
        """
        ptr = graph_ptr(graph)
        ptr = torch.tensor([0, len(graph.pos)], device=graph.pos.device) if ptr is None else ptr
        x = graph.get("x")
        x = graph.pos.new_zeros(len(graph.pos), 0) if x is None else x
        edges = graph.get("edge_index")
        if edges is None:
            least = int(ptr.diff().min())
            edges = knn_search(graph.pos, min(self.neighbors, least - 1), ptr=ptr).edge_index if least > 1 else None
        if edges is None or edges.shape[1] == 0:
            raise InputError(
                "a graph without edges: give edge_index, or a graph of at least two nodes so that neighbours are found"
            )
        sender, receiver, bounds = sorted_edges(edges, len(graph.pos))
        clusters = self._clusters(graph, ptr) if self.cluster_size else None
        return MeshInputs(graph.pos, x, sender, receiver, bounds, ptr, clusters)

    def _clusters(self, graph: Any, ptr: Tensor) -> Clusters:
        label = graph.get("cluster")
        pos = graph.pos
        if label is not None:
            perm = torch.argsort(label, stable=True)
            bounds = pointers(torch.bincount(label))
            owner = torch.searchsorted(ptr, perm[bounds[:-1]], right=True) - 1
            return Clusters(perm, bounds, segment_mean(pos[perm], bounds), _starts(owner, len(ptr) - 1))
        maker = BallTree(self.cluster_size) if self.clustering == "tree" else SameSizeKMeans(self.cluster_size)
        found = maker.partition(pos, ptr)
        return Clusters(found.perm, found.ptr, found.center, _starts(found.batch, len(ptr) - 1))

    def row_costs(self) -> RowCosts:
        """Cost of a node, an edge and a cluster, from the layers."""
        assigned = {"node": 0.0, "edge": 0.0, "cluster": 0.0, "member": 0.0}
        fixed = {"node": 0.0, "edge": 0.0, "cluster": 0.0}
        for _, layer in quantized_layers(self):
            macs = float(layer.in_features * layer.out_features)
            if layer.fixed is None:
                assigned["member" if getattr(layer, "per_member", False) else layer.rows] += macs
            else:
                fixed[layer.rows] += macs * layer.fixed * bits_of_weights(layer, layer.fixed)
        return RowCosts(**assigned, fixed=(fixed["node"], fixed["edge"], fixed["cluster"]))

    def other_macs(self, inputs: MeshInputs) -> dict[str, float]:
        """Multiply-accumulates that are never quantised, by what does them; attention, convolutions."""
        del inputs
        return {}


def bits_of_weights(layer: Any, bits: int) -> int:
    """Bits of the weights that rows at ``bits`` bits meet."""
    return bits if layer.mode == "matched" else int(layer.weight_bits)


def sorted_edges(edge_index: Tensor, num_nodes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Sender, receiver and bounds ``[n + 1]`` of the edges of each receiver, sorted by receiver (stable)."""
    sender, receiver = edge_index
    if bool((receiver[1:] < receiver[:-1]).any()):
        order = torch.argsort(receiver, stable=True)
        sender, receiver = sender[order], receiver[order]
    return sender, receiver, pointers(torch.bincount(receiver, minlength=num_nodes))


def _starts(owner: Tensor, count: int) -> Tensor:
    return pointers(torch.bincount(owner, minlength=count))


@dataclass(frozen=True)
class LayerCost:
    """One line of :func:`cost_report`.

    Attributes:
        name: Place of the layer in the model.
        rows: What a row is.
        macs: Multiply-accumulates of one forward pass.
        bit_operations: Those times the bits of both factors; float32 counts 32 x 32.
        weight_bytes: Of all copies of the weights that are kept.
        activation_bytes: Of the rows that go in.
    """

    name: str
    rows: str
    macs: float
    bit_operations: float
    weight_bytes: float
    activation_bytes: float


def cost_report(model: MeshModel, inputs: MeshInputs, bits: MeshBits | None = None) -> list[LayerCost]:
    """What every layer of a model costs for these inputs; layer norms, sums and activations are left out.

    Args:
        model: With layers of :mod:`meshops.nn.quantized`.
        inputs: From ``model.unpack``.
        bits: Bits of the rows; None: everything in float32.
    """
    counts = inputs.counts()
    rows: Mapping[Kind, int] = {"node": counts["nodes"], "edge": counts["edges"], "cluster": counts["clusters"]}
    lines = []
    for name, layer in quantized_layers(model):
        macs = float(layer.in_features * layer.out_features)
        size = torch.ones(rows[layer.rows])
        if getattr(layer, "per_member", False) and inputs.clusters is not None:
            size = inputs.clusters.size.float()
        widths = _widths(layer, bits, rows[layer.rows]).to(size.device)
        other = widths if layer.mode == "matched" or bits is None else torch.full_like(widths, layer.weight_bits)
        kept: float = sum(layer.bits if layer.mode == "matched" else (layer.weight_bits,)) if bits is not None else 32
        lines.append(
            LayerCost(
                name,
                layer.rows,
                macs * float(size.sum()),
                macs * float((size * widths * other).sum()),
                macs * kept / 8 + 4 * layer.out_features,
                layer.in_features * float((size * widths).sum()) / 8,
            )
        )
    for name, macs in model.other_macs(inputs).items():
        lines.append(LayerCost(name, "float32", macs, macs * 32 * 32, 0.0, 0.0))
    return lines


def _widths(layer: Any, bits: MeshBits | None, count: int) -> Tensor:
    if bits is None:
        return torch.full((count,), 32.0)
    return bits.plan(layer.rows, layer.fixed, count).bits.float()
