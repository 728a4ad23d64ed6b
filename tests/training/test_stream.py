"""Training batches depend on (seed, step, rank) alone."""

from __future__ import annotations

from typing import Any

import torch

from meshops.data.mesh_graph import MeshGraph
from meshops.models import create_model
from meshops.tasks import Draw, FieldsSettings, FieldsSpec, FieldsTask
from meshops.tasks.fields_samples import FieldsSamples
from meshops.training.stream import DrawStream


def cases(count: int = 5) -> FieldsSamples:
    graphs = [
        MeshGraph(pos=torch.rand(40, 3), x=torch.full((40, 1), float(i)), y=torch.rand(40, 1)) for i in range(count)
    ]
    spec = FieldsSpec(fields=("y",), sizes=(1,), units=("",), dim=3, inputs=("i",), nodes=16)
    return FieldsSamples(
        spec=spec, graphs=graphs, held_out=(), offers=frozenset({"points"}), names=tuple(map(str, range(count)))
    )


def stream(samples: FieldsSamples | None = None, **changes: Any) -> DrawStream[Any, Any]:
    data = cases() if samples is None else samples
    model = create_model("mspt", in_channels=1, out_channels=1, channels=8, depth=1, num_heads=1, num_patches=2)
    task = FieldsTask.fit(model, data, FieldsSettings())
    return DrawStream(task, data, **({"batch_size": 2, "steps": 10, "seed": 3} | changes))


def batch(made: DrawStream[Any, Any], step: int) -> Any:
    return made.task.batch(made.samples, made.draws(step))


def test_a_resumed_stream_goes_on_as_the_first_would_have() -> None:
    data = cases()
    whole = list(stream(data))
    rest = list(stream(data, first_step=lambda: 6))
    assert len(whole) == 10 and len(rest) == 4
    for a, b in zip(whole[6:], rest, strict=True):
        assert torch.equal(a.pos, b.pos) and torch.equal(a.y, b.y)


def test_every_case_is_seen_once_per_round() -> None:
    seen = [int(graph.x[0]) for batch in stream() for graph in batch.to_data_list()]
    for start in range(0, 20, 5):
        assert sorted(seen[start : start + 5]) == [0, 1, 2, 3, 4]
    assert [seen[start : start + 5] for start in range(0, 20, 5)] != [seen[:5]] * 4  # in another order


def test_ranks_share_the_work_of_one_larger_batch() -> None:
    data = cases()
    single = stream(data, batch_size=4, steps=5)
    ranks = [stream(data, batch_size=2, steps=5, rank=r, world_size=2) for r in range(2)]
    for step in range(5):
        together = torch.cat([batch(r, step).pos for r in ranks])
        assert torch.equal(together, batch(single, step).pos)


def test_seeds_differ() -> None:
    data = cases()
    assert not torch.equal(batch(stream(data), 0).pos, batch(stream(data, seed=4), 0).pos)


def test_a_draw_is_a_number_and_a_seed_of_its_own() -> None:
    made = stream()
    drawn = [draw for step in range(10) for draw in made.draws(step)]
    assert len({draw.seed for draw in drawn}) == 20 and all(0 <= draw.number < 5 for draw in drawn)
    again = made.task.batch(made.samples, [Draw(*drawn[7])])
    assert torch.equal(again.pos, batch(made, 3).to_data_list()[1].pos)


def test_whole_cases_are_whole() -> None:
    data = cases()
    data.spec = FieldsSpec(fields=("y",), sizes=(1,), units=("",), dim=3, inputs=("i",))
    made = stream(data)
    first = batch(made, 0).to_data_list()
    assert [len(graph.pos) for graph in first] == [40, 40]
    assert torch.equal(first[0].pos, data.graphs[made.draws(0)[0].number].pos)


def sized(*nodes: int) -> FieldsSamples:
    """Whole cases with so many nodes, each told by its first feature."""
    graphs = [
        MeshGraph(pos=torch.rand(n, 3), x=torch.full((n, 1), float(i)), y=torch.rand(n, 1)) for i, n in enumerate(nodes)
    ]
    spec = FieldsSpec(fields=("y",), sizes=(1,), units=("",), dim=3, inputs=("i",))
    return FieldsSamples(
        spec=spec, graphs=graphs, held_out=(), offers=frozenset({"points"}), names=tuple(map(str, range(len(nodes))))
    )


def test_ranks_have_about_as_many_nodes() -> None:
    """Against all ways to share out a batch: never more than a third above the best (Graham 1969), nobody without."""
    data = sized(90, 10, 20, 40, 30, 70, 15, 25, 60, 12)
    single = stream(data, batch_size=6, steps=5)
    parts = [stream(data, batch_size=3, steps=5, rank=r, world_size=2) for r in range(2)]
    for step in range(5):
        drawn = [part.draws(step) for part in parts]
        assert all(drawn) and sorted(drawn[0] + drawn[1]) == sorted(single.draws(step))
        sizes = [data.size(draw.number) for draw in single.draws(step)]
        ways = [sum(n for i, n in enumerate(sizes) if way >> i & 1) for way in range(2**6)]
        best = min(max(load, sum(sizes) - load) for load in ways)
        assert max(sum(data.size(draw.number) for draw in own) for own in drawn) <= 4 / 3 * best


def test_a_budget_of_nodes_makes_batches_smaller() -> None:
    """Every case in its turn; no rank above the budget but with one case that is alone; any step can be asked for."""
    data = sized(90, 10, 20, 40, 30, 70, 15, 25, 60, 12)
    parts = [stream(data, batch_size=4, steps=40, rank=r, world_size=2, node_budget=80) for r in range(2)]
    loads, seen = [], []
    for step in range(20):
        drawn = [part.draws(step) for part in parts]
        seen += [draw.number for draw in parts[0].whole(step)]
        assert all(1 <= len(own) for own in drawn) and sum(map(len, drawn)) <= 8
        for own in drawn:
            load = sum(data.size(draw.number) for draw in own)
            assert load <= 80 or [data.size(draw.number) for draw in own] == [90]
            loads.append(load)
    assert all(sorted(seen[i : i + 10]) == list(range(10)) for i in range(0, len(seen) - 9, 10))
    assert sum(loads) / len(loads) > 40
    later = stream(data, batch_size=4, steps=40, rank=1, world_size=2, node_budget=80)
    assert later.draws(17) == parts[1].draws(17) and later.draws(3) == parts[1].draws(3)
