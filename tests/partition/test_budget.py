"""TokenBudget: published counts, corner cases, grids as meshes, and best-first refinement on meshes."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Batch

from meshops.data.grid import grid_graph
from meshops.data.mesh_graph import MeshGraph
from meshops.errors import DataWarning, InputError
from meshops.partition import CellPyramid, Partition, TokenBudget
from meshops.partition.budget import choose_cells, mesh_score

PUBLISHED = [  # IAP, table 1: grid, p_min, p_max for the small and for the other budgets, tokens
    ((256, 256), 2, (16, 8, 8), (1024, 2044, 4096)),
    ((128, 384), 2, (8, 8, 8), (1020, 2040, 4092)),
    ((512, 512), 4, (32, 16, 16), (1024, 2044, 4096)),
    ((64, 64, 64), 2, (8, 8, 8), (1016, 2024, 4096)),
]


@pytest.mark.parametrize(("shape", "p_min", "p_max", "tokens"), PUBLISHED)
def test_published_token_counts(
    shape: tuple[int, ...], p_min: int, p_max: tuple[int, ...], tokens: tuple[int, ...]
) -> None:
    for budget, largest, expected in zip((1024, 2048, 4096), p_max, tokens, strict=True):
        assert TokenBudget(budget, p_min, largest, keep_rounding=True).num_tokens(shape) == expected


def test_counts_do_not_depend_on_p_max() -> None:
    for largest in (8, 16, 32):
        assert TokenBudget(2048, 2, largest, keep_rounding=True).num_tokens((256, 256)) == 2044
    assert TokenBudget(2048, 2, 8).num_tokens((256, 256)) == 2047  # the budget used as far as it goes


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=3), st.integers(0, 2), st.integers(1, 3), st.integers(0, 10**6)
)
@settings(deadline=None, max_examples=60)
def test_patches_tile_any_grid_exactly(shape: list[int], levels: int, p_min: int, seed: int) -> None:
    shape = [min(n, 12) for n in shape] if len(shape) == 3 else shape
    fields = torch.randn(2, 3, *shape, generator=torch.Generator().manual_seed(seed))
    start = math.prod(math.ceil(n / (p_min * 2**levels)) for n in shape)
    most = start * 2 ** (len(shape) * levels)
    budget = start + seed % (most - start + 1)
    tokenizer = TokenBudget(budget, p_min, p_min * 2**levels)
    patches = tokenizer.patches(fields)
    assert patches.count.tolist() == [tokenizer.num_tokens(shape)] * 2
    assert budget - patches.count[0] < 2 ** len(shape) - 1 or len(shape) == 1
    assert torch.equal(patches.paint(patches.tokenize(fields)), fields)
    pos = torch.cat([grid_graph(torch.zeros(*shape, 1)).pos] * 2)
    part = patches.partition(pos)
    assert part.size.sum() == len(pos) and part.num_patches == 2 * patches.count[0]
    owner = patches.owner()[(..., *(slice(n) for n in shape))].flatten(1) + patches.ptr[:-1, None]
    assert torch.equal(owner.flatten(), part.node_to_patch)


def test_a_sample_does_not_depend_on_its_batch() -> None:
    fields = torch.randn(4, 2, 32, 24)
    together = TokenBudget(60).patches(fields)
    for i in range(4):
        alone = TokenBudget(60).patches(fields[i : i + 1])
        for ours, other in zip(together.active, alone.active, strict=True):
            assert torch.equal(ours[i], other[0])


def test_equal_sides_are_a_regular_tiling_and_a_front_is_refined() -> None:
    assert TokenBudget(64, 4, 4).patches(torch.randn(1, 1, 32, 32)).count.tolist() == [64]
    front = (torch.arange(64) > 40).float().view(1, 1, 64, 1).expand(1, 1, 64, 64)
    patches = TokenBudget(100, 2, 16).patches(front)
    finest = patches.active[-1][0]
    assert finest.any(1).nonzero().flatten().tolist() == [20, 21]
    assert patches.active[0][0, 0].all()


def test_ties_take_the_first_roots() -> None:
    patches = TokenBudget(16 + 6, 2, 4).patches(torch.zeros(1, 1, 16, 16))
    assert patches.active[0][0].flatten().tolist() == [False] * 2 + [True] * 14


def test_periodic_axes_of_a_graph_are_used() -> None:
    field = torch.arange(16.0).view(16, 1).expand(16, 16).clone()  # a jump across the ends of the first axis
    graphs = [grid_graph(field.unsqueeze(2), periodic=(wrap, False)) for wrap in (True, False)]
    centers = [TokenBudget(16 + 24, 2, 4, field="y")(graph).patch_center for graph in graphs]
    assert not torch.equal(*centers)


def test_modes_agree_where_much_is_split() -> None:
    fields = torch.randn(3, 1, 64, 64).cumsum(2).cumsum(3)
    best = TokenBudget(512, 2, 16, keep_rounding=True).patches(fields)
    steps = TokenBudget(512, 2, 16, mode="steps").patches(fields)
    assert torch.equal(best.count, steps.count)
    differ = sum(int((a != b).sum()) for a, b in zip(best.active, steps.active, strict=True))
    assert differ <= 0.01 * best.mask.numel()


def test_bad_budgets_and_sides() -> None:
    with pytest.raises(InputError, match="p_max must be p_min times a power of two, got p_min=2, p_max=12"):
        TokenBudget(100, 2, 12)
    with pytest.raises(InputError, match="smallest budget is 64, or use p_max=16"):
        TokenBudget(50, 2, 8).num_tokens((64, 64))
    with pytest.warns(DataWarning, match="more than the 1024 patches"):
        assert TokenBudget(5000, 2, 8).num_tokens((64, 64)) == 1024
    with pytest.raises(InputError, match="sample 0, channel 1"):
        TokenBudget(80, 2, 8).patches(torch.tensor([0.0, torch.nan]).view(1, 2, 1, 1).expand(1, 2, 64, 64))
    with pytest.raises(InputError, match="no 'x' to score"):
        TokenBudget(80)(MeshGraph(pos=torch.rand(5, 2)))
    with pytest.raises(InputError, match="mode must be"):
        TokenBudget(80, mode="fast")  # type: ignore[arg-type]


def random_mesh(n: int, dim: int, seed: int) -> MeshGraph:
    generator = torch.Generator().manual_seed(seed)
    pos = torch.rand(n, dim, generator=generator) ** 2
    return MeshGraph(pos=pos, x=torch.tanh((pos[:, :1] - 0.3) * 15))


def test_a_grid_seen_as_a_mesh_gets_the_same_patches() -> None:
    field = torch.randn(64, 64, generator=torch.Generator().manual_seed(1)).cumsum(0).cumsum(1)
    grid = grid_graph(field.unsqueeze(2))
    score = torch.rand(1, 32, 32, generator=torch.Generator().manual_seed(2))
    patches = TokenBudget(301, 2, 16).patches(field[None, None], score=score).partition(grid.pos)
    pyramid = CellPyramid.of(grid.pos, smallest=4)
    share = score[0].repeat_interleave(2, 0).repeat_interleave(2, 1).flatten() / 4
    split = choose_cells(pyramid, pyramid.sums(share), 301, smallest=4, largest=256)
    reached = pyramid.walk(lambda depth, _: split[depth])
    leaves = [int((cells & ~s).sum()) for cells, s in zip(reached, split, strict=True)]
    assert sum(leaves) == patches.num_patches == 301
    assert leaves[2:] == torch.bincount(patches.level, minlength=4).tolist()  # depth 2: cells of 16 x 16


@pytest.mark.parametrize(("n", "dim"), [(3000, 2), (2000, 3), (500, 1)])
def test_mesh_patches_are_best_first_and_fill_the_budget(n: int, dim: int) -> None:
    graph = random_mesh(n, dim, 0)
    tokenizer = TokenBudget(200, 1, 8)
    part = tokenizer.partition(graph)
    assert part.size.sum() == n and part.size.min() > 0
    assert 200 - (2**dim - 2) <= part.num_patches <= 200
    pyramid = CellPyramid.of(graph.pos, smallest=1)
    sums = pyramid.sums(mesh_score(graph, graph.x))
    assert len(part.size) == slow_mesh_leaves(pyramid, sums, 200, smallest=1, largest=8**dim)


def slow_mesh_leaves(
    pyramid: CellPyramid, sums: list[torch.Tensor], budget: int, *, smallest: int, largest: int
) -> int:
    """Split the best leaf again and again while the count stays within the budget."""
    leaves = {(0, cell) for cell in range(len(pyramid.levels[0].batch))}
    while True:
        best, place = (-1.0, 0), None
        for depth, cell in sorted(leaves):
            level = pyramid.levels[depth]
            if int(level.count[cell]) <= smallest or depth == len(pyramid.levels) - 1:
                continue
            score = math.inf if int(level.count[cell]) > largest else float(sums[depth][cell])
            if (score, -depth) > best:
                best, place = (score, -depth), (depth, cell)
        if place is None:
            return len(leaves)
        depth, cell = place
        children = (pyramid.levels[depth + 1].parent == cell).nonzero().flatten().tolist()
        if len(leaves) - 1 + len(children) > budget:
            return len(leaves)
        leaves.remove(place)
        leaves |= {(depth + 1, child) for child in children}


def test_mesh_batches_equal_single_graphs_and_survive_permutation() -> None:
    graphs = [random_mesh(800, 2, 1), random_mesh(500, 2, 2)]
    tokenizer = TokenBudget(100, 1, 8)
    alone = [tokenizer(graph) for graph in graphs]
    together = tokenizer(Batch.from_data_list(graphs))
    assert torch.equal(together.patch_size, torch.cat([graph.patch_size for graph in alone]))
    again = Partition.of(Batch.from_data_list(alone))
    assert torch.equal(again.perm, Partition.of(together).perm)
    order = torch.randperm(800)
    turned = tokenizer(MeshGraph(pos=graphs[0].pos[order], x=graphs[0].x[order]))
    assert torch.equal(turned.patch_size, alone[0].patch_size)


def test_mesh_refinement_follows_the_front_and_needs_room() -> None:
    graph = random_mesh(4000, 2, 3)
    part = TokenBudget(300, 1, 32).partition(graph)
    near = (part.center[:, 0] - 0.3).abs() < 0.05
    assert part.level[near].float().mean() > part.level[~near].float().mean() + 1
    with pytest.raises(InputError, match="smallest budget is"):
        TokenBudget(10, 1, 2).partition(graph)
    graph.x[7] = torch.inf
    with pytest.raises(InputError, match="node 7, channel 0"):
        TokenBudget(300, 1, 32)(graph)
