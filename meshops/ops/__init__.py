"""Operations: tensors in, tensors out. Callers never choose an implementation, :mod:`meshops.ops.dispatch` does."""

from meshops.ops.attention import patch_attention
from meshops.ops.dispatch import explain, operation
from meshops.ops.segment import segment_max, segment_mean, segment_min, segment_sum
from meshops.ops.tree import MedianSplit, locate, median_split

__all__ = [
    "MedianSplit",
    "explain",
    "locate",
    "median_split",
    "operation",
    "patch_attention",
    "segment_max",
    "segment_mean",
    "segment_min",
    "segment_sum",
]
