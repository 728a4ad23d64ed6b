"""Training batches as a function of (seed, step, rank): nothing to store, so a resumed run sees what it would have.

All ranks know the whole batch of a step; who takes which of its samples depends on their numbers of nodes, so that none
waits long for another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic

import torch
from torch.utils.data import IterableDataset

from meshops import ranks
from meshops.tasks.base import B, Draw, S, Task


class DrawStream(IterableDataset[B], Generic[S, B]):
    """Batches of numbered samples, drawn in shuffled rounds: each is seen once before any is seen again.

    Args:
        task: Makes a batch of draws.
        samples: Numbered samples.
        batch_size: Samples per step and rank.
        steps: Total number of steps.
        seed: Of the order, and of what is random about a sample.
        first_step: Asked when iteration starts: 0, or the step at which a run is resumed.
        rank: Of this process.
        world_size: Number of processes.
        node_budget: Fewer samples a step where a rank would have more nodes than this; 0: any number. A sample that
            has more by itself is a batch by itself.
    """

    def __init__(
        self,
        task: Task[S, B],
        samples: S,
        *,
        batch_size: int,
        steps: int,
        seed: int,
        first_step: Callable[[], int] = lambda: 0,
        rank: int = 0,
        world_size: int = 1,
        node_budget: int = 0,
    ) -> None:
        super().__init__()
        self.task, self.samples, self.batch_size, self.steps, self.seed = task, samples, batch_size, steps, seed
        self.first_step, self.rank, self.world_size, self.node_budget = first_step, rank, world_size, node_budget
        self._shuffled: dict[int, list[int]] = {}
        self._starts = [0]  # first draw of each step, as far as they were asked for

    def __iter__(self) -> Iterator[B]:
        for step in range(self.first_step(), self.steps):
            yield self.task.batch(self.samples, self.draws(step))

    def draws(self, step: int) -> list[Draw]:
        """Samples of one step on this rank."""
        whole = self.whole(step)
        if self.world_size == 1:
            return whole
        return [whole[place] for place in self._shared(whole)[self.rank]]

    def whole(self, step: int) -> list[Draw]:
        """Samples of one step on all ranks."""
        if not self.node_budget:
            first, most = step * self.world_size * self.batch_size, self.world_size * self.batch_size
            return [self._draw(i) for i in range(first, first + most)]
        while len(self._starts) < step + 2:
            self._starts.append(self._starts[-1] + self._fitting(self._starts[-1]))
        return [self._draw(i) for i in range(*self._starts[step : step + 2])]

    def _shared(self, draws: list[Draw]) -> list[list[int]]:
        return ranks.balanced([self.samples.size(draw.number) for draw in draws], self.world_size)

    def _fitting(self, first: int) -> int:
        """How many draws from one on are a batch within the budget; at least one for each rank."""
        count = self.world_size
        draws = [self._draw(first + i) for i in range(count)]
        while count < self.world_size * self.batch_size:
            draws.append(self._draw(first + count))
            sizes = [self.samples.size(draw.number) for draw in draws]
            if max(sum(sizes[i] for i in part) for part in self._shared(draws)) > self.node_budget:
                break
            count += 1
        return count

    def _draw(self, draw: int) -> Draw:
        count = len(self.samples)
        return Draw(self._order(draw // count)[draw % count], mix(self.seed, 1, draw))

    def _order(self, round_: int) -> list[int]:
        """Order of the samples in a round; the last two are kept, since a batch may reach into the next."""
        if round_ not in self._shuffled:
            generator = torch.Generator().manual_seed(mix(self.seed, 2, round_))
            kept = {r: order for r, order in self._shuffled.items() if r == round_ - 1}
            self._shuffled = kept | {round_: torch.randperm(len(self.samples), generator=generator).tolist()}
        return self._shuffled[round_]


def mix(*numbers: int) -> int:
    """One 63-bit seed from several numbers (splitmix64)."""
    state = 0
    for number in numbers:
        state = (state ^ number) + 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
        state = (state ^ state >> 27) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 31
    return state >> 1
