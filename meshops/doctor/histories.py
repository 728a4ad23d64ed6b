"""Has a run converged? Residuals and forces over the iterations, where their files lie beside a case.

Known are ``*history*.csv`` and ``residuals*.dat|csv`` (a header, a row per iteration), the force files of OpenFOAM
(``coefficient.dat``, ``forceCoeffs.dat``) and its logs (``log.simpleFoam``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from meshops.doctor.facts import CaseFacts
from meshops.doctor.findings import Finding
from meshops.doctor.survey import Survey

Array = NDArray[np.float64]
TABLES = ("*history*.csv", "*residual*.csv", "*residual*.dat", "*convergence*.csv")
OPENFOAM = (
    "postProcessing/**/coefficient*.dat", "postProcessing/**/forceCoeffs*.dat", "**/coefficient*.dat",
    "**/forceCoeffs*.dat",
)  # fmt: skip
LOGS = ("log.*Foam", "log.*foam", "*.log", "log")
FEWEST = 12  # iterations
DRIFT = 0.02  # of the level of a force, over the last third
LEVELS = re.compile(r"c[dlsm]|drag|lift|force|moment|side", re.IGNORECASE)
RESIDUAL = re.compile(r"res|rms", re.IGNORECASE)
COUNTER = re.compile(r"iter|time|step|inner|outer", re.IGNORECASE)
SOLVED = re.compile(r"Solving for (\w+), Initial residual = ([-+.\deE]+|nan|inf)")
MOST_BYTES = 64 * 2**20


def unconverged(survey: Survey) -> Iterator[Finding]:
    """Cases whose residuals or forces still move, or grow, at the end of their history."""
    shared = _shared_folders(survey)
    lengths: dict[str, int] = {}
    told = set()
    for case in survey.good:
        for path in histories_of(case, shared):
            columns = read_history(path)
            if not columns:
                continue
            lengths[case.name] = max(lengths.get(case.name, 0), max(len(v) for v in columns.values()))
            found = judge_history(columns)
            if found and case.name not in told:
                told.add(case.name)
                yield Finding("not converged", "problem", f"not converged: {found}", f"history {path.name}",
                              "run it on, or leave it out", case.name)  # fmt: skip
    if len(lengths) >= 4:
        usual = float(np.median(list(lengths.values())))
        for name, count in lengths.items():
            if count < 0.5 * usual and name not in told:
                yield Finding("short run", "hint", f"{count} iterations, the others have about {usual:.0f}",
                              cure="did it stop early?", case=name)  # fmt: skip


def histories_of(case: CaseFacts, shared: set[Path]) -> list[Path]:
    """Files of the history of a case: in its own folder, or beside its file with its name in front."""
    main = next((Path(p) for p in case.files.values() if Path(p).exists()), None)
    if main is None:
        return []
    folder = main if main.is_dir() else main.parent
    found: list[Path] = []
    for pattern in (*TABLES, *OPENFOAM, *LOGS):
        for path in sorted(folder.glob(pattern)):
            own = folder not in shared or path.name.startswith((f"{case.name}_", f"{case.name}.", f"{main.stem}_"))
            if own and path.is_file() and path not in found and path.stat().st_size < MOST_BYTES:
                found.append(path)
    return found


def _shared_folders(survey: Survey) -> set[Path]:
    """Folders that hold the files of several cases."""
    owner: dict[Path, str] = {}
    shared = set()
    for case in survey.cases:
        for path in case.files.values():
            folder = Path(path) if Path(path).is_dir() else Path(path).parent
            if owner.setdefault(folder, case.name) != case.name:
                shared.add(folder)
    return shared


def read_history(path: Path) -> dict[str, Array]:
    """Columns over the iterations by name; empty where nothing can be read."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    columns = _log(text) if "Solving for" in text else _table(text)
    return {name: values for name, values in columns.items() if len(values) >= FEWEST}


def _log(text: str) -> dict[str, Array]:
    """First residual of each variable in each step of an OpenFOAM log."""
    columns: dict[str, list[float]] = {}
    for block in re.split(r"^Time = .*$", text, flags=re.MULTILINE)[1:]:
        seen = set()
        for name, value in SOLVED.findall(block):
            if name not in seen:
                seen.add(name)
                columns.setdefault(f"residual of {name}", []).append(float(value))
    return {name: np.array(values) for name, values in columns.items()}


def _table(text: str) -> dict[str, Array]:
    lines = [line for line in text.splitlines() if line.strip()]
    comments = [line for line in lines if line.startswith(("#", "%"))]
    rest = [line for line in lines if not line.startswith(("#", "%"))]
    if not rest:
        return {}
    comma = "," in rest[0]
    split = (lambda line: [c.strip().strip('"') for c in line.split(",")]) if comma else str.split
    head = split(rest[0])
    if _numbers(head) is None:
        rest = rest[1:]
    elif comments:
        head = split(comments[-1].lstrip("#% "))
    else:
        head = [f"column {k + 1}" for k in range(len(head))]
    rows = [row for line in rest if (row := _numbers(split(line))) is not None and len(row) == len(head)]
    if not rows:
        return {}
    table = np.array(rows)
    return {name: table[:, k] for k, name in enumerate(head)}


def _numbers(cells: list[str]) -> list[float] | None:
    try:
        return [float(cell.strip("()")) for cell in cells]
    except ValueError:
        return None


def judge_history(columns: Mapping[str, Array]) -> str:
    """What is wrong with a history, in words; empty: nothing.

    A force has settled when its mean over the last sixth is that of the sixth before within 2 % of its level, or
    within what it fluctuates. Residuals have when they no longer fall by more than a factor of 3 within the last third
    or are below 1e-6 of where they began, and do not grow.
    """
    for name, values in columns.items():
        if COUNTER.fullmatch(name.split("_")[0].strip()) or COUNTER.match(name):
            continue
        if not np.isfinite(values[-1]):
            return f"{name} ends in {values[-1]}"
        sound = values[np.isfinite(values)]
        third = sound[-max(len(sound) // 3, 6) :]
        early, late = third[: len(third) // 2], third[len(third) // 2 :]
        if RESIDUAL.search(name):
            if found := _residual(name, sound, early, late):
                return found
        elif LEVELS.match(name.strip()):
            level = max(abs(float(late.mean())), 0.1 * float(np.abs(sound).max()))
            change = float(late.mean() - early.mean())
            slope = np.polyfit(np.arange(len(third)), third, 1)
            noise = float(np.std(third - np.polyval(slope, np.arange(len(third)))))
            if abs(change) > DRIFT * level and abs(change) > 1.0 * noise:
                return f"{name} still drifts by {abs(change) / level:.1%} within the last third"
    return ""


def _residual(name: str, values: Array, early: Array, late: Array) -> str:
    if values.min() > 0:  # else it is a logarithm already
        early, late, values = np.log10(early), np.log10(late), np.log10(values)
    fall = float(np.median(early) - np.median(late))
    drop = float(values.max() - np.median(late))
    if fall < -1:
        return f"{name} grows by a factor {10**-fall:.2g} within the last third"
    if fall > 0.25 and drop < 4:
        return f"{name} still falls by a factor {10 ** (2 * fall):.2g} within the last third"
    return ""
