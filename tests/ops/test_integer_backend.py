"""Which integer version runs: the same on every kind of CPU, forced by a variable, told to the user."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from meshops.errors import DataWarning, InputError
from meshops.ops import integer_backend
from meshops.ops.integer_backend import VARIABLE, cpu_backend, explain_backend, why_not
from meshops.ops.integer_definition import IntegerWeight, integer_linear_operation

ROOT = Path(__file__).resolve().parents[2]
ARGUMENTS = (torch.randn(4, 3), torch.arange(4), [4], [IntegerWeight(4, torch.ones(2, 3).char(), torch.ones(2))])


@pytest.fixture(autouse=True)
def choose_anew(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Nothing chosen before or by these tests stays; speed, which depends on the load, does not count."""
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.delenv("MESHOPS_KERNELS", raising=False)
    monkeypatch.setattr(integer_backend, "_too_slow", lambda: "")
    for cached in (integer_backend._choose, why_not):
        cached.cache_clear()
    yield monkeypatch
    monkeypatch.undo()
    for cached in (integer_backend._choose, why_not):
        cached.cache_clear()


def on_cpu(monkeypatch: pytest.MonkeyPatch, *, vnni: bool, avx2: bool, wrong: tuple[str, ...] = ()) -> None:
    monkeypatch.setattr(integer_backend, "_cpu_features", lambda: (vnni, avx2))
    monkeypatch.setattr(integer_backend, "_self_test", lambda name: "wrong results" if name in wrong else "")


@pytest.mark.parametrize(
    ("vnni", "avx2", "wrong", "chosen", "told"),
    [
        (True, True, (), "int_mm", "int_mm: runs"),
        (False, True, (), "avx2", "avx2: runs"),
        (True, False, (), "int_mm", "int_mm: runs"),
        (False, False, (), "int_mm", "avx2: needs a CPU with AVX2; int_mm: runs"),
        (True, True, ("int_mm",), "avx2", "int_mm: wrong results; avx2: runs"),
        (False, True, ("avx2",), "int_mm", "avx2: wrong results; int_mm: runs"),
    ],
)
def test_every_kind_of_cpu(
    monkeypatch: pytest.MonkeyPatch, vnni: bool, avx2: bool, wrong: tuple[str, ...], chosen: str, told: str
) -> None:
    on_cpu(monkeypatch, vnni=vnni, avx2=avx2, wrong=wrong)
    assert cpu_backend() == chosen and explain_backend() == told
    assert f"{chosen}: runs" in integer_linear_operation.explain(*ARGUMENTS, None, [], "none")


def test_a_slow_product_is_not_taken_but_may_be_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    on_cpu(monkeypatch, vnni=True, avx2=True)
    monkeypatch.setattr(integer_backend, "_too_slow", lambda: "3 times as long")
    assert explain_backend() == "int_mm: 3 times as long; avx2: runs"
    monkeypatch.setenv(VARIABLE, "int_mm")
    assert explain_backend() == f"int_mm: runs ({VARIABLE}=int_mm)"


@pytest.mark.parametrize("backend", integer_backend.BACKENDS)
def test_a_version_is_forced(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    on_cpu(monkeypatch, vnni=True, avx2=True)
    monkeypatch.setenv(VARIABLE, backend)
    assert cpu_backend() == backend and explain_backend() == f"{backend}: runs ({VARIABLE}={backend})"
    told = integer_linear_operation.explain(*ARGUMENTS, None, [], "none")
    assert told.endswith("reference (PyTorch): runs" if backend == "reference" else f"{backend}: runs")
    monkeypatch.setenv("MESHOPS_KERNELS", "reference")
    assert explain_backend() == "reference: runs (MESHOPS_KERNELS=reference)"
    assert integer_linear_operation.explain(*ARGUMENTS, None, [], "none").endswith("reference (PyTorch): runs")


def test_a_bad_choice_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    on_cpu(monkeypatch, vnni=False, avx2=False, wrong=("int_mm",))
    for value, text in (
        ("fast", f"{VARIABLE} must be one of auto, avx2, int_mm, reference, got 'fast'"),
        ("avx2", f"{VARIABLE}=avx2 cannot run on this CPU: needs a CPU with AVX2; allowed here are auto, reference"),
        ("int_mm", f"{VARIABLE}=int_mm cannot run on this CPU: wrong results; allowed here are auto, reference"),
    ):
        monkeypatch.setenv(VARIABLE, value)
        with pytest.raises(InputError, match=text):
            cpu_backend()


def test_a_cpu_without_working_integers_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user is told."""
    on_cpu(monkeypatch, vnni=True, avx2=False, wrong=("int_mm",))
    with pytest.warns(DataWarning, match="on this CPU .int_mm: wrong results; avx2: needs a CPU with AVX2"):
        assert cpu_backend() == "reference"
    assert explain_backend() == "int_mm: wrong results; avx2: needs a CPU with AVX2; reference: runs"


def one_channel_wrong(*arguments: Any) -> torch.Tensor:
    """What ``torch._int_mm`` does on some CPUs."""
    out = integer_linear_operation.reference(*arguments)
    return out + (arguments[0].shape[1] == 1)


def unsteady(*arguments: Any) -> torch.Tensor:
    out = integer_linear_operation.reference(*arguments)
    return out * (1 + 1e-6 * torch.rand(()))


def saturating(*arguments: Any) -> torch.Tensor:
    """Cut off where 16 bits end."""
    return integer_linear_operation.reference(*arguments).clamp(-17_000, 17_000)


def failing(*_: Any) -> torch.Tensor:
    raise RuntimeError("not implemented for 'Byte'")


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (one_channel_wrong, "wrong results for 1 rows, 1 channels, 1 outputs"),
        (saturating, "wrong results for 6 rows, 140 channels"),
        (unsteady, "other results at each call"),
        (failing, "RuntimeError: not implemented for 'Byte'"),
    ],
)
def test_the_trial_finds(broken: Any, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(integer_backend, "_version", lambda name: broken)
    assert why_not("int_mm").startswith(reason)


SCRIPT = """
from meshops.ops.integer_backend import _cpu_features, why_not
from meshops.ops.kernels.integer_mm import saturates
print(f"avx2 {_cpu_features()[1]} saturates {saturates()} int_mm [{why_not('int_mm')}] avx2 [{why_not('avx2')}]")
"""
HASWELL = "+avx2,+avx,+fma,+f16c,+bmi,+bmi2,+popcnt,+sse4.2,+sse4.1,+ssse3,+sse3,+sse2,+sse,+fxsr,+cx16,+64bit"
CPUS = {
    "with products of 8 bits": ({"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_VNNI"}, ""),
    "with AVX512 alone": ({"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}, "saturates True"),
    "with AVX2 alone": (
        {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "NUMBA_CPU_NAME": "haswell",
         "NUMBA_CPU_FEATURES": HASWELL},
        "saturates True",
    ),
    "with neither": (
        {"ONEDNN_MAX_CPU_ISA": "SSE41", "ATEN_CPU_CAPABILITY": "default", "NUMBA_CPU_NAME": "generic"},
        "avx2 False saturates True int_mm [] avx2 [needs a CPU with AVX2]",
    ),
}  # fmt: skip


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="emulates kinds of x86")
@pytest.mark.parametrize("kind", list(CPUS))
def test_versions_are_right_on_a_lesser_cpu(kind: str) -> None:
    """Libraries are told to leave out instructions that this CPU has; what it lacks cannot be emulated."""
    variables, expected = CPUS[kind]
    emulating = ("ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY", "NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES")
    outer = {name: value for name, value in os.environ.items() if name not in emulating}
    environment = {**outer, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **variables}
    process = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, timeout=300
    )
    assert process.returncode == 0, process.stderr[-3000:]
    assert expected in process.stdout and "int_mm []" in process.stdout
    assert process.stdout.rstrip().endswith(("avx2 []", "avx2 [needs a CPU with AVX2]"))
