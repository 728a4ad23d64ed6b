"""Cases of ``meshops bench ops``: segments and neighbours."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from meshops.bench.measure import Case, Contender
from meshops.ops import (
    farthest_point_sampling,
    knn_search,
    radius_search,
    segment_max,
    segment_mean,
    segment_softmax,
    segment_sum,
)

CHANNELS, SEGMENT = 64, 256
K = 16
SLOW = 100_000  # rows for peers that take minutes beyond


def operation_cases(points: int) -> list[Case]:
    """Segments of ``0.6 * points`` rows (600,000 for a million), neighbours and samples of ``points`` points."""
    return [*_segment_cases(max(1, points * 6 // 10)), *_neighbor_cases(points)]


def _segment_cases(rows: int) -> list[Case]:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(rows, CHANNELS, generator=generator).requires_grad_()
    ptr = torch.cat([torch.arange(0, rows, SEGMENT), torch.tensor([rows])])
    count = ptr.diff()
    segments = count.numel()
    index = torch.repeat_interleave(count)
    wide = index.unsqueeze(1).expand(-1, CHANNELS)
    grad = {segments: torch.randn(segments, CHANNELS, generator=generator), rows: torch.randn(rows, CHANNELS)}

    def both(function: Callable[[], Tensor]) -> Callable[[], tuple[Tensor, Tensor | None]]:
        """Forward and backward."""

        def run() -> tuple[Tensor, Tensor | None]:
            values.grad = None
            out = function()
            out.backward(grad[out.shape[0]])
            return out.detach(), values.grad

        return run

    def scatter_csr(reduce: str) -> Callable[[], Tensor]:
        def run() -> Tensor:
            import torch_scatter

            out: Tensor = torch_scatter.segment_csr(values, ptr, reduce=reduce)
            return out

        return run

    def scatter_softmax() -> Tensor:
        import torch_scatter

        out: Tensor = torch_scatter.scatter_softmax(values, index, 0)
        return out

    def index_add() -> Tensor:
        return values.new_zeros(segments, CHANNELS).index_add(0, index, values)

    def index_mean() -> Tensor:
        return index_add() / count.clamp(min=1).unsqueeze(1)

    def reduce_max() -> Tensor:
        return values.new_zeros(segments, CHANNELS).scatter_reduce(0, wide, values, "amax", include_self=False)

    def csr(reduce: str) -> Callable[[], Tensor]:
        return lambda: torch.segment_reduce(values, reduce, offsets=ptr, axis=0, unsafe=True)

    contenders: dict[str, list[Contender]] = {
        "segment sum": [
            Contender("meshops", both(lambda: segment_sum(values, ptr))),
            Contender("torch_scatter.segment_csr", both(scatter_csr("sum")), "torch_scatter"),
            Contender("torch index_add", both(index_add)),
            Contender("torch.segment_reduce", both(csr("sum"))),
        ],
        "segment mean": [
            Contender("meshops", both(lambda: segment_mean(values, ptr))),
            Contender("torch_scatter.segment_csr", both(scatter_csr("mean")), "torch_scatter"),
            Contender("torch index_add", both(index_mean)),
            Contender("torch.segment_reduce", both(csr("mean"))),
        ],
        "segment max": [
            Contender("meshops", both(lambda: segment_max(values, ptr))),
            Contender("torch_scatter.segment_csr", both(scatter_csr("max")), "torch_scatter"),
            Contender("torch scatter_reduce", both(reduce_max)),
        ],
        "segment softmax": [
            Contender("meshops", both(lambda: segment_softmax(values, ptr))),
            Contender("torch_scatter.scatter_softmax", both(scatter_softmax), "torch_scatter"),
        ],
    }
    return [
        Case(f"{name} x {CHANNELS}, forward + backward", rows, entries, _other_numbers)
        for name, entries in contenders.items()
    ]


def _neighbor_cases(n: int) -> list[Case]:
    points = torch.rand(n, 3, generator=torch.Generator().manual_seed(0))
    array = points.numpy()
    k = min(K, n)
    radius = (K / n / (4 / 3 * math.pi)) ** (1 / 3)  # about K neighbours inside the cube

    def scipy(convert: bool) -> Callable[[], Any]:
        def run() -> Any:
            from scipy.spatial import cKDTree

            distance, index = cKDTree(array).query(array, k, workers=torch.get_num_threads())
            if not convert:
                return index
            ptr = torch.arange(n + 1) * k
            return ptr, torch.from_numpy(index).reshape(-1), torch.from_numpy(distance).float().reshape(-1)

        return run

    def scipy_ball() -> Any:
        from scipy.spatial import cKDTree

        tree = cKDTree(array)
        return tree.query_ball_point(array, radius, workers=torch.get_num_threads())

    def scikit() -> Any:
        from sklearn.neighbors import NearestNeighbors

        search = NearestNeighbors(n_neighbors=k, n_jobs=torch.get_num_threads())
        return search.fit(array).kneighbors(array, return_distance=False)

    def cluster_knn() -> Any:
        import torch_cluster

        return torch_cluster.knn_graph(points, k, loop=True)

    def cluster_radius() -> Any:
        import torch_cluster

        return torch_cluster.radius_graph(points, radius, loop=True, max_num_neighbors=1000)

    def cluster_fps() -> Any:
        import torch_cluster

        return torch_cluster.fps(points, torch.zeros(n, dtype=torch.long), 0.01, random_start=False)

    bytes_of = n * 3 * 4
    return [
        Case(f"{k} nearest", n, [
            Contender("meshops", lambda: knn_search(points, k, loop=True)),
            Contender("SciPy cKDTree alone", scipy(False)),
            Contender("SciPy cKDTree, as CSR tensors", scipy(True)),
            Contender("torch_cluster.knn_graph", cluster_knn, "torch_cluster"),
            Contender("scikit-learn", scikit, "sklearn", SLOW),
        ], _other_neighbors(k), input_bytes=bytes_of),
        Case("all within a radius (about 16)", n, [
            Contender("meshops", lambda: radius_search(points, radius, loop=True)),
            Contender("SciPy query_ball_point", scipy_ball),
            Contender("torch_cluster.radius_graph", cluster_radius, "torch_cluster"),
        ], _other_count, input_bytes=bytes_of),
        Case("farthest points, 1 %", n, [
            Contender("meshops", lambda: farthest_point_sampling(points, math.ceil(0.01 * n))),
            Contender("torch_cluster.fps", cluster_fps, "torch_cluster", SLOW),
        ], lambda ours, theirs: "" if torch.equal(ours, theirs) else _share(ours, theirs), input_bytes=bytes_of),
    ]  # fmt: skip


def _other_numbers(ours: Any, theirs: Any) -> str:
    worst = max(float((a - b).abs().max()) for a, b in zip(ours, theirs, strict=True))
    return "" if worst < 1e-3 else f"differs by up to {worst:.1e}"


def _other_neighbors(k: int) -> Callable[[Any, Any], str]:
    def differ(ours: Any, theirs: Any) -> str:
        if isinstance(theirs, tuple):
            theirs = theirs[1]
        elif isinstance(theirs, np.ndarray):
            theirs = torch.from_numpy(theirs)
        elif theirs.dim() == 2:  # edges, in the order of the queries
            theirs = theirs[0]
        mine, other = (index.reshape(-1, k).sort(1).values for index in (ours.index, theirs))
        other_rows = int((mine != other).any(1).sum())
        return f"other neighbours for {other_rows} queries" if other_rows else ""

    return differ


def _other_count(ours: Any, theirs: Any) -> str:
    count = theirs.shape[1] if isinstance(theirs, Tensor) else sum(map(len, theirs))
    return "" if count == ours.index.numel() else f"finds {count:,} neighbours, we find {ours.index.numel():,}"


def _share(ours: Tensor, theirs: Tensor) -> str:
    same = len(set(ours.tolist()) & set(theirs.tolist()))
    return f"shares {same} of {ours.numel()} points"
