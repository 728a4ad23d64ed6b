"""Partition: the nodes of a graph grouped into patches; Hierarchy: a stack of nested partitions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor
from torch_geometric.data import Data, HeteroData

from meshops.errors import InputError
from meshops.ops.balls import patch_balls
from meshops.ops.neighbors import knn_search
from meshops.ops.segment import (
    segment_max,
    segment_mean,
    segment_min,
    segment_softmax,
    segment_spread,
    segment_sum,
)

Reduction = Literal["mean", "sum", "max", "min", "attention"]
Interpolation = Literal["copy", "inverse_distance"]
REDUCERS: dict[str, Callable[..., Tensor]] = {
    "mean": segment_mean,
    "sum": segment_sum,
    "max": segment_max,
    "min": segment_min,
}


@dataclass(frozen=True, eq=False)
class Partition:
    """Every node in exactly one patch.

    Attributes:
        perm: ``[n]`` int64; patch i owns nodes ``perm[ptr[i]:ptr[i + 1]]``.
        ptr: ``[p + 1]`` int64.
        level: ``[p]`` int64, depth of each patch in its tree (0 = the whole graph).
        center: ``[p, d]`` mean position of the nodes of each patch, m; 0 for an empty patch.
        radius: ``[p]`` largest distance of a node from the center, m.
        batch: ``[p]`` int64, graph of each patch.
    """

    perm: Tensor
    ptr: Tensor
    level: Tensor
    center: Tensor
    radius: Tensor
    batch: Tensor

    @classmethod
    def from_order(
        cls, pos: Tensor, perm: Tensor, ptr: Tensor, *, level: Tensor | int = 0, batch: Tensor | None = None
    ) -> Partition:
        """Partition from an order of the nodes and patch boundaries; centers and radii are computed, without gradient.

        Args:
            pos: ``[n, d]`` node positions.
            perm: ``[n]`` a permutation of the nodes.
            ptr: ``[p + 1]`` patch boundaries in it.
            level: Depth of all patches or of each.
            batch: ``[p]`` graph of each patch; None: one graph.
        """
        p = ptr.numel() - 1
        center, radius = patch_balls(pos.detach(), ptr, perm)
        levels = level if isinstance(level, Tensor) else torch.full((p,), level, device=pos.device)
        graphs = torch.zeros(p, dtype=torch.long, device=pos.device) if batch is None else batch
        return cls(perm, ptr, levels, center, radius, graphs)

    @classmethod
    def of(cls, graph: Data) -> Partition:
        """The partition a partitioner has stored on a graph or on a batch of graphs.

        Raises:
            InputError: The graph holds none.
        """
        if graph.get("patch_index") is None:
            raise InputError(
                "the graph has no patches; apply a partitioner first, e.g. BallTree(patch_size=256)(graph)"
            )
        perm, size, count = graph.patch_index, graph.patch_size, graph.patch_count
        ptr = torch.cat([size.new_zeros(1), size.cumsum(0)])
        batch = torch.repeat_interleave(torch.arange(count.numel(), device=size.device), count)
        return cls(perm, ptr, graph.patch_level, graph.patch_center, graph.patch_radius, batch)

    def store(self, graph: Any) -> Any:
        """Write the partition on a graph, in the form that survives PyG batching."""
        graph.patch_index, graph.patch_size, graph.patch_count = self.perm, self.size, torch.bincount(self.batch)
        graph.patch_level, graph.patch_center, graph.patch_radius = self.level, self.center, self.radius
        return graph

    @property
    def num_patches(self) -> int:
        """Number of patches, empty ones included."""
        return self.ptr.numel() - 1

    @property
    def num_nodes(self) -> int:
        """Number of nodes."""
        return self.perm.numel()

    @property
    def size(self) -> Tensor:
        """``[p]`` number of nodes of each patch."""
        return self.ptr[1:] - self.ptr[:-1]

    @property
    def node_to_patch(self) -> Tensor:
        """``[n]`` patch of each node."""
        return _node_to_patch(self.perm, self.ptr)

    def pool(self, values: Tensor, reduce: Reduction = "mean", *, score: Tensor | None = None) -> Tensor:
        """Reduce node values ``[n, ...]`` to patch values ``[p, ...]``; 0 for an empty patch.

        Args:
            values: One row per node.
            reduce: ``mean``, ``sum``, ``max``, ``min``, or ``attention``: the mean weighted by the softmax of
                ``score`` over the nodes of a patch.
            score: For ``attention``: ``[n, ...]`` that broadcasts against ``values``, e.g. ``[n, 1]``.

        Raises:
            InputError: Unknown reduction, wrong number of rows, or a score missing or not needed.
        """
        if reduce not in (*REDUCERS, "attention"):
            raise InputError(f"reduce must be 'mean', 'sum', 'max', 'min' or 'attention', got '{reduce}'")
        if values.shape[0] != self.num_nodes:
            raise InputError(f"values must have one row per node ({self.num_nodes}), got {values.shape[0]}")
        if (score is None) == (reduce == "attention"):
            raise InputError("a score is needed for reduce='attention' and for no other reduction")
        if score is None:
            return REDUCERS[reduce](values, self.ptr, self.perm)
        return segment_sum(segment_softmax(score, self.ptr, self.perm) * values, self.ptr, self.perm)

    def unpool(
        self, values: Tensor, method: Interpolation = "copy", *, pos: Tensor | None = None, num_neighbors: int = 3
    ) -> Tensor:
        """Values of the nodes ``[n, ...]`` from those of the patches ``[p, ...]``.

        Args:
            values: One row per patch.
            method: ``copy``: every node gets the value of its patch. ``inverse_distance``: the mean of the patches with
                the nearest centers in the same graph, weighted by 1 / distance**2 (PointNet++, 1706.02413, eq. 2).
            pos: ``[n, d]`` node positions, for ``inverse_distance``.
            num_neighbors: Patches to interpolate from, for ``inverse_distance``.
        """
        if values.shape[0] != self.num_patches:
            raise InputError(f"values must have one row per patch ({self.num_patches}), got {values.shape[0]}")
        if method == "copy":
            return segment_spread(values, self.ptr, self.perm, self.num_nodes)
        if method != "inverse_distance" or pos is None:
            raise InputError(f"method must be 'copy', or 'inverse_distance' with pos, got '{method}'")
        out = values.new_zeros((self.num_nodes, *values.shape[1:]))
        for patches, nodes in self._filled_by_graph():
            k = min(num_neighbors, patches.numel())
            near = knn_search(self.center[patches], k, pos[nodes].to(self.center))
            smallest = torch.finfo(near.distance.dtype).tiny ** 0.5  # at a center its value alone counts
            weight = near.distance.clamp(min=smallest).view(-1, k) ** -2
            weight = (weight / weight.sum(1, keepdim=True)).to(values.dtype)
            rows = values[patches[near.index]].view(len(nodes), k, -1)
            out[nodes] = (weight.unsqueeze(2) * rows).sum(1).view(-1, *values.shape[1:])
        return out

    def pad(self, width: int | None = None) -> tuple[Tensor, Tensor]:
        """Rectangular view: ``index [p, k]`` of nodes and ``mask [p, k]``, True where a node is.

        Padding repeats the first node of the patch (any node for an empty patch) and is masked out; no fake points.

        Args:
            width: k; default the largest patch.
        """
        k = int(self.size.max()) if width is None else width
        if width is not None and int(self.size.max()) > width:
            raise InputError(f"width must be at least the largest patch ({int(self.size.max())}), got {width}")
        column = torch.arange(k, device=self.perm.device)
        mask = column < self.size.unsqueeze(1)
        slot = self.ptr[:-1].unsqueeze(1) + torch.where(mask, column, 0)
        return self.perm[slot.clamp(max=max(self.num_nodes - 1, 0))], mask

    def to_graph(self, edge_index: Tensor | None = None, *, num_neighbors: int = 6) -> Data:
        """Patch adjacency as a PyG graph with ``pos`` = centers, ``patch_size``, ``radius``.

        Args:
            edge_index: ``[2, e]`` edges of the nodes: patches are adjacent when an edge joins them. Without
                edges each patch is joined to the ``num_neighbors`` patches with the nearest centers.
            num_neighbors: See above.
        """
        if edge_index is not None:
            pairs = self.node_to_patch[edge_index]
        else:
            pairs = self._nearest_pairs(num_neighbors)
        pairs = torch.cat([pairs, pairs.flip(0)], 1)
        pairs = torch.unique(pairs[:, pairs[0] != pairs[1]], dim=1)
        return Data(
            pos=self.center, edge_index=pairs, patch_size=self.size, radius=self.radius, num_nodes=self.num_patches
        )

    def to_hetero(self, graph: Data) -> HeteroData:
        """PyG ``HeteroData`` with node types ``mesh`` and ``patch`` and edges mesh -> patch -> mesh, patch - patch."""
        out = HeteroData()
        for key in ("pos", "x", "y"):
            if graph.get(key) is not None:
                out["mesh"][key] = graph[key]
        patches = self.to_graph(graph.get("edge_index"))
        out["patch"].pos, out["patch"].radius, out["patch"].patch_size = self.center, self.radius, self.size
        nodes = torch.arange(self.num_nodes, device=self.perm.device)
        up = torch.stack([nodes, self.node_to_patch])
        out["mesh", "in", "patch"].edge_index = up
        out["patch", "has", "mesh"].edge_index = up.flip(0)
        out["patch", "near", "patch"].edge_index = patches.edge_index
        if graph.get("edge_index") is not None:
            out["mesh", "edge", "mesh"].edge_index = graph.edge_index
        return out

    def to_pyvista(self, pos: Tensor) -> Any:
        """PyVista points with array ``patch``: see it with ``partition.to_pyvista(graph.pos).plot()``.

        Args:
            pos: ``[n, d]`` node positions. To color the original cells attach ``node_to_patch`` to
                ``meshops.data.to_pyvista(graph)`` instead, as ``meshops partition`` does.
        """
        import pyvista as pv  # importing VTK takes a second

        points = torch.nn.functional.pad(pos, (0, 3 - pos.shape[1])).cpu().numpy()
        cloud = pv.PolyData(points)
        cloud.point_data["patch"] = self.node_to_patch.cpu().numpy()
        return cloud

    def _nearest_pairs(self, k: int) -> Tensor:
        """``[2, e]`` patches of the same graph with the nearest centers; an empty patch has no place."""
        pairs = []
        for patches, _ in self._filled_by_graph():
            if patches.numel() > 1:
                near = knn_search(self.center[patches], min(k, patches.numel() - 1))
                pairs.append(patches[near.edge_index])
        return torch.cat(pairs, 1) if pairs else self.perm.new_zeros(2, 0)

    def _filled_by_graph(self) -> list[tuple[Tensor, Tensor]]:
        """Patches that hold nodes, and the nodes, of each graph that has any."""
        out = []
        bounds = torch.searchsorted(self.batch, torch.arange(int(self.batch.max()) + 2, device=self.batch.device))
        for first, last in pairwise(bounds.tolist() if self.num_patches else []):
            patches = first + self.size[first:last].nonzero()[:, 0]
            if patches.numel():
                out.append((patches, self.perm[self.ptr[first] : self.ptr[last]]))
        return out

    def to(self, device: torch.device | str) -> Partition:
        """Copy on another device."""
        return replace(self, **{name: getattr(self, name).to(device) for name in self.__dataclass_fields__})


@dataclass(frozen=True, eq=False)
class Hierarchy:
    """Nested partitions of the same nodes, finest first.

    Attributes:
        partitions: Partition l + 1 joins whole patches of partition l.
        parents: ``parents[l] [p_l]`` is the patch of partition l + 1 that each patch of partition l belongs to.
    """

    partitions: tuple[Partition, ...]
    parents: tuple[Tensor, ...]

    @classmethod
    def from_partitions(cls, partitions: Sequence[Partition]) -> Hierarchy:
        """Stack of nested partitions, finest first.

        Raises:
            InputError: A patch lies in two patches of the next partition.
        """
        parents = []
        for level, (fine, coarse) in enumerate(pairwise(partitions)):
            parent = segment_max(coarse.node_to_patch, fine.ptr, fine.perm)
            if not torch.equal(parent[fine.node_to_patch], coarse.node_to_patch):
                raise InputError(f"partition {level} is not nested in partition {level + 1}: a patch has two parents")
            parents.append(parent)
        return cls(tuple(partitions), tuple(parents))

    def pool(self, values: Tensor, reduce: Reduction = "mean", *, level: int = 0, to: int | None = None) -> Tensor:
        """Reduce values of a level to a coarser one, patch by patch.

        A mean weighs the patches by their nodes, so that pooling in steps equals pooling at once.

        Args:
            values: ``[p_level, ...]``; one row per patch of partition ``level``. Use ``hierarchy[0].pool`` for nodes.
            reduce: ``mean``, ``sum``, ``max`` or ``min``; empty patches count for nothing.
            level: Where the values are.
            to: Where they go; None: one level up.
        """
        to = level + 1 if to is None else to
        if not 0 <= level <= to < len(self):
            raise InputError(f"levels must rise within 0 .. {len(self) - 1}, got level={level} and to={to}")
        if reduce not in REDUCERS:
            raise InputError(f"reduce must be 'mean', 'sum', 'max' or 'min', got '{reduce}'")
        if values.shape[0] != self[level].num_patches:
            raise InputError(f"values must have one row per patch ({self[level].num_patches}), got {values.shape[0]}")
        fine = self[level]
        if reduce == "mean":
            size = fine.size.view(-1, *[1] * (values.dim() - 1)).to(values.dtype)
            total = self.pool(values * size, "sum", level=level, to=to)
            whole = self[to].size.clamp(min=1).view(-1, *[1] * (values.dim() - 1)).to(values.dtype)
            return total / whole
        filled = fine.size > 0
        parent = self.ancestors(level, to)[filled]
        ptr = torch.searchsorted(parent, torch.arange(self[to].num_patches + 1, device=parent.device))
        return REDUCERS[reduce](values[filled], ptr)

    def unpool(self, values: Tensor, *, level: int, to: int) -> Tensor:
        """Give each patch of the finer partition ``to`` the value of its ancestor in partition ``level``."""
        if not 0 <= to <= level < len(self):
            raise InputError(f"levels must fall within {len(self) - 1} .. 0, got level={level} and to={to}")
        if values.shape[0] != self[level].num_patches:
            raise InputError(f"values must have one row per patch ({self[level].num_patches}), got {values.shape[0]}")
        return values[self.ancestors(to, level)]

    def ancestors(self, level: int, to: int) -> Tensor:
        """``[p_level]`` patch of partition ``to`` that each patch of partition ``level`` lies in, ascending."""
        out = torch.arange(self[level].num_patches, device=self[level].perm.device)
        for step in range(level, to):
            out = self.parents[step][out]
        return out

    def __len__(self) -> int:
        return len(self.partitions)

    def __getitem__(self, level: int) -> Partition:
        return self.partitions[level]


def _node_to_patch(perm: Tensor, ptr: Tensor) -> Tensor:
    patches = torch.arange(ptr.numel() - 1, device=perm.device)
    out = torch.empty_like(perm)
    out[perm] = torch.repeat_interleave(patches, ptr[1:] - ptr[:-1])
    return out
