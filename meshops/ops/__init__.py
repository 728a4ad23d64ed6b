"""Operations: tensors in, tensors out. Callers never choose an implementation, :mod:`meshops.ops.dispatch` does."""

from meshops.ops.attention import patch_attention
from meshops.ops.balls import patch_balls
from meshops.ops.curves import curve_order, hilbert_decode, hilbert_encode, morton_decode, morton_encode
from meshops.ops.dispatch import explain, operation
from meshops.ops.dropout import dropout
from meshops.ops.integer import integer_linear
from meshops.ops.integer_backend import explain_backend
from meshops.ops.neighbors import Neighbors, farthest_point_sampling, knn_search, nearest, radius_search
from meshops.ops.patches import gather_patches, scatter_patches
from meshops.ops.pointers import pointers
from meshops.ops.products import linear
from meshops.ops.pyramid import largest_mask, split_best, split_in_steps, sum_pyramid, upsample
from meshops.ops.quantize import fake_quantize_rows, fake_quantize_weight, quantize_rows, quantize_weight
from meshops.ops.scores import FlowMaps, block_sum, flow_maps, graph_gradient, sobel_score
from meshops.ops.segment import (
    scatter_logsumexp,
    scatter_max,
    scatter_mean,
    scatter_min,
    scatter_softmax,
    scatter_sum,
    segment_logsumexp,
    segment_max,
    segment_mean,
    segment_min,
    segment_softmax,
    segment_spread,
    segment_sum,
    sort_index,
)
from meshops.ops.sources import gaussian_means, source_velocity
from meshops.ops.tree import MedianSplit, locate, median_split, node_boxes
from meshops.ops.trees import TreeTable, tree_sums

__all__ = [
    "FlowMaps",
    "MedianSplit",
    "Neighbors",
    "TreeTable",
    "block_sum",
    "curve_order",
    "dropout",
    "explain",
    "explain_backend",
    "fake_quantize_rows",
    "fake_quantize_weight",
    "farthest_point_sampling",
    "flow_maps",
    "gather_patches",
    "gaussian_means",
    "graph_gradient",
    "hilbert_decode",
    "hilbert_encode",
    "integer_linear",
    "knn_search",
    "largest_mask",
    "linear",
    "locate",
    "median_split",
    "morton_decode",
    "morton_encode",
    "nearest",
    "node_boxes",
    "operation",
    "patch_attention",
    "patch_balls",
    "pointers",
    "quantize_rows",
    "quantize_weight",
    "radius_search",
    "scatter_logsumexp",
    "scatter_max",
    "scatter_mean",
    "scatter_min",
    "scatter_patches",
    "scatter_softmax",
    "scatter_sum",
    "segment_logsumexp",
    "segment_max",
    "segment_mean",
    "segment_min",
    "segment_softmax",
    "segment_spread",
    "segment_sum",
    "sobel_score",
    "sort_index",
    "source_velocity",
    "split_best",
    "split_in_steps",
    "sum_pyramid",
    "tree_sums",
    "upsample",
]
