"""Supernode pooling against loops over patches and tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from meshops.errors import InputError
from meshops.nn import SupernodePool

B, P, L, C = 2, 3, 8, 5


def tokens() -> Tensor:
    torch.manual_seed(1)
    return torch.randn(B, P, L, C)


def mask() -> Tensor:
    torch.manual_seed(2)
    exists = torch.rand(B, P, L) < 0.6
    exists[0, 1] = False
    exists[1, 0, :4] = False  # an empty sub-block beside a full one
    exists[1, 0, 4:] = True
    return exists


def expect(exists: Tensor, num_supernodes: int, pool_patch: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    x = tokens()
    rows = [pool_patch(x[b, p], exists[b, p]) for b in range(B) for p in range(P)]
    return torch.stack(rows).view(B, P * num_supernodes, C)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("q", [1, 2, 4])
@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_paper_reduces_sub_blocks(pooling: Any, q: int, masked: bool) -> None:
    exists = mask() if masked else torch.ones(B, P, L, dtype=torch.bool)

    def pool_patch(x: Tensor, here: Tensor) -> Tensor:
        out = torch.zeros(q, C)
        for i in range(q):
            block = slice(i * L // q, (i + 1) * L // q)
            rows = x[block][here[block]]
            if len(rows):
                out[i] = rows.mean(0) if pooling == "mean" else rows.max(0).values
        return out

    pooled, found = SupernodePool(C, q, pooling=pooling)(tokens(), exists if masked else None)
    assert_close(pooled, expect(exists, q, pool_patch))
    if masked:
        assert found is not None and torch.equal(found, exists.view(B, P * q, L // q).any(2))
    else:
        assert found is None


@pytest.mark.parametrize("masked", [False, True])
def test_paper_linear_is_a_map_over_tokens(masked: bool) -> None:
    pool = SupernodePool(C, 2, pooling="linear", patch_size=L + 2)
    assert pool.weight is not None
    pool.weight.data.normal_()
    exists = mask() if masked else torch.ones(B, P, L, dtype=torch.bool)
    padded = torch.zeros(L + 2, C)

    def pool_patch(x: Tensor, here: Tensor) -> Tensor:
        rows = padded.clone()
        rows[:L][here] = x[here]
        return pool.weight.data.T @ rows  # type: ignore[union-attr]

    pooled, found = pool(tokens(), exists if masked else None)
    assert_close(pooled, expect(exists, 2, pool_patch))
    if masked:
        assert torch.equal(found.view(B, P, 2), exists.any(2, keepdim=True).expand(-1, -1, 2))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("q", [1, 3, 10])
def test_reference_mean_trims_the_largest_tokens(q: int, masked: bool) -> None:
    exists = mask() if masked else torch.ones(B, P, L, dtype=torch.bool)

    def pool_patch(x: Tensor, here: Tensor) -> Tensor:
        rows = sorted(x[here], key=lambda row: -float(row.norm()))
        out = torch.zeros(q, C)
        for i in range(min(q, len(rows))):
            out[i] = torch.stack(rows[i:]).mean(0)
        return out

    pooled, _ = SupernodePool(C, q, style="reference")(tokens(), exists if masked else None)
    assert_close(pooled, expect(exists, q, pool_patch))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("q", [1, 3, 10])
def test_reference_max_takes_the_largest_values(q: int, masked: bool) -> None:
    exists = mask() if masked else torch.ones(B, P, L, dtype=torch.bool)

    def pool_patch(x: Tensor, here: Tensor) -> Tensor:
        out = torch.zeros(q, C)
        top = x[here].sort(0, descending=True).values[:q]
        out[: len(top)] = top
        return out

    pooled, _ = SupernodePool(C, q, pooling="max", style="reference")(tokens(), exists if masked else None)
    assert_close(pooled, expect(exists, q, pool_patch))


def test_reference_linear_maps_the_mean() -> None:
    pool = SupernodePool(C, 2, pooling="linear", style="reference")
    assert pool.linear is not None
    pooled, _ = pool(tokens())
    assert_close(pooled.view(B, P, 2 * C), pool.linear(tokens().mean(2)))


@pytest.mark.parametrize("style", ["paper", "reference"])
@pytest.mark.parametrize("pooling", ["mean", "max", "linear"])
def test_padding_does_not_change_the_answer(pooling: Any, style: Any) -> None:
    torch.manual_seed(0)
    pool = SupernodePool(C, 1, pooling=pooling, style=style, patch_size=L + 3)
    exists = torch.ones(B, P, L + 3, dtype=torch.bool)
    exists[:, :, L:] = False
    padded = torch.cat([tokens(), torch.full((B, P, 3, C), 99.0)], 2)
    assert_close(pool(padded, exists)[0], pool(tokens())[0])


@pytest.mark.parametrize("style", ["paper", "reference"])
@pytest.mark.parametrize("pooling", ["mean", "max", "linear"])
def test_gradient(pooling: Any, style: Any) -> None:
    pool = SupernodePool(C, 2, pooling=pooling, style=style, patch_size=L).double()
    x = tokens().double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: pool(x, mask())[0], (x,), fast_mode=True)


def test_errors() -> None:
    with pytest.raises(InputError, match="'mean', 'max' or 'linear', got 'median'"):
        SupernodePool(C, pooling="median")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="give patch_size"):
        SupernodePool(C, pooling="linear")
    with pytest.raises(InputError, match="built for 4 tokens a patch, got 8"):
        SupernodePool(C, pooling="linear", patch_size=4)(tokens())
    with pytest.raises(InputError, match="8 token slots of a patch must be divisible by num_supernodes=3"):
        SupernodePool(C, 3)(tokens())


def test_repr() -> None:
    assert repr(SupernodePool(C, 2, pooling="max")).startswith("SupernodePool(num_supernodes=2, pooling='max'")
