import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from meshops.data.latent_grid import LatentGrid
from meshops.errors import InputError


def grid(dim: int, periodic: bool = False, cells: int = 6) -> LatentGrid:
    return LatentGrid(low=(-1.0,) * dim, high=(2.0,) * dim, shape=(cells,) * dim, periodic=(periodic,) * dim)


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("periodic", [False, True])
def test_nodes_see_the_nearest_points_within_the_radius(dim: int, periodic: bool) -> None:
    torch.manual_seed(dim)
    box = grid(dim, periodic, cells=4)
    pos = torch.rand(40, dim) * 3 - 1
    near = box.from_points(pos, radius=1.3, max_neighbors=9, min_neighbors=3)
    place, nodes = (pos + 1) / 0.75, box.nodes()
    for q in range(box.num_nodes):
        gap = nodes[q] - place
        if periodic:
            gap = gap - 4 * torch.round(gap / 4)
        distance = gap.norm(dim=1)
        order = distance.argsort()
        inside = int((distance <= 1.3).sum())
        wanted = order[: min(9, inside)] if inside >= 3 else order[:3]
        taken = near.weight[q] > 0
        assert set(near.index[q][taken].tolist()) == set(wanted.tolist())
        assert int(near.found[q]) == inside
        assert float(near.nearest[q]) == pytest.approx(float(distance.min()), abs=1e-5)
        got = dict(zip(near.index[q][taken].tolist(), near.offset[q][taken], strict=True))
        for i in wanted.tolist():
            torch.testing.assert_close(got[i], gap[i], atol=1e-5, rtol=0)
        square = distance[wanted].square()
        scaled = (square - square.min()) / (square.max() - square.min())
        weight = dict(zip(wanted.tolist(), torch.softmax(-scaled, 0).tolist(), strict=True))
        for i, w in zip(near.index[q][taken].tolist(), near.weight[q][taken].tolist(), strict=True):
            assert w == pytest.approx(weight[i], abs=1e-5)


@given(dim=st.integers(1, 3), periodic=st.booleans(), seed=st.integers(0, 100), cells=st.integers(1, 7))
@settings(max_examples=40, deadline=None)
def test_window_to_points_is_a_continuous_partition_of_unity(dim: int, periodic: bool, seed: int, cells: int) -> None:
    torch.manual_seed(seed)
    box = grid(dim, periodic, cells)
    pos = torch.rand(20, dim, dtype=torch.float64) * 3 - 1
    near = box.to_points(pos)
    torch.testing.assert_close(near.weight.sum(1), torch.ones(20, dtype=torch.float64))
    field = torch.rand(box.num_nodes, dtype=torch.float64)

    def value(at: torch.Tensor) -> torch.Tensor:
        found = box.to_points(at)
        return (field[found.index] * found.weight).sum(1)

    step = 1e-7
    moved = (pos + step).clamp(-1, 2)
    assert float((value(moved) - value(pos)).abs().max()) < 1e-4  # no jump when a node enters or leaves
    if periodic:
        torch.testing.assert_close(value(pos + 3.0), value(pos))


def test_points_may_be_in_any_order_and_graphs_do_not_mix() -> None:
    torch.manual_seed(0)
    box = grid(2)
    pos = torch.rand(50, 2) * 3 - 1
    order = torch.randperm(50)
    features = torch.rand(50)

    def mean(pos: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        near = box.from_points(pos)
        return (values[near.index] * near.weight).sum(1)

    torch.testing.assert_close(mean(pos, features), mean(pos[order], features[order]))
    near = box.from_points(torch.cat([pos, pos[:20]]), ptr=torch.tensor([0, 50, 70]))
    assert near.index.shape[0] == 2 * box.num_nodes
    assert int(near.index[: box.num_nodes].max()) < 50 and int(near.index[box.num_nodes :].min()) in (0, *range(50, 70))
    both = torch.cat([features, features[:20]])
    out = (both[near.index] * near.weight).sum(1)
    torch.testing.assert_close(out[: box.num_nodes], mean(pos, features))
    torch.testing.assert_close(out[box.num_nodes :], mean(pos[:20], features[:20]))


def test_a_small_graph_of_a_batch_does_not_change_the_others() -> None:
    torch.manual_seed(0)
    box, pos = grid(2), torch.rand(6, 2)
    both = box.from_points(torch.cat([pos, torch.rand(1, 2)]), ptr=torch.tensor([0, 6, 7]))
    alone = box.from_points(pos)
    torch.testing.assert_close(both.weight[: box.num_nodes], alone.weight)
    assert torch.equal(both.index[: box.num_nodes], alone.index)
    assert bool((both.weight[box.num_nodes :] > 0).sum(1).eq(1).all())


def test_equal_distances_have_equal_weights() -> None:
    box = LatentGrid(low=(0.0, 0.0), high=(1.0, 1.0), shape=(8, 8), periodic=(True, True))
    axis = torch.arange(8) / 8
    near = box.from_points(torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1).flatten(0, 1), radius=0.9)
    torch.testing.assert_close(near.weight[:, :4], torch.full((64, 4), 0.25), atol=1e-3, rtol=0)


def test_empty_neighbourhoods_see_the_nearest_and_are_counted() -> None:
    box = grid(2)
    near = box.from_points(torch.tensor([[-0.9, -0.9], [-0.8, -0.9]]), radius=1.0)
    assert near.num_empty == box.num_nodes - int((near.found > 0).sum()) > 20
    torch.testing.assert_close(near.weight.sum(1), torch.ones(box.num_nodes))
    assert bool((near.weight > 0).sum(1).eq(2).all())


def test_spacing_and_multiples() -> None:
    box = LatentGrid.over((0, 0), (4.0, 1.0), spacing=0.13, multiple=4, periodic=(True, False))
    assert box.shape == (32, 8) and box.spacing == (0.125, 0.125)
    assert LatentGrid.over((0.0,), (1.0,), spacing=0.25).shape == (4,)


def test_what_cannot_be() -> None:
    box = grid(2)
    with pytest.raises(InputError, match=r"1 of 2 points lie outside of the box.*first is point 1 at \[5.0, 0.0\]"):
        box.from_points(torch.tensor([[0.0, 0.0], [5.0, 0.0]]))
    with pytest.raises(InputError, match=r"positions must be \[n, 2\]"):
        box.to_points(torch.rand(3, 3))
    with pytest.raises(InputError, match="graph without points"):
        box.from_points(torch.rand(3, 2), ptr=torch.tensor([0, 3, 3]))
    with pytest.raises(InputError, match="min_neighbors at least 1"):
        box.from_points(torch.rand(3, 2), min_neighbors=0)
    with pytest.raises(InputError, match="no query points"):
        box.to_points(torch.rand(0, 2))
    with pytest.raises(InputError, match="lie outside"):
        box.to_points(torch.tensor([[float("nan"), 0.0]]))
    with pytest.raises(InputError, match="must not be empty"):
        LatentGrid(low=(0.0,), high=(0.0,), shape=(3,), periodic=(False,))
    with pytest.raises(InputError, match="one entry for each"):
        LatentGrid(low=(0.0,), high=(1.0,), shape=(3, 3), periodic=(False,))
