"""A training run of any kind, from its settings (and one's own data) to its folder."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from rich.console import Console
from torch import nn

from meshops import ranks
from meshops.datasets import open_data
from meshops.errors import InputError
from meshops.io import no_room, read_json
from meshops.surrogate import Surrogate, load
from meshops.surrogate.base import software
from meshops.tasks import get_task
from meshops.tasks.base import CaseSource, Context, Plain, Samples, Task
from meshops.tasks.build import build_model
from meshops.tasks.fields import FieldsTask
from meshops.tasks.fields_samples import FieldsSamples
from meshops.tasks.report import Report
from meshops.training.config import DataConfig, RunConfig, TrainConfig, setting
from meshops.training.folder import open_folder
from meshops.training.storing import stored
from meshops.trust import Novelty

SHOWN = 8  # names of test cases on the screen


@dataclass(frozen=True, eq=False)
class RunResult:
    """What a run leaves.

    Attributes:
        folder: The run's folder.
        surrogate: The trained surrogate, also in ``folder / "model.ckpt"``.
        report: Its errors, also in ``metrics.json``; without a test split only the seconds.
    """

    folder: Path
    surrogate: Surrogate
    report: Report


def train(
    config: RunConfig,
    *,
    data: CaseSource | None = None,
    test: CaseSource | None = None,
    resume: bool = False,
    overwrite: bool = False,
    console: Console | None = None,
) -> RunResult:
    """Train a surrogate, write it, judge it on the test cases, write the errors.

    Processes that ``torchrun`` started are one run: they share out the batches and the cases it is judged on, have to
    see the same data, and the first one writes.

    Args:
        config: Settings.
        data: Training cases: a data set, or a list of PyG ``Data``; None: those the settings name.
        test: Cases it is judged on; None: those the settings name, or none where ``data`` was given.
        resume: Continue the run in ``config.out`` exactly where it stopped.
        overwrite: Remove the run that is in ``config.out``.
        console: Where progress goes; None: silent.

    Raises:
        InputError: A setting, a file or a folder cannot be used.
        Stopped: Ctrl-C or SIGTERM; the run can be resumed.
    """
    screen = console if console is not None and ranks.is_first() else Console(quiet=True)
    _check_started(config.train)
    with (
        ranks.joined(),
        open_folder(config, resume=resume, overwrite=overwrite) as folder,
        no_room(folder),
    ):
        if resume and (done := _finished(folder)) is not None:
            screen.print(f"{folder}: the run is finished already; nothing to resume")
            return done
        torch.manual_seed(config.train.seed)
        if config.train.strategy == "patches" and config.kind != "fields":
            raise InputError(f"train.strategy 'patches' is for fields of one mesh, not for '{config.kind}'; use ddp")
        clock, device = Clock(), device_of(config.train)
        source = stored(config, folder, resume=resume, console=screen) if data is None else config.data
        cases = _cases(source, source.train) if data is None else data
        start = setting(config, "start")
        begun = load(str(start)).task if start else None
        context = Context(config.train.validation, begun, screen, folder, device, reuse=resume)
        kind = get_task(config.kind)
        samples = _samples(kind, cases, config, context)
        task = _task(kind, config, samples, screen)
        clock.tick("prepare")
        from meshops.training.agree import agree  # Lightning takes seconds to import
        from meshops.training.fit import fit

        agree(task, samples, config)
        fit(task, samples, config.train, folder, resume=resume, console=screen)
        clock.tick("train")
        surrogate = _finish(task, samples, config, context, clock)
        ranks.by_first(lambda: surrogate.save(folder / "model.ckpt"))
        if test is None and data is None and config.data.test:
            test = _cases(source, source.test)
        report = Report(surrogate.kind, "not judged: no test cases", {})
        if test is not None:
            screen.print(f"test: {len(test)} held-out cases{_named(test)}")
            report = surrogate.evaluate(test, training=cases, context=_judging(context))
            clock.tick("test")
        report.seconds, report.processor_seconds = clock.seconds, clock.processor
        ranks.by_first(lambda: _write(surrogate, report, folder, screen))
        return RunResult(folder, surrogate, report)


class Clock:
    """Seconds of each part of a run, and those of the processor."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.processor: dict[str, float] = {}
        self._last, self._spent = time.perf_counter(), time.process_time()

    def tick(self, name: str) -> None:
        """The time since the last tick was spent on ``name``."""
        now, spent = time.perf_counter(), time.process_time()
        self.seconds[name], self._last = round(now - self._last, 1), now
        self.processor[name], self._spent = round(spent - self._spent, 3), spent


def device_of(config: TrainConfig) -> torch.device:
    """Where a run works.

    Raises:
        InputError: The hardware that is named is not there.
    """
    gpu = config.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    missing = config.accelerator == "mps" and not torch.backends.mps.is_available()
    if missing or (config.accelerator in ("gpu", "cuda") and not gpu):
        raise InputError(
            f"train.accelerator '{config.accelerator}': this machine has no such device that PyTorch can use; "
            "use cpu or auto"
        )
    if gpu and ranks.count() > 1:
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cuda" if gpu else "cpu")


def count_weights(model: nn.Module) -> int:
    """Learnable numbers of a model."""
    return sum(p.numel() for p in model.parameters())


def _judging(context: Context) -> Context:
    """Nothing is read again; the first process alone draws."""
    return replace(context, reuse=False, folder=context.folder if ranks.is_first() else None)


def _check_started(config: TrainConfig) -> None:
    """Refuse a number of processes, or a way to share a model, that was not started."""
    if ranks.started() == 1 and config.devices > 1:
        raise InputError(
            f"train.devices {config.devices} takes that many processes: start them with torchrun --nproc-per-node "
            f"{config.devices} -m meshops train RUN.yaml"
        )
    if ranks.started() == 1 and config.strategy != "auto":
        raise InputError(
            f"train.strategy '{config.strategy}' is for several processes: start them with torchrun --nproc-per-node N "
            "-m meshops train RUN.yaml, or leave it at auto"
        )


def _samples(kind: type[Task], cases: CaseSource, config: RunConfig, context: Context) -> Samples:  # type: ignore[type-arg]
    """Samples, made by all ranks at once; in turn where they are kept in files that the others then find."""
    kept = getattr(cases, "keeps", None) is not None or config.kind == "generate"
    if not kept or ranks.count() == 1:
        made: Samples = ranks.by_all(lambda: kind.samples(cases, config.task, context))
        return made
    later = context if ranks.is_first() else replace(context, reuse=True)
    made = ranks.in_turn(lambda: kind.samples(cases, config.task, later))
    return made


def _cases(config: DataConfig, split: str) -> CaseSource:
    return open_data(config.name, root=config.root, split=split, **config.options)


def _named(cases: CaseSource) -> str:
    """Which cases, so that nobody has to guess the split."""
    names = [str(name) for name in getattr(cases, "cases", ())]
    return f" ({', '.join(names[:SHOWN])}{', ...' if len(names) > SHOWN else ''})" if names else ""


def _task(kind: type[Task], config: RunConfig, samples: Samples, screen: Console) -> Task:  # type: ignore[type-arg]
    screen.print(f"data: {samples.describe()}")
    if samples.begun is not None:
        task = samples.begun
    else:
        torch.manual_seed(config.train.seed)  # a new model does not depend on what was loaded before it
        model, made = build_model(config.model, samples.spec.model_arguments(), samples.offers)
        task = kind.fit(model, samples, config.task)
        task.made = made
    screen.print(f"model: {task.made.name}, {count_weights(task.model) / 1e6:.2f} M weights")
    for note in samples.notes():
        screen.print(f"note: {note}")
    return task


def _finish(task: Task, samples: Samples, config: RunConfig, context: Context, clock: Clock) -> Surrogate:  # type: ignore[type-arg]
    """The surrogate, before it is judged."""
    task.to(context.device).eval()
    for line in task.finished(samples, context):
        context.console.print(line)
    data: dict[str, Plain] = {"name": config.data.name, "training cases": samples.cases}
    if notes := samples.notes():
        data["decided"] = "; ".join(notes)
    run: dict[str, Plain] = {
        "date": time.strftime("%Y-%m-%d"),
        "steps": config.train.steps,
        "minutes": round(clock.seconds["train"] / 60, 1),
        "threads": config.train.threads or torch.get_num_threads(),
    }
    info: dict[str, Plain] = {
        "data": data,
        "model": {"weights": count_weights(task.model)},
        "run": run,
        "software": software(),
    }
    novelty = None
    if isinstance(task, FieldsTask) and isinstance(samples, FieldsSamples):
        novelty = Novelty.of(task, samples)
    return Surrogate(task, info, novelty)


def _write(surrogate: Surrogate, report: Report, folder: Path, screen: Console) -> None:
    surrogate.info["held_out"] = {"mean": report.mean, "baselines": report.baselines}
    surrogate.save(folder / "model.ckpt")
    report.write(folder / "metrics.json")
    report.write_page(folder / "errors.html")
    pictures = "".join(f", {path.name}" for path in report.pictures)
    screen.print(f"written to {folder}: model.ckpt, metrics.json, errors.html{pictures}")


def _finished(folder: Path) -> RunResult | None:
    """A run that was judged already."""
    metrics, model = folder / "metrics.json", folder / "model.ckpt"
    if not metrics.is_file() or not model.is_file():
        return None
    advice = "remove it, and --resume judges the run again"
    found = read_json(metrics, advice)
    if not isinstance(found, dict) or not {"kind", "mean"} <= found.keys():
        raise InputError(
            f"{metrics}: damaged, it holds no errors of a run; remove it, and --resume judges the run again"
        )
    kept = ("cases", "baselines", "curves", "details", "seconds", "processor_seconds")
    known = {key: found[key] for key in kept if key in found}
    return RunResult(folder, load(model), Report(found["kind"], found.get("title", ""), found["mean"], **known))
