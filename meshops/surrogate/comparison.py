"""Two or more designs side by side: numbers with intervals, a verdict for each pair, pictures of what differs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meshops.data.shape import between
from meshops.errors import InputError
from meshops.io import write_json
from meshops.surrogate.base import UNCALIBRATED, Surrogate
from meshops.surrogate.outputs import WORDS
from meshops.tasks.fields import FieldsTask
from meshops.tasks.numbers import NumbersTask
from meshops.tasks.prediction import Prediction
from meshops.trust import Trust
from meshops.trust.calibration import CONTRADICTS
from meshops.trust.compare import Difference, Record, compared, ranking, record
from meshops.trust.field_widths import node_places
from meshops.viz.case import file_part
from meshops.viz.report import ReportData, Table, write_report

AREA = 0.005  # of itself: reference areas that differ by more are told


@dataclass(frozen=True, eq=False)
class Comparison:
    """What comparing designs came to.

    Attributes:
        made: Prediction of each design, by its name.
        pairs: Difference of every number of every pair.
        records: How verdicts on pairs of held-out cases went, by number.
        level: Of intervals and verdicts.
        notes: What the user should know.
    """

    made: Mapping[str, Prediction]
    pairs: Sequence[Difference]
    records: Mapping[str, Record]
    level: float
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Numbers, verdicts and how verdicts went, for the terminal."""
        out = []
        for name, prediction in self.made.items():
            told = ", ".join(f"{key} {number}" for key, number in prediction.numbers.items())
            placed = "" if prediction.verdict is None else f", {prediction.verdict.level} the training set"
            out.append(f"{name}: {told}{placed.replace('edge the', 'at the edge of the')}")
        out += [sentence(pair) for pair in self.pairs]
        if len(self.made) > 2:
            for number in dict.fromkeys(pair.number for pair in self.pairs):
                out.append(f"{number}, smallest first: {', '.join(ranking(self.made, number))}")
        return out + [found.sentence(number, self.level) for number, found in self.records.items()]

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "designs": {name: prediction.to_dict() for name, prediction in self.made.items()},
            "pairs": [pair.to_dict() for pair in self.pairs],
            "ranking": {p.number: ranking(self.made, p.number) for p in self.pairs},
            "held_out": {number: found.to_dict() for number, found in self.records.items()},
            "level": self.level,
            "notes": list(self.notes),
        }


def sentence(pair: Difference) -> str:
    """A verdict in words."""
    unit = f" {pair.unit}" if pair.unit else ""
    half = (pair.high - pair.low) / 2
    digits = f".{max(0, 1 - int(np.floor(np.log10(half))))}f" if 1e-6 < half < 1e4 else ".3g"
    ends = f"{pair.difference:+{digits}} ({pair.low:+{digits}} to {pair.high:+{digits}}){unit}"
    likely = max(pair.probability, 1 - pair.probability)
    verdict = {
        "larger": f"{pair.a} is larger, {_sure(likely)} sure",
        "smaller": f"{pair.a} is smaller, {_sure(likely)} sure",
        "too close to call": f"too close to call ({100 * likely:.0f} %)",
        "the same": "the same design to the surrogate",
    }[pair.call]
    return f"{pair.number}, {pair.a} less {pair.b}: {ends}: {verdict}"


def _sure(likely: float) -> str:
    return "over 99 %" if likely > 0.99 else f"{100 * likely:.0f} %"


def compare(
    surrogate: Surrogate, designs: Mapping[str, object], *, level: float | None = None, **asked: Any
) -> Comparison:
    """Predict designs and judge every pair of them.

    Args:
        surrogate: Calibrated, of kind ``fields`` or ``numbers``.
        designs: Files, meshes or graphs by name, at least two.
        level: Of intervals and verdicts; None: the highest up to 90 % that the held-out cases support.
        **asked: As :meth:`meshops.surrogate.Surrogate.predict` takes it: ``conditions``, ``scale``, ...

    Raises:
        InputError: There are fewer than two, the surrogate is not calibrated, a design cannot be used, or one is half a
            body and another is not, or they are at different conditions.
    """
    task = surrogate.task
    if not isinstance(task, FieldsTask | NumbersTask):
        raise InputError(
            f"surrogates of kind '{task.kind}' do not compare designs; give one of kind 'fields' or 'numbers'"
        )
    if surrogate.trust is None:
        raise InputError(UNCALIBRATED)
    if len(designs) < 2:
        raise InputError(f"{len(designs)} design: at least two are compared")
    if not surrogate.trust.numbers:
        raise InputError("the surrogate predicts no number to compare designs by: no forces, and no table of results")
    if not surrogate.trust.shape:
        raise InputError(
            "this surrogate learnt one shape at different conditions and knows nothing of how shapes differ; give one "
            "that learnt from several shapes, or predict its mesh at each condition"
        )
    made: dict[str, Prediction] = {}
    for name, source in designs.items():
        made[name] = surrogate.predict(source, level=level, **asked)  # type: ignore[arg-type]
    cues = {prediction.cues for prediction in made.values()}
    if len(cues) > 1:  # one answer of the same kind for all, or their errors would not cancel
        made = {name: surrogate.predict_case(p.case, level=level, cues=False) for name, p in made.items()}
    cases = {name: prediction.case for name, prediction in made.items()}
    vectors = {name: surrogate.trust.vector(task, case, task.prepared(case)[0]) for name, case in cases.items()}
    notes = _comparable(made)
    trust: Trust = surrogate.trust if cues == {True} or surrogate.bare is None else surrogate.bare
    pairs = compared(trust, made, vectors, level)
    used = pairs[0].level
    records = {m.name: found for m in trust.numbers if (found := record(trust, m, used)) is not None}
    return Comparison(made, pairs, records, used, tuple(notes))


def _comparable(made: Mapping[str, Prediction]) -> list[str]:
    """Notes on designs that are not alike.

    Raises:
        InputError: They cannot be compared.
    """
    notes = list(
        dict.fromkeys(n for prediction in made.values() for n in prediction.case.notes if CONTRADICTS not in n)
    )
    cases = {name: prediction.case for name, prediction in made.items()}
    first, *others = cases.values()
    for case in others:
        differ = [k for k in first.conditions if first.conditions[k] != case.conditions.get(k)]
        if case.flow != first.flow or differ:
            what = ", ".join(differ) or "the flow"
            raise InputError(
                f"{first.label} and {case.label} are at different conditions ({what}): a difference of designs would "
                "be mixed with one of conditions; give all the same with --set"
            )
    halves = {name: c.body is not None and bool(c.body.cut_plane(c.flow)) for name, c in cases.items()}
    if len(set(halves.values())) > 1:
        half, whole = (next(n for n, is_half in halves.items() if is_half == wanted) for wanted in (True, False))
        raise InputError(f"'{half}' is half a body and '{whole}' is a whole one; mirror the half, or cut the other")
    for name, prediction in made.items():
        if prediction.forces is not None and prediction.forces.closure > 0.02:
            share = 100 * prediction.forces.closure
            notes.append(
                f"'{name}' is open (area vectors sum to {share:.0f} % of its area): a constant pressure gives a force "
                "on it; close the surface before its forces are compared"
            )
    areas = {name: p.forces.frontal_area for name, p in made.items() if p.forces is not None}
    if areas and max(areas.values()) > (1 + AREA) * min(areas.values()):
        told = ", ".join(f"{name} {area:.4g} m²" for name, area in areas.items())
        notes.append(
            f"the reference areas differ ({told}): every coefficient is over its own area, so that a smaller "
            "coefficient need not be a smaller force"
        )
    return notes


def write_comparison(
    found: Comparison, surrogate: Surrogate, folder: Path, *, pictures: bool = True
) -> tuple[Path, Path]:
    """Write ``compare.json`` and ``compare.html``, with pictures of what differs between the first and each other."""
    numbers = write_json(folder / "compare.json", found.to_dict())
    drawn = _pictures(found, surrogate, folder) if pictures else []
    page = comparison_report(found, drawn, [(numbers.name, "all numbers")])
    return write_report(page, folder / "compare.html"), numbers


def comparison_report(
    found: Comparison, pictures: Sequence[tuple[Path, str]], downloads: Sequence[tuple[str, str]]
) -> ReportData:
    """What the page of a comparison says."""
    names = list(dict.fromkeys(pair.number for pair in found.pairs))
    heads = [WORDS.get(k, k) for k in names]
    tables = {
        "Verdicts": Table(
            ["number", "a", "b", "a less b", f"low ({100 * found.level:.0f} %)", "high", "a is larger", "verdict on a"],
            [
                [p.number, p.a, p.b, p.difference, p.low, p.high, _chance(p.probability), p.call]
                for p in found.pairs
            ],
        ),
        f"Numbers, with intervals of {100 * found.level:.0f} %": Table(
            ["design", *heads, "beside the training"],
            [
                [name, *(str(p.numbers[k]) for k in names), "–" if p.verdict is None else p.verdict.level]
                for name, p in found.made.items()
            ],
        ),
        "How verdicts went on pairs of held-out cases": Table(
            ["number", "pairs", "sign right", "within 3 %", "of them right", "Brier", "called", "rightly"],
            [
                [k, r.pairs, _share(r.right), r.close, _share(r.close_right), r.brier, _share(r.given),
                 _share(r.given_right)]
                for k, r in found.records.items()
            ],
        ),
    }  # fmt: skip
    return ReportData(
        title="Designs compared",
        subtitle=", ".join(found.made),
        summary=[
            (f"{WORDS.get(p.number, p.number)}: {p.a} against {p.b}", _short(p)) for p in found.pairs[: 2 * len(heads)]
        ],
        tables=tables,
        pictures=pictures,
        warnings=found.notes,
        downloads=downloads,
    )


def _chance(probability: float) -> str:
    return "under 1 %" if probability < 0.01 else _sure(probability)


def _share(value: float) -> str:
    return "–" if not np.isfinite(value) else f"{100 * value:.0f} %"


def _short(pair: Difference) -> str:
    likely = max(pair.probability, 1 - pair.probability)
    return pair.call if pair.call in ("too close to call", "the same") else f"{pair.call} ({_sure(likely)})"


def _pictures(found: Comparison, surrogate: Surrogate, folder: Path) -> list[tuple[Path, str]]:
    """The first design's fields carried to each other one, and what differs."""
    from meshops.data.surface import is_surface
    from meshops.viz.pictures import comparison_picture

    task = surrogate.task
    if not isinstance(task, FieldsTask):
        return []
    (name, first), *others = found.made.items()
    drawn = []
    for other, made in others:
        mesh = made.case.original()
        if not is_surface(mesh) or task.spec.domain == "volume" or first.case.refined or made.case.refined:
            continue
        axes: dict[str, Any] = {"flow": made.case.flow.flow, "up": made.case.flow.up} if task.spec.bodies else {}
        for field, unit in zip(task.spec.fields, task.spec.units_at(made.case.flow), strict=True):
            carried = _carried(first, made, first.fields[field], task)
            path = folder / f"{file_part(other)}_{file_part(field)}.png"
            titles = (name, other, "difference")
            comparison_picture(mesh, field, carried, made.fields[field], path, unit=unit, titles=titles, **axes)
            drawn.append((path, f"{field}: {name} drawn on {other}, {other}, and the difference"))
    return drawn


def _carried(
    source: Prediction, target: Prediction, values: NDArray[np.float32], task: FieldsTask
) -> NDArray[np.float32]:
    """Fields of one design at the nodes of another that are at the same place of the shape."""
    one, other = (node_places(task.prepared(p.case)[0], task.spec) for p in (source, target))
    index, weight = between(one, other)
    rows = values.reshape(len(values), -1)[index.numpy()]
    out = (rows * weight.numpy()[..., None]).sum(1)
    return np.asarray(out.reshape(len(other), *values.shape[1:]), dtype=np.float32)
