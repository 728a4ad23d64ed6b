"""RefineByCriteria against a recursive walk over one sample, and the numbers of the paper."""

from __future__ import annotations

import itertools
import math
import time

import pytest
import torch
from torch.testing import assert_close
from torch_geometric.data import Batch

from meshops.data.grid import grid_graph
from meshops.data.mesh_graph import MeshGraph
from meshops.errors import InputError
from meshops.ops.scores import flow_maps
from meshops.partition import Cover, RefineByCriteria, Thresholds
from meshops.partition.thresholds import random_thresholds

NEVER = Thresholds().scaled(math.inf)
ALWAYS = Thresholds().scaled(0.0)


def flow(b: int, *grid: int, seed: int = 0) -> torch.Tensor:
    """A jet with random eddies, density and pressure in front: velocity channels 1 and 2."""
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.meshgrid(*[(torch.arange(n) + 0.5) / n for n in grid], indexing="ij")
    out = []
    for _ in range(b):
        u, v = torch.tanh((y - 0.5) * 15), 0.1 * torch.sin(6.28 * x) * torch.exp(-(((y - 0.5) * 8) ** 2))
        for _ in range(4):
            cx, cy, strength = torch.rand(3, generator=generator).tolist()
            bump = strength * torch.exp(-((x - cx) ** 2 + (y - cy) ** 2) * 200)
            u, v = u - (y - cy) * 20 * bump, v + (x - cx) * 20 * bump
        out.append(torch.stack([torch.rand(grid, generator=generator), u, v]))
    return torch.stack(out)


def walk(refine: RefineByCriteria, sample: torch.Tensor) -> set[tuple[int, ...]]:
    """Tokens (side, *corner) of one sample, region by region: the definition. By level, since eq. 7 ranks them."""
    velocity = sample[list(refine.velocity)]
    maps = flow_maps(velocity[None])
    gradient, turn = maps.gradient[0], maps.vorticity[0, 0]
    speed = velocity.norm(dim=0)
    shear = turn.abs()
    limits = refine.thresholds
    whole = [float(m.mean()) for m in (gradient, turn.abs(), speed, shear)]
    side = refine.max_size
    regions = list(itertools.product(*(range(0, n, side) for n in sample.shape[1:])))
    tokens = {(side, *corner) for corner in regions}
    first = True
    while side > refine.parts * refine.min_cell:
        means = {}
        for corner in regions:
            cut = tuple(slice(c, c + side) for c in corner)
            u = velocity[(slice(None), *cut)].flatten(1).mean(1)
            means[corner] = (float(gradient[cut].mean()), abs(float(turn[cut].mean())), float(u.norm()),
                             float(shear[cut].mean()))  # fmt: skip
        rank = math.ceil(refine.top * len(regions)) - 1
        bound = sorted((m[0] for m in means.values()), reverse=True)[rank] if refine.top else math.inf
        factors = (limits.gradient, limits.vorticity, limits.momentum, limits.shear)
        chosen = [
            corner
            for corner in regions
            if first
            or means[corner][0] >= bound
            or any(v > t * w for v, t, w in zip(means[corner], factors, whole, strict=True))
        ]
        side //= refine.parts
        regions = [
            tuple(c + o for c, o in zip(corner, offset, strict=True))
            for corner in chosen
            for offset in itertools.product(range(0, side * refine.parts, side), repeat=len(corner))
        ]
        tokens |= {(side, *corner) for corner in regions}
        first = False
    return tokens


def as_set(patches: object, sample: int) -> set[tuple[int, ...]]:
    rows = patches.index[0] == sample  # type: ignore[attr-defined]
    table = torch.cat([patches.size.unsqueeze(1), patches.corner], 1)[rows]  # type: ignore[attr-defined]
    return {tuple(row) for row in table.tolist()}


@pytest.mark.parametrize("top", [0.0, 0.1, 0.37])
@pytest.mark.parametrize("factor", [0.3, 1.0, math.inf])
def test_levels_of_masks_equal_the_recursive_walk(top: float, factor: float) -> None:
    values = flow(3, 64, 32)
    refine = RefineByCriteria(velocity=(1, 2), top=top, thresholds=Thresholds().scaled(factor))
    patches = refine.patches(values)
    for sample in range(3):
        assert as_set(patches, sample) == walk(refine, values[sample])


def test_many_times_faster_than_the_recursive_walk() -> None:
    values = flow(8, 128, 128)
    refine = RefineByCriteria(velocity=(1, 2), max_size=32, thresholds=Thresholds().scaled(0.5))
    refine.patches(values).index  # noqa: B018  # first call pays for set-up
    ours = min(_seconds(lambda: refine.patches(values).index) for _ in range(5))
    slow = min(_seconds(lambda: [walk(refine, sample) for sample in values]) for _ in range(2))
    assert slow > 20 * ours  # 50 to 100 on a quiet machine


def _seconds(call: object) -> float:
    start = time.perf_counter()
    call()  # type: ignore[operator]
    return time.perf_counter() - start


TOKENS = [  # spec: grid, R_s, fewest, most
    (64, 16, 80, 1360), (128, 16, 320, 5440), (128, 32, 80, 5456), (512, 32, 1280, 87296), (512, 64, 320, 87360),
]  # fmt: skip


@pytest.mark.parametrize(("n", "side", "fewest", "most"), TOKENS)
def test_extremes_of_the_token_count(n: int, side: int, fewest: int, most: int) -> None:
    refine = RefineByCriteria(velocity=(0, 1), max_size=side, top=0.0)
    assert refine.bounds((n, n)) == (fewest, most)
    if n <= 128:
        values = torch.randn(1, 2, n, n)
        assert refine.patches(values, thresholds=NEVER).count.tolist() == [fewest]
        assert refine.patches(values, thresholds=ALWAYS).count.tolist() == [most]


def test_three_dimensions() -> None:
    refine = RefineByCriteria(velocity=(0, 1, 2), top=0.0, thresholds=NEVER)
    patches = refine.patches(torch.randn(1, 3, 64, 64, 64))
    assert patches.count.tolist() == [576]
    values = torch.randn(2, 4, 16, 16, 24)
    full = RefineByCriteria(velocity=(1, 2, 3), max_size=8, thresholds=ALWAYS).patches(values)
    assert torch.equal(full.paint(full.tokenize(values)), values)


def test_painted_values_are_means_and_exact_where_fully_refined() -> None:
    values = flow(2, 64, 64)
    coarse = RefineByCriteria(velocity=(1, 2), top=0.0, thresholds=NEVER).patches(values)
    painted = coarse.paint(coarse.tokenize(values))
    means = torch.nn.functional.avg_pool2d(values, 4).repeat_interleave(4, 2).repeat_interleave(4, 3)
    assert_close(painted, means)
    fine = RefineByCriteria(velocity=(1, 2), thresholds=ALWAYS).patches(values)
    assert torch.equal(fine.paint(fine.tokenize(values)), values)
    odd = flow(1, 37, 50)
    fine = RefineByCriteria(velocity=(1, 2), thresholds=ALWAYS).patches(odd)
    assert torch.equal(fine.paint(fine.tokenize(odd)), odd)


def test_lower_thresholds_and_the_look_ahead_only_add_tokens() -> None:
    now, before = flow(2, 64, 64, seed=1), flow(2, 64, 64, seed=2)
    refine = RefineByCriteria(velocity=(1, 2))
    base = refine.patches(now)
    lower = refine.patches(now, thresholds=Thresholds().scaled(0.5))
    ahead = refine.patches(now, previous=before)
    for sample in range(2):
        assert as_set(base, sample) <= as_set(lower, sample)
        assert as_set(base, sample) <= as_set(ahead, sample)
    assert (ahead.count > base.count).any()


def test_scaling_the_velocity_changes_nothing_and_samples_do_not_meet() -> None:
    values = flow(3, 64, 64)
    refine = RefineByCriteria(velocity=(1, 2))
    patches = refine.patches(values)
    scaled = refine.patches(values * torch.tensor([5.0, 64.0, 64.0]).view(1, 3, 1, 1))
    assert torch.equal(patches.mask, scaled.mask)
    alone = torch.cat([refine.patches(values[i : i + 1]).mask for i in range(3)])
    assert torch.equal(patches.mask, alone)
    each = refine.patches(values, thresholds=Thresholds(gradient=torch.tensor([0.1, 0.4, 3.0])))
    assert each.count[0] >= patches.count[0] and each.count[2] <= patches.count[2]


def test_obstacles_are_refined_and_left_out_of_the_means() -> None:
    values, mask = flow(1, 64, 64), torch.ones(1, 64, 64, dtype=torch.bool)
    mask[:, 40:44, 10:13] = False
    patches = RefineByCriteria(velocity=(1, 2), top=0.0, thresholds=NEVER).patches(values, mask=mask)
    assert patches.active[-1][0, 20, 5] and not patches.active[-1][0, 0, 0]
    values[:, 1:, 40:44, 10:13] = 1e6
    refine = RefineByCriteria(velocity=(1, 2), top=0.0)
    away = refine.patches(values, mask=mask).active[-1][0, :10]
    assert torch.equal(away, refine.patches(flow(1, 64, 64), mask=mask).active[-1][0, :10])


def test_reference_criteria_look_inside_regions_and_at_zeros() -> None:
    values = flow(2, 64, 64)
    refine = RefineByCriteria(velocity=(1, 2), criteria="reference", top=0.0)
    patches = refine.patches(values)  # top = 0 does not run over the end of the list
    region = values[0, 1:, 8:16, 24:32]
    slope = torch.stack(torch.gradient(region, dim=(1, 2))).square().sum((0, 1)).sqrt().mean()
    all_slopes = [
        torch.stack(torch.gradient(values[0, 1:, i : i + 8, j : j + 8], dim=(1, 2))).square().sum((0, 1)).sqrt().mean()
        for i in range(0, 64, 8)
        for j in range(0, 64, 8)
    ]
    wanted = bool(slope > 0.4 * torch.stack(all_slopes).mean()) or bool(slope >= max(all_slopes))
    assert bool(patches.active[2][0, 2 * 1, 2 * 3]) == wanted
    still = torch.ones(1, 3, 64, 64)
    still[:, :, 60:62, 2] = 0  # two of 256 cells of one region are zero: less than 1 %; 2 of 64 are more
    found = RefineByCriteria(velocity=(1, 2), criteria="reference", top=0.0).patches(still)
    assert found.active[2][0, 14, 0]


def test_random_thresholds_are_drawn_from_the_published_ranges() -> None:
    drawn = random_thresholds(1000, torch.Generator().manual_seed(0))
    assert 0.1 <= float(drawn.gradient.min()) < 0.12 and 1.98 < float(drawn.gradient.max()) <= 2  # type: ignore[union-attr]
    assert 0.5 <= float(drawn.momentum.min()) and float(drawn.momentum.max()) <= 10  # type: ignore[union-attr]


def test_calibration_meets_the_budget_or_says_why_not() -> None:
    values = flow(4, 64, 64)
    refine = RefineByCriteria(velocity=(1, 2))
    for tokens in (250, 500, 900):
        mean = float(refine.calibrated(values, tokens).patches(values).count.float().mean())
        assert tokens * 0.93 <= mean <= tokens
    with pytest.raises(InputError, match=r"thresholds give .* tokens on these samples"):
        refine.calibrated(values, 60)


def test_bad_arguments() -> None:
    with pytest.raises(InputError, match="which channels are the velocity is not known"):
        RefineByCriteria()
    with pytest.raises(InputError, match="needs 2 velocity channels"):
        RefineByCriteria(velocity=(0,)).patches(torch.zeros(1, 2, 16, 16))
    with pytest.raises(InputError, match="max_size must be min_cell times a power of parts"):
        RefineByCriteria(velocity=(0, 1), max_size=24)
    with pytest.raises(InputError, match="criteria must be"):
        RefineByCriteria(velocity=(0, 1), criteria="best")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="top must be a share"):
        RefineByCriteria(velocity=(0, 1), top=2.0)
    values = torch.zeros(2, 2, 16, 16)
    values[1, 0, 3, 3] = torch.inf
    with pytest.raises(InputError, match="sample 1, channel 0"):
        RefineByCriteria(velocity=(0, 1)).patches(values)


def test_cover_of_a_grid_paints_like_the_masks() -> None:
    values = flow(2, 32, 48)
    patches = RefineByCriteria(velocity=(1, 2)).patches(values)
    pos = torch.cat([grid_graph(torch.zeros(32, 48, 1)).pos] * 2)
    rows = values.movedim(1, -1).flatten(0, -2)
    parts = patches.cover(pos, parts=True)
    assert parts.num_patches == 4 * int(patches.count.sum())
    painted = parts.unpool(parts.pool(rows)).view(2, 32, 48, 3).movedim(-1, 1)
    assert_close(painted, patches.paint(patches.tokenize(values)))
    regions = patches.cover(pos)
    assert torch.equal(regions.size, patches.size**2) and int(regions.coverage().min()) >= 2


def test_mesh_regions() -> None:
    graphs = []
    for n, seed in ((3000, 0), (2000, 1)):
        pos = torch.rand(n, 2, generator=torch.Generator().manual_seed(seed))
        graphs.append(MeshGraph(pos=pos, x=torch.stack([torch.tanh((pos[:, 1] - 0.5) * 20), 0.1 * pos[:, 0]], 1)))
    refine = RefineByCriteria(velocity=(0, 1))
    batch = Batch.from_data_list(graphs)
    cover = refine.cover(batch)
    assert int(cover.coverage().min()) >= 1 and int(cover.size.max()) <= 16**2
    stored = Cover.of(Batch.from_data_list([refine(graph) for graph in graphs]))
    assert torch.equal(stored.index, cover.index) and torch.equal(stored.batch, cover.batch)
    near = (batch.pos[:, 1] - 0.5).abs() < 0.05
    depth = cover.level[cover.finest].float()
    assert depth[near].mean() > depth[~near].mean() + 1
    parts = refine.cover(batch, parts=True)
    assert int(parts.coverage().min()) >= 1
    painted = parts.unpool(parts.pool(batch.x))
    assert (painted - batch.x).square().mean() < 1e-3
    with pytest.raises(InputError, match="apply a tokeniser first"):
        Cover.of(graphs[0])


def test_a_grid_seen_as_a_mesh_gets_nearly_the_same_regions() -> None:
    graph = grid_graph(flow(1, 64, 64)[0, 1:].movedim(0, -1))
    graph.x = graph.y
    refine = RefineByCriteria(velocity=(0, 1))
    on_grid, on_mesh = refine.cover(graph), refine.cover(MeshGraph(pos=graph.pos, x=graph.x))
    assert abs(on_grid.num_patches - on_mesh.num_patches) <= 0.05 * on_grid.num_patches
    never = RefineByCriteria(velocity=(0, 1), top=0.0, thresholds=NEVER)
    assert never.cover(MeshGraph(pos=graph.pos, x=graph.x)).num_patches == 80


@pytest.mark.parametrize("criteria", ["reference", "paper"])
@pytest.mark.parametrize("level", [0.0, 0.3, -1e6])
def test_what_does_not_vary_refines_nothing(criteria: str, level: float) -> None:
    """A velocity that is the same everywhere (to rounding), with a still or a moving channel beside it."""
    refine = RefineByCriteria(velocity=(0, 1), criteria=criteria, thresholds=Thresholds().scaled(0.1))  # type: ignore[arg-type]
    values = torch.full((2, 3, 64, 64), level)
    values[1] *= 1 + 1e-8 * torch.rand(3, 64, 64)  # roundings are no gradient
    assert refine.patches(values).count.tolist() == [80, 80]
    values[:, 2] = 1 + torch.rand(2, 64, 64)
    assert refine.patches(values).count.tolist() == [80, 80]
    masked = refine.patches(values, mask=torch.ones(2, 64, 64, dtype=torch.bool)).count
    assert masked.tolist() == [80, 80]


def test_a_still_channel_does_not_hide_zeros_nor_make_any() -> None:
    values = flow(1, 64, 64)
    values[:, :, 20:30, 40:50] = 0
    refine = RefineByCriteria(velocity=(1, 2), criteria="reference", thresholds=NEVER, top=0.0)
    alone = refine.patches(values)
    assert alone.count > 80
    for level in (0.0, 0.7):
        more = torch.cat([values, torch.full((1, 1, 64, 64), level)], 1)
        assert torch.equal(refine.patches(more).mask, alone.mask)


@pytest.mark.parametrize("criteria", ["reference", "paper"])
def test_a_quiet_level_has_no_largest_share(criteria: str) -> None:
    """A front through few regions: ties at zero must not refine all others."""
    values = torch.ones(1, 2, 64, 64)
    values[0, 0, 1:3, 1:3] = 2.0
    refine = RefineByCriteria(velocity=(0, 1), criteria=criteria, thresholds=NEVER, top=0.5)  # type: ignore[arg-type]
    assert refine.patches(values).count == 80 + 2 * 4  # the region of 8 x 8 that holds it and the one of 4 x 4


def test_a_mesh_with_a_still_velocity_gets_the_coarsest_regions() -> None:
    pos = torch.rand(3000, 2, generator=torch.Generator().manual_seed(0))
    x = torch.full((3000, 2), 0.3)
    refine = RefineByCriteria(velocity=(0, 1), thresholds=Thresholds().scaled(0.1))
    still = refine.cover(MeshGraph(pos=pos, x=x))
    never = RefineByCriteria(velocity=(0, 1), top=0.0, thresholds=NEVER).cover(
        MeshGraph(pos=pos, x=torch.randn(3000, 2))
    )
    assert torch.equal(still.index, never.index)
    rough = refine.cover(MeshGraph(pos=pos, x=x * (1 + 1e-8 * torch.rand(3000, 2))))
    assert torch.equal(rough.index, never.index)
