"""Patch attention against a dense softmax, patch by patch."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from meshops.ops import explain, patch_attention
from meshops.ops.kernels import attention_blocks, attention_flash

B, P, H, L, Q, M, C = 2, 3, 2, 4, 5, 6, 3


def inputs(dtype: torch.dtype = torch.float64) -> list[Tensor]:
    torch.manual_seed(0)
    shapes = [(B, P, H, Q, C), (B, P, H, L, C), (B, P, H, L, C), (B, H, M, C), (B, H, M, C)]
    return [torch.randn(shape, dtype=dtype) for shape in shapes]


def masks() -> tuple[Tensor, Tensor]:
    local, shared = torch.rand(B, P, L) < 0.6, torch.rand(B, M) < 0.7
    local[0, 1] = False  # an empty patch still sees the supernodes
    shared[:, 0] = True
    return local, shared


def by_loop(query: Tensor, lk: Tensor, lv: Tensor, gk: Tensor, gv: Tensor, local: Tensor, shared: Tensor) -> Tensor:
    out = torch.empty_like(query)
    for b in range(B):
        for p in range(P):
            for h in range(H):
                keys = torch.cat([lk[b, p, h][local[b, p]], gk[b, h][shared[b]]])
                values = torch.cat([lv[b, p, h][local[b, p]], gv[b, h][shared[b]]])
                out[b, p, h] = torch.softmax(query[b, p, h] @ keys.T / C**0.5, 1) @ values
    return out


@pytest.mark.parametrize("which", ["none", "local", "shared", "both"])
def test_equals_dense_softmax(which: str) -> None:
    args = inputs()
    local, shared = masks()
    local_mask = local if which in ("local", "both") else None
    shared_mask = shared if which in ("shared", "both") else None
    expected = by_loop(
        *args,
        torch.ones_like(local) if local_mask is None else local,
        torch.ones_like(shared) if shared_mask is None else shared,
    )
    assert_close(patch_attention(*args, local_mask, shared_mask), expected)


@pytest.mark.parametrize("masked", [False, True])
def test_gradient(masked: bool) -> None:
    args = [x.requires_grad_() for x in inputs()]
    local, shared = masks() if masked else (None, None)
    assert torch.autograd.gradcheck(lambda *a: patch_attention(*a, local, shared), args, fast_mode=True)


def test_masked_keys_have_no_influence() -> None:
    query, lk, lv, gk, gv = inputs()
    local, shared = masks()
    before = patch_attention(query, lk, lv, gk, gv, local, shared)
    lk, lv = (torch.where(local[:, :, None, :, None], x, 1e3) for x in (lk, lv))
    gk, gv = (torch.where(shared[:, None, :, None], x, -1e3) for x in (gk, gv))
    assert_close(patch_attention(query, lk, lv, gk, gv, local, shared), before)


DTYPES = {torch.float64: 1e-6, torch.float32: 1e-5, torch.bfloat16: 4e-2, torch.float16: 5e-3}
VERSIONS = {"flash": attention_flash.patch_attention, "blocks": attention_blocks.patch_attention}


def laid_out(dtype: torch.dtype, p: int = 6, m: int = 9) -> list[Tensor]:
    """Leaves as linear layers give them: heads beside channels."""
    torch.manual_seed(1)
    shapes = [(2, p, 5, H, 8), (2, p, 4, H, 8), (2, p, 4, H, 8), (2, m, H, 8), (2, m, H, 8)]
    return [torch.randn(shape, dtype=torch.float64).to(dtype).transpose(-2, -3).requires_grad_() for shape in shapes]


def some_masks(p: int = 6, m: int = 9) -> tuple[Tensor, Tensor]:
    """A patch without nodes, a graph without supernodes, and a patch of it that sees nothing at all."""
    local, shared = torch.rand(2, p, 4) < 0.6, torch.rand(2, m) < 0.7
    local[:, 1], shared[0] = False, True
    local[1, 2], shared[1] = True, False
    return local, shared


def results(function: Callable[..., Tensor], args: list[Tensor], *masks: Tensor | None) -> list[Tensor]:
    """Output and gradients."""
    out = function(*args, *masks)
    grad = torch.randn(out.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return [out, *torch.autograd.grad(out, args, grad.to(out.dtype))]


@pytest.mark.parametrize("name", VERSIONS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("which", ["none", "local", "shared", "both"])
def test_versions_equal_the_definition(name: str, dtype: torch.dtype, which: str) -> None:
    args, (local, shared) = laid_out(dtype), some_masks()
    masks = (local if which in ("local", "both") else None, shared if which in ("shared", "both") else None)
    exact = [x.detach().double().requires_grad_() for x in args]
    expected = results(patch_attention.reference, exact, *masks)
    got = results(VERSIONS[name], args, *masks)
    assert all(x.dtype == dtype and bool(x.isfinite().all()) for x in got)
    if which == "both":
        assert not got[0][1, 1].any() and not got[1][1, 1].any()  # no key at all: zeros
    for x, y in zip(got, expected, strict=True):
        assert_close(x.double(), y, rtol=DTYPES[dtype], atol=DTYPES[dtype])


@pytest.mark.parametrize("name", VERSIONS)
def test_versions_differentiate(name: str) -> None:
    args, masks = laid_out(torch.float64, p=3), some_masks(p=3)
    assert torch.autograd.gradcheck(lambda *a: VERSIONS[name](*a, *masks), args)


@pytest.mark.parametrize("name", VERSIONS)
def test_order_of_patches_does_not_matter(name: str) -> None:
    args, (local, shared), perm = laid_out(torch.float64), some_masks(), torch.randperm(6)
    before = results(VERSIONS[name], args, local, shared)
    moved = [x.detach()[:, perm].requires_grad_() for x in args[:3]] + args[3:]
    out = VERSIONS[name](*moved, local[:, perm], shared)
    grad = torch.randn(out.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)[:, perm]
    after = [out, *torch.autograd.grad(out, moved, grad)]
    for i, (x, y) in enumerate(zip(before, after, strict=True)):
        assert_close(y, x[:, perm] if i < 4 else x)


@pytest.mark.parametrize("name", VERSIONS)
def test_any_layout(name: str) -> None:
    """Rows that are not adjacent numbers, and gradients that are one number."""
    args = laid_out(torch.float64)
    odd = [x.detach().transpose(-1, -2).contiguous().transpose(-1, -2).requires_grad_() for x in args]
    odd[3] = args[3].detach()[:1].expand_as(args[3]).requires_grad_()
    expected = torch.autograd.grad(patch_attention.reference(*odd).sum(), odd)
    for x, y in zip(torch.autograd.grad(VERSIONS[name](*odd).sum(), odd), expected, strict=True):
        assert_close(x, y)


@pytest.mark.parametrize("name", VERSIONS)
def test_extreme_scores_stay_exact(name: str) -> None:
    """One side outweighs the other by far more than exp can hold."""
    args = laid_out(torch.float32)
    with torch.no_grad():
        args[0] *= 40
        args[1][0] *= 40
        args[3][1] *= 40
    expected = results(patch_attention.reference, [x.detach().double().requires_grad_() for x in args])
    for x, y in zip(results(VERSIONS[name], args), expected, strict=True):
        assert_close(x.double(), y, rtol=1e-3, atol=1e-3 * float(y.detach().abs().max()))


@pytest.mark.parametrize("name", VERSIONS)
def test_autocast_gives_its_precision(name: str) -> None:
    args = laid_out(torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = [args[0], args[1], args[2].bfloat16(), *args[3:]]
        out = VERSIONS[name](*mixed)
        expected = patch_attention.reference(*mixed)
    assert out.dtype == expected.dtype == torch.bfloat16
    assert_close(out, expected, rtol=4e-2, atol=4e-2)
    assert torch.autograd.grad(out.float().sum(), args)[0].dtype == torch.float32


def test_more_threads_than_heads_share_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 16)  # 2 graphs, 2 heads: 6 parts, as 4 do not divide 6
    args, masks = laid_out(torch.float64), some_masks()
    assert attention_flash._parts(2, 6, H) == 6 and attention_flash._parts(1, 1024, 8) == 2
    expected = results(patch_attention.reference, args, *masks)
    for x, y in zip(results(attention_flash.patch_attention, args, *masks), expected, strict=True):
        assert_close(x, y)


def test_no_second_derivative() -> None:
    args = laid_out(torch.float64)
    for version in VERSIONS.values():
        (grad,) = torch.autograd.grad(version(*args).square().sum(), args[0], create_graph=True)
        with pytest.raises(RuntimeError, match="once_differentiable"):
            grad.sum().backward()


def many(p: int, m: int, q: int = 4, device: str | None = None) -> list[Tensor]:
    shapes = [(1, p, H, q, C), (1, p, H, L, C), (1, p, H, L, C), (1, H, m, C), (1, H, m, C)]
    return [torch.randn(shape, device=device) for shape in shapes]


def test_the_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    assert explain(patch_attention, *many(128, 128)) == "flash: runs"
    assert explain(patch_attention, *many(2, 128, q=256)) == "flash: runs"
    for few in (many(64, 64), many(1, 128), many(2, 128, q=257), many(2, 128, q=0)):
        told = explain(patch_attention, *few)
        assert "needs copies of 1 GiB; " in told and told.endswith("reference (PyTorch): runs")
    assert "needs CPU tensors; blocks: runs" in explain(patch_attention, *many(2**15, 2**15, device="meta"))
    assert "one dtype" in explain(patch_attention, *many(4, 128)[:4], many(4, 128)[4].double())
    monkeypatch.setattr(attention_flash, "known", lambda: False)
    assert "does not have" in explain(patch_attention, *many(128, 128))
    monkeypatch.setattr("meshops.ops.attention.LARGE", 2 * 128 * H * 128 * C * 4)
    args = many(128, 128)
    assert explain(patch_attention, *args).endswith("blocks: runs")
    assert_close(patch_attention(*args), patch_attention.reference(*args))


def test_arguments_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["query", "local_key", "local_value", "global_key", "global_value", "local_mask", "global_mask"]
    args = dict(zip(names, [*many(16, 128), torch.rand(1, 16, L) < 0.5, None], strict=True))
    expected = patch_attention.reference(**args)
    assert explain(patch_attention, **args) == "flash: runs"
    assert_close(patch_attention(**args), expected)
    monkeypatch.setattr(attention_flash, "known", lambda: False)
    monkeypatch.setattr("meshops.ops.attention.LARGE", 1)
    assert explain(patch_attention, **args).endswith("blocks: runs")
    assert_close(patch_attention(**args), expected)


def test_both_ways_agree_where_the_choice_changes() -> None:
    for m in (127, 128):
        args = [x.requires_grad_() for x in many(16, m)]
        expected = results(patch_attention.reference, args)
        for x, y in zip(results(patch_attention, args), expected, strict=True):
            assert_close(x, y, rtol=1e-5, atol=1e-5)


MEMORY = """
import sys, torch
from meshops.ops import patch_attention
from meshops.ops.kernels import attention_blocks, attention_flash

def peak():
    # KiB of address space: what was asked for, whatever the system takes back meanwhile
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmPeak"))

ways = {"copies": patch_attention.reference, "flash": patch_attention, "blocks": attention_blocks.patch_attention}
def run(p):
    shapes = [(1, p, 16, 4, 16)] * 3 + [(1, p, 4, 16)] * 2
    args = [torch.randn(s).transpose(-2, -3).requires_grad_() for s in shapes]
    start = peak()
    ways[sys.argv[1]](*args).sum().backward()
    return peak() - start
run(2)
print(run(1024))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system does not tell the peak of memory")
def test_memory_is_a_quarter() -> None:
    """1,024 patches of 16 nodes, 64 channels: copies alone are 512 MiB."""
    used = {}
    for way in ("copies", "flash", "blocks"):
        ran = subprocess.run([sys.executable, "-c", MEMORY, way], check=True, capture_output=True, text=True)
        used[way] = int(ran.stdout)
    assert used["copies"] > 500 * 1024, used
    assert used["flash"] < used["copies"] / 4 and used["blocks"] < used["copies"] / 4, used
