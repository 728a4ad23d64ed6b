"""Ten real cars, leave-two-out: the error of ``meshops fit`` with 8 cars to learn from, and of its candidates.

    OMP_NUM_THREADS=1 python benchmarks/few_cars.py ../shared/data/plaid_cars --minutes 4

Each fold is a fit of the folder as ``meshops look`` sees it, without a hand on it (the flow is guessed: along +z, y
up), two cars held out to judge. ``--stated`` tells the flow (20 m/s, wheels on the ground at y = 0) as a user might.
Relative L2 error of the pressure, mean of the cars; beside it the yardsticks. ``--networks none`` leaves out the
networks: seconds instead of minutes. ``--cases 6`` learns from six of the eight.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from meshops.aero.conditions import FlowConditions
from meshops.datasets.base import CaseDataset
from meshops.datasets.study import guess_study
from meshops.datasets.subset import CaseSubset
from meshops.doctor.look import look_at
from meshops.selection.config import FitConfig
from meshops.selection.from_study import settled
from meshops.selection.run import fit

FLOW = FlowConditions(flow=(0.0, 0.0, 1.0), up=(0.0, 1.0, 0.0), speed=20.0, density=1.184, ground=0.0)


def cars(root: Path, *, stated: bool) -> tuple[CaseDataset, FitConfig]:
    """The folder as it is, and what its study says of a fit."""
    study = guess_study(root)
    study = replace(study, flow=FLOW, flow_stated=True) if stated else look_at(study).study
    opened = study.open()
    assert isinstance(opened, CaseDataset)
    return opened, settled(study, opened, FitConfig())


def main() -> None:
    """Run all folds and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("root", type=Path)
    options.add_argument("--minutes", type=float, default=4.0, help="of each fit")
    options.add_argument("--networks", help="that may be tried; none: none")
    options.add_argument("--cases", type=int, default=8, help="cars to learn from")
    options.add_argument("--folds", default="0,1,2,3,4")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--stated", action="store_true", help="tell the flow")
    args = options.parse_args()
    torch.set_num_threads(1)
    (data, said), rows = cars(args.root, stated=args.stated), []
    networks = None if args.networks is None else tuple(n for n in args.networks.split(",") if n != "none")
    for fold in map(int, args.folds.split(",")):
        held = (2 * fold, 2 * fold + 1)
        learnt = [i for i in range(len(data)) if i not in held][: args.cases]
        part = CaseSubset(data, sorted([*learnt, *held]))
        names = tuple(data.cases[i] for i in held)
        start = time.perf_counter(), time.process_time()
        with tempfile.TemporaryDirectory() as out:
            config = replace(
                said, minutes=args.minutes, out=f"{out}/fit", test=names, networks=networks, seed=args.seed
            )
            result = fit(part, config)
        tried = {c.name: c.score for c in result.found.candidates}
        report = result.report
        errors = {
            "fit": report.mean["pressure_rel_l2"],
            **{k: v["pressure_rel_l2"] for k, v in report.baselines.items()},
        }
        rows.append(errors)
        seconds = time.perf_counter() - start[0], time.process_time() - start[1]
        sys.stdout.write(
            f"held out {', '.join(names)}: " + ", ".join(f"{k} {v:.4f}" for k, v in errors.items())
            + f"; chosen {list(result.found.blend)}; cross-validated "
            + ", ".join(f"{k} {v:.4f}" for k, v in tried.items()) + f"; {seconds[0]:.0f} s, CPU {seconds[1]:.0f} s\n"
        )  # fmt: skip
        sys.stdout.flush()
    means = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
    sys.stdout.write("mean: " + ", ".join(f"{key} {value:.4f}" for key, value in means.items()) + "\n")


if __name__ == "__main__":
    main()
