"""Layers."""

from meshops.nn.mlp import MLP
from meshops.nn.patch_attention import PatchAttention, PatchMemory
from meshops.nn.pooling import SupernodePool
from meshops.nn.rotary import RotaryPositions, rotate

__all__ = ["MLP", "PatchAttention", "PatchMemory", "RotaryPositions", "SupernodePool", "rotate"]
