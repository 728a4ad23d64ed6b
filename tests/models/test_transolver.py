"""Transolver: published sizes, a literal reading of the equations, invariances, batches, grids, errors."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close
from torch_geometric.data import Batch, Data

from meshops.errors import InputError
from meshops.models import Transolver, create_model, list_models
from meshops.models.transolver import PhysicsAttention
from meshops.testing import check_model, random_graphs

# Released code (thuml/Transolver), instantiated with the arguments of its scripts.
PARAMETERS = {
    "transolver_elasticity": 713_665,
    "transolver_plasticity": 2_844_484,
    "transolver_airfoil": 2_810_817,
    "transolver_pipe": 3_073_985,
    "transolver_navier_stokes": 11_232_321,
    "transolver_darcy": 2_826_945,
    "transolver_shapenet_car": 3_860_804,
}


def small(in_channels: int = 2, **changes: Any) -> Transolver:
    """Model with weights large enough that every part matters."""
    torch.manual_seed(0)
    arguments = {"channels": 16, "depth": 2, "num_heads": 2, "num_slices": 5, "pos_dim": 3} | changes
    model = Transolver(in_channels, 3, **arguments)
    for name, parameter in model.named_parameters():
        if "temperature" not in name:
            nn.init.normal_(parameter, std=0.3)
    return model.eval()


@pytest.mark.parametrize("name", PARAMETERS)
def test_number_of_parameters(name: str) -> None:
    assert sum(p.numel() for p in create_model(name).parameters()) == PARAMETERS[name]


def test_all_published_sizes_are_checked() -> None:
    assert set(list_models("transolver_*")) == set(PARAMETERS)


@pytest.mark.parametrize("name", list_models("transolver_*"))
def test_published_sizes_pass_the_shared_checks(name: str) -> None:
    grid = None if create_model(name, depth=1).structured is None else (6, 6)  # type: ignore[union-attr]
    model = create_model(name, depth=2, structured=grid)
    assert isinstance(model, Transolver)
    graphs = random_graphs([36, 36], num_features=model.embed.in_channels, dim=model.embed.pos_dim)
    for graph in graphs:
        if model.embed.time is not None:
            graph.time = torch.rand(1)
    check_model(model, graphs, any_order=grid is None)


@pytest.mark.parametrize(
    "changes", [{}, {"unified_pos": 3}, {"num_slices": 1}, {"init_std": None}, {"num_heads": 1}], ids=str
)
def test_shared_checks_on_ragged_batches(changes: dict[str, Any]) -> None:
    check_model(small(**changes), random_graphs([61, 40, 1, 33], num_features=2))


def literal(layer: PhysicsAttention, tokens: Tensor) -> Tensor:
    """Equations 1 to 4 for one cloud of points, head by head and slice by slice."""
    width = tokens.shape[1] // layer.num_heads
    where, value = layer.where(tokens), layer.value(tokens)
    heads = []
    for head in range(layer.num_heads):
        part = slice(head * width, (head + 1) * width)
        scores = layer.slice(where[:, part]) / layer.temperature[head]
        weights = scores.exp() / scores.exp().sum(1, keepdim=True)
        z = torch.stack([(w[:, None] * value[:, part]).sum(0) / (w.sum() + 1e-5) for w in weights.T])
        q, k, v = layer.query_token(z), layer.key_token(z), layer.value_token(z)
        mixed = torch.softmax(q @ k.T / math.sqrt(width), 1) @ v
        heads.append(weights @ mixed)
    out: Tensor = layer.out(torch.cat(heads, 1))
    return out


def test_equals_the_equations_with_gradients() -> None:
    model = small().double()
    with torch.no_grad():
        for block in model.blocks:
            block.attention.temperature.copy_(torch.tensor([[0.3], [0.9]]))  # type: ignore[union-attr, operator]
    pos, x = torch.rand(30, 3).double(), torch.randn(30, 2).double()
    h = model.embed(pos, x)
    for block in model.blocks:
        h = h + literal(block.attention, block.norm_attention(h))  # type: ignore[arg-type, operator]
        h = h + block.mlp(block.norm_mlp(h))  # type: ignore[operator]
    expected = model.head(h)
    out = model(model.unpack(Data(pos=pos, x=x)))
    assert_close(out, expected)
    parameters, weights = list(model.parameters()), torch.randn_like(out)
    wanted = torch.autograd.grad((expected * weights).sum(), parameters)
    for grad, other in zip(torch.autograd.grad((out * weights).sum(), parameters), wanted, strict=True):
        assert_close(grad, other)


def test_convolutions_project_a_grid() -> None:
    """Row-major order, zeros outside of the grid, temperatures kept between 0.1 and 5."""
    layer = PhysicsAttention(8, num_heads=2, num_slices=3, structured=(4, 3)).double()
    tokens = torch.randn(12, 8).double()
    padded = nn.functional.pad(tokens.view(4, 3, 8), (0, 0, 1, 1, 1, 1))
    kernel, bias = layer.where.weight, layer.where.bias
    out = torch.zeros(4, 3, 8).double()
    for i in range(4):
        for j in range(3):
            out[i, j] = torch.einsum("ockl,klc->o", kernel, padded[i : i + 3, j : j + 3]) + bias
    with torch.no_grad():
        layer.temperature.fill_(0.01)
    expected = torch.softmax(layer.slice(out.view(12, 2, 4)) / 0.1, -1)
    assert_close(layer.weights(tokens), expected)
    assert_close(layer.weights(tokens).sum(-1), torch.ones(12, 2).double())


def test_a_grid_sees_its_neighbours_and_points_do_not_care_for_order() -> None:
    graph = random_graphs([35], num_features=2, dim=2)[0]
    order = torch.randperm(35, generator=torch.Generator().manual_seed(1))
    other = Data(pos=graph.pos[order], x=graph.x[order])
    for structured, same in ((None, True), ((7, 5), False)):
        model = small(pos_dim=2, structured=structured)
        out, moved = model(model.unpack(graph)), model(model.unpack(other))
        assert torch.allclose(moved, out[order], rtol=1e-4, atol=1e-5) == same


def test_each_graph_has_its_own_time() -> None:
    model = small(time=True)
    graphs = random_graphs([20, 12], num_features=2)
    for graph, time in zip(graphs, (0.1, 0.9), strict=True):
        graph.time = torch.tensor([time])
    together = model(model.unpack(Batch.from_data_list(graphs)))
    assert_close(together, torch.cat([model(model.unpack(graph)) for graph in graphs]), rtol=1e-4, atol=1e-5)
    first = model(model.unpack(graphs[0]))
    graphs[0].time = torch.tensor([0.9])
    assert not torch.allclose(first, model(model.unpack(graphs[0])))


def test_checkpointing_changes_no_gradient() -> None:
    graph = random_graphs([30], num_features=2)[0]
    grads = []
    for checkpoint in (False, True):
        model = small(checkpoint=checkpoint).train()
        model(model.unpack(graph)).square().sum().backward()
        grads.append([p.grad for p in model.parameters()])
    for first, second in zip(*grads, strict=True):
        assert_close(first, second)


def test_initial_weights() -> None:
    published, plain = Transolver(2, 1, channels=64, depth=1), Transolver(2, 1, channels=64, depth=1, init_std=None)
    for module in published.modules():
        if isinstance(module, nn.Linear) and module.weight.numel() > 1000:
            assert float(module.weight.detach().std()) == pytest.approx(0.02, rel=0.1)
    slices = plain.blocks[0].attention.slice.weight.detach()  # type: ignore[union-attr, operator]
    assert_close(slices.T @ slices, torch.eye(8), rtol=1e-4, atol=1e-5)
    assert bool((plain.blocks[0].attention.temperature == 0.5).all())  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_heads": 3}, "num_heads=3 and channels=16; try num_heads=2"),
        ({"num_slices": 0}, "num_slices must be at least 1, got 0"),
        ({"structured": (2, 2, 2, 2)}, "one to three axes"),
    ],
    ids=str,
)
def test_impossible_arguments(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        small(**changes)


def test_inputs_that_do_not_fit() -> None:
    graph = random_graphs([12], num_features=2, dim=2)[0]
    for model, message in (
        (small(pos_dim=2, structured=(4, 4)), "grids of 4 x 4 = 16 points, graph 0 has 12"),
        (small(pos_dim=2, time=True), "needs an attribute 'time'"),
        (small(), "3 coordinates in pos and 2 features in x, got 2 and 2"),
        (small(pos_dim=2, in_channels=5), "2 coordinates in pos and 5 features in x, got 2 and 2"),
    ):
        with pytest.raises(InputError, match=message):
            model(model.unpack(graph))
