"""Training batches as a function of (seed, step, rank): nothing to store, so a resumed run sees what it would have."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import IterableDataset
from torch_geometric.data import Batch

from meshops.data.mesh_graph import MeshGraph
from meshops.data.sampling import random_subset


class StepStream(IterableDataset[Any]):
    """Batches of random node subsets of prepared cases, one per optimiser step.

    Cases are drawn in shuffled rounds: each is seen once before any is seen again.

    Args:
        cases: Prepared cases.
        nodes: Nodes per subset.
        batch_size: Subsets per step and rank.
        steps: Total number of steps.
        seed: Of the order and of the subsets.
        first_step: Asked when iteration starts: 0, or the step at which a run is resumed.
        rank: Of this process.
        world_size: Number of processes.
        hide: Number of last features that are hidden (NaN) in some of the subsets, and how often: the model learns
            to do without features that a new mesh may not have.
    """

    def __init__(
        self,
        cases: Sequence[MeshGraph],
        *,
        nodes: int,
        batch_size: int,
        steps: int,
        seed: int,
        first_step: Callable[[], int] = lambda: 0,
        rank: int = 0,
        world_size: int = 1,
        hide: tuple[int, float] = (0, 0.0),
    ) -> None:
        super().__init__()
        self.cases = cases
        self.nodes = nodes
        self.batch_size = batch_size
        self.steps = steps
        self.seed = seed
        self.first_step = first_step
        self.rank = rank
        self.world_size = world_size
        self.hide = hide

    def __iter__(self) -> Iterator[Any]:
        for step in range(self.first_step(), self.steps):
            yield self.batch(step)

    def batch(self, step: int) -> Any:
        """The batch of one step."""
        first = (step * self.world_size + self.rank) * self.batch_size
        graphs = []
        for draw in range(first, first + self.batch_size):
            case = self.cases[self._case(draw)]
            generator = torch.Generator().manual_seed(mix(self.seed, 1, draw))
            index = random_subset(len(case.pos), self.nodes, generator)
            graph = MeshGraph(pos=case.pos[index], x=case.x[index], y=case.y[index])
            count, share = self.hide
            if count and float(torch.rand((), generator=generator)) < share:
                graph.x[:, -count:] = torch.nan
            graphs.append(graph)
        return Batch.from_data_list(graphs)

    def _case(self, draw: int) -> int:
        round_, place = divmod(draw, len(self.cases))
        generator = torch.Generator().manual_seed(mix(self.seed, 2, round_))
        return int(torch.randperm(len(self.cases), generator=generator)[place])


def mix(*numbers: int) -> int:
    """One 63-bit seed from several numbers (splitmix64)."""
    state = 0
    for number in numbers:
        state = (state ^ number) + 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
        state = (state ^ state >> 27) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 31
    return state >> 1
