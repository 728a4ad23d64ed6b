"""MLP."""

from __future__ import annotations

import torch
from torch import nn
from torch.testing import assert_close

from meshops.nn import MLP, Dropout, Linear


def test_is_linear_activation_linear() -> None:
    mlp = MLP([3, 5, 2])
    first, second = mlp[0], mlp[2]
    x = torch.randn(4, 7, 3)
    hidden = nn.functional.gelu(x @ first.weight.T + first.bias)
    assert_close(mlp(x), hidden @ second.weight.T + second.bias)


def test_layers() -> None:
    assert [type(layer) for layer in MLP([3, 2])] == [Linear]
    kinds = [type(layer) for layer in MLP([3, 4, 4, 2], activation=nn.SiLU, dropout=0.5)]
    assert kinds == [Linear, nn.SiLU, Dropout, Linear, nn.SiLU, Dropout, Linear]
