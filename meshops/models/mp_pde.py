"""MP-PDE, message-passing neural PDE solver (Brandstetter, Worrall, Welling; ICLR 2022, 2202.03376).

    m_ij = phi(f_i, f_j, u_i - u_j, x_i - x_j, v_i)            (eq. 8; phi: two linear layers, Swish after each)
    f_i' = f_i + psi(f_i, mean_j m_ij, v_i),  then InstanceNorm                                             (eq. 9)
    u^{k+l} = u^k + l dt d^l,  l = 1..K                        (temporal bundling, sec. 3.1)

Reference code: the mean over neighbours where the paper writes a sum; Swish also after the last layer of psi; decoder
by two 1-D convolutions, for bundles of 20, 25 or 50 steps.

Departures: any dimension and any number of fields (``u`` is all fields of the last steps); a perceptron decodes short
bundles and steady fields; the first edge layer is split into node projections (exact). Differences of fields and
positions have a small layer of their own, which keeps 8 bits when the network is quantised.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from meshops.errors import InputError
from meshops.models.registry import register_model
from meshops.nn.mesh_model import Beyond, MeshInputs, MeshModel
from meshops.nn.message_passing import EdgeLinear, RowMLP
from meshops.nn.row_linear import RAW_BITS, RowLinear, SplitLinear
from meshops.ops.segment import segment_mean, segment_spread, segment_sum

CONVOLUTIONS = {20: ((15, 4), 10), 25: ((16, 3), 14), 50: ((12, 2), 10)}  # K: kernel and stride, second kernel


class InstanceNorm(nn.Module):
    """Zero mean and unit variance of every channel over the nodes of each graph; no parameters."""

    def forward(self, x: Tensor, ptr: Tensor, halo: Beyond | None = None) -> Tensor:
        """``[n, c]`` with graphs ``ptr [b + 1]``; with ``halo`` the means are over the nodes of all processes."""
        if halo is not None:
            x = x - halo.mean(x)
            return x * torch.rsqrt(halo.mean(x.square()) + 1e-5)
        if len(ptr) == 2:
            x = x - x.mean(0)
            return x * torch.rsqrt(x.square().mean(0) + 1e-5)
        x = x - segment_spread(segment_mean(x, ptr), ptr)
        return x * torch.rsqrt(segment_spread(segment_mean(x.square(), ptr), ptr) + 1e-5)


class MPPDELayer(nn.Module):
    """One round of messages."""

    def __init__(self, channels: int, differences: int, variables: int, *, split: bool, aggr: str):
        super().__init__()
        variable = [(variables, RAW_BITS)] if variables else []
        self.message = EdgeLinear([(channels, None)], [(differences + variables, RAW_BITS)], channels, split=split)
        self.message_2 = RowLinear(channels, channels, rows="edge")
        self.update = SplitLinear([(channels, None), (channels, None), *variable], channels, rows="node")
        self.update_2 = RowLinear(channels, channels, rows="node")
        self.norm = InstanceNorm()
        self.reduce = segment_mean if aggr == "mean" else segment_sum

    def forward(self, f: Tensor, raw: Tensor, variables: Tensor, inputs: MeshInputs) -> Tensor:
        """``f [n, c]``, differences and variables of the edges ``raw [e, k]``, ``variables [n, v]``."""
        messages = self.message([inputs.seen(f)], [raw], inputs.sender, inputs.receiver, activation="silu")
        messages = self.message_2(messages, activation="silu")
        received = self.reduce(messages, inputs.ptr)
        own = (f, received, variables) if variables.shape[1] else (f, received)
        change = self.update_2(self.update(*own, activation="silu"), activation="silu")
        out: Tensor = self.norm(f + change, inputs.graph_ptr, inputs.halo)
        return out


class BundleDecoder(nn.Module):
    """The released decoder: the state of a node as a signal, two convolutions to a bundle of K steps."""

    def __init__(self, channels: int, steps: int, fields: int) -> None:
        super().__init__()
        if steps not in CONVOLUTIONS or channels != 128:
            raise InputError(
                f"decoder='conv' is published for 128 channels and bundles of 20, 25 or 50 steps, got {channels} "
                f"channels and {steps} steps; use decoder='mlp'"
            )
        (kernel, stride), last = CONVOLUTIONS[steps]
        self.first, self.last = nn.Conv1d(1, 8, kernel, stride), nn.Conv1d(8, fields, last)

    def forward(self, f: Tensor) -> Tensor:
        """``[n, c] -> [n, steps fields]``, step after step; never quantised."""
        out: Tensor = self.last(silu(self.first(f.unsqueeze(1))))
        return out.transpose(1, 2).flatten(1)


@register_model
class MPPDE(MeshModel):
    """Message-passing PDE solver: ``x [n, in_channels]`` on a graph -> ``[n, out_channels]``.

    Args:
        in_channels: Channels of a node: the last steps of all fields, or static coefficients, then variables.
        out_channels: Channels predicted, a multiple of the fields when they are steps of a bundle.
        pos_dim: Space dimensions.
        channels: Hidden width.
        depth: Rounds of messages.
        variables: How many of the last channels of ``x`` are parameters rather than fields: seen by every layer, and
            no differences are taken of them (time, coefficients of the equation, kinds of nodes).
        fourier: Frequencies of sines and cosines of the position given to the encoder (useful without fields); 0: the
            position itself.
        aggr: ``"mean"`` as released, or ``"sum"`` as written in the paper.
        decoder: ``"mlp"`` or ``"conv"`` (released, for long bundles).
        bundle: Steps that ``out_channels`` are, all fields of the first step before those of the second.
        time_step: Time between steps: the output is then ``newest + l dt d^l``; None: the output is d.
        split: Evaluate the first edge layer on nodes.
        neighbors: Edges to this many nearest nodes where a graph has none.

    Raises:
        InputError: A combination that does not fit.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        pos_dim: int = 3,
        channels: int = 128,
        depth: int = 6,
        variables: int = 0,
        fourier: int = 0,
        aggr: str = "mean",
        decoder: str = "mlp",
        bundle: int = 1,
        time_step: float | None = None,
        split: bool = True,
        neighbors: int = 8,
    ) -> None:
        super().__init__()
        if aggr not in ("mean", "sum") or decoder not in ("mlp", "conv"):
            raise InputError(f"aggr must be mean or sum, decoder mlp or conv; got aggr='{aggr}', decoder='{decoder}'")
        if not 0 <= variables <= in_channels:
            raise InputError(f"variables must be 0..{in_channels} (channels of x), got {variables}")
        if bundle < 1 or out_channels % bundle:
            raise InputError(f"out_channels ({out_channels}) must be a multiple of bundle, got {bundle}")
        self.bundle = bundle
        self.fields, self.variables, self.fourier = in_channels - variables, variables, fourier
        self.time_step, self.neighbors, self.out_channels = time_step, neighbors, out_channels
        width = in_channels + pos_dim * (1 + 2 * fourier)
        self.encoder = RowMLP(
            [width, channels, channels], rows="node", activation="silu", last="silu", first_fixed=RAW_BITS
        )
        self.layers = nn.ModuleList(
            MPPDELayer(channels, self.fields + pos_dim, variables, split=split, aggr=aggr) for _ in range(depth)
        )
        self.decoder: nn.Module
        if decoder == "conv":
            self.decoder = BundleDecoder(channels, bundle, out_channels // bundle)
        else:
            self.decoder = RowMLP(
                [channels, channels, out_channels], rows="node", activation="silu", last_fixed=RAW_BITS
            )

    def forward(self, inputs: MeshInputs) -> Tensor:
        """``[n, out_channels]``; ``inputs`` from :meth:`unpack`."""
        pos, u, v = inputs.pos, inputs.x[:, : self.fields], inputs.x[:, self.fields :]
        place = [pos, *(wave(pos * torch.pi * 2**i) for i in range(self.fourier) for wave in (torch.sin, torch.cos))]
        f = self.encoder(torch.cat([u, *place, v], 1))
        ends = inputs.seen(torch.cat([u, pos], 1))
        raw = ends.index_select(0, inputs.receiver) - ends.index_select(0, inputs.sender)
        if self.variables:
            raw = torch.cat([raw, v.index_select(0, inputs.receiver)], 1)
        for layer in self.layers:
            f = layer(f, raw, v, inputs)
        d: Tensor = self.decoder(f)
        return d if self.time_step is None else advance(u, d, self.time_step, self.bundle)


def advance(u: Tensor, d: Tensor, time_step: float, bundle: int) -> Tensor:
    """``u^k + l dt d^l`` for l = 1..bundle, step after step.

    Args:
        u: ``[n, K c]`` the last K steps of c fields, oldest first.
        d: ``[n, bundle c]``.
        time_step: dt.
        bundle: Steps of d.
    """
    fields = d.shape[1] // bundle
    step = torch.arange(1, bundle + 1, device=d.device, dtype=d.dtype).repeat_interleave(fields)
    return u[:, -fields:].repeat(1, bundle) + step * time_step * d


@register_model
def mp_pde_e1(**changes: Any) -> MPPDE:
    """The published 1-D network of task E1 (634,745 weights): 25 steps in and out, time as the only variable."""
    settings: dict[str, Any] = {
        "in_channels": 26, "out_channels": 25, "pos_dim": 1, "variables": 1, "bundle": 25, "decoder": "conv",
        "time_step": 1.0,
    }  # fmt: skip
    return MPPDE(**(settings | changes))
