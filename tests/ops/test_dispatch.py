"""Which implementation runs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from meshops.errors import InputError
from meshops.ops import explain, median_split, operation
from meshops.ops.dispatch import Operation

TESTS = Path(__file__).parent
KERNELS = TESTS.parents[1] / "meshops" / "ops" / "kernels"
NO_VERSIONS = {"__init__", "attention_masks", "available", "avx2", "compile", "threads"}


@pytest.fixture
def double() -> Operation[..., str]:
    @operation
    def double(x: float) -> str:
        """Twice."""
        return "reference"

    @double.kernel("fast", lambda x: "" if x > 0 else "needs x > 0")
    def _fast(x: float) -> str:
        return "fast"

    @double.kernel("late", lambda x: "" if x > -10 else "needs x > -10")
    def _late(x: float) -> str:
        return "late"

    return double


def test_the_first_that_applies_runs(double: Operation[..., str]) -> None:
    assert [double(x) for x in (1, -1, -11)] == ["fast", "late", "reference"]
    assert double.__doc__ == "Twice."


def test_explain_says_which_runs_and_why(double: Operation[..., str]) -> None:
    assert explain(double, 1) == "fast: runs"
    assert explain(double, -1) == "fast: needs x > 0; late: runs"
    assert explain(double, -11) == "fast: needs x > 0; late: needs x > -10; reference (PyTorch): runs"


def test_reference_switch(double: Operation[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESHOPS_KERNELS", "reference")
    assert double(1) == "reference"
    assert explain(double, 1).count("MESHOPS_KERNELS=reference") == 2
    monkeypatch.setenv("MESHOPS_KERNELS", "auto")
    assert double(1) == "fast"


def test_unknown_switch_is_refused(double: Operation[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESHOPS_KERNELS", "fastest")
    with pytest.raises(InputError, match=r"'auto' or 'reference', got 'fastest'"):
        double(1)


def test_tree_runs_numba_where_it_can() -> None:
    ptr = torch.tensor([0, 4])
    assert explain(median_split, torch.rand(4, 3), ptr, 1) == "numba: runs"
    assert "needs float32, float64" in explain(median_split, torch.rand(4, 3).half(), ptr, 1)
    assert "needs CPU" in explain(median_split, torch.rand(4, 3, device="meta"), ptr, 1)
    assert median_split(torch.tensor([[2.0], [0.0], [1.0]]).half(), torch.tensor([0, 3]), 1).perm.tolist() == [1, 0, 2]


@pytest.mark.parametrize("name", sorted({path.stem for path in KERNELS.glob("*.py")} - NO_VERSIONS))
def test_every_version_is_tested_whichever_is_chosen(name: str) -> None:
    """A test that only asks for the operation would run what this machine chooses, and none of the others."""
    files = TESTS.rglob("*.py")
    assert any(name in path.read_text(encoding="utf-8") for path in files), f"no test in tests/ops names {name}"
