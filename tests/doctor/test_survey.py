"""One pass over the cases: what is kept of each, and that no case ends it."""

from __future__ import annotations

import numpy as np
import torch

from meshops.doctor import faults, survey
from meshops.doctor.facts import LEVELS, facts_of
from meshops.doctor.faults import Altered


def test_facts_are_those_of_the_arrays(bodies, body_survey):
    graph, facts = bodies[3], body_survey.cases[3]
    p, tau = graph.field("pMean").double().numpy(), graph.field("wallShearStressMean").double().numpy()
    assert (facts.nodes, facts.cells, facts.dim, facts.location) == (len(p), graph.num_cells, 3, "cell")
    field = facts.fields["pMean"]
    np.testing.assert_allclose([field.minimum, field.mean, field.maximum], [p.min(), p.mean(), p.max()])
    np.testing.assert_allclose(field.sketch, np.quantile(p, LEVELS))
    shear = facts.fields["wallShearStressMean"]
    np.testing.assert_allclose(shear.sketch[-1], np.linalg.norm(tau, axis=1).max())
    area = graph.area.double().numpy()
    mean = (area[:, None] * tau).sum(0) / area.sum()
    rms = np.sqrt((area * (tau**2).sum(1)).sum() / area.sum())
    np.testing.assert_allclose(shear.dipole, mean / rms, rtol=1e-6, atol=1e-9)


def test_sketches_do_not_depend_on_order_and_pose(airfoils):
    graph = airfoils[0]
    order = torch.randperm(len(graph.pos))
    moved = graph.subset(order)
    moved.pos = moved.pos @ faults.quarter_turn(2, 33.0).float() + 5
    before, after = facts_of(graph, 0, "a"), facts_of(moved, 0, "b")
    np.testing.assert_allclose(before.fields["p"].sketch, after.fields["p"].sketch)
    assert before.points_key != after.points_key


def test_dipoles_turn_with_the_case(airfoils):
    matrix = faults.quarter_turn(2, 33.0)
    graph = airfoils[2].clone_shallow()
    before = facts_of(graph, 0, "a")
    after = facts_of(faults.turned_by(matrix)(graph), 0, "a")
    for name in ("p", "U"):
        np.testing.assert_allclose(after.fields[name].dipole, matrix.numpy() @ before.fields[name].dipole, atol=1e-6)
    np.testing.assert_allclose(after.moments, matrix.numpy() @ before.moments @ matrix.numpy().T, atol=1e-7)


def test_one_bad_case_never_ends_it(airfoils):
    def breaks(graph):
        raise ZeroDivisionError("a reader of someone else")

    steps = []
    data = Altered(airfoils, edits={0: faults.truncated, 5: breaks})
    facts = survey(data, progress=lambda done, total: steps.append((done, total)))
    assert [c.name for c in facts.cases if c.error] == ["angle_00", "angle_05"]
    assert facts.cases[5].error == "ZeroDivisionError: a reader of someone else"
    assert len(facts.good) == 22 and steps[-1] == (24, 24)


def test_meshes_are_the_same_numbered_alike_or_different(airfoils, bodies, body_survey, airfoil_survey):
    assert (airfoil_survey.meshes, body_survey.meshes) == ("same", "different")
    stretched = Altered(bodies, order=[0] * 4, edits={k: faults.scaled_by(1 + k / 100) for k in range(1, 4)})
    assert survey(stretched).meshes == "corresponding"
