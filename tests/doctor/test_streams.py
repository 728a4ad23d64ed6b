"""Speed and density of each case: forces are divided by them, or are not given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import pyvista as pv

from meshops.aero.conditions import FlowConditions, named_stream, stream_of
from meshops.datasets.study import Study
from meshops.doctor.look import look_at, study_of

SPEEDS = (21.0, 26.0, 30.0, 33.0, 38.0, 44.0)
AREA = 0.11


def bodies(folder: Path, *, coefficient: bool) -> Path:
    """Bodies at a speed each, 1.2 kg/m^3, pressure in Pa, and their drag in the table."""
    folder.mkdir()
    rows = ["case,U_inf [m/s]," + ("Cd" if coefficient else "drag [N]")]
    for i, speed in enumerate(SPEEDS):
        body = pv.Sphere(radius=0.5, theta_resolution=18, phi_resolution=16)
        body.points = body.points * np.array([1.0 + 0.05 * i, 0.4, 0.3])
        body = body.compute_normals(auto_orient_normals=True, cell_normals=True).compute_cell_sizes()
        normal, area = np.asarray(body.cell_data["Normals"]), np.asarray(body.cell_data["Area"])
        across = np.sqrt(1 - normal[:, 0] ** 2)
        pressure = 0.6 * speed**2 * np.where(normal[:, 0] < 0, 1 - 1.5 * across**2, -0.3 - 0.4 * across**2)
        drag = float(-(pressure * normal[:, 0] * area).sum())
        body.clear_data()
        body.cell_data["p"] = pressure
        body.save(folder / f"body_{i}.vtp")
        rows.append(f"body_{i},{speed},{drag / (0.6 * speed**2 * AREA) if coefficient else drag}")
    (folder / "runs.csv").write_text("\n".join(rows))
    return folder


def test_coefficients_use_the_speed_of_each_case(tmp_path: Path) -> None:
    found = look_at(study_of(bodies(tmp_path / "runs", coefficient=True)))
    assert found.audit is not None and found.audit.reconciled and found.study.flow_stated
    data = found.study.open()
    assert [data.flow_of(i).speed for i in range(len(data))] == list(SPEEDS)
    again = look_at(Study.load(found.study.save(tmp_path / "runs")))  # what it wrote is read in the same way
    assert again.audit is not None and again.audit.reconciled and not again.audit.changes


def test_forces_without_a_density_state_no_flow(tmp_path: Path) -> None:
    found = look_at(study_of(bodies(tmp_path / "runs", coefficient=False)))
    assert found.audit is not None and found.audit.reconciled
    assert not found.study.flow_stated and "state both" in found.study.guesses["flow_stated"]


@pytest.mark.parametrize(
    ("given", "speed", "density"),
    [({"U_inf": 30.0, "aoa": 2.0}, 30.0, 1.2), ({"rho": 1.1}, 10.0, 1.1), ({"speed": 5.0, "u_ref": 6.0}, 10.0, 1.2)],
)
def test_names_of_a_stream(given: dict[str, float], speed: float, density: float) -> None:
    flow = stream_of(FlowConditions(speed=10.0, density=1.2), given)
    assert (flow.speed, flow.density) == (speed, density)
    assert not named_stream({"speed": 0.0, "rho": float("nan")})


def test_a_case_in_millimetres_and_a_copy_are_left_out(tmp_path: Path) -> None:
    folder = bodies(tmp_path / "runs", coefficient=True)
    big = pv.read(folder / "body_2.vtp")
    big.points = big.points * 1000.0
    big.save(folder / "body_2.vtp")
    (folder / "body_4.vtp").write_bytes((folder / "body_1.vtp").read_bytes())
    study = look_at(study_of(folder)).study
    assert set(study.left_out) == {"body_2", "body_4"}
    assert set(study.open().cases) == {"body_0", "body_1", "body_3", "body_5"}
