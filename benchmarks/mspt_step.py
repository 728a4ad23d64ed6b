"""Time of one training step of MSPT: the paper's variant against the released code's formula ("reference").

    python benchmarks/mspt_step.py --threads 2
    python benchmarks/mspt_step.py --threads 1 --ways paper copies

Forward, backward and AdamW step on random points, the same work for both variants, measured in turns so that a busy
machine hits both alike; medians and their ratio are printed and, with ``--json``, written to a file. Default size:
ShapeNet-Car (32,186 points, position + 7 features -> 4 fields), 256 patches, 4 blocks x 128 channels, 8 heads.
``--checkpoint`` recomputes activations in the reference variant, as the released code does while training. The way
"copies" is the paper's variant with the definition of ``patch_attention``, which copies the keys of the supernodes.

Where other processes share the cores, start with ``OMP_WAIT_POLICY=PASSIVE``: threads that spin after every small
operation otherwise slow the faster variant more.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from meshops.models import MSPT
from meshops.models.mspt import MSPTInputs
from meshops.nn.pooling import Variant


class Step:
    """One model with its optimiser and the patches of the points, built once."""

    def __init__(self, args: argparse.Namespace, *, variant: Variant, checkpoint: bool, kernels: str = "auto") -> None:
        torch.manual_seed(0)
        self.kernels = kernels
        self.model = MSPT(
            7, 4, channels=args.channels, depth=args.depth, num_heads=args.heads, num_patches=args.patches,
            variant=variant, checkpoint=checkpoint,
        ).to(args.device)  # fmt: skip
        pos = torch.rand(args.points, 3, device=args.device)
        x = torch.randn(args.points, 7, device=args.device)
        self.target = torch.randn(args.points, 4, device=args.device)
        self.inputs = MSPTInputs(pos, x, *self.model.patches(pos))
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, fused=True)
        self.device = torch.device(args.device)

    def run(self) -> float:
        """Seconds of one training step."""
        os.environ["MESHOPS_KERNELS"] = self.kernels
        self._wait()
        start = time.perf_counter()
        self.optimizer.zero_grad(set_to_none=True)
        loss = (self.model(self.inputs) - self.target).square().mean()
        loss.backward()
        self.optimizer.step()
        self._wait()
        return time.perf_counter() - start

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Measure and print; returns the medians in seconds and their ratio."""
    args = _parser().parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    make = {
        "paper": lambda: Step(args, variant="paper", checkpoint=False),
        "reference": lambda: Step(args, variant="reference", checkpoint=args.checkpoint),
        "copies": lambda: Step(args, variant="paper", checkpoint=False, kernels="reference"),
    }
    steps = {way: make[way]() for way in args.ways}
    for step in steps.values():
        step.run()
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(args.repeat):
        for name, step in steps.items():
            seconds[name].append(step.run())
    median = {name: statistics.median(values) for name, values in seconds.items()}
    first, last = args.ways[0], args.ways[-1]
    result = {**median, "ratio": median[last] / median[first]}
    size = f"{args.points} points, {args.patches} patches, {args.depth} blocks x {args.channels}"
    print(f"{size}, {torch.get_num_threads()} threads")
    for name, values in seconds.items():
        print(f"  {name:<10} {median[name]:8.3f} s   (fastest {min(values):.3f}, slowest {max(values):.3f})")
    print(f"  {last} / {first}: {result['ratio']:.2f}")
    print(f"  peak memory of the process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")
    if args.json:
        Path(args.json).write_text(json.dumps({"arguments": vars(args), "seconds": seconds, **result}, indent=1))
    return result


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--points", type=int, default=32_186)
    parser.add_argument("--patches", type=int, default=256)
    parser.add_argument("--channels", type=int, default=128)
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--ways", nargs="+", choices=["paper", "reference", "copies"], default=["paper", "reference"])
    parser.add_argument("--checkpoint", action="store_true", help="recompute activations in the reference variant")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0: as PyTorch chooses")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", default="", help="write all figures to this file")
    return parser


if __name__ == "__main__":
    main()
