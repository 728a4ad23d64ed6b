"""Levels that so many cases support, and how often intervals of them hold the truth."""

from __future__ import annotations

import numpy as np
import pytest

from meshops.errors import InputError
from meshops.trust import cases_needed, check_level, highest_level, radius


def slow_cases_needed(percent: int) -> int:
    """Fewest n with ceil((n + 1) percent / 100) <= n, in whole numbers."""
    n = 1
    while -(-(n + 1) * percent // 100) > n:
        n += 1
    return n


def test_the_cases_needed_are_those_a_search_finds() -> None:
    assert [cases_needed(p / 100) for p in range(1, 100)] == [slow_cases_needed(p) for p in range(1, 100)]


@pytest.mark.parametrize(("cases", "level"), [(0, 0), (1, 0.5), (4, 0.8), (8, 0.85), (9, 0.9), (24, 0.9)])
def test_the_highest_level_of_so_many_cases(cases: int, level: float) -> None:
    assert highest_level(cases) == level
    if level:
        assert check_level(level, cases) == level


def test_every_highest_level_can_be_asked_for() -> None:
    for cases in range(1, 40):
        assert cases_needed(highest_level(cases)) <= cases


@pytest.mark.parametrize("cases", [9, 10, 17, 24, 40])
@pytest.mark.parametrize("level", [0.5, 0.8, 0.9])
@pytest.mark.parametrize("draw", ["standard_cauchy", "standard_exponential", "random"])
def test_a_new_score_stays_below_the_radius_as_often_as_the_level_says(cases: int, level: float, draw: str) -> None:
    scores = getattr(np.random.default_rng(cases), draw)((4000, cases + 1))
    covered = np.mean([row[-1] <= radius(row[:-1], level) for row in scores])
    assert level - 0.02 < covered < level + 1 / (cases + 1) + 0.02


def test_the_radius_is_a_score_and_does_not_depend_on_their_order() -> None:
    scores = np.array([5.0, 1.0, 4.0, 2.0, 3.0, 9.0, 8.0, 7.0, 6.0])
    assert radius(scores, 0.9) == radius(scores[::-1], 0.9) == 9
    assert radius(scores, 0.5) == 5


@pytest.mark.parametrize(("level", "cases", "needed"), [(0.9, 8, 9), (0.95, 18, 19), (0.99, 24, 99), (0.5, 0, 1)])
def test_too_few_cases_are_told_how_many_are_needed(level: float, cases: int, needed: int) -> None:
    with pytest.raises(InputError, match=f"need {needed} held-out cases, this surrogate has {cases}"):
        radius(np.ones(cases), level)


@pytest.mark.parametrize("level", [0.0, 1.0, 90.0, -0.1])
def test_a_level_is_a_share(level: float) -> None:
    with pytest.raises(InputError, match="between 0 and 1"):
        check_level(level, 1000)
