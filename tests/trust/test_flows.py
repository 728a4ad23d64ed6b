"""Peaks and numbers in another flow than that of the training, and what a calibration must not take for a number."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from meshops.datasets import AhmedMini
from meshops.selection.config import FitConfig
from meshops.selection.run import _settings
from meshops.tasks.fields import FieldsTask
from meshops.tasks.fields_samples import case_at
from meshops.tasks.prediction import RawFields
from meshops.trust import HeldOut, Trust, calibrated
from meshops.trust.quantities import free, in_flow, peaks

COUNT = 6


@pytest.fixture(scope="module")
def bodies() -> tuple[FieldsTask, list[RawFields]]:
    """Ahmed bodies whose truth, a little off, stands for held-out predictions."""
    data, settings = AhmedMini("all"), replace(_settings(AhmedMini("all"), FitConfig()), max_sources=64, radii=(0.2,))
    from meshops.datasets.subset import CaseSubset

    part = CaseSubset(data, range(COUNT))
    samples = FieldsTask.samples(part, settings)
    task = FieldsTask.fit(nn.Identity(), samples, settings)
    out = []
    for i, graph in enumerate(samples.graphs):
        case = case_at(part, i, task.spec)
        case.numbers = {**case.numbers, "wheels": 4.0, "mass": 10.0 + i}
        _, frame = task.prepared(case)
        values = 1.02 * task.output_norm(graph.y)
        out.append(RawFields(case, graph, frame, values, torch.zeros_like(values), cues=False, seconds=0.0))
    return task, out


def trust_of(task: FieldsTask, rows: list[RawFields], **more: object) -> Trust:
    shape = task.reference is None
    held = [HeldOut.of(task, raw, shape=shape) for raw in rows]
    return calibrated(task, held, [[i] for i in range(len(rows))], None, how="cross-validation", **more)  # type: ignore[arg-type]


def test_a_peak_scales_with_the_square_of_the_speed(bodies: tuple[FieldsTask, list[RawFields]]) -> None:
    task, rows = bodies
    trust, raw = trust_of(task, rows), rows[0]
    slow = trust.told(task, raw)
    fast_case = replace(raw.case, flow=replace(raw.case.flow, speed=2 * raw.case.flow.speed), truth={}, notes=[])
    fast = trust.told(task, replace(raw, case=fast_case))
    for name, peak in slow.peaks.items():
        other = fast.peaks[name]
        assert other.value == pytest.approx(4 * peak.value, rel=1e-5)
        assert other.low is not None and peak.low is not None and other.low == pytest.approx(4 * peak.low, rel=1e-4)
    assert fast.numbers["cd"].value == pytest.approx(slow.numbers["cd"].value, rel=1e-4)
    assert any("learnt from a table" in note for note in fast_case.notes)


def test_a_peak_free_of_the_flow_comes_back(bodies: tuple[FieldsTask, list[RawFields]]) -> None:
    task, rows = bodies
    case = replace(rows[0].case, flow=replace(rows[0].case.flow, speed=3.0, density=1.2, kinematic=False))
    values = {name: 7.0 * truth for name, truth in case.truth.items()}
    for name, peak in peaks(case, values, task.spec).items():
        shift, scale = in_flow(name, case, task.spec)
        field = name.split(" ", 1)[1].strip("|")
        size = values[field] if values[field].ndim == 1 else np.linalg.norm(values[field], axis=1)
        end = size.max() if name.startswith("max") else size.min()
        assert peak.value * scale + shift == pytest.approx(float(end), rel=1e-5)
        assert np.isfinite(free(field, values[field], case, task.spec)).all()


def test_a_column_that_is_the_same_everywhere_is_no_number(bodies: tuple[FieldsTask, list[RawFields]]) -> None:
    names = [model.name for model in trust_of(*bodies).numbers]
    assert "mass" in names and "wheels" not in names and names.count("cd") == 1
    assert "mass" not in [model.name for model in trust_of(*bodies, wanted=("cl",)).numbers]


def test_peaks_of_cases_that_were_not_predicted_everywhere_are_not_known(
    bodies: tuple[FieldsTask, list[RawFields]],
) -> None:
    assert trust_of(*bodies).peaks and not trust_of(*bodies, whole=False).peaks


def test_the_place_of_a_peak_is_that_of_the_file(bodies: tuple[FieldsTask, list[RawFields]]) -> None:
    task, rows = bodies
    made = trust_of(task, rows).told(task, rows[0])
    field = rows[0].case.truth["pMean"]
    assert rows[0].case.mesh is not None
    centers = np.asarray(rows[0].case.mesh.cell_centers().points)
    place = made.peaks["max pMean"].place
    assert place is not None
    assert np.linalg.norm(centers[int(np.argmax(field))] - np.array(place)) < 0.05
