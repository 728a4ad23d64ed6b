"""A fit of a study: cases, groups and split as its file says; what was left out; the study beside the result."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from rich.console import Console

from meshops.datasets.base import CaseDataset
from meshops.datasets.folder.description import FILE
from meshops.datasets.folder.find import description_of
from meshops.datasets.mesh_trajectory import MeshTrajectoryDataset
from meshops.datasets.store import StoredCases
from meshops.datasets.store_build import Origin
from meshops.datasets.study import Study
from meshops.doctor.findings import Finding
from meshops.selection.config import FitConfig
from meshops.selection.numbers import NumbersFit, fit_numbers
from meshops.selection.result import FitResult
from meshops.selection.rollouts import RolloutFit, fit_trajectories
from meshops.selection.run import fit
from meshops.tasks.base import Plain
from meshops.tasks.fields_spec import FieldsSettings
from meshops.training.storing import OFF, place_of, wanted, write


def fit_study(
    study: Study, config: FitConfig, *, findings: Sequence[Finding] = (), resume: bool = False, overwrite: bool = False,
    console: Console | None = None,
) -> FitResult | RolloutFit | NumbersFit:  # fmt: skip
    """The best surrogate of a study; see :func:`meshops.selection.fit`.

    Args:
        study: Which folder, and what is in it.
        config: Settings; ``test``, ``groups`` and ``geometry`` are filled in from the study where they are at their
            defaults.
        findings: Of the run doctor, for the report.
        resume: Go on with the fit in ``config.out``.
        overwrite: Remove the fit that is there.
        console: Where progress goes; None: nowhere.

    Raises:
        InputError: The study cannot be used.
        Stopped: Ctrl-C or SIGTERM.
    """
    data = stored_cases(study, config, console or Console(quiet=True)) or study.open()
    about: dict[str, Plain] = {"folder": str(study.root), "layout": study.layout}
    options = {"resume": resume, "overwrite": overwrite}
    if isinstance(data, MeshTrajectoryDataset):
        config = in_time(study, data, config)
        remarks: Mapping[str, str] = getattr(data, "remarks", {})
        lost = [*left_out(data), *remarks.values()]
        for text in () if findings else remarks.values():
            (console or Console(quiet=True)).print(f"note: {text}")
        moving = fit_trajectories(data, config, console=console, about=about, notes=lost, findings=findings, **options)
        study.save(Path(config.out) / "study.yaml")
        return moving
    config = settled(study, data, config)
    if not data.fields:
        made = fit_numbers(
            data, config, console=console, about=about, notes=left_out(data), findings=findings, **options
        )
        study.save(Path(config.out) / FILE)
        return made
    try:
        return fit(data, config, console=console, about=about, notes=left_out(data), findings=findings, **options)
    finally:
        if (Path(config.out) / "fit.yaml").is_file():
            study.save(Path(config.out) / FILE)


def stored_cases(study: Study, config: FitConfig, console: Console) -> CaseDataset | None:
    """The cases of a study in a store, where they would fill the memory or a store is asked for; else None.

    Raises:
        InputError: The store cannot be written.
    """
    if config.store == OFF:
        return None
    cases = study.open(check=False, cache=False)
    if not isinstance(cases, CaseDataset) or not cases.fields:
        return None
    if isinstance(cases, StoredCases):
        return cases
    told = json.loads(json.dumps({k: v for k, v in asdict(study).items() if k != "guesses"}, default=str))
    origin = Origin.of(str(study.root), "study", told)
    root = place_of(config.store, Path(config.out), origin, study.root.resolve().name)
    settings = FieldsSettings(geometry=config.geometry, shape=True, fields=config.fields)
    if not wanted(cases, settings, config.store, root, console):
        return None
    root.mkdir(parents=True, exist_ok=True)
    write(root, Origin(str(study.save(root / FILE)), "study"), console)
    return StoredCases(root, "all")


def settled(study: Study, data: CaseDataset, config: FitConfig) -> FitConfig:
    """Settings with what the study says of them."""
    groups: Mapping[str, str] = dict(zip(data.cases, getattr(data, "groups", data.cases), strict=True))
    apart = {case: group for case, group in groups.items() if group != case}
    changes: dict[str, object] = {"groups": tuple(apart.items())} if apart and not config.groups else {}
    if config.test == FitConfig.test:
        changes["test"] = study.test if isinstance(study.test, float | int) else tested(study, data)
    if config.geometry == "auto" and study.flow is not None and not study.flow_stated:
        first = data[0]
        if first.pos.shape[1] == 3 and first.num_cells and int(first.cell_type[0]) < 10:
            changes["geometry"] = "body"
    return replace(config, **changes)  # type: ignore[arg-type]


def in_time(study: Study, data: MeshTrajectoryDataset, config: FitConfig) -> FitConfig:
    """Settings with what a study of trajectories says of its test cases."""
    if config.test != FitConfig.test:
        return config
    return replace(config, test=study.test if isinstance(study.test, float | int) else tested(study, data))


def tested(study: Study, data: CaseDataset | MeshTrajectoryDataset) -> tuple[str, ...]:
    """Names of the cases the study tests on, those that can be used."""
    names = study.open("test", check=False).cases
    return tuple(name for name in names if name in data.cases)


def left_out(data: CaseDataset | MeshTrajectoryDataset) -> list[str]:
    """What was not used, a sentence each."""
    lost: Mapping[str, str] = getattr(data, "left_out", {})
    return [f"case '{name}' was left out: {why}" for name, why in lost.items()]


def seen(path: str | Path, *, console: Console | None = None) -> tuple[Study, tuple[Finding, ...]]:
    """The study of a ``study.yaml`` as it stands, or of a folder as :func:`meshops.doctor.look_at` sees it.

    Returns:
        The study, and what the run doctor found; nothing where the file is taken as it stands.

    Raises:
        InputError: There is nothing to learn from.
    """
    from meshops.doctor.look import look_at, study_of

    given = Path(path).expanduser()
    if not given.is_dir() or (given / FILE).is_file():
        return Study.of(description_of(given)), ()
    study, screen = study_of(given), console or Console(quiet=True)
    found = look_at(study)
    for finding in found.findings:
        screen.print(f"note: {finding}")
    return found.study, found.findings
