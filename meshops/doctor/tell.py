"""What was seen, as tables that a person reads in a minute."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from meshops.aero.conditions import named_stream
from meshops.doctor.facts import CaseFacts
from meshops.doctor.look import Look

Rows = tuple[tuple[str, ...], list[tuple[str, ...]]]
PLACES = {"point": "points", "cell": "cells", "free": "points"}
MESHES = {
    "same": "one mesh for all cases",
    "corresponding": "one numbering, points moved",
    "different": "a mesh of its own for each case",
}


def short(value: float) -> str:
    """Four significant digits."""
    return f"{value or 0.0:.4g}".replace("-", "−")


def span(values: Sequence[float]) -> str:
    """Smallest to largest, or the one value there is."""
    low, high = min(values), max(values)
    return short(low) if low == high else f"{short(low)} to {short(high)}"


def count_span(values: Sequence[int]) -> str:
    """The same for numbers of things."""
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def overview(look: Look) -> list[tuple[str, str]]:
    """Cases, meshes, dimension, size, split."""
    good, facts, study = look.survey.good, look.survey, look.study
    lost = len(facts.cases) - len(good)
    rows = [("cases", f"{len(facts.cases)}" + (f", {lost} of them cannot be read" if lost else ""))]
    rows.append(("layout", study.layout if study.published else f"{study.layout}: {study.files}"))
    if good:
        kinds: dict[str, int] = {}
        for case in good:
            for kind, count in case.kinds.items():
                kinds[kind] = kinds.get(kind, 0) + count
        usual = sorted(kinds, key=lambda kind: -kinds[kind])
        named = f" ({', '.join(usual[:3])})" if usual else ""
        rows += [
            ("meshes", f"{MESHES[facts.meshes]}; {count_span([c.nodes for c in good])} nodes, "
                       f"{count_span([c.cells for c in good])} cells{named}"),
            ("dimension", _dimensions(good) + (f"; fields at the {_places(good)}" if look.survey.fields else "")),
            ("size", " x ".join(span([float((c.high - c.low)[k]) for c in good]) for k in range(good[0].dim))
                     + f" (diagonal {span([c.size for c in good])})"),
        ]  # fmt: skip
        surfaces = [c.surface for c in good if c.surface is not None]
        if surfaces:
            closed = sum(s.closed for s in surfaces)
            rows.append(("surface", f"area {span([s.area for s in surfaces])}, {closed} of {len(surfaces)} closed"))
    said = study.guesses
    if study.layout == "series" or "time" in said:
        rows.append(("time", f"the last of each series is shown; {said['time']}" if "time" in said else "last"))
    if "tables" in said:
        rows.append(("tables", said["tables"]))
    if "also with fields" in said.get("files", ""):
        rows.append(("not used", "files " + said["files"].partition("also with fields: ")[2]))
    if "not read: " in said.get("data", ""):
        rows.append(("not read", said["data"].partition("not read: ")[2]))
    arrays = [said.get("fields", ""), *said.get("inputs", "").split("; ")]
    arrays = [text for text in arrays if text and not text.endswith(": describes the mesh")]
    for what, text in (("arrays", "; ".join(arrays)), ("columns", said.get("conditions", ""))):
        if text:
            rows.append((what, text))
    if facts.test:
        more = " ..." if len(facts.test) > 5 else ""
        rows.append(
            ("tested on", f"{len(facts.test)} case{'s' * (len(facts.test) != 1)}: {', '.join(facts.test[:5])}{more}")
        )
    if study.inputs:
        rows.append(("inputs", ", ".join(study.inputs)))
    flow = study.flow
    if flow is not None:
        row = named_stream(good[0].conditions) if good else {}
        speed = "speed of each case" if "speed" in row else f"{short(flow.speed)} m/s"
        numbers = f", {speed}, " + ("density of each case" if "density" in row else f"{short(flow.density)} kg/m^3")
        known = numbers if study.flow_stated else ", axes alone (guessed)"
        rows.append(("flow", f"along {_axis(flow.flow)}, up {_axis(flow.up)}{known}"))
    return rows


def field_rows(look: Look) -> Rows:
    """One row for each field."""
    columns = ("field", "at", "size", "range", "usual spread", "unit", "role", "between cases")
    entries = {entry.name: entry for entry in look.study.fields}
    rows: list[tuple[str, ...]] = []
    for name in look.survey.fields:
        facts = [c.fields[name] for c in look.survey.good if name in c.fields and np.isfinite(c.fields[name].mean)]
        if not facts:
            rows.append((name, "", "", "not found", "", "", "", ""))
            continue
        entry = entries.get(name)
        stated = look.survey.field_unit(name)
        guessed = entry.unit if entry is not None else ""
        spread = float(np.median([f.std for f in facts]))
        rows.append((
            name, _places(look.survey.good), _components(facts[0].size),
            f"{short(min(f.minimum for f in facts))} to {short(max(f.maximum for f in facts))}", short(spread),
            _unit(look, name, stated, guessed), (entry.role if entry is not None else "") or "none",
            _between([f.mean for f in facts], [f.std for f in facts]),
        ))  # fmt: skip
    return columns, rows


def _unit(look: Look, name: str, stated: str, guessed: str) -> str:
    """Unit of a field, told apart: stated by files or user, or likely by role and range."""
    likely = "unit:" in look.study.guesses.get(f"fields.{name}", "")
    unit = stated or guessed
    return f"{unit} (likely)" if unit and (likely or not stated) else unit or "?"


def quantity_rows(look: Look) -> Rows:
    """One row for each condition and number, and for other columns that vary."""
    columns = ("name", "is", "range", "unit", "role", "varies")
    roles = {entry.name: entry for entry in (*look.study.conditions, *look.study.numbers)}
    rows: list[tuple[str, ...]] = []
    told: set[str] = set()
    good = look.survey.good
    kinds = (("condition", "conditions"), ("number", "numbers"), ("other column", "parameters"))
    for kind, attribute in kinds:
        for name in dict.fromkeys(n for c in good for n in getattr(c, attribute)):
            if name in told:
                continue
            told.add(name)
            values = [getattr(c, attribute)[name] for c in good if name in getattr(c, attribute)]
            values = [v for v in values if np.isfinite(v)]
            if not values:
                continue
            entry = roles.get(name)
            unit = look.survey.quantity_units.get(name, "") or (entry.unit if entry is not None else "")
            distinct = len(set(values))
            varies = "constant" if distinct == 1 else f"{distinct} values"
            missing = len(good) - len(values)
            rows.append((name, kind, span(values), unit or "?", (entry.role if entry is not None else "") or "none",
                         varies + (f", missing in {missing}" if missing else "")))  # fmt: skip
    return columns, rows


def finding_rows(look: Look) -> Rows:
    """One row for each finding."""
    columns = ("", "case", "what", "evidence", "what to do")
    return columns, [(f.severity, ", ".join(f.cases) or "all", f.what, f.evidence, f.cure) for f in look.findings]


def summary(look: Look) -> str:
    """One line at the end."""
    wrong = sum(f.severity == "problem" for f in look.findings)
    hints = len(look.findings) - wrong
    count = len(look.survey.cases)
    return f"{count} case{'s' * (count != 1)}, {wrong} problem{'s' * (wrong != 1)}, {hints} hint{'s' * (hints != 1)}"


def as_json(look: Look) -> dict[str, Any]:
    """Everything for scripts."""
    audit = look.audit
    return {
        "study": look.survey.name,
        "cases": [_case_json(case) for case in look.survey.cases],
        "meshes": look.survey.meshes,
        "overview": dict(overview(look)),
        "fields": [dict(zip(field_rows(look)[0], row, strict=True)) for row in field_rows(look)[1]],
        "quantities": [dict(zip(quantity_rows(look)[0], row, strict=True)) for row in quantity_rows(look)[1]],
        "findings": [finding.to_dict() for finding in look.findings],
        "noise": [floor.to_dict() for floor in look.noise],
        "axes": None if look.axes is None else {"flow": look.axes.flow, "up": look.axes.up, "reason": look.axes.reason},
        "audit": None if audit is None else {
            "reconciled": audit.reconciled, "text": audit.text, "changes": [list(c) for c in audit.changes],
            "error": {name: {"typical": e[0], "largest": e[1]} for name, e in audit.error.items()},
            "within_1_percent": audit.within,
        },
    }  # fmt: skip


def _case_json(case: CaseFacts) -> dict[str, Any]:
    out: dict[str, Any] = {"name": case.name}
    if case.error:
        return out | {"error": case.error}
    return out | {
        "nodes": case.nodes, "cells": case.cells, "dimension": case.dim, "low": case.low.tolist(),
        "high": case.high.tolist(), "conditions": dict(case.conditions), "numbers": dict(case.numbers),
        "fields": {n: {"min": f.minimum, "mean": f.mean, "max": f.maximum, "std": f.std}
                   for n, f in case.fields.items()},
        "notes": list(case.notes),
    }  # fmt: skip


def _dimensions(cases: Sequence[CaseFacts]) -> str:
    dims = sorted({case.dim for case in cases})
    text = " and ".join(f"{dim}-D" for dim in dims)
    if not any(case.cells for case in cases):
        return f"{text}, clouds of points"
    if dims == [3]:
        surfaces = sum(case.surface is not None for case in cases)
        text += ", surfaces" if surfaces == len(cases) else ", volumes" if not surfaces else f", {surfaces} surfaces"
    return text


def _places(cases: Sequence[CaseFacts]) -> str:
    return " and ".join(sorted({PLACES.get(case.location, case.location) for case in cases}))


def _components(size: int) -> str:
    return {1: "scalar", 2: "vector of 2", 3: "vector", 6: "6 (symmetric tensor)", 9: "9 (tensor)"}.get(size, str(size))


def _between(means: Sequence[float], stds: Sequence[float]) -> str:
    """How much a field differs from case to case, beside its spread within a case."""
    if len(means) < 2:
        return "one case"
    usual = float(np.median(stds)) or 1.0
    level, width = float(np.std(means)) / usual, float(np.std(stds)) / usual
    if max(level, width) < 1e-6:
        return "the same"
    return f"mean ±{level:.0%}, spread ±{width:.0%}" if max(level, width) < 100 else "beyond all bounds"


def _axis(vector: tuple[float, float, float]) -> str:
    k = int(np.abs(vector).argmax())
    if abs(vector[k]) > 1 - 1e-9:
        return f"{'+' if vector[k] > 0 else '−'}{'xyz'[k]}"
    return "(" + ", ".join(short(v) for v in vector) + ")"
