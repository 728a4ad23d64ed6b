"""Force audit: what reconciles fields and table is named, and no more; the flow it finds gives the table."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from meshops.aero.audit import audit_forces
from meshops.aero.audit_types import AuditCase
from meshops.aero.conditions import FlowConditions
from meshops.aero.forces import integrate_forces
from meshops.aero.integrals import SurfaceIntegrals


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "force_audit.py"
    spec = importlib.util.spec_from_file_location("force_audit", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["force_audit"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def bodies(bench):
    return bench.Bodies()


def test_sound_bodies_agree_as_stated(bodies):
    audit = audit_forces(bodies.sound, stated=True)
    assert audit.reconciled and audit.changes == () and audit.suspects == ()
    assert audit.error["cd"][1] < 0.003 and audit.within > 0.9
    assert audit.flow == bodies.data.flow


def test_seeded_faults_are_named_and_nothing_else_is_said(bench, bodies):
    seeded = [*bench.set_faults(bodies), *bench.case_faults(bodies, np.random.default_rng(1))]
    missed = [fault.name for fault in seeded if not bench.named(fault, audit_forces(fault.cases, stated=True))]
    assert len(seeded) == 40 and missed == []


def test_the_flow_that_is_found_gives_the_numbers_of_the_table(bench, bodies):
    """Pascal at 40 m/s, shear with the sign of the force: forces with the flow found are those of the table."""
    from meshops.doctor import faults

    edit = bench.chain(faults.field_changed("wallShearStressMean", lambda v: -v), bench.fields(1.2 * 40**2))
    audit = audit_forces(bodies.altered(edit), stated=True)
    assert (audit.flow.speed, audit.flow.density, audit.flow.kinematic, audit.flow.shear_sign) == (40.0, 1.2, False, 1)
    for k in (0, 5):
        place = bodies.places[k]
        graph = edit(bodies.data[place].clone_shallow())
        area = SurfaceIntegrals.of(graph).shadow[0]
        forces = integrate_forces(
            graph.normal.numpy(), graph.area.numpy(), graph.field("pMean").numpy(), audit.flow, frontal_area=area,
            shear=graph.field("wallShearStressMean").numpy(),
        )  # fmt: skip
        row = bodies.data.numbers_of(place)
        assert forces.cd == pytest.approx(row["cd"], rel=0.005)
        assert forces.cl == pytest.approx(row["cl"], abs=0.005)


def test_without_a_table_it_says_what_can_be_integrated(bodies):
    bare = [AuditCase(c.name, c.surface, c.flow, {}, {}) for c in bodies.sound]
    audit = audit_forces(bare, stated=False)
    assert not audit.reconciled and not audit.stated
    assert "no drag or lift in the table; 'pMean' and 'wallShearStressMean' can be integrated" in audit.text
    assert "not known, so that forces are not given" in audit.text


def test_numbers_that_have_nothing_to_do_with_the_fields_are_not_reconciled(bodies):
    rng = np.random.default_rng(0)
    other = [AuditCase(c.name, c.surface, c.flow, {"cd": float(v)}, {}) for c, v in
             zip(bodies.sound, rng.uniform(0.1, 1.0, 12), strict=True)]  # fmt: skip
    audit = audit_forces(other, stated=True)
    assert not audit.reconciled and audit.suspects == () and not audit.stated
    assert "under no sign, axis, area or unit that was tried" in audit.text


def test_speed_and_density_of_each_case_are_used(bodies):
    """Drag coefficients with a speed of its own for each case, as columns of the table."""
    rng = np.random.default_rng(2)
    cases = []
    for case in bodies.sound:
        speed = float(rng.uniform(20, 60))
        surface = case.surface
        scaled = SurfaceIntegrals(**{
            **{name: getattr(surface, name) for name in surface.__dataclass_fields__},
            "of_normal": {n: 1.2 * speed**2 * v for n, v in surface.of_normal.items()},
            "of_vector": {n: 1.2 * speed**2 * v for n, v in surface.of_vector.items()},
        })  # fmt: skip
        flow = FlowConditions(shear_sign=-1, ground=None)
        cases.append(AuditCase(case.name, scaled, flow, case.numbers, {"speed": speed, "density": 1.2}))
    audit = audit_forces(cases, stated=False)
    assert audit.reconciled and audit.changes == () and audit.error["cd"][1] < 0.003


def test_every_shared_case_with_a_table(shared_data: Path):
    """Drag agrees within 1 % but for three runs, whose fields are an instant and whose table is a mean."""
    from meshops.datasets import AhmedML

    data = AhmedML(shared_data / "ahmed_rans", "all")
    cases = [AuditCase(name, SurfaceIntegrals.of(data[i]), data.flow, data.numbers_of(i), {})
             for i, name in enumerate(data.cases)]  # fmt: skip
    audit = audit_forces(cases, stated=True)
    assert audit.reconciled and audit.changes == ()
    assert audit.error["cd"][0] < 0.001 and audit.error["cd"][1] < 0.025
    assert {suspect.kind for suspect in audit.suspects} == {"off"}
