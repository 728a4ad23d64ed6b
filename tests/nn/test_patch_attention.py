"""Patch attention layer against torch.nn.MultiheadAttention on [H_k ; S] of each patch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from meshops.errors import InputError
from meshops.nn import PatchAttention, RotaryPositions

B, P, L, M, C = 2, 3, 5, 4, 8


def dense_twin(layer: PatchAttention) -> nn.MultiheadAttention:
    dense = nn.MultiheadAttention(C, layer.num_heads, batch_first=True).double()
    parts = (layer.query, layer.key, layer.value)
    dense.in_proj_weight.data = torch.cat([part.weight.data for part in parts])
    dense.in_proj_bias.data = torch.cat([part.bias.data for part in parts])
    dense.out_proj.load_state_dict(layer.out.state_dict())
    return dense


@pytest.fixture
def layer() -> PatchAttention:
    torch.manual_seed(0)
    return PatchAttention(C, num_heads=2).double()


def inputs() -> tuple[Tensor, Tensor]:
    torch.manual_seed(3)
    return torch.randn(B, P, L, C, dtype=torch.float64), torch.randn(B, M, C, dtype=torch.float64)


@pytest.mark.parametrize("masked", [False, True])
def test_equals_dense_attention_restricted_to_local_rows(layer: PatchAttention, masked: bool) -> None:
    tokens, supernodes = inputs()
    exists = torch.rand(B, P, L) < 0.7 if masked else None
    weights = torch.randn(B, P, L, C, dtype=torch.float64)
    dense = dense_twin(layer)

    local, shared = tokens.clone().requires_grad_(), supernodes.clone().requires_grad_()
    out = layer(local, layer.memory(local, shared, exists))
    (out * weights).sum().backward()

    local_, shared_ = tokens.clone().requires_grad_(), supernodes.clone().requires_grad_()
    expected = []
    for b in range(B):
        for p in range(P):
            z = torch.cat([local_[b, p], shared_[b]]).unsqueeze(0)
            ignored = None
            if exists is not None:
                ignored = torch.cat([~exists[b, p], torch.zeros(M, dtype=torch.bool)]).unsqueeze(0)
            expected.append(dense(z, z, z, key_padding_mask=ignored, need_weights=False)[0][0, :L])
    dense_out = torch.stack(expected).view(B, P, L, C)
    (dense_out * weights).sum().backward()

    assert_close(out, dense_out)
    assert_close(local.grad, local_.grad)
    assert_close(shared.grad, shared_.grad)
    assert_close(torch.cat([layer.query.weight.grad, layer.key.weight.grad]), dense.in_proj_weight.grad[: 2 * C])


def test_keys_of_supernodes_are_computed_once(layer: PatchAttention) -> None:
    tokens, supernodes = inputs()
    rows: dict[str, int] = {}

    def count(name: str) -> None:
        def hook(module: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> None:
            rows[name] = rows.get(name, 0) + args[0].shape[:-1].numel()

        getattr(layer, name).register_forward_hook(hook)

    for name in ("query", "key", "value", "out"):
        count(name)
    layer(tokens, layer.memory(tokens, supernodes))
    assert rows == {"query": B * P * L, "key": B * (P * L + M), "value": B * (P * L + M), "out": B * P * L}


def test_rotary_makes_attention_depend_on_differences_of_positions(layer: PatchAttention) -> None:
    tokens, supernodes = inputs()
    rotary = RotaryPositions(C // 2, 2).double()
    pos, center = torch.rand(B, P, L, 2, dtype=torch.float64), torch.rand(B, M, 2, dtype=torch.float64)

    def attend(shift: float) -> Tensor:
        angles = rotary(pos + shift)
        memory = layer.memory(tokens, supernodes, angles=angles, supernode_angles=rotary(center + shift))
        return layer(tokens, memory, angles)

    assert_close(attend(0.0), attend(1.3), rtol=1e-5, atol=1e-6)
    assert not torch.allclose(attend(0.0), layer(tokens, layer.memory(tokens, supernodes)), atol=1e-4)


def test_heads_must_divide_channels() -> None:
    with pytest.raises(InputError, match=r"num_heads=5 and channels=128; try num_heads=4"):
        PatchAttention(128, num_heads=5)
