"""Linear layers in float32 by oneDNN, on AMD processors with AVX-512: twice as fast as MKL, which uses AVX2 there.

PyTorch gives oneDNN's product away only through the operator behind its compiled layers, without a public name. It is
used where it exists with the arguments known here (run with torch 2.13), else not. It prepares itself for every number
of rows it meets, which takes as long as thousands of rows do: it is asked for numbers that come again, not for the
ragged ones of small meshes.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear as definition

from meshops.ops.kernels.available import eager

ARGUMENTS = ["X", "W", "B", "attr", "scalars", "algorithm"]
LEAST_ROWS, EVEN = 256, 64  # fewer are no slower as they are; other numbers of rows seldom come again
MANY_ROWS = 8192  # from which preparing is little
LEAST_WIDTH, LEAST_PRODUCTS = 16, 2**20


def needs(x: Tensor, weight: Tensor, bias: Tensor | None) -> str:
    """Why these arguments cannot be taken; empty where they can."""
    if torch.compiler.is_compiling():
        return "not while compiled"
    if not known():
        return "needs an AMD processor with AVX-512 and PyTorch's oneDNN"
    rows = x.numel() // max(x.shape[-1], 1)
    if rows * weight.numel() < LEAST_PRODUCTS or min(weight.shape) < LEAST_WIDTH or x.dim() < 2:
        return f"needs {LEAST_PRODUCTS} products, {LEAST_WIDTH} inputs and outputs"
    if rows < LEAST_ROWS or (rows % EVEN and rows < MANY_ROWS):
        return f"needs a multiple of {EVEN} rows from {LEAST_ROWS} on, or {MANY_ROWS} rows"
    given = [t for t in (x, weight, bias) if t is not None]
    if any(t.dtype != torch.float32 or t.device.type != "cpu" for t in given):
        return "needs float32 on the CPU"
    return "needs as many inputs as weights" if x.shape[-1] != weight.shape[1] else eager(*given)


@cache
def known() -> bool:
    """Whether this is such a processor and PyTorch has the operator with the arguments that are given here."""
    operator = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    if operator is None or not torch.backends.mkldnn.is_available():
        return False
    if [x.name for x in operator.default._schema.arguments] != ARGUMENTS:
        return False
    return torch.backends.cpu.get_cpu_capability() == "AVX512" and vendor() == "AuthenticAMD"


def vendor() -> str:
    """Maker of the processor, as Linux tells it; empty elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("vendor_id")), "")


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Same as :func:`meshops.ops.linear` up to rounding."""
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (x, weight, bias)):
        out: Tensor = _Linear.apply(x, weight, bias)  # type: ignore[no-untyped-call]
        return out
    return product(x, weight, bias)


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x weight^T + bias``, not differentiable."""
    out: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return out


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return product(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        multiply = definition if torch.is_grad_enabled() else product  # the definition where it is differentiated again
        rows, seen = grad.reshape(-1, grad.shape[-1]), x.reshape(-1, x.shape[-1])
        to_x = to_weight = None
        if ctx.needs_input_grad[0]:
            to_x = multiply(rows, weight.t()).view(x.shape)
        if ctx.needs_input_grad[1]:  # the first of the two is copied: let it be the narrower
            if rows.shape[1] <= seen.shape[1]:
                to_weight = multiply(rows.t(), seen.t())
            else:
                to_weight = multiply(seen.t(), rows.t()).t()
        return to_x, to_weight, rows.sum(0) if ctx.needs_input_grad[2] else None
