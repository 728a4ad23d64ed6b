"""Closed forms: what cross-validation predicts is what the model says, on equal meshes and on different ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import nn
from torch_geometric.data import Data

from meshops.data.mesh_graph import MeshGraph
from meshops.datasets.graph_list import GraphList
from meshops.selection.folds import split_cases
from meshops.selection.reduced import Carried, Decomposition, Variant, cross_validated, fitted
from meshops.selection.scores import Truth, score
from meshops.selection.search import with_model
from meshops.tasks.fields import FieldsTask
from meshops.tasks.fields_spec import FieldsSettings
from meshops.tasks.inference import predict_nodes

TRIANGLES = torch.tensor([[0, 1, 2], [1, 3, 2]])


def cases(count: int, *, same: bool, cells: bool = True) -> list[Data]:
    """A bump whose place follows an angle, on one mesh or on clouds of their own."""
    rng = np.random.default_rng(3)
    out = []
    grid = rng.uniform(0, 1, (200, 2)).astype(np.float32)
    for i in range(count):
        angle = float(rng.uniform(-1, 1))
        pos = torch.as_tensor(grid if same else rng.uniform(0, 1, (180 + i, 2)).astype(np.float32))
        bump = torch.exp(-((pos[:, 0] - 0.5 - 0.2 * angle) ** 2 + (pos[:, 1] - 0.5) ** 2) / 0.1)
        graph = MeshGraph(pos=pos, y=torch.stack([bump, 2 * bump * angle], 1))
        if same and cells:
            graph.cell_size, graph.cell_nodes = torch.tensor([3, 3]), TRIANGLES.flatten()
            graph.cell_type, graph.location = torch.tensor([5, 5]), "point"
        graph.y_names, graph.y_sizes = ("a", "b"), (1, 1)
        graph.conditions, graph.name = {"angle": angle}, f"case_{i}"
        out.append(graph)
    return out


def prepared(graphs: list[Data]) -> tuple[FieldsTask, list[MeshGraph]]:
    settings = FieldsSettings(shape=True)
    samples = FieldsTask.samples(GraphList(graphs), settings)
    return FieldsTask.fit(nn.Identity(), samples, settings), samples.graphs


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("family", ["average", "nearest", "components + Gaussian process", "components + linear"])
def test_a_fold_predicts_what_the_model_of_its_training_cases_says(same: bool, family: str) -> None:
    task, graphs = prepared(cases(9, same=same))
    truth = Truth.of(task, graphs)
    carried = Carried.of(task, graphs, truth)
    split = split_cases(range(9), test=0.0, num_folds=3)
    for variant, sheet in cross_validated(carried, truth, split, families=[family]):
        rest = list(split.rest(0))
        part = replace(carried, values=carried.values[rest], vectors=carried.vectors[rest])
        model, made = fitted(part, variant)
        for case in split.folds[0]:
            found = predict_nodes(with_model(task, model, made), graphs[case])[truth.nodes[case]]
            torch.testing.assert_close(found, sheet[case], atol=2e-4, rtol=1e-3)


def test_components_are_those_of_scikit_learn() -> None:
    values = torch.rand(7, 30, 2, generator=torch.Generator().manual_seed(0))
    found = Decomposition.of(values, 7)
    other = PCA().fit(values.flatten(1).double().numpy())
    assert len(found.modes) == 6
    overlap = np.abs(found.modes.flatten(1).double().numpy() @ other.components_[:6].T)
    np.testing.assert_allclose(overlap, np.eye(6), atol=1e-4)
    back = found.mean + torch.einsum("mk,krc->mrc", torch.as_tensor(found.coefficients).float(), found.modes)
    torch.testing.assert_close(back, values, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("same", [True, False])
def test_the_order_of_the_nodes_of_a_case_does_not_matter(same: bool) -> None:
    graphs = cases(8, same=same, cells=False)
    task, plain = prepared(graphs)
    mixed = [g.clone() for g in graphs]
    order = torch.randperm(len(mixed[2].pos), generator=torch.Generator().manual_seed(1))
    mixed[2].pos, mixed[2].y = mixed[2].pos[order], mixed[2].y[order]
    other, turned = prepared(mixed)
    results = []
    for t, g in ((task, plain), (other, turned)):
        carried = Carried.of(t, g, Truth.of(t, g))
        model, made = fitted(carried, Variant("components + Gaussian process", 3))
        results.append(predict_nodes(with_model(t, model, made), g[2]))
    torch.testing.assert_close(results[1], results[0][order], atol=5e-3, rtol=5e-3)


def test_more_components_describe_a_moving_bump_better() -> None:
    task, graphs = prepared(cases(20, same=True))
    truth = Truth.of(task, graphs)
    carried = Carried.of(task, graphs, truth)
    split = split_cases(range(20), test=0.0)
    found = {
        v.rank: score(truth.table(sheet))
        for v, sheet in cross_validated(carried, truth, split, families=["components + Gaussian process"])
    }
    assert found[1] > 2 * found[5] and found[5] < 0.05


def test_without_conditions_on_one_mesh_only_the_average_is_left() -> None:
    graphs = cases(6, same=True)
    for graph in graphs:
        graph.conditions = {}
    task, made = prepared(graphs)
    assert Carried.of(task, made, Truth.of(task, made)).families() == ("average",)
