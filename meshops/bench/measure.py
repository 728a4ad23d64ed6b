"""Run implementations of the same thing in turns and compare time, memory and results."""

from __future__ import annotations

import ctypes
import gc
import importlib.metadata
import importlib.util
import os
import platform
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

PACKAGES = {"torch_cluster": "torch-cluster", "torch_scatter": "torch-scatter", "balltree": "balltree-erwin",
            "sklearn": "scikit-learn"}  # fmt: skip


@dataclass(frozen=True)
class Contender:
    """One implementation.

    Attributes:
        name: What the table calls it; the first contender of a case is ours.
        run: Does the work once and returns what is compared.
        module: Python module it needs; empty: none.
        most: Rows above which it is left out, because it would take minutes.
    """

    name: str
    run: Callable[[], Any]
    module: str = ""
    most: int = 2**62

    def missing(self, rows: int) -> str:
        """Why it does not take part; empty when it does."""
        if self.module and importlib.util.find_spec(self.module) is None:
            return f"not installed ({PACKAGES.get(self.module, self.module)})"
        return f"left out above {self.most:,} rows" if rows > self.most else ""


@dataclass(frozen=True)
class Case:
    """Something to measure.

    Attributes:
        name: What the table calls it.
        rows: Number of points or rows.
        contenders: Ours first.
        differ: Compares our result with another's; returns what is different, empty when nothing is.
        describe: Facts about our result for the table, e.g. the mean patch radius.
        input_bytes: Bytes of the coordinates, which memory is compared with.
    """

    name: str
    rows: int
    contenders: Sequence[Contender]
    differ: Callable[[Any, Any], str] = lambda ours, theirs: ""
    describe: Callable[[Any], dict[str, float]] = lambda ours: {}
    input_bytes: int = 0


@dataclass
class Result:
    """One row of the table; ``ratio`` is its time over ours, ``seconds`` the fastest repetition."""

    case: str
    rows: int
    name: str
    seconds: float | None = None
    ratio: float | None = None
    mebibytes: float | None = None
    of_input: float | None = None
    note: str = ""
    facts: dict[str, float] = field(default_factory=dict)


def measure(case: Case, repeat: int = 5) -> list[Result]:
    """Measure the contenders of a case in turns, so that a busy machine hits all alike."""
    out = [Result(case.name, case.rows, entry.name, note=entry.missing(case.rows)) for entry in case.contenders]
    active = [(entry, result) for entry, result in zip(case.contenders, out, strict=True) if not result.note]
    ours = active[0][0].run()  # compiles, and is what the others are compared with
    out[0].facts = case.describe(ours)
    for entry, result in active[1:]:
        result.note = case.differ(ours, entry.run())
    out[0].mebibytes = peak_memory(active[0][0].run)
    if out[0].mebibytes is not None and case.input_bytes:
        out[0].of_input = out[0].mebibytes * 2**20 / case.input_bytes
    del ours
    for _ in range(repeat):
        for entry, result in active:
            gc.collect()
            start = time.perf_counter()
            kept = entry.run()
            seconds = time.perf_counter() - start
            del kept
            result.seconds = min(seconds, result.seconds or seconds)
    for result in out:
        if result.seconds is not None and out[0].seconds:
            result.ratio = result.seconds / out[0].seconds
    return out


def peak_memory(run: Callable[[], Any]) -> float | None:
    """MiB that a call holds at its peak beyond what was held before; None where the system does not say.

    Linux forgets the largest resident size of a process when told to, so that one call can be measured.
    """
    status, forget = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)  # give back what earlier calls left, or this one would find it
        forget.write_text("5")
        before = _kibibytes(status, "VmRSS")
        kept = run()
        peak = _kibibytes(status, "VmHWM")
    except (OSError, AttributeError):  # not Linux, or another C library
        return None
    del kept
    return (peak - before) / 1024


def _kibibytes(status: Path, name: str) -> int:
    line = next(line for line in status.read_text().splitlines() if line.startswith(name + ":"))
    return int(line.split()[1])


@contextmanager
def threads(count: int) -> Any:
    """PyTorch on ``count`` threads; 0: as it is."""
    before = torch.get_num_threads()
    if count:
        torch.set_num_threads(count)
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)


def machine() -> dict[str, Any]:
    """Processor, threads, versions and date, for the JSON file."""
    names = ["meshops", "torch", "numpy", "scipy", "numba", "scikit-learn", *PACKAGES.values(), "pymetis"]
    return {
        "date": time.strftime("%Y-%m-%d"),
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "versions": {name: version for name in dict.fromkeys(names) if (version := _version(name))},
    }


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
