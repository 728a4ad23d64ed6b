"""Cases of ``meshops bench partition``: clouds to patches of 256."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from meshops.bench.measure import Case, Contender
from meshops.ops import knn_search, median_split
from meshops.partition import BallTree, CurvePatches, Metis, Octree, Partition, SameSizeKMeans

PATCH = 256
SLOW = 100_000  # points for partitioners that take minutes beyond


def clouds(n: int) -> dict[str, Tensor]:
    """Uniform points, a boundary layer graded over six decades, points on a surface."""
    generator = torch.Generator().manual_seed(0)
    uniform = torch.rand(n, 3, generator=generator)
    layer = uniform.clone()
    layer[:, 2] = 10 ** (-6 * torch.rand(n, generator=generator))  # distance from the wall, 1e-6 to 1
    surface = torch.randn(n, 3, generator=generator)
    surface = surface / surface.norm(dim=1, keepdim=True) * torch.tensor([4.0, 1.0, 1.5])
    return {"uniform": uniform, "boundary layer": layer, "surface": surface}


def partition_cases(points: int) -> list[Case]:
    """The ball tree against balltree-erwin on three clouds, and all partitioners on the uniform one."""
    cases = [_ball_tree_case(name, pos) for name, pos in clouds(points).items()]
    return [*cases, _all_partitioners(clouds(points)["uniform"])]


def _ball_tree_case(name: str, pos: Tensor) -> Case:
    n = pos.shape[0]
    levels = BallTree(PATCH).levels(n)
    ptr, batch = torch.tensor([0, n]), torch.zeros(n, dtype=torch.long)

    def erwin() -> Any:
        import balltree

        return torch.as_tensor(balltree.partition_balltree(pos, batch, levels))

    def radius(perm: Tensor) -> float:
        leaves = median_split(pos, ptr, levels).ptr  # both cut at the same counts
        return float(Partition.from_order(pos, perm, leaves).radius.mean())

    def differ(ours: Any, theirs: Any) -> str:
        ratio = radius(theirs) / radius(ours.perm)
        return "" if abs(ratio - 1) < 0.02 else f"mean patch radius {ratio:.2f} of ours"

    return Case(
        f"ball tree to {2**levels} patches, {name}",
        n,
        [Contender("meshops", lambda: median_split(pos, ptr, levels)), Contender("balltree-erwin", erwin, "balltree")],
        differ,
        lambda ours: {"radius": radius(ours.perm)},
        pos.numel() * pos.element_size(),
    )


def _all_partitioners(pos: Tensor) -> Case:
    n = pos.shape[0]

    def metis() -> Partition:
        return Metis(PATCH).partition(pos, knn_search(pos, min(8, n - 1)).edge_index)

    makers: dict[str, tuple[Callable[[], Partition], str, int]] = {
        "BallTree": (lambda: BallTree(PATCH).partition(pos), "", 2**62),
        "BallTree(axes='cyclic'): k-d tree": (lambda: BallTree(PATCH, axes="cyclic").partition(pos), "", 2**62),
        "Octree": (lambda: Octree(capacity=PATCH).partition(pos), "", 2**62),
        "CurvePatches: Hilbert": (lambda: CurvePatches(PATCH).partition(pos), "", 2**62),
        "CurvePatches: Morton": (lambda: CurvePatches(PATCH, curve="morton").partition(pos), "", 2**62),
        "SameSizeKMeans": (lambda: SameSizeKMeans(PATCH).partition(pos), "", SLOW),
        "Metis, 8 nearest as edges": (metis, "pymetis", SLOW),
    }
    entries = [Contender(name, run, module, most) for name, (run, module, most) in makers.items()]
    return Case(
        f"all partitioners to patches of {PATCH}, centers and radii included",
        n,
        entries,
        lambda ours, theirs: _shape(theirs),
        lambda ours: {"radius": float(ours.radius.mean()), "patches": float(ours.num_patches)},
        pos.numel() * pos.element_size(),
    )


def _shape(part: Partition) -> str:
    """Mean radius over that of a ball of as many points at their mean density, and the sizes."""
    ball = (part.num_nodes / part.num_patches / part.num_nodes / (4 / 3 * math.pi)) ** (1 / 3)
    return (
        f"{part.num_patches} patches of {int(part.size.min())} to {int(part.size.max())}, "
        f"radius {float(part.radius.mean()) / ball:.2f} of a ball's"
    )
