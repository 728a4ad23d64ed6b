r"""Continuous convolution over prepared neighbourhoods: features of points where they are wanted.

    y(q) = b + sum_v w(q, v) K(q - v) f(v),   K(d) = reshape(W2 phi(d)) + K0
    phi(d) = gelu(W1 [sin, cos](2 pi d B) + b1)

(CALM-PDE, 2505.12944, eq. 4-6; Wang et al. 2018). The kernel is linear in phi, so the sums can change places,

    g(q, r) = sum_v w(q, v) phi_r(q - v) f(v),   y(q) = b + sum_r A_r g(q, r),

which is the same number without one matrix per neighbour; a constant phi carries K0. Departures: offsets are counted in
cells of the latent grid, so weights do not depend on the resolution, and B has a standard deviation of 0.4 (CALM-PDE's
6 per unit of length is about 0.2 per cell, too smooth to tell points of a cell apart; 0.4 is our choice); weights sum
to 1 in every neighbourhood, without which training diverges (CALM-PDE, table of ablations).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, pad
from torch.utils.checkpoint import checkpoint

from meshops.data.latent_grid import Neighborhood
from meshops.errors import InputError
from meshops.nn.linear import Linear
from meshops.ops.kernels.available import eager
from meshops.ops.products import linear
from meshops.typing import Float

CHUNK_BYTES = 2**25  # of intermediate values at a time: about what the caches of a CPU hold


class NeighborhoodConv(nn.Module):
    """Convolution with a learned continuous kernel over neighbourhoods, such as those of a latent grid.

    On the edges of a graph: :class:`meshops.nn.continuous_conv.ContinuousConv`.

    Args:
        in_channels: Features of a source.
        out_channels: Features of a query.
        dim: Number of space dimensions.
        hidden: Width of phi.
        frequencies: Number of random frequencies.
        deviation: Standard deviation of the frequencies, periods per cell.
        modulation: Number of queries with a scale and a shift of phi of their own (the nodes of a fixed grid); 0: none.
        chunk_size: Queries at a time; None: so many that the intermediate values fit the cache. Results are the same
            but for the order of sums.

    Example:
        >>> box = LatentGrid(low=(0.0, 0.0), high=(1.0, 1.0), shape=(4, 4), periodic=(False, False))
        >>> NeighborhoodConv(3, 8, dim=2)(torch.rand(9, 3), box.from_points(torch.rand(9, 2))).shape
        torch.Size([16, 8])
    """

    frequency: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        dim: int,
        hidden: int = 32,
        frequencies: int = 16,
        deviation: float = 0.4,
        modulation: int = 0,
        chunk_size: int | None = None,
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.dim, self.chunk_size = in_channels, out_channels, dim, chunk_size
        self.deviation = deviation
        self.register_buffer("frequency", torch.empty(dim, frequencies))
        self.lift = nn.utils.skip_init(Linear, 2 * frequencies, hidden)
        self.kernel = nn.Parameter(torch.empty(hidden + 1, in_channels, out_channels))
        self.bias = nn.Parameter(torch.empty(out_channels))
        self.modulation = nn.Parameter(torch.empty(2, modulation, hidden)) if modulation else None
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw frequencies and weights anew."""
        self.frequency.copy_(torch.randn_like(self.frequency) * self.deviation)
        self.lift.reset_parameters()
        bound = math.sqrt(3 / self.in_channels)
        self.kernel.uniform_(-bound, bound)
        self.kernel[:-1] /= math.sqrt(len(self.kernel) - 1)
        self.bias.zero_()
        if self.modulation is not None:
            self.modulation[0], self.modulation[1] = 1.0, 0.0

    def forward(self, x: Float[Tensor, "n *s c"], near: Neighborhood) -> Float[Tensor, "q *s c2"]:
        """Features of the queries.

        Args:
            x: Features of the sources; a middle axis (frames, samples) shares geometry and kernel.
            near: Sources of each query.

        Raises:
            InputError: Another number of channels or dimensions.
        """
        self.check(x, near.offset.shape[-1])
        series = x if x.dim() == 3 else x.unsqueeze(1)
        queries = near.index.shape[0]
        step = self.chunk_size or self._chunk(near.index.shape[1], series.shape[1])
        parts = []
        for first in range(0, queries, step):
            rows = slice(first, min(first + step, queries))
            scale, shift = self._modulation(rows, near.index.device)
            part = (series, near.index[rows], near.offset[rows], near.weight[rows], scale, shift)
            if queries > step and torch.is_grad_enabled():
                parts.append(checkpoint(self._chunk_forward, *part, use_reentrant=False))
            else:
                parts.append(self._chunk_forward(*part))
        y = torch.cat(parts) if len(parts) != 1 else parts[0]
        return y if x.dim() == 3 else y.squeeze(1)

    def check(self, x: Tensor, dim: int) -> None:
        """Refuse another number of channels or dimensions."""
        if x.dim() not in (2, 3) or x.shape[-1] != self.in_channels:
            raise InputError(f"x must be [n, s, {self.in_channels}] or [n, {self.in_channels}], got {tuple(x.shape)}")
        if dim != self.dim:
            raise InputError(f"the convolution is {self.dim}-D, got positions in {dim}-D; make it with dim={dim}")

    def features(self, offset: Tensor, scale: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
        """Phi and the constant, ``[..., d] -> [..., hidden + 1]``."""
        return pad(self._phi(offset, scale, shift), (0, 1), value=1.0)

    def _phi(self, offset: Tensor, scale: Tensor | None, shift: Tensor | None) -> Tensor:
        angle = offset @ (2 * math.pi * self.frequency)
        phi = self.lift(torch.cat([angle.sin(), angle.cos()], -1))
        if scale is not None and shift is not None:
            phi = phi * scale.unsqueeze(-2) + shift.unsqueeze(-2)
        return gelu(phi)

    def _weighted(self, offset: Tensor, weight: Tensor, scale: Tensor | None, shift: Tensor | None) -> Tensor:
        """Features of the kernel times the weights ``[q, k]``; without gradients they are written where they stay."""
        if torch.is_grad_enabled() or eager(offset, weight):
            return self.features(offset, scale, shift) * weight.unsqueeze(2)
        phi = self._phi(offset, scale, shift)
        out = phi.new_empty(*weight.shape, phi.shape[-1] + 1)
        torch.mul(phi, weight.unsqueeze(2), out=out[..., :-1])
        out[..., -1] = weight
        return out

    def _chunk_forward(
        self, x: Tensor, index: Tensor, offset: Tensor, weight: Tensor, scale: Tensor | None, shift: Tensor | None
    ) -> Tensor:
        q, k = index.shape
        phi = self._weighted(offset, weight, scale, shift)
        seen = x.index_select(0, index.flatten()).view(q, k, -1)
        mixed = torch.bmm(phi.transpose(1, 2), seen).view(q, -1, x.shape[1], self.in_channels)  # [q, r, s, c]
        rows = mixed.transpose(1, 2).reshape(q * x.shape[1], -1)
        return linear(rows, self.kernel.flatten(0, 1).t(), self.bias).view(q, x.shape[1], -1)

    def _modulation(self, rows: slice, device: torch.device) -> tuple[Tensor | None, Tensor | None]:
        if self.modulation is None:
            return None, None
        query = torch.arange(rows.start, rows.stop, device=device).remainder(self.modulation.shape[1])
        scale, shift = self.modulation[:, query]
        return scale, shift

    def _chunk(self, neighbors: int, series: int) -> int:
        """Queries whose intermediate values take :data:`CHUNK_BYTES`."""
        width = self.kernel.shape[0]
        numbers = neighbors * (2 * width + series * self.in_channels) + 2 * width * series * self.in_channels
        return max(256, CHUNK_BYTES // (4 * numbers) // 64 * 64)
