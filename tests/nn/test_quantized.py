"""Quantised linear layers: plain without bits, one bucket at a time with them, in any order of the rows."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from meshops.errors import InputError
from meshops.nn.quantized import BitPlan, IntegerLinear, QuantLinear
from meshops.ops.quantize import fake_quantize_rows, fake_quantize_weight


def test_without_bits_it_is_the_plain_layer() -> None:
    torch.manual_seed(0)
    layer, x = QuantLinear(12, 5), torch.randn(7, 12)
    assert torch.equal(layer(x), torch.nn.functional.linear(x, layer.weight, layer.bias))


@pytest.mark.parametrize("weights", ["matched", "shared"])
def test_each_row_meets_the_weights_of_its_bits(weights: str) -> None:
    torch.manual_seed(0)
    layer = QuantLinear(12, 5, bits=(2, 4, 8), weights=weights)  # type: ignore[arg-type]
    x, bits = torch.randn(40, 12), torch.tensor([2, 4, 8])[torch.randint(0, 3, (40,))]
    out = layer(x, BitPlan.of(bits))
    for row in range(40):
        width = int(bits[row])
        seen = fake_quantize_rows(x[row : row + 1], width, layer.clip[str(width)])
        met = width if weights == "matched" else 8
        weight = fake_quantize_weight(layer.weight, met, layer.step[str(met)])
        assert_close(out[row : row + 1], seen @ weight.T + layer.bias, atol=1e-5, rtol=1e-5)


def test_order_and_empty_buckets_do_not_matter() -> None:
    layer, x = QuantLinear(12, 5, bits=(2, 4, 8)), torch.randn(33, 12)
    bits = torch.where(torch.arange(33) % 3 == 0, 2, 8)
    out = layer(x, BitPlan.of(bits))
    order = torch.randperm(33)
    assert_close(layer(x[order], BitPlan.of(bits[order])), out[order])
    assert layer(x[:0], BitPlan.of(bits[:0])).shape == (0, 5)
    assert BitPlan.of(bits[:0]).buckets == ()


def test_eight_bits_are_nearly_exact_and_fewer_are_worse() -> None:
    torch.manual_seed(0)
    layer, x = QuantLinear(128, 64, bits=(2, 3, 4, 6, 8)), torch.randn(500, 128)
    plain = layer(x)
    errors = []
    for width in layer.bits:
        out = layer(x, BitPlan.of(torch.full((500,), width)))
        errors.append(float((out - plain).norm() / plain.norm()))
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.01


def test_everything_learns() -> None:
    layer, x = QuantLinear(12, 5, bits=(2, 4)), torch.randn(20, 12, requires_grad=True)
    layer(x, BitPlan.of(torch.tensor([2, 4] * 10))).square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in layer.parameters())
    assert x.grad is not None and bool(x.grad.any())


def test_bit_operations_are_counted() -> None:
    plan = BitPlan.of(torch.tensor([4, 8, 8, 4, 4]))
    assert QuantLinear(10, 3).bit_operations(plan) == 30 * (3 * 16 + 2 * 64)
    assert QuantLinear(10, 3, weights="shared").bit_operations(plan) == 30 * (3 * 4 * 8 + 2 * 64)


def test_bad_plans_are_explained() -> None:
    layer = QuantLinear(4, 2)
    with pytest.raises(InputError, match="a row has 6 bits, the layer was built for 4, 8"):
        layer(torch.zeros(2, 4), BitPlan.of(torch.tensor([4, 6])))
    with pytest.raises(InputError, match="the plan is for 3 rows, got 2"):
        layer(torch.zeros(2, 4), BitPlan.of(torch.tensor([4, 8, 8])))
    with pytest.raises(InputError, match="got 1 in row 1"):
        BitPlan.of(torch.tensor([4, 1]))
    with pytest.raises(InputError, match="must be 'matched' or 'shared'"):
        QuantLinear(4, 2, weights="own")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="the layer was built for none"):
        QuantLinear(4, 2, bits=())(torch.zeros(2, 4), BitPlan.of(torch.tensor([4, 8])))


@pytest.mark.usefixtures("integer_backend")
def test_learned_ranges_start_from_the_first_rows_and_run_as_integers() -> None:
    torch.manual_seed(0)
    layer, x = QuantLinear(12, 5, bits=(4, 8), ranges="tensor"), torch.randn(40, 12)
    plan = BitPlan.of(torch.tensor([4, 8] * 20))
    out = layer(x, plan)
    assert layer.limits["4"].tolist() == [float(x[::2].min()), float(x[::2].max())]
    out.square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in layer.limits.parameters())
    with torch.no_grad():
        assert_close(IntegerLinear(layer)(x, plan), layer(x, plan), atol=1e-5, rtol=1e-5)
