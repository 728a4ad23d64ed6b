"""Place, axes, unit, speed and density of a case change nothing but the axes and the scale of what is predicted.

Through the real path: a model trained for a few steps on shipped cases, then files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import pyvista as pv

from meshops.aero.conditions import FlowConditions
from meshops.datasets import AhmedMini, registry
from meshops.errors import InputError
from meshops.solvers.ahmed_body import ahmed_body
from meshops.surrogate import Surrogate, load
from meshops.tasks import FieldsSettings, Prediction
from meshops.training import DataConfig, RunConfig, TrainConfig, train

MODEL = {"name": "mspt", "channels": 16, "depth": 2, "num_heads": 2, "num_patches": 8}
CLOSE = 1e-4


class AirAndWater(AhmedMini):
    """The shipped cases with a viscosity, so that the Reynolds number is an input."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.flow = replace(self.flow, viscosity=1e-6)


@pytest.fixture(scope="module")
def surrogate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Surrogate]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry._DATASETS, "viscous", registry.Registered(AirAndWater))
        config = RunConfig(
            out=str(tmp_path_factory.mktemp("pose") / "run"),
            model=MODEL,
            data=DataConfig(name="viscous", test=""),
            task=FieldsSettings(nodes=1024, radii=(0.16, 0.32), max_sources=512, passes=1, mesh_cues=True),
            train=TrainConfig(steps=40, batch_size=1, lr=3e-3, threads=1),
        )
        yield train(config).surrogate


@pytest.fixture(scope="module")
def mesh() -> pv.PolyData:
    out = AhmedMini("test").mesh(0)
    out.points = np.asarray(out.points, dtype=np.float64)
    return out


@pytest.fixture(scope="module")
def plain(surrogate: Surrogate, mesh: pv.PolyData) -> Prediction:
    return surrogate.predict(mesh)


def moved(mesh: pv.PolyData, change: Callable[[np.ndarray], np.ndarray]) -> pv.PolyData:
    out = mesh.copy()
    out.points = change(np.asarray(mesh.points))
    return out


def agree(first: Prediction, second: Prediction, pressure: float = 1.0, turn: np.ndarray | None = None) -> None:
    """The same coefficients; fields that differ by the factor and the rotation only; the same verdict."""
    assert first.forces is not None and second.forces is not None
    for name in ("cd", "cl", "cd_pressure", "cd_friction"):
        assert getattr(second.forces, name) == pytest.approx(getattr(first.forces, name), rel=CLOSE, abs=1e-6), name
    shear = first.fields["wallShearStressMean"] @ (np.eye(3) if turn is None else turn).T
    for one, other in ((first.fields["pMean"], second.fields["pMean"]), (shear, second.fields["wallShearStressMean"])):
        assert np.linalg.norm(other - pressure * one) < CLOSE * pressure * np.linalg.norm(one)
    assert first.verdict is not None and second.verdict is not None
    assert second.verdict.level == first.verdict.level and second.cues == first.cues


@pytest.mark.parametrize("shift", [(-1.0, 0, 0), (0, 0.5, 0), (1e4, -2e3, 0)], ids=["along", "sideways", "10 km"])
def test_moved(surrogate, mesh, plain, shift):
    agree(plain, surrogate.predict(moved(mesh, lambda p: p + np.array(shift))))


def test_in_single_precision(surrogate, mesh, plain):
    """The noise of the file, 1e-7 of the size, changes neither the patches nor the panels."""
    there = moved(mesh, lambda p: p + np.array([-1.0, 0.5, 0.0]))
    there.points = np.asarray(there.points, dtype=np.float32)
    agree(plain, surrogate.predict(there))


def test_in_millimetres(surrogate, mesh, plain):
    large = moved(mesh, lambda p: 1000 * p)
    agree(plain, surrogate.predict(large, scale=0.001))
    with pytest.raises(InputError, match=r"millimetres\? Then pass --scale 0\.001"):
        surrogate.predict(large)
    taken = surrogate.predict(large, scale=1.0)  # said explicitly: then it is a body of a kilometre
    assert any("millimetres" in note for note in taken.case.notes)
    assert taken.verdict.level == "outside" and "log Reynolds number" in taken.verdict.sentence


def test_axes_turned_with_the_conditions(surrogate, mesh, plain):
    a, b = np.deg2rad(37.0), np.deg2rad(-21.0)
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    for turn in (about_z @ about_x, np.eye(3)[[1, 2, 0]]):
        axes = {key: tuple(turn @ getattr(surrogate.spec.flow, key)) for key in ("flow", "up")}
        flow = replace(surrogate.spec.flow, **axes)
        agree(plain, surrogate.predict(moved(mesh, lambda p, r=turn: p @ r.T), flow=flow), turn=turn)


def test_speed_and_density_at_equal_reynolds_number(surrogate, mesh, plain):
    trained = surrogate.spec.flow
    fast = replace(trained, speed=30.0, density=1.2, viscosity=36 * trained.viscosity)
    prediction = surrogate.predict(mesh, flow=fast)
    agree(plain, prediction, pressure=900.0)  # kinematic, as in training
    assert np.allclose(prediction.forces.pressure, 900 * 1.2 * np.array(plain.forces.pressure), rtol=1e-3)
    pascal = surrogate.predict(mesh, flow=replace(fast, kinematic=False, reference_pressure=1e5))
    assert np.allclose(pascal.forces.pressure, prediction.forces.pressure, rtol=1e-3)
    gauge = pascal.fields["pMean"].astype(np.float64) - 1e5
    assert np.abs(gauge - 1.2 * prediction.fields["pMean"]).max() < 0.01  # a pressure of 1e5 has steps of 0.008
    force_on_body = surrogate.predict(mesh, flow=replace(fast, kinematic=False, shear_sign=1))
    assert np.allclose(force_on_body.fields["wallShearStressMean"], -1080 * plain.fields["wallShearStressMean"],
                       rtol=1e-3, atol=1e-3)  # fmt: skip
    assert force_on_body.forces.cd == pytest.approx(plain.forces.cd, rel=CLOSE)


def test_another_reynolds_number_is_another_flow(surrogate, mesh, plain):
    slow = surrogate.predict(mesh, flow=replace(surrogate.spec.flow, speed=0.2))
    assert slow.verdict.level == "outside" and "log Reynolds number" in slow.verdict.sentence
    assert abs(slow.forces.cd - plain.forces.cd) > 1e-3
    with pytest.raises(InputError, match="viscosity"):
        surrogate.predict(mesh, flow=FlowConditions(speed=20))


def test_a_body_higher_above_the_ground_is_noticed(surrogate, mesh):
    judged = surrogate.predict(moved(mesh, lambda p: p + np.array([0, 0, 0.3]))).verdict
    assert judged.level == "outside" and "ground clearance / length" in judged.sentence


def test_a_body_without_mirror_plane_is_outside(surrogate):
    body = ahmed_body(length=1.0, width=0.36, height=0.29, front_radius=0.1, slant_length=0.2, slant_angle=20.0,
                      ground_clearance=0.05)  # fmt: skip
    straight, sheared = (
        surrogate.predict(body),
        surrogate.predict(moved(body, lambda p: p + 0.3 * p[:, [1]] * [0, 0, 1])),
    )
    assert surrogate.spec.flow.symmetric and straight.verdict.level != "outside"
    assert sheared.verdict.level == "outside" and "no mirror plane" in sheared.verdict.sentence
    assert any("no mirror plane" in note for note in sheared.case.notes)
    assert not any("no mirror plane" in note for note in straight.case.notes)


def test_mirrored_fields_on_a_body_with_a_mirror_plane(surrogate, mesh):
    """The body lies beside y = 0: its own mid-plane counts."""
    beside = moved(mesh, lambda p: p + np.array([0, 3.0, 0]))
    mirrored = moved(beside, lambda p: p * [1, -1, 1])
    mirrored.flip_faces(inplace=True)
    first, second = surrogate.predict(beside), surrogate.predict(mirrored)
    shear = first.fields["wallShearStressMean"] * [1, -1, 1]
    pairs = [(first.fields["pMean"], second.fields["pMean"]), (shear, second.fields["wallShearStressMean"])]
    for one, other in pairs:  # equal but for the grouping of cells into panels, which knows no left and right
        assert np.linalg.norm(one - other) < 0.02 * np.linalg.norm(one)


def test_held_out_shapes_are_not_called_outside(surrogate):
    data = AhmedMini("test")
    levels = [surrogate.predict(data.mesh(i)).verdict.level for i in range(3)]
    assert "outside" not in levels


def test_other_conditions_on_an_opened_case(surrogate, mesh, plain):
    """The features of the case are made anew when its conditions change."""
    case = surrogate.predict(moved(mesh, lambda p: p)).case
    flow = replace(surrogate.spec.flow, flow=(-1.0, 0.0, 0.0))
    assert abs(surrogate.predict(case, flow=flow).forces.cl - plain.forces.cl) > 1e-4
    agree(plain, surrogate.predict(case, flow=surrogate.spec.flow))


def test_survives_the_checkpoint(surrogate, mesh, plain, tmp_path: Path):
    again = load(surrogate.save(tmp_path / "model.ckpt"))
    assert again.spec == surrogate.spec
    agree(plain, again.predict(mesh))


def test_numbers_of_the_flow_are_asked_by_name(surrogate, mesh):
    """``--set speed=30`` is the flow of the training at that speed; what no flow has is refused."""
    trained = surrogate.spec.flow
    named = surrogate.predict(mesh, conditions={"speed": 30.0, "viscosity": 30 * trained.viscosity})
    meant = surrogate.predict(mesh, flow=replace(trained, speed=30.0, viscosity=30 * trained.viscosity))
    assert np.array_equal(named.fields["pMean"], meant.fields["pMean"]) and named.forces == meant.forces
    with pytest.raises(InputError, match="not trained with the condition 'wind'"):
        surrogate.predict(mesh, conditions={"speed": 30.0, "wind": 1.0})
    with pytest.raises(InputError, match="speed must be positive"):
        surrogate.predict(mesh, conditions={"speed": 0.0})
