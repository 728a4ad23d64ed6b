"""How the cost grows with the number of points."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from meshops.io import replacing
from meshops.ops import knn_search, median_split
from meshops.partition import BallTree, CurvePatches, Octree

PATCH = 256
RUNS: dict[str, Callable[[Tensor], object]] = {
    "ball tree": lambda pos: median_split(pos, torch.tensor([0, len(pos)]), BallTree(PATCH).levels(len(pos))),
    "octree": lambda pos: Octree(capacity=PATCH).partition(pos),
    "Hilbert curve": lambda pos: CurvePatches(PATCH).partition(pos),
    "16 nearest": lambda pos: knn_search(pos, 16),
}


def measure_scaling(points: Sequence[int], repeat: int = 3) -> list[dict[str, float | str]]:
    """Seconds of each run on uniform points, and nanoseconds per point and doubling (``n log2 n``)."""
    table: list[dict[str, float | str]] = []
    for n in points:
        pos = torch.rand(n, 3, generator=torch.Generator().manual_seed(0))
        for name, run in RUNS.items():
            run(pos[:1000])  # compiles
            seconds = min(_seconds(run, pos) for _ in range(repeat))
            table.append({"run": name, "points": n, "seconds": seconds, "ns": 1e9 * seconds / (n * math.log2(n))})
    return table


def _seconds(run: Callable[[Tensor], object], pos: Tensor) -> float:
    start = time.perf_counter()
    run(pos)
    return time.perf_counter() - start


def draw_scaling(table: Sequence[dict[str, float | str]], path: str | Path) -> None:
    """Time against points on logarithmic axes, with lines of slope N log N; a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2), dpi=130, layout="constrained")
    axes = figure.add_subplot()
    for name in RUNS:
        rows = [row for row in table if row["run"] == name]
        n, seconds = ([float(row[key]) for row in rows] for key in ("points", "seconds"))
        (line,) = axes.loglog(n, seconds, "o-", label=name)
        scale = seconds[-1] / (n[-1] * math.log(n[-1]))
        axes.loglog(n, [scale * x * math.log(x) for x in n], ":", color=line.get_color(), linewidth=1)
    axes.set(xlabel="points", ylabel="seconds")
    axes.set_title("dotted: N log N through the last point", fontsize=9)
    axes.grid(which="both", alpha=0.3)
    axes.legend(frameon=False)
    with replacing(path) as partial:
        figure.savefig(partial, format="png")
