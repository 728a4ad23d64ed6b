"""Attention of MSPT with copies of the shared keys and without: seconds and peak memory, forward and backward.

    python benchmarks/patch_attention.py --threads 1 2

A size is patches x nodes per patch x width (8 heads, one supernode per patch). "copies" is the definition, "flash" and
"blocks" are the versions of ``meshops.ops.patch_attention``, run at every size whether they would be chosen or not; the
last column says what is chosen. Ways run in turns, so that a busy machine hits all alike: medians, and medians of the
ratios of each turn. Memory is what the first forward and backward pass adds to the resident set of a process of its
own. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from meshops.ops import explain, patch_attention

WAYS: dict[str, Callable[..., Tensor]] = {"copies": patch_attention.reference} | {
    kernel.name: kernel.function for kernel in patch_attention.kernels
}
SIZES = ["16x64x96", "64x64x128", "128x256x128", "256x126x128", "256x126x256", "1024x32x256", "1024x100x256"]
HEADS = 8


def inputs(size: str, dtype: torch.dtype, masked: bool) -> tuple[list[Tensor], Tensor]:
    """Arguments as :class:`meshops.nn.PatchAttention` lays them out, and a gradient of the result."""
    patches, nodes, width = map(int, size.split("x"))
    generator = torch.Generator().manual_seed(0)

    def make(*shape: int) -> Tensor:
        return torch.randn(1, *shape, HEADS, width // HEADS, generator=generator).to(dtype).transpose(-2, -3)

    local, shared = [make(patches, nodes) for _ in range(4)], [make(patches) for _ in range(2)]
    floating = [x.requires_grad_() for x in (*local[:3], *shared)]
    masks = [torch.rand(1, patches, nodes, generator=generator) < 0.95] if masked else []
    return [*floating, *masks], local[3]


def step(way: str, arguments: list[Tensor], grad: Tensor) -> float:
    """Seconds of one forward and backward pass."""
    start = time.perf_counter()
    torch.autograd.grad(WAYS[way](*arguments), arguments[:5], grad)
    return time.perf_counter() - start


def worker(args: argparse.Namespace) -> None:
    """What a process of its own measures, as JSON: seconds of every way in turns, or memory of one."""
    torch.set_num_threads(args.threads[0])
    dtype = getattr(torch, args.dtype)
    if args.memory:
        step(args.memory, *inputs("2x4x16", dtype, args.masked))  # loads what is loaded once
        tensors = inputs(args.sizes[0], dtype, args.masked)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        step(args.memory, *tensors)
        sys.stdout.write(json.dumps((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**10))
        return
    tensors = inputs(args.sizes[0], dtype, args.masked)
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    begin = time.perf_counter()
    while len(seconds["copies"]) < 4 or time.perf_counter() - begin < args.seconds:
        for way in WAYS:
            seconds[way].append(step(way, *tensors))
    chosen = next((part for part in explain(patch_attention, *tensors[0]).split("; ") if part.endswith("runs")), "")
    name = "copies" if chosen.startswith("reference") else chosen.split(":")[0]
    sys.stdout.write(json.dumps([{way: values[1:] for way, values in seconds.items()}, name]))


def ask(args: argparse.Namespace, size: str, threads: int, memory: str = "") -> Any:
    """Run :func:`worker`."""
    command = [sys.executable, __file__, "--worker", "--sizes", size, "--threads", str(threads), "--dtype", args.dtype]
    command += ["--seconds", str(args.seconds), "--memory", memory] + ["--masked"] * args.masked
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure all sizes and print."""
    args = _parser().parse_args(argv)
    if args.worker:
        worker(args)
        return
    others = [way for way in WAYS if way != "copies"]
    head = ["size", "threads", "copies", *(f"{way} (ratio)" for way in others)]
    head += ["MiB: copies", *(f"{way} (ratio)" for way in others), "chosen"]
    sys.stdout.write("| " + " | ".join(head) + " |\n" + "| --- " * len(head) + "|\n")
    rows = []
    for size in args.sizes:
        memory = {way: ask(args, size, args.threads[0], way) for way in WAYS}
        for threads in args.threads:
            seconds, chosen = ask(args, size, threads)
            row = {"size": size, "threads": threads, "seconds": seconds, "memory": memory, "chosen": chosen}
            rows.append(row)
            sys.stdout.write(line(row, others) + "\n")
            sys.stdout.flush()
    if args.json:
        Path(args.json).write_text(json.dumps({"arguments": vars(args), "rows": rows}, indent=1))


def line(row: dict[str, Any], others: list[str]) -> str:
    """A row of the table."""
    seconds, memory = row["seconds"], row["memory"]
    cells = [row["size"].replace("x", " x "), str(row["threads"]), f"{statistics.median(seconds['copies']):.4f} s"]
    for way in others:
        ratios = [new / old for new, old in zip(seconds[way], seconds["copies"], strict=True)]
        cells.append(f"{statistics.median(seconds[way]):.4f} s ({statistics.median(ratios):.2f})")
    cells.append(f"{memory['copies']:.0f}")
    cells += [f"{memory[way]:.0f} ({memory[way] / max(memory['copies'], 1e-9):.2f})" for way in others]
    return "| " + " | ".join([*cells, row["chosen"]]) + " |"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=SIZES, help="patches x nodes per patch x width")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=5.0, help="of each size at least")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--masked", action="store_true", help="a twentieth of the local keys does not exist")
    parser.add_argument("--json", default="", help="write all figures to this file")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--memory", default="", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    main()
