"""Is the cost model of the planner right? What its probe says of three sizes, beside what they take.

    python benchmarks/plan_check.py runs/network/model.ckpt --nodes 4096 16384 65536

One forward pass, and one training step, of so many random nodes in subsets of the training density: bytes of tensors
alive at once, how much the process grew (Linux; what the allocator had before is used again, so that this is at most a
lower bound), and seconds of the processor. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Probe, run, compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint")
    parser.add_argument("--nodes", type=int, nargs="+", default=[4096, 16384, 65536])
    args = parser.parse_args(argv)

    import meshops
    from meshops.nn.model import judging
    from meshops.tasks.node_cost import prediction_cost, random_batch, training_cost

    task: Any = meshops.load(args.checkpoint).task
    learner = deepcopy(task).train()
    laws = {"prediction": prediction_cost(task), "training": training_cost(task)}
    out: dict[str, Any] = {}
    for nodes in args.nodes:
        batch = random_batch(task, task.spec.nodes, max(1, nodes // task.spec.nodes))
        with judging(task.model):
            out[f"prediction {nodes}"] = compared(laws["prediction"], nodes, lambda b=batch: task(b))
        out[f"training {nodes}"] = compared(laws["training"], nodes, lambda b=batch: learner.loss(b)["loss"].backward())
    return out


def compared(law: Any, nodes: int, run: Callable[[], object]) -> dict[str, float]:
    """Said and found."""
    from meshops.nn.live_memory import LiveBytes

    seconds = []
    before = grown()
    for _ in range(3):
        start = time.process_time()
        run()
        seconds.append(time.process_time() - start)
    after = grown(peak=True)
    with LiveBytes() as live:
        run()
    found = {"said_mb": law.bytes.at(nodes) / 1e6, "tensors_mb": live.peak / 1e6, "process_mb": (after - before) / 1e6,
             "said_cpu_s": law.seconds.at(nodes), "cpu_s": min(seconds)}  # fmt: skip
    return {key: round(value, 3) for key, value in found.items()}


def grown(*, peak: bool = False) -> float:
    """Memory of the process, bytes; the peak since the last call without it."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    if not peak:
        Path("/proc/self/clear_refs").write_text("5")
    return float(status["VmHWM" if peak else "VmRSS"].split()[0]) * 1024


if __name__ == "__main__":
    print(json.dumps(main(), indent=2))
