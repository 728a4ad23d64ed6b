"""Rotary positions."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from meshops.errors import InputError
from meshops.nn import RotaryPositions, rotate


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_scores_depend_on_differences_of_positions_only(dim: int) -> None:
    rotary = RotaryPositions(16, dim).double()
    pos = torch.rand(6, dim, dtype=torch.float64)
    query, key = torch.randn(2, 6, 4, 16, dtype=torch.float64)

    def scores(shift: float) -> torch.Tensor:
        angles = rotary(pos + shift)
        return torch.einsum("qhc,khc->hqk", rotate(query, angles), rotate(key, angles))

    assert_close(scores(0.0), scores(0.731), rtol=1e-5, atol=1e-5)
    assert not torch.allclose(scores(0.0), torch.einsum("qhc,khc->hqk", query, key), atol=1e-2)


def test_turns_pairs_as_complex_numbers() -> None:
    x, angles = torch.randn(5, 2, 6), torch.randn(5, 3)
    turned = torch.complex(x[..., :3], x[..., 3:]) * torch.polar(torch.ones(5, 3), angles).unsqueeze(1)
    assert_close(rotate(x, angles), torch.cat([turned.real, turned.imag], -1))


def test_wavelengths_and_left_over_pairs() -> None:
    rotary = RotaryPositions(16, 3, min_wavelength=0.1, max_wavelength=2.0)
    assert_close(2 * math.pi / rotary.frequency, torch.tensor([2.0, 0.1]))
    angles = rotary(torch.tensor([[1.0, 2.0, 3.0]]))
    assert angles.shape == (1, 8)
    assert_close(angles[0, :6], (torch.tensor([[1.0], [2.0], [3.0]]) * rotary.frequency).flatten())
    assert angles[0, 6:].tolist() == [0, 0]


@pytest.mark.parametrize("width", [4, 7])
def test_too_narrow_heads_are_refused(width: int) -> None:
    with pytest.raises(InputError, match=rf"at least 6 in 3-D, got {width}; use fewer heads or more channels"):
        RotaryPositions(width, 3)
