"""A folder of finished simulations, looked at: its study, what each case holds, what is wrong, and its forces."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from meshops.aero.audit import audit_forces, find_field
from meshops.aero.audit_types import COEFFICIENT, PRESSURE, AuditCase, ForceAudit
from meshops.aero.axes import Axes, guess_axes
from meshops.aero.conditions import FlowConditions, named_stream
from meshops.data.mesh_graph import MeshGraph
from meshops.datasets.base import CaseDataset, GraphCache
from meshops.datasets.mesh_trajectory import MeshTrajectoryDataset
from meshops.datasets.study import Study, guess_study
from meshops.doctor.checks import diagnose, in_order
from meshops.doctor.findings import Finding, Severity
from meshops.doctor.noise import NoiseFloor, label_noise
from meshops.doctor.survey import Progress, Survey, survey
from meshops.errors import InputError, MeshopsError

UNUSABLE = ("unreadable", "other arrays", "other dimension", "other place", "surface or volume", "not finite", "no row")
WRONG = ("other length", "duplicate")  # readable, but learning from it as it is would be wrong
FEW_WRONG = 1 / 3  # of the cases: more of them are no exceptions, and the user must say which are right


@dataclass(frozen=True, eq=False)
class Look:
    """Everything that was seen.

    Attributes:
        study: The folder; guesses corrected by what was seen, cases that cannot be used left out.
        survey: Facts of every case.
        findings: Of the run doctor and the force audit, problems first.
        audit: Forces beside the table; None without a surface that has a pressure.
        axes: Guess of flow and up, where nothing states them.
        noise: Floors of the error.
    """

    study: Study
    survey: Survey
    findings: tuple[Finding, ...]
    audit: ForceAudit | None
    axes: Axes | None
    noise: tuple[NoiseFloor, ...]


class LastFrames(CaseDataset):
    """The last frame of each trajectory as a case.

    Args:
        data: Trajectories on meshes.
    """

    def __init__(self, data: MeshTrajectoryDataset) -> None:
        self.data = data
        self.cases = tuple(data.cases)
        self.fields, self.units = data.spec.fields, data.spec.units
        self.flow, self.flow_stated = FlowConditions(ground=None), False
        self.transform, self.cache = None, GraphCache(False)

    def read(self, index: int) -> MeshGraph:
        """Last frame."""
        return self.data.window(index, self.data.lengths[index] - 1, 1).graph(0, self.data.spec)

    def files(self, index: int) -> dict[str, Path]:
        """Not told by trajectories."""
        self.position(index)
        return {}

    @classmethod
    def standin(cls, root: str | Path, num: int = 4) -> Path:
        """There is none.

        Raises:
            InputError: Always.
        """
        raise InputError("the last frames of trajectories have no stand-in of their own")


def study_of(path: str | Path) -> Study:
    """The study of a file ``study.yaml``, or a guess at a folder.

    Raises:
        InputError: There is nothing to learn from; says what was found.
    """
    given = Path(path).expanduser()
    return Study.load(given) if given.suffix.lower() in (".yaml", ".yml") else guess_study(given)


def cases_of(study: Study) -> CaseDataset:
    """All cases of a study, the ones it leaves out too, none of them read yet; of a series the last frames.

    Raises:
        InputError: They are no cases on meshes.
    """
    if study.published:
        data = study.open("all")
    else:
        data = replace(study, left_out=(), time="last" if study.time == "all" else study.time).open("all", check=False)
    return LastFrames(data) if isinstance(data, MeshTrajectoryDataset) else data


def look_at(study: Study, *, data: CaseDataset | None = None, progress: Progress | None = None) -> Look:
    """Read every case of a study once and say what is there and what is wrong.

    Args:
        study: From :func:`study_of`.
        data: Its cases, where they are open already.
        progress: Called with the number of cases done and of all.

    Example:
        >>> look = look_at(study_of("runs"))  # doctest: +SKIP
        >>> look.findings  # doctest: +SKIP
    """
    data = cases_of(study) if data is None else data
    facts = survey(data, name=study.root.name, test=tested_cases(study), progress=progress)
    findings, audit, axes = examine(facts)
    findings = in_order([*findings, *time_findings(study)], facts)
    return Look(_noted(study, facts, findings, audit, axes), facts, tuple(findings), audit, axes,
                tuple(label_noise(facts)))  # fmt: skip


def time_findings(study: Study) -> list[Finding]:
    """What networks that step in time cannot know of the cases of a study; nothing for finished cases."""
    if study.published or study.time != "all":
        return []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            remarks: dict[str, str] = getattr(study.open("all"), "remarks", {})
    except (MeshopsError, OSError, ValueError) as error:
        return [Finding("in time", "problem", str(error).removeprefix(f"{study.root}: "))]
    return [Finding(kind, "hint" if kind == "uneven times" else "problem", text) for kind, text in remarks.items()]


def examine(facts: Survey) -> tuple[list[Finding], ForceAudit | None, Axes | None]:
    """Run doctor and force audit over a survey."""
    findings = diagnose(facts)
    audit, axes = audit_of(facts)
    return in_order([*findings, *force_findings(audit, facts, findings)], facts), audit, axes


def doctored(data: CaseDataset, *, test: tuple[str, ...] = ()) -> list[Finding]:
    """Findings on any data set of finished cases; every case is read once.

    Args:
        data: The cases.
        test: Names of those that are tested on.
    """
    return examine(survey(data, test=test))[0]


def tested_cases(study: Study) -> tuple[str, ...]:
    """Names of the cases a study tests on; empty where that cannot be told."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return tuple(study.open("test", **({} if study.published else {"check": False})).cases)
        except (MeshopsError, OSError, ValueError):
            return ()


def audit_of(facts: Survey) -> tuple[ForceAudit | None, Axes | None]:
    """Force audit of a survey, and the axes that were guessed for it where none are stated."""
    good = [c for c in facts.good if c.surface is not None and np.isfinite(c.surface.area)]
    pressure = find_field(facts.fields, PRESSURE, [c.surface.of_normal for c in good if c.surface is not None])
    if not good or not pressure:
        return None, None
    axes = None
    usual = FlowConditions(ground=None)
    if not facts.flow_stated:
        axes = guess_axes([c.surface for c in good], pressure)
        if axes.flow is not None and axes.up is not None:
            usual = FlowConditions(flow=axes.flow, up=axes.up, ground=None)
    cases = []
    for case in good:
        given = {**case.parameters, **case.conditions}
        flow = case.flow if facts.flow_stated and case.flow is not None else usual
        stream = dict.fromkeys(named_stream(given), 1.0)  # the audit takes these from the row
        flow = replace(flow, speed=stream.get("speed", flow.speed), density=stream.get("density", flow.density))
        assert case.surface is not None
        cases.append(AuditCase(case.name, case.surface, flow, case.numbers, given))
    audit = audit_forces(cases, stated=facts.flow_stated, fields=facts.fields)
    return audit, axes


def force_findings(audit: ForceAudit | None, facts: Survey, known: Sequence[Finding]) -> list[Finding]:
    """What the audit says that is wrong: with the set, and with single cases nobody has named yet."""
    if audit is None:
        return []
    out = []
    told = {name for finding in known if finding.severity == "problem" for name in finding.cases}
    if audit.reconciled and audit.changes and facts.flow_stated:
        what = "forces of the fields are those of the table only if " + "; ".join(text for _, text in audit.changes)
        out.append(
            Finding("forces", "problem", what, audit.compared, "correct the conditions, the table or the fields")
        )
    elif not audit.reconciled and audit.error:
        out.append(
            Finding("forces", "hint", audit.text, audit.compared, "say what the table was divided by, in the study")
        )
    for suspect in audit.suspects:
        if suspect.case in told and suspect.kind != "swapped":
            continue
        kind = {"swapped": "swapped rows", "off": "forces differ"}.get(suspect.kind, f"forces: {suspect.kind}")
        severity: Severity = "hint" if suspect.kind == "off" else "problem"
        others = (suspect.partner,) if suspect.partner else ()
        if kind == "swapped rows" and any(f.kind == kind and set(f.cases) == {suspect.case, *others} for f in known):
            continue
        out.append(
            Finding(kind, severity, suspect.text, "", "look the row and the case up again", suspect.case, others)
        )
    return out


def _noted(
    study: Study, facts: Survey, findings: Sequence[Finding], audit: ForceAudit | None, axes: Axes | None
) -> Study:
    """The study with what was seen: cases that cannot be used are left out, the flow as the audit found it."""
    lost = {f.case: f.what for f in findings if f.kind in UNUSABLE and f.case and f.severity == "problem"}
    wrong = {f.case: f.what for f in findings if f.kind in WRONG and f.case and f.severity == "problem"}
    if len(wrong) <= FEW_WRONG * len(facts.cases):
        lost = {**wrong, **lost}
    if not study.published:
        names = tuple(dict.fromkeys([*study.left_out, *lost]))
        study = replace(study, left_out=names if len(names) < len(facts.cases) else study.left_out)
        for name, why in lost.items():
            if f"left_out.{name}" not in study.guesses:
                study = study.note(f"left_out.{name}", why)
    others = [f for f in findings if f.severity == "problem" and f.case not in lost]
    for finding in others[:12]:
        study = study.note("left_out", f"run doctor: {finding.case or 'all cases'}: {finding.what}")
    if audit is not None and audit.reconciled and not study.published:
        known = facts.flow_stated or _stream_known(audit, facts)
        study = replace(study, flow=audit.flow, flow_stated=known).note("flow", f"force audit: {audit.text}")
        if not known:
            why = (
                "the table holds forces, which fit whatever the speed and density are: state both (here, or as "
                "columns of the table) and write true for coefficients"
            )
            study = study.note("flow_stated", why)
    elif axes is not None and not study.flow_stated and study.flow is None:
        if axes.flow is not None and axes.up is not None:
            flow = FlowConditions(flow=axes.flow, up=axes.up, ground=None)
            study = (
                replace(study, flow=flow, flow_stated=False)
                .note("flow", f"axes alone: {axes.reason}")
                .note(
                    "flow_stated",
                    "speed, density and reference area are not known; state them and write true for forces",
                )
            )
        else:
            study = study.note("flow", axes.reason)
    return study


def _stream_known(audit: ForceAudit, facts: Survey) -> bool:
    """Whether the table says what forces are divided by: coefficients do, forces need speed and density beside them."""
    if all(COEFFICIENT.search(name) for name in audit.error):
        return True
    known = {"speed": audit.flow.speed != 1.0, "density": audit.flow.density != 1.0}
    return all(known[key] or key in named_stream(case.conditions) for key in known for case in facts.good)
