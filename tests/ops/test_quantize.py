"""Quantised rows against a loop over numbers, gradients, and what every quantiser must keep."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from meshops.errors import InputError
from meshops.ops.quantize import (
    check_bits,
    fake_quantize_rows,
    fake_quantize_tensor,
    fake_quantize_weight,
    quantize_rows,
    quantize_weight,
    weight_scale,
    weight_step,
)


def slow_row(row: list[float], bits: int, clip: float = 1.0) -> list[float]:
    """One row, one number after the other; Python rounds half to even, too."""
    low, high = min(*row, 0.0) * clip, max(*row, 0.0) * clip
    n = 2**bits - 1
    scale = (high - low) / n or 1.0
    zero = round(-low / scale)
    return [(min(max(round(x / scale) + zero, 0), n) - zero) * scale for x in row]


@given(
    st.integers(0, 10**6),
    st.integers(1, 12),
    st.integers(2, 9),
    st.sampled_from(["normal", "positive", "wide", "zero"]),
)
@settings(deadline=None, max_examples=60)
def test_rows_equal_the_definition(seed: int, rows: int, columns: int, kind: str) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, columns, generator=generator, dtype=torch.float64)
    if kind == "positive":
        x = x.abs()
    if kind == "wide":
        x = x * 10.0 ** torch.randint(-8, 8, (rows, 1), generator=generator)
    if kind == "zero":
        x = torch.zeros_like(x)
    bits = torch.randint(2, 17, (rows,), generator=generator)
    clip = 0.5 + 0.5 * float(torch.rand((), generator=generator))
    ours = fake_quantize_rows(x, bits, torch.tensor(clip, dtype=torch.float64))
    slow = torch.tensor([slow_row(r, int(b), clip) for r, b in zip(x.tolist(), bits, strict=True)], dtype=torch.float64)
    assert_close(ours, slow, rtol=1e-9, atol=1e-12)


@given(st.integers(0, 10**6), st.integers(1, 10), st.integers(1, 20))
@settings(deadline=None, max_examples=40)
def test_integers_are_the_same_values(seed: int, rows: int, columns: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, columns, generator=generator)
    bits = torch.randint(2, 9, (rows,), generator=generator)
    q = quantize_rows(x, bits)
    assert q.values.dtype == torch.uint8 and bool((q.values <= 2 ** bits.unsqueeze(1) - 1).all())
    values = (q.values.float() - q.zero.unsqueeze(1)) * q.scale.unsqueeze(1)
    assert torch.equal(values, fake_quantize_rows(x, bits))
    weight = torch.randn(5, columns, generator=generator)
    for width in (2, 3, 4, 6, 8):
        integers, step = quantize_weight(weight, width)
        assert integers.dtype == torch.int8 and int(integers.abs().max()) <= 2 ** (width - 1) - 1
        assert_close(integers.float() * step.unsqueeze(1), fake_quantize_weight(weight, width), rtol=1e-6, atol=1e-7)


def test_error_falls_by_half_per_bit_and_zero_stays_zero() -> None:
    x = torch.randn(200, 64)
    x[:, 0] = 0
    errors = [float((fake_quantize_rows(x, bits) - x).square().mean().sqrt()) for bits in range(2, 13)]
    ratios = [a / b for a, b in pairwise(errors)]
    assert all(1.7 < ratio < 2.6 for ratio in ratios)
    assert fake_quantize_rows(x, 2)[:, 0].eq(0).all()


def test_bits_of_one_row_change_that_row_alone_and_rows_may_be_in_any_order() -> None:
    x, bits = torch.randn(30, 16), torch.full((30,), 4)
    before = fake_quantize_rows(x, bits)
    bits[7] = 8
    after = fake_quantize_rows(x, bits)
    assert (before != after).any(1).nonzero().flatten().tolist() == [7]
    order = torch.randperm(30)
    assert torch.equal(fake_quantize_rows(x[order], bits[order]), after[order])
    assert torch.equal(fake_quantize_rows(x, 4), before)


def test_rows_without_spread_and_without_columns() -> None:
    x = torch.tensor([[0.0, 0.0], [3.0, 3.0], [-2.0, -2.0]])
    assert_close(fake_quantize_rows(x, 3), x)
    assert fake_quantize_rows(torch.zeros(3, 0), 4).shape == (3, 0)
    assert fake_quantize_rows(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long)).shape == (0, 4)


def test_gradients_pass_inside_and_stop_outside() -> None:
    x = torch.linspace(-1, 2, 31).repeat(2, 1).requires_grad_()
    clip = torch.tensor(0.5, requires_grad=True)
    fake_quantize_rows(x, torch.tensor([3, 8]), clip).sum().backward()
    assert x.grad is not None
    for row, bits in enumerate((3, 8)):
        step = 1.5 / (2**bits - 1)
        inside = (x[row].detach() > -0.5 - step / 2) & (x[row].detach() < 1 + step / 2)
        sure = ((x[row].detach() + 0.5).abs() > step) & ((x[row].detach() - 1).abs() > step)
        assert torch.equal(x.grad[row][sure], inside[sure].float())


def test_the_clip_learns_as_lsq_says() -> None:
    """At the ends the value moves with the clip; the analytic slope there is exact, so finite differences agree."""
    x = torch.tensor([[0.0, 0.9, 1.0]], dtype=torch.float64)  # the last two are clipped at 0.5
    clip = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    fake_quantize_rows(x, 4, clip).sum().backward()
    step = 1e-6
    with torch.no_grad():
        change = fake_quantize_rows(x, 4, clip + step).sum() - fake_quantize_rows(x, 4, clip - step).sum()
    assert clip.grad is not None
    assert float(clip.grad) == pytest.approx(float(change) / (2 * step) / math.sqrt(x.numel()), rel=1e-6)


def test_weights_are_symmetric_and_their_steps_learn() -> None:
    weight = torch.randn(6, 40, dtype=torch.float64)
    step = weight_step(weight, 3).requires_grad_()
    values = fake_quantize_weight(weight, 3, step)
    assert_close(fake_quantize_weight(-weight, 3, step), -values)
    assert len(values[0].detach().unique()) <= 7
    most = 3
    values.sum().backward()
    assert step.grad is not None
    size = weight / step.detach().unsqueeze(1)
    q = torch.round(size).clamp(-most, most)
    slope = torch.where(torch.round(size).abs() <= most, q - size, q).sum(1) / math.sqrt(40 * most)
    assert_close(step.grad, slope)


@pytest.mark.parametrize("bits", range(2, 11))
@pytest.mark.parametrize("kind", ["uniform", "normal", "laplace", "outlier"])
def test_steps_start_where_the_error_is_least(kind: str, bits: int) -> None:
    """Against every step of a fine list, row by row; at every width, since the rules of thumb fail at some."""
    torch.manual_seed(0)
    weight = {
        "uniform": torch.rand(12, 48) * 2 - 1,
        "normal": torch.randn(12, 48),
        "laplace": torch.distributions.Laplace(0.0, 1.0).sample((12, 48)),  # type: ignore[no-untyped-call]
        "outlier": torch.cat([0.1 * torch.randn(12, 47), torch.ones(12, 1)], 1),
    }[kind]
    most = 2 ** (bits - 1) - 1

    def error(step: Tensor) -> Tensor:
        q = (weight / step.unsqueeze(1)).round().clamp(-most, most)
        return (weight - q * step.unsqueeze(1)).square().sum(1).sqrt()

    widest = weight.abs().amax(1) / most
    least = torch.stack([error(widest * factor) for factor in torch.linspace(0.1, 1.2, 1500)]).amin(0)
    found = error(weight_step(weight, bits))
    assert float((found / least).max()) < 1.4 and float(found.sum() / least.sum()) < 1.12
    assert bool((found <= error(widest) * (1 + 1e-5)).all())


def test_steps_of_weights_without_size_or_columns() -> None:
    weight = torch.tensor([[0.0, 0.0], [3.0, -3.0]])
    for bits in (2, 8, 16):
        assert_close(fake_quantize_weight(weight, bits), weight)
        assert bool((weight_scale(weight, bits) > 0).all())
    assert weight_step(torch.zeros(3, 0), 4).shape == (3,)


@pytest.mark.parametrize("bits", range(2, 9))
def test_the_scale_of_a_weight_follows_it(bits: int) -> None:
    """Learned steps are factors on it: of weights that grow they grow too, of other shapes they stay near the best."""
    torch.manual_seed(0)
    even, normal = torch.rand(30, 64) - 0.5, torch.randn(30, 64)
    assert_close(weight_scale(7 * even, bits), 7 * weight_scale(even, bits))
    learned = weight_step(even, bits) / weight_scale(even, bits)  # then the weights become normal
    stale, fresh = (
        (fake_quantize_weight(normal, bits, step) - normal).norm()
        for step in (learned * weight_scale(normal, bits), weight_step(normal, bits))
    )
    assert float(stale / fresh) < 1.2


@pytest.mark.parametrize("bits", [1, 17, 0, -3])
def test_bits_out_of_range_are_named(bits: int) -> None:
    with pytest.raises(InputError, match=f"must be 2 to 16, got {bits}"):
        fake_quantize_rows(torch.zeros(2, 2), bits)
    with pytest.raises(InputError, match=f"must be 2 to 16, got {bits} in row 1"):
        fake_quantize_rows(torch.zeros(2, 2), torch.tensor([4, bits]))


def test_other_bad_input() -> None:
    with pytest.raises(InputError, match="must be 2 to 8, got 12"):
        quantize_rows(torch.zeros(2, 2), 12)
    with pytest.raises(InputError, match=r"one entry per row \(2\), got 3"):
        fake_quantize_rows(torch.zeros(2, 2), torch.tensor([4, 4, 4]))
    with pytest.raises(InputError, match="must be integers"):
        check_bits(torch.tensor([4.0]))


def test_a_learned_range_gets_the_gradients_of_lsq_plus() -> None:
    """Inside of the range the rounding error drives the scale, outside the end it passes; numbers by hand."""
    x = torch.tensor([[0.2, 0.9, 5.0, -3.0]], requires_grad=True)
    low, high = torch.tensor(-1.0, requires_grad=True), torch.tensor(2.0, requires_grad=True)
    out = fake_quantize_tensor(x, 2, low, high)  # scale 1, zero point 1: values -1, 0, 1, 2
    assert out.tolist() == [[0.0, 1.0, 2.0, -1.0]]
    out.sum().backward()
    assert x.grad is not None and x.grad.tolist() == [[1.0, 1.0, 0.0, 0.0]]
    ease = (4 * 3) ** -0.5
    # d out / d scale: round(x / s) - x / s inside, n - z and -z outside; plus the change of the zero point outside
    towards_scale = (0 - 0.2) + (1 - 0.9) + 2 - 1
    assert high.grad is not None and low.grad is not None
    zero_by_scale = -1.0  # z = -low / s
    outside = -2 * zero_by_scale  # two clamped values move by -s dz
    assert float(high.grad) == pytest.approx(ease * (towards_scale + outside) / 3, rel=1e-5)
