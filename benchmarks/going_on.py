"""Three AhmedML runs, leave-one-out: a network that learns from two of them alone, beside going on from the demo.

    python benchmarks/going_on.py ../shared/data/ahmedml_sample --steps 600 --start runs/demo/model.ckpt

The network is that of ``meshops train demo``. Relative L2 errors of pressure and shear on the run that was left out.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

import meshops
from meshops.cli.train import parse
from meshops.datasets.base import CaseDataset
from meshops.datasets.study import open_folder
from meshops.datasets.subset import CaseSubset
from meshops.selection import FitConfig, fit
from meshops.training import train

KEYS = ("pressure_rel_l2", "shear_rel_l2")


def main() -> None:
    """Leave each run out in turn."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("root", type=Path)
    options.add_argument("--steps", type=int, default=600)
    options.add_argument("--start", help="checkpoint of the demo: also as it is, and gone on from by fit")
    args = options.parse_args()
    data = open_folder(args.root)
    assert isinstance(data, CaseDataset)
    rows: dict[str, list[list[float]]] = {}
    for held in range(len(data)):
        rest, case = CaseSubset(data, [i for i in range(len(data)) if i != held]), CaseSubset(data, [held])
        with tempfile.TemporaryDirectory() as out:
            config = parse(["demo", "--out", f"{out}/net"])
            config = replace(config, train=replace(config.train, steps=args.steps))
            reports = {"from nothing": train(config, data=rest, test=case).report}
            if args.start:
                reports["the demo alone"] = meshops.load(args.start).evaluate(case)
                begun = FitConfig(out=f"{out}/fit", start=args.start, test=0.0, minutes=2)
                reports["fit --start"] = fit(rest, begun).surrogate.evaluate(case)
        for name, report in reports.items():
            rows.setdefault(name, []).append([float(report.mean[key] or 0) for key in KEYS])
            sys.stdout.write(f"{data.cases[held]}, {name}: {' / '.join(f'{x:.3f}' for x in rows[name][-1])}\n")
            sys.stdout.flush()
    for name, errors in rows.items():
        sys.stdout.write(f"mean, {name}: {' / '.join(f'{x:.3f}' for x in np.mean(errors, axis=0))}\n")


if __name__ == "__main__":
    main()
