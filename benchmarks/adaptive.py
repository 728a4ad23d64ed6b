"""What adaptive tokens cost: tokenisers beside a training step of the published networks, and grids of 64^3.

    python benchmarks/adaptive.py            # tokenisers (seconds) and one training step (a minute or two)
    python benchmarks/adaptive.py --volume   # 64^3 through IAP and AMR-Transformer, with peak memory

The recursive walk that the AMR tokeniser is compared with is the definition in tests/partition/test_criteria.py.
"""

from __future__ import annotations

import argparse
import importlib.util
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from meshops.models.amr_transformer import AMRTransformer
from meshops.models.iap import iap_2d, iap_3d
from meshops.partition import RefineByCriteria, Thresholds, TokenBudget


def seconds(call: Callable[[], Any], repeat: int = 5) -> float:
    """Fastest of some calls."""
    best = float("inf")
    for _ in range(repeat):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


def say(text: str) -> None:
    """Print a line."""
    sys.stdout.write(text + "\n")


def tokenizers(args: argparse.Namespace) -> None:
    """Tokenisers beside a training step and beside a recursive walk."""
    fields = torch.randn(8, 4, 256, 256).cumsum(2).cumsum(3)
    budget = TokenBudget(2048, 2, 8)

    def select_and_pack() -> None:
        patches = budget.patches(fields)
        patches.tokenize(fields)

    cost = seconds(select_and_pack)
    score = seconds(lambda: budget.patches(fields))
    say(f"IAP tokeniser, 8 x 4 x 256 x 256, 2,048 tokens: {cost * 1e3:.0f} ms ({score * 1e3:.0f} ms without packing)")
    model = iap_2d(4, 4, budget=2048)

    def step() -> None:
        model(fields[: args.batch]).square().mean().backward()

    full = seconds(step, 1) * 8 / args.batch
    say(
        f"IAP training step (published size), batch {args.batch} scaled to 8: {full:.1f} s; tokeniser {cost / full:.2%}"
    )

    definition = _definition()
    values = definition.flow(8, 128, 128)
    refine = RefineByCriteria(velocity=(1, 2), max_size=32, thresholds=Thresholds().scaled(0.5))
    ours = seconds(lambda: refine.patches(values).index)
    slow = seconds(lambda: [definition.walk(refine, sample) for sample in values], 2)
    count = float(refine.patches(values).count.float().mean())
    say(f"AMR tokeniser, 8 x 128 x 128, {count:.0f} tokens: {ours * 1e3:.1f} ms; recursive walk {slow * 1e3:.0f} ms, "
        f"{slow / ours:.0f}x")  # fmt: skip


def volume() -> None:
    """Both networks on 64^3 cells."""
    torch.manual_seed(0)
    for name in ("iap", "amr"):
        fields = torch.randn(1, 6, 64, 64, 64).cumsum(2).cumsum(3).cumsum(4)
        model: torch.nn.Module
        if name == "iap":
            model = iap_3d(6, 6, budget=4096)
            count = "4,096"
        else:
            limits = RefineByCriteria(velocity=(3, 4, 5), max_size=16).calibrated(fields, 8192).thresholds
            factors = [float(v) for v in (limits.gradient, limits.vorticity, limits.momentum, limits.shear)]
            model = AMRTransformer(6, 6, velocity=(3, 4, 5), dim=3, max_size=16, thresholds=factors)
            count = f"{int(model.patches(fields).count[0]):,}"
        start = time.perf_counter()
        model(fields).square().mean().backward()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        say(f"{name}, 6 x 64^3, {count} tokens, published size: forward and backward "
            f"{time.perf_counter() - start:.1f} s, peak memory of the process so far {peak:.1f} GiB")  # fmt: skip
        del model


def _definition() -> Any:
    path = Path(__file__).parents[1] / "tests" / "partition" / "test_criteria.py"
    found = importlib.util.spec_from_file_location("definition", path)
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--volume", action="store_true")
    parser.add_argument("--batch", type=int, default=2, help="samples of the training step")
    parser.add_argument("--threads", type=int, default=0)
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    if given.volume:
        volume()
    else:
        tokenizers(given)
