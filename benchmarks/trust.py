"""Do intervals hold, and are verdicts right? Fits that never saw the cases they are judged on, over folds and seeds.

    OMP_NUM_THREADS=1 python benchmarks/trust.py bodies --seeds 0 1 2 --minutes 1.5 --networks none
    OMP_NUM_THREADS=1 python benchmarks/trust.py cars --root ../shared/data/plaid_cars --networks none
    OMP_NUM_THREADS=1 python benchmarks/trust.py plates --root PLATES --seeds 0 1 2 --minutes 0.3 --networks none

Every outer fold of the cases is predicted by a fit of the others, whose intervals come from its own cross-validation.
Printed are, over all cases that were held out: the mean error of each number beside the constant; the share of true
values inside the intervals and the width of these beside the naive one (the spread of the training); the same of peaks
and fields; the verdicts on pairs of each fold; and, of the last fit, the coverage when its held-out residuals are split
200 times into cases that calibrate and cases that are judged. ``PLATES`` is made by ``meshops generate plate --cases 30
--seed 0 --out PLATES``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meshops.datasets import AhmedMini
from meshops.datasets.base import CaseDataset
from meshops.datasets.study import guess_study
from meshops.doctor.look import look_at
from meshops.selection import FitConfig, fit
from meshops.selection.from_study import settled
from meshops.selection.result import FitResult
from meshops.tasks.fields import FieldsTask
from meshops.tasks.fields_samples import case_at
from meshops.tasks.prediction import Prediction
from meshops.trust import Trust, radius
from meshops.trust.compare import compared

LEVEL, NAIVE = 0.9, 1.645  # standard deviations of a normal distribution at 90 %
Rows = dict[str, list[tuple[float, ...]]]


def opened(name: str, root: Path | None) -> tuple[CaseDataset, FitConfig]:
    """The cases, and what their study says of a fit."""
    if name == "bodies" and root is None:
        return AhmedMini("all"), FitConfig(numbers=())
    assert root is not None, "--root is missing"
    study = look_at(guess_study(root)).study
    data = study.open()
    assert isinstance(data, CaseDataset)
    return data, settled(study, data, FitConfig())


def judged(result: FitResult, data: CaseDataset, held: list[int], numbers: Rows, fields: Rows, pairs: Rows) -> None:
    """Predict the cases of a fold and add what came to the tables."""
    task, trust = result.surrogate.task, result.surrogate.trust
    assert isinstance(task, FieldsTask) and trust is not None
    made: dict[str, Prediction] = {}
    vectors = {}
    for i in held:
        case = case_at(data, i, task.spec)
        made[data.cases[i]] = prediction = result.surrogate.predict_case(case)
        vectors[data.cases[i]] = trust.vector(task, case, task.prepared(case)[0])
        known = {m.name: m for m in (*trust.numbers, *trust.peaks)}
        for name, estimate in (*prediction.numbers.items(), *prediction.peaks.items()):
            if estimate.true is None or estimate.low is None or estimate.high is None or name not in known:
                continue
            model = known[name]
            spread = NAIVE * float(np.std(model.truth, ddof=1))
            constant = float(model.truth.mean())
            kept = [abs(model_error - estimate.true) for model_error in (estimate.value, constant)]
            inside = float(estimate.low <= estimate.true <= estimate.high)
            numbers[name].append((*kept, inside, estimate.high - estimate.low, 2 * spread))
        for name, width in prediction.widths.items():
            miss = np.abs(prediction.fields[name].astype(float) - case.truth[name]).reshape(len(width), -1)
            error = float(prediction.errors[name]["rel_l2"] or 0)
            fields[name].append((error, float((np.linalg.norm(miss, axis=1) <= width).mean()), float(2 * width.mean())))
    found = compared(trust, made, vectors)
    for pair, (a, b) in zip(found, [ab for _ in trust.numbers for ab in combinations(made, 2)], strict=True):
        one, other = made[a].numbers[pair.number].true, made[b].numbers[pair.number].true
        if one is None or other is None or one == other:
            continue
        close = abs(one - other) < 0.03 * abs(one + other) / 2
        right, called = (pair.difference > 0) == (one > other), pair.call in ("larger", "smaller")
        covered = pair.low <= one - other <= pair.high
        brier = (pair.probability - (one > other)) ** 2
        pairs[pair.number].append(tuple(map(float, (right, close, called, covered, brier))))


def resplit(trust: Trust, *, times: int = 200) -> dict[str, float]:
    """Coverage when held-out residuals are dealt into cases that calibrate and cases that are judged."""
    out, rng = {}, np.random.default_rng(0)
    for model in (*trust.numbers, *trust.peaks):
        size, shares = np.abs(model.residuals), []
        for _ in range(times):
            order = rng.permutation(len(size))
            judges = order[: max(1, len(size) // 4)]
            shares.append((size[judges] <= radius(size[order[len(judges) :]], LEVEL)).mean())
        out[model.name] = float(np.mean(shares))
    return out


def _share(rows: NDArray[np.bool_]) -> str:
    return f"{100 * rows.mean():.0f} %" if len(rows) else "–"


def main() -> None:
    """Run all folds and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("study", choices=["bodies", "cars", "plates"])
    options.add_argument("--root", type=Path)
    options.add_argument("--folds", type=int, default=5)
    options.add_argument("--seeds", type=int, nargs="+", default=[0])
    options.add_argument("--minutes", type=float, default=1.5)
    options.add_argument("--networks", help="that may be tried; none: none")
    args = options.parse_args()
    data, said = opened(args.study, args.root)
    networks = None if args.networks is None else tuple(n for n in args.networks.split(",") if n != "none")
    numbers, fields, pairs = (defaultdict[str, list[Any]](list) for _ in range(3))
    start, trust = time.perf_counter(), None
    for seed in args.seeds:
        order = np.random.default_rng(seed).permutation(len(data))
        for fold in np.array_split(order, args.folds):
            held = sorted(map(int, fold))
            with tempfile.TemporaryDirectory() as out:
                config = replace(said, minutes=args.minutes, out=f"{out}/fit", networks=networks, seed=seed,
                                 test=tuple(data.cases[i] for i in held))  # fmt: skip
                result = fit(data, config)
            trust = result.surrogate.trust
            judged(result, data, held, numbers, fields, pairs)
            sys.stdout.write(f"seed {seed}, held out {len(held)}: {time.perf_counter() - start:.0f} s\n")
            sys.stdout.flush()
    for name, rows in numbers.items():
        error, constant, inside, width, naive = np.mean(rows, axis=0)
        sys.stdout.write(
            f"{name}: error {error:.4g} (constant {constant:.4g}), {100 * inside:.0f} % of {len(rows)} inside, "
            f"width {width:.4g} (naive {naive:.4g})\n"
        )
    for name, rows in fields.items():
        error, inside, width = np.mean(rows, axis=0)
        sys.stdout.write(f"{name}: rel. L2 {error:.3f}, {100 * inside:.0f} % of nodes inside, width {width:.4g}\n")
    for name, rows in pairs.items():
        table = np.array(rows)
        right, close, called, covered = (table[:, k].astype(bool) for k in range(4))
        sys.stdout.write(
            f"pairs of {name}: {len(rows)}, sign right {_share(right)}, of {close.sum()} within 3 % "
            f"{_share(right[close])}, called {_share(called)}, of these right {_share(right[called])}, "
            f"inside {_share(covered)}, Brier {table[:, 4].mean():.3f}\n"
        )
    if trust is not None and len(trust.cases) >= 12:
        shares = ", ".join(f"{name} {100 * share:.0f} %" for name, share in resplit(trust).items())
        sys.stdout.write(f"200 re-splits of the residuals of the last fit: {shares}\n")


if __name__ == "__main__":
    main()
