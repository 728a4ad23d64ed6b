"""Threads for Numba kernels: plain ones, kept from call to call.

Numba's own pool (OpenMP) kills the forked workers of a data loader; compiled code releases the interpreter's lock. A
forked process has none of its parent's threads and starts its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import Any

import torch


def even_cuts(count: int, num_parts: int) -> list[int]:
    """Boundaries that cut ``range(count)`` into ``num_parts`` nearly equal ranges."""
    return [count * i // num_parts for i in range(num_parts + 1)]


def in_threads(work: Callable[..., None], arrays: Sequence[Any], cuts: Sequence[int]) -> None:
    """Call ``work(*arrays, first, last)`` for each range between two cuts, all at the same time."""
    ranges = [(first, last) for first, last in pairwise(cuts) if first < last]
    tasks = [_pool().submit(work, *arrays, first, last) for first, last in ranges[1:]]
    for first, last in ranges[:1]:
        work(*arrays, first, last)
    for task in tasks:
        task.result()


@cache
def _pool() -> ThreadPoolExecutor:
    """The process's threads; each starts when all others are busy."""
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="meshops")


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_pool.cache_clear)


def thread_count(work: int, serial_below: int) -> int:
    """``torch.get_num_threads()``, or 1 where starting threads takes longer than they save."""
    return torch.get_num_threads() if work >= serial_below else 1
