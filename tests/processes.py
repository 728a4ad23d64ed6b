"""A few processes on this machine that know each other as those of ``torchrun`` do, for tests."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

PRELOADED = ["meshops.training.fit", "meshops.models", "meshops.datasets", "meshops.tasks"]


def together(work: Callable[..., None], count: int, folder: Path, *arguments: Any) -> None:
    """``work(*arguments)`` in ``count`` processes (gloo), which meet in a file; an error of one is raised here."""
    mp.get_context("forkserver").set_forkserver_preload(PRELOADED)
    store = folder / f"store_{len(list(folder.glob('store_*')))}"
    mp.start_processes(_begin, (count, str(store), work, arguments), count, start_method="forkserver")


def _begin(rank: int, count: int, store: str, work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "GROUP_RANK": "0", "WORLD_SIZE": str(count),
                   "LOCAL_WORLD_SIZE": str(count)}  # fmt: skip
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=count)
    work(*arguments)
    dist.destroy_process_group()
