"""Continuous convolution against its plain definition, and frames of up to a million points through an auto-encoder.

    python benchmarks/continuous_conv.py                 # both tables, some minutes on two cores
    python benchmarks/continuous_conv.py --part kernel   # one matrix per neighbour against the exchanged sums
    python benchmarks/continuous_conv.py --part frames   # 2^16, 2^18 and 2^20 points

Every figure is from a process of its own; memory is the growth of its resident set above what it held with the inputs
made and the libraries loaded. Definition: all matrices K = W2 phi + K0 at once, where the memory allows; in chunks of
queries, which is kinder to it, the sum over chunks is printed beside it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

QUERIES, NEIGHBORS, IN, OUT = 65_536, 32, 16, 64


def main() -> None:
    """Print the tables, or one row in a process of its own."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--part", choices=("kernel", "frames", "all"), default="all")
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--row", help=argparse.SUPPRESS)
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    if args.row:
        kind, _, size = args.row.partition(":")
        print(json.dumps(frames(int(size)) if kind == "frames" else kernel(kind)))
        return
    if args.part != "frames":
        print(f"{QUERIES:,} queries, {NEIGHBORS} neighbours, {IN} -> {OUT} channels, {args.threads} threads\n")
        print("| evaluation | seconds | MiB | seconds, ratio | memory, ratio | largest difference |")
        print("|---|---|---|---|---|---|")
        rows = {name: row(name, args.threads) for name in ("exchanged", "chunks", "definition")}
        ours = rows["exchanged"]
        for name, found in rows.items():
            if "error" in found:
                print(f"| {name} | {found['error']} | | | | |")
                continue
            ratios = f"{found['seconds'] / ours['seconds']:.1f} | {found['mib'] / ours['mib']:.1f}"
            print(f"| {name} | {found['seconds']:.2f} | {found['mib']:.0f} | {ratios} | {found['difference']:.1e} |")
    if args.part != "kernel":
        print("\none frame, encoder and decoder, 256 x 256 latent grid before the tower\n")
        print("| points | neighbours, s | encode, s | decode, s | us per point | peak GiB |\n|---|---|---|---|---|---|")
        for power in (16, 18, 20):
            found = row(f"frames:{2**power}", args.threads)
            total = found["neighbors"] + found["encode"] + found["decode"]
            print(f"| {2**power:,} | {found['neighbors']:.1f} | {found['encode']:.1f} | {found['decode']:.1f} | "
                  f"{total / 2**power * 1e6:.1f} | {found['gib']:.2f} |")  # fmt: skip


def row(name: str, threads: int) -> dict[str, Any]:
    """One row from a process of its own."""
    command = [sys.executable, __file__, "--row", name, "--threads", str(threads)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return {"error": f"stopped ({done.returncode}): {(done.stderr.strip().splitlines() or ['no memory'])[-1][:80]}"}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@torch.no_grad()
def kernel(kind: str) -> dict[str, float]:
    """Seconds and memory of one evaluation, and the largest relative difference from ours on some queries."""
    from meshops.data.latent_grid import LatentGrid
    from meshops.nn.neighborhood_conv import NeighborhoodConv

    torch.manual_seed(0)
    grid = LatentGrid(low=(0.0, 0.0), high=(1.0, 1.0), shape=(256, 256), periodic=(True, True))
    near = grid.from_points(torch.rand(2**18, 2), max_neighbors=NEIGHBORS)
    conv = NeighborhoodConv(IN, OUT, dim=2)
    x = torch.randn(2**18, IN)

    def definition(rows: slice) -> torch.Tensor:
        part = near.rows(rows)
        phi = conv.features(part.offset)
        matrices = torch.einsum("qvr,rio->qvio", phi, conv.kernel)
        return torch.einsum("qv,qvi,qvio->qo", part.weight, x[part.index], matrices) + conv.bias

    def run() -> torch.Tensor:
        if kind == "exchanged":
            return conv(x, near)
        step = QUERIES if kind == "definition" else 2048
        return torch.cat([definition(slice(i, i + step)) for i in range(0, QUERIES, step)])

    some = slice(0, 512)
    conv(x, near.rows(some)), definition(some)  # what is loaded on first use
    held = reset_peak()
    start = time.perf_counter()
    out = run()
    seconds, mib = time.perf_counter() - start, peak() - held
    for _ in range(2 if kind != "definition" else 0):
        start = time.perf_counter()
        out = run()
        seconds = min(seconds, time.perf_counter() - start)
    ours, slow = conv(x, near.rows(some)), definition(some)
    difference = float((out[some] - (slow if kind == "exchanged" else ours)).abs().max() / ours.abs().max())
    return {"seconds": seconds, "mib": max(mib, 1.0), "difference": difference}


@torch.no_grad()
def frames(points: int) -> dict[str, float]:
    """One frame through an auto-encoder at random points of a square."""
    from meshops.data.point_frames import PointFrames
    from meshops.models.echo import EchoAutoencoder

    torch.manual_seed(0)
    model = EchoAutoencoder(
        1, low=(0.0, 0.0), high=(1.0, 1.0), periodic=(True, True), cells=256,
        layers=("res", "space", "res", "space", "res", "time", "time", "res"), channels=64,
    ).eval()  # fmt: skip
    pos = torch.rand(points, 2)
    source = PointFrames.resting(pos, (2 * torch.pi * pos).sin().sum(1).view(1, -1, 1))
    model.neighborhood(pos[:4096], torch.tensor([0, 4096]))  # compiled on first use
    start = time.perf_counter()
    near = model.neighborhood(source.pos, source.ptr)
    found = {"neighbors": time.perf_counter() - start}
    start = time.perf_counter()
    latent = model.encode(source.values, near, frames=1).mean
    found["encode"] = time.perf_counter() - start
    start = time.perf_counter()
    model.decode(latent, model.grid.to_points(pos), series=1)
    return found | {"decode": time.perf_counter() - start, "gib": peak() / 1024}


def reset_peak() -> float:
    """Forget the largest resident set so far; the present one, MiB (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")
    return status("VmRSS")


def peak() -> float:
    """Largest resident set since the start or :func:`reset_peak`, MiB (Linux)."""
    return status("VmHWM")


def status(key: str) -> float:
    """A line of what the kernel says of this process, MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(key)) / 1024


if __name__ == "__main__":
    main()
