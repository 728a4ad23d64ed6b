"""Slabs: equal runs of the nodes along one axis."""

import torch
from torch_geometric.transforms import BaseTransform

from meshops.partition import Partition, register_partitioner
from meshops.partition.checks import checked_positions, graph_ptr, positions_of


@register_partitioner("slabs")
class Slabs(BaseTransform):
    def __init__(self, patch_size=None, *, num_patches=None, axis=0):
        self.patch_size, self.num_patches, self.axis = patch_size, num_patches, axis

    def forward(self, data):
        return self.partition(positions_of(data), graph_ptr(data)).store(data)

    def partition(self, pos, ptr=None):
        """Partition of ``[n, d]``; graph i of a batch owns rows ``ptr[i]:ptr[i + 1]``."""
        pos, ptr = checked_positions(pos, ptr)
        perm, bounds, graphs = [], [0], []
        for graph, (first, last) in enumerate(zip(ptr[:-1].tolist(), ptr[1:].tolist(), strict=True)):
            size = last - first
            count = self.num_patches or max(1, -(-size // self.patch_size))
            perm.append(first + torch.argsort(pos[first:last, self.axis], stable=True))
            bounds += [first + size * (i + 1) // count for i in range(count)]
            graphs += [graph] * count
        bounds, graphs = torch.tensor(bounds, device=pos.device), torch.tensor(graphs, device=pos.device)
        return Partition.from_order(pos, torch.cat(perm), bounds, batch=graphs)
