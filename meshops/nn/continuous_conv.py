r"""Continuous convolution on any graph: ``ContinuousConv(16, 64)(x, pos, edge_index)``.

    y(i) = b + mean_{j -> i} K((p_i - p_j) / length) x(j)

with the kernel K of :mod:`meshops.nn.neighborhood_conv`, learned and continuous in the offset (Wang et al. 2018; Li et
al. 2020, "graph kernel network"). Nodes with about equally many neighbours are worked on together, so that one node
with very many does not widen the rows of all others.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from meshops.data.latent_grid import Neighborhood
from meshops.errors import InputError
from meshops.nn.neighborhood_conv import NeighborhoodConv
from meshops.ops.checks import check_index, check_positions
from meshops.typing import Float, Int


class ContinuousConv(nn.Module):
    """Convolution with a learned continuous kernel over the edges of a graph, as other convolutions of PyG.

    Args:
        in_channels: Features of a node that sends.
        out_channels: Features of a node that receives.
        dim: Number of space dimensions.
        length: Length that offsets are counted in, about that of an edge, in the unit of ``pos``: the kernel changes
            over this distance.
        hidden: Width of the perceptron in the kernel.
        frequencies: Number of random frequencies.
        deviation: Standard deviation of the frequencies, periods per ``length``.
        chunk_size: Nodes at a time; None: so many that the intermediate values fit the cache.

    Raises:
        InputError: A length that is not positive.

    Example:
        >>> edges = torch.tensor([[0, 1, 2], [1, 2, 0]])
        >>> ContinuousConv(16, 64)(torch.rand(3, 16), torch.rand(3, 3), edges).shape
        torch.Size([3, 64])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        dim: int = 3,
        length: float = 1.0,
        hidden: int = 32,
        frequencies: int = 16,
        deviation: float = 0.4,
        chunk_size: int | None = None,
    ) -> None:
        super().__init__()
        if not 0 < length < float("inf"):
            raise InputError(f"length must be positive, about the length of an edge, got {length}")
        self.length = length
        self.conv = NeighborhoodConv(
            in_channels, out_channels, dim=dim, hidden=hidden, frequencies=frequencies, deviation=deviation,
            chunk_size=chunk_size,
        )  # fmt: skip

    def reset_parameters(self) -> None:
        """Draw frequencies and weights anew."""
        self.conv.reset_parameters()

    def forward(
        self,
        x: Float[Tensor, "n *s c"],
        pos: Float[Tensor, "n d"] | tuple[Float[Tensor, "n d"], Float[Tensor, "q d"]],
        edge_index: Int[Tensor, "2 e"],
    ) -> Float[Tensor, "q *s c2"]:
        """Features of the receivers; those without an edge get the bias.

        Args:
            x: Features of the senders; a middle axis (frames, samples) shares geometry and kernel.
            pos: Positions of the nodes, or a pair: of the senders and of the receivers (bipartite graphs).
            edge_index: Sender and receiver of each edge; in any order.

        Raises:
            InputError: Shapes that do not fit, or edges that lead to nodes that are not there.
        """
        senders, receivers = pos if isinstance(pos, tuple) else (pos, pos)
        for place in (senders, receivers):
            check_positions(place, "position")
        if len(x) != len(senders):
            raise InputError(f"x must have one row per position of a sender ({len(senders)}), got {len(x)}")
        if edge_index.dim() != 2 or edge_index.shape[0] != 2:
            raise InputError(f"edge_index must be [2, e] (sender, receiver), got {tuple(edge_index.shape)}")
        check_index(edge_index[0], len(senders), "edge_index[0]")
        check_index(edge_index[1], len(receivers), "edge_index[1]")
        self.conv.check(x, senders.shape[1])
        bias: Tensor = self.conv.bias
        out = bias.expand(len(receivers), *x.shape[1:-1], -1)
        for rows, near in neighborhoods(edge_index, senders, receivers, self.length):
            out = out.index_copy(0, rows, self.conv(x, near))
        return out

    def extra_repr(self) -> str:
        """Length of an offset."""
        return f"length={self.length:g}"


def neighborhoods(
    edge_index: Tensor, pos: Tensor, queries: Tensor, length: float
) -> Iterator[tuple[Tensor, Neighborhood]]:
    """Receivers that have edges, and what they see, in groups of 1, 2, 3 to 4, 5 to 8, ... edges.

    Args:
        edge_index: ``[2, e]`` sender, receiver.
        pos: ``[n, d]`` of the senders.
        queries: ``[q, d]`` of the receivers.
        length: That offsets are counted in.
    """
    sender, receiver = edge_index[:, torch.argsort(edge_index[1], stable=True)]
    count = torch.bincount(receiver, minlength=len(queries))
    start = count.cumsum(0) - count
    width = 1
    while width < 2 * int(count.max() if len(count) else 0):
        rows = ((count > width // 2) & (count <= width)).nonzero()[:, 0]
        if len(rows):
            place = torch.arange(width, device=rows.device)
            taken = place < count[rows].unsqueeze(1)
            index = sender[(start[rows].unsqueeze(1) + place).clamp(max=len(sender) - 1)] * taken
            offset = (queries[rows].unsqueeze(1) - pos[index]) / length * taken.unsqueeze(2)
            weight = taken.to(offset.dtype) / count[rows].unsqueeze(1)
            nearest = offset.detach().norm(dim=2).masked_fill(~taken, torch.inf).amin(1)
            yield rows, Neighborhood(index, offset, weight, count[rows], nearest)
        width *= 2
