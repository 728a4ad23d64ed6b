"""Layers."""

from meshops.nn.across import Across
from meshops.nn.bit_budget import assign_bits, bit_operations, mesh_bits
from meshops.nn.bit_gain import BitGain, bit_gain, break_even_share, share_of_rows
from meshops.nn.causal_tower import CausalTower
from meshops.nn.continuous_conv import ContinuousConv
from meshops.nn.costs import LayerCost, RowCosts, cost_report, row_costs
from meshops.nn.dropout import Dropout
from meshops.nn.flow import draw_times, flow_pair, flow_sample, integrate, masked_loss
from meshops.nn.grid_model import GridModel, LossPairs
from meshops.nn.halo import Halo, own_mesh
from meshops.nn.integer_linear import IntegerLinear, to_integers
from meshops.nn.linear import Linear
from meshops.nn.low_rank import LowRankChange, add_low_rank, merged_state
from meshops.nn.mesh_model import Clusters, LearnsWithTruth, MeshInputs, MeshModel, mesh_inputs
from meshops.nn.message_passing import EdgeLinear, RowGRUCell, RowMLP
from meshops.nn.mlp import MLP
from meshops.nn.model import Model
from meshops.nn.neighborhood_conv import NeighborhoodConv
from meshops.nn.number_head import NumberHead
from meshops.nn.on_grid import OnGrid
from meshops.nn.patch_attention import PatchAttention, PatchMemory
from meshops.nn.patch_parallel import own_inputs, own_patches, spread
from meshops.nn.point_model import PointEmbedding, PointInputs, point_inputs
from meshops.nn.pooling import SupernodePool
from meshops.nn.quantized import BitPlan, MeshBits, QuantLinear, assigned, quantize, start_quantisers
from meshops.nn.ragged import RaggedPlan, ragged_attention
from meshops.nn.rotary import RotaryPositions, rotate
from meshops.nn.row_linear import RowLinear, SplitLinear
from meshops.nn.token_reading import TokenInputs, TokenReader
from meshops.nn.transformer import Attention, TransformerBlock

__all__ = [
    "MLP",
    "Across",
    "Attention",
    "BitGain",
    "BitPlan",
    "CausalTower",
    "Clusters",
    "ContinuousConv",
    "Dropout",
    "EdgeLinear",
    "GridModel",
    "Halo",
    "IntegerLinear",
    "LayerCost",
    "LearnsWithTruth",
    "Linear",
    "LossPairs",
    "LowRankChange",
    "MeshBits",
    "MeshInputs",
    "MeshModel",
    "Model",
    "NeighborhoodConv",
    "NumberHead",
    "OnGrid",
    "PatchAttention",
    "PatchMemory",
    "PointEmbedding",
    "PointInputs",
    "QuantLinear",
    "RaggedPlan",
    "RotaryPositions",
    "RowCosts",
    "RowGRUCell",
    "RowLinear",
    "RowMLP",
    "SplitLinear",
    "SupernodePool",
    "TokenInputs",
    "TokenReader",
    "TransformerBlock",
    "add_low_rank",
    "assign_bits",
    "assigned",
    "bit_gain",
    "bit_operations",
    "break_even_share",
    "cost_report",
    "draw_times",
    "flow_pair",
    "flow_sample",
    "integrate",
    "masked_loss",
    "merged_state",
    "mesh_bits",
    "mesh_inputs",
    "own_inputs",
    "own_mesh",
    "own_patches",
    "point_inputs",
    "quantize",
    "ragged_attention",
    "rotate",
    "row_costs",
    "share_of_rows",
    "spread",
    "start_quantisers",
    "to_integers",
]
