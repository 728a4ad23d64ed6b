"""A surrogate continued on other cases: never far from what it was, better where the cases say so, one checkpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import pyvista as pv
import torch

from meshops.aero.conditions import FlowConditions
from meshops.data.convert import from_pyvista
from meshops.data.mesh_graph import MeshGraph
from meshops.errors import InputError
from meshops.surrogate import Surrogate, load
from meshops.tasks import FieldsSettings, FieldsTask
from meshops.tasks.base import Context
from meshops.tasks.fields_begun import begun_samples
from meshops.tasks.fields_samples import FieldsSamples
from meshops.tasks.inference import predict_nodes
from meshops.training import RunConfig, TrainConfig, compared, train
from meshops.training.adapt import Adaption, adapted, chosen, folds_of
from meshops.training.boosting import Boosting

FLOW = FlowConditions(ground=None)
MODEL = {"name": "mspt", "channels": 16, "depth": 2, "num_heads": 2, "num_patches": 8}
TASK = FieldsSettings(nodes=256, radii=(0.2,), max_sources=128, passes=1)


def bodies(count: int, factor: float, location: str = "cell", seed: int = 0) -> list[MeshGraph]:
    """Ellipsoids with a pressure of a strength and a cross flow that stays the same."""
    out, rng = [], np.random.default_rng(seed)
    for i in range(count):
        mesh = pv.Icosphere(radius=1.0, nsub=3)
        mesh.points = np.asarray(mesh.points) * rng.uniform([0.8, 0.3, 0.2], [1.2, 0.4, 0.3])
        place = mesh.cell_centers().points if location == "cell" else np.asarray(mesh.points)
        data = mesh.cell_data if location == "cell" else mesh.point_data
        data["p"] = (factor * (1 - 2 * (place[:, 0] / np.abs(mesh.points[:, 0]).max()) ** 2)).astype(np.float32)
        data["shear"] = np.stack([1 - place[:, 0] ** 2, place[:, 1], 0 * place[:, 0]], 1).astype(np.float32)
        graph = from_pyvista(mesh, fields=("p", "shear"), location=location, label=f"body_{i}")  # type: ignore[arg-type]
        graph.flow = FLOW
        out.append(graph)
    return out


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = RunConfig(
        out=str(tmp_path_factory.mktemp("start") / "run"), model=MODEL, task=TASK,
        train=TrainConfig(steps=150, batch_size=1, lr=3e-3, threads=1),
    )  # fmt: skip
    return train(config, data=bodies(4, 1.0)).folder / "model.ckpt"


def begun(start: Path, graphs: list[MeshGraph], settings: FieldsSettings | None = None) -> FieldsSamples:
    return begun_samples(graphs, settings or FieldsSettings(), Context(start=load(start).task))


def errors(task: FieldsTask, graph: MeshGraph) -> list[float]:
    values = task.output_norm.inverse(predict_nodes(task, graph))
    return [float((values[:, c] - graph.y[:, c]).norm() / graph.y[:, c].norm()) for c in task.spec.slices().values()]


def known(start: Path) -> FieldsTask:
    task = load(start).task
    assert isinstance(task, FieldsTask)
    return task


@pytest.mark.parametrize("marks", [(20, 40), ()])
def test_other_strength_is_learnt_and_what_was_right_stays(start: Path, marks: tuple[int, ...]) -> None:
    samples = begun(start, bodies(4, 1.6, seed=5))
    learning = replace(samples, graphs=samples.graphs[:3], names=samples.names[:3])
    config = Adaption(marks=marks, least=2, trees=None if marks else Boosting(rounds=60, rate=0.15, members=1))
    task, choice = adapted(known(start), learning, config)
    before, after = errors(known(start), samples.graphs[3]), errors(task, samples.graphs[3])
    assert after[0] < 0.7 * before[0] and after[1] < 1.15 * before[1]
    for field in range(2):
        assert sum(weights[field] for weights in choice.weights.values()) == pytest.approx(1.0)
    lines = choice.lines(task.spec.fields)
    assert lines[0].startswith("as it is: held-out error p 0.") and len(lines) == len(choice.errors)


def test_the_result_is_one_checkpoint_and_the_start_is_untouched(start: Path, tmp_path: Path) -> None:
    first = known(start)
    state = {name: value.clone() for name, value in first.state_dict().items()}
    samples = begun(start, bodies(3, 1.6, seed=5))
    task, _ = adapted(first, samples, Adaption(marks=(10,), least=2, trees=Boosting(rounds=10, members=1)))
    assert all(torch.equal(value, state[name]) for name, value in first.state_dict().items())
    again = load(Surrogate(task).save(tmp_path / "model.ckpt")).task
    assert isinstance(again, FieldsTask)
    assert torch.equal(predict_nodes(again, samples.graphs[0]), predict_nodes(task, samples.graphs[0]))
    repeated, _ = adapted(first, samples, Adaption(marks=(10,), least=2, trees=Boosting(rounds=10, members=1)))
    assert torch.equal(predict_nodes(repeated, samples.graphs[0]), predict_nodes(task, samples.graphs[0]))


def test_fields_at_points_are_brought_to_the_cells_of_the_start(start: Path) -> None:
    samples = begun(start, bodies(2, 1.0, "point"))
    assert samples.spec.location == "cell" and len(samples.graphs[0].pos) == 1280
    assert "fields were averaged to the cells" in samples.notes()[0]
    there = begun(start, bodies(2, 1.0, "cell"))
    difference = samples.graphs[0].y - there.graphs[0].y
    assert float(difference.norm() / there.graphs[0].y.norm()) < 0.05
    torch.testing.assert_close(samples.graphs[0].x, there.graphs[0].x)


def test_a_run_continues_from_a_checkpoint(start: Path, tmp_path: Path) -> None:
    config = RunConfig(
        out=str(tmp_path / "run"), task=FieldsSettings(start=str(start)),
        train=TrainConfig(steps=2, batch_size=1, lr=1e-9, threads=1),
    )  # fmt: skip
    task = train(config, data=bodies(3, 1.6)).surrogate.task
    first = known(start)
    assert isinstance(task, FieldsTask) and task.made == first.made
    torch.testing.assert_close(task.input_norm.shift, first.input_norm.shift)
    graph = begun(start, bodies(1, 1.0)).graphs[0]
    torch.testing.assert_close(predict_nodes(task, graph), predict_nodes(first, graph), atol=1e-4, rtol=1e-4)


def test_what_cannot_be_continued_is_named(start: Path) -> None:
    graphs = bodies(2, 1.0)
    for graph in graphs:
        graph.y_names = ("p", "friction")
    with pytest.raises(InputError, match="predicts 'p', 'shear', and the cases have no 'shear'; they have"):
        begun(start, graphs)
    with pytest.raises(InputError, match=r"task.radii is \(0.5,\), but the surrogate to continue has \(0.2,\)"):
        begun(start, bodies(2, 1.0), FieldsSettings(radii=(0.5,)))
    with pytest.raises(InputError, match="1 case: at least two are needed"):
        adapted(known(start), begun(start, bodies(1, 1.0)))
    with pytest.raises(InputError, match="marks must be ascending"):
        Adaption(marks=(20, 10))


def test_few_cases_leave_the_network_as_it_is(start: Path) -> None:
    samples = begun(start, bodies(3, 1.6, seed=5))
    _, choice = adapted(known(start), samples, Adaption(trees=Boosting(rounds=5, members=1)))
    assert set(choice.errors) == {("as it is", 0), ("boosted trees", 0)}


def test_of_large_cases_some_nodes_are_kept_and_the_choice_hardly_differs(
    start: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples, config = begun(start, bodies(3, 1.6, seed=5)), Adaption(trees=Boosting(rounds=5, members=1))
    whole = chosen(known(start), samples, config)
    monkeypatch.setattr(compared, "NODES", 512)
    some = chosen(known(start), samples, config)
    for nodes, every, held, of_all in zip(some.nodes, whole.nodes, some.held_out, whole.held_out, strict=True):
        assert len(nodes) == len(held.values) == len(held.spread) == 512 and len(every) == 1280
        assert bool((nodes.diff() > 0).all()) and held.values.shape[1] == of_all.values.shape[1]
    for key, errors in whole.errors.items():
        assert some.errors[key] == pytest.approx(errors, rel=0.1)


def test_every_case_is_held_out_once() -> None:
    for count in (2, 3, 9):
        folds = folds_of(count, Adaption())
        assert sorted(i for fold in folds for i in fold) == list(range(count)) and len(folds) == min(count, 4)
