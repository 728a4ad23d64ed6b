"""Eight networks, all unquantised, on wakes of moving bodies under the same budget of seconds.

    meshops generate wake --num 10 --train 8 --test 2 --points 500 --frames 50 --option spin_up=12 --out data/wake
    python benchmarks/wake_rollout.py --data data/wake --seconds 240
    python benchmarks/wake_rollout.py --data data/wake --cpu --seconds 120 --networks MSPT IAP AMR-Transformer

Every network trains for the same time with the same optimiser on windows of four frames, with gradients through all
steps (MP-PDE also with the pushforward trick, as published); then it rolls out the test trajectories from their first
frame. With --cpu seconds are those of the processor, which other programs do not shorten.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch

from meshops.datasets import Eagle
from meshops.tasks import RolloutSettings, RolloutTask
from meshops.tasks.base import Draw
from meshops.tasks.build import build_model

AMR: dict[str, Any] = {"channels": 64, "depth": 3, "num_heads": 4, "hidden": 128, "max_size": 8}
NETWORKS: dict[str, tuple[str, dict[str, Any], int]] = {
    "MeshGraphNet": ("meshgraphnet", {"channels": 64, "depth": 8}, 0),
    "MP-PDE": ("mppde", {"channels": 64, "depth": 6, "variables": 9}, 0),
    "MP-PDE, pushforward": ("mppde", {"channels": 64, "depth": 6, "variables": 9}, 1),
    "GraphViT": ("graphvit", {"channels": 64, "tokens": 128, "cluster_size": 20}, 0),
    "MSPT": ("mspt", {"channels": 64, "depth": 4, "num_heads": 4, "num_patches": 16}, 0),
    "IAP": ("iapmesh", {"channels": 64, "depth": 3, "num_heads": 4, "budget": 128, "score_channels": [0, 1, 2]}, 0),
    "AMR-Transformer": ("amrmesh", AMR, 0),
    "AMR-Transformer, no rotary": ("amrmesh", {**AMR, "rotary": False}, 0),
}


def main() -> None:
    """Train, roll out, print a table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", required=True)
    options.add_argument("--seconds", type=float, default=240)
    options.add_argument("--horizon", type=int, default=3)
    options.add_argument("--networks", nargs="+", default=list(NETWORKS))
    options.add_argument("--cpu", action="store_true", help="count seconds of the processor")
    args = options.parse_args()
    train, test = (Eagle(args.data, split) for split in ("train", "test"))
    print("| network | weights | steps | N-RMSE +1 | +10 | end | first frame kept, end |")
    print("|---|---|---|---|---|---|---|")
    for title in args.networks:
        name, arguments, pushforward = NETWORKS[title]
        torch.manual_seed(0)
        settings = RolloutSettings(horizon=args.horizon, pushforward=pushforward)
        samples = RolloutTask.samples(train, settings)
        model, _ = build_model({"name": name, **arguments}, samples.spec.model_arguments(), samples.offers)
        task = RolloutTask.fit(model, samples, settings)
        steps = learn(task, samples, args.seconds, clock=time.process_time if args.cpu else time.perf_counter)
        report = task.evaluate(test, steps=min(test.lengths) - 1)
        values, kept = list(report.mean.values()), list(report.baselines["first frame kept"].values())
        weights = sum(p.numel() for p in model.parameters())
        print(f"| {title} | {weights:,} | {steps} | {values[0]:.3f} | {values[1]:.3f} | {values[-1]:.3f} | "
              f"{kept[-1]:.3f} |", flush=True)  # fmt: skip


def learn(
    task: Any, samples: Any, seconds: float, *, batch: int = 1, clock: Callable[[], float] = time.perf_counter
) -> int:
    """Adam until the time is over; the learning rate falls with the time that is left."""
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(task.parameters(), lr=1e-3)
    start, steps = clock(), 0
    while (left := 1 - (clock() - start) / seconds) > 0:
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * left
        numbers = torch.randint(len(samples), (batch,), generator=generator).tolist()
        draws = [Draw(number, steps * batch + place) for place, number in enumerate(numbers)]
        loss = task.loss(task.batch(samples, draws))["loss"]
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(task.parameters(), 1.0)
        optimizer.step()
        steps += 1
    return steps


if __name__ == "__main__":
    main()
