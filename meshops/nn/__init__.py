"""Layers."""

from meshops.nn.integer_linear import IntegerLinear, to_integers
from meshops.nn.mlp import MLP
from meshops.nn.patch_attention import PatchAttention, PatchMemory
from meshops.nn.pooling import SupernodePool
from meshops.nn.quantized import MeshBits, QuantLinear, assigned, quantize
from meshops.nn.rotary import RotaryPositions, rotate

__all__ = [
    "MLP",
    "IntegerLinear",
    "MeshBits",
    "PatchAttention",
    "PatchMemory",
    "QuantLinear",
    "RotaryPositions",
    "SupernodePool",
    "assigned",
    "quantize",
    "rotate",
    "to_integers",
]
