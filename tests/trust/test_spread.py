"""How far the members of a blend are apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch

from meshops.data.mesh_graph import MeshGraph
from meshops.models.blend import Blend
from meshops.tasks.fields import FieldsTask
from meshops.tasks.inference import predict_nodes, predict_spread
from tests.selection.test_reduced import cases, prepared

SIZES = {"in_channels": 1, "out_channels": 2, "pos_dim": 2, "channels": 8, "depth": 1, "num_heads": 2}
MSPT: Mapping[str, Any] = {"name": "mspt", "arguments": {**SIZES, "num_patches": 4}}
TRANSOLVER: Mapping[str, Any] = {"name": "transolver", "arguments": {**SIZES, "num_slices": 4}}


def blended(*members: Mapping[str, Any], weights: list[list[float]]) -> tuple[FieldsTask, list[MeshGraph]]:
    task, graphs = prepared(cases(3, same=True))
    model = Blend(members=members, out_channels=2)
    model.weights.copy_(torch.tensor(weights))
    task.model = model
    return task, graphs


def said(task: FieldsTask, graph: MeshGraph) -> list[torch.Tensor]:
    """Fields of each member."""
    model = task.model
    assert isinstance(model, Blend)
    with torch.no_grad():
        return [m(given) for m, given in zip(model.members, model.unpack(task.inputs(graph)), strict=True)]


def test_moments_are_explicit_sums_over_different_models() -> None:
    task, graphs = blended(MSPT, TRANSOLVER, weights=[[0.7, 0.2], [0.3, 0.5]])
    one, other = said(task, graphs[0])
    w = torch.tensor([[0.7, 0.2], [0.3, 0.5]])
    mean, square = task.model.moments(task.model.unpack(task.inputs(graphs[0])))  # type: ignore[operator]
    torch.testing.assert_close(mean, w[0] * one + w[1] * other)
    torch.testing.assert_close(square, w[0] * one**2 + w[1] * other**2)
    values, spread = predict_spread(task, graphs[0])
    torch.testing.assert_close(values, mean.detach())
    apart = (one - other)[:, 0].abs() * (0.7 * 0.3) ** 0.5
    torch.testing.assert_close(spread[:, 0], apart, atol=1e-4, rtol=1e-3)


def test_folds_of_one_network_count_as_their_mean() -> None:
    task, graphs = blended(MSPT, MSPT, TRANSOLVER, weights=[[0.3, 0.3], [0.3, 0.3], [0.4, 0.4]])
    first, second, other = said(task, graphs[0])
    _, square = task.model.moments(task.model.unpack(task.inputs(graphs[0])))  # type: ignore[operator]
    torch.testing.assert_close(square, 0.6 * ((first + second) / 2) ** 2 + 0.4 * other**2)


@pytest.mark.parametrize("members", [(MSPT,), (MSPT, MSPT)])
def test_one_kind_of_model_has_no_spread(members: tuple[Mapping[str, Any], ...]) -> None:
    task, graphs = blended(*members, weights=[[1 / len(members)] * 2] * len(members))
    values, spread = predict_spread(task, graphs[0])
    torch.testing.assert_close(values, predict_nodes(task, graphs[0]))
    assert float(spread.max()) < 1e-3 * float(values.abs().max())


def test_a_member_without_weight_says_nothing() -> None:
    task, graphs = blended(MSPT, TRANSOLVER, weights=[[1.0, 1.0], [0.0, 0.0]])
    assert float(predict_spread(task, graphs[0])[1].max()) < 1e-3
    task, graphs = blended(MSPT, TRANSOLVER, weights=[[1.0, 0.5], [0.0, 0.5]])
    spread = predict_spread(task, graphs[0])[1]
    assert float(spread[:, 0].max()) < 1e-3 < float(spread[:, 1].mean())


def test_a_model_that_is_no_blend_has_no_spread() -> None:
    task, graphs = blended(MSPT, weights=[[1.0, 1.0]])
    task.model = task.model.members[0]  # type: ignore[union-attr, index, assignment]
    values, spread = predict_spread(task, graphs[0])
    torch.testing.assert_close(values, predict_nodes(task, graphs[0]))
    assert not spread.any()
