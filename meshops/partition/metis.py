"""METIS: patches that cut few edges (Karypis and Kumar 1998), by the package pymetis."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch_geometric.transforms import BaseTransform

from meshops.errors import InputError
from meshops.ops.checks import check_index
from meshops.ops.segment import sort_index
from meshops.optional import require
from meshops.partition.checks import checked_positions, graph_ptr, positions_of
from meshops.partition.partition import Partition
from meshops.partition.registry import register_partitioner


@register_partitioner("metis", needs="edges")
class Metis(BaseTransform):  # type: ignore[misc]
    """Group the nodes of a graph, or of each graph of a batch, so that few edges run between patches.

    The only partitioner that follows the mesh instead of the positions: the two sides of a thin plate stay apart. The
    graph needs edges. Sizes are nearly equal (METIS allows about 3 %), not exactly; the order of the nodes matters.
    Runs on the CPU. Needs the package pymetis. One of the two arguments must be given.

    Args:
        patch_size: Nodes per patch: ``ceil(n / patch_size)`` patches.
        num_patches: Number of patches per graph.
    """

    def __init__(self, patch_size: int | None = None, *, num_patches: int | None = None) -> None:
        if (patch_size is None) == (num_patches is None):
            raise InputError("Metis needs either patch_size or num_patches, not both")
        for name, value in (("patch_size", patch_size), ("num_patches", num_patches)):
            if value is not None and value < 1:
                raise InputError(f"{name} must be at least 1, got {value}")
        self.patch_size = patch_size
        self.num_patches = num_patches

    def forward(self, data: Any) -> Any:
        """Store the patches on (a shallow copy of) the graph; read them with ``Partition.of``."""
        pos = positions_of(data)
        if data.get("edge_index") is None:
            raise InputError("METIS cuts edges and the graph has none; add some first, e.g. KNNGraph(k=8)(graph)")
        return self.partition(pos, data.edge_index, graph_ptr(data)).store(data)

    @torch.no_grad()
    def partition(self, pos: Tensor, edge_index: Tensor, ptr: Tensor | None = None) -> Partition:
        """Partition of nodes at ``pos [n, d]`` with edges ``[2, e]``, taken in both directions.

        Raises:
            InputError: Positions are not finite, or an edge leads to a node that does not exist.
            MissingPackageError: pymetis is not installed.
        """
        pymetis = require("pymetis", extra="metis")
        pos, ptr = checked_positions(pos, ptr)
        check_index(edge_index, pos.shape[0], "edge_index")
        edges = torch.cat([edge_index, edge_index.flip(0)], 1).cpu()
        edges = torch.unique(edges[:, edges[0] != edges[1]], dim=1)
        neighbor_ptr = torch.searchsorted(edges[0].contiguous(), torch.arange(pos.shape[0] + 1))
        label = torch.zeros(pos.shape[0], dtype=torch.long)
        batch: list[int] = []
        for graph, (start, end) in enumerate(pairwise(ptr.tolist())):
            count = self.num_patches or max(1, -(-(end - start) // (self.patch_size or 1)))
            own = neighbor_ptr[start : end + 1]
            neighbors = edges[1, own[0] : own[-1]] - start
            if neighbors.numel() and not 0 <= int(neighbors.min()) <= int(neighbors.max()) < end - start:
                raise InputError(f"an edge leads out of graph {graph}; edges must stay within a graph")
            if count > 1 and end - start > 1:
                adjacency = pymetis.CSRAdjacency((own - own[0]).numpy(), neighbors.numpy())
                label[start:end] = torch.as_tensor(pymetis.part_graph(count, adjacency)[1])
            label[start:end] += len(batch)
            batch += [graph] * count
        perm, bounds = (array.to(pos.device) for array in sort_index(label, len(batch)))
        return Partition.from_order(pos, perm, bounds, batch=torch.tensor(batch, dtype=torch.long, device=pos.device))

    def __repr__(self) -> str:
        given = f"patch_size={self.patch_size}" if self.patch_size is not None else f"num_patches={self.num_patches}"
        return f"Metis({given})"
