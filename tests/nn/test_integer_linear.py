"""Integers give the values of the layers they came from."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from meshops.errors import InputError
from meshops.nn import MLP, IntegerLinear, QuantLinear, assigned, quantize, to_integers
from meshops.nn.quantized import BitPlan


@pytest.mark.parametrize(("weights", "ranges"), [("matched", "row"), ("shared", "row"), ("matched", "tensor")])
def test_integers_are_the_layer_to_rounding(weights: Any, ranges: Any) -> None:
    torch.manual_seed(0)
    layer, x = QuantLinear(nn.Linear(12, 5), bits=(4, 8), weights=weights, ranges=ranges), torch.randn(40, 12)
    with torch.no_grad(), assigned(layer, BitPlan.of(torch.tensor([4, 8] * 20))):
        want = layer(x)
        assert_close(IntegerLinear(layer)(x), want, atol=1e-5, rtol=1e-5)


def test_networks_of_one_width_need_no_bits() -> None:
    torch.manual_seed(0)
    mlp, x = MLP([8, 32, 4]), torch.randn(2, 5, 8)
    want = mlp(x)
    small = to_integers(quantize(deepcopy(mlp), bits=8))
    with torch.no_grad():
        out = small(x)
    assert out.shape == want.shape and float((out - want).norm() / want.norm()) < 0.02
    assert not list(small.parameters())
    copied = deepcopy(small)
    copied.load_state_dict(small.state_dict())
    with torch.no_grad(), assigned(copied, 8):
        assert torch.equal(copied(x), out)


def test_what_cannot_be_integers_is_refused() -> None:
    two = to_integers(quantize(MLP([4, 4]), bits=(4, 8)))
    with pytest.raises(InputError, match="0: only the integers of this model were kept"):
        two(torch.zeros(3, 4))
    with pytest.raises(InputError, match="0: integers hold 2 to 8 bits, the layer has 6, 10"):
        to_integers(quantize(MLP([4, 4]), bits=(6, 10)))
    with pytest.raises(InputError, match=r"call quantize\(model\) first"):
        to_integers(MLP([4, 4]))
    with pytest.raises(InputError, match="ranges have not been learned"):
        to_integers(quantize(MLP([4, 4]), ranges="tensor"))
