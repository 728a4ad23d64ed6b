"""Clusters of equal size: k-means whose clusters differ by at most one node.

GraphViT groups mesh nodes this way (Janny et al. 2023, 2302.10803, sec. 3.2). Start: equal runs along the Hilbert
curve. Then, as in the ELKI tutorial on same-size k-means, two nodes of different clusters change places when that
brings them nearer to the two centers together; here all pairs of clusters do so at once, then the centers move. The
sum of squared distances falls with every round.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch_geometric.transforms import BaseTransform

from meshops.errors import InputError
from meshops.ops.neighbors import knn_search
from meshops.ops.segment import scatter_sum
from meshops.partition.checks import checked_positions, graph_ptr, positions_of
from meshops.partition.curves import CurvePatches
from meshops.partition.partition import Partition
from meshops.partition.registry import register_partitioner

NEAR = 6  # clusters that a node may move to


@register_partitioner("kmeans")
class SameSizeKMeans(BaseTransform):  # type: ignore[misc]
    """Group the nodes of a graph, or of each graph of a batch, into compact clusters of equal size.

    Any number of clusters, about as compact as the leaves of a ball tree of the same size, for a hundred times its
    time; a local optimum. Same input, same clusters; the order of the points does not matter unless points coincide
    exactly. Sizes differ by at most one. One of the first two arguments must be given.

    Args:
        patch_size: Largest number of nodes in a cluster: ``ceil(n / patch_size)`` clusters, at least one.
        num_patches: Number of clusters per graph. Clusters are empty when there are fewer nodes.
        max_rounds: Exchanges and moves of the centers, at most.

    Example:
        >>> graph = SameSizeKMeans(num_patches=3)(MeshGraph(pos=torch.rand(10, 3)))
        >>> sorted(Partition.of(graph).size.tolist())
        [3, 3, 4]
    """

    def __init__(self, patch_size: int | None = None, *, num_patches: int | None = None, max_rounds: int = 30) -> None:
        if (patch_size is None) == (num_patches is None):
            raise InputError("SameSizeKMeans needs either patch_size or num_patches, not both")
        if max_rounds < 0:
            raise InputError(f"max_rounds must be at least 0, got {max_rounds}")
        self.start = CurvePatches(patch_size, num_patches=num_patches, curve="hilbert")
        self.max_rounds = max_rounds

    def forward(self, data: Any) -> Any:
        """Store the clusters on (a shallow copy of) the graph; read them with ``Partition.of``."""
        return self.partition(positions_of(data), graph_ptr(data)).store(data)

    @torch.no_grad()
    def partition(self, pos: Tensor, ptr: Tensor | None = None) -> Partition:
        """Partition of positions ``[n, d]``; graph i of a batch owns rows ``ptr[i]:ptr[i + 1]``.

        Raises:
            InputError: Positions are not finite, not ``[n, d]`` or have more than three coordinates.
        """
        pos, ptr = checked_positions(pos, ptr)
        start = self.start.partition(pos, ptr)
        # Sums depend on the order of the summands: work in an order that does not depend on that of the input.
        order = self.start.order(pos, ptr)
        cluster = start.node_to_patch[order]
        patch_bounds = torch.searchsorted(start.batch.cpu(), torch.arange(ptr.numel()))
        for (first, last), (low, high) in zip(pairwise(ptr.tolist()), pairwise(patch_bounds.tolist()), strict=True):
            rows = slice(first, last)
            cluster[rows] = low + self._exchange(pos[order[rows]].double(), cluster[rows] - low, high - low)
        label = torch.empty_like(cluster)
        label[order] = cluster
        n = pos.shape[0]
        perm = torch.sort(label * n + torch.arange(n, device=pos.device)).values - label.sort().values * n
        return Partition.from_order(pos, perm, start.ptr, batch=start.batch)

    def _exchange(self, pos: Tensor, cluster: Tensor, num_clusters: int) -> Tensor:
        size = torch.bincount(cluster, minlength=num_clusters)
        filled = (size > 0).nonzero()[:, 0]
        near = min(NEAR, filled.numel())
        if near < 2:
            return cluster
        for _ in range(self.max_rounds):
            center = scatter_sum(pos, cluster, num_clusters) / size.clamp(min=1).unsqueeze(1)
            own = (pos - center[cluster]).square().sum(1)
            found = knn_search(center[filled], near, pos)
            target = filled[found.index].view(-1, near)
            gain = own.unsqueeze(1) - found.distance.view(-1, near).square()
            before = cluster
            moved = torch.zeros_like(cluster, dtype=torch.bool)
            for choice in range(near):
                swap = _partners(cluster, target[:, choice], gain[:, choice], moved | (target[:, choice] == cluster))
                cluster = cluster.clone()
                cluster[swap[0]], cluster[swap[1]] = cluster[swap[1]], cluster[swap[0]]
                moved[swap.flatten()] = True
            if torch.equal(before, cluster):
                break
        return cluster

    def __repr__(self) -> str:
        given = repr(self.start).removeprefix("CurvePatches(").split(",")[0]
        return f"SameSizeKMeans({given})"


def _partners(cluster: Tensor, target: Tensor, gain: Tensor, excluded: Tensor) -> Tensor:
    """Nodes ``[2, m]`` that change places: of each two clusters the ones that gain most, while both together gain."""
    node = (~excluded).nonzero()[:, 0]
    here, there = cluster[node], target[node]
    num_clusters = int(cluster.max()) + int(target.max()) + 1
    pair = torch.minimum(here, there) * num_clusters + torch.maximum(here, there)
    queue = 2 * pair + (here > there)  # nodes that want to go the same way
    order = torch.argsort(gain[node], descending=True, stable=True)
    order = order[torch.argsort(queue[order], stable=True)]
    node, queue = node[order], queue[order]
    place = torch.arange(node.numel(), device=node.device) - torch.searchsorted(queue, queue)
    forth = queue % 2 == 0
    partner = torch.searchsorted(queue, queue + 1) + place  # the node at the same place of the opposite queue
    there_is = partner < node.numel()
    partner = partner.clamp(max=max(node.numel() - 1, 0))
    fits = forth & there_is & (queue[partner] == queue + 1)
    together = gain[node] + gain[node[partner]]
    fits &= together > 1e-9 * (gain[node].abs() + gain[node[partner]].abs())  # more than rounding
    return torch.stack([node[fits], node[partner[fits]]])
