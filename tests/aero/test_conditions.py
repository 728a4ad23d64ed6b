"""Conditions: scales, Reynolds number, and what is refused."""

import pytest

from meshops.aero.conditions import FlowConditions
from meshops.errors import InputError


def test_scales_follow_the_unit_of_the_pressure():
    pascal, kinematic = (FlowConditions(speed=30, density=1.2, kinematic=k) for k in (False, True))
    assert pascal.pressure_scale == pytest.approx(1080) and pascal.dynamic_pressure == pytest.approx(540)
    assert kinematic.pressure_scale == pytest.approx(900) and kinematic.dynamic_pressure == pytest.approx(450)


def test_reynolds_number_does_not_depend_on_the_unit_of_the_pressure():
    air = FlowConditions(speed=30, density=1.2, viscosity=1.8e-5)
    assert air.reynolds(0.9) == pytest.approx(1.8e6)
    assert FlowConditions.from_dict(air.to_dict() | {"kinematic": True}).reynolds(0.9) == pytest.approx(1.8e6)
    with pytest.raises(InputError, match="needs the viscosity"):
        FlowConditions().reynolds(1.0)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"speed": 0.0}, "speed must be positive"),
        ({"density": float("nan")}, "density must be positive"),
        ({"flow": (1.0, 0.1, 0.0)}, "flow must be a vector of length 1"),
        ({"up": (0.6, 0.0, 0.8)}, "right angles"),
    ],
)
def test_refused(wrong, words):
    with pytest.raises(InputError, match=words):
        FlowConditions(**wrong)
