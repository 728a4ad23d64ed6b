"""Products, dropout and attention as training on a CPU runs them, beside their definitions."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from meshops.nn import Dropout, Linear
from meshops.ops import dropout, explain, linear, patch_attention
from meshops.ops.kernels import attention_scores, dropout_numba, linear_onednn

needs_onednn = pytest.mark.skipif(not linear_onednn.known(), reason="runs on AMD processors with AVX-512")


def grads(run: Any, *given: Tensor) -> list[Tensor]:
    """The result, and its gradients for some weights."""
    copies = [x.clone().requires_grad_() for x in given]
    out = run(*copies)
    weights = torch.linspace(-1, 1, out.numel()).view(out.shape)
    return [out.detach(), *torch.autograd.grad((out * weights).sum(), copies)]


@needs_onednn
@pytest.mark.parametrize(("inputs", "outputs"), [(64, 96), (96, 64)])
@pytest.mark.parametrize("shape", [(320,), (2, 5, 64)])
def test_linear_is_its_definition(inputs: int, outputs: int, shape: tuple[int, ...]) -> None:
    x, weight, bias = torch.randn(*shape, inputs), torch.randn(outputs, inputs), torch.randn(outputs)
    assert "onednn: runs" in explain(linear, x, weight, bias)
    for found, expected in zip(grads(linear, x, weight, bias), grads(linear.reference, x, weight, bias), strict=True):
        assert_close(found, expected, atol=1e-3, rtol=1e-4)
    strided = torch.randn(inputs, 320).t()
    assert_close(linear(strided, weight), strided @ weight.t(), atol=1e-4, rtol=1e-5)


@needs_onednn
def test_linear_is_differentiable_twice() -> None:
    x, weight = torch.randn(512, 48, requires_grad=True), torch.randn(48, 48, requires_grad=True)
    (slope,) = torch.autograd.grad(linear(x, weight).sin().sum(), x, create_graph=True)
    (other,) = torch.autograd.grad(linear.reference(x, weight).sin().sum(), x, create_graph=True)
    found, expected = (torch.autograd.grad(s.square().sum(), weight)[0] for s in (slope, other))
    assert_close(found, expected, atol=1e-2, rtol=1e-4)


@pytest.mark.parametrize("rows", [0, 1, 255, 257, 8191])
def test_linear_leaves_ragged_rows_to_pytorch(rows: int) -> None:
    x, layer = torch.randn(rows, 64), Linear(64, 64)
    assert "reference (PyTorch): runs" in explain(linear, x, layer.weight, layer.bias)
    assert torch.equal(layer(x), torch.nn.functional.linear(x, layer.weight, layer.bias))


def test_linear_counts_and_casts_as_pytorch_does() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    x, layer = torch.randn(256, 48), Linear(48, 64)
    with FlopCounterMode(display=False) as counter:
        layer(x)
    assert counter.get_total_flops() == 2 * 256 * 48 * 64
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    assert torch.func.jvp(layer, (x,), (x,))[1].shape == (256, 64)


@pytest.mark.parametrize("size", [2048, 2049, 5000, 98_304])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.937])
def test_dropout_draws_what_pytorch_draws(size: int, p: float) -> None:
    assert dropout_numba.known()  # with this PyTorch
    x = torch.randn(size)
    for before in (0, 1, 3, 310, 623, 624, 1000):
        outs, afterwards = [], []
        for run in (dropout, dropout.reference):
            torch.manual_seed(before)
            torch.rand(before)
            torch.rand(1, dtype=torch.float64)
            outs.append(run(x, p))
            afterwards.append(torch.cat([torch.rand(3), torch.randn(20)]))
        assert_close(outs[0], outs[1], atol=0, rtol=1e-6)
        assert torch.equal(outs[0] == 0, outs[1] == 0)
        assert torch.equal(*afterwards)


def test_dropout_layer() -> None:
    x = torch.randn(64, 64, requires_grad=True)
    layer = Dropout(0.3)
    (grad,) = torch.autograd.grad(layer(x).sum(), x)
    assert set(grad.unique().tolist()) == {0.0, grad.max().item()}
    assert_close(grad.max(), torch.tensor(1 / 0.7))
    assert layer.eval()(x) is x
    assert torch.equal(Dropout(0.0)(x), x)
    assert not Dropout(1.0)(x).any()


@pytest.mark.parametrize("shared", [1, 5])
def test_attention_that_keeps_its_scores(shared: int) -> None:
    query, key, value = (torch.randn(2, 3, 2, n, 8) for n in (7, 4, 4))
    far_key, far_value = torch.randn(2, 2, shared, 8), torch.randn(2, 2, shared, 8)
    given = (query.transpose(2, 3).contiguous().transpose(2, 3), key, value, far_key, far_value)
    copies = [x.clone().requires_grad_() for x in given]
    assert "scores: runs" in explain(patch_attention, *copies)
    assert "scores: runs" not in explain(patch_attention, *given)
    found, expected = grads(patch_attention, *given), grads(patch_attention.reference, *given)
    for a, b in zip(found, expected, strict=True):
        assert_close(a, b, atol=1e-5, rtol=1e-5)
    wide = [x.double().requires_grad_() for x in given]
    assert torch.autograd.gradcheck(attention_scores.patch_attention, wide)
