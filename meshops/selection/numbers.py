"""A fit of results without fields: shapes, conditions and a table of what came out.

Every case is predicted by regressions that did not see it, so that no outer split is needed and few cases are all
learnt from; where a study names cases to test on, these judge and the others are learnt from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from meshops.data.outline import length, outline
from meshops.datasets.base import CaseDataset
from meshops.datasets.subset import CaseSubset
from meshops.doctor.findings import Finding
from meshops.errors import InputError, listing
from meshops.io import write_json
from meshops.selection.config import FitConfig
from meshops.selection.folder import fit_folder
from meshops.selection.folds import split_cases
from meshops.surrogate import Surrogate
from meshops.tasks.base import Plain
from meshops.tasks.numbers import NumbersSpec, NumbersTask
from meshops.tasks.report import Report, means
from meshops.trust import Trust
from meshops.trust.conformal import highest_level, radius
from meshops.trust.numbers import FEWEST, NumberModel
from meshops.trust.of_numbers import number_trust, shape_novelty

Array = NDArray[np.float64]
FOLDS = 10
MOSTLY = 0.8  # of the cases have a result that is learnt; those without it are left out
SAME_SHAPE = 1e-6  # of its size: what differs less is rounding


@dataclass(frozen=True, eq=False)
class NumbersFit:
    """What a fit of results leaves.

    Attributes:
        folder: With ``model.ckpt``, ``metrics.json`` and ``report.html``.
        surrogate: Of kind ``numbers``.
        report: Its errors on cases that were held out, beside every source and the mean.
        notes: What the user should know.
    """

    folder: Path
    surrogate: Surrogate
    report: Report
    notes: tuple[str, ...]

    def lines(self) -> list[str]:
        """What each result rests on."""
        trust = self.surrogate.trust
        assert trust is not None
        return [f"{model.name}: {model.basis()}" for model in trust.numbers]


def fit_numbers(
    data: CaseDataset, config: FitConfig, *, resume: bool = False, overwrite: bool = False,
    console: Console | None = None, about: Mapping[str, Plain] | None = None, notes: Sequence[str] = (),
    findings: Sequence[Finding] = (),
) -> NumbersFit:  # fmt: skip
    """The best regressions of each result; arguments as for :func:`meshops.selection.fit`.

    Raises:
        InputError: Too few cases, no result that differs, or a setting or the folder cannot be used.
    """
    screen = console or Console(quiet=True)
    if config.start or config.networks:
        raise InputError(
            "these cases have no fields: 'start' and 'networks' are for surrogates of fields, leave them out"
        )
    settings: dict[str, Plain] = {**asdict(config), "cases": list(data.cases)}
    settings.pop("out")
    with fit_folder(Path(config.out), settings, resume=resume, overwrite=overwrite) as folder:
        kept, names, said = _results(data, config)
        told = _conditions(data, kept, config)
        rows, shapes, sizes = _read(data, kept, told, screen)
        shape = bool((np.ptp(shapes, axis=0) > SAME_SHAPE * np.maximum(np.abs(shapes).max(0), 1)).any())
        if not shape and not told:
            raise InputError(
                f"the {len(kept)} shapes are the same and no condition differs: there is nothing that results could "
                "follow from; give what was varied as a column of the table"
            )
        truth = {name: np.array([data.numbers_of(i)[name] for i in kept]) for name in names}
        groups = config.group_of([data.cases[i] for i in kept])
        tested = [] if isinstance(config.test, float | int) else config.judges(data.cases)
        judges = [row for row, i in enumerate(kept) if i in tested]  # type: ignore[operator]
        learn = [row for row in range(len(kept)) if row not in judges]
        if len(learn) < FEWEST:
            raise InputError(
                f"{len(learn)} cases are too few to learn results from: at least {FEWEST} with a row in the table are "
                "needed, and nine for intervals of 90 %"
            )
        first = data[kept[0]]
        spec = NumbersSpec(
            fields=(), sizes=(), units=(), dim=first.pos.shape[1], conditions=told, numbers=names,
            quantity_units=tuple(data.quantity_units.get(name, "") for name in (*told, *names)),
            location="cell" if first.get("location") == "cell" else "point",
        )  # fmt: skip
        task = NumbersTask(torch.nn.Identity(), spec)
        folds = split_cases([groups[row] for row in learn], test=0.0, seed=config.seed, num_folds=FOLDS).folds
        known = [data.cases[kept[row]] for row in learn]
        novelty = shape_novelty(task, known, rows[learn], shapes[learn] if shape else None, sizes[learn])
        vectors = np.concatenate([rows, shapes], 1)[learn] if shape else rows[learn]
        own = {name: values[learn] for name, values in truth.items()}
        screen.print(f"{len(learn)} cases, {vectors.shape[1]} numbers of each, results {listing(names)}; "
                     f"{len(folds)} folds")  # fmt: skip
        trust = number_trust(task, known, vectors, own, folds, novelty, shape=shape)
        surrogate = Surrogate(task, {}, novelty, trust)
        report = _judged(surrogate, CaseSubset(data, tuple(kept[row] for row in judges))) if judges else held_out(trust)
        surrogate.info["data"] = {**dict(about or {}), "training cases": len(learn), "cases that judged": len(judges)}
        surrogate.info["held_out"] = {"mean": report.mean, "baselines": report.baselines}
        surrogate.save(folder / "model.ckpt")
        report.lines += skill(trust)
        said += [] if highest_level(len(learn)) >= 0.9 else [f"{len(learn)} cases support intervals of "
                 f"{100 * highest_level(len(learn)):.0f} %; nine are needed for 90 %"]  # fmt: skip
        result = NumbersFit(folder, surrogate, report, tuple([*notes, *said, *map(str, findings)]))
        _write(result)
        for note in said:
            screen.print(f"note: {note}")
        return result


def held_out(trust: Trust) -> Report:
    """Errors of every case, by regressions that did not see it, beside those of each source alone."""
    rows = {
        case: {key: v for m in trust.numbers for key, v in ((f"{m.name}_error", float(abs(m.residuals[i]))),
                (f"{m.name}_reported", float(m.truth[i])), (m.name, float(m.found[i])))}
        for i, case in enumerate(trust.cases)
    }  # fmt: skip
    sources = dict.fromkeys(source for m in trust.numbers for source in m.errors if source != "blend")
    return Report(
        kind="numbers",
        title=f"absolute error, mean of {len(rows)} cases, each held out",
        mean=means(rows),  # type: ignore[arg-type]
        cases=rows,  # type: ignore[arg-type]
        baselines={
            source if source == "constant" else f"  {source}": {  # parts of the blend are no yardsticks
                f"{m.name}_error": m.errors.get(source) for m in trust.numbers
            }
            for source in sources
        },
        columns={f"{m.name}_error": f"{m.name} [{m.unit}]" if m.unit else m.name for m in trust.numbers},
    )


def skill(trust: Trust) -> list[str]:
    """How much of what varies each result explains, and half its interval."""
    out, level = [], highest_level(len(trust.cases))
    for model in trust.numbers:
        left = float((model.residuals**2).sum() / max(((model.truth - model.truth.mean()) ** 2).sum(), 1e-300))
        unit = f" {model.unit}" if model.unit else ""
        half = (
            f", intervals of {100 * level:.0f} % ± {radius(np.abs(model.residuals), level):.2g}{unit}" if level else ""
        )
        words = f"R2 {1 - left:.2f}" if left < 1 else "no better than the mean"
        out.append(f"{model.name}: {words} on held-out cases{half}")
    return out


def _results(data: CaseDataset, config: FitConfig) -> tuple[list[int], tuple[str, ...], list[str]]:
    """Cases and results to learn, and what was left out."""
    tables, said = [data.numbers_of(i) for i in range(len(data))], []
    every = list(dict.fromkeys(name for row in tables for name in row))
    if missing := [name for name in config.numbers or () if name not in every]:
        raise InputError(f"no case has the number {listing(missing)}; there are {listing(every)}")
    names = []
    for name in config.numbers or every:
        values = [row[name] for row in tables if np.isfinite(row.get(name, np.nan))]
        if len(values) < MOSTLY * len(tables) and config.numbers is None:
            said.append(f"'{name}' is left out: {len(values)} of {len(tables)} cases have it")
        elif len(set(values)) < 2:
            said.append(f"'{name}' is left out: it is the same in all cases")
        else:
            names.append(name)
    if not names:
        raise InputError(f"no result to learn: {'; '.join(said) or 'the tables state none'}")
    kept = [i for i, row in enumerate(tables) if all(np.isfinite(row.get(name, np.nan)) for name in names)]
    if lost := [data.cases[i] for i in range(len(data)) if i not in kept]:
        said.append(f"{len(lost)} cases are left out, they lack a result: {listing(lost, 4)}")
    return kept, tuple(names), said


def _conditions(data: CaseDataset, kept: Sequence[int], config: FitConfig) -> tuple[str, ...]:
    """Conditions that differ, or those that are wanted."""
    rows = [data.conditions_of(i) for i in kept]
    shared = [name for name in rows[0] if all(name in row for row in rows)] if rows else []
    if config.conditions is None:
        return tuple(name for name in shared if len({row[name] for row in rows}) > 1)
    if missing := [name for name in config.conditions if name not in shared]:
        raise InputError(f"not every case states the condition {listing(missing)}; all state {listing(shared)}")
    return config.conditions


def _read(data: CaseDataset, kept: Sequence[int], told: Sequence[str], screen: Console) -> tuple[Array, Array, Array]:
    """``[m, k]`` conditions, ``[m, v]`` outlines and ``[m]`` longest sides; every case is read once."""
    from meshops.progress import followed

    rows, shapes, sizes = [], [], []
    for i in followed(list(kept), "reading", screen):
        graph, known = data[i], data.conditions_of(i)
        rows.append([known[name] for name in told])
        shapes.append(outline(graph))
        sizes.append(length(graph))
    widths = sorted({len(row) for row in shapes})
    if len(widths) > 1:
        raise InputError(
            f"some cases are surfaces and others are not (outlines of {listing(widths)} numbers); give alike ones"
        )
    return np.array(rows, dtype=np.float64).reshape(len(kept), len(told)), np.stack(shapes), np.array(sizes)


def _judged(surrogate: Surrogate, cases: CaseDataset) -> Report:
    """Errors on cases that chose nothing, beside the mean of those that were learnt from."""
    report = surrogate.evaluate(cases)
    assert surrogate.trust is not None
    report.title = f"absolute error, mean of {len(cases)} cases that nothing was chosen by"
    report.baselines["constant"] = {f"{m.name}_error": _constant(m, report) for m in surrogate.trust.numbers}
    return report


def _constant(model: NumberModel, report: Report) -> float | None:
    known = [float(v) for row in report.cases.values() if (v := row.get(f"{model.name}_reported")) is not None]
    return float(np.abs(np.array(known) - model.truth.mean()).mean()) if known else None


def _write(result: NumbersFit) -> None:
    from meshops.viz.parity import parity_picture  # matplotlib

    trust = result.surrogate.trust
    assert trust is not None
    level = highest_level(len(trust.cases))
    for model in trust.numbers:
        half = radius(np.abs(model.residuals), level) if level else None
        result.report.pictures.append(
            parity_picture(
                model.truth, model.found, result.folder, name=model.name, unit=model.unit, half=half, level=level
            )
        )
    write_json(result.folder / "metrics.json", {**result.report.to_dict(), "notes": list(result.notes)})
    result.report.write_page(result.folder / "report.html")
