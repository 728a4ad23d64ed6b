"""Segment reductions against loops."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from meshops.ops import segment_max, segment_mean, segment_min, segment_sum

LOOPS: dict[Callable[..., Tensor], Callable[[Tensor], Tensor]] = {
    segment_sum: lambda rows: rows.sum(0),
    segment_mean: lambda rows: rows.mean(0),
    segment_max: lambda rows: rows.amax(0),
    segment_min: lambda rows: rows.amin(0),
}


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
@pytest.mark.parametrize("reduction", LOOPS)
def test_equals_loop(reduction: Callable[..., Tensor], shape: tuple[int, ...]) -> None:
    values = torch.randn(40, *shape)
    index = torch.randint(0, 6, (40,))
    index[index == 2] = 5  # segment 2 and 6 stay empty
    expected = torch.zeros(7, *shape)
    for i in index.unique().tolist():
        expected[i] = LOOPS[reduction](values[index == i])
    assert_close(reduction(values, index, 7), expected)


@pytest.mark.parametrize("reduction", LOOPS)
def test_no_rows(reduction: Callable[..., Tensor]) -> None:
    assert_close(reduction(torch.zeros(0, 2), torch.zeros(0, dtype=torch.long), 3), torch.zeros(3, 2))


@pytest.mark.parametrize("reduction", LOOPS)
def test_gradient(reduction: Callable[..., Tensor]) -> None:
    values = torch.randn(8, 2, dtype=torch.float64, requires_grad=True)
    index = torch.tensor([0, 0, 2, 2, 2, 3, 0, 2])
    assert torch.autograd.gradcheck(lambda v: reduction(v, index, 4), (values,))
