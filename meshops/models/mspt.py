"""MSPT, the Multi-Scale Patch Transformer (Curvo, van de Meent, Zhdanov; arXiv 2512.01738).

    H' = H + PMSA(LN(H)),   H'' = H' + FFN(LN(H'))                      (pre-norm block, sec. 3.3)
    PMSA(H)_k = softmax(Q_k [K_k ; K_S]^T / sqrt(c)) [V_k ; V_S]        S = supernodes of all patches

``variant="paper"`` is the above. ``variant="reference"`` is the released code, which also updates the supernodes inside
every patch, averages the copies and hands them to the next block (see models/mspt/README.md for all differences).

Departures: padding is masked (with ``mask_padding=False`` it attends, as published; the reference variant then has zero
rows, the paper variant repeats a node of the patch); patches come from a tree with a power-of-two number of leaves, a
space-filling curve, an octree or the order of the file; optional rotary positions; ``encode`` and ``decode`` for meshes
of any size.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import torch
import torch.utils.checkpoint
from torch import Tensor, nn

from meshops.errors import InputError
from meshops.models.mspt_reference import ReferenceBlock
from meshops.models.registry import register_model
from meshops.nn.across import Across
from meshops.nn.mlp import MLP
from meshops.nn.patch_attention import PatchAttention, PatchMemory, check_heads
from meshops.nn.patch_parallel import gather_supernodes
from meshops.nn.point_model import PointEmbedding
from meshops.nn.pooling import Pooling, SupernodePool, Variant
from meshops.nn.rotary import RotaryPositions
from meshops.ops import scatter_patches
from meshops.partition.checks import graph_ptr, positions_of
from meshops.partition.dense import DensePatches, Partitioner, dense_patches
from meshops.partition.registry import create_positional
from meshops.typing import Bool, Float, Int

IN_ORDER = "file"  # runs of nodes as they are numbered: the only way to patch that is no partitioner


class MSPTInputs(NamedTuple):
    """What the network needs of a graph, see :meth:`MSPT.unpack`.

    Attributes:
        pos: ``[n, d]``.
        x: ``[n, f]`` or None.
        index: ``[b, p, l]`` node in each slot of each patch.
        mask: ``[b, p, l]`` True where the slot holds a node; None when all do.
        time: ``[b]`` or None.
    """

    pos: Tensor
    x: Tensor | None
    index: Tensor  # type: ignore[assignment]  # shadows tuple.index
    mask: Tensor | None
    time: Tensor | None = None


class MSPTBlock(nn.Module):
    """One block of the paper: patch attention, then a feed-forward network (in the last block: the head)."""

    def __init__(
        self,
        channels: int,
        *,
        num_heads: int,
        ffn: nn.Module,
        pool: SupernodePool,
        dropout: float = 0.0,
        residual: bool = True,
    ) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(channels)
        self.pool = pool
        self.attention = PatchAttention(channels, num_heads=num_heads, dropout=dropout)
        self.norm_ffn = nn.LayerNorm(channels)
        self.ffn = ffn
        self.residual = residual
        self.across: Across | None = None  # processes that hold the other patches

    def forward(
        self,
        x: Float[Tensor, "b p l c"],
        mask: Bool[Tensor, "b p l"] | None,
        angles: Float[Tensor, "b p l a"] | None = None,
        supernode_angles: Float[Tensor, "b m a"] | None = None,
        memory: PatchMemory | None = None,
    ) -> tuple[Float[Tensor, "b p l o"], PatchMemory]:
        """Update tokens; with ``memory`` they only query it (decoding), without they are also its content."""
        u = self.norm_attention(x)
        if memory is None:
            supernodes, exists = self.pool(u, mask)
            supernodes, exists = gather_supernodes(supernodes, exists, self.across)
            memory = self.attention.memory(u, supernodes, mask, exists, angles, supernode_angles)
        x = x + self.attention(u, memory, angles)
        out = self.ffn(self.norm_ffn(x))
        return (x + out if self.residual else out), memory


@register_model
class MSPT(nn.Module):
    """Multi-Scale Patch Transformer: ``pos [n, d]``, ``x [n, f]`` -> ``[n, out_channels]``.

    Args:
        in_channels: f, features beside the position (0 allowed).
        out_channels: Channels predicted at each node.
        pos_dim: d.
        channels: Width of the hidden layers.
        depth: Number of blocks.
        num_heads: Attention heads.
        mlp_ratio: Width of the feed-forward layer over ``channels``.
        num_patches: K, patches of each graph, a power of two with the tree. Give this or ``patch_size``; default 32.
            An octree has as many leaves as it needs.
        patch_size: Largest number of nodes of a patch.
        num_supernodes: Q, a power of two with the tree, 1 with the octree.
        pooling: How supernodes are formed, see :class:`meshops.nn.SupernodePool`.
        rotary: Rotary positions in the attention (paper variant).
        rotary_wavelengths: Shortest and longest period, in units of ``pos``.
        variant: ``"paper"`` or ``"reference"``.
        mask_padding: Keep padded slots out of attention and pooling. Default: True for the paper, False for the
            reference, which has no mask.
        patching: A registered partitioner that works on positions: ``"ball_tree"``; ``"hilbert"`` or ``"morton"``:
            equal runs along a curve through the nodes; ``"octree"``: leaves of at most ``patch_size`` nodes; ... Or
            ``"file"``: runs of consecutive nodes, as the released scripts do.
        dropout: Dropout in attention output and feed-forward layers.
        time: Condition on a scalar time per graph.
        unified_pos: Replace positions by their distances to a regular grid of this many points per axis in [-1, 1]^d.
        linear_patch_size: L, the largest patch, of the linear pooling of the paper; default ``patch_size``.
        checkpoint: Recompute activations in the backward pass (the released code does while training).
        init_std: Linear weights start as a truncated normal of this width; None: PyTorch's default. Default: 0.02
            for the reference, as released; PyTorch's for the paper (at 64 channels 0.02 learns far more slowly).

    Raises:
        InputError: Impossible combination of arguments.
    """

    takes: ClassVar[frozenset[str]] = frozenset({"points"})

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        pos_dim: int = 3,
        channels: int = 128,
        depth: int = 4,
        num_heads: int = 8,
        mlp_ratio: float = 2,
        num_patches: int | None = None,
        patch_size: int | None = None,
        num_supernodes: int = 1,
        pooling: Pooling = "mean",
        rotary: bool = False,
        rotary_wavelengths: tuple[float, float] = (0.05, 4.0),
        variant: Variant = "paper",
        mask_padding: bool | None = None,
        patching: str = "ball_tree",
        dropout: float = 0.0,
        time: bool = False,
        unified_pos: int | None = None,
        linear_patch_size: int | None = None,
        checkpoint: bool = False,
        init_std: float | None = None,
    ) -> None:
        super().__init__()
        if variant not in ("paper", "reference"):
            raise InputError(f"variant must be 'paper' or 'reference', got '{variant}'")
        if rotary and variant == "reference":
            raise InputError("the reference variant has no rotary positions: use variant='paper' or rotary=False")
        check_heads(channels, num_heads)
        if num_patches is not None and patch_size is not None:
            raise InputError(f"give num_patches or patch_size, not both; got {num_patches} and {patch_size}")
        if num_patches is None and patch_size is None and patching != "octree":
            num_patches = 32
        self.variant = variant
        self.mask_padding = (variant == "paper") if mask_padding is None else mask_padding
        self.patching = patching
        self.num_supernodes = num_supernodes
        self.checkpoint = checkpoint
        self.across: Across | None = None
        self.init_std = 0.02 if init_std is None and variant == "reference" else init_std
        self.num_patches, self.patch_size = num_patches, patch_size
        self.partitioner = make_partitioner(
            patching, num_patches=num_patches, patch_size=patch_size, num_supernodes=num_supernodes
        )
        hidden = round(mlp_ratio * channels)
        self.embed = PointEmbedding(in_channels, channels, pos_dim=pos_dim, time=time, unified_pos=unified_pos)
        self.rotary: RotaryPositions | None = None
        if rotary:
            low, high = rotary_wavelengths
            self.rotary = RotaryPositions(channels // num_heads, pos_dim, min_wavelength=low, max_wavelength=high)

        def pool() -> SupernodePool:
            return SupernodePool(
                channels,
                num_supernodes,
                pooling=pooling,
                style=variant,
                patch_size=linear_patch_size or patch_size,
            )

        blocks: list[nn.Module] = []
        for i in range(depth):
            last = i == depth - 1
            if variant == "paper":
                out = out_channels if last else channels
                ffn = MLP([channels, hidden, out], dropout=dropout)
                blocks.append(
                    MSPTBlock(channels, num_heads=num_heads, ffn=ffn, pool=pool(), dropout=dropout, residual=not last)
                )
            else:
                ffn = MLP([channels, hidden, channels])
                blocks.append(ReferenceBlock(channels, num_heads=num_heads, ffn=ffn, pool=pool(), dropout=dropout))
        self.blocks = nn.ModuleList(blocks)
        self.head = nn.Sequential(nn.LayerNorm(channels), nn.Linear(channels, out_channels))
        if variant == "paper":
            self.head = nn.Sequential()  # the last block's feed-forward network is the head
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Linear weights truncated normal with biases 0 where ``init_std`` says so, else PyTorch's default."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                if self.init_std is None:
                    module.reset_parameters()
                    continue
                nn.init.trunc_normal_(module.weight, std=self.init_std)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def unpack(self, graph: Any) -> MSPTInputs:
        """Tensors of a graph or a batch: positions, features and the patches built from the positions."""
        patches = self.patches(positions_of(graph), graph_ptr(graph))
        return MSPTInputs(graph.pos, graph.get("x"), patches.index, patches.mask, graph.get("time"))

    def patches(self, pos: Float[Tensor, "n d"], ptr: Int[Tensor, " b1"] | None = None) -> DensePatches:
        """Group nodes into patches; see :func:`meshops.partition.dense_patches`."""
        if self.partitioner is None:
            group = self.num_supernodes if self.variant == "paper" else 1
            return dense_patches(pos, ptr, group=group, num_patches=self.num_patches, patch_size=self.patch_size)
        return dense_patches(pos, ptr, partitioner=self.partitioner, group=self.num_supernodes)

    def forward(self, inputs: MSPTInputs) -> Float[Tensor, "n o"]:
        """Fields at the nodes, in their order."""
        tokens = self._embed(inputs)
        if self.variant == "reference":
            tokens = self._run_reference(tokens, inputs.mask)
        else:
            tokens = self._run(tokens, inputs)
        return scatter_patches(self.head(tokens), inputs.index, inputs.mask, inputs.pos.shape[0])

    def encode(self, inputs: MSPTInputs) -> list[PatchMemory]:
        """Anchor pass: keys and values of anchors and supernodes in every block, for :meth:`decode`."""
        if self.variant == "reference":
            raise InputError("the reference variant updates supernodes with the tokens: use variant='paper' to decode")
        memories: list[PatchMemory] = []
        self._run(self._embed(inputs), inputs, keep=memories)
        return memories

    def decode(self, memories: list[PatchMemory], queries: MSPTInputs) -> Float[Tensor, "q o"]:
        """Fields at query nodes that attend to frozen anchors; each query is independent of the others.

        Args:
            memories: From :meth:`encode`.
            queries: Positions and features of the queries; ``index`` and ``mask`` hold the queries of each patch of
                the anchors, see :func:`meshops.partition.assign`; the time is that given to :meth:`encode`.
        """
        tokens = self._run(self._embed(queries), queries, memories)
        return scatter_patches(self.head(tokens), queries.index, queries.mask, queries.pos.shape[0])

    def _embed(self, inputs: MSPTInputs) -> Tensor:
        pos, x, index = inputs.pos, inputs.x, inputs.index
        tokens: Tensor = self.embed(pos[index], None if x is None else x[index])
        time = self.embed.at(inputs.time)
        return tokens if time is None else tokens + time[:, None, None]

    def _run(
        self,
        tokens: Tensor,
        inputs: MSPTInputs,
        memories: list[PatchMemory] | None = None,
        keep: list[PatchMemory] | None = None,
    ) -> Tensor:
        """All blocks, as queries of ``memories`` if given; ``keep`` collects the memory of each block."""
        pos, index, mask = inputs.pos, inputs.index, inputs.mask
        angles = supernode_angles = None
        if self.rotary is not None:
            angles = self.rotary(pos[index])
            if memories is None:
                blocks = pos[index].unflatten(2, (self.num_supernodes, -1))
                exists = (mask if mask is not None else index >= 0).unflatten(2, (self.num_supernodes, -1))
                exists = exists.unsqueeze(-1)
                center = (blocks * exists).sum(3) / exists.sum(3).clamp(min=1)
                supernode_angles = self.rotary(center.flatten(1, 2))
                if self.across is not None:
                    supernode_angles = self.across.gather(supernode_angles, 1)
        seen = mask if self.mask_padding else None
        for i, block in enumerate(self.blocks):
            given = None if memories is None else memories[i]
            args = (tokens, seen, angles, supernode_angles, given)
            if self.checkpoint and self.training:
                tokens, memory = torch.utils.checkpoint.checkpoint(block, *args, use_reentrant=False)
            else:
                tokens, memory = block(*args)
            if keep is not None:
                keep.append(memory)
        return tokens

    def _run_reference(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        carried = tokens.new_zeros(tokens.shape[0], tokens.shape[1] * self.num_supernodes, tokens.shape[-1])
        for block in self.blocks:
            args = (tokens, carried, mask, self.mask_padding)
            if self.checkpoint and self.training:
                tokens, carried = torch.utils.checkpoint.checkpoint(block, *args, use_reentrant=False)
            else:
                tokens, carried = block(*args)
        return tokens


def make_partitioner(
    patching: str, *, num_patches: int | None, patch_size: int | None, num_supernodes: int = 1
) -> Partitioner | None:
    """What cuts graphs into patches of ``num_supernodes`` sub-blocks each; None: runs of nodes as they are numbered.

    Raises:
        InputError: Unknown name, or numbers that it cannot make.
    """
    if patching == IN_ORDER:
        return None
    if num_supernodes == 1:
        made: Partitioner = create_positional(patching, patch_size=patch_size, num_patches=num_patches)
        return made
    create_positional(patching, patch_size=patch_size, num_patches=num_patches)  # its message names these numbers
    block = None if patch_size is None else max(1, patch_size // num_supernodes)
    blocks = None if num_patches is None else num_patches * num_supernodes
    try:
        made = create_positional(patching, patch_size=block, num_patches=blocks, multiple=num_supernodes)
    except InputError as error:
        raise InputError(f"patches of '{patching}' with num_supernodes={num_supernodes}: {error}") from None
    return made


def _size(defaults: dict[str, Any], changes: dict[str, Any]) -> MSPT:
    if changes.get("patch_size") is not None:
        defaults = defaults | {"num_patches": None}
    return MSPT(**(defaults | changes))


_SMALL = {"pos_dim": 2, "channels": 128, "depth": 8, "variant": "reference", "patching": "file"}


@register_model
def mspt_shapenet_car(**changes: Any) -> MSPT:
    """MSPT for ShapeNet-Car: 12 blocks x 256, K = 170, position + 7 features (released scripts; 12.78 M)."""
    car = {"in_channels": 7, "out_channels": 4, "channels": 256, "depth": 12, "num_patches": 170}
    return _size({**car, "variant": "reference", "patching": "file"}, changes)


@register_model
def mspt_elasticity(**changes: Any) -> MSPT:
    """MSPT for Elasticity: 8 x 128, K = 32 (released scripts; 2.15 M parameters)."""
    return _size({**_SMALL, "in_channels": 0, "out_channels": 1, "num_patches": 32}, changes)


@register_model
def mspt_plasticity(**changes: Any) -> MSPT:
    """MSPT for Plasticity: 8 x 128, K = 32, conditioned on time (released scripts)."""
    return _size({**_SMALL, "in_channels": 1, "out_channels": 4, "num_patches": 32, "time": True}, changes)


@register_model
def mspt_airfoil(**changes: Any) -> MSPT:
    """MSPT for Airfoil: 8 x 128, K = 106 (released scripts)."""
    return _size({**_SMALL, "in_channels": 2, "out_channels": 1, "num_patches": 106}, changes)


@register_model
def mspt_pipe(**changes: Any) -> MSPT:
    """MSPT for Pipe: 8 x 128, K = 64 (released scripts)."""
    return _size({**_SMALL, "in_channels": 2, "out_channels": 1, "num_patches": 64}, changes)


@register_model
def mspt_navier_stokes(**changes: Any) -> MSPT:
    """MSPT for Navier-Stokes nu = 1e-5: 8 x 256, K = 32, 64 grid distances + 10 frames (released scripts)."""
    size = {"in_channels": 10, "out_channels": 1, "channels": 256, "num_patches": 32, "unified_pos": 8}
    return _size({**_SMALL, **size}, changes)


@register_model
def mspt_darcy(**changes: Any) -> MSPT:
    """MSPT for Darcy 85 x 85: 8 x 256, K = 600, 64 grid distances + coefficient (released scripts)."""
    size = {"in_channels": 1, "out_channels": 1, "channels": 256, "num_patches": 600, "unified_pos": 8}
    return _size({**_SMALL, **size}, changes)
