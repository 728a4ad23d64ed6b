"""Training batches as a function of (seed, step, rank): nothing to store, so a resumed run sees what it would have."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic

import torch
from torch.utils.data import IterableDataset

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
    ) -> None:
        super().__init__()
        self.task, self.samples, self.batch_size, self.steps, self.seed = task, samples, batch_size, steps, seed
        self.first_step, self.rank, self.world_size = first_step, rank, world_size
        self._shuffled: tuple[int, list[int]] | None = None

    def __iter__(self) -> Iterator[B]:
        for step in range(self.first_step(), self.steps):
            yield self.task.batch(self.samples, self.draws(step))

    def draws(self, step: int) -> list[Draw]:
        """Samples of one step."""
        first, count = (step * self.world_size + self.rank) * self.batch_size, len(self.samples)
        return [
            Draw(self._order(draw // count)[draw % count], mix(self.seed, 1, draw))
            for draw in range(first, first + self.batch_size)
        ]

    def _order(self, round_: int) -> list[int]:
        """Order of the samples in a round; kept until the next."""
        if self._shuffled is None or self._shuffled[0] != round_:
            generator = torch.Generator().manual_seed(mix(self.seed, 2, round_))
            self._shuffled = round_, torch.randperm(len(self.samples), generator=generator).tolist()
        return self._shuffled[1]


def mix(*numbers: int) -> int:
    """One 63-bit seed from several numbers (splitmix64)."""
    state = 0
    for number in numbers:
        state = (state ^ number) + 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
        state = (state ^ state >> 27) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 31
    return state >> 1
