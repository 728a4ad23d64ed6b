"""What models on meshes share: the tensors they take of a graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from meshops.errors import InputError
from meshops.ops.neighbors import knn_search
from meshops.ops.pointers import pointers
from meshops.ops.segment import segment_mean
from meshops.partition.checks import graph_ptr, positions_of
from meshops.partition.registry import create_positional

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


class Beyond(Protocol):
    """Nodes of one mesh that other processes own, as :class:`meshops.nn.Halo` knows them."""

    def __call__(self, x: Tensor) -> Tensor:
        """Rows ``[n, c]`` of own nodes and, behind them, of those that send to them."""

    def mean(self, x: Tensor) -> Tensor:
        """``[c]`` mean over the nodes of all processes."""


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
        counted: ``[n]`` False where the output is not used (walls, inflow); None: all are used.
        halo: Appends the rows of nodes of other processes, see :class:`meshops.nn.Halo`; None: the mesh is whole.
    """

    pos: Tensor
    x: Tensor
    sender: Tensor
    receiver: Tensor
    ptr: Tensor
    graph_ptr: Tensor
    clusters: Clusters | None = None
    counted: Tensor | None = None
    halo: Beyond | None = None

    def seen(self, x: Tensor) -> Tensor:
        """Rows of all nodes that ``sender`` and ``receiver`` number: those of ``x [n, c]``, then those of the halo."""
        return x if self.halo is None else self.halo(x)

    def counts(self) -> dict[str, int]:
        """Number of nodes, edges and clusters."""
        clusters = 0 if self.clusters is None else len(self.clusters.ptr) - 1
        return {"nodes": len(self.pos), "edges": len(self.sender), "clusters": clusters}


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
    """Base of models on graphs: ``forward(inputs: MeshInputs) -> [n, out_channels]``.

    A model need not be derived from it: ``takes``, ``unpack`` (see :func:`mesh_inputs`) and ``forward`` will do.

    Attributes:
        takes: Graphs; edges are found by neighbours where one has none.
        neighbors: Edges to this many nearest nodes where a graph has no edges.
        cluster_size: Nodes of a cluster; 0: no clusters.
        clustering: Registered partitioner that finds clusters where a graph has none stored: ``"ball_tree"``, ...
    """

    takes: ClassVar[frozenset[str]] = frozenset({"graph"})
    neighbors: int = 8
    cluster_size: int = 0
    clustering: str = "ball_tree"

    def unpack(self, graph: Any) -> MeshInputs:
        """Tensors of a graph or of a batch of graphs; see :func:`mesh_inputs`."""
        return mesh_inputs(graph, neighbors=self.neighbors, cluster_size=self.cluster_size, clustering=self.clustering)

    def other_macs(self, inputs: MeshInputs) -> dict[str, float]:
        """Multiply-accumulates that are never quantised, by what does them; attention, convolutions."""
        del inputs
        return {}


def mesh_inputs(graph: Any, *, neighbors: int = 8, cluster_size: int = 0, clustering: str = "ball_tree") -> MeshInputs:
    """Tensors of a graph or of a batch of graphs.

    Args:
        graph: With ``pos``, and ``x``, ``edge_index``, ``cluster`` and ``counted`` where it has them.
        neighbors: Edges to this many nearest nodes where a graph has no edges.
        cluster_size: Nodes of a cluster; 0: no clusters.
        clustering: How clusters are found where a graph has none stored.

    Raises:
        InputError: No edges and too few nodes to find some.
    """
    pos, ptr = positions_of(graph), graph_ptr(graph)
    ptr = torch.tensor([0, len(pos)], device=pos.device) if ptr is None else ptr
    x = graph.get("x")
    x = pos.new_zeros(len(pos), 0) if x is None else x
    edges = graph.get("edge_index")
    if edges is None:
        least = int(ptr.diff().min())
        edges = knn_search(pos, min(neighbors, least - 1), ptr=ptr).edge_index if least > 1 else None
    if edges is None or edges.shape[1] == 0:
        raise InputError(
            "a graph without edges: give edge_index, or a graph of at least two nodes so that neighbours are found"
        )
    sender, receiver, bounds = sorted_edges(edges, len(pos))
    clusters = find_clusters(graph, ptr, cluster_size, clustering) if cluster_size else None
    return MeshInputs(pos, x, sender, receiver, bounds, ptr, clusters, graph.get("counted"))


def find_clusters(graph: Any, ptr: Tensor, size: int, clustering: str) -> Clusters:
    """Clusters stored with a graph (``graph.cluster [n]``), or found; graph j owns nodes ``ptr[j]:ptr[j + 1]``."""
    label, pos = graph.get("cluster"), graph.pos
    if label is not None:
        perm = torch.argsort(label, stable=True)
        bounds = pointers(torch.bincount(label))
        owner = torch.searchsorted(ptr, perm[bounds[:-1]], right=True) - 1
        return Clusters(perm, bounds, segment_mean(pos[perm], bounds), _starts(owner, len(ptr) - 1))
    found = create_positional(clustering, patch_size=size).partition(pos, ptr)
    return Clusters(found.perm, found.ptr, found.center, _starts(found.batch, len(ptr) - 1))


def sorted_edges(edge_index: Tensor, num_nodes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Sender, receiver and bounds ``[n + 1]`` of the edges of each receiver, sorted by receiver (stable)."""
    sender, receiver = edge_index
    if bool((receiver[1:] < receiver[:-1]).any()):
        order = torch.argsort(receiver, stable=True)
        sender, receiver = sender[order], receiver[order]
    return sender, receiver, pointers(torch.bincount(receiver, minlength=num_nodes))


def _starts(owner: Tensor, count: int) -> Tensor:
    return pointers(torch.bincount(owner, minlength=count))
