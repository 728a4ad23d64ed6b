"""Memory and time of one process of several that hold one mesh: MSPT by patches, MP-PDE with halos.

    python benchmarks/patch_parallel.py                              # 500,000 points, 1 and 2 processes (minutes)
    python benchmarks/patch_parallel.py --points 50000 --processes 1 2 4

A line per model, task and number of processes: the largest peak of resident memory of a process above that of one that
only imports the same modules and joins the others, over that of one process; wall time (on two cores more processes are
no faster); the largest difference of outputs, and of gradients over the largest gradient, from one process. In float32
sums over many nodes round differently in parts: ``--double`` shows that it is no more than that.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch_geometric.data import Data

from meshops.models import create_model
from meshops.nn import Across, Halo, own_inputs, own_mesh, spread
from meshops.partition.registry import create_positional

SIZES: dict[str, dict[str, Any]] = {
    "mspt": {"channels": 32, "depth": 2, "num_heads": 4, "patch_size": 512},
    "mppde": {"channels": 16, "depth": 2, "variables": 1, "neighbors": 6},
}
TASKS = ("learn", "predict")


def work(rank: int, count: int, folder: str, name: str, task: str, points: int, double: bool) -> None:
    """One process: makes the mesh, keeps its part, learns or predicts once; writes what it measured."""
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64 if double else torch.float32)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=count)
    across = Across(init_device_mesh("cpu", (count,)))
    base = peak()
    torch.manual_seed(0)
    made: Any = create_model(name, in_channels=1, out_channels=1, **SIZES[name])
    inputs, nodes = own_part(name, made, points, across)
    begin = time.perf_counter()
    truth = inputs.pos.sum(1, keepdim=True).sin()
    with torch.set_grad_enabled(task == "learn"):
        out = made(inputs)
        if task == "learn":
            (((out - truth) ** 2).sum() / points).backward()
            across.add_gradients(made)
    seconds, most = time.perf_counter() - begin, peak() - base
    whole = across.everywhere(out.detach(), nodes, points)
    if rank == 0:
        grads = [p.grad for p in made.parameters() if p.grad is not None]
        torch.save({"out": whole, "grads": grads}, f"{folder}/result.pt")
    Path(f"{folder}/{rank}.txt").write_text(f"{most} {seconds} {base}")
    dist.destroy_process_group()


def own_part(name: str, made: Any, points: int, across: Across) -> tuple[Any, Tensor]:
    """Inputs of this process, and its nodes; the whole mesh is freed."""
    pos = torch.rand(points, 3, generator=torch.Generator().manual_seed(1))
    inputs = made.unpack(Data(pos=pos, x=torch.ones(points, 1)))
    if across.count == 1:
        return inputs, torch.arange(points)
    if name == "mspt":
        spread(made, across)
        return own_inputs(inputs, across)
    tree = create_positional("ball_tree", num_patches=64).partition(pos)
    patch_of_node = torch.empty(points, dtype=torch.int64)
    patch_of_node[tree.perm] = torch.repeat_interleave(tree.ptr.diff())
    part = own_mesh(inputs, patch_of_node * across.count // 64, across)
    assert isinstance(part.halo, Halo)
    return part, part.halo.nodes


def peak() -> float:
    """Largest resident memory of this process so far, MiB; of its own, which ``ru_maxrss`` of a child need not be."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def measured(count: int, name: str, task: str, points: int, double: bool) -> tuple[float, float, dict[str, Any]]:
    """Largest peak above the base over processes (MiB), longest time (s), results."""
    with tempfile.TemporaryDirectory() as folder:
        mp.start_processes(work, (count, folder, name, task, points, double), count, start_method="spawn")
        told = [[float(part) for part in Path(folder, f"{rank}.txt").read_text().split()] for rank in range(count)]
        result: dict[str, Any] = torch.load(f"{folder}/result.pt", weights_only=True)
    return max(most for most, _, _ in told), max(seconds for _, seconds, _ in told), result


def differences(one: dict[str, Any], other: dict[str, Any]) -> str:
    """Of outputs, and of gradients over the largest."""
    wrong = f"{float((one['out'] - other['out']).abs().max()):.1e}"
    if not one["grads"]:
        return wrong
    largest = max(float(grad.abs().max()) for grad in one["grads"])
    gap = max(float((a - b).abs().max()) for a, b in zip(one["grads"], other["grads"], strict=True))
    return f"{wrong}, {gap / largest:.1e}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=500_000)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--double", action="store_true", help="in float64")
    parser.add_argument("--models", nargs="+", choices=SIZES, default=list(SIZES))
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", "1000000")  # glibc: what is freed goes back at once, at any size
    say = sys.stdout.write
    say(f"{args.points:,} points; MiB above a bare import, a process\n")
    say(f"{'model':<8}{'task':<9}{'processes':>10}{'MiB':>9}{'of one':>9}{'s':>8}   differs by\n")
    for name in args.models:
        for task in TASKS:
            first: tuple[float, dict[str, Any]] | None = None
            for count in args.processes:
                most, seconds, result = measured(count, name, task, args.points, args.double)
                first = first or (most, result)
                gap = differences(first[1], result)
                say(f"{name:<8}{task:<9}{count:>10}{most:>9.0f}{most / first[0]:>9.2f}{seconds:>8.1f}   {gap}\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
