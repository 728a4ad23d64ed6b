"""Which cases judge which: an outer split nobody chooses by, and folds of the rest. Cases of a group stay together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from meshops.errors import InputError, listing

FEW = 5  # with fewer cases there is nothing to choose by
MOST_FOLDS = 5


@dataclass(frozen=True)
class Split:
    """Positions of cases.

    Attributes:
        learn: Cases that are learnt from, folds among them.
        test: Cases that judge the winner and choose nothing; empty: there are too few.
        folds: Of ``learn``: the cases each fold holds out; every case is in one.
    """

    learn: tuple[int, ...]
    test: tuple[int, ...]
    folds: tuple[tuple[int, ...], ...]

    def rest(self, fold: int) -> tuple[int, ...]:
        """Cases that a fold learns from."""
        held = set(self.folds[fold])
        return tuple(i for i in self.learn if i not in held)


def split_cases(groups: Sequence[object], *, test: float | Sequence[int] = 0.2, seed: int = 0,
                num_folds: int = MOST_FOLDS) -> Split:  # fmt: skip
    """Split cases at random.

    Args:
        groups: Of each case; cases of one group stand together in a fold. Give every case its own to have none.
        test: Share of the cases for the outer split, at least one of them; or their positions.
        seed: Of the choice.
        num_folds: At most; there are no more than groups.

    Raises:
        InputError: A share that is none, positions that are not there, or too few groups to hold one out.
    """
    members: dict[object, list[int]] = {}
    for position, group in enumerate(groups):
        members.setdefault(group, []).append(position)
    rng = np.random.default_rng(seed)
    order = [members[key] for key in sorted(members, key=str)]
    order = [order[i] for i in rng.permutation(len(order))]
    held = _outer(order, test, len(groups))
    left = [group for group in order if not set(group) & held]
    if len(left) < 2:
        raise InputError(
            f"{len(left)} groups of cases are left to learn from; at least 2 are needed, so that one can be held out"
        )
    count = min(num_folds, len(left))
    folds: list[list[int]] = [[] for _ in range(count)]
    for group in sorted(left, key=len, reverse=True):  # stable: the order stays random among equal sizes
        min(folds, key=len).extend(group)
    learn = tuple(sorted(i for group in left for i in group))
    return Split(learn, tuple(sorted(held)), tuple(tuple(sorted(fold)) for fold in folds))


def _outer(order: Sequence[Sequence[int]], test: float | Sequence[int], count: int) -> set[int]:
    """Cases of the outer split: whole groups."""
    if not isinstance(test, float | int):
        unknown = [i for i in test if not 0 <= i < count]
        if unknown:
            raise InputError(f"no case {listing(unknown)} of {count} to test on")
        return {i for group in order if set(group) & set(test) for i in group}
    if not 0 <= test < 1:
        raise InputError(f"test is a share of the cases in [0, 1) or a list of them, got {test}")
    wanted = max(1, round(test * count)) if test and count >= FEW else 0
    held: set[int] = set()
    for group in order:
        if len(held) >= wanted:
            break
        held |= set(group)
    return held
