"""Layers that know their rows compute what plain ones do."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import silu
from torch.testing import assert_close

from meshops.nn.row_linear import RowLinear, SplitLinear
from meshops.ops.rows import Rows


def test_row_linear_is_a_linear_layer() -> None:
    torch.manual_seed(0)
    plain = nn.Linear(6, 4)
    torch.manual_seed(0)
    layer, x = RowLinear(6, 4, rows="edge", fixed=8), torch.randn(9, 6)
    assert torch.equal(layer(x), plain(x))
    table, index = torch.randn(3, 4), torch.randint(0, 3, (9,))
    assert torch.equal(layer(x, added=[Rows(table, index)], activation="silu"), silu(plain(x) + table[index]))
    assert "rows='edge', fixed=8" in repr(layer)


def test_split_linear_is_one_layer_on_all_inputs() -> None:
    torch.manual_seed(0)
    split = SplitLinear([(3, None), (5, 8), (2, None)], 4, rows="node")
    inputs = torch.randn(7, 3), torch.randn(7, 5), torch.randn(7, 2)
    weight = torch.cat([part.weight for part in split.parts], 1)  # type: ignore[misc]
    want = torch.cat(inputs, 1) @ weight.T + split.parts[0].bias  # type: ignore[operator]
    assert_close(split(*inputs, activation="silu"), silu(want))
    assert float(weight.abs().max()) <= 10**-0.5
