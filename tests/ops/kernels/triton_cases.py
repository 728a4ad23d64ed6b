"""``triton_cases.py PART cpu|cuda``: Triton kernels of one part against the definitions, on random input."""

from __future__ import annotations

import sys

import torch
from torch import Tensor
from torch.testing import assert_close

from meshops import ops
from meshops.ops.integer_definition import IntegerWeight, integer_linear_operation
from meshops.ops.kernels import integer_triton, neighbors_triton, patches_triton, scores_triton, segment_triton
from meshops.ops.neighbors import _knn_search, _radius_search
from meshops.ops.rows import Rows
from meshops.ops.scores import _sobel_blocks, channel_scale
from meshops.ops.segment import _segment_extreme, _segment_spread

GENERATOR = torch.Generator().manual_seed(0)
TYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def number(low: int, high: int) -> int:
    return int(torch.randint(low, high, (), generator=GENERATOR))


def same(ours: Tensor | tuple[Tensor, ...], definition: Tensor | tuple[Tensor, ...]) -> None:
    pairs = [(ours, definition)] if isinstance(ours, Tensor) else zip(ours, definition, strict=True)
    for first, second in pairs:
        assert_close(first, second, rtol=0, atol=0, equal_nan=True)


def segments(device: str) -> None:
    segment_triton.PIECE = 50  # so that pieces are put together
    for case in range(12):
        sizes = [number(0, 70) * (number(0, 3) > 0) for _ in range(number(1, 6))]
        ptr = torch.tensor([0, *sizes]).cumsum(0).to(device)
        n, channels = sum(sizes), (1, 3, 70)[case % 3]
        perm = torch.randperm(n, generator=GENERATOR).to(device) if case % 2 else None
        rows = torch.randn(n, channels, generator=GENERATOR).to(TYPES[case % 4])
        if case % 2:
            rows = rows.round()  # ties
        if case % 5 == 0 and n:
            rows[number(0, n)], rows[number(0, n)], rows[number(0, n)] = torch.nan, torch.inf, -torch.inf
        rows = rows.to(device)
        assert_close(
            segment_triton.segment_sum(rows, ptr, perm), ops.segment_sum.reference(rows, ptr, perm), equal_nan=True
        )
        spread = torch.randn(len(sizes), channels, generator=GENERATOR).to(rows)
        same(segment_triton.segment_spread(spread, ptr, perm, n), _segment_spread.reference(spread, ptr, perm, n))
        for kind in (rows, (torch.randn(n, 3, generator=GENERATOR) * 5).long().to(device)):
            for largest in (True, False):
                arguments = (kind, ptr, perm, largest)
                same(segment_triton.segment_extreme(*arguments), _segment_extreme.reference(*arguments))


def scores(device: str) -> None:
    for case in range(6):
        grid = [number(1, 6) for _ in range(case % 3 + 1)]
        fields = torch.randn(number(1, 3), number(1, 3), *grid, generator=GENERATOR).to(device)
        wrap = [number(0, 2) == 1 for _ in grid]
        slopes = [0.5 * number(1, 3) for _ in grid]
        mask = (torch.rand(len(fields), *grid, generator=GENERATOR) > 0.3).to(device) if case % 2 else None
        arguments = (fields, channel_scale(fields, mask), slopes, wrap, number(1, 3), mask)
        assert_close(scores_triton.sobel_blocks(*arguments), _sobel_blocks.reference(*arguments))


AWKWARD = ((1, 1, 1), (3, 1, 2), (2, 3, 1), (17, 2, 16), (33, 1, 65), (3, 0, 2), (0, 3, 2), (3, 3, 0))


def integers(device: str) -> None:
    sizes = [(number(1, 90), number(1, 70), number(1, 80)) for _ in range(4)]
    for case, (r, k, n) in enumerate([*sizes, *AWKWARD]):
        case, bits = case % 4, ((8,), (2, 4), (3, 6, 8), (4, 8))[case % 4]
        x = torch.nn.functional.silu(torch.randn(r, k, generator=GENERATOR))
        x[:1] = 0.0
        ends = sorted([number(0, r + 1) for _ in bits[1:]] + [r])
        weights = []
        for width in bits:
            most = 2 ** (width - 1) - 1
            values = torch.randint(-most, most + 1, (n, k), generator=GENERATOR).to(device, torch.int8)
            weights.append(IntegerWeight(width, values, torch.rand(n, generator=GENERATOR).to(device) + 0.1, most, 0.9))
        tables = [Rows(torch.randn(7, n, generator=GENERATOR).to(device), torch.arange(r).to(device) % 7)][: case % 2]
        tables += [Rows(torch.randn(r, n, generator=GENERATOR).to(device))][: case // 2]
        order = torch.randperm(r, generator=GENERATOR).to(device)
        bias = torch.randn(n, generator=GENERATOR).to(device)
        arguments = (x.to(device), order, ends, weights, bias, tables, ("none", "relu", "silu", "none")[case])
        ours = integer_triton.integer_linear(*arguments)
        assert_close(ours, integer_linear_operation.reference(*arguments), rtol=1e-5, atol=1e-4)
        same(ours, integer_triton.integer_linear(*arguments))


def patches(device: str) -> None:
    for case in range(12):
        n, k, channels = number(5, 60), number(1, 6), (1, 3, 150)[case % 3]
        index = torch.randperm(n, generator=GENERATOR)[: n // k * k].view(-1, k).to(device)
        mask = (torch.rand(index.shape, generator=GENERATOR) > 0.3).to(device) if case % 2 else None
        nodes = torch.randn(n, channels, generator=GENERATOR).to(device, TYPES[case % 4])
        rows = torch.randn(*index.shape, channels, generator=GENERATOR).to(nodes)
        same(patches_triton.gather_patches(nodes, index, mask), ops.gather_patches.reference(nodes, index, mask))
        arguments = (rows, index, mask, n)
        same(patches_triton.scatter_patches(*arguments), ops.scatter_patches.reference(*arguments))


def neighbors(device: str) -> None:
    for case in range(6):
        dim, k = case % 3 + 1, number(1, 5)
        sizes, counts = [number(k + 1, 36) for _ in range(2)], [number(0, 10) for _ in range(2)]
        points = torch.rand(sum(sizes), dim, generator=GENERATOR, dtype=(torch.float32, torch.float64)[case % 2])
        queries = torch.rand(sum(counts), dim, generator=GENERATOR, dtype=points.dtype)
        if case in (1, 4):
            points, queries = (points * 4).floor(), (queries * 4).floor()  # ties
        ptr, queries_ptr = (torch.tensor([0, *parts]).cumsum(0).to(device) for parts in (sizes, counts))
        points, queries = points.to(device), queries.to(device)
        period = [0.7] * dim if case >= 3 else [0.0] * dim
        for asked, skip_self in (((queries, queries_ptr), False), ((points, ptr), True)):
            arguments = (points, ptr, *asked)
            same(neighbors_triton.knn(*arguments, k, skip_self, period),
                 _knn_search.reference(*arguments, k, skip_self, period))  # fmt: skip
            for most in (0, 3):
                limits = (0.5, most, skip_self, period)
                same(neighbors_triton.radius(*arguments, *limits), _radius_search.reference(*arguments, *limits))


if __name__ == "__main__":
    part, device = sys.argv[1:]
    {"segments": segments, "patches": patches, "neighbors": neighbors, "scores": scores, "integers": integers}[part](
        device
    )
    sys.stdout.write(f"{part}: equal\n")
