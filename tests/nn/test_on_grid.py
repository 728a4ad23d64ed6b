"""Models of points and graphs on grids: edges, positions, the order of the cells, learning with the truth."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from meshops.models import MSPT, Transformer, Transolver, create_model
from meshops.nn.on_grid import OnGrid, grid_edges, grid_nodes


def slow_edges(shape: tuple[int, ...], periodic: tuple[bool, ...]) -> set[tuple[int, int]]:
    cells = {place: i for i, place in enumerate(itertools.product(*map(range, shape)))}
    out = set()
    for place, number in cells.items():
        for axis, step in itertools.product(range(len(shape)), (-1, 1)):
            other = list(place)
            other[axis] += step
            if periodic[axis]:
                other[axis] %= shape[axis]
            found = cells.get(tuple(other))
            if found is not None and found != number:
                out.add((found, number))
    return out


@pytest.mark.parametrize(
    ("shape", "periodic"),
    [
        ((5,), (False,)), ((5,), (True,)), ((2,), (True,)), ((1, 4), (True, True)), ((4, 3), (True, False)),
        ((3, 4, 2), (False, True, True)),
    ],
)  # fmt: skip
def test_edges_join_cells_that_share_a_side(shape: tuple[int, ...], periodic: tuple[bool, ...]) -> None:
    edges = grid_edges(shape, periodic)
    assert edges.shape[1] == len(slow_edges(shape, periodic))
    assert set(map(tuple, edges.T.tolist())) == slow_edges(shape, periodic)
    assert bool((edges[1, 1:] >= edges[1, :-1]).all())


def test_nodes_of_several_grids_lie_one_after_the_other() -> None:
    pos, edges = grid_nodes((4, 2), (0.5, 1.0), (False, False), 1.0, 3, torch.device("cpu"))
    assert_close(pos[:3], torch.tensor([[-0.75, -0.5], [-0.75, 0.5], [-0.25, -0.5]]))
    assert torch.equal(pos[8:16], pos[:8]) and torch.equal(edges[:, -20:] - 16, edges[:, :20])
    assert bool((edges[0] // 8 == edges[1] // 8).all())


class Place(nn.Module):
    """Position and input of every point, as they come."""

    def unpack(self, graph: Any) -> Any:
        assert graph.ptr.tolist() == [0, 6, 12]
        return graph

    def forward(self, graph: Any) -> torch.Tensor:
        return torch.cat([graph.pos, graph.x], 1)


def test_cells_keep_their_places() -> None:
    fields = torch.randn(2, 1, 3, 2)
    out = OnGrid(Place(), spacing=(1.0, 2.0), periodic=(False, False), extent=2.0)(fields)
    assert out.shape == (2, 3, 3, 2)
    assert torch.equal(out[:, 2:], fields)
    assert out[1, 0, :, 1].tolist() == [-0.5, 0.0, 0.5] and out[1, 1, 2].tolist() == [-0.5, 0.5]


@pytest.mark.parametrize("name", ["mspt", "meshgraphnet"])
def test_samples_of_a_batch_do_not_see_each_other(name: str) -> None:
    torch.manual_seed(0)
    options: dict[str, Any] = {"num_heads": 2, "num_patches": 4} if name == "mspt" else {}
    model = create_model(name, in_channels=2, out_channels=3, pos_dim=2, channels=16, depth=2, **options).eval()
    grid = OnGrid(model, spacing=(1.0, 1.0), periodic=(True, False), extent=3.0)
    fields = torch.randn(3, 2, 6, 4)
    with torch.no_grad():
        both = grid(fields)
        assert_close(both[1:2], grid(fields[1:2]), rtol=1e-4, atol=1e-5)
        assert_close(both[[2, 0, 1]], grid(fields[[2, 0, 1]]), rtol=1e-4, atol=1e-5)
    assert both.shape == (3, 3, 6, 4)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_models_of_points_take_any_grid_with_gradients(dim: int) -> None:
    size = {"pos_dim": dim, "channels": 24, "depth": 1, "num_heads": 2}
    fields = torch.randn(2, 3, *(6, 5, 4)[:dim], requires_grad=True)
    for model in (
        Transolver(3, 2, num_slices=4, **size), Transformer(3, 2, **size), MSPT(3, 2, num_patches=2, **size),
        MSPT(3, 2, num_patches=3, patching="file", variant="reference", **size),
    ):  # fmt: skip
        made = OnGrid(model, spacing=(1.0,) * dim, periodic=(False,) * dim, extent=3.0)
        out = made(fields)
        assert out.shape == (2, 2, *fields.shape[2:])
        assert_close(out[1:], made(fields[1:]), rtol=1e-4, atol=1e-5)
        (gradient,) = torch.autograd.grad(out[0].square().sum(), fields)
        assert bool(gradient[0].any()) and not bool(gradient[1].any())
        pairs = made.loss_pairs(fields, torch.zeros_like(out))
        assert_close(pairs.prediction, out.movedim(1, -1).flatten(0, -2))


def test_a_shift_along_a_periodic_axis_shifts_what_a_graph_model_of_states_says() -> None:
    """Neighbours are neighbours across the ends too: with positions left out, rolling commutes with the model."""
    torch.manual_seed(0)
    model: Any = create_model("meshgraphnet", in_channels=2, out_channels=2, pos_dim=2, channels=16, depth=2).eval()
    unpack = model.unpack
    model.unpack = lambda graph: unpack(graph)._replace(pos=torch.zeros_like(graph.pos))
    fields = torch.randn(1, 2, 5, 4)
    for periodic, same in ((True, True), (False, False)):
        grid = OnGrid(model, spacing=(1.0, 1.0), periodic=(periodic, False), extent=1.0)
        with torch.no_grad():
            equal = torch.allclose(grid(fields.roll(2, 2)), grid(fields).roll(2, 2), atol=1e-5)
        assert equal is same


def test_floor_and_pairs_are_those_of_every_cell() -> None:
    grid = OnGrid(Place(), spacing=(1.0, 1.0), periodic=(False, False), extent=1.0)
    fields, target = torch.randn(2, 1, 3, 2), torch.randn(2, 3, 3, 2)
    assert grid.floor(fields, target) is target
    pairs = grid.loss_pairs(fields, target)
    assert pairs.ptr.tolist() == [0, 6, 12] and torch.equal(pairs.truth[6], target[1, :, 0, 0])
    seen = grid.learn(fields, target, lambda found: {"loss": (found.prediction - pairs.prediction).abs().sum()})[0]
    assert float(seen["loss"]) == 0


def test_models_with_losses_of_their_own_bring_them() -> None:
    torch.manual_seed(0)
    model = create_model(
        "amq", in_channels=1, out_channels=1, pos_dim=2, bits=(4, 8), arguments={"channels": 64, "depth": 1}
    )
    grid = OnGrid(model, spacing=(1.0, 1.0), periodic=(False, False), extent=1.0)
    fields, target = torch.randn(2, 1, 4, 4), torch.randn(2, 1, 4, 4)
    found = grid.learn(fields, target, lambda p: {"loss": (p.prediction - p.truth).square().mean()})[0]
    assert "auxiliary" in found and float(found["loss"].detach()) > 0
