"""Scores against loops over cells, and the numbers and errors of the specification."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from meshops.errors import InputError
from meshops.ops.scores import block_sum, check_fields, flow_maps, graph_gradient, sobel_score


def slow_sobel(fields: torch.Tensor, spacing: list[float], periodic: list[bool]) -> torch.Tensor:
    """One cell after the other: central difference along an axis, (1, 2, 1) / 4 along the others."""
    b, c, *grid = fields.shape
    out = torch.zeros(b, *grid)
    scale = 1 / fields.flatten(2).std(2, correction=0)
    for sample, cell in itertools.product(range(b), itertools.product(*map(range, grid))):
        total = 0.0
        for channel in range(c):
            square = 0.0
            for axis in range(len(grid)):
                value = 0.0
                for offset in itertools.product((-1, 0, 1), repeat=len(grid)):
                    weight = 0.5 * offset[axis] / spacing[axis] * min(spacing)
                    place = []
                    for a, (i, o, n) in enumerate(zip(cell, offset, grid, strict=True)):
                        weight *= 1 if a == axis else (0.5 if o == 0 else 0.25)
                        place.append((i + o) % n if periodic[a] else min(max(i + o, 0), n - 1))
                    value += weight * float(fields[(sample, channel, *place)])
                square += value**2
            total += math.sqrt(square) * float(scale[sample, channel])
        out[(sample, *cell)] = total / c
    return out


@pytest.mark.parametrize(
    ("grid", "periodic"), [((9,), [True]), ((5, 6), [False, True]), ((3, 4, 3), [False, True, False])]
)
def test_score_equals_the_definition(grid: tuple[int, ...], periodic: list[bool]) -> None:
    fields = torch.randn(2, 3, *grid)
    spacing = [0.5, 1.0, 2.0][: len(grid)]
    ours = sobel_score(fields, spacing=spacing, periodic=periodic)
    assert_close(ours, slow_sobel(fields, spacing, periodic), rtol=1e-4, atol=1e-5)


def test_blocks_are_sums_and_a_constant_channel_scores_nothing() -> None:
    fields = torch.randn(2, 3, 10, 7)
    whole = sobel_score(fields)
    blocks = sobel_score(fields, block=4)
    assert blocks.shape == (2, 3, 2)
    assert_close(blocks[:, 0, 0], whole[:, :4, :4].sum((1, 2)))
    assert_close(blocks[:, 2, 1], whole[:, 8:, 4:].sum((1, 2)))
    constant = torch.cat([fields, torch.full_like(fields[:, :1], 1 / 3)], 1)
    assert_close(sobel_score(constant), whole * 3 / 4)


def test_a_uniform_slope_has_the_same_score_everywhere_inside() -> None:
    ramp = torch.arange(8.0).view(1, 1, 8, 1).expand(1, 1, 8, 5)
    score = sobel_score(ramp)[0, 1:-1]
    assert_close(score, torch.full_like(score, 1 / float(ramp.std(correction=0))))


@given(st.floats(0.01, 100), st.floats(-50, 50), st.integers(0, 10**6))
@settings(deadline=None, max_examples=20)
def test_scaling_and_shifting_a_channel_changes_nothing(factor: float, shift: float, seed: int) -> None:
    fields = torch.randn(1, 2, 6, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    assert_close(sobel_score(fields * factor + shift), sobel_score(fields), rtol=1e-3, atol=1e-3)


def test_masked_cells_have_no_score_and_no_part_in_the_normalisation() -> None:
    fields = torch.randn(1, 1, 8, 8)
    mask = torch.ones(1, 8, 8, dtype=torch.bool)
    mask[:, :2] = False
    score = sobel_score(fields, mask=mask)
    assert score[:, :2].eq(0).all()
    scaled = sobel_score(torch.where(mask.unsqueeze(1), fields, 0.0), mask=mask)
    assert_close(score[:, 3:], scaled[:, 3:])


def test_half_precision_is_scored_in_single() -> None:
    fields = torch.randn(1, 2, 8, 8).half()
    assert_close(sobel_score(fields), sobel_score(fields.float()))


def test_bad_fields_are_named() -> None:
    fields = torch.zeros(2, 3, 4, 4)
    fields[1, 2, 0, 0] = torch.nan
    with pytest.raises(InputError, match=r"sample 1, channel 2 \('p'\) holds NaN"):
        check_fields(fields, ("u", "v", "p"))
    with pytest.raises(InputError, match="sample 1, channel 2"):
        sobel_score(fields)
    with pytest.raises(InputError, match="one to three grid axes"):
        sobel_score(torch.zeros(2, 3))
    with pytest.raises(InputError, match="spacings positive"):
        sobel_score(torch.zeros(1, 1, 4, 4), spacing=(1.0, 0.0))
    with pytest.raises(InputError, match="mask must be"):
        sobel_score(torch.zeros(1, 1, 4, 4), mask=torch.ones(1, 4, 5, dtype=torch.bool))


def test_operator_passes_the_checks_of_pytorch() -> None:
    from meshops.ops.scores import _sobel_blocks, channel_scale

    fields = torch.randn(2, 2, 5, 4)
    arguments = (fields, channel_scale(fields), [1.0, 1.0], [False, True], 2, None)
    torch.library.opcheck(_sobel_blocks.operator, arguments)


def test_block_sums_never_fall_below_a_part() -> None:
    values = torch.rand(1, 13, 9) * 10.0 ** torch.randint(-20, 20, (1, 13, 9))
    sums = block_sum(values, 2)
    for i, j in itertools.product(range(13), range(9)):
        assert sums[0, i // 2, j // 2] >= values[0, i, j]


def test_flow_maps_of_a_shear_and_of_a_rotation() -> None:
    x, y = torch.meshgrid(torch.arange(6.0), torch.arange(5.0), indexing="ij")
    maps = flow_maps(torch.stack([0.5 * y, torch.zeros_like(y)])[None], spacing=(1.0, 0.5))  # du/dy = 1
    assert_close(maps.gradient, torch.ones(1, 6, 5))
    assert_close(maps.vorticity, -torch.ones(1, 1, 6, 5))
    assert_close(maps.shear, torch.ones(1, 6, 5))
    maps = flow_maps(torch.stack([-y, x])[None])
    assert_close(maps.vorticity, torch.full((1, 1, 6, 5), 2.0))
    assert_close(maps.shear, torch.zeros(1, 6, 5))
    wave = torch.sin(torch.arange(16) * 2 * math.pi / 16).view(1, 1, 16, 1).expand(1, 1, 16, 4)
    maps = flow_maps(torch.cat([torch.zeros_like(wave), wave], 1), periodic=(True, False))
    expected = torch.cos(torch.arange(16) * 2 * math.pi / 16) * math.sin(2 * math.pi / 16)
    assert_close(maps.vorticity[0, 0, :, 0], expected)


def test_flow_maps_in_three_dimensions() -> None:
    x, y, z = torch.meshgrid(*[torch.arange(4.0)] * 3, indexing="ij")
    maps = flow_maps(torch.stack([2 * z, 3 * x, 5 * y])[None])
    assert_close(maps.vorticity[0, :, 1, 1, 1], torch.tensor([5.0, 2.0, 3.0]))
    assert_close(maps.gradient[0, 1, 1, 1], torch.tensor(38.0).sqrt())
    with pytest.raises(InputError, match="one component per axis"):
        flow_maps(torch.zeros(1, 3, 4, 4))


def test_graph_gradient_is_exact_for_linear_fields_and_smallest_on_a_plane() -> None:
    generator = torch.Generator().manual_seed(0)
    pos = torch.rand(60, 3, generator=generator)
    edges = torch.stack([torch.randint(0, 60, (600,), generator=generator) for _ in range(2)])
    edges = edges[:, edges[0] != edges[1]]
    slope = torch.tensor([[1.0, -2.0, 0.5], [0.0, 3.0, 1.0]])
    assert_close(graph_gradient(pos @ slope.T, pos, edges), slope.expand(60, 2, 3), rtol=1e-4, atol=1e-4)
    flat = pos * torch.tensor([1.0, 1.0, 0.0])
    found = graph_gradient(flat @ slope.T, flat, edges)
    assert_close(found, (slope * torch.tensor([1.0, 1.0, 0.0])).expand(60, 2, 3), rtol=1e-4, atol=1e-4)
