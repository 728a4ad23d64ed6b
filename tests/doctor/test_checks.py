"""The run doctor: seeded faults are named, sound sets are left alone, whatever their order and place."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from meshops.doctor import diagnose, faults, problems, survey
from meshops.doctor.faults import Altered
from meshops.doctor.tell import short
from meshops.errors import InputError

GENERAL = range(12)


def kinds(found):
    return {(f.kind, f.case) for f in found}


def test_sound_sets_have_no_problems(airfoil_survey, body_survey):
    for facts in (airfoil_survey, body_survey):
        assert problems(diagnose(facts)) == []


def test_small_sets_that_are_sound_have_no_problems(airfoil_survey, body_survey):
    """Of few cases, chosen at random, none is called wrong for being unlike the others."""
    rng = random.Random(0)
    for facts in (airfoil_survey, body_survey):
        for _ in range(15):
            chosen = sorted(rng.sample(range(len(facts.cases)), rng.randint(1, 12)))
            assert problems(diagnose(replace(facts, cases=tuple(facts.cases[i] for i in chosen)))) == []


@pytest.mark.parametrize("seed", [3, 4])
def test_faults_seeded_into_a_study_on_one_mesh_are_named(bench, airfoils, airfoil_survey, seed):
    rng = np.random.default_rng(seed)
    seeded = [
        *bench.general_faults(airfoils, "airfoil", rng, "p"),
        *bench.pose_faults(airfoils, "airfoil", rng, 1),
        *bench.table_faults(airfoils, "airfoil", rng, "angle"),
    ]
    known = {id(airfoils): airfoil_survey}
    named, told, right = 0, 0, 0
    for fault in seeded:
        found = bench.examine(fault.data, known)
        hits = [f for f in found if f.kind in fault.kinds and set(f.cases) & set(fault.cases)]
        named, told, right = named + bool(hits), told + len(found), right + len(hits)
    assert len(seeded) == 21
    assert named >= 0.9 * len(seeded) and right >= 0.9 * told


def test_faults_seeded_into_bodies_are_named(bench, bodies, body_survey):
    rng = np.random.default_rng(5)
    seeded = [*bench.pose_faults(bodies, "bodies", rng, 0), *bench.table_faults(bodies, "bodies", rng, "body-length")]
    named = 0
    for fault in seeded:
        found = bench.examine(fault.data, {id(bodies): body_survey})
        named += any(f.kind in fault.kinds and set(f.cases) & set(fault.cases) for f in found)
    assert len(seeded) == 8 and named >= 7


def test_findings_do_not_depend_on_the_order_of_the_cases(airfoils):
    order = list(range(len(airfoils)))
    random.Random(1).shuffle(order)
    swapped = faults.swapped(airfoils, 2, 20)
    edits = {7: faults.scaled_by(1000.0), 11: faults.field_changed("p", lambda v: -v)}
    found = diagnose(survey(Altered(airfoils, edits=edits, rows=swapped)))
    shuffled = Altered(
        airfoils,
        order=order,
        edits={order.index(k): edit for k, edit in edits.items()},
        rows={order.index(k): row for k, row in swapped.items()},
    )
    again = diagnose(survey(shuffled))
    assert {(f.kind, frozenset(f.cases)) for f in found} == {(f.kind, frozenset(f.cases)) for f in again}
    assert {f.kind for f in problems(found)} == {"other length", "sign", "swapped rows"}


@pytest.mark.parametrize("edit", [faults.moved_by(torch.tensor([1e3, -2e3])), faults.scaled_by(1e-3),
                                  faults.turned_by(faults.quarter_turn(2, 70.0))])  # fmt: skip
def test_what_all_cases_share_is_no_fault(airfoils, edit):
    everywhere = Altered(airfoils, edits=dict.fromkeys(range(len(airfoils)), edit))
    assert problems(diagnose(survey(everywhere))) == []


def test_messages_say_what_was_found_and_what_to_do(airfoils):
    n = len(airfoils)
    data = Altered(
        airfoils,
        order=[*range(n), 4],
        edits={
            1: faults.truncated,
            3: faults.scaled_by(1000.0),
            9: faults.field_changed("p", faults.one_value(1e30)),
            12: faults.field_changed("U", faults.one_value(float("nan"))),
        },
        rows={22: {"angle": float(np.deg2rad(airfoils.conditions_of(22)["angle"]))}},
    )
    found = {f.case: str(f) for f in problems(diagnose(survey(data, test=("angle_04_copy",))))}
    assert set(found) == {"angle_01", "angle_03", "angle_04_copy", "angle_09", "angle_12", "angle_22"}
    assert "the file ends after 61 % of its bytes" in found["angle_01"]
    assert "about 1000 times as large as the others" in found["angle_03"] and "millimetres" in found["angle_03"]
    assert "the same mesh and fields as angle_04; one is tested on" in found["angle_04_copy"]
    assert "p has a value 1e+30" in found["angle_09"]
    assert "U has 1 NaN or infinite values of 1,944" in found["angle_12"]
    assert "angle is in radians among degrees" in found["angle_22"]


def test_mirrored_results_on_one_mesh_are_a_hint(airfoils):
    """Plus and minus an angle on a symmetric body give the same values at other places: no copy."""

    def mirrored(graph):
        graph.y = graph.y.flip(0)
        return graph

    base = airfoils
    data = Altered(base, order=[*range(24), 5], edits={24: mirrored}, rows={24: {"angle": -3.0}})
    found = [f for f in diagnose(survey(data)) if f.kind in ("mirror images", "duplicate")]
    assert [(f.kind, f.severity) for f in found] == [("mirror images", "hint")]


class Rowless(Altered):
    """The first case has no row."""

    def conditions_of(self, index):
        if self.position(index) == 0:
            raise InputError("no row of a table gives 'angle'")
        return super().conditions_of(index)

    numbers_of = parameters = conditions_of


def test_a_case_without_a_row_is_a_problem_and_the_copy_of_the_one_with_a_row(airfoils):
    found = {f.kind: f for f in problems(diagnose(survey(Rowless(airfoils, order=[1, *range(1, 12)]))))}
    assert set(found) == {"no row", "duplicate"} and found["no row"].case == found["duplicate"].case
    assert "no table says its 'angle'" in found["no row"].what and "nan" not in found["duplicate"].evidence


class Loaded(Altered):
    """The field goes with a load that is negative in three of the cases."""

    def __init__(self, base, wrong=()):
        loads = [1.0, -0.7, 2.0, 1.5, -1.2, 0.8, 1.1, -0.4, 1.7, 1.3, 0.6, 1.9]
        turned = {k: load * (-1 if k in wrong else 1) for k, load in enumerate(loads)}
        super().__init__(
            base,
            order=[8] * len(loads),
            edits={k: faults.field_changed("p", lambda v, by=by: v * by) for k, by in turned.items()},
        )
        self.loads = loads

    def conditions_of(self, index):
        return {"load": self.loads[self.position(index)]}

    numbers_of = parameters = conditions_of


def test_a_field_that_goes_with_the_sign_of_a_load_is_right(airfoils):
    assert "sign" not in {f.kind for f in diagnose(survey(Loaded(airfoils)))}
    wrong = {f.case for f in diagnose(survey(Loaded(airfoils, wrong=(3,)))) if f.kind == "sign"}
    assert wrong == {Loaded(airfoils).cases[3]}


def test_millimetres_are_named_among_cases_of_many_sizes(airfoils):
    edits = {k: faults.scaled_by(1 + k / 12) for k in range(12)} | {5: faults.scaled_by(650.0)}
    found = [
        f for f in diagnose(survey(Altered(airfoils, order=list(range(12)), edits=edits))) if f.kind == "other length"
    ]
    assert [f.case for f in found] == [airfoils.cases[5]] and "millimetres" in found[0].evidence


def test_plane_cases_among_bodies_are_told_once(bodies):
    data = Altered(bodies, edits={5: faults.flattened})
    found = problems(diagnose(survey(data)))
    assert kinds(found) == {("other dimension", "run_6")}
    assert "the case is 2-D, 29 of 30 are 3-D" in found[0].what


def test_a_field_that_is_zero_in_all_cases_is_a_hint(airfoils):
    zero = faults.field_changed("U", lambda v: v * 0)
    found = diagnose(survey(Altered(airfoils, edits=dict.fromkeys(range(len(airfoils)), zero))))
    assert [(f.kind, f.severity, f.field) for f in found] == [("constant field", "hint", "U")]


def test_the_case_folder_of_the_field_reports(shared_data: Path):
    from meshops.datasets import open_data
    from meshops.doctor.look import doctored

    root = shared_data / "field" / "data-check" / "input"
    said = {}
    for folder in root.iterdir():
        said[folder.name] = [(f.kind, f.cases) for f in problems(doctored(open_data(root=folder)))]
    assert said == {
        "sound_without_optional_files": [],
        "pascal_at_40_m_per_s": [("forces", ())],
        "one_in_millimetres": [("other length", ("run_3",))],
        "two_swapped": [("swapped rows", ("run_2", "run_4"))],
        "one_value_1e30": [("single value", ("run_2",))],
    }


def test_zero_has_no_sign_in_tables():
    assert short(-0.0) == "0" and short(-0.5) == "−0.5" and short(123456.0) == "1.235e+05"
