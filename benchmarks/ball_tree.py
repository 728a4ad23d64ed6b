"""Time and memory of the ball tree against the package balltree-erwin, where it is installed.

    python benchmarks/ball_tree.py --threads 1

Random points in the unit cube, split into patches of at most 128. Both are measured in turns, so that a busy machine
hits both alike. The table shows the fastest of the repetitions, their ratio (below 1: we are faster), the memory our
call allocates at its peak, and the mean patch radius of both trees. Our time includes sorted leaves and the planes that
place new points. balltree-erwin uses one thread for one mesh.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import time
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from meshops.ops import median_split
from meshops.partition import Partition

PATCH_SIZE = 128


def main(argv: Sequence[str] | None = None) -> list[dict[str, float]]:
    """Measure and print one row for each number of points."""
    args = _parser().parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    print(f"{torch.get_num_threads()} threads; seconds")
    print(f"{'points':>9} {'leaves':>7} {'meshops':>9} {'erwin':>9} {'ratio':>6} {'MiB':>7} {'radius':>8} {'erwin':>8}")
    table = [_row(n, args.repeat) for n in args.points]
    if args.json:
        Path(args.json).write_text(json.dumps(table, indent=1))
    return table


def _row(n: int, repeat: int) -> dict[str, float]:
    levels = max(0, (-(-n // PATCH_SIZE) - 1).bit_length())
    pos = torch.rand(n, 3, generator=torch.Generator().manual_seed(0))
    ptr = torch.tensor([0, n])
    runs: dict[str, Callable[[], Tensor]] = {"meshops": lambda: median_split(pos, ptr, levels).perm}
    if importlib.util.find_spec("balltree") is not None:
        import balltree

        batch = torch.zeros(n, dtype=torch.long)
        runs["erwin"] = lambda: torch.as_tensor(balltree.partition_balltree(pos, batch, levels))
    best = dict.fromkeys(runs, float("inf"))
    leaves = median_split(pos, ptr, levels).ptr  # both cut at the same counts
    radius = {name: _mean_radius(pos, run(), leaves) for name, run in runs.items()}
    for _ in range(repeat):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - start)
    nan = float("nan")
    row = {"points": n, "leaves": 2**levels, "meshops": best["meshops"], "erwin": best.get("erwin", nan)}
    row |= {"ratio": row["meshops"] / row["erwin"], "mebibytes": _peak_memory(runs["meshops"])}
    row |= {"radius": radius["meshops"], "radius_erwin": radius.get("erwin", nan)}
    print(
        f"{n:>9} {2**levels:>7} {row['meshops']:>9.4f} {row['erwin']:>9.4f} {row['ratio']:>6.2f} "
        f"{row['mebibytes']:>7.0f} {row['radius']:>8.5f} {row['radius_erwin']:>8.5f}"
    )
    return row


def _mean_radius(pos: Tensor, perm: Tensor, ptr: Tensor) -> float:
    return float(Partition.from_order(pos, perm, ptr).radius.mean())


def _peak_memory(run: Callable[[], Tensor]) -> float:
    """MiB allocated beyond the positions; the kernel works on NumPy arrays, which tracemalloc sees."""
    tracemalloc.start()
    run()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 2**20


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    sizes = [32_186, 100_000, 300_000, 1_000_000]
    parser.add_argument("--points", type=int, nargs="+", default=sizes)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0: as PyTorch chooses")
    parser.add_argument("--json", default="", help="write the table to this file")
    return parser


if __name__ == "__main__":
    main()
