"""Neighbour search on CUDA: one program per group of queries, over the leaves within its reach, nearest first.

Which leaves those are, :mod:`meshops.ops.kernels.neighbors_tree` finds. Each query keeps its k best in registers; a
leaf is left out once it is farther than the worst of them. No fused multiply-adds (``enable_fp_fusion=False``): the
squares are rounded as everywhere else. Up to 3 dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from meshops.ops.kernels.available import on_device_of
from meshops.ops.kernels.neighbors_tree import LEAF, Groups, Pairs, compressed, groups_of, pairs_within_reach


def knn(
    points: Tensor, points_ptr: Tensor, queries: Tensor, queries_ptr: Tensor, k: int, skip_self: bool,
    period: Sequence[float],
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Same as the definition in :mod:`meshops.ops.neighbors`, bit for bit."""
    leaves, groups = groups_of(points, points_ptr), groups_of(queries, queries_ptr)
    pairs = pairs_within_reach(leaves, groups, period, k=k + skip_self)
    index = torch.zeros((queries.shape[0], k), dtype=torch.int64, device=points.device)
    squared = torch.zeros((queries.shape[0], k), dtype=torch.float64, device=points.device)
    if index.numel():
        arguments = _arguments(points, leaves, queries, groups, pairs, period)
        with on_device_of(points):
            _knn_kernel[(groups.graph.numel(),)](
                *arguments, index, squared, K=k, WIDE=triton.next_power_of_2(k), SKIP_SELF=skip_self,
                num_warps=max(1, min(4, k // 32)), **_shape(points, period),
            )  # fmt: skip
    return index, squared


def radius(
    points: Tensor, points_ptr: Tensor, queries: Tensor, queries_ptr: Tensor, limit: float, most: int,
    skip_self: bool, period: Sequence[float],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Same as the definition in :mod:`meshops.ops.neighbors`, bit for bit: count, fill, sort."""
    leaves, groups = groups_of(points, points_ptr), groups_of(queries, queries_ptr)
    pairs = pairs_within_reach(leaves, groups, period, limit=limit * limit)
    squared_limit = torch.tensor([limit * limit], dtype=torch.float64, device=points.device)
    found = torch.zeros(queries.shape[0], dtype=torch.int64, device=points.device)
    start = found.new_zeros(queries.shape[0] + 1)
    index, squared = found.new_zeros(0), found.new_zeros(0, dtype=torch.float64)
    if queries.shape[0]:
        arguments = (*_arguments(points, leaves, queries, groups, pairs, period), squared_limit)
        shape = {"SKIP_SELF": skip_self, "num_warps": 1, **_shape(points, period)}
        with on_device_of(points):
            _radius_kernel[(groups.graph.numel(),)](*arguments, found, start, start, squared_limit, FILL=False, **shape)
        start[1:] = found.cumsum(0)
        total = int(start[-1])
        index = torch.empty(total, dtype=torch.int64, device=points.device)
        squared = torch.empty(total, dtype=torch.float64, device=points.device)
        if total:
            with on_device_of(points):
                _radius_kernel[(groups.graph.numel(),)](*arguments, found, start, index, squared, FILL=True, **shape)
    query = torch.repeat_interleave(found, output_size=index.numel())
    return compressed(query, index, squared, queries.shape[0], most)


def _arguments(
    points: Tensor, leaves: Groups, queries: Tensor, groups: Groups, pairs: Pairs, period: Sequence[float]
) -> tuple[Tensor, ...]:
    lengths = torch.tensor(period, dtype=torch.float64, device=points.device)
    return (
        points[leaves.perm].contiguous(), leaves.perm, leaves.ptr, queries.contiguous(), groups.perm, groups.ptr,
        pairs.ptr, pairs.leaf, pairs.reach, lengths,
    )  # fmt: skip


def _shape(points: Tensor, period: Sequence[float]) -> dict[str, Any]:
    fusion = {"enable_fp_fusion": False} if points.is_cuda else {}
    return {"DIM": points.shape[1], "PERIODIC": any(length > 0 for length in period), "LANES": LEAF, **fusion}


@triton.jit  # type: ignore[untyped-decorator]
def _square(a, b, length, PERIODIC: tl.constexpr):  # type: ignore[no-untyped-def]
    gap = a - b
    if PERIODIC:
        ROUND: tl.constexpr = 6755399441055744.0  # 1.5 * 2**52: adding and taking away rounds to the nearest, ties even
        images = (gap / tl.where(length > 0, length, 1.0) + ROUND) - ROUND
        gap = tl.where(length > 0, gap - length * images, gap)
    return gap * gap


@triton.jit  # type: ignore[untyped-decorator]
def _distances(query_x, query_y, query_z, rows, j, lengths, DIM: tl.constexpr, PERIODIC: tl.constexpr):  # type: ignore[no-untyped-def] # fmt: skip
    """Squared distances of the queries in the lanes from point j, axis after axis."""
    total = _square(query_x, tl.load(rows + j * DIM).to(tl.float64), tl.load(lengths), PERIODIC)
    if DIM > 1:
        total += _square(query_y, tl.load(rows + j * DIM + 1).to(tl.float64), tl.load(lengths + 1), PERIODIC)
    if DIM > 2:
        total += _square(query_z, tl.load(rows + j * DIM + 2).to(tl.float64), tl.load(lengths + 2), PERIODIC)
    return total


@triton.jit  # type: ignore[untyped-decorator]
def _coordinates(queries, query, filled, AXIS: tl.constexpr, DIM: tl.constexpr):  # type: ignore[no-untyped-def]
    used: tl.constexpr = AXIS if AXIS < DIM else 0
    return tl.load(queries + query * DIM + used, mask=filled, other=0.0).to(tl.float64)


@triton.jit  # type: ignore[untyped-decorator]
def _knn_kernel(  # type: ignore[no-untyped-def]
    rows, perm, leaf_ptr, queries, query_perm, query_ptr, pair_ptr, pair_leaf, pair_reach, lengths, index, squared,
    K: tl.constexpr, WIDE: tl.constexpr, SKIP_SELF: tl.constexpr, DIM: tl.constexpr, PERIODIC: tl.constexpr,
    LANES: tl.constexpr,
):  # fmt: skip
    group = tl.program_id(0).to(tl.int64)
    slot = tl.load(query_ptr + group) + tl.arange(0, LANES)
    filled = slot < tl.load(query_ptr + group + 1)
    query = tl.load(query_perm + slot, mask=filled, other=0)
    x = _coordinates(queries, query, filled, 0, DIM)
    y = _coordinates(queries, query, filled, 1, DIM)
    z = _coordinates(queries, query, filled, 2, DIM)
    column = tl.arange(0, WIDE)[None, :].to(tl.int64)
    FAR: tl.constexpr = 4611686018427387904  # above every index; empty places differ, so that one is the worst
    best = tl.where(column < K, float("inf"), -float("inf")).to(tl.float64) + tl.zeros((LANES, WIDE), tl.float64)
    who = tl.where(column < K, FAR + column, -1) + tl.zeros((LANES, WIDE), tl.int64)
    worst = tl.max(best, 1)
    worst_who = tl.max(tl.where(best == worst[:, None], who, -1), 1)
    reach = tl.max(tl.where(filled, worst, -float("inf")), 0)
    pair, last_pair = tl.load(pair_ptr + group), tl.load(pair_ptr + group + 1)
    while pair < last_pair:
        if tl.load(pair_reach + pair) <= reach * 1.000000000001:
            leaf = tl.load(pair_leaf + pair)
            for j in range(tl.load(leaf_ptr + leaf), tl.load(leaf_ptr + leaf + 1)):
                point = tl.load(perm + j)
                distance = _distances(x, y, z, rows, j, lengths, DIM, PERIODIC)
                accept = filled & ((distance < worst) | ((distance == worst) & (point < worst_who)))
                if SKIP_SELF:
                    accept = accept & (query != point)
                if tl.max(accept.to(tl.int32), 0) > 0:
                    place = accept[:, None] & (best == worst[:, None]) & (who == worst_who[:, None])
                    best = tl.where(place, distance[:, None], best)
                    who = tl.where(place, point, who)
                    worst = tl.max(best, 1)
                    worst_who = tl.max(tl.where(best == worst[:, None], who, -1), 1)
            reach = tl.max(tl.where(filled, worst, -float("inf")), 0)
            pair += 1
        else:
            pair = last_pair  # all that follow are farther
    # Write in order: the place of a neighbour is the number of those before it.
    for k in range(K):
        first = tl.min(tl.where(column < K, best, float("inf")), 1)
        first_who = tl.min(tl.where((best == first[:, None]) & (column < K), who, FAR + WIDE), 1)
        tl.store(index + query * K + k, first_who, mask=filled)
        tl.store(squared + query * K + k, first, mask=filled)
        taken = (best == first[:, None]) & (who == first_who[:, None])
        best = tl.where(taken, float("inf"), best)
        who = tl.where(taken, FAR + WIDE, who)


@triton.jit  # type: ignore[untyped-decorator]
def _radius_kernel(  # type: ignore[no-untyped-def]
    rows, perm, leaf_ptr, queries, query_perm, query_ptr, pair_ptr, pair_leaf, pair_reach, lengths, limits, found,
    start, index, squared, FILL: tl.constexpr, SKIP_SELF: tl.constexpr, DIM: tl.constexpr, PERIODIC: tl.constexpr,
    LANES: tl.constexpr,
):  # fmt: skip
    group = tl.program_id(0).to(tl.int64)
    slot = tl.load(query_ptr + group) + tl.arange(0, LANES)
    filled = slot < tl.load(query_ptr + group + 1)
    query = tl.load(query_perm + slot, mask=filled, other=0)
    x = _coordinates(queries, query, filled, 0, DIM)
    y = _coordinates(queries, query, filled, 1, DIM)
    z = _coordinates(queries, query, filled, 2, DIM)
    limit = tl.load(limits)
    count = tl.zeros((LANES,), tl.int64)
    target = tl.load(start + query, mask=filled, other=0)
    for pair in range(tl.load(pair_ptr + group), tl.load(pair_ptr + group + 1)):
        leaf = tl.load(pair_leaf + pair)
        for j in range(tl.load(leaf_ptr + leaf), tl.load(leaf_ptr + leaf + 1)):
            point = tl.load(perm + j)
            distance = _distances(x, y, z, rows, j, lengths, DIM, PERIODIC)
            inside = filled & (distance <= limit)
            if SKIP_SELF:
                inside = inside & (query != point)
            if FILL:
                tl.store(index + target + count, tl.zeros_like(count) + point, mask=inside)
                tl.store(squared + target + count, distance, mask=inside)
            count += inside.to(tl.int64)
    if not FILL:
        tl.store(found + query, count, mask=filled)
