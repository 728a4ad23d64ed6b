"""Band errors against a loop over wave numbers; the other errors on grids are tested with the rollout."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from meshops.errors import InputError
from meshops.metrics.grids import band_errors, energy_spectrum


def wave(number: int, size: int = 64) -> Tensor:
    return torch.sin(2 * math.pi * number * torch.arange(size, dtype=torch.float64) / size)


def slow_bands(prediction: Tensor, truth: Tensor, spacing: list[float], bands: int) -> list[float]:
    """One channel ``[*grid]``, with logarithms."""
    dim = truth.dim()
    _, true = energy_spectrum(truth[None], dim=dim, spacing=spacing)
    _, found = energy_spectrum(prediction[None], dim=dim, spacing=spacing)
    top = len(true) - 1
    squares: list[list[float]] = [[] for _ in range(bands)]
    for k in range(1, top + 1):
        band = min(math.floor(bands * math.log(k) / math.log(top) + 1e-9), bands - 1)
        squares[band].append((float(found[k]) / float(true[k]) - 1) ** 2)
    return [math.sqrt(sum(values) / len(values)) for values in squares]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**16), st.sampled_from([(32,), (16, 12), (8, 9, 16)]), st.integers(1, 3))
def test_bands_are_the_loop_over_wave_numbers(seed: int, grid: tuple[int, ...], bands: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    prediction, truth = torch.randn(2, 2, 3, *grid, generator=generator).double()
    spacing = [1.0, 0.5, 1.0][: len(grid)]
    found = band_errors(prediction, truth, dim=len(grid), spacing=spacing, bands=bands)
    assert found.shape == (2, 3, bands)
    for b in range(2):
        for c in range(3):
            expected = slow_bands(prediction[b, c], truth[b, c], spacing, bands)
            assert found[b, c].tolist() == pytest.approx(expected, rel=1e-8)


def test_bands_are_even_in_the_logarithm() -> None:
    """64 cells, K = 32: edges at 32^(1/3) = 3.17 and 32^(2/3) = 10.08; K = 8: edges at 2 and 4, which open a band."""
    for size, first in [(64, (1, 4, 11)), (16, (1, 2, 4))]:
        truth = sum(wave(k, size) for k in range(1, size // 2))
        truth = truth + torch.cos(math.pi * torch.arange(size))  # the highest wave number has no sine
        for k in range(1, size // 2):
            error = band_errors((truth + wave(k, size))[None], truth[None], dim=1)[0]
            band = sum(k >= edge for edge in first) - 1
            assert [bool(e > 1e-6) for e in error] == [i == band for i in range(3)], k


def test_patterns_may_be_elsewhere_but_must_have_their_power() -> None:
    truth = torch.randn(2, 3, 16, 16)
    assert_close(
        band_errors(truth.roll((3, 5), (2, 3)), truth, dim=2), torch.zeros(2, 3, 3).double(), atol=1e-5, rtol=0
    )
    assert_close(band_errors(torch.zeros_like(truth), truth, dim=2), torch.ones(2, 3, 3).double())
    assert_close(band_errors(2 * truth + 7, truth, dim=2), torch.full((2, 3, 3), 3.0).double(), atol=1e-4, rtol=0)
    units = torch.tensor([1e-3, 1.0, 1e6]).view(3, 1, 1)
    guess = torch.randn(2, 3, 16, 16)
    assert_close(band_errors(guess * units, truth * units, dim=2), band_errors(guess, truth, dim=2), rtol=1e-4, atol=0)


def test_smoothing_is_seen_in_the_high_band_first() -> None:
    truth = torch.randn(4, 1, 64)
    smooth = (truth.roll(1, -1) + 2 * truth + truth.roll(-1, -1)) / 4
    low, middle, high = band_errors(smooth, truth, dim=1).mean((0, 1)).tolist()
    assert low < middle < high < 1 and low < 0.1


def test_shells_that_hold_rounding_only_do_not_rule() -> None:
    truth = wave(2)[None]
    error = band_errors(truth + 1e-9 * wave(20), truth, dim=1)[0]
    assert float(error.max()) < 1e-3 and bool(error.isfinite().all())
    assert band_errors(torch.zeros(1, 8), torch.zeros(1, 8), dim=1).tolist() == [[0, 0, 0]]


def test_messages() -> None:
    with pytest.raises(InputError, match="differ in shape"):
        band_errors(torch.zeros(1, 8), torch.zeros(1, 9), dim=1)
    for size, bands in [(4, 3), (1, 1), (32, 0)]:
        with pytest.raises(InputError, match=rf"got bands = {bands} for a grid of \[{size}\].*ask for fewer bands"):
            band_errors(torch.zeros(1, size), torch.zeros(1, size), dim=1, bands=bands)
