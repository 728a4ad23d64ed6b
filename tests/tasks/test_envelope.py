"""Descriptors of known bodies, and where shapes are placed."""

import numpy as np
import pytest
import pyvista as pv

from meshops.aero.conditions import FlowConditions
from meshops.tasks.cases import BodySurface
from meshops.tasks.envelope import DESCRIPTORS, Envelope


def box(length=1.0, width=0.4, height=0.3, clearance=0.05) -> np.ndarray:
    mesh = pv.Box((0, length, -width / 2, width / 2, clearance, clearance + height)).triangulate()
    return BodySurface.of(mesh).descriptors(FlowConditions())


def test_descriptors_of_a_box():
    values = dict(zip(DESCRIPTORS, box(), strict=True))
    assert values["length"] == pytest.approx(1.0)
    assert values["width"] == pytest.approx(0.4)
    assert values["ground clearance"] == pytest.approx(0.05)
    assert values["surface area"] == pytest.approx(2 * (0.4 + 0.3 + 0.12))
    assert values["volume"] == pytest.approx(0.12)
    assert values["frontal area"] == pytest.approx(0.12, rel=2e-3)
    assert values["front-facing share"] == pytest.approx(0.12 / 1.64)
    assert values["rear slant share"] == 0


def test_descriptors_do_not_depend_on_the_axes_of_the_file():
    mesh = pv.Box((0, 1.0, -0.2, 0.2, 0.05, 0.35)).triangulate()
    turned = mesh.copy()
    turned.points = np.asarray(mesh.points)[:, [1, 2, 0]]  # x -> z, y -> x, z -> y: flow along z, y up
    conditions = FlowConditions(flow=(0, 0, 1), up=(0, 1, 0))
    assert np.allclose(BodySurface.of(turned).descriptors(conditions), box(), atol=1e-6)


@pytest.fixture(scope="module")
def envelope() -> Envelope:
    rng = np.random.default_rng(0)
    sizes = rng.uniform([0.9, 0.35, 0.25, 0.03], [1.1, 0.45, 0.35, 0.07], (20, 4))
    return Envelope(np.array([box(*row) for row in sizes]), tuple(f"s{i}" for i in range(20)))


def test_levels(envelope):
    assert envelope.judge(box()).level == "inside"
    assert envelope.judge(box(length=1.11)).level == "edge"
    far = envelope.judge(box(length=2.0))
    assert far.level == "outside"
    assert "length" in far.sentence and "extrapolation" in far.sentence
    assert not dict((row[0], row[5]) for row in far.rows)["length"]


def test_a_training_shape_is_its_own_nearest(envelope):
    judged = envelope.judge(envelope.values[7])
    assert judged.nearest == "s7" and judged.distance == pytest.approx(0)


def test_units_are_guessed(envelope):
    assert "millimetres" in envelope.unit_hint(box(1000, 400, 300, 50))
    assert "--scale 0.001" in envelope.unit_hint(box(1000, 400, 300, 50))
    assert "check its unit" in envelope.unit_hint(box(10, 4, 3, 0.5))
    assert envelope.unit_hint(box()) == ""


def test_survives_the_checkpoint(envelope):
    again = Envelope.from_dict(envelope.to_dict())
    assert np.array_equal(again.values, envelope.values) and again.shapes == envelope.shapes
