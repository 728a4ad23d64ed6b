"""What a prediction leaves on disk: mesh with fields, forces as JSON, pictures, report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meshops.aero.case_spec import CaseSpec
from meshops.io import write_json
from meshops.surrogate.base import Surrogate
from meshops.tasks.fields_report import FOR_STL
from meshops.tasks.prediction import Estimate, Prediction
from meshops.viz.case import NICE, case_scene, draw_case, field_table, force_table
from meshops.viz.report import ReportData, Table, TrustSection, shown, write_report

PEAKS = "Peaks (corrected: predicted fields flatten them)"
WORDS = {"cd": "drag coefficient", "cl": "lift coefficient"}
CONTENTS = {
    ".vtp": "surface with predicted fields",
    ".vtu": "mesh with predicted fields",
    ".vtm": "parts with predicted fields",
    **dict.fromkeys((".vtk", ".vti", ".vts", ".vtr"), "mesh with predicted fields"),
    ".json": "forces and errors",
}


@dataclass(frozen=True)
class Written:
    """Files of one prediction.

    Attributes:
        mesh: The fields on the original cells, in the format of the file where it can hold them; None: no fields.
        numbers: JSON.
        pictures: PNG files with captions.
        report: HTML or None.
    """

    mesh: Path | None
    numbers: Path
    pictures: tuple[tuple[Path, str], ...] = ()
    report: Path | None = None


def write_prediction(
    prediction: Prediction,
    surrogate: Surrogate,
    folder: Path,
    stem: str,
    *,
    pictures: bool = True,
    report: bool = False,
) -> Written:
    """Write the files of a prediction as ``<stem>_predicted.vtp``, ``<stem>.json``, ``<stem>_<field>.png``, ...

    The mesh is written in the format of its file where that holds fields, see :mod:`meshops.data.write_back`.

    Args:
        prediction: From ``surrogate.predict``.
        surrogate: For the report: what made the prediction.
        folder: Existing folder.
        stem: Start of the file names.
        pictures: Draw the fields.
        report: Write ``<stem>_report.html`` with the pictures in it.
    """
    from meshops.data.write_back import write_back  # VTK

    case = prediction.case
    source = case.source or (None if _spec(surrogate).bodies else Path("graph.vtu"))
    path = None
    if _spec(surrogate).fields:
        target = folder / f"{stem}_predicted"
        path = write_back(prediction.mesh, target, source=source, parts=case.parts, cell_part=case.cell_part)
    numbers = write_json(folder / f"{stem}.json", prediction.to_dict() | {"surrogate": surrogate.info.get("data", {})})
    drawn = []
    if _spec(surrogate).fields and (pictures or report):
        drawn = draw_case(prediction.case, prediction.fields, _spec(surrogate), folder, stem)
    page = None
    if report:
        files = [*([] if path is None else [Path(path.name)]), Path(numbers.name)]
        page = write_case_report(prediction, surrogate, folder / f"{stem}_report.html", drawn, files)
    return Written(path, numbers, tuple(drawn), page)


def write_case_report(
    prediction: Prediction,
    surrogate: Surrogate,
    path: Path,
    pictures: Sequence[tuple[Path, str]],
    files: Sequence[Path],
) -> Path:
    """The HTML report of one prediction; ``files`` are links relative to it."""
    return write_report(case_report(prediction, surrogate, pictures, files), path)


def case_report(
    prediction: Prediction, surrogate: Surrogate, pictures: Sequence[tuple[Path, str]], files: Sequence[Path]
) -> ReportData:
    """What the report of one prediction says; arguments as for :func:`write_case_report`."""
    spec, case = _spec(surrogate), prediction.case
    kind = "flow on" if spec.bodies else "fields of" if spec.fields else "results of"
    return ReportData(
        title=f"Predicted {kind} {Path(case.label).name}",
        subtitle=f"{case.rows:,} {'cells' if case.location == 'cell' else 'points'}, {prediction.seconds:.1f} s",
        summary=_summary(prediction, spec),
        forces=force_table(prediction.forces, prediction.true_forces),
        field_table=field_table(case, prediction.fields, prediction.errors, spec, prediction.widths)
        if spec.fields
        else None,
        pictures=pictures,
        scene=case_scene(case, prediction.fields, spec),
        trust=_trust(prediction, surrogate),
        tables=_number_tables(prediction) | _known_errors(prediction, surrogate),
        warnings=case.notes,
        provenance=_provenance(prediction, surrogate),
        downloads=[(file.as_posix(), CONTENTS.get(file.suffix, file.name)) for file in files],
    )


def _spec(surrogate: Surrogate) -> CaseSpec:
    assert isinstance(surrogate.spec, CaseSpec)
    return surrogate.spec


def _number_tables(prediction: Prediction) -> dict[str, Table]:
    """Numbers and peaks with their intervals and what they rest on."""
    out = {}
    level = f" ({100 * prediction.level:.0f} %)" if prediction.level else ""
    for title, found in (("Numbers", prediction.numbers), (PEAKS, prediction.peaks)):
        if not found:
            continue
        columns: dict[str, list[Any]] = {
            "": [_with_unit(WORDS.get(name, name), n.unit) for name, n in found.items()],
            "value": [n.value for n in found.values()],
            f"interval{level}": [_interval(n) for n in found.values()],
            "mean of the training": [_or_dash(n.constant) for n in found.values()],
        }
        if any(n.true is not None for n in found.values()):
            columns["in the file"] = [_or_dash(n.true) for n in found.values()]
        if title == PEAKS:
            columns["place (within) [m]"] = [_placed(n) for n in found.values()]
        columns["rests on"] = [n.basis for n in found.values()]
        heads, rows = list(columns), [list(row) for row in zip(*columns.values(), strict=True)]
        out[title] = Table(heads, rows)
    return out


def _placed(peak: Estimate) -> str:
    if peak.place is None:
        return "–"
    near = "" if peak.within is None else f" ({peak.within:.2g})"
    return f"{', '.join(f'{x:.3g}' for x in peak.place)}{near}"


def _with_unit(name: str, unit: str) -> str:
    return f"{name} [{unit}]" if unit else name


def _interval(number: Estimate) -> str:
    return "–" if number.low is None or number.high is None else f"{shown(number.low)} to {shown(number.high)}"


def _or_dash(value: float | None) -> float | str:
    return "–" if value is None else value


def _known_errors(prediction: Prediction, surrogate: Surrogate) -> dict[str, Table]:
    """Held-out errors, where no verdict carries them."""
    held_out: Any = surrogate.info.get("held_out") or {}
    table = None if prediction.verdict is not None else _expected(held_out.get("mean", {}), _spec(surrogate))
    return {} if table is None else {"How far to trust it": table}


def _trust(prediction: Prediction, surrogate: Surrogate) -> TrustSection | None:
    """Verdict, and held-out errors that apply: with or without features of the mesh itself."""
    verdict = prediction.verdict
    if verdict is None:
        return None
    held_out: Any = surrogate.info.get("held_out") or {}
    plain = held_out.get("baselines", {}).get(FOR_STL)
    mean = held_out.get("mean", {}) if prediction.cues or not plain else plain
    return TrustSection(
        level=verdict.level,
        sentence=" ".join(filter(None, (verdict.sentence, verdict.expected, f"Nearest: {verdict.nearest}."))),
        rows=[(f"{name} [{unit}]" if unit else name, *rest) for name, unit, *rest in verdict.rows],  # type: ignore[misc]
        expected_error=_expected(mean, _spec(surrogate)),
    )


def _expected(mean: Mapping[str, Any], spec: CaseSpec) -> Table | None:
    """Errors of the surrogate on the cases it was not trained on, in words."""
    words = {f"{spec.short(n)}_rel_l2": f"{NICE.get(spec.short(n), n)}, relative L2" for n in spec.fields}
    absolute = {"drag": "drag coefficient", "lift": "lift coefficient"}
    absolute |= {name: spec.named(name) for name in spec.numbers}
    words |= {f"{key}_error": f"{text}, mean absolute error" for key, text in absolute.items()}
    rows = [[text, mean[key]] for key, text in words.items() if mean.get(key) is not None]
    return Table(["error on held-out cases", "value"], rows) if rows else None


def _summary(prediction: Prediction, spec: CaseSpec) -> list[tuple[str, str]]:
    level = f", interval of {100 * prediction.level:.0f} %" if prediction.level else ""
    rows = [
        (_with_unit(WORDS.get(name, name), number.unit) + level, str(number))
        for name, number in prediction.numbers.items()
    ]
    for name, errors in prediction.errors.items():
        error = errors["rel_l2"]
        rows.append((f"{name}: error against the file", "not defined" if error is None else f"{100 * error:.1f} %"))
    return rows


def _provenance(prediction: Prediction, surrogate: Surrogate) -> dict[str, dict[str, str]]:
    info = {key: value for key, value in surrogate.info.items() if isinstance(value, dict) and key != "held_out"}
    made = surrogate.task.made
    plain = {key: value for key, value in made.arguments.items() if not isinstance(value, list | dict)}
    info["model"] = {**info.get("model", {}), "name": made.name, **plain}
    sections = {key: {k: str(v) for k, v in values.items()} for key, values in info.items()}
    conditions = _conditions(prediction, _spec(surrogate))
    if conditions:
        sections["conditions"] = conditions
    sections["input"] = {"file": prediction.case.label}
    return sections


def _conditions(prediction: Prediction, spec: CaseSpec) -> dict[str, str]:
    """Conditions that were learnt, and the flow as far as it is stated."""
    case, flow = prediction.case, prediction.case.flow
    out = {spec.named(name): f"{case.conditions[name]:g}" for name in spec.conditions if name in case.conditions}
    if spec.flow_stated:
        out |= {"free stream": f"{flow.speed:g} m/s", "density": f"{flow.density:g} kg/m³"}
    if spec.flow_stated or spec.bodies:
        out["along"] = str(tuple(round(float(x), 6) for x in flow.flow))
    return out
