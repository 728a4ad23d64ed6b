"""Tokens of meshes: leaves by a budget and regions by criteria, against walks over boxes; what is remembered."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from torch_geometric.data import Batch

from meshops.data import MeshGraph
from meshops.errors import InputError
from meshops.partition import BudgetTokens, CriteriaTokens, MeshTokens, RefineByCriteria, Thresholds, mesh_tokens
from meshops.partition.budget import mesh_score


def mesh(n: int, dim: int = 2, seed: int = 0) -> MeshGraph:
    """Random nodes, denser at the origin, with a front at x = 0.3 and a velocity."""
    pos = torch.rand(n, dim, generator=torch.Generator().manual_seed(seed)) ** 2
    front = torch.tanh((pos[:, :1] - 0.3) * 15)
    return MeshGraph(pos=pos, x=torch.cat([front, 0.1 * pos[:, 1:] * front], 1))


def groups(tokens: MeshTokens, order: Tensor | None = None) -> list[frozenset[int]]:
    """Nodes of each token; ``order``: the number each node had."""
    node = tokens.node if order is None else order[tokens.node]
    return [frozenset(part.tolist()) for part in node.tensor_split(tokens.ptr[1:-1])]


def slow_leaves(pos: Tensor, score: Tensor, budget: int, smallest: int) -> set[frozenset[int]]:
    """Split the box with the largest score while the budget lasts: boxes as floats, nodes one by one."""
    low = pos.double().amin(0)
    side = float((pos.double().amax(0) - low).max())
    leaves = [((low.tolist(), side), list(range(len(pos))))]
    while True:
        able = [leaf for leaf in leaves if len(leaf[1]) > smallest]
        if not able:
            break
        best = max(able, key=lambda leaf: float(score[leaf[1]].sum()))
        (corner, width), nodes = best
        parts: dict[tuple[bool, ...], list[int]] = {}
        for i in nodes:
            key = tuple(float(pos[i, a]) >= corner[a] + width / 2 for a in range(pos.shape[1]))
            parts.setdefault(key, []).append(i)
        if len(leaves) - 1 + len(parts) > budget:
            break
        leaves.remove(best)
        for key, inside in parts.items():
            corner_of_part = [c + width / 2 * up for c, up in zip(corner, key, strict=True)]
            leaves.append(((corner_of_part, width / 2), inside))
    return {frozenset(nodes) for _, nodes in leaves}


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("features", [True, False])
def test_leaves_are_those_of_a_walk_over_boxes(dim: int, features: bool) -> None:
    graph = mesh(300, dim)
    values = graph.x if features else graph.x[:, :0]
    tokens = BudgetTokens(60, smallest=3).tokens(graph, values)
    score = mesh_score(graph, values) if features else torch.ones(300)
    assert set(groups(tokens)) == slow_leaves(graph.pos, score, 60, 3)
    assert 60 - (2**dim - 2) <= tokens.num_tokens <= 60
    assert sorted(tokens.node.tolist()) == list(range(300))
    assert torch.equal(tokens.home[tokens.node], tokens.token)


@pytest.mark.parametrize("tokenizer", [BudgetTokens(50), CriteriaTokens()], ids=["budget", "criteria"])
def test_nodes_lie_in_the_cells_of_their_tokens(tokenizer: mesh_tokens.Tokenizer) -> None:
    graph = mesh(400)
    tokens = tokenizer.tokens(graph, graph.x)
    away = (graph.pos[tokens.node] - tokens.center[tokens.token]).abs().amax(1)
    assert bool((away <= tokens.half[tokens.token] * (1 + 1e-4)).all())
    extent = graph.pos.amax(0) - graph.pos.amin(0)
    assert_close(tokens.half, extent.max() / 2 ** (tokens.depth + 1))
    place = tokens.place(graph.pos, tokens.node, tokens.token)
    assert_close(tokens.center[tokens.token] + place * tokens.half[tokens.token, None], graph.pos[tokens.node])


def test_leaves_are_small_at_a_front_and_where_nodes_are_dense_without_features() -> None:
    graph = mesh(2000)
    tokens = BudgetTokens(200).tokens(graph, graph.x[:, :1])
    near = (tokens.center[:, 0] - 0.3).abs() < 0.05
    assert tokens.depth[near].float().mean() > tokens.depth[~near].float().mean() + 0.5
    even = BudgetTokens(200).tokens(graph, graph.x[:, :0])
    assert int(even.ptr.diff().max()) < 2000 / 200 * 8
    dense = even.center.norm(dim=1) < 0.1
    assert even.depth[dense].float().mean() > even.depth[~dense].float().mean() + 1
    still = BudgetTokens(200).tokens(graph, torch.full((2000, 1), 0.3))
    assert torch.equal(still.node, even.node) and torch.equal(still.ptr, even.ptr)


@pytest.mark.parametrize("dim", [2, 3])
def test_regions_are_those_of_the_cover_of_criteria(dim: int) -> None:
    graph = mesh(1500, dim)
    velocity, side = tuple(range(dim)), {2: 16, 3: 6}[dim]
    cover = RefineByCriteria(velocity=velocity, max_size=16 if dim == 2 else 4).cover(graph)
    tokens = CriteriaTokens(velocity, max_size=16 if dim == 2 else 4).tokens(graph, graph.x)
    assert groups(tokens) == [frozenset(part.tolist()) for part in cover.index.tensor_split(cover.ptr[1:-1])]
    assert torch.equal(tokens.depth, cover.level) and torch.equal(tokens.home, cover.finest)
    assert int(tokens.ptr.diff().max()) <= side**dim


def test_criteria_without_a_velocity_look_at_the_gradient_or_at_the_fineness() -> None:
    graph = mesh(2000)
    by_front = CriteriaTokens(thresholds=Thresholds(gradient=2.0), top=0.0).tokens(graph, graph.x[:, :1])
    finest = by_front.depth[by_front.home]
    near = (graph.pos[:, 0] - 0.3).abs() < 0.05
    assert finest[near].float().mean() > finest[~near].float().mean() + 1
    by_mesh = CriteriaTokens(thresholds=Thresholds(gradient=2.0), top=0.0).tokens(graph, graph.x[:, :0])
    size = by_mesh.ptr.diff()[by_mesh.home].float()
    dense = graph.pos.norm(dim=1) < 0.05
    assert size[dense].mean() < size[~dense].mean() / 2
    never = CriteriaTokens(thresholds=Thresholds().scaled(float("inf")), top=0.0).tokens(graph, graph.x[:, :1])
    assert never.num_tokens < by_front.num_tokens


def test_every_graph_of_a_batch_may_have_thresholds_of_its_own() -> None:
    graphs, factors = [mesh(400, seed=1), mesh(400, seed=1), mesh(200, seed=2)], torch.tensor([0.2, 3.0, 1.0])
    many = Thresholds(gradient=factors, vorticity=factors, momentum=factors, shear=factors)
    batch = Batch.from_data_list(graphs)
    together = CriteriaTokens((0, 1)).tokens(batch, batch.x, thresholds=many)
    for number, (graph, factor) in enumerate(zip(graphs, factors.tolist(), strict=True)):
        one = Thresholds(gradient=factor, vorticity=factor, momentum=factor, shear=factor)
        alone = CriteriaTokens((0, 1), thresholds=one).tokens(graph, graph.x)
        assert int(together.graph_ptr.diff()[number]) == alone.num_tokens
    assert int(together.graph_ptr.diff()[0]) > int(together.graph_ptr.diff()[1])


@pytest.mark.parametrize("tokenizer", [BudgetTokens(50), CriteriaTokens((0, 1))], ids=["budget", "criteria"])
def test_a_batch_has_the_tokens_of_its_graphs_in_any_order_of_the_nodes(tokenizer: mesh_tokens.Tokenizer) -> None:
    graphs = [mesh(400, seed=1), mesh(90, seed=2), mesh(7, seed=3)]
    together = tokenizer.tokens(batch := Batch.from_data_list(graphs), batch.x)
    alone = [type(tokenizer)(**settings_of(tokenizer)).tokens(graph, graph.x) for graph in graphs]
    for name, ours in together._asdict().items():
        joined = getattr(mesh_tokens._joined(alone), name)
        assert torch.equal(ours, joined), name
    order = torch.randperm(400)
    turned = MeshGraph(pos=graphs[0].pos[order], x=graphs[0].x[order])
    assert groups(tokenizer.tokens(turned, turned.x), order) == groups(alone[0])


def settings_of(tokenizer: mesh_tokens.Tokenizer) -> dict[str, object]:
    if isinstance(tokenizer, BudgetTokens):
        return {"budget": tokenizer.budget}
    assert isinstance(tokenizer, CriteriaTokens)
    return {"velocity": tokenizer.velocity}


def test_ties_of_a_mirrored_mesh_do_not_depend_on_rounding() -> None:
    half = torch.rand(200, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([0.499, 1.0]) + 0.001
    pos = torch.cat([half, half * torch.tensor([-1.0, 1.0])])
    x = torch.sin(6 * pos[:, 1:]) * pos[:, :1].abs()
    tokens = BudgetTokens(41).tokens(MeshGraph(pos=pos, x=x), x)
    for seed in range(5):
        order = torch.randperm(400, generator=torch.Generator().manual_seed(seed))
        turned = BudgetTokens(41).tokens(MeshGraph(pos=pos[order], x=x[order]), x[order])
        assert groups(turned, order) == groups(tokens)


@pytest.mark.parametrize("tokenizer", [BudgetTokens(50), CriteriaTokens()], ids=["budget", "criteria"])
def test_odd_meshes(tokenizer: mesh_tokens.Tokenizer) -> None:
    flat = torch.rand(300, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 1.0, 0.0])
    cases = {"in a plane": flat, "coinciding": torch.ones(70, 3), "one node": torch.rand(1, 3), "few": torch.rand(9, 3)}
    for name, pos in cases.items():
        for values in (pos.square(), pos[:, :0]):
            tokens = tokenizer.tokens(MeshGraph(pos=pos), values)
            assert torch.equal(tokens.node.unique(), torch.arange(len(pos))), name
            place = tokens.place(pos, tokens.node, tokens.token)
            assert bool(place.isfinite().all()) and tokens.num_tokens >= 1, name
    few = BudgetTokens(50).tokens(MeshGraph(pos=cases["few"]), cases["few"])
    assert few.num_tokens == 9  # not more tokens than nodes
    quad = BudgetTokens(1 + 3 * 20).tokens(MeshGraph(pos=flat), flat[:, :0])
    assert quad.num_tokens == 61  # cells of a plane have four parts


def test_a_graph_that_comes_again_is_cut_once(monkeypatch: pytest.MonkeyPatch) -> None:
    graphs, tokenizer = [mesh(100, seed=i) for i in range(3)], BudgetTokens(20)
    cut: list[int] = []
    made = tokenizer.of_graphs
    monkeypatch.setattr(
        tokenizer, "of_graphs", lambda data, values, **kw: cut.append(len(data.ptr) - 1) or made(data, values, **kw)
    )
    one = tokenizer.tokens(batch := Batch.from_data_list(graphs[:2]), batch.x)
    again = tokenizer.tokens(batch := Batch.from_data_list([graphs[1], graphs[2], graphs[0]]), batch.x)
    assert cut == [2, 1]
    assert groups(again)[-20:] == [frozenset(i + 200 for i in group) for group in groups(one)[:20]]
    moved = graphs[0].clone()
    moved.x = moved.x.flip(0)
    tokenizer.tokens(moved, moved.x)
    tokenizer.budget = 30
    assert tokenizer.tokens(graphs[0], graphs[0].x).num_tokens > 20
    tokenizer.tokens(graphs[0], graphs[0].x, budget=10)
    assert cut == [2, 1, 1, 1, 1]
    monkeypatch.setattr(mesh_tokens, "REMEMBERED", 250)
    for graph in graphs:
        tokenizer.tokens(graph, graph.x)
    assert 0 < tokenizer.kept == sum(len(tokens.node) for tokens in tokenizer.seen.values()) <= 250
    monkeypatch.undo()
    other = copy.deepcopy(tokenizer)  # of a model whose weights are averaged, say
    assert (other.kept, len(other.seen), other.budget) == (0, 0, 30)


def test_bad_input() -> None:
    graph = mesh(30)
    with pytest.raises(InputError, match="budget and smallest must be at least 1, got 0 and 1"):
        BudgetTokens(0)
    with pytest.raises(InputError, match="max_size at least 2 min_cell, got 2 and 3"):
        CriteriaTokens(min_cell=2, max_size=3)
    with pytest.raises(InputError, match="top must be a share"):
        CriteriaTokens(top=-0.1)
    with pytest.raises(InputError, match="2-D meshes need 2 velocity channels of the 2, got velocity"):
        CriteriaTokens((0, 2)).tokens(graph, graph.x)
    graph.x[7] = torch.inf
    with pytest.raises(InputError, match="node 7, channel 0"):
        BudgetTokens(9).tokens(graph, graph.x)
    empty = MeshGraph(pos=torch.zeros(0, 2), x=torch.zeros(0, 2))
    with pytest.raises(InputError, match="graph 1 of the batch has no nodes"):
        BudgetTokens(9).tokens(batch := Batch.from_data_list([mesh(30), empty]), batch.x)
