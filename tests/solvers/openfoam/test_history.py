"""Verdicts on runs, from logs and forces written here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from meshops.solvers.openfoam.history import read_drag, read_residuals, verdict_of
from meshops.solvers.openfoam.programs import FoamError

ASKED = {"residual": 1e-4, "drag_change": 0.01, "window": 20}


def write_run(case: Path, drag: np.ndarray, residual: np.ndarray) -> Path:
    folder = case / "postProcessing" / "forces" / "0"
    folder.mkdir(parents=True)
    rows = [f"{i + 1}\t({x:.9g} 0.5 -0.1) ({x:.9g} 0 0) (0 0 0)" for i, x in enumerate(drag)]
    (folder / "force.dat").write_text("# Force\n# Time (total_x total_y total_z) ...\n" + "\n".join(rows) + "\n")
    lines = []
    for i, r in enumerate(residual):
        lines += [
            f"Time = {i + 1}",
            f"smoothSolver:  Solving for Ux, Initial residual = {r / 2:.6g}, Final residual = 1e-9, No Iterations 2",
            f"GAMG:  Solving for p, Initial residual = {r:.6g}, Final residual = 1e-9, No Iterations 2",
            "GAMG:  Solving for p, Initial residual = 1, Final residual = 1e-9, No Iterations 2",
        ]
    (case / "log.simpleFoam").write_text("\n".join(lines) + "\n")
    return case


def test_a_run_that_settles_has_converged_and_its_force_is_the_mean_of_the_window(tmp_path: Path) -> None:
    drag = 0.02 + 0.01 * np.exp(-np.arange(100) / 8)
    write_run(tmp_path, drag, 0.9 * 10 ** (-np.arange(100) / 24))
    found = verdict_of(tmp_path, **ASKED)
    assert found.converged
    assert found.iterations == 100
    assert found.force == pytest.approx((drag[-20:].mean(), 0.5, -0.1), rel=1e-6)
    assert read_drag(tmp_path)[0].tolist() == list(range(1, 101))
    assert sorted(read_residuals(tmp_path / "log.simpleFoam")) == ["Ux", "p", "time"]
    assert read_residuals(tmp_path / "log.simpleFoam")["p"][0] == pytest.approx(0.9)  # the first solve of an iteration


@pytest.mark.parametrize(
    ("drag", "residual", "told"),
    [
        (np.r_[np.full(50, 0.02), np.nan], np.full(51, 1e-5), "diverged"),
        (np.r_[np.full(50, 0.02), 1e9], np.full(51, 1e-5), "diverged"),
        (0.02 + 0.001 * np.sin(np.arange(60)), np.full(60, 1e-5), "the drag still changes by"),
        (np.full(60, 0.02), np.full(60, 0.01), "the largest residual is 0.01 after 60 iterations"),
        (np.full(5, 0.02), np.full(5, 1e-5), "only 5 iterations"),
    ],
)
def test_others_are_refused_and_say_why(tmp_path: Path, drag: np.ndarray, residual: np.ndarray, told: str) -> None:
    found = verdict_of(write_run(tmp_path, drag, residual), **ASKED)
    assert not found.converged
    assert told in found.reason


def test_a_run_without_forces_says_which_openfoam_writes_them(tmp_path: Path) -> None:
    with pytest.raises(FoamError, match=r"no forces.*openfoam.com"):
        verdict_of(tmp_path, **ASKED)
