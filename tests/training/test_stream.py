"""Training batches depend on (seed, step, rank) alone."""

import torch

from meshops.data.mesh_graph import MeshGraph
from meshops.training.stream import StepStream


def cases(count: int = 5) -> list[MeshGraph]:
    return [
        MeshGraph(pos=torch.rand(40, 3), x=torch.full((40, 1), float(i)), y=torch.rand(40, 1)) for i in range(count)
    ]


def stream(**changes) -> StepStream:
    return StepStream(**({"cases": cases(), "nodes": 16, "batch_size": 2, "steps": 10, "seed": 3} | changes))


def test_a_resumed_stream_goes_on_as_the_first_would_have():
    data = cases()
    whole = list(stream(cases=data))
    rest = list(stream(cases=data, first_step=lambda: 6))
    assert len(whole) == 10 and len(rest) == 4
    for a, b in zip(whole[6:], rest, strict=True):
        assert torch.equal(a.pos, b.pos) and torch.equal(a.y, b.y)


def test_every_case_is_seen_once_per_round():
    seen = [int(graph.x[0]) for batch in stream() for graph in batch.to_data_list()]
    for start in range(0, 20, 5):
        assert sorted(seen[start : start + 5]) == [0, 1, 2, 3, 4]


def test_ranks_share_the_work_of_one_larger_batch():
    data = cases()
    single = stream(cases=data, batch_size=4, steps=5)
    ranks = [stream(cases=data, batch_size=2, steps=5, rank=r, world_size=2) for r in range(2)]
    for step in range(5):
        together = torch.cat([r.batch(step).pos for r in ranks])
        assert torch.equal(together, single.batch(step).pos)


def test_seeds_differ():
    data = cases()
    assert not torch.equal(stream(cases=data).batch(0).pos, stream(cases=data, seed=4).batch(0).pos)
