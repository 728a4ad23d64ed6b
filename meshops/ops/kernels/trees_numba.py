"""Sums of regression trees on the CPU, compiled by Numba on first use: tree after tree over blocks of rows."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from meshops.ops.kernels.compile import njit
from meshops.ops.kernels.threads import even_cuts, in_threads, thread_count

BLOCK = 256  # rows whose features stay in the cache while all trees look at them
SERIAL_BELOW = 500_000  # rows times trees; starting threads would take longer than they save


def tree_sums(
    x: Tensor, feature: Tensor, threshold: Tensor, child: Tensor, value: Tensor, root: Tensor, channel: Tensor,
    channels: int,
) -> Tensor:  # fmt: skip
    """Same as :func:`meshops.ops.trees.tree_sums` up to the order of the sum, which is that of the trees."""
    rows = np.ascontiguousarray(x.numpy())
    out = np.zeros((len(rows), channels), dtype=np.float32)
    table = [t.contiguous().numpy() for t in (feature, threshold, child, value, root, channel)]
    threads = thread_count(len(rows) * len(root), SERIAL_BELOW)
    in_threads(_sums, (rows, *table, out), even_cuts(len(rows), threads))
    return torch.from_numpy(out)


@njit(nogil=True)
def _sums(x, feature, threshold, child, value, root, channel, out, first, last):  # type: ignore[no-untyped-def]
    for start in range(first, last, BLOCK):
        stop = min(start + BLOCK, last)
        for t in range(root.size):
            top, c = root[t], channel[t]
            for i in range(start, stop):
                node = top
                below = child[node, 0]
                while below != node:
                    if x[i, feature[node]] > threshold[node]:
                        below = child[node, 1]
                    node = below
                    below = child[node, 0]
                out[i, c] += value[node]
