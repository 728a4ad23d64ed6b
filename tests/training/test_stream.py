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
