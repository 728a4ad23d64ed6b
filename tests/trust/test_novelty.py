"""Descriptors of known bodies, and where shapes are placed."""

import numpy as np
import pytest
import pyvista as pv
from torch import nn

from meshops.aero.body_surface import BodySurface
from meshops.aero.conditions import FlowConditions
from meshops.aero.descriptors import DESCRIPTORS
from meshops.datasets.graph_list import GraphList
from meshops.errors import InputError
from meshops.tasks.fields import FieldsTask
from meshops.tasks.fields_samples import FieldsSamples
from meshops.tasks.fields_spec import FieldsSettings
from meshops.trust import Novelty
from meshops.trust.novelty import FeatureRange
from tests.trust.sheets import graph


def box(length=1.0, width=0.4, height=0.3, clearance=0.05) -> np.ndarray:
    mesh = pv.Box((0, length, -width / 2, width / 2, clearance, clearance + height)).triangulate()
    return BodySurface.of(mesh).descriptors(FlowConditions())


def test_descriptors_of_a_box():
    values = dict(zip(DESCRIPTORS, box(), strict=True))
    assert values["length"] == pytest.approx(1.0)
    assert values["width / length"] == pytest.approx(0.4)
    assert values["ground clearance / length"] == pytest.approx(0.05)
    assert values["surface area / length^2"] == pytest.approx(2 * (0.4 + 0.3 + 0.12))
    assert values["volume / length^3"] == pytest.approx(0.12)
    assert values["frontal area / length^2"] == pytest.approx(0.12, rel=2e-3)
    assert values["log Reynolds number"] == 0
    assert values["front-facing share"] == pytest.approx(0.12 / 1.64)
    assert values["rear slant share"] == 0


def test_descriptors_do_not_depend_on_the_axes_of_the_file():
    mesh = pv.Box((0, 1.0, -0.2, 0.2, 0.05, 0.35)).triangulate()
    turned = mesh.copy()
    turned.points = np.asarray(mesh.points)[:, [1, 2, 0]]  # x -> z, y -> x, z -> y: flow along z, y up
    conditions = FlowConditions(flow=(0, 0, 1), up=(0, 1, 0))
    assert np.allclose(BodySurface.of(turned).descriptors(conditions), box(), atol=1e-6)


@pytest.mark.parametrize("factor", [1.0, 1000.0])
def test_only_the_length_depends_on_place_and_unit(factor):
    mesh = pv.Box((0, 1.0, -0.2, 0.2, 0.05, 0.35)).triangulate()
    mesh.points = (np.asarray(mesh.points, dtype=np.float64) + np.array([1e4, -7.0, 0.0])) * factor
    values = BodySurface.of(mesh).descriptors(FlowConditions())
    assert values[0] == pytest.approx(factor) and np.allclose(values[1:], box()[1:], atol=1e-6)
    high = np.asarray(mesh.points) + np.array([0, 0, 3.0 * factor])
    mesh.points = high
    free = FlowConditions(ground=None)  # no ground: the height in the file means nothing
    assert np.allclose(BodySurface.of(mesh).descriptors(free)[4:], box()[4:], atol=1e-6)


def test_the_reynolds_number_is_a_descriptor_where_the_viscosity_is_known():
    mesh = pv.Box((0, 2.0, -0.4, 0.4, 0.1, 0.7)).triangulate()
    values = BodySurface.of(mesh).descriptors(FlowConditions(viscosity=1e-5, speed=10))
    assert dict(zip(DESCRIPTORS, values, strict=True))["log Reynolds number"] == pytest.approx(np.log(2e6))


@pytest.fixture(scope="module")
def novelty() -> Novelty:
    rng = np.random.default_rng(0)
    sizes = rng.uniform([0.9, 0.35, 0.25, 0.03], [1.1, 0.45, 0.35, 0.07], (20, 4))
    return Novelty(np.array([box(*row) for row in sizes]), tuple(f"s{i}" for i in range(20)))


def test_levels(novelty):
    assert novelty.judge(box()).level == "inside"
    widest = float(novelty.values[:, 1].max())
    assert novelty.judge(box(width=widest + 0.02)).level == "edge"
    far = novelty.judge(box(length=2.0))
    assert far.level == "outside"
    assert "width / length" in far.sentence and "extrapolation" in far.sentence
    assert not dict((row[0], row[5]) for row in far.rows)["width / length"]


def test_size_alone_says_nothing(novelty):
    assert novelty.judge(box(5.0, 2.0, 1.5, 0.25)).level == "inside"


def test_nodes_unlike_those_of_the_training_count(novelty):
    rng = np.random.default_rng(0)
    seen = [rng.uniform(0, 1, (500, 3)) for _ in range(3)]
    known = Novelty(novelty.values, novelty.shapes, FeatureRange.over(("a", "b", "c"), seen))
    assert known.judge(box(), seen[0] * [1.05, 1, 1]).level == "inside"
    for share, level in ((0.02, "inside"), (0.15, "edge"), (0.5, "outside")):
        nodes = seen[0].copy()
        nodes[: int(share * len(nodes)), 1] = -3.0
        judged = known.judge(box(), nodes)
        assert judged.level == level
        assert level == "inside" or f"{100 * share:.0f} % of its nodes look like none" in judged.sentence
        assert level == "inside" or judged.sentence.endswith(": b.")


def test_a_shape_without_mirror_plane_is_outside(novelty):
    judged = novelty.judge(box(), lopsided=0.07)
    assert judged.level == "outside" and "no mirror plane (7 % of its area" in judged.sentence


def test_absurd_lengths_are_refused(novelty):
    novelty.check_length(10.0, "car.stl")
    for length, words in ((1000.0, r"millimetres\? Then pass --scale 0\.001 "), (0.01, "another unit")):
        with pytest.raises(InputError, match=rf"car.stl: the body is {length:g} m long, .*{words}"):
            novelty.check_length(length, "car.stl")


def test_a_training_shape_is_its_own_nearest(novelty):
    judged = novelty.judge(novelty.values[7])
    assert judged.nearest == "s7" and judged.distance == pytest.approx(0)


def test_units_are_guessed(novelty):
    assert "millimetres" in novelty.unit_hint(box(1000, 400, 300, 50))
    assert "--scale 0.001" in novelty.unit_hint(box(1000, 400, 300, 50))
    assert "check its unit" in novelty.unit_hint(box(10, 4, 3, 0.5))
    assert novelty.unit_hint(box()) == ""


def test_survives_the_checkpoint(novelty):
    again = Novelty.from_dict(novelty.to_dict())
    assert np.array_equal(again.values, novelty.values) and again.shapes == novelty.shapes and again.features is None
    seen = FeatureRange.over(("a",), [np.array([[0.0], [2.0]]), np.array([[-1.0]])])
    back = Novelty.from_dict(Novelty(novelty.values, novelty.shapes, seen).to_dict()).features
    assert back is not None and (back.names, back.low.tolist(), back.high.tolist()) == (("a",), [-1.0], [2.0])


def plain(*rows: tuple[float, float]) -> tuple[FieldsTask, FieldsSamples]:
    """Sheets of a width at an angle, prepared."""
    settings = FieldsSettings()
    samples = FieldsTask.samples(GraphList([graph(*row, name=f"s{i}") for i, row in enumerate(rows)]), settings)
    return FieldsTask.fit(nn.Identity(), samples, settings), samples


LATTICE = [(1.0 + 0.1 * i, 0.25 * j) for i in range(5) for j in range(-4, 5)]


def test_plain_graphs_are_placed_by_conditions_and_shape() -> None:
    task, samples = plain(*LATTICE)
    known = Novelty.of(task, samples)
    assert known is not None and known.described[0] == ("angle", "")
    for width, angle, level in ((1.17, 0.1, "inside"), (1.17, 9.0, "outside"), (6.0, 0.1, "outside")):
        judged = known.of_case(task, task.open(graph(width, angle)))
        assert judged is not None and judged.level == level, (width, angle)
        assert (level == "inside") == judged.sentence.startswith("The shape lies inside")
    assert "Out of range: angle" in known.of_case(task, task.open(graph(1.17, 9.0))).sentence


def test_each_training_case_is_placed_beside_the_others() -> None:
    task, samples = plain(*LATTICE, (1.2, 7.0))
    known = Novelty.of(task, samples)
    assert known is not None
    placed = known.left_out(task, samples)
    assert len(placed) == len(samples) == 46
    assert [v.level for v in placed].count("outside") == 1 and placed[-1].level == "outside"
    assert all(verdict.nearest != name for verdict, name in zip(placed, known.shapes, strict=True))


def test_cases_that_do_not_differ_are_not_described() -> None:
    rows = [graph(1.0, 0.0, name=f"s{i}") for i in range(3)]
    settings = FieldsSettings(shape=True)
    samples = FieldsTask.samples(GraphList(rows), settings)
    assert Novelty.of(FieldsTask.fit(nn.Identity(), samples, settings), samples) is None


def test_shape_modes_survive_the_checkpoint() -> None:
    task, samples = plain(*LATTICE)
    known = Novelty.of(task, samples)
    assert known is not None
    again = Novelty.from_dict(known.to_dict())
    case = task.open(graph(1.17, 0.1))
    assert again.of_case(task, case) == known.of_case(task, case)
