"""Operations as operators of PyTorch: the rules of ``torch.library``, and ``torch.compile`` without a graph break."""

from __future__ import annotations

import shutil
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from meshops import ops
from meshops.ops.neighbors import _farthest_points, _knn_search, _radius_search
from meshops.ops.segment import _segment_extreme, _segment_spread
from meshops.ops.tree import _median_split

PTR = torch.tensor([0, 3, 3, 7])
PERM = torch.tensor([6, 2, 0, 1, 5, 4, 3])
SLOTS = torch.tensor([[0, 5], [3, 3]])
MASK = torch.tensor([[True, True], [True, False]])


def values(*shape: int, grad: bool = True) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, requires_grad=grad)


POINTS = torch.rand(7, 3, generator=torch.Generator().manual_seed(0))
SEARCH = (POINTS, PTR, POINTS, PTR)
SAMPLES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "sum": (ops.segment_sum, (values(7, 2), PTR, PERM)),
    "sum in order": (ops.segment_sum, (values(7), PTR)),
    "spread": (_segment_spread, (values(3, 2), PTR, PERM, 7)),
    "spread in order": (_segment_spread, (values(3), PTR, None, 7)),
    "max": (_segment_extreme, (values(7, 2), PTR, PERM, True)),
    "min": (_segment_extreme, (values(7, 2), PTR, None, False)),
    "sort": (ops.sort_index, (torch.tensor([2, 0, 2, 0]), 3)),
    "gather": (ops.gather_patches, (values(6, 2), SLOTS, MASK)),
    "scatter": (ops.scatter_patches, (values(2, 2, 3), SLOTS, MASK, 6)),
    "scatter all": (ops.scatter_patches, (values(2, 3), torch.tensor([4, 1]), None, 6)),
    "tree": (_median_split, (POINTS, PTR, [1, 0, 2], False)),
    "nearest": (_knn_search, (POINTS, torch.tensor([0, 7]), POINTS, torch.tensor([0, 7]), 2, True, [0.0] * 3)),
    "radius": (_radius_search, (*SEARCH, 0.5, 0, False, [0.0, 1.0, 0.0])),
    "farthest": (_farthest_points, (POINTS, PTR, [2, 0, 1], torch.tensor([0, 3, 4]))),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_keeps_the_rules_of_torch_library(name: str) -> None:
    op, arguments = SAMPLES[name]
    torch.library.opcheck(op.operator, arguments)


def attend(rows: Tensor, ptr: Tensor, perm: Tensor) -> Tensor:
    weight = ops.segment_softmax(rows, ptr, perm)
    pooled = ops.segment_mean(weight * rows, ptr, perm) + ops.segment_max(rows, ptr, perm)
    return ops.segment_spread(pooled, ptr, perm, rows.shape[0]) + ops.segment_logsumexp(rows, ptr, perm).sum()


@pytest.mark.compile
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compiles_without_a_break(backend: str) -> None:
    if backend == "inductor" and shutil.which("g++") is None:
        pytest.skip("inductor needs a C++ compiler")
    ptr = torch.tensor([0, 3, 7])
    eager, compiled = (torch.randn(7, 2, generator=torch.Generator().manual_seed(1)).requires_grad_() for _ in range(2))
    attend(eager, ptr, PERM).square().sum().backward()
    out = torch.compile(attend, fullgraph=True, backend=backend)(compiled, ptr, PERM)
    out.square().sum().backward()
    assert_close(out, attend(eager, ptr, PERM))
    assert_close(compiled.grad, eager.grad)


@pytest.mark.compile
def test_searches_compile_without_a_break() -> None:
    def mean_distance(points: Tensor) -> Tensor:
        return ops.knn_search(points, 2).distance.mean() + ops.radius_search(points, 0.5).distance.sum()

    points = torch.rand(30, 3)
    assert_close(torch.compile(mean_distance, fullgraph=True, backend="aot_eager")(points), mean_distance(points))


@pytest.mark.compile
def test_refusals_reach_the_caller_of_a_compiled_function() -> None:
    compiled = torch.compile(lambda rows, ptr: ops.segment_sum(rows, ptr), fullgraph=True, backend="aot_eager")
    with pytest.raises(ValueError, match=r"ptr must not fall"):
        compiled(torch.zeros(4, 2), torch.tensor([0, 3, 1, 4]))
