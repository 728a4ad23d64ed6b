"""Widths of fields on cases whose errors follow a known pattern."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from meshops.trust.field_widths import FieldWidths


def error_at(place: Tensor) -> Tensor:
    """Root mean square error: ten times larger on the right, another unit for the second field."""
    left = place[:, :1] < 0
    return torch.where(left, 0.1, 1.0) * torch.tensor([1.0, 30.0])


def drawn(count: int, seed: int, *, spread: float = 0.0) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Place, error and spread of the nodes of cases, each on a cloud of its own."""
    generator = torch.Generator().manual_seed(seed)
    out = []
    for i in range(count):
        place = 2 * torch.rand(300 + i, 2, generator=generator) - 1
        usual = error_at(place)
        size = torch.exp(0.2 * torch.randn(1, generator=generator))
        error = (usual * size * torch.randn(usual.shape, generator=generator)).abs()
        out.append((place, error, spread * usual))
    return out


def covered(widths: FieldWidths, level: float, *, spread: float = 0.0) -> np.ndarray:
    """Mean share of the nodes of fresh cases, of each field."""
    shares = [
        (error <= widths.half_widths(place, apart, level, 1.0)).float().mean(0).numpy()
        for place, error, apart in drawn(40, 1, spread=spread)
    ]
    return np.asarray(np.mean(shares, axis=0))


@pytest.fixture(scope="module")
def widths() -> FieldWidths:
    return FieldWidths.of(drawn(20, 0), np.ones(20))


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9])
def test_as_many_nodes_of_fresh_cases_are_covered_as_the_level_says(widths: FieldWidths, level: float) -> None:
    np.testing.assert_allclose(covered(widths, level), level, atol=0.04)


def test_the_spread_of_members_is_taken_into_account() -> None:
    made = FieldWidths.of(drawn(20, 0, spread=2.0), np.ones(20))
    np.testing.assert_allclose(covered(made, 0.8, spread=2.0), 0.8, atol=0.05)
    place = torch.zeros(2, 2)
    apart = torch.tensor([[0.0, 0.0], [50.0, 50.0]])
    half = made.half_widths(place, apart, 0.8, 1.0)
    assert (half[1] > half[0]).all()


def test_widths_are_larger_where_errors_were(widths: FieldWidths) -> None:
    place = torch.tensor([[-0.5, 0.3], [0.5, 0.3]])
    half = widths.half_widths(place, torch.zeros(2, 2), 0.9, 1.0)
    assert (half[1] > 4 * half[0]).all()
    assert float(half[1, 1] / half[1, 0]) == pytest.approx(30, rel=0.2)


def test_widths_grow_with_the_errors_expected_of_a_case_and_with_the_level(widths: FieldWidths) -> None:
    place = torch.rand(50, 2)
    half = widths.half_widths(place, torch.zeros(50, 2), 0.8, 1.0)
    torch.testing.assert_close(widths.half_widths(place, torch.zeros(50, 2), 0.8, 2.0), 2 * half)
    assert (widths.half_widths(place, torch.zeros(50, 2), 0.9, 1.0) > half).all()


def test_cases_of_larger_expected_errors_count_by_them() -> None:
    cases, scales = drawn(20, 0), np.linspace(0.5, 2, 20)
    scaled = [(place, error * float(s), apart) for (place, error, apart), s in zip(cases, scales, strict=True)]
    plain, told = (FieldWidths.of(scaled, s) for s in (np.ones(20), scales))
    assert told.factor(0, 0.9) < plain.factor(0, 0.9)


def test_a_kept_one_gives_the_same_widths(widths: FieldWidths) -> None:
    again = FieldWidths.from_dict(widths.to_dict())
    place, apart = torch.rand(50, 2), torch.rand(50, 2)
    assert torch.equal(again.half_widths(place, apart, 0.9, 1.3), widths.half_widths(place, apart, 0.9, 1.3))
