"""Operations: tensors in, tensors out. Callers never choose an implementation, :mod:`meshops.ops.dispatch` does."""

from meshops.ops.attention import patch_attention
from meshops.ops.dispatch import explain, operation
from meshops.ops.neighbors import Neighbors, farthest_point_sampling, knn_search, nearest, radius_search
from meshops.ops.patches import gather_patches, scatter_patches
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
from meshops.ops.tree import MedianSplit, locate, median_split, node_boxes

__all__ = [
    "MedianSplit",
    "Neighbors",
    "explain",
    "farthest_point_sampling",
    "gather_patches",
    "knn_search",
    "locate",
    "median_split",
    "nearest",
    "node_boxes",
    "operation",
    "patch_attention",
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
    "sort_index",
]
