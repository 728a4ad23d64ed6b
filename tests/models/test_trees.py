"""Boosted trees of a task: the numbers of scikit-learn, one checkpoint, better than the mean on held-out bodies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from meshops.data.mesh_graph import MeshGraph
from meshops.datasets import AhmedMini
from meshops.errors import InputError
from meshops.metrics.fields import relative_l2
from meshops.surrogate import Surrogate, load
from meshops.tasks import FieldsSettings, FieldsTask
from meshops.tasks.fields_samples import FieldsSamples
from meshops.tasks.inference import predict_nodes
from meshops.training.boosting import Boosting, boosted


class Few(AhmedMini):
    """Four shipped cases."""

    def __init__(self) -> None:
        super().__init__("train")
        self.runs, self.cases = self.runs[:4], self.cases[:4]


@pytest.fixture(scope="module")
def samples() -> FieldsSamples:
    return FieldsTask.samples(Few(), FieldsSettings(nodes=0, max_sources=512, mesh_cues=True, hide_cues=0.2))


def task_of(samples: FieldsSamples, config: Boosting, seed: int = 0) -> FieldsTask:
    task = FieldsTask.fit(nn.Identity(), samples, FieldsSettings())
    task.model, task.made = boosted(task, samples.graphs, config, seed=seed)
    return task


def errors(task: FieldsTask, graph: MeshGraph) -> list[float]:
    values = task.output_norm.inverse(predict_nodes(task, graph))
    return [relative_l2(values[:, c], graph.y[:, c]) for c in task.spec.slices().values()]


def test_the_numbers_are_those_of_scikit_learn() -> None:
    """On a list of graphs with one input, one member and all features: the same trees, the same sums."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    graphs = []
    for seed in range(3):
        g = torch.Generator().manual_seed(seed)
        pos, x = torch.rand(300, 2, generator=g), torch.rand(300, 1, generator=g)
        graphs.append(MeshGraph(pos=pos, x=x, y=(pos[:, :1] > 0.5) * 2.0 + x))
    samples = FieldsTask.samples(graphs, FieldsSettings())
    config = Boosting(rounds=20, members=1, columns=1.0, smoothing=0.0)
    task = task_of(samples, config)
    asked = [task.inputs(graph) for graph in samples.graphs]
    rows = torch.cat([torch.cat([a.pos, a.x], 1) for a in asked]).numpy()
    wanted = torch.cat([task.output_norm(graph.y) for graph in samples.graphs])[:, 0].numpy()
    model = HistGradientBoostingRegressor(max_iter=20, learning_rate=0.06, early_stopping=False, random_state=0)
    model.fit(rows, wanted)
    found = torch.cat([predict_nodes(task, graph) for graph in samples.graphs])[:, 0].numpy()
    assert np.abs(found - model.predict(rows)).mean() < 0.01  # the order of rows, and so of the sums, is another
    assert np.linalg.norm(found - wanted) < 0.4 * np.linalg.norm(wanted)


def test_better_than_the_mean_on_a_body_it_did_not_see_and_the_same_from_its_checkpoint(
    samples: FieldsSamples, tmp_path: Path
) -> None:
    part = replace(samples, graphs=samples.graphs[:3])
    task = task_of(part, Boosting(rounds=60, rate=0.15, members=1))
    pressure, shear = errors(task, samples.graphs[3])
    assert pressure < 0.3 and shear < 0.65  # the mean of all cells: 0.81 and 0.69
    whole = predict_nodes(task, samples.graphs[3])
    again = load(Surrogate(task.eval()).save(tmp_path / "trees.ckpt")).task
    assert isinstance(again, FieldsTask)
    assert torch.equal(predict_nodes(again, samples.graphs[3]), whole)
    assert torch.equal(predict_nodes(again, samples.graphs[3])[::3], whole[::3])


def test_the_seed_decides(samples: FieldsSamples) -> None:
    config = Boosting(rounds=5, members=1)
    one, same, other = (task_of(samples, config, seed) for seed in (0, 0, 1))
    first, second, third = (predict_nodes(task, samples.graphs[0]) for task in (one, same, other))
    assert torch.equal(first, second) and not torch.equal(first, third)


def test_hidden_features_of_the_mesh_can_be_done_without(samples: FieldsSamples) -> None:
    task = task_of(samples, Boosting(rounds=40, rate=0.15, members=1))
    bare = task.without_cues(samples.graphs[0])
    assert errors(task, bare)[0] < 0.25


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(InputError, match=r"rate and columns must be in \(0, 1\], got 2"):
        Boosting(rate=2.0)
    with pytest.raises(InputError, match="rounds"):
        Boosting(rounds=0)
