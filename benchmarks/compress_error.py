"""Error of 8-bit integers beside float32, without further training, on the problems of the study of bits.

python benchmarks/compress_error.py --data runs/study_amq   # some minutes; cases as solved by amq_study.py, or now
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path

import torch
from amq_study import BACKBONES, STATIONARY, Data, learn

from meshops.surrogate import Surrogate
from meshops.tasks import FieldsSettings, FieldsTask
from meshops.tasks.build import build_model


def main() -> None:
    """Train 300 steps in float32, compress, compare."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", default="runs/study_amq")
    options.add_argument("--steps", type=int, default=300)
    options.add_argument("--nodes", type=int, default=200, help="as in the study")
    options.add_argument("--cases", type=int, default=128, help="as in the study")
    args = options.parse_args()
    args.out = args.data
    Path(args.out).mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    for problem, backbone in product(STATIONARY, BACKBONES):
        data = Data(problem, args)
        samples = data.samples
        torch.manual_seed(0)
        chosen = {"name": backbone, **BACKBONES[backbone]}
        model, made = build_model(chosen, samples.spec.model_arguments(), samples.offers)
        task = FieldsTask.fit(model, samples, FieldsSettings())
        task.made = made
        learn(data, task, args.steps, 2e-3, 0)
        large, errors = Surrogate(task), []
        for surrogate in (large, large.compress()):
            rows = [surrogate.task.judge(samples, case) for case in samples.held_out]
            errors.append(sum(row["error"] for row in rows) / len(rows))
        print(f"{problem}, {backbone}: float32 {errors[0]:.5f}, 8-bit integers {errors[1]:.5f}, "
              f"{100 * (errors[1] / errors[0] - 1):+.2f} %", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
