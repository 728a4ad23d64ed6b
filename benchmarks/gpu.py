"""Operations on a GPU, beside the same operation on the CPU: one table, nothing to build.

    python benchmarks/gpu.py [--points 1000000] [--json gpu.json]
    python benchmarks/gpu.py --interpret        # no GPU: a few points through Triton's interpreter, as a self-check

Needs torch, triton, numpy, scipy and meshops alone. Times are medians of CUDA events after warm-up. 'equal' says
whether the CPU gives the same bits, or by how much the results differ. The CPU times are PyTorch's definition of the
operation or, for neighbours, SciPy's tree on all cores.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; 0 fine, 2 without a GPU."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--points", type=int, default=0, help="default: 1,000,000 (60 with --interpret)")
    parser.add_argument("--repeat", type=int, default=20)
    parser.add_argument("--json", default="")
    parser.add_argument("--interpret", action="store_true", help="run on the CPU in Triton's interpreter")
    args = parser.parse_args(argv)
    if args.interpret:
        os.environ["TRITON_INTERPRET"] = "1"  # read when Triton is imported
    import torch
    import triton

    if not args.interpret and not torch.cuda.is_available():
        sys.stderr.write("no CUDA device; --interpret checks the kernels without one\n")
        return 2
    device = "cpu" if args.interpret else "cuda"
    chip = "Triton's interpreter" if args.interpret else torch.cuda.get_device_name()
    print(f"{chip}; torch {torch.__version__}, triton {triton.__version__}, {time.strftime('%Y-%m-%d')}")
    print(f"{'operation':<28} {'rows':>9} {'ms':>9} {'MiB':>8} {'CPU ms':>9} {'CPU/GPU':>8}  equal")
    n = args.points or (60 if args.interpret else 1_000_000)
    rows = []
    for name, count, ours, other in cases(n, device):
        if args.interpret:
            milliseconds, memory, result = *wall(ours, 1), 0.0, ours()
        else:
            milliseconds, memory, result = on_gpu(ours, args.repeat)
        cpu = wall(other, 1 if args.interpret else 3)[0]
        verdict = difference(result, other())
        rows.append(
            {"operation": name, "rows": count, "ms": milliseconds, "mib": memory, "cpu_ms": cpu, "equal": verdict}
        )
        ratio = f"{cpu / milliseconds:>8.1f}"
        print(f"{name:<28} {count:>9} {milliseconds:>9.3f} {memory:>8.1f} {cpu:>9.1f} {ratio}  {verdict}")
    if args.json:
        about = {
            "chip": chip,
            "torch": torch.__version__,
            "triton": triton.__version__,
            "date": time.strftime("%Y-%m-%d"),
        }
        Path(args.json).write_text(json.dumps({**about, "rows": rows}, indent=1))
    return 0


def cases(n: int, device: str) -> Iterator[tuple[str, int, Callable[[], Any], Callable[[], Any]]]:
    """Name, rows, the call on the device, the same on the CPU."""
    import numpy as np
    import torch
    from scipy.spatial import cKDTree

    from meshops import ops
    from meshops.ops.neighbors import _knn_search, _radius_search
    from meshops.ops.scores import _sobel_blocks, channel_scale
    from meshops.ops.segment import _segment_extreme
    from meshops.ops.tree import _median_split
    from meshops.partition import TokenBudget

    interpret = device == "cpu"
    generator = torch.Generator().manual_seed(0)
    channels, size = (8, 16) if interpret else (64, 256)
    values = torch.randn(n, channels, generator=generator)
    ptr = torch.cat([torch.arange(0, n, size), torch.tensor([n])])
    perm = torch.randperm(n, generator=generator)
    grad = torch.randn(len(ptr) - 1, channels, generator=generator)

    def place(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(tensor.to(device) for tensor in tensors)

    far_values, far_ptr, far_perm, far_grad = place(values, ptr, perm, grad)

    def both(function: Callable[..., torch.Tensor], rows: torch.Tensor, *rest: torch.Tensor) -> Callable[[], Any]:
        leaf, upstream = rows.clone().requires_grad_(), rest[-1]

        def run() -> Any:
            leaf.grad = None
            out = function(leaf, *rest[:-1])
            out.backward(upstream)
            return out.detach(), leaf.grad

        return run

    def kernel(name: str, *arguments: Any) -> Callable[[], Any]:
        """A kernel called by name: the interpreter takes CPU tensors, which no operation would hand to Triton."""
        from meshops.ops.kernels import neighbors_triton, patches_triton, scores_triton, segment_triton

        modules = (segment_triton, patches_triton, neighbors_triton, scores_triton)
        function = next(getattr(module, name) for module in modules if hasattr(module, name))
        return lambda: function(*arguments)

    def plain(rows: torch.Tensor, ptr: torch.Tensor, perm: torch.Tensor) -> torch.Tensor:
        index = torch.empty_like(perm)
        index[perm] = torch.repeat_interleave(ptr.diff())
        return rows.new_zeros(len(ptr) - 1, rows.shape[1]).index_add(0, index, rows)

    if interpret:
        yield "segment sum", n, kernel("segment_sum", values, ptr, perm), lambda: plain(values, ptr, perm)
        yield (
            "segment max",
            n,
            kernel("segment_extreme", values, ptr, perm, True),
            lambda: _segment_extreme.reference(values, ptr, perm, True),
        )
    else:
        for name in ("sum", "mean", "max", "softmax"):
            function = getattr(ops, f"segment_{name}")
            upstream = (values, far_values) if name == "softmax" else (grad, far_grad)
            yield (
                f"segment {name}, both ways", n, both(function, far_values, far_ptr, far_perm, upstream[1]),
                both(function, values, ptr, perm, upstream[0]),
            )  # fmt: skip
        index = torch.empty_like(perm)
        index[perm] = torch.repeat_interleave(ptr.diff())
        far_index, count = index.to(device), len(ptr) - 1
        yield (
            "index_add of PyTorch", n,
            both(lambda rows: rows.new_zeros(count, channels).index_add(0, far_index, rows), far_values, far_grad),
            both(lambda rows: rows.new_zeros(count, channels).index_add(0, index, rows), values, grad),
        )  # fmt: skip
    slots = perm[: n // size * size].view(-1, size)
    rows = torch.randn(*slots.shape, channels, generator=generator)
    far_slots, far_rows = place(slots, rows)
    gather = kernel("gather_patches", far_values, far_slots, None)
    scatter = kernel("scatter_patches", far_rows, far_slots, None, n)
    yield "nodes to patches", n, gather, lambda: ops.gather_patches.reference(values, slots, None)
    yield "patches to nodes", n, scatter, lambda: ops.scatter_patches.reference(rows, slots, None, n)

    fields = torch.randn(1, 2, 6, 5) if interpret else torch.randn(8, 4, 256, 256, generator=generator)
    (far_fields,) = place(fields)
    score = (channel_scale(fields), [1.0, 1.0], [False, True], 2, None)
    far_score = (score[0].to(device), *score[1:])
    cells = fields[:, 0].numel()
    yield (
        "gradient score", cells, kernel("sobel_blocks", far_fields, *far_score),
        lambda: _sobel_blocks.reference(fields, *score),
    )  # fmt: skip
    if not interpret:
        budget = TokenBudget(2048, 2, 8)
        yield (
            "IAP tokens, 2,048 x 8", cells, lambda: budget.patches(far_fields).index[1],
            lambda: budget.patches(fields).index[1],
        )  # fmt: skip

    points, one = torch.rand(n, 3, generator=generator), torch.tensor([0, n])
    far_points, far_one = place(points, one)
    array, workers = points.numpy(), os.cpu_count() or 1
    radius, still = (16 / n / (4 / 3 * math.pi)) ** (1 / 3), [0.0] * 3
    near = (far_points, far_one, far_points, far_one)
    if interpret:
        same = (points, one, points, one)
        yield "4 nearest", n, kernel("knn", *near, 4, True, still), lambda: _knn_search.reference(*same, 4, True, still)
        yield (
            "within a radius",
            n,
            kernel("radius", *near, radius, 0, False, still),
            lambda: _radius_search.reference(*same, radius, 0, False, still),
        )
        return

    def scipy_nearest() -> Any:
        return torch.from_numpy(cKDTree(array).query(array, 16, workers=workers)[1].astype(np.int64).reshape(-1))

    def scipy_ball() -> Any:
        return torch.tensor(cKDTree(array).query_ball_point(array, radius, workers=workers, return_length=True))

    yield "16 nearest (CPU: SciPy)", n, lambda: ops.knn_search(far_points, 16, loop=True).index, scipy_nearest
    yield "in a radius (CPU: SciPy)", n, lambda: ops.radius_search(far_points, radius, loop=True).found, scipy_ball
    levels = max(0, math.ceil(math.log2(n / 256)))
    yield (
        "ball tree", n, lambda: ops.median_split(far_points, far_one, levels).perm,
        lambda: _median_split.reference(points, one, [levels], False)[0],
    )  # fmt: skip
    patches, heads = max(1, n // 4096), 4
    shapes = [(1, patches, heads, 256, 32)] * 3 + [(1, heads, 256, 32)] * 2
    near_keys = [torch.randn(shape, generator=generator) for shape in shapes]
    far_keys = place(*near_keys)
    yield (
        "patch attention", patches * 256, lambda: ops.patch_attention(*far_keys),
        lambda: ops.patch_attention(*near_keys),
    )  # fmt: skip


def on_gpu(run: Callable[[], Any], repeat: int) -> tuple[float, float, Any]:
    """Median milliseconds, MiB at the peak beyond what was held, and the result."""
    import torch

    for _ in range(3):
        result = run()
    torch.cuda.synchronize()
    del result
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    result = run()
    torch.cuda.synchronize()
    memory = (torch.cuda.max_memory_allocated() - before) / 2**20
    times = []
    for _ in range(repeat):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end))
    return statistics.median(times), memory, result


def wall(run: Callable[[], Any], repeat: int) -> tuple[float]:
    """Fastest milliseconds on the CPU."""
    best = math.inf
    for _ in range(repeat):
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    return (1e3 * best,)


def difference(ours: Any, theirs: Any) -> str:
    """``yes`` for the same bits, else the largest difference or the number of other entries."""
    import torch

    pairs = [(ours, theirs)] if isinstance(ours, torch.Tensor) else list(zip(ours, theirs, strict=True))
    worst = 0.0
    for first, second in pairs:
        first, second = first.cpu(), second.cpu()
        if torch.equal(first, second):
            continue
        if not first.is_floating_point():
            return f"{int((first != second).sum())} other"
        worst = max(worst, float((first - second).abs().max()))
    return f"within {worst:.1e}" if worst else "yes"


if __name__ == "__main__":
    sys.exit(main())
