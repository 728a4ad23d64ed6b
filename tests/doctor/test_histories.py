"""Histories of residuals and forces: settled, drifting, growing, ended early."""

from __future__ import annotations

import numpy as np
import pytest

from meshops.datasets import AhmedMini
from meshops.doctor import faults, survey
from meshops.doctor.histories import judge_history, read_history, unconverged


@pytest.mark.parametrize("seed", range(5))
def test_tables_that_solvers_write(tmp_path, seed):
    settled = faults.write_history(tmp_path / "a_history.csv", converged=True, seed=seed)
    drifting = faults.write_history(tmp_path / "b_history.csv", converged=False, seed=seed)
    assert judge_history(read_history(settled)) == ""
    assert "still" in judge_history(read_history(drifting))


def test_a_force_that_oscillates_about_its_mean_has_settled():
    t = np.arange(600)
    assert judge_history({"Cd": 0.3 + 0.05 * np.sin(0.21 * t)}) == ""
    assert "Cd still drifts by" in judge_history({"Cd": 0.3 + 0.0005 * t})
    assert judge_history({"iteration": t.astype(float)}) == ""


def test_residuals_that_grow_or_end_in_nan():
    t = np.arange(300.0)
    assert "grows by a factor" in judge_history({"residual": 1e-5 * 10 ** (t / 60)})
    assert "ends in nan" in judge_history({"Cl": np.where(t < 250, 0.1, np.nan)})


def test_openfoam_logs_and_coefficients(tmp_path):
    lines = []
    for i in range(1, 61):
        lines += [
            f"Time = {i}",
            f"smoothSolver:  Solving for Ux, Initial residual = {10 ** (-i / 30):.4e}, Final residual = 1e-9",
            f"GAMG:  Solving for p, Initial residual = {0.1 * 10 ** (-i / 15):.4e}, Final residual = 1e-8",
        ]
    log = tmp_path / "log.simpleFoam"
    log.write_text("\n".join(lines))
    columns = read_history(log)
    assert set(columns) == {"residual of Ux", "residual of p"} and len(columns["residual of p"]) == 60
    np.testing.assert_allclose(columns["residual of Ux"][29], 0.1, rtol=1e-3)
    assert "residual of Ux still falls" in judge_history(columns)
    table = tmp_path / "coefficient.dat"
    rows = [f"{i} {0.3 + 0.001 * i} 0.1" for i in range(50)]
    table.write_text("# Force coefficients\n# Time Cd Cl\n" + "\n".join(rows))
    assert "Cd still drifts" in judge_history(read_history(table))


def test_a_history_belongs_to_the_case_beside_it(tmp_path):
    root = AhmedMini.standin(tmp_path, 4)
    faults.write_history(root / "run_2" / "history.csv", converged=False)
    faults.write_history(root / "run_3" / "history.csv", converged=True)
    (root / "run_4" / "notes.csv").write_text("who,when\nme,now\n")
    from meshops.datasets import AhmedML

    found = list(unconverged(survey(AhmedML(root, "all"))))
    assert [(f.case, f.kind) for f in found] == [("run_2", "not converged")]
    assert "history.csv" in found[0].evidence
