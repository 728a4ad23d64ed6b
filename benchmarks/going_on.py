"""Three AhmedML runs, leave-one-out: a network that learns from two of them alone, beside going on from the demo.

    python benchmarks/going_on.py ../shared/data/ahmedml_sample --steps 600

The network is that of ``meshops train demo``. Relative L2 errors of pressure and shear on the run that was left out.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from meshops.cli.train import parse
from meshops.datasets.base import CaseDataset
from meshops.datasets.study import guess_study
from meshops.datasets.subset import CaseSubset
from meshops.doctor.look import look_at
from meshops.training import train

FIELDS = ("pMean", "wallShearStressMean")


def main() -> None:
    """Leave each run out in turn."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("root", type=Path)
    options.add_argument("--steps", type=int, default=600)
    args = options.parse_args()
    data = look_at(guess_study(args.root)).study.open()
    assert isinstance(data, CaseDataset)
    rows: list[list[float]] = []
    for held in range(len(data)):
        rest, case = CaseSubset(data, [i for i in range(len(data)) if i != held]), CaseSubset(data, [held])
        with tempfile.TemporaryDirectory() as out:
            config = parse(["demo", "--out", f"{out}/net"])
            learnt = replace(config.task, fields=FIELDS, geometry="body", mesh_cues=False)  # type: ignore[type-var]
            config = replace(config, task=learnt, train=replace(config.train, steps=args.steps))
            report = train(config, data=rest, test=case).report
        rows.append([float(value or 0) for key, value in report.mean.items() if key.endswith("_rel_l2")])
        sys.stdout.write(f"{data.cases[held]}: {' / '.join(f'{x:.3f}' for x in rows[-1])}\n")
        sys.stdout.flush()
    sys.stdout.write(f"mean: {' / '.join(f'{x:.3f}' for x in np.mean(rows, axis=0))}\n")


if __name__ == "__main__":
    main()
