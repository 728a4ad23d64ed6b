"""MSPT on one mesh that is spread over processes: each owns a contiguous range of patches, supernodes alone travel.

    S = [S_0 ; S_1 ; ...]   once a block, all-gathered: K Q rows of c channels; everything else stays inside patches.

That is what the architecture allows (2512.01738, sec. 3.3: queries of a patch see the patch and all supernodes) and
costs ``4 b K Q c`` bytes a block in float32, whatever the number of nodes. Memory falls with the number of ranks, as
activations are per node. Not in the paper or the released code, which run on one device.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from meshops.errors import InputError
from meshops.nn.across import Across
from meshops.typing import Bool, Float, Int


class OwnPatches(NamedTuple):
    """Patches of one rank.

    Attributes:
        nodes: ``[m]`` its nodes, by their numbers in the mesh, ascending.
        index: ``[1, p_r, l]`` row of ``nodes`` in each slot.
        mask: ``[1, p_r, l]`` True where a slot holds a node; None where all slots of the mesh do.
    """

    nodes: Int[Tensor, " m"]
    index: Int[Tensor, "1 p l"]  # type: ignore[assignment]  # shadows tuple.index
    mask: Bool[Tensor, "1 p l"] | None


def own_patches(index: Int[Tensor, "1 p l"], mask: Bool[Tensor, "1 p l"] | None, across: Across) -> OwnPatches:
    """The range of patches this rank owns of a mesh whose patches are laid out.

    Raises:
        InputError: Several graphs in the batch, or fewer patches than ranks.
    """
    if len(index) != 1:
        raise InputError(f"one mesh is spread over processes, got a batch of {len(index)}; give each its own step")
    own = across.range(index.shape[1])
    index = index[:, own.start : own.stop]
    mask = None if mask is None else mask[:, own.start : own.stop]
    nodes = torch.unique(index if mask is None else index[mask])
    place = torch.searchsorted(nodes, index)  # padded slots may repeat a node of another rank
    return OwnPatches(nodes, place.clamp(max=len(nodes) - 1), mask)


def own_inputs(inputs: Any, across: Across) -> tuple[Any, Int[Tensor, " m"]]:
    """What a rank needs of the inputs of :class:`meshops.models.mspt.MSPT`, and the numbers of its nodes in the mesh.

    Args:
        inputs: From ``model.unpack`` of the whole mesh, or of queries laid out by patch for ``decode``.
        across: The ranks.
    """
    own = own_patches(inputs.index, inputs.mask, across)
    x = None if inputs.x is None else inputs.x[own.nodes]
    return inputs._replace(pos=inputs.pos[own.nodes], x=x, index=own.index, mask=own.mask), own.nodes


def spread(model: nn.Module, across: Across | None) -> nn.Module:
    """Make a model work on the patches of one rank; None: on whole meshes again.

    Raises:
        InputError: The model has no blocks that can.
    """
    blocks = [module for module in model.modules() if isinstance(module, nn.Module) and hasattr(module, "across")]
    if not [block for block in blocks if block is not model]:
        raise InputError(
            f"{type(model).__name__} cannot be spread over processes by patches: that takes blocks in which supernodes "
            "alone leave a patch, those of mspt with variant='paper'"
        )
    for block in blocks:
        block.across = across  # type: ignore[assignment]  # no tensor and no module
    return model


def gather_supernodes(
    supernodes: Float[Tensor, "b m c"], exists: Bool[Tensor, "b m"] | None, across: Across | None
) -> tuple[Float[Tensor, "b k c"], Bool[Tensor, "b k"] | None]:
    """Supernodes of all ranks, in the order of the patches, and which of them exist."""
    if across is None:
        return supernodes, exists
    there = None if exists is None else across.gather(exists.to(torch.uint8), 1).bool()
    return across.gather(supernodes, 1), there
