"""Models beside each other on the same data with the same budget: errors over seeds, time, memory, significance.

Every run is an ordinary ``meshops train`` in a process of its own, so that its processor time and largest memory can be
told apart, and its folder holds the trained model. A contest that stopped goes on where it was.

Whether a model is worse than the best is asked of the cases: per case the error is averaged over seeds, and the
differences go through Wilcoxon's signed-rank test, two-sided, with Holm's correction for the number of models.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path

import yaml
from rich.console import Console

from meshops.errors import InputError
from meshops.io import plain, write_text
from meshops.training.config import RunConfig

TRIAL = (10, 40)  # steps of two short runs, whose difference tells the time of a step
LEAST_CASES = 6  # below, Wilcoxon's test cannot reach 5 %

# Linux carries the largest memory of a process over to the one it starts; between ours, which holds torch, and the one
# that is measured stands a small one, which starts it and writes down what it took.
LAUNCHER = """
import json, os, subprocess, sys
process = subprocess.Popen(sys.argv[2:])
_, status, usage = os.wait4(process.pid, 0)
with open(sys.argv[1], "w") as file:
    json.dump({"seconds": usage.ru_utime + usage.ru_stime, "memory": usage.ru_maxrss}, file)
sys.exit(abs(os.waitstatus_to_exitcode(status)))
"""


@dataclass(frozen=True)
class Outcome:
    """One run.

    Attributes:
        model: Name in the contest.
        seed: Of the run.
        steps: Optimiser steps.
        weights: Learnable numbers.
        seconds: Processor seconds of the whole run, reading and judging included.
        train_seconds: Wall seconds of the training alone.
        memory: Largest resident memory, bytes.
        mean: Error by name, mean over the test cases.
        cases: The same of every case.
        baselines: Of what needs no training.
        title: What the errors are of.
        columns: Errors the report of its kind shows -> heading.
        train_processor: Processor seconds of the training alone; 0 in files from before these were counted.
    """

    model: str
    seed: int
    steps: int
    weights: int
    seconds: float
    train_seconds: float
    memory: int
    mean: Mapping[str, float | None]
    cases: Mapping[str, Mapping[str, float | None]]
    baselines: Mapping[str, Mapping[str, float | None]]
    title: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    train_processor: float = 0.0


@dataclass(frozen=True)
class Contest:
    """All runs of all models.

    Attributes:
        outcomes: In the order in which the models were given, then of the seeds.
        budget: What all had, in words.
    """

    outcomes: tuple[Outcome, ...]
    budget: str

    @property
    def models(self) -> tuple[str, ...]:
        """Names in the order in which they were given."""
        return tuple(dict.fromkeys(outcome.model for outcome in self.outcomes))

    @property
    def errors(self) -> dict[str, str]:
        """Errors that every run has -> heading, in the order of the report."""
        shown = self.outcomes[0].columns or {name: name for name in self.outcomes[0].mean}
        return {key: text for key, text in shown.items() if all(run.mean.get(key) is not None for run in self.outcomes)}

    def of(self, model: str) -> list[Outcome]:
        """The runs of one model."""
        return [outcome for outcome in self.outcomes if outcome.model == model]

    def spread(self, model: str, error: str) -> tuple[float, float]:
        """Mean and standard deviation (0 with one seed) over the seeds."""
        values = [float(run.mean[error] or 0.0) for run in self.of(model)]
        return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0

    def best(self, error: str) -> str:
        """The model of the least mean."""
        return min(self.models, key=lambda model: self.spread(model, error)[0])

    def worse(self, error: str) -> dict[str, float]:
        """For every other model the probability, corrected by Holm, of such differences if it were as good as the best.

        Empty where fewer than six cases were judged.
        """
        names = [name for name, row in self.outcomes[0].cases.items() if row.get(error) is not None]
        if len(names) < LEAST_CASES:
            return {}
        from scipy.stats import wilcoxon

        def per_case(model: str) -> list[float]:
            return [statistics.fmean(float(run.cases[name][error] or 0.0) for run in self.of(model)) for name in names]

        best = per_case(self.best(error))
        chances = {}
        for model in self.models:
            if model != self.best(error):
                apart = [a - b for a, b in zip(per_case(model), best, strict=True)]
                chances[model] = float(wilcoxon(apart).pvalue) if any(apart) else 1.0
        return holm(chances)


def holm(chances: Mapping[str, float]) -> dict[str, float]:
    """Probabilities corrected for their number (Holm 1979): sorted, times what is left, never falling."""
    out, largest = {}, 0.0
    for rank, name in enumerate(sorted(chances, key=lambda name: chances[name])):
        largest = max(largest, min(1.0, chances[name] * (len(chances) - rank)))
        out[name] = largest
    return {name: out[name] for name in chances}


def contest(
    runs: Mapping[str, RunConfig],
    out: str | Path,
    *,
    seeds: Sequence[int] = (0, 1, 2),
    seconds: float | None = None,
    steps: int | None = None,
    imports: Sequence[str] = (),
    console: Console | None = None,
) -> Contest:
    """Train every model with every seed and judge all on the same cases.

    Args:
        runs: Name -> settings; data, kind and task must be the same.
        out: Folder: a run folder per model and seed, ``runs.jsonl`` with what is done.
        seeds: Of everything random.
        seconds: Processor seconds of training each may take; its steps follow from two short trials.
        steps: Steps of all, instead of seconds. Neither: as the settings say.
        imports: Modules that register what the runs name.
        console: Where progress goes; None: nowhere.

    Raises:
        InputError: Runs that cannot be compared, or a run that failed.
    """
    screen, folder = console or Console(quiet=True), Path(out)
    if seconds is not None and steps is not None:
        raise InputError("give seconds or steps, not both: the one follows from the other")
    budget = (
        f"{seconds:g} CPU seconds of training" if seconds else f"{steps} steps" if steps else "steps as in each file"
    )
    check_alike(runs)
    folder.mkdir(parents=True, exist_ok=True)
    store = folder / "runs.jsonl"
    done = [json.loads(line) for line in store.read_text().splitlines()] if store.exists() else []
    found = []
    for name, config in runs.items():
        wanted = {"settings": plain(config.to_dict()), "budget": budget}
        number = steps
        for seed in seeds:
            kept = next(
                (row for row in done if (row["model"], row["seed"]) == (name, seed) and row["asked"] == wanted), None
            )
            if kept is None:
                if seconds is not None and number is None:
                    number = affordable(config, folder / f"{name}_trial", seconds, imports)
                chosen = replace(config.train, seed=seed, steps=number or config.train.steps)
                screen.print(f"{name}, seed {seed}: {chosen.steps} steps")
                outcome = run_one(name, replace(config, train=chosen), folder / f"{name}_{seed}", imports)
                kept = {**vars(outcome), "asked": wanted}
                with store.open("a") as file:
                    file.write(json.dumps(kept) + "\n")
            found.append(Outcome(**{key: value for key, value in kept.items() if key != "asked"}))
    return Contest(tuple(found), budget)


def check_alike(runs: Mapping[str, RunConfig]) -> None:
    """Refuse runs whose errors are not of the same thing.

    Raises:
        InputError: Fewer than two, or another kind, data or task.
    """
    if len(runs) < 2:
        raise InputError(f"{len(runs)} run: give two or more run files to compare")
    (first, one), *others = runs.items()
    for name, other in others:
        for part in ("kind", "data", "task"):
            a, b = getattr(one, part), getattr(other, part)
            if a != b:
                raise InputError(
                    f"{first} and {name} are not alike in {_differing(part, a, b)}; give the same for all, such as "
                    f"--data.root FOLDER"
                )
    if not one.data.test:
        raise InputError(f"{first}: data.test names no split to be judged on; give --data.test test")


def _differing(part: str, one: object, other: object) -> str:
    """Which settings differ, and how."""
    if not (is_dataclass(one) and is_dataclass(other) and type(one) is type(other)):
        return f"'{part}': {one} and {other}"
    names = [entry.name for entry in fields(one) if getattr(one, entry.name) != getattr(other, entry.name)]
    return ", ".join(f"'{part}.{name}': {getattr(one, name)!r} and {getattr(other, name)!r}" for name in names)


def affordable(config: RunConfig, folder: Path, seconds: float, imports: Sequence[str] = ()) -> int:
    """Steps that so many processor seconds pay for, by the difference of two short runs.

    Counted from the first step on: reading and features, which take longer than these steps, would drown it.
    """
    spent = []
    for count in TRIAL:
        short = replace(config, train=replace(config.train, steps=count), data=replace(config.data, test=""))
        spent.append(run_one("trial", short, folder, imports).train_processor)
    return steps_within(seconds, TRIAL, spent)


def steps_within(seconds: float, steps: Sequence[int], spent: Sequence[float]) -> int:
    """Steps that so many seconds pay for, when two runs of so many ``steps`` took ``spent`` seconds.

    A difference less than a tenth of what the longer run took a step is noise of the start, and that tenth is used.
    """
    each = max((spent[1] - spent[0]) / (steps[1] - steps[0]), 0.1 * spent[1] / steps[1], 1e-6)
    return max(1, int(seconds / each))


def measured(command: Sequence[str], log: Path) -> tuple[int, float, int]:
    """Run a command with its output in ``log``; exit code, processor seconds, largest memory (bytes)."""
    spent = log.with_suffix(".usage")
    with log.open("w") as sink:
        launched = [sys.executable, "-S", "-c", LAUNCHER, str(spent), *command]
        code = subprocess.run(launched, stdout=sink, stderr=subprocess.STDOUT, check=False).returncode
    if not spent.exists():  # killed with the small process itself
        return code or 1, 0.0, 0
    usage = json.loads(spent.read_text())
    spent.unlink()
    return code, float(usage["seconds"]), int(usage["memory"]) * (1 if sys.platform == "darwin" else 1024)


def run_one(name: str, config: RunConfig, folder: Path, imports: Sequence[str] = ()) -> Outcome:
    """``meshops train`` in a process of its own.

    Raises:
        InputError: It failed; its last line is passed on.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    file = folder.with_suffix(".yaml")
    write_text(file, yaml.safe_dump(plain(replace(config, out=str(folder)).to_dict()), sort_keys=False))
    command = [sys.executable, "-m", "meshops", "train", str(file), "--overwrite"]
    command += [part for module in imports for part in ("--import", module)]
    log = folder.with_suffix(".log")
    begin = time.perf_counter()
    code, seconds, memory = measured(command, log)
    if code != 0:
        last = (log.read_text(errors="replace").strip().splitlines() or ["no output"])[-1]
        raise InputError(f"{name}: the run ended with code {code}: {last} (all of it: {log})")
    report = json.loads((folder / "metrics.json").read_text())
    from meshops.surrogate import load

    surrogate = load(str(folder / "model.ckpt"))
    return Outcome(
        model=name,
        seed=config.train.seed,
        steps=config.train.steps,
        weights=int(surrogate.info["model"]["weights"]),  # type: ignore[index, call-overload, arg-type]
        seconds=round(seconds, 1),
        train_seconds=float(report.get("seconds", {}).get("train", time.perf_counter() - begin)),
        train_processor=float(report["processor_seconds"]["train"]),
        memory=memory,
        mean=report["mean"],
        cases=report["cases"],
        baselines=report.get("baselines", {}),
        title=report.get("title", ""),
        columns=report.get("columns", {}),
    )
