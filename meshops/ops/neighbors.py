"""Neighbour search: k nearest, all within a radius, the nearest one. Exact, batched, the same everywhere.

Results are in CSR form, sorted by query, then distance, then index of the point; ties are therefore resolved in the
same way by every implementation. Distances are compared as squares in float64 (sum over the axes in their order), which
is exact enough that float32 positions of ordinary meshes give the same bits on CPU and CUDA.

==================  ==============================  ==========================================================
implementation      runs on                         cost for n points and q queries
==================  ==============================  ==========================================================
numba               CPU                             n log n for the tree, then q (log n + neighbours)
triton              CUDA                            n log n for the tree, then q (leaves within reach)
torch (tree)        any device                      the same; every leaf within reach of a group of queries
reference           any device                      q n
==================  ==============================  ==========================================================
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from meshops.errors import InputError
from meshops.ops.checks import check_index, check_positions, check_ptr
from meshops.ops.dispatch import front, operation
from meshops.ops.distance import squared_distance
from meshops.ops.kernels.available import needs_numba, needs_triton
from meshops.typing import Float, Int

CHUNK = 2**22  # distances that the definition holds at a time
FEW = 2048  # points
MOST_NEIGHBORS = 128  # that the Triton kernel keeps in registers


@dataclass(frozen=True, eq=False)
class Neighbors:
    """Neighbours of each query, nearest first.

    Attributes:
        ptr: ``[q + 1]``; query i has neighbours ``index[ptr[i]:ptr[i + 1]]``.
        index: ``[e]`` points.
        distance: ``[e]`` in the unit of the positions.
        found: ``[q]`` points within the radius before truncation; the number of neighbours for k nearest.
    """

    ptr: Tensor
    index: Tensor
    distance: Tensor
    found: Tensor

    @property
    def query(self) -> Tensor:
        """``[e]`` query of each neighbour."""
        return torch.repeat_interleave(self.ptr.diff(), output_size=self.index.numel())

    @property
    def edge_index(self) -> Tensor:
        """``[2, e]`` edges from neighbour to query, as PyG layers take them."""
        return torch.stack([self.index, self.query])

    @property
    def num_cut(self) -> int:
        """Number of queries that lost neighbours to ``max_neighbors``."""
        return int((self.found > self.ptr.diff()).sum())

    @property
    def num_alone(self) -> int:
        """Number of queries without a neighbour."""
        return int((self.found == 0).sum())

    def report(self) -> str:
        """One line: how many neighbours, how many queries were cut or found none.

        Example:
            >>> radius_search(torch.tensor([[0.0], [1.0], [9.0]]), 2.0).report()
            '3 queries, 2 neighbours (0 to 1 each); 0 queries were cut, 1 found none'
        """
        count = self.ptr.diff()
        low, high = (int(count.min()), int(count.max())) if count.numel() else (0, 0)
        return (
            f"{count.numel()} queries, {self.index.numel()} neighbours ({low} to {high} each); "
            f"{self.num_cut} queries were cut, {self.num_alone} found none"
        )


def _check_search(points: Tensor, points_ptr: Tensor, queries: Tensor, queries_ptr: Tensor, *rest: Any) -> None:
    skip_self, period = rest[-2], rest[-1]
    check_positions(points, "position")
    check_ptr(points_ptr, points.shape[0], "ptr")
    if not skip_self:
        check_positions(queries, "query")
        check_ptr(queries_ptr, queries.shape[0], "queries_ptr")
    if queries.shape[1] != points.shape[1] or queries.dtype != points.dtype or queries.device != points.device:
        raise InputError(
            f"queries must be like the points ({points.shape[1]} columns of {points.dtype} on {points.device}), "
            f"got {queries.shape[1]} of {queries.dtype} on {queries.device}"
        )
    if queries_ptr.numel() != points_ptr.numel():
        raise InputError(
            f"queries must come in as many graphs as the points ({points_ptr.numel() - 1}), "
            f"got {queries_ptr.numel() - 1}"
        )
    if len(period) != points.shape[1]:
        raise InputError(f"period must have one entry per axis ({points.shape[1]}), got {len(period)}")
    for axis, length in enumerate(period):
        if not 0 <= length < math.inf:
            raise InputError(f"period[{axis}] is {length}; give the length of a periodic axis, 0 for an open one")


def _check_knn(
    points: Tensor, points_ptr: Tensor, queries: Tensor, queries_ptr: Tensor, k: int, skip_self: bool,
    period: Sequence[float],
) -> None:  # fmt: skip
    _check_search(points, points_ptr, queries, queries_ptr, skip_self, period)
    if k < 1:
        raise InputError(f"k must be at least 1, got {k}")
    asked = queries_ptr.diff().cpu() > 0
    few = (points_ptr.diff().cpu() - int(skip_self) < k) & asked
    if bool(few.any()):
        bad = int(few.nonzero()[0])
        have = int(points_ptr[bad + 1] - points_ptr[bad])
        raise InputError(
            f"k = {k} is larger than graph {bad}, which has {have} points"
            + (" (a point is not its own neighbour; loop=True counts it)" if skip_self else "")
            + "; ask for fewer neighbours"
        )


def _fake_knn(
    points: Tensor, points_ptr: Tensor, queries: Tensor, queries_ptr: Tensor, k: int, *_: Any
) -> tuple[Tensor, Tensor]:
    shape = (queries.shape[0], k)
    return points_ptr.new_empty(shape), queries.new_empty(shape, dtype=torch.float64)


@operation(
    schema="(Tensor points, Tensor points_ptr, Tensor queries, Tensor queries_ptr, SymInt k, bool skip_self, "
    "float[] period) -> (Tensor, Tensor)",
    fake=_fake_knn,
    check=_check_knn,
)
def _knn_search(
    points: Tensor, points_ptr: Tensor, queries: Tensor, queries_ptr: Tensor, k: int, skip_self: bool,
    period: Sequence[float],
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """``index [q, k]`` and squared distance, by looking at all points."""
    index = points_ptr.new_zeros((queries.shape[0], k))
    squared = queries.new_zeros((queries.shape[0], k), dtype=torch.float64)
    for rows, start, distance in _all_distances(points, points_ptr, queries, queries_ptr, skip_self, period):
        near = torch.sort(distance, dim=1, stable=True)  # of equals the first point stays first
        index[rows], squared[rows] = near.indices[:, :k] + start, near.values[:, :k]
    return index, squared


def _check_radius(
    points: Tensor, points_ptr: Tensor, queries: Tensor, queries_ptr: Tensor, radius: float, max_neighbors: int,
    skip_self: bool, period: Sequence[float],
) -> None:  # fmt: skip
    _check_search(points, points_ptr, queries, queries_ptr, skip_self, period)
    if not 0 < radius < math.inf:
        raise InputError(f"radius must be positive and finite, got {radius}")
    if max_neighbors < 0:
        raise InputError(f"max_neighbors must be at least 1 (None: no limit), got {max_neighbors}")


def _fake_radius(points: Tensor, points_ptr: Tensor, queries: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    count = torch.library.get_ctx().new_dynamic_size()
    num_queries = queries.shape[0]
    long = points_ptr.new_empty
    return long(num_queries + 1), long(count), queries.new_empty(count, dtype=torch.float64), long(num_queries)


@operation(
    schema="(Tensor points, Tensor points_ptr, Tensor queries, Tensor queries_ptr, float radius, int max_neighbors, "
    "bool skip_self, float[] period) -> (Tensor, Tensor, Tensor, Tensor)",
    fake=_fake_radius,
    check=_check_radius,
)
def _radius_search(
    points: Tensor, points_ptr: Tensor, queries: Tensor, queries_ptr: Tensor, radius: float, max_neighbors: int,
    skip_self: bool, period: Sequence[float],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """``ptr``, ``index``, squared distance and number found, by looking at all points."""
    found = points_ptr.new_zeros(queries.shape[0])
    indices, squares = [points_ptr.new_zeros(0)], [queries.new_zeros(0, dtype=torch.float64)]
    for rows, start, distance in _all_distances(points, points_ptr, queries, queries_ptr, skip_self, period):
        near = torch.sort(distance, dim=1, stable=True)
        inside = near.values <= radius * radius
        found[rows] = inside.sum(1)
        if max_neighbors:
            inside[:, max_neighbors:] = False
        indices.append(near.indices[inside] + start)
        squares.append(near.values[inside])
    kept = found.clamp(max=max_neighbors) if max_neighbors else found
    ptr = torch.cat([kept.new_zeros(1), kept.cumsum(0)])
    return ptr, torch.cat(indices), torch.cat(squares), found.clone()


def _all_distances(
    points: Tensor, points_ptr: Tensor, queries: Tensor, queries_ptr: Tensor, skip_self: bool, period: Sequence[float]
) -> Any:
    """Queries in chunks, first point of their graph, and their squared distances from all its points."""
    graphs = zip(pairwise(points_ptr.tolist()), pairwise(queries_ptr.tolist()), strict=True)
    for (start, end), (first, last) in graphs:
        step = max(1, CHUNK // max(end - start, 1))
        for begin in range(first, last, step):
            rows = slice(begin, min(begin + step, last))
            distance = squared_distance(queries[rows].unsqueeze(1), points[start:end].unsqueeze(0), period)
            if skip_self:
                own = torch.arange(rows.start, rows.stop, device=points.device)
                distance[own - rows.start, own - start] = torch.inf
            yield rows, start, distance


@front(_knn_search)
def knn_search(
    points: Float[Tensor, "n d"],
    k: int,
    queries: Float[Tensor, "q d"] | None = None,
    *,
    ptr: Int[Tensor, " b1"] | None = None,
    queries_ptr: Int[Tensor, " b1"] | None = None,
    period: Sequence[float] | None = None,
    loop: bool = False,
) -> Neighbors:
    """The k nearest points of each query, by distance, then index.

    Args:
        points: Positions.
        k: Neighbours of each query.
        queries: Positions to search from; None: the points themselves.
        ptr: Graph i of a batch owns points ``ptr[i]:ptr[i + 1]``; None: one graph. Neighbours are of the same graph.
        queries_ptr: The same for the queries.
        period: Length of each periodic axis, 0 for an open one; distances are to the nearest image.
        loop: Without ``queries``: count a point as its own neighbour.

    Raises:
        InputError: Positions are not finite, ``k`` is larger than a graph, pointers fall, ...

    Example:
        >>> knn_search(torch.tensor([[0.0], [1.0], [3.0]]), 1).index
        tensor([1, 0, 1])
    """
    arguments = _arguments(points, queries, ptr, queries_ptr)
    skip_self = queries is None and not loop
    index, squared = _knn_search(*arguments, k, skip_self, _period(points, period))
    num_queries = index.shape[0]
    each = torch.arange(num_queries + 1, device=index.device) * k
    found = torch.full((num_queries,), k, device=index.device)
    return Neighbors(each, index.reshape(-1), squared.reshape(-1).sqrt_().to(points.dtype), found)


@front(_radius_search)
def radius_search(
    points: Float[Tensor, "n d"],
    radius: float,
    queries: Float[Tensor, "q d"] | None = None,
    *,
    max_neighbors: int | None = None,
    ptr: Int[Tensor, " b1"] | None = None,
    queries_ptr: Int[Tensor, " b1"] | None = None,
    period: Sequence[float] | None = None,
    loop: bool = False,
) -> Neighbors:
    """All points at most ``radius`` from each query, nearest first.

    There is no hidden limit. With ``max_neighbors`` the nearest are kept; :meth:`Neighbors.report` says how many
    queries lost some. In a periodic box each point counts once, at its nearest image.

    Args:
        points: Positions.
        radius: In the unit of the positions.
        queries: Positions to search from; None: the points themselves.
        max_neighbors: Neighbours to keep of each query; None: all.
        ptr: See :func:`knn_search`.
        queries_ptr: See :func:`knn_search`.
        period: See :func:`knn_search`.
        loop: See :func:`knn_search`.

    Raises:
        InputError: ``radius`` is not positive, positions are not finite, pointers fall, ...

    Example:
        >>> radius_search(torch.tensor([[0.0], [1.0], [3.0]]), 2.0).edge_index
        tensor([[1, 0, 2, 1],
                [0, 1, 1, 2]])
    """
    if max_neighbors is not None and max_neighbors < 1:
        raise InputError(f"max_neighbors must be at least 1 (None: no limit), got {max_neighbors}")
    arguments = _arguments(points, queries, ptr, queries_ptr)
    skip_self = queries is None and not loop
    out, index, squared, found = _radius_search(
        *arguments, float(radius), max_neighbors or 0, skip_self, _period(points, period)
    )
    return Neighbors(out, index, squared.sqrt_().to(points.dtype), found)


@front(_knn_search)
def nearest(
    points: Float[Tensor, "n d"],
    queries: Float[Tensor, "q d"],
    *,
    ptr: Int[Tensor, " b1"] | None = None,
    queries_ptr: Int[Tensor, " b1"] | None = None,
    period: Sequence[float] | None = None,
) -> tuple[Tensor, Tensor]:
    """Nearest point of each query, of equals the first: ``index [q]`` and ``distance [q]``. Arguments as above.

    Example:
        >>> nearest(torch.tensor([[0.0], [3.0]]), torch.tensor([[1.0], [7.0]]))
        (tensor([0, 1]), tensor([1., 4.]))
    """
    found = knn_search(points, 1, queries, ptr=ptr, queries_ptr=queries_ptr, period=period)
    return found.index, found.distance


def _check_farthest(points: Tensor, ptr: Tensor, counts: Sequence[int], starts: Tensor) -> None:
    check_positions(points, "position")
    check_ptr(ptr, points.shape[0], "ptr")
    check_index(starts, max(points.shape[0], 1), "start")
    for graph, (size, count) in enumerate(zip(ptr.diff().tolist(), counts, strict=True)):
        if not 0 <= count <= size:
            raise InputError(f"graph {graph} has {size} points, {count} cannot be chosen from it")


def _fake_farthest(points: Tensor, ptr: Tensor, counts: Sequence[int], starts: Tensor) -> Tensor:
    return ptr.new_empty(sum(counts))


@operation(
    schema="(Tensor points, Tensor ptr, int[] counts, Tensor starts) -> Tensor",
    fake=_fake_farthest,
    check=_check_farthest,
)
def _farthest_points(points: Tensor, ptr: Tensor, counts: Sequence[int], starts: Tensor) -> Tensor:
    chosen = [ptr.new_zeros(0)]
    open_axes = [0.0] * points.shape[1]
    bounds = ptr.tolist()
    for graph, count in enumerate(counts):
        rows = points[bounds[graph] : bounds[graph + 1]]
        distance = rows.new_full((rows.shape[0],), torch.inf, dtype=torch.float64)
        index = starts[graph : graph + 1] - bounds[graph]
        for _ in range(count):
            chosen.append(index + bounds[graph])
            distance = torch.minimum(distance, squared_distance(rows, rows[index], open_axes))
            distance[index] = -1.0  # no point is chosen twice, also where points coincide
            farthest = (distance == distance.max()).to(torch.uint8)  # of equals the first
            index = farthest.argmax().unsqueeze(0)
    return torch.cat(chosen)


@front(_farthest_points)
def farthest_point_sampling(
    points: Float[Tensor, "n d"],
    num_points: int | Sequence[int],
    *,
    ptr: Int[Tensor, " b1"] | None = None,
    start: Int[Tensor, " b"] | None = None,
) -> Int[Tensor, " m"]:
    """Spread-out subset: each next point is the one farthest from those chosen (Gonzalez 1985).

    Of equals the first; no point is chosen twice.

    Args:
        points: Positions.
        num_points: How many to choose, of each graph or one number for all.
        ptr: Graph i owns points ``ptr[i]:ptr[i + 1]``; None: one graph.
        start: First point of each graph, as row of ``points``; None: its first row.

    Returns:
        Chosen rows, in the order they were chosen, graph after graph.

    Raises:
        InputError: More points are asked for than a graph has; positions are not finite.

    Example:
        >>> farthest_point_sampling(torch.tensor([[0.0], [1.0], [9.0], [5.0]]), 3)
        tensor([0, 2, 3])
    """
    if ptr is None:
        ptr = torch.tensor([0, points.shape[0]], device=points.device)
    counts = [num_points] * (ptr.numel() - 1) if isinstance(num_points, int) else list(num_points)
    if len(counts) != ptr.numel() - 1:
        raise InputError(f"num_points must have one entry per graph ({ptr.numel() - 1}), got {len(counts)}")
    starts = ptr[:-1].clamp(max=max(points.shape[0] - 1, 0)) if start is None else start
    return _farthest_points(points.detach(), ptr, counts, starts)


def _arguments(
    points: Tensor, queries: Tensor | None, ptr: Tensor | None, queries_ptr: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    if points.dtype in (torch.float16, torch.bfloat16):
        points = points.float()
        queries = queries.float() if queries is not None else None
    if ptr is None:
        ptr = torch.tensor([0, points.shape[0]], device=points.device)
    if queries is None:
        if queries_ptr is not None:
            raise InputError("queries_ptr was given without queries")
        return points.detach(), ptr, points.detach(), ptr
    if queries_ptr is None:
        queries_ptr = torch.tensor([0, queries.shape[0]], device=queries.device)
    return points.detach(), ptr, queries.detach(), queries_ptr


def _period(points: Tensor, period: Sequence[float] | None) -> list[float]:
    return [0.0] * points.shape[-1] if period is None else [float(length) for length in period]


def _numba_applies(points: Tensor, *_: object, **__: object) -> str:
    return needs_numba(points, (torch.float32, torch.float64))


@_knn_search.kernel("numba", _numba_applies)
def _knn_numba(*args: Any) -> tuple[Tensor, Tensor]:
    from meshops.ops.kernels import neighbors_numba  # importing Numba takes a while

    return neighbors_numba.knn(*args)


@_radius_search.kernel("numba", _numba_applies)
def _radius_numba(*args: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    from meshops.ops.kernels import neighbors_numba

    return neighbors_numba.radius(*args)


def _triton_applies(points: Tensor, *rest: Any) -> str:
    if points.dim() == 2 and points.shape[1] > 3:
        return "needs at most 3 dimensions"
    if len(rest) == 6 and rest[3] > MOST_NEIGHBORS:
        return f"needs k of at most {MOST_NEIGHBORS}"
    return needs_triton(points, (torch.float32, torch.float64))


@_knn_search.kernel("triton", _triton_applies)
def _knn_triton(*args: Any) -> tuple[Tensor, Tensor]:
    from meshops.ops.kernels import neighbors_triton  # exists only where Triton does

    return neighbors_triton.knn(*args)


@_radius_search.kernel("triton", _triton_applies)
def _radius_triton(*args: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    from meshops.ops.kernels import neighbors_triton

    return neighbors_triton.radius(*args)


def _tree_applies(points: Tensor, *_: object) -> str:
    return "" if points.shape[0] > FEW else f"looking at all of {FEW} points or fewer is as quick"


@_knn_search.kernel("torch (tree)", _tree_applies)
def _knn_tree(*args: Any) -> tuple[Tensor, Tensor]:
    from meshops.ops.kernels import neighbors_tree

    return neighbors_tree.knn(*args)


@_radius_search.kernel("torch (tree)", _tree_applies)
def _radius_tree(*args: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    from meshops.ops.kernels import neighbors_tree

    return neighbors_tree.radius(*args)


@_farthest_points.kernel("numba", _numba_applies)
def _farthest_numba(points: Tensor, ptr: Tensor, counts: Sequence[int], starts: Tensor) -> Tensor:
    from meshops.ops.kernels import neighbors_numba

    return neighbors_numba.farthest_points(points, ptr, counts, starts.tolist())
