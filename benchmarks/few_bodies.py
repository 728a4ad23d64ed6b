"""Ahmed bodies: the error of ``meshops fit`` with 6, 12 and 24 cases to learn from, beside the yardsticks.

    python benchmarks/few_bodies.py --cases 6 12 24 --minutes 4

The 30 RANS cases that are shipped; runs 25 to 30 judge and choose nothing, the learning cases are the first of a random
order of the others. Relative L2 error, mean of the six; ``--networks none`` leaves out the networks.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time

import numpy as np

from meshops.datasets import AhmedMini
from meshops.datasets.subset import CaseSubset
from meshops.selection import FitConfig, fit

JUDGES = tuple(f"run_{i}" for i in range(25, 31))


def main(argv: list[str] | None = None) -> dict[int, dict[str, float]]:
    """Print a line per number of cases; return the mean errors over the fields."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--cases", type=int, nargs="+", default=[6, 12, 24])
    options.add_argument("--minutes", type=float, default=4.0, help="of each fit")
    options.add_argument("--networks", help="that may be tried; none: none")
    options.add_argument("--seed", type=int, default=0)
    args = options.parse_args(argv)
    networks = None if args.networks is None else tuple(n for n in args.networks.split(",") if n != "none")
    data = AhmedMini("all")
    judges = [data.cases.index(name) for name in JUDGES]
    others = [i for i in np.random.default_rng(args.seed).permutation(len(data)).tolist() if i not in judges]
    out = {}
    for count in args.cases:
        part, start = CaseSubset(data, [*others[:count], *judges]), time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            config = FitConfig(
                minutes=args.minutes, out=f"{folder}/fit", test=JUDGES, networks=networks, seed=args.seed, numbers=()
            )
            result = fit(part, config)
        report, keys = result.report, [key for key in result.report.columns if key.endswith("_rel_l2")]
        rows = {"fit": report.mean, **report.baselines}
        told = {name: [float(row[key] or 0.0) for key in keys] for name, row in rows.items() if name.strip() == name}
        out[count] = {name: float(np.mean(errors)) for name, errors in told.items()}
        text = ", ".join(f"{name} {' / '.join(f'{e:.3f}' for e in errors)}" for name, errors in told.items())
        sys.stdout.write(
            f"{count} cases: {text}; {', '.join(result.found.blend)}; {time.perf_counter() - start:.0f} s\n"
        )
        sys.stdout.flush()
    return out


if __name__ == "__main__":
    main()
