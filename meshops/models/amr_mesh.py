"""AMR-Transformer on meshes: a plain transformer on overlapping octree cells (2503.10257; see amr_transformer.py).

    regions = CriteriaTokens(thresholds)(x)                     all depths, coarse to fine (sec. 3.1, 3.2)
    token = linear([mean of every feature, share of nodes, depth, centre] of each of its 2^d parts)          (eq. 1)
    Z = encoder(token),   Z_part = linear(Z)                    one value per part (sec. 3.3)
    y_n = reader(Z_part(n), e_n, o_n)                           decoder "local"; "paint": Z_part(n) itself

A part of a region is one of the 2^d halvings of its cell; a node takes the value of its part in the finest region that
holds it: finer is painted over coarser. ``decoder="paint"`` is the paper's, constant over a part. ``"local"`` (ours)
reads the value with the place and the features of the node, see meshops/nn/token_reading.py.

Without a velocity among the inputs the thresholds act on the gradient of all of them, where none varies on the fineness
of the mesh. Departures: parts without nodes have the mean 0 and the share 0; the loss is on the nodes, not on tokens;
rotary positions of the centres in the attention (``rotary=False``: only the numbers in the token, as published).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from meshops.errors import InputError
from meshops.models.amr_transformer import named_thresholds
from meshops.models.iap_mesh import checked_channels, embedded
from meshops.models.registry import register_model
from meshops.nn.point_model import PointEmbedding, point_inputs
from meshops.nn.ragged import RaggedPlan
from meshops.nn.rotary import RotaryPositions
from meshops.nn.token_reading import TokenInputs, TokenReader
from meshops.nn.transformer import TransformerBlock
from meshops.ops.segment import scatter_mean, scatter_sum
from meshops.partition.mesh_tokens import CriteriaTokens, MeshTokens
from meshops.partition.thresholds import Thresholds, random_thresholds
from meshops.typing import Float


@register_model
class AMRMesh(nn.Module):
    """Regions refined by criteria as tokens: ``pos [n, d]``, ``x [n, f]`` -> ``[n, out_channels]``.

    Args:
        in_channels: f, features beside the position (0 allowed).
        out_channels: Channels predicted at each node.
        pos_dim: d.
        velocity: Features that are the velocity, one per axis, scaled alike; empty: the gradient of all decides.
        max_size: Side of the coarsest regions, node spacings; None: a quarter of the graph's.
        min_cell: Side of the smallest parts.
        thresholds: Factors of the four criteria: gradient, vorticity, momentum, shear.
        top: Share of each depth that is refined anyway.
        random_thresholds: Draw thresholds per graph while training (paper, sec. 4.1; per sample is our reading).
        channels: Width of a token.
        depth: Blocks.
        num_heads: Heads.
        hidden: Width of the feed-forward layers.
        decoder: ``"local"`` or ``"paint"``, see the module.
        rotary: Rotary positions of the centres of the regions in the attention.
        wavelengths: Their shortest and longest period, in units of ``pos``.
        time: Condition on a scalar time per graph.

    Raises:
        InputError: Impossible combination of arguments.

    Example:
        >>> model = AMRMesh(2, 3, pos_dim=2, velocity=(0, 1), channels=16, depth=1, hidden=32)
        >>> model(model.unpack(MeshGraph(pos=torch.rand(90, 2), x=torch.rand(90, 2)))).shape
        torch.Size([90, 3])
    """

    takes: ClassVar[frozenset[str]] = frozenset({"points"})

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        pos_dim: int = 3,
        velocity: Sequence[int] = (),
        max_size: int | None = None,
        min_cell: int = 1,
        thresholds: Sequence[float] | None = None,
        top: float = 0.1,
        random_thresholds: bool = False,
        channels: int = 128,
        depth: int = 4,
        num_heads: int = 4,
        hidden: int = 256,
        decoder: Literal["local", "paint"] = "local",
        rotary: bool = True,
        wavelengths: tuple[float, float] = (0.05, 4.0),
        time: bool = False,
    ) -> None:
        super().__init__()
        if decoder not in ("local", "paint"):
            raise InputError(f"decoder must be 'local' or 'paint', got '{decoder}'")
        if time and decoder == "paint":
            raise InputError("decoder='paint' has no place for a time: use decoder='local'")
        if velocity and len(velocity) != pos_dim:
            raise InputError(f"velocity must name one feature per axis ({pos_dim}), got {list(velocity)}")
        limits = Thresholds() if thresholds is None else named_thresholds(thresholds)
        named = checked_channels(velocity, in_channels, "velocity") or ()
        self.tokenizer = CriteriaTokens(named, max_size=max_size, min_cell=min_cell, thresholds=limits, top=top)
        self.random_thresholds, self.parts, self.out_channels = random_thresholds, 2**pos_dim, out_channels
        self.in_channels, self.pos_dim = in_channels, pos_dim
        self.embed = PointEmbedding(in_channels, channels, pos_dim=pos_dim, time=time) if decoder == "local" else None
        self.positions = None
        if rotary:
            low, high = wavelengths
            self.positions = RotaryPositions(channels // num_heads, pos_dim, min_wavelength=low, max_wavelength=high)
        self.token = nn.Linear(self.parts * (in_channels + pos_dim + 2), channels)
        self.blocks = nn.ModuleList(
            TransformerBlock(channels, num_heads=num_heads, ratio=hidden / channels) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(channels)
        self.part = nn.Linear(channels, self.parts * (channels if decoder == "local" else out_channels))
        self.reader = None
        if decoder == "local":
            self.reader = TokenReader(
                channels, out_channels, pos_dim=pos_dim, num_heads=num_heads, ratio=hidden / channels, decoder="local"
            )

    def unpack(self, graph: Any) -> TokenInputs:
        """Tensors of a graph or of a batch, and the regions chosen by its features."""
        given = point_inputs(graph)
        drawn = {}
        if self.training and self.random_thresholds:
            drawn["thresholds"] = random_thresholds(len(given.graph_ptr) - 1)
        cells = self.tokenizer.tokens(graph, given.x, **drawn)
        return TokenInputs(given.pos, given.x, given.graph_ptr, cells, given.time)

    def forward(self, inputs: TokenInputs) -> Float[Tensor, "n o"]:
        """Fields at the nodes, in their order.

        Raises:
            InputError: Another number of coordinates or features than the model was made for, or a missing time.
        """
        found, cells = (inputs.pos.shape[1], inputs.x.shape[1]), inputs.tokens
        if found != (self.pos_dim, self.in_channels):
            raise InputError(
                f"the model was made for {self.pos_dim} coordinates in pos and {self.in_channels} features in x, "
                f"got {found[0]} and {found[1]}"
            )
        nodes = None if self.embed is None else embedded(self.embed, inputs)
        tokens = self.token(self.content(inputs))
        plan = RaggedPlan.of(cells.graph_ptr)
        angles = None if self.positions is None else self.positions(cells.center)
        for block in self.blocks:
            tokens = block(tokens, angles=angles, plan=plan)
        parts = self.part(self.norm(tokens)).unflatten(1, (self.parts, -1)).flatten(0, 1)
        everyone = torch.arange(len(cells.home), device=tokens.device)
        own = parts[part_of(inputs.pos, cells, everyone, cells.home)]
        if nodes is None or self.reader is None:
            return torch.as_tensor(own)
        out: Tensor = self.reader(own, nodes, inputs, tokens)
        return out

    def content(self, inputs: TokenInputs) -> Tensor:
        """``[t, 2^d (f + 2 + d)]`` of every part: mean features, share of the nodes, depth and centre."""
        cells, count = inputs.tokens, inputs.tokens.num_tokens * self.parts
        part = part_of(inputs.pos, cells, cells.node, cells.token)
        mean = scatter_mean(inputs.x[cells.node], part, count)
        held = scatter_sum(torch.ones_like(part, dtype=mean.dtype), part, count).view(-1, self.parts)
        share = held / held.sum(1, keepdim=True).clamp(min=1)
        corner = 2 * octants(inputs.pos.shape[1], inputs.pos.device).to(mean) - 1
        centre = cells.center.unsqueeze(1) + 0.5 * cells.half.view(-1, 1, 1) * corner
        depth = (cells.depth.to(mean) / 8).view(-1, 1, 1).expand(-1, self.parts, 1)
        rows = [mean.view(cells.num_tokens, self.parts, -1), share.unsqueeze(2), depth, centre]
        return torch.cat(rows, 2).flatten(1)


def octants(dim: int, device: torch.device) -> Tensor:
    """``[2^d, d]`` 0 for the lower and 1 for the upper half of each axis, of every part of a cell."""
    return (torch.arange(2**dim, device=device).unsqueeze(1) >> torch.arange(dim, device=device)) & 1


def part_of(pos: Tensor, cells: MeshTokens, node: Tensor, token: Tensor) -> Tensor:
    """``[k]`` number of the part, ``2^d token + octant``, in which each node of a token lies."""
    upper = (pos[node] >= cells.center[token]).long()
    part: Tensor = token * int(2 ** pos.shape[1])
    for axis in range(pos.shape[1]):
        part = part + (upper[:, axis] << axis)
    return part
