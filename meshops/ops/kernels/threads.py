"""Threads for Numba kernels: plain ones that live as long as the call.

Numba's own pool (OpenMP) kills the forked workers of a data loader; compiled code releases the interpreter's lock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import torch


def even_cuts(count: int, num_parts: int) -> list[int]:
    """Boundaries that cut ``range(count)`` into ``num_parts`` nearly equal ranges."""
    return [count * i // num_parts for i in range(num_parts + 1)]


def in_threads(work: Callable[..., None], arrays: Sequence[Any], cuts: Sequence[int]) -> None:
    """Call ``work(*arrays, first, last)`` for each range between two cuts, all at the same time."""
    ranges = [(first, last) for first, last in pairwise(cuts) if first < last]
    if len(ranges) <= 1:
        for first, last in ranges:
            work(*arrays, first, last)
        return
    with ThreadPoolExecutor(len(ranges)) as pool:
        for task in [pool.submit(work, *arrays, first, last) for first, last in ranges]:
            task.result()


def thread_count(work: int, serial_below: int) -> int:
    """``torch.get_num_threads()``, or 1 where starting threads takes longer than they save."""
    return torch.get_num_threads() if work >= serial_below else 1
