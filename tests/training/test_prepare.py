"""What training decides and assumes about its cases: mirror symmetry, conditions of each case, forces."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from torch.testing import assert_close

from meshops.aero.conditions import FlowConditions
from meshops.datasets import AhmedMini, registry
from meshops.datasets.mesh_files import MeshFiles
from meshops.errors import InputError
from meshops.tasks import FieldsSettings, FieldsTask
from meshops.tasks.fields_samples import decide_symmetry, make_spec
from meshops.training import DataConfig, RunConfig, TrainConfig, train

TASK = FieldsSettings(nodes=64, radii=(), potential_flow=False, passes=1)


class Few(AhmedMini):
    """Two shipped cases."""

    def __init__(self, split: str = "train") -> None:
        super().__init__(split)
        self.cases = self.cases[:2]


class Yawed(Few):
    """Symmetric shapes in a wind from the side."""

    def read(self, index):
        graph = super().read(index)
        graph.y = graph.y.clone()
        graph.y[:, 0] += 2 * graph.pos[:, 1]
        return graph


class Lopsided(Few):
    """Shapes that lean to one side."""

    def mesh(self, index):
        mesh = super().mesh(index)
        points = np.asarray(mesh.points).copy()
        points[:, 2] += 0.3 * points[:, 1]
        mesh.points = points
        return mesh


class Windy(Few):
    """Each case at a speed of its own, in Pa of air."""

    def flow_of(self, index):
        return replace(self.flow, speed=10.0 * (index + 1), density=1.2, kinematic=False)

    def read(self, index):
        graph = super().read(index)
        graph.y = graph.y * self.flow_of(index).pressure_scale
        return graph


@pytest.mark.parametrize(
    ("data", "symmetric", "words"),
    [(Few, True, "is used"), (Yawed, False, "of 'pMean' is not mirrored"), (Lopsided, False, "has no mirror image")],
)
def test_cases_are_folded_only_where_shape_and_fields_have_a_mirror_plane(data, symmetric, words):
    cases = data()
    spec, why = decide_symmetry(cases, make_spec(cases, TASK))
    assert spec.flow.symmetric is symmetric and words in why
    graph = FieldsTask.samples(cases, TASK).graphs[0]
    assert bool((graph.pos[:, 1] >= 0).all()) is symmetric


def test_conditions_that_deny_symmetry_are_obeyed():
    data = Few()
    data.flow = replace(data.flow, symmetric=False)
    spec, why = decide_symmetry(data, make_spec(data, TASK))
    assert not spec.flow.symmetric and "the conditions say" in why


def test_a_run_says_and_stores_what_it_decided(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(registry._DATASETS, "yawed", registry.Registered(Yawed))
    result = train(run(tmp_path / "run", DataConfig(name="yawed", test="")), console=Console())
    assert "mirror symmetry is not used" in capsys.readouterr().out
    assert "not mirrored" in result.surrogate.info["data"]["decided"]
    prediction = result.surrogate.predict(Few().mesh(0))
    pressure = prediction.fields["pMean"]
    assert not result.surrogate.spec.flow.symmetric and np.isfinite(pressure).all()


def test_each_case_has_its_own_flow():
    """Fields in Pa at several speeds are the same training data as kinematic ones at unit speed."""
    (one, other), graphs = (Few(), Windy()), []
    for data in (one, other):
        graphs.append(FieldsTask.samples(data, TASK).graphs)
    for first, second in zip(*graphs, strict=True):
        assert_close(second.y, first.y, rtol=1e-5, atol=1e-7)
        assert_close(second.x, first.x)


def test_reports_use_the_flow_of_each_case(monkeypatch, tmp_path):
    """The same model judged on both: relative errors and coefficients agree."""
    monkeypatch.setitem(registry._DATASETS, "few", registry.Registered(Few))
    result = train(run(tmp_path / "run", DataConfig(name="few", test="test")))
    few, windy = result.report, result.surrogate.evaluate(Windy("test"), training=Windy())
    for name in ("pressure_rel_l2", "shear_rel_l2", "drag_error", "lift_error"):
        assert windy.mean[name] == pytest.approx(few.mean[name], rel=1e-3)
        assert windy.baselines["nearest"][name] == pytest.approx(few.baselines["nearest"][name], rel=1e-3)


@pytest.mark.parametrize("geometry", ["auto", "body"])
def test_no_forces_from_fields_of_an_unstated_flow(geometry, tmp_path):
    """A field that is merely called pressure, in a folder of files: pictures and errors, no drag."""
    for split, source in (("train", "train"), ("test", "test")):
        (tmp_path / "files" / split).mkdir(parents=True)
        for i in range(2):
            mesh = AhmedMini(source).mesh(i).cell_data_to_point_data()
            mesh.point_data["pressure"] = 6e2 * np.asarray(mesh.point_data["pMean"]) + 101325
            for name in ("pMean", "wallShearStressMean"):
                del mesh.point_data[name]
            mesh.save(tmp_path / "files" / split / f"case_{i}.vtp")
    assert not MeshFiles(tmp_path / "files").flow_stated
    files = DataConfig(name="mesh_files", root=str(tmp_path / "files"), test="test")
    settings = run(tmp_path / "run", files)
    result = train(replace(settings, task=replace(TASK, geometry=geometry)))
    assert result.surrogate.spec.pressure == ("pressure" if geometry == "body" else None)
    assert result.surrogate.spec.bodies is (geometry == "body")
    assert "pressure_rel_l2" in result.report.mean and "drag_error" not in result.report.mean
    prediction = result.surrogate.predict(tmp_path / "files" / "test" / "case_0.vtp")
    assert prediction.forces is None and prediction.true_forces is None
    with pytest.raises(InputError, match="states no flow conditions"):
        result.surrogate.predict(tmp_path / "files" / "test" / "case_0.vtp", flow=FlowConditions(speed=30))


def run(out: Path, data: DataConfig) -> RunConfig:
    return RunConfig(
        out=str(out),
        model={"name": "mspt", "channels": 16, "depth": 1, "num_heads": 2, "num_patches": 4},
        data=data,
        task=TASK,
        train=TrainConfig(steps=3, batch_size=1, threads=1),
    )
