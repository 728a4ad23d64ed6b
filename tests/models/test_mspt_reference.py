"""The reference variant against a literal, slow reading of the released code's formula."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from meshops.models import MSPT
from meshops.models.mspt import MSPTInputs
from meshops.models.mspt_reference import ReferenceBlock

D, HEADS = 8, 2


def attention(mha: nn.MultiheadAttention, rows: Tensor) -> Tensor:
    """Softmax attention, head by head."""
    q, k, v = (rows @ mha.in_proj_weight.T + mha.in_proj_bias).chunk(3, 1)
    width = D // HEADS
    heads = []
    for h in range(HEADS):
        part = slice(h * width, (h + 1) * width)
        weights = torch.softmax(q[:, part] @ k[:, part].T / math.sqrt(width), 1)
        heads.append(weights @ v[:, part])
    return torch.cat(heads, 1) @ mha.out_proj.weight.T + mha.out_proj.bias


def pool(block: ReferenceBlock, rows: Tensor, q: int, pooling: str) -> Tensor:
    """Supernodes of one patch, padding rows included."""
    if pooling == "linear":
        assert block.pool.linear is not None
        return block.pool.linear(rows.mean(0)).view(q, D)
    if pooling == "max":
        top = rows.sort(0, descending=True).values[:q]
        return torch.cat([top, torch.zeros(q - len(top), D)])
    order = rows.norm(dim=1).argsort(descending=True, stable=True)
    out = torch.zeros(q, D)
    for i in range(min(q, len(rows))):
        out[i] = rows[order[i:]].mean(0)
    return out


def literal(model: MSPT, pos: Tensor, x: Tensor | None, num_patches: int, q: int, pooling: str) -> Tensor:
    """One graph, linear patches: N points cut into K runs of ceil(N / K), zero rows after LN1 in every block."""
    n = len(pos)
    length = math.ceil(n / num_patches)
    t = model.embed(pos, x)
    carried = torch.zeros(num_patches * q, D)
    for block in model.blocks:
        assert isinstance(block, ReferenceBlock)
        u = torch.zeros(num_patches * length, D)
        u[:n] = block.norm(t)
        patches = u.split(length)
        supernodes = torch.cat([pool(block, rows, q, pooling) for rows in patches]) + carried
        updated, copies = [], []
        for rows in patches:
            z = torch.cat([rows, supernodes])
            z = z + attention(block.attention, block.inner_norm(z))
            z = z + block.inner_ffn(block.inner_norm(z))
            updated.append(z[:length])
            copies.append(z[length:])
        carried = torch.stack(copies).mean(0)
        t = t + torch.cat(updated)[:n]
        t = t + block.ffn(block.norm_ffn(t))
    norm, linear = model.head
    return linear(norm(t))


@pytest.mark.parametrize(("n", "num_patches"), [(24, 4), (22, 4), (9, 6), (5, 1)])
@pytest.mark.parametrize("q", [1, 2])
@pytest.mark.parametrize("pooling", ["mean", "max", "linear"])
def test_equals_the_released_formula(pooling: Any, q: int, n: int, num_patches: int) -> None:
    model = MSPT(
        3, 2, channels=D, depth=3, num_heads=HEADS, num_patches=num_patches, num_supernodes=q, pooling=pooling,
        variant="reference", patching="file",
    ).eval()  # fmt: skip
    for parameter in model.parameters():  # away from the initial zeros
        nn.init.normal_(parameter, std=0.5)
    pos, x = torch.rand(n, 3), torch.randn(n, 3)
    out = model(MSPTInputs(pos, x, *model.patches(pos)))
    assert_close(out, literal(model, pos, x, num_patches, q, pooling), rtol=1e-4, atol=1e-4)


def test_initial_weights_are_those_of_the_released_code() -> None:
    model = MSPT(3, 2, channels=64, depth=1, num_heads=HEADS, num_patches=2, variant="reference", patching="file")
    block: Any = model.blocks[0]
    for linear in (block.attention.out_proj, block.inner_ffn[0], block.ffn[2], model.embed.mlp[0]):
        assert float(linear.weight.detach().std()) == pytest.approx(0.02, rel=0.15)
        assert not linear.bias.any()
    bound = math.sqrt(6 / (64 + 3 * 64))  # Xavier uniform stays on the raw in_proj_weight
    assert float(block.attention.in_proj_weight.detach().abs().max()) == pytest.approx(bound, rel=0.01)
    assert bool((model.embed.placeholder >= 0).all()) and float(model.embed.placeholder.detach().max()) <= 1 / 64


def test_masked_padding_changes_nothing() -> None:
    model = MSPT(
        0, 1, channels=D, depth=2, num_heads=HEADS, num_patches=4, variant="reference", mask_padding=True
    ).eval()  # fmt: skip
    pos = torch.rand(21, 3)
    index, mask = model.patches(pos)
    assert mask is not None
    wider = nn.functional.pad(index, (0, 3, 0, 2), value=7), nn.functional.pad(mask, (0, 3, 0, 2))
    assert_close(model(MSPTInputs(pos, None, *wider)), model(MSPTInputs(pos, None, index, mask)))
