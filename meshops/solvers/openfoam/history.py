"""What a run of simpleFoam left behind: forces and residuals of every iteration, and whether it converged."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from meshops.solvers.openfoam.programs import FoamError

Array = np.ndarray[Any, Any]
RESIDUAL = re.compile(r"Solving for (\w+), Initial residual = ([^\s,]+)")
TIME = re.compile(r"Time = ([0-9.eE+-]+)s?\s*$")
LARGEST = 1e3  # a force over dynamic pressure and area beyond this is none
SLACK = 20.0  # a run that reached the last iteration may have residuals this much larger, if its drag stands still


@dataclass(frozen=True)
class Verdict:
    """Whether a run converged.

    Attributes:
        converged: It did.
        reason: In words, why or why not.
        iterations: That were run.
        residual: Largest initial residual of the last iteration.
        spread: Of the drag over the last iterations, largest minus smallest, relative to its mean.
        force: ``(x, y, z)`` mean force over them, in units of the stream (density and speed 1), m^2.
    """

    converged: bool
    reason: str
    iterations: int
    residual: float
    spread: float
    force: tuple[float, float, float]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def read_drag(case: Path, name: str = "forces") -> tuple[Array, Array]:
    """Iterations ``[t]`` and total force ``[t, 3]`` that the function object wrote.

    Raises:
        FoamError: There are none, as of another branch of OpenFOAM than that of openfoam.com.
    """
    files = sorted((case / "postProcessing" / name).glob("*/force.dat"), key=lambda path: float(path.parent.name))
    rows: dict[float, list[float]] = {}
    for file in files:
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            words = line.replace("(", " ").replace(")", " ").split()
            if len(words) >= 4 and not words[0].startswith("#"):
                try:
                    numbers = [float(word) for word in words[:4]]
                except ValueError:
                    continue
                rows[numbers[0]] = numbers[1:4]
    if not rows:
        raise FoamError(
            f"{case.name}: no forces in postProcessing/{name}/*/force.dat; they are written by OpenFOAM of "
            "openfoam.com from v1912 on (Debian: apt-get install openfoam)"
        )
    order = sorted(rows)
    return np.array(order), np.array([rows[time] for time in order])


def read_residuals(log: Path) -> dict[str, Array]:
    """Equation -> initial residual of every iteration ``[t]`` (of the first solve in it); ``time`` the iterations."""
    out: dict[str, dict[float, float]] = {}
    now = math.nan
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    for line in text.splitlines():
        if found := TIME.match(line):
            now = float(found.group(1))
        elif found := RESIDUAL.search(line):
            try:
                value = float(found.group(2))
            except ValueError:
                value = math.nan
            out.setdefault(found.group(1), {}).setdefault(now, value)
    times = sorted({time for each in out.values() for time in each if math.isfinite(time)})
    table = {name: np.array([each.get(time, math.nan) for time in times]) for name, each in out.items()}
    return {"time": np.array(times), **table}


def largest_residual(residuals: dict[str, Array]) -> Array:
    """``[t]`` the largest of all equations."""
    out: Array = np.max(np.stack([values for name, values in residuals.items() if name != "time"]), axis=0)
    return out


def verdict_of(case: Path, *, residual: float, drag_change: float, window: int) -> Verdict:
    """Judge a finished run.

    Converged is: residuals below ``residual`` (below twenty times that where all iterations were used up), and the drag
    over the last ``window`` iterations within ``drag_change`` of its mean.

    Args:
        case: Its folder.
        residual: Largest initial residual.
        drag_change: Relative.
        window: Iterations.

    Raises:
        FoamError: It left no forces or no residuals.
    """
    times, forces = read_drag(case)
    history = read_residuals(case / "log.simpleFoam")
    if len(history["time"]) == 0:
        raise FoamError(f"{case.name}: no residuals in log.simpleFoam")
    last = float(largest_residual(history)[-1])
    count = int(times[-1])
    if not (np.isfinite(forces).all() and math.isfinite(last) and np.abs(forces).max() < LARGEST):
        return Verdict(False, f"diverged: forces or residuals are not finite or absurd after {count} iterations",
                       count, last, math.inf, (math.nan,) * 3)  # fmt: skip
    recent = forces[-window:]
    mean = recent.mean(axis=0)
    spread = float(np.ptp(recent[:, 0]) / max(abs(float(mean[0])), 1e-12))
    force = (float(mean[0]), float(mean[1]), float(mean[2]))
    steady, small = spread <= drag_change, last <= residual
    if len(forces) < window:
        reason, good = f"only {len(forces)} iterations, fewer than the window of {window}", False
    elif not steady:
        reason, good = f"the drag still changes by {100 * spread:.2g} % over {window} iterations", False
    elif last > SLACK * residual:
        reason, good = f"the largest residual is {last:.2g} after {count} iterations, wanted {residual:.2g}", False
    else:
        how = f"residuals below {residual:.2g}" if small else f"residuals at {last:.2g}"
        reason, good = f"{how} and drag within {100 * spread:.2g} % over {window} iterations", True
    return Verdict(good, reason, count, last, spread, force)
