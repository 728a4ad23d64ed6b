"""Error of 8-bit integers beside float32, without further training, on the problems of the study of bits.

make study-amq                                              # solves the cases
python benchmarks/compress_error.py --data runs/study_amq   # some minutes
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path

import torch
from amq_study import BACKBONES, PROBLEMS, learn, read

from meshops.surrogate import Surrogate
from meshops.tasks import FieldsSettings, FieldsTask
from meshops.tasks.build import build_model


def main() -> None:
    """Train 300 steps in float32, compress, compare."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", default="runs/study_amq")
    options.add_argument("--steps", type=int, default=300)
    options.add_argument("--nodes", type=int, default=200, help="as in the study")
    options.add_argument("--cases", type=int, default=64, help="as in the study")
    args = options.parse_args()
    torch.set_num_threads(1)
    for problem, backbone in product(PROBLEMS, BACKBONES):
        samples = read(Path(args.data) / f"{problem}_{args.nodes}_{args.cases}.pt", args.cases)
        torch.manual_seed(0)
        chosen = {"name": backbone, **BACKBONES[backbone]}
        model, made = build_model(chosen, samples.spec.model_arguments(), samples.offers)
        task = FieldsTask.fit(model, samples, FieldsSettings())
        task.made = made
        learn(task, samples.graphs, args.steps, 2e-3, 0)
        large, errors = Surrogate(task), []
        for surrogate in (large, large.compress()):
            rows = [surrogate.task.judge(samples, case) for case in samples.held_out]
            errors.append(sum(row["error"] for row in rows) / len(rows))
        print(f"{problem}, {backbone}: float32 {errors[0]:.5f}, 8-bit integers {errors[1]:.5f}, "
              f"{100 * (errors[1] / errors[0] - 1):+.2f} %", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
