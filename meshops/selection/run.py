"""A fit from the cases to its folder: split, search, numbers, a judgement nobody chose by, and the report."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from torch import nn

from meshops.datasets.base import CaseDataset
from meshops.datasets.subset import CaseSubset
from meshops.doctor.findings import Finding
from meshops.errors import InputError, Stopped, listing
from meshops.selection.config import FitConfig
from meshops.selection.curve import learning_curve
from meshops.selection.folder import fit_folder
from meshops.selection.folds import FEW, Split, split_cases
from meshops.selection.result import FitResult
from meshops.selection.scores import Truth
from meshops.selection.search import Found, Search, assemble, yardstick_tasks
from meshops.selection.started import fields_of, join, started
from meshops.selection.trusted import trusted, trusted_going_on
from meshops.surrogate import Surrogate
from meshops.surrogate.base import software
from meshops.tasks.base import CaseSource, Context, Plain
from meshops.tasks.build import check_takes
from meshops.tasks.fields import FieldsTask
from meshops.tasks.fields_samples import FieldsSamples, as_cases
from meshops.tasks.fields_spec import FieldsSettings
from meshops.tasks.prepared import have
from meshops.tasks.report import Report
from meshops.trust import Novelty, Trust, support
from meshops.viz.report import Table

WHOLE = 8192  # nodes up to which cases that are no bodies are learnt whole
SUBSET = 2048
FLAT = 0.2  # standard deviation over mean below which a relative error says little


def fit(
    data: CaseSource,
    config: FitConfig | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    console: Console | None = None,
    about: Mapping[str, Plain] | None = None,
    notes: Sequence[str] = (),
    findings: Sequence[Finding] = (),
) -> FitResult:
    """The best surrogate of finished cases that the time allows.

    Args:
        data: A data set, or a list of PyG ``Data``.
        config: Settings.
        resume: Go on with the fit in ``config.out``.
        overwrite: Remove the fit that is there.
        console: Where progress goes; None: nowhere.
        about: Facts about the data for the checkpoint.
        notes: What else the user should know of the data.
        findings: Of the run doctor, for the report.

    Raises:
        InputError: The cases, a setting or the folder cannot be used.
        Stopped: Ctrl-C or SIGTERM; the best so far was written, and the fit can be resumed.

    Example:
        >>> result = fit(cases, FitConfig(minutes=5, out="runs/mine"))  # doctest: +SKIP
        >>> result.surrogate.predict("new.vtu")  # doctest: +SKIP
    """
    config, screen = config or FitConfig(), console or Console(quiet=True)
    cases = as_cases(data)
    split = _split(cases, config)
    settings: dict[str, Plain] = {**asdict(config), "cases": list(cases.cases)}
    for free in ("out", "store"):
        settings.pop(free)
    with fit_folder(Path(config.out), settings, resume=resume, overwrite=overwrite) as folder:
        start = time.perf_counter()
        result = _fit(cases, config, split, folder, screen, dict(about or {}), notes)
        result.report.seconds["total"] = round(time.perf_counter() - start, 1)
        write_results(result, cases, findings)
        if result.found.stopped is not None:
            stop = result.found.stopped
            raise Unfinished(stop.signal, folder)
        return result


class Unfinished(Stopped):
    """A fit was stopped; the best so far is in its folder.

    Args:
        signal: That stopped it.
        folder: Of the fit.
    """

    def __init__(self, signal: int, folder: Path) -> None:
        super().__init__(signal, 0, folder)
        self.args = (f"stopped; the best so far is {folder / 'model.ckpt'}; go on with the same command and --resume",)


def _split(cases: CaseDataset, config: FitConfig) -> Split:
    if len(cases) < 2:
        raise InputError(f"{len(cases)} case: at least two are needed, one to learn from and one to judge by")
    return split_cases(config.group_of(cases.cases), test=config.judges(cases.cases), seed=config.seed)


def _fit(
    cases: CaseDataset,
    config: FitConfig,
    split: Split,
    folder: Path,
    screen: Console,
    about: dict[str, Plain],
    more: Sequence[str],
) -> FitResult:
    learning = CaseSubset(cases, split.learn)
    _chosen_numbers(learning, config)
    if config.start:
        config = replace(config, fields=fields_of(config.start))
    settings, notes = _settings(learning, config), [*more]
    notes += _remarks(cases, split, drawn=isinstance(config.test, float | int), going_on=bool(config.start))
    context = Context(console=screen, folder=folder)
    torch.manual_seed(config.seed)
    samples = FieldsTask.samples(learning, settings, context)
    if any(have(samples.graphs, "y_use")):
        raise InputError(
            "some fields of these cases exist at part of the nodes only, such as the pressure on a wall, and fit "
            "compares models at nodes that have all; train one network instead, e.g. models/mspt/ahmed_joint_cpu.yaml"
        )
    for name in config.networks or ():
        check_takes(name, samples.offers)
    task = FieldsTask.fit(nn.Identity(), samples, settings)
    notes += _offsets(task)
    screen.print(f"{samples.describe()}; {len(split.folds)} folds, {len(split.test)} cases judge the winner")
    for note in (*samples.notes(), *notes):
        screen.print(f"note: {note}")
    networks = () if len(cases) < FEW else config.networks
    search = Search(task, samples, split, 60 * config.minutes, folder / "work", screen, config.seed, networks)
    found, carried = search.run()
    going_on = started(config.start, search, learning) if config.start else None
    known: tuple[Trust | None, Trust | None] = (None, None)
    if going_on is not None and join(found, going_on):
        made, samples = going_on.task, going_on.samples
        novelty = Novelty.of(made, samples)
        known = trusted_going_on(made, learning, samples, going_on.choice, novelty, config.numbers)
    else:
        made = assemble(search, found, carried)
        novelty = Novelty.of(made, samples)
        known = trusted(
            made, learning, samples, found, Truth.of(search.task, search.samples.graphs), novelty, split, config.numbers
        )
    screen.print("not calibrated: nothing was held out" if known[0] is None else f"calibrated: {support(known[0])}")
    surrogate = Surrogate(made, _info(samples, found, split, about), novelty, *known)
    surrogate.save(folder / "model.ckpt")
    report = _judge(surrogate, cases, split, found, yardstick_tasks(search, carried))
    curve = learning_curve(search, found, carried)
    surrogate.info["held_out"] = {"mean": report.mean, "baselines": report.baselines}
    surrogate.save(folder / "model.ckpt")
    return FitResult(folder, surrogate, report, found, split, curve, (*samples.notes(), *notes))


def _settings(cases: CaseDataset, config: FitConfig) -> FieldsSettings:
    """Bodies in a flow are learnt from subsets of their nodes, others whole while they are small."""
    first = cases[0]
    solid = first.pos.shape[1] == 3 and first.num_cells > 0
    body = config.geometry == "body" or (config.geometry == "auto" and solid and cases.flow_stated)
    large = max(cases.nodes_of(i) for i in range(len(cases))) > WHOLE
    return FieldsSettings(
        fields=config.fields,
        nodes=1024 if body else SUBSET if large else 0,
        passes=2,
        mesh_cues=body and first.get("location") == "cell",
        hide_cues=0.15,
        radii=(0.02, 0.04, 0.08, 0.16, 0.32),
        potential_change=True,
        max_sources=4096,
        loss=("relative_l2",),
        conditions=config.conditions,
        geometry=config.geometry,
        shape=True,
    )


def _remarks(cases: CaseDataset, split: Split, *, drawn: bool, going_on: bool) -> list[str]:
    notes = []
    if len(cases) < FEW and going_on:
        notes.append(f"{len(cases)} cases: beside what goes on from the start only yardsticks were compared")
    elif len(cases) < FEW:
        notes.append(
            f"{len(cases)} cases are too few to choose a model by: only yardsticks were compared, each case held out "
            f"in turn; from {FEW} cases on more is tried"
        )
    elif split.test:
        names = [cases.cases[i] for i in split.test]
        how = "at random " if drawn else ""
        notes.append(f"held out {how}to judge the winner, and not learnt from: {listing(names, 6)}")
    return notes


def _offsets(task: FieldsTask) -> list[str]:
    """Fields that hardly vary beside their mean, such as an absolute pressure: relative errors flatter there."""
    norm, out = task.output_norm, []
    for name, channels in task.spec.slices().items():
        share = float(norm.scale[channels].norm() / norm.shift[channels].norm().clamp(min=1e-30))
        if channels.stop - channels.start == 1 and share < FLAT:
            out.append(
                f"'{name}' varies by {100 * share:.2g} % about its mean: relative errors are small by that alone; its "
                "R2 in metrics.json tells more"
            )
    return out


def _chosen_numbers(cases: CaseDataset, config: FitConfig) -> None:
    """See that the wanted numbers are there.

    Raises:
        InputError: Not every case has one.
    """
    shared = set.intersection(*(set(cases.numbers_of(i)) for i in range(len(cases))))
    if missing := [name for name in config.numbers or () if name not in shared]:
        raise InputError(f"not every case has the number {listing(missing)}; all have {listing(sorted(shared))}")


def _judge(
    surrogate: Surrogate, cases: CaseDataset, split: Split, found: Found, yardsticks: Mapping[str, FieldsTask]
) -> Report:
    """Errors on the outer split beside yardsticks; without one, those of cross-validation."""
    if split.test:
        held = CaseSubset(cases, split.test)
        report = surrogate.evaluate(held)
        report.title = f"relative L2 error, mean of {len(held)} cases that nothing was chosen by"
        for name, task in yardsticks.items():
            report.baselines[name] = task.evaluate(held).mean
        return report
    assert isinstance(surrogate.task, FieldsTask)
    keys = [f"{surrogate.task.spec.short(name)}_rel_l2" for name in surrogate.task.spec.fields]
    names = [cases.cases[i] for i in split.learn]
    leader = found.candidates[0]
    known = zip(names, leader.errors, strict=True) if len(names) == len(leader.errors) else ()
    rows = {name: {key: float(v) for key, v in zip(keys, row, strict=True)} for name, row in known}
    others = {c.name: dict(zip(keys, map(float, c.errors.mean(0)), strict=True)) for c in found.candidates[1:]}
    mean = dict(zip(keys, map(float, leader.errors.mean(0)), strict=True))
    columns = {key: key.removesuffix("_rel_l2") for key in keys}
    title = (
        f"relative L2 error by cross-validation over {len(names)} cases, which also chose, so that it is optimistic; "
        f"of the best single candidate, {leader.name}"
    )
    return Report("fields", title, dict(mean), {k: dict(v) for k, v in rows.items()}, others, columns=columns)  # type: ignore[arg-type]


def _info(samples: FieldsSamples, found: Found, split: Split, about: dict[str, Plain]) -> dict[str, Plain]:
    data: dict[str, Plain] = {**about, "training cases": samples.cases, "cases that judged": len(split.test)}
    if notes := samples.notes():
        data["decided"] = "; ".join(notes)
    chosen = {name: [round(float(w), 4) for w in np.atleast_1d(weights)] for name, weights in found.blend.items()}
    return {
        "data": data,
        "model": {"chosen": ", ".join(chosen), "weights": chosen},
        "run": {"date": time.strftime("%Y-%m-%d")},
        "software": software(),
    }


def write_results(result: FitResult, cases: CaseDataset, findings: Sequence[Finding] = ()) -> None:
    """Write numbers and report."""
    from meshops.io import write_json
    from meshops.selection.report import write_fit_report

    candidates = {c.name: {"error": c.score, "note": c.note} for c in result.found.candidates}
    trust = result.surrogate.trust
    content = {
        **result.report.to_dict(),
        "chosen": {name: list(map(float, np.atleast_1d(w))) for name, w in result.found.blend.items()},
        "cross_validation": {"error": result.found.score, "candidates": candidates},
        "numbers": None
        if trust is None
        else {m.name: {"errors": dict(m.errors), "weights": dict(m.weights), "unit": m.unit} for m in trust.numbers},
        "learning_curve": result.curve.to_dict(),
        "split": {"test": [cases.cases[i] for i in result.split.test], "learn": len(result.split.learn)},
        "notes": list(result.notes),
    }
    write_json(result.folder / "metrics.json", content)
    table = None
    if findings:
        rows = [[f.severity, f.case or "all", f.what, f.evidence, f.cure] for f in findings]
        table = Table(["", "case", "what", "evidence", "what to do"], rows)
    write_fit_report(result, cases, findings=table)
