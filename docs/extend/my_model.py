"""PointNet (1612.00593) in its simplest form: every node sees itself and the mean over its graph."""

import torch
from torch import nn
from torch_geometric.nn import global_mean_pool

from meshops.models import register_model


@register_model
class PointNet(nn.Module):
    takes = frozenset({"points"})  # or "graph" (edge_index), "grid" ([b, c, *grid])

    def __init__(self, in_channels: int, out_channels: int, *, pos_dim: int = 3, channels: int = 64) -> None:
        super().__init__()
        self.local = nn.Sequential(nn.Linear(pos_dim + in_channels, channels), nn.GELU(), nn.Linear(channels, channels))
        self.out = nn.Sequential(nn.Linear(2 * channels, channels), nn.GELU(), nn.Linear(channels, out_channels))

    def unpack(self, graph):
        """What ``forward`` takes of a graph or of a batch of graphs."""
        x = graph.pos if graph.x is None else torch.cat([graph.pos, graph.x], 1)
        batch = graph.get("batch")
        return x, torch.zeros(len(x), dtype=torch.long, device=x.device) if batch is None else batch

    def forward(self, inputs):
        """``[n, out_channels]``."""
        x, batch = inputs
        local = self.local(x)
        return self.out(torch.cat([local, global_mean_pool(local, batch)[batch]], 1))


@register_model
def pointnet_wide(**changes) -> PointNet:
    """A published size says which table it is from."""
    return PointNet(**{"channels": 256} | changes)
