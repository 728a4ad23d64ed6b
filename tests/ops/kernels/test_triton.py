"""The CUDA kernels: run by Triton's interpreter on the CPU, compiled for a GPU, and run on one where there is one.

The interpreter has to be chosen before Triton is imported, so these run in a process of their own.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs the package triton")
HERE = Path(__file__).parent
PACKAGE = HERE.parents[2]


def run(script: str, *arguments: str, **variables: str) -> str:
    """Run a script beside this file in a fresh process."""
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE), "OMP_NUM_THREADS": "1", **variables}
    process = subprocess.run(
        [sys.executable, str(HERE / script), *arguments], env=environment, capture_output=True, text=True, timeout=500
    )
    assert process.returncode == 0, process.stderr[-3000:]
    return process.stdout


@pytest.mark.parametrize("part", ["segments", "patches", "neighbors", "scores", "integers"])
def test_interpreted_kernels_equal_the_definitions(part: str) -> None:
    assert f"{part}: equal" in run("triton_cases.py", part, "cpu", TRITON_INTERPRET="1")


def test_kernels_compile_for_a_gpu() -> None:
    """Code for compute capability 8.0, 9.0 and 10.0, for every element type; no GPU is needed to compile."""
    out = run("triton_compile.py", TRITON_DEFAULT_FP_FUSION="0", TRITON_INTERPRET="0")
    assert out.count("compiled") == 3 * 26


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("part", ["segments", "patches", "neighbors", "scores", "integers"])
def test_kernels_equal_the_definitions_on_the_gpu(part: str) -> None:
    assert f"{part}: equal" in run("triton_cases.py", part, "cuda", TRITON_INTERPRET="0")
