"""Which version of the integer linear layers runs on this CPU: found once, by trying.

``torch._int_mm`` comes first on CPUs that multiply 8-bit integers in one instruction, else the kernel for AVX2. A
version must reproduce the definition for sizes of one, two, three, odd and large, for factors at the ends of their
ranges, and twice to the bit; ``torch._int_mm`` must also be faster than float32. ``MESHOPS_INTEGER_BACKEND`` forces a
version, which then has to be right but not fast.
"""

from __future__ import annotations

import functools
import importlib
import os
import time
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any, NamedTuple

import torch
from torch import Tensor

from meshops.errors import InputError, warn
from meshops.ops.integer_definition import IntegerWeight, integer_linear_operation

BACKENDS = ("avx2", "int_mm", "reference")
"""Versions for the CPU; ``"reference"`` is the definition, in float32."""
MODULES = {"avx2": "meshops.ops.kernels.integer_numba", "int_mm": "meshops.ops.kernels.integer_mm"}
VARIABLE = "MESHOPS_INTEGER_BACKEND"


class Choice(NamedTuple):
    """The version that runs, and why those tried before were refused: ``(name, reason)``."""

    name: str
    refused: tuple[tuple[str, str], ...] = ()


def cpu_backend() -> str:
    """Name of the version that runs on this CPU; warns if none but the definition can.

    Raises:
        InputError: ``MESHOPS_INTEGER_BACKEND`` names no version, or one that cannot run here.
    """
    return _choose(os.environ.get(VARIABLE, "auto")).name


def explain_backend() -> str:
    """Which versions were tried, why some were refused, and which runs: ``'int_mm: 1.2 times ...; avx2: runs'``."""
    if os.environ.get("MESHOPS_KERNELS") == "reference":
        return "reference: runs (MESHOPS_KERNELS=reference)"
    wanted = os.environ.get(VARIABLE, "auto")
    choice = _choose(wanted)
    runs = f"{choice.name}: runs" + ("" if wanted == "auto" else f" ({VARIABLE}={wanted})")
    return "; ".join([*(f"{name}: {reason}" for name, reason in choice.refused), runs])


@functools.cache
def why_not(name: str) -> str:
    """Why a version of ``BACKENDS`` cannot run on this CPU; empty where it can, fast or slow."""
    if name == "reference":
        return ""
    if name == "avx2" and not _cpu_features()[1]:
        return "needs a CPU with AVX2"
    return _self_test(name)


@functools.cache
def _choose(wanted: str) -> Choice:
    if wanted == "auto":
        return _fastest()
    if wanted not in BACKENDS:
        raise InputError(f"{VARIABLE} must be one of auto, {', '.join(BACKENDS)}, got '{wanted}'")
    if reason := why_not(wanted):
        others = ", ".join(name for name in BACKENDS if name != wanted and not why_not(name))
        raise InputError(
            f"{VARIABLE}={wanted} cannot run on this CPU: {reason}; allowed here are auto, {others}; "
            f"unset the variable to take the fastest"
        )
    return Choice(wanted)


def _fastest() -> Choice:
    refused: list[tuple[str, str]] = []
    for name in ("int_mm", "avx2") if _cpu_features()[0] else ("avx2", "int_mm"):
        reason = why_not(name) or (_too_slow() if name == "int_mm" else "")
        if not reason:
            return Choice(name, tuple(refused))
        refused.append((name, reason))
    why = "; ".join(f"{name}: {reason}" for name, reason in refused)
    warn(f"no working 8-bit arithmetic on this CPU ({why}): quantised layers run in float32, right but not faster")
    return Choice("reference", tuple(refused))


def _cpu_features() -> tuple[bool, bool]:
    """Whether the CPU multiplies 8-bit integers in one instruction, and whether Numba may use AVX2 (x86)."""
    import llvmlite.binding as llvm
    from numba.core import config

    try:
        features = llvm.get_host_cpu_features()
    except RuntimeError:  # LLVM does not know this kind of CPU
        return False, False
    vnni = any(features.get(name, False) for name in ("avx512vnni", "avxvnni", "amx-int8", "dotprod", "i8mm"))
    compiled = config.CPU_FEATURES  # NUMBA_CPU_FEATURES, or none of them for NUMBA_CPU_NAME=generic; None: the host's
    return vnni, bool(features.get("avx2", False)) and (compiled is None or "+avx2" in compiled.split(","))


def _version(name: str) -> Callable[..., Tensor]:
    if name == "reference":
        return integer_linear_operation.reference
    version: Callable[..., Tensor] = importlib.import_module(MODULES[name]).integer_linear
    return version


def _self_test(name: str) -> str:
    """Why a version cannot be used: it fails, is wrong, or differs from call to call; empty if none."""
    for arguments in _trials():
        want = integer_linear_operation.reference(*arguments)
        try:
            got, again = (_version(name)(*arguments) for _ in range(2))
        except Exception as error:  # whatever it is, the definition still runs
            return f"{type(error).__name__}: {error}"
        r, k = arguments[0].shape
        size = f"{r} rows, {k} channels, {want.shape[1]} outputs"
        if not torch.allclose(got, want, rtol=1e-5, atol=1e-5 * float(want.abs().max())):
            return f"wrong results for {size}"
        if not torch.equal(got, again):
            return f"other results at each call for {size}"
    return ""


def _trials() -> Iterator[tuple[Any, ...]]:
    """Arguments of ``integer_linear``: every combination of awkward sizes, then factors at their ends."""
    generator = torch.Generator().manual_seed(0)
    sizes: list[tuple[int, int, int]] = [(300, 131, 37), *product((1, 3, 17), (1, 2, 3, 16), (1, 2, 17))]
    for r, k, n in sizes:
        values = torch.randint(-127, 128, (n, k), generator=generator, dtype=torch.int8)
        step = torch.rand(n, generator=generator) + 0.1
        weights = [IntegerWeight(4, (values // 19).clamp(-7, 7), step, most=7), IntegerWeight(8, values, step)]
        x, order = torch.randn(r, k, generator=generator), torch.randperm(r, generator=generator)
        yield x, order, [r // 3, r], weights, None, [], "none"
    for bits, sign in product((2, 4, 6, 7, 8), (-127, 127)):
        weight = IntegerWeight(bits, torch.full((18, 140), sign, dtype=torch.int8), torch.ones(18))
        yield torch.ones(6, 140), torch.arange(6), [6], [weight], None, [], "none"


def _too_slow() -> str:
    """Why ``torch._int_mm`` is not worth its while: it is slower than float32."""
    a, b = torch.ones(2048, 128, dtype=torch.uint8), torch.ones(128, 128, dtype=torch.int8)
    x, w = a.float(), b.float()

    def best(function: Callable[[], Any]) -> float:
        times = []
        for _ in range(5):
            start = time.perf_counter()
            function()
            times.append(time.perf_counter() - start)
        return min(times)

    ratio = best(lambda: torch._int_mm(a, b)) / best(lambda: x @ w)
    return f"torch._int_mm takes {ratio:.1f} times as long as float32" if ratio > 1 else ""
