"""The GPU script: its self-check without a GPU, and what it may import."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]


def run(*command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs the package triton")
def test_self_check(tmp_path: Path) -> None:
    target = tmp_path / "gpu.json"
    process = run("benchmarks/gpu.py", "--interpret", "--points", "40", "--json", str(target))
    assert process.returncode == 0, process.stderr[-2000:]
    rows = {row["operation"]: row["equal"] for row in json.loads(target.read_text())["rows"]}
    for name in ("segment sum", "gradient score"):  # sums in another order
        verdict = rows.pop(name)
        assert verdict == "yes" or float(verdict.removeprefix("within ")) < 1e-5
    assert set(rows.values()) == {"yes"} and len(rows) == 5


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs the package triton")
def test_says_that_there_is_no_gpu() -> None:
    process = run("benchmarks/gpu.py")
    assert process.returncode == 2 and "no CUDA device; --interpret" in process.stderr


def test_operations_need_torch_alone() -> None:
    """With everything else blocked that the package depends on, the definitions run."""
    script = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("jaxtyping", "torch_geometric", "numba", "pyvista", "lightning", "scipy"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Blocker())
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name in ("jaxtyping", "numba") else find(name, *rest)
import torch
from meshops import ops
points = torch.rand(50, 3)
assert ops.explain(ops.knn_search, points).startswith("numba: needs the package numba")
assert ops.knn_search(points, 3).index.shape == (150,)
assert ops.segment_mean(points, torch.tensor([0, 20, 50])).shape == (2, 3)
assert ops.median_split(points, torch.tensor([0, 50]), 2).perm.numel() == 50
"""
    process = run("-c", script)
    assert process.returncode == 0, process.stderr[-2000:]
