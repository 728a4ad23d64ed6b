"""What every operation asks of its input, with messages that name the value and where it is.

Checks read the data once, before a kernel does. On CUDA that waits for the device; they are left out while a CUDA
graph is captured and under ``MESHOPS_CHECKS=off``.
"""

from __future__ import annotations

import os

import torch
from torch import Tensor

from meshops.errors import InputError

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def check_positions(pos: Tensor, name: str) -> None:
    """Refuse what is not a float tensor ``[n, d]`` of finite numbers; ``name`` in the singular, e.g. ``position``."""
    if pos.dim() != 2 or pos.dtype not in FLOATS or pos.shape[1] < 1:
        raise InputError(f"{name}s must be a float tensor [n, d], got {tuple(pos.shape)} of {pos.dtype}")
    check_finite(pos, name)


def check_finite(rows: Tensor, name: str) -> None:
    """Refuse NaN and infinity, naming the first row that holds one; ``name`` in the singular."""
    if unreadable(rows) or bool(torch.isfinite(rows.sum())):  # the sum is quick and carries every NaN and infinity
        return
    finite = torch.isfinite(rows)
    if not bool(finite.all()):
        bad = int((~finite.flatten(1).all(1)).nonzero()[0])
        shown = rows[bad].tolist()
        raise InputError(f"{name} {bad} is {shown}; {name}s must be finite, remove or repair the point")


def check_values(values: Tensor, name: str, *, remedy: str) -> None:
    """Refuse NaN and infinity in an array of any shape, naming how many there are and where the first one stands."""
    if unreadable(values) or bool(torch.isfinite(values.sum())):
        return
    bad = ~torch.isfinite(values)
    if bool(bad.any()):
        first = tuple(bad.nonzero()[0].tolist())
        raise InputError(
            f"{name} must be finite, got {int(bad.sum())} NaN or infinite of {values.numel()} values, the first at "
            f"{list(first)}; {remedy}"
        )


def check_ptr(ptr: Tensor, num_rows: int, name: str) -> None:
    """Refuse pointers that do not rise from 0 to ``num_rows``."""
    if ptr.dim() != 1 or ptr.dtype != torch.int64 or ptr.numel() < 1:
        raise InputError(f"{name} must be an int64 tensor [s + 1], got {tuple(ptr.shape)} of {ptr.dtype}")
    if unreadable(ptr):
        return
    falls = ptr[1:] < ptr[:-1]
    if bool(falls.any()):
        bad = int(falls.nonzero()[0])
        raise InputError(
            f"{name} must not fall, got {name}[{bad}] = {int(ptr[bad])} and {name}[{bad + 1}] = {int(ptr[bad + 1])}"
        )
    if int(ptr[0]) != 0 or int(ptr[-1]) != num_rows:
        raise InputError(
            f"{name} must start with 0 and end with the number of rows, {num_rows}; "
            f"got {name}[0] = {int(ptr[0])} and {name}[{ptr.numel() - 1}] = {int(ptr[-1])}"
        )


def check_index(index: Tensor, size: int, name: str) -> None:
    """Refuse indices outside ``0 .. size - 1``, naming the first."""
    if index.dtype != torch.int64:
        raise InputError(f"{name} must be an int64 tensor, got {index.dtype}")
    if index.numel() == 0 or unreadable(index):
        return
    low, high = torch.aminmax(index)
    if int(low) < 0 or int(high) >= size:
        flat = index.flatten()
        bad = int(((flat < 0) | (flat >= size)).nonzero()[0])
        raise InputError(f"{name}[{bad}] is {int(flat[bad])}; indices must lie in 0 .. {size - 1}")


def check_permutation(perm: Tensor, size: int, name: str) -> None:
    """Refuse what does not hold each of ``0 .. size - 1`` once."""
    if perm.dim() != 1 or perm.numel() != size:
        raise InputError(f"{name} must hold each of the {size} rows once, got shape {tuple(perm.shape)}")
    check_index(perm, size, name)
    if unreadable(perm):
        return
    seen = torch.zeros(size, dtype=torch.bool, device=perm.device)
    seen.index_fill_(0, perm, True)
    if not bool(seen.all()):
        missing = int((~seen).nonzero()[0])
        raise InputError(f"{name} must hold each row once; row {missing} is missing, so another is there twice")


def unreadable(tensor: Tensor) -> bool:
    """Whether values cannot or shall not be looked at."""
    if os.environ.get("MESHOPS_CHECKS") == "off":
        return True
    return tensor.is_meta or (tensor.is_cuda and torch.cuda.is_current_stream_capturing())
