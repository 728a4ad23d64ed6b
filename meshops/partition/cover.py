"""Cover: groups of nodes that may overlap, such as regions of several sizes on top of each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from meshops.errors import InputError
from meshops.ops.segment import scatter_max, segment_max, segment_mean
from meshops.partition.partition import REDUCERS, Reduction


@dataclass(frozen=True, eq=False)
class Cover:
    """Groups of nodes; a node may be in several. Of the groups that hold a node the last one is the finest.

    Attributes:
        index: ``[m]`` int64; group i holds nodes ``index[ptr[i]:ptr[i + 1]]``.
        ptr: ``[p + 1]`` int64.
        level: ``[p]`` int64 level of each group, 0 for the coarsest.
        center: ``[p, d]`` mean position of the nodes of each group, m.
        radius: ``[p]`` largest distance of a node from the center, m.
        batch: ``[p]`` int64 graph of each group.
        num_nodes: Number of nodes of the graphs, in groups or not.
    """

    index: Tensor
    ptr: Tensor
    level: Tensor
    center: Tensor
    radius: Tensor
    batch: Tensor
    num_nodes: int

    @classmethod
    def from_index(cls, pos: Tensor, index: Tensor, ptr: Tensor, *, level: Tensor, batch: Tensor) -> Cover:
        """Cover from the nodes of each group; centers and radii are computed.

        Args:
            pos: ``[n, d]`` node positions.
            index: ``[m]`` nodes, group after group.
            ptr: ``[p + 1]`` bounds of the groups.
            level: ``[p]`` level of each group.
            batch: ``[p]`` graph of each group.
        """
        rows = pos[index]
        center = segment_mean(rows, ptr)
        group = torch.repeat_interleave(ptr.diff(), output_size=len(index))
        radius = segment_max((rows - center[group]).norm(dim=1), ptr)
        return cls(index, ptr, level, center, radius, batch, pos.shape[0])

    @classmethod
    def from_groups(
        cls,
        pos: Tensor,
        nodes: Sequence[Tensor],
        there: Sequence[Tensor],
        rows: Sequence[Tensor],
        *,
        level: Tensor,
        batch: Tensor,
        parts: bool,
    ) -> Cover:
        """Cover from rectangular lists, one per size of the groups.

        Args:
            pos: ``[n, d]`` node positions.
            nodes: For each size ``[t_l, k, s]`` nodes of k parts of t_l groups.
            there: Same shapes, False for entries that do not count.
            rows: For each size ``[t_l]`` number of each group among all.
            level: ``[t]`` level of each group.
            batch: ``[t]`` graph of each group.
            parts: Make one group per part instead of one per row.
        """
        most = max((part.shape[1] for part in nodes), default=1)
        ids, found = [], []
        for part, keep, row in zip(nodes, there, rows, strict=True):
            number = (row.unsqueeze(1) * most + torch.arange(part.shape[1], device=row.device)).unsqueeze(2)
            ids.append(number.expand_as(part)[keep])
            found.append(part[keep])
        number, index = torch.cat(ids), torch.cat(found)
        order = torch.sort(number, stable=True).indices
        number, index = number[order], index[order]
        if not parts:
            ptr = torch.searchsorted(number, torch.arange(len(level) + 1, device=number.device) * most)
            return cls.from_index(pos, index, ptr, level=level, batch=batch)
        group, size = torch.unique_consecutive(number, return_counts=True)
        ptr = torch.nn.functional.pad(size.cumsum(0), (1, 0))
        return cls.from_index(pos, index, ptr, level=level[group // most], batch=batch[group // most])

    @classmethod
    def of(cls, graph: Any) -> Cover:
        """The cover a tokeniser has stored on a graph or on a batch of ``MeshGraph``."""
        if graph.get("cover_index") is None:
            raise InputError("the graph has no cover; apply a tokeniser first, e.g. RefineByCriteria(...)(graph)")
        size, count = graph.cover_size, graph.cover_count
        ptr = torch.nn.functional.pad(size.cumsum(0), (1, 0))
        batch = torch.repeat_interleave(torch.arange(count.numel(), device=size.device), count)
        return cls.from_index(graph.pos, graph.cover_index, ptr, level=graph.cover_level, batch=batch)

    def store(self, graph: Any, num_graphs: int = 1) -> Any:
        """Write the cover on a graph, in the form that survives PyG batching."""
        graph.cover_index, graph.cover_size, graph.cover_level = self.index, self.size, self.level
        graph.cover_count = torch.bincount(self.batch, minlength=num_graphs)
        return graph

    @property
    def num_patches(self) -> int:
        """Number of groups."""
        return self.ptr.numel() - 1

    @property
    def size(self) -> Tensor:
        """``[p]`` number of nodes of each group."""
        return self.ptr.diff()

    @property
    def group(self) -> Tensor:
        """``[m]`` group of each entry of ``index``."""
        return torch.repeat_interleave(self.size, output_size=len(self.index))

    @property
    def finest(self) -> Tensor:
        """``[n]`` finest group of each node; -1 for a node in none."""
        held = scatter_max(self.group, self.index, self.num_nodes)
        return torch.where(self.coverage() > 0, held, -1)

    def coverage(self) -> Tensor:
        """``[n]`` number of groups that hold each node."""
        return torch.bincount(self.index, minlength=self.num_nodes)

    def pool(self, values: Tensor, reduce: Reduction = "mean") -> Tensor:
        """Reduce node values ``[n, ...]`` to group values ``[p, ...]``: mean, sum, max or min.

        Raises:
            InputError: Unknown reduction, or a wrong number of rows.
        """
        if reduce not in REDUCERS:
            raise InputError(f"reduce must be 'mean', 'sum', 'max' or 'min', got '{reduce}'")
        if values.shape[0] != self.num_nodes:
            raise InputError(f"values must have one row per node ({self.num_nodes}), got {values.shape[0]}")
        return REDUCERS[reduce](values[self.index], self.ptr)

    def unpool(self, values: Tensor) -> Tensor:
        """Node values ``[n, ...]`` from group values ``[p, ...]``: painted coarse to fine; NaN where no group is."""
        if values.shape[0] != self.num_patches:
            raise InputError(f"values must have one row per group ({self.num_patches}), got {values.shape[0]}")
        finest = self.finest
        out = values[finest.clamp(min=0)]
        missing = (finest < 0).view(-1, *[1] * (values.dim() - 1))
        return out.masked_fill(missing, torch.nan) if bool(missing.any()) else out

    def to(self, device: torch.device | str) -> Cover:
        """Copy on another device."""
        tensors = ("index", "ptr", "level", "center", "radius", "batch")
        return replace(self, **{name: getattr(self, name).to(device) for name in tensors})

    def to_pyvista(self, pos: Tensor) -> Any:
        """PyVista points with arrays ``patch``, the finest group of each node, ``level`` and ``coverage``."""
        import pyvista as pv  # importing VTK takes a second

        cloud = pv.PolyData(torch.nn.functional.pad(pos, (0, 3 - pos.shape[1])).cpu().numpy())
        finest = self.finest
        cloud.point_data["patch"] = finest.cpu().numpy()
        cloud.point_data["level"] = torch.where(finest < 0, -1, self.level[finest.clamp(min=0)]).cpu().numpy()
        cloud.point_data["coverage"] = self.coverage().cpu().numpy()
        return cloud
