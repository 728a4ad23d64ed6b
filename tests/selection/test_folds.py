"""Splits: every case once, groups together, repeatable."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshops.errors import InputError
from meshops.selection.folds import split_cases


@given(st.lists(st.integers(0, 12), min_size=8, max_size=60), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_every_case_has_one_place_and_groups_stay_together(groups: list[int], seed: int) -> None:
    if len(set(groups)) < 6:
        return
    split = split_cases(groups, test=0.2, seed=seed)
    assert sorted([*split.learn, *split.test]) == list(range(len(groups)))
    assert sorted(i for fold in split.folds for i in fold) == list(split.learn)
    for part in (split.test, *split.folds):
        inside = {groups[i] for i in part}
        assert all(i in part for i, group in enumerate(groups) if group in inside)
    assert len(split.test) >= max(1, round(0.2 * len(groups)))
    for k, fold in enumerate(split.folds):
        assert not set(split.rest(k)) & set(fold)
        assert sorted([*split.rest(k), *fold]) == list(split.learn)


def test_a_seed_gives_one_split_and_another_another() -> None:
    groups = list(range(30))
    assert split_cases(groups, seed=1) == split_cases(groups, seed=1)
    assert split_cases(groups, seed=1) != split_cases(groups, seed=2)


def test_few_cases_are_not_tested_on_and_each_is_a_fold() -> None:
    split = split_cases(range(3))
    assert split.test == () and sorted(map(len, split.folds)) == [1, 1, 1]


def test_the_outer_cases_can_be_named() -> None:
    split = split_cases(range(10), test=(2, 7))
    assert split.test == (2, 7) and 2 not in split.learn


@pytest.mark.parametrize(
    ("groups", "test", "message"),
    [
        (["a"] * 6, 0.2, "0 groups of cases are left"),
        (range(6), 1.0, r"test is a share of the cases in \[0, 1\)"),
        (range(6), (9,), "no case '9' of 6"),
    ],
)
def test_what_cannot_be_split_is_refused(groups: list[str], test: float | tuple[int, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        split_cases(groups, test=test)
