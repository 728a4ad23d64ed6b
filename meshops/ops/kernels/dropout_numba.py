"""Dropout on the CPU with PyTorch's own random numbers, drawn four times as fast.

PyTorch asks its generator (a Mersenne twister, Matsumoto and Nishimura 1998) for the two numbers of every element one
by one. Here its state is taken, blocks of 624 numbers are made at once, and the state that PyTorch would have is put
back: masks and all that is drawn afterwards are PyTorch's. Where another PyTorch draws in another way, which a first
try tells, its own runs.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

from meshops.ops.kernels.compile import njit

WORDS, SHIFT = 624, 397
LEFT, NEXT, STATE = 8, 16, 24  # bytes of the state of a generator before what is left, what comes next, and the words
SIZE = 5056
LEAST = 2048  # numbers; fewer are drawn in less time than the state is copied


def needs(x: Tensor) -> str:
    """Why this tensor cannot be taken; empty where it can."""
    if x.numel() < LEAST or not x.is_contiguous():
        return f"needs {LEAST} numbers that lie side by side"
    return "" if known() else "needs the random numbers that PyTorch had so far"


@cache
def known() -> bool:
    """Whether PyTorch draws as is assumed here: mask and state after a try, with a generator of its own."""
    generator = torch.Generator().manual_seed(7)
    if generator.get_state().numel() != SIZE:
        return False
    torch.empty(5).bernoulli_(0.5, generator=generator)  # from within a block
    state, out = generator.get_state(), torch.empty(1501)
    expected = torch.empty_like(out).bernoulli_(0.9, generator=generator)
    draw(state, out, 0.9, 1.0)
    return torch.equal(out, expected) and torch.equal(state, generator.get_state())


def dropout(x: Tensor, p: float) -> Tensor:
    """Same as :func:`meshops.ops.dropout`, the same random numbers."""
    state, mask = torch.get_rng_state(), torch.empty_like(x)
    draw(state, mask, 1 - p, 1 / (1 - p))
    torch.set_rng_state(state)
    return x * mask


def draw(state: Tensor, out: Tensor, probability: float, value: float) -> None:
    """Fill with ``value`` or 0 and move the state on, both in place."""
    held = state.numpy()
    left, after = held[LEFT : LEFT + 4].view(np.int32), held[NEXT : NEXT + 8].view(np.int64)
    words = held[STATE : STATE + 8 * WORDS].view(np.uint64)
    mask, limit = out.view(-1).numpy(), int(np.ceil(probability * 2.0**53))
    left[0], after[0] = _draw(words, left[0], after[0], mask, limit, mask.dtype.type(value))


@njit()
def _draw(words, left, after, out, limit, value):  # type: ignore[no-untyped-def]
    """An element is kept where 53 bits of its two numbers are below the limit."""
    block, mixed = np.empty(WORDS, dtype=np.uint32), np.empty(WORDS, dtype=np.uint32)
    for i in range(WORDS):
        block[i] = words[i]
    _temper(block, mixed)
    high_limit, low_limit = np.uint32(limit >> 32), np.uint32(limit & 0xFFFFFFFF)
    zero = value - value
    i, odd, high = 0, False, np.uint32(0)
    while i < out.size:
        if left <= 1:
            _renew(block)
            _temper(block, mixed)
            left, after = WORDS + 1, 0
        if odd:
            low = mixed[after]
            out[i] = value if high < high_limit or (high == high_limit and low < low_limit) else zero
            i, after, left, odd = i + 1, after + 1, left - 1, False
        pairs = min(out.size - i, (left - 1) // 2)
        _keep(mixed[after : after + 2 * pairs], out[i : i + pairs], high_limit, low_limit, value)
        i, after, left = i + pairs, after + 2 * pairs, left - 2 * pairs
        if i < out.size and left == 2:
            high, odd = mixed[after] & np.uint32(0x1FFFFF), True
            after, left = after + 1, left - 1
    for i in range(WORDS):
        words[i] = block[i]
    return left, after


@njit()
def _keep(mixed, out, high_limit, low_limit, value):  # type: ignore[no-untyped-def]
    for k in range(out.size):
        high, low = mixed[2 * k] & np.uint32(0x1FFFFF), mixed[2 * k + 1]
        out[k] = value * ((high < high_limit) | ((high == high_limit) & (low < low_limit)))


@njit()
def _renew(block):  # type: ignore[no-untyped-def]
    """The next 624 words, in place; each needs the two after it and one 397 on."""
    for i in range(WORDS - SHIFT):
        block[i] = block[i + SHIFT] ^ _twist(block[i], block[i + 1])
    for i in range(WORDS - SHIFT, WORDS - 1):
        block[i] = block[i + SHIFT - WORDS] ^ _twist(block[i], block[i + 1])
    block[WORDS - 1] = block[SHIFT - 1] ^ _twist(block[WORDS - 1], block[0])


@njit(inline="always")
def _twist(u, v):  # type: ignore[no-untyped-def]
    mixed = (u & np.uint32(0x80000000)) | (v & np.uint32(0x7FFFFFFF))
    return (mixed >> np.uint32(1)) ^ ((v & np.uint32(1)) * np.uint32(0x9908B0DF))


@njit()
def _temper(block, mixed):  # type: ignore[no-untyped-def]
    for i in range(WORDS):
        y = block[i]
        y = np.uint32(y ^ (y >> np.uint32(11)))
        y = np.uint32(y ^ (np.uint32(y << np.uint32(7)) & np.uint32(0x9D2C5680)))
        y = np.uint32(y ^ (np.uint32(y << np.uint32(15)) & np.uint32(0xEFC60000)))
        mixed[i] = y ^ (y >> np.uint32(18))
