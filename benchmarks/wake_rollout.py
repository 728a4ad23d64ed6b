"""MeshGraphNet, MP-PDE and GraphViT, all unquantised, on wakes of moving bodies under the same budget of seconds.

    meshops generate wake --num 10 --train 8 --test 2 --points 500 --frames 50 --option spin_up=12 --out data/wake
    python benchmarks/wake_rollout.py --data data/wake --seconds 240

Every network trains for the same time with the same optimiser on windows of four frames, with gradients through all
steps (MP-PDE also with the pushforward trick, as published); then it rolls out the test trajectories from their first
frame.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import torch
from meshops.tasks.mesh_rollout import MeshRolloutSpec, MeshRolloutTask
from meshops.training.graphs import evaluate_mesh_rollout, read_frames

from meshops.datasets import create_mesh_trajectories
from meshops.models import create_model

NETWORKS: dict[str, tuple[str, dict[str, Any], int]] = {
    "MeshGraphNet": ("meshgraphnet", {"channels": 64, "depth": 8}, 0),
    "MP-PDE": ("mppde", {"channels": 64, "depth": 6, "variables": 9}, 0),
    "MP-PDE, pushforward": ("mppde", {"channels": 64, "depth": 6, "variables": 9}, 1),
    "GraphViT": ("graphvit", {"channels": 64, "tokens": 128, "cluster_size": 20}, 0),
}


def main() -> None:
    """Train, roll out, print a table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", required=True)
    options.add_argument("--seconds", type=float, default=240)
    options.add_argument("--horizon", type=int, default=3)
    options.add_argument("--networks", nargs="+", default=list(NETWORKS))
    args = options.parse_args()
    train, test = (create_mesh_trajectories("eagle", root=args.data, split=split) for split in ("train", "test"))
    print("| network | weights | steps | N-RMSE +1 | +10 | end | first frame kept, end |")
    print("|---|---|---|---|---|---|---|")
    for title in args.networks:
        name, arguments, pushforward = NETWORKS[title]
        torch.manual_seed(0)
        given = train.spec
        spec = MeshRolloutSpec(
            fields=given.fields, sizes=given.sizes, units=given.units, weights=given.weights, forced=given.forced,
            pushforward=pushforward,
        )  # fmt: skip
        model = create_model(name, **spec.model_arguments(), **arguments)
        length = args.horizon + 1
        windows = [(i, s) for i in range(len(train)) for s in range(train.lengths[i] - length + 1)]
        some = windows[:: max(1, len(windows) // 32)]
        task = MeshRolloutTask.fit(model, spec, (read_frames(train, i, s, length) for i, s in some))
        steps = learn(task, train, windows, length, args.seconds)
        metrics = evaluate_mesh_rollout(task.eval(), test, min(test.lengths) - 1)
        values = list(metrics["n_rmse"].values())
        weights = sum(p.numel() for p in model.parameters())
        print(f"| {title} | {weights:,} | {steps} | {values[0]:.3f} | {values[1]:.3f} | {values[-1]:.3f} | "
              f"{metrics['first_frame_kept']:.3f} |", flush=True)  # fmt: skip


def learn(task: Any, data: Any, windows: list[tuple[int, int]], length: int, seconds: float) -> int:
    """Adam until the time is over; the learning rate falls with the time that is left."""
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(task.parameters(), lr=1e-3)
    start, steps = time.perf_counter(), 0
    while (left := 1 - (time.perf_counter() - start) / seconds) > 0:
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * left
        i, first = windows[int(torch.randint(len(windows), (), generator=generator))]
        loss = task.loss([read_frames(data, i, first, length)])["loss"]
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(task.parameters(), 1.0)
        optimizer.step()
        steps += 1
    return steps


if __name__ == "__main__":
    main()
