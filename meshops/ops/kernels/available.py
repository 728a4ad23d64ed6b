"""What the machine offers to kernels."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import is_in_torch_dispatch_mode


def needs_numba(tensor: Tensor, dtypes: Sequence[torch.dtype]) -> str:
    """Why a Numba kernel cannot take this tensor; empty where it can."""
    if tensor.device.type != "cpu":
        return "needs CPU tensors"
    if not has("numba"):
        return "needs the package numba"
    return "" if tensor.dtype in dtypes else f"needs {', '.join(str(dtype)[6:] for dtype in dtypes)}"


def needs_triton(tensor: Tensor, dtypes: Sequence[torch.dtype]) -> str:
    """Why a Triton kernel cannot take this tensor; empty where it can."""
    if tensor.device.type != "cuda":
        return "needs CUDA tensors"
    if not has("triton"):
        return "needs the package triton"
    return "" if tensor.dtype in dtypes else f"needs {', '.join(str(dtype)[6:] for dtype in dtypes)}"


def eager(*tensors: Tensor) -> str:
    """Why operations do not just run on these tensors, so that nobody looks at what they are; empty where they do."""
    if any(type(x) not in (Tensor, torch.nn.Parameter) for x in tensors):
        return "needs plain tensors"
    watched = (
        torch.compiler.is_compiling()
        or torch._C._get_tracing_state() is not None
        or is_in_torch_dispatch_mode()
        or torch.is_autocast_enabled("cpu")
        or torch._C._are_functorch_transforms_active()
        or torch.autograd.forward_ad._current_level >= 0
    )
    return "not while something is traced, counted, transformed or cast" if watched else ""


@cache
def has(package: str) -> bool:
    """Whether a package is installed; Triton comes with CUDA builds of PyTorch."""
    return find_spec(package) is not None


def on_device_of(tensor: Tensor) -> AbstractContextManager[Any]:
    """Launch kernels on the device a tensor lies on; nothing to do on the CPU, where Triton's interpreter runs."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()
