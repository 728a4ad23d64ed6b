"""Space-filling curves against loops over bits, and the properties that define them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from meshops.errors import InputError
from meshops.ops.curves import (
    MAX_DEPTH,
    common_depth,
    curve_order,
    grid_positions,
    hilbert_decode,
    hilbert_encode,
    morton_decode,
    morton_encode,
    search_segments,
)


@st.composite
def cells_and_depth(draw: st.DrawFn) -> tuple[Tensor, int]:
    """Some cells of a grid in 1, 2 or 3 dimensions, those in the corners often among them."""
    dim = draw(st.integers(1, 3))
    depth = draw(st.integers(0, MAX_DEPTH[dim]))
    value = st.integers(0, 2**depth - 1) | st.sampled_from([0, 2**depth - 1])
    rows = draw(st.lists(st.lists(value, min_size=dim, max_size=dim), min_size=1, max_size=8))
    return torch.tensor(rows), depth


def slow_morton(cell: list[int]) -> int:
    code = 0
    for bit in range(61, -1, -1):
        for value in cell:
            code = 2 * code + (value >> bit & 1)
    return code


def slow_hilbert(cell: list[int], depth: int) -> int:
    """AxestoTranspose of the paper, one point at a time."""
    x, n = list(cell), len(cell)
    q = 1 << depth >> 1
    while q > 1:
        p = q - 1
        for i in range(n):
            if x[i] & q:
                x[0] ^= p
            else:
                t = (x[0] ^ x[i]) & p
                x[0] ^= t
                x[i] ^= t
        q >>= 1
    for i in range(1, n):
        x[i] ^= x[i - 1]
    t, q = 0, 1 << depth >> 1
    while q > 1:
        if x[n - 1] & q:
            t ^= q - 1
        q >>= 1
    return slow_morton([value ^ t for value in x])


def whole_curve(dim: int, depth: int) -> Tensor:
    return hilbert_decode(torch.arange(2 ** (dim * depth)), dim, depth)


@settings(deadline=None)
@given(cells_and_depth())
def test_morton_is_a_loop_over_bits_and_back(given_cells: tuple[Tensor, int]) -> None:
    cells, _ = given_cells
    code = morton_encode(cells)
    assert code.tolist() == [slow_morton(cell) for cell in cells.tolist()]
    assert torch.equal(morton_decode(code, cells.shape[1]), cells)


@settings(deadline=None)
@given(cells_and_depth())
def test_hilbert_is_the_loop_of_the_paper_and_back(given_cells: tuple[Tensor, int]) -> None:
    cells, depth = given_cells
    code = hilbert_encode(cells, depth)
    if cells.shape[1] == 1:
        assert torch.equal(code, cells[:, 0])
    else:
        assert code.tolist() == [slow_hilbert(cell, depth) for cell in cells.tolist()]
    assert torch.equal(hilbert_decode(code, cells.shape[1], depth), cells)


def test_first_axis_is_the_most_significant() -> None:
    assert morton_encode(torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1]])).tolist() == [4, 2, 1]


def test_longest_codes_have_63_bits() -> None:
    assert morton_encode(torch.full((1, 3), 2**21 - 1)).tolist() == [2**63 - 1]
    assert morton_encode(torch.full((1, 2), 2**31 - 1)).tolist() == [2**62 - 1]
    assert hilbert_decode(torch.tensor([2**63 - 1]), 3, 21).tolist() == [[2**21 - 1, 0, 0]]


@pytest.mark.parametrize(("dim", "depth"), [(2, 2), (2, 3), (2, 4), (2, 5), (3, 2), (3, 3), (3, 4), (3, 5)])
def test_hilbert_visits_every_cell_once_and_steps_across_faces(dim: int, depth: int) -> None:
    cells = whole_curve(dim, depth)
    assert torch.equal(morton_encode(cells).sort().values, torch.arange(2 ** (dim * depth)))
    assert bool((cells.diff(dim=0).abs().sum(1) == 1).all())
    assert cells[0].tolist() == [0] * dim
    assert torch.equal(hilbert_encode(cells, depth), torch.arange(2 ** (dim * depth)))


@pytest.mark.parametrize("dim", [2, 3])
def test_hilbert_fills_one_cell_of_every_depth_after_the_other(dim: int) -> None:
    cells = whole_curve(dim, 4)
    for up in (1, 2, 3):
        groups = (cells >> up).view(-1, 2 ** (dim * up), dim)
        assert bool((groups == groups[:, :1]).all())


def test_no_points() -> None:
    for dim in (1, 2, 3):
        cells = torch.zeros(0, dim, dtype=torch.long)
        code = torch.zeros(0, dtype=torch.long)
        assert morton_encode(cells).shape == hilbert_encode(cells, 5).shape == (0,)
        assert morton_decode(code, dim).shape == hilbert_decode(code, dim, 5).shape == (0, dim)


@settings(deadline=None)
@given(st.data())
def test_grid_of_exact_positions(data: st.DataObject) -> None:
    """Where nothing is rounded: positions are cells plus a fraction, times a power of two, plus an offset."""
    dim = data.draw(st.integers(1, 3))
    depth = data.draw(st.integers(0, 10))
    rows = data.draw(st.lists(st.lists(st.integers(0, 2**12), min_size=dim, max_size=dim), max_size=20))
    units = torch.tensor([[0] * dim, [2**12] * dim, *rows])
    shift, scale = data.draw(st.sampled_from([0.0, -8.0, 32.0])), data.draw(st.sampled_from([2.0**-20, 1.0, 4.0]))
    grid = grid_positions((units / 2**12 + shift) * scale, torch.tensor([0, len(units)]), depth)
    expected = (units * 2**depth // 2**12).clamp(max=2**depth - 1)
    assert torch.equal(grid.cells, expected)
    assert grid.origin.tolist() == [[shift * scale] * dim] and grid.side.tolist() == [scale]


def test_each_graph_has_its_own_cube() -> None:
    pos = torch.tensor([[0.0, 0.0], [4.0, 1.0], [7.0, 7.0], [7.0, 7.0], [-3.0, 5.0], [-2.0, 13.0]])
    grid = grid_positions(pos, torch.tensor([0, 2, 2, 4, 5, 6]), 3)
    assert grid.cells.tolist() == [[0, 0], [7, 2], [0, 0], [0, 0], [0, 0], [0, 0]]
    assert grid.side.tolist() == [4.0, 0.0, 0.0, 0.0, 0.0]
    assert grid.origin.tolist() == [[0.0, 0.0], [0.0, 0.0], [7.0, 7.0], [-3.0, 5.0], [-2.0, 13.0]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_positions_of_any_precision_give_the_cells_of_their_float64_values(dtype: torch.dtype) -> None:
    pos, ptr = torch.randn(200, 3).to(dtype), torch.tensor([0, 120, 200])
    narrow, wide = grid_positions(pos, ptr, 21), grid_positions(pos.double(), ptr, 21)
    assert all(torch.equal(a, b) for a, b in zip(narrow, wide, strict=True))


def test_largest_and_smallest_numbers() -> None:
    largest = torch.finfo(torch.float64).max
    pos = torch.tensor([[-largest], [0.0], [largest]], dtype=torch.float64)
    assert grid_positions(pos, torch.tensor([0, 3]), 2).cells.tolist() == [[0], [3], [3]]
    tiny = torch.tensor([[0.0], [1e-310], [3e-310], [4e-310]], dtype=torch.float64)
    assert grid_positions(tiny, torch.tensor([0, 4]), 2).cells.tolist() == [[0], [1], [3], [3]]


@settings(deadline=None)
@given(cells_and_depth())
def test_common_depth_is_a_loop_over_levels(given_cells: tuple[Tensor, int]) -> None:
    cells, depth = given_cells
    dim = cells.shape[1]
    other = cells.roll(1, 0).clone()
    other[0] = cells[0] ^ torch.tensor([0] * (dim - 1) + [int(depth > 0)])  # neighbours in the last bit
    found = common_depth(morton_encode(cells), morton_encode(other), dim, depth)
    for a, b, shared in zip(cells, other, found.tolist(), strict=True):
        same = [level for level in range(depth + 1) if torch.equal(a >> depth - level, b >> depth - level)]
        assert shared == max(same)


def test_common_depth_of_codes_that_float64_would_round_up() -> None:
    a = torch.tensor([2**62 - 1, 2**54 - 1, 2**63 - 1])
    assert common_depth(a, torch.zeros_like(a), 3, 21).tolist() == [0, 20 - 53 // 3, 0]


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 6), max_size=9), min_size=1, max_size=4), st.booleans())
def test_search_segments_is_bisect(segments: list[list[int]], right: bool) -> None:
    ordered = [sorted(segment) for segment in segments]
    ptr = torch.tensor([0, *map(len, ordered)]).cumsum(0)
    asked = list(product(range(len(ordered)), range(-1, 8)))
    segment, query = torch.tensor(asked).unbind(1)
    values = torch.tensor([value for part in ordered for value in part], dtype=torch.long)
    found = search_segments(values, ptr, query, segment, right=right)
    bisect = bisect_right if right else bisect_left
    assert found.tolist() == [int(ptr[s]) + bisect(ordered[s], q) for s, q in asked]


def test_order_is_by_graph_then_code_then_index() -> None:
    code, ptr = torch.randint(0, 20, (60,)), torch.tensor([0, 20, 20, 45, 60])
    graph = torch.repeat_interleave(ptr.diff())
    expected = sorted(range(60), key=lambda i: (int(graph[i]), int(code[i]), i))
    assert curve_order(code, ptr).tolist() == expected
    assert curve_order(code, torch.tensor([0, 60])).tolist() == sorted(range(60), key=lambda i: (int(code[i]), i))


def test_bad_input_is_named() -> None:
    with pytest.raises(InputError, match=r"cell 1 is \[4, -1\]; coordinates must lie in 0 .. 2147483647"):
        morton_encode(torch.tensor([[0, 0], [4, -1]]))
    with pytest.raises(InputError, match=r"cell 2 is \[0, 8\]; coordinates must lie in 0 .. 7"):
        hilbert_encode(torch.tensor([[0, 0], [7, 7], [0, 8]]), 3)
    with pytest.raises(InputError, match=r"code 1 is 64; codes must lie in 0 .. 63"):
        hilbert_decode(torch.tensor([0, 64]), 2, 3)
    with pytest.raises(InputError, match="code 0 is -1"):
        morton_decode(torch.tensor([-1]), 3)
    with pytest.raises(InputError, match="1, 2 or 3 coordinates, got 4"):
        morton_encode(torch.zeros(2, 4, dtype=torch.long))
    with pytest.raises(InputError, match="1, 2 or 3 coordinates, got 4"):
        morton_decode(torch.zeros(2, dtype=torch.long), 4)
    with pytest.raises(InputError, match="depth must be 0 to 21 for 3 coordinates, got 22"):
        hilbert_encode(torch.zeros(2, 3, dtype=torch.long), 22)
    with pytest.raises(InputError, match="depth must be 0 to 31 for 2 coordinates, got -1"):
        grid_positions(torch.rand(3, 2), torch.tensor([0, 3]), -1)
    with pytest.raises(InputError, match="position 1 is"):
        grid_positions(torch.tensor([[0.0, 0.0], [torch.inf, 0.0]]), torch.tensor([0, 2]), 3)
    with pytest.raises(InputError, match=r"ptr\[1\] = 2"):
        grid_positions(torch.rand(3, 2), torch.tensor([0, 2]), 3)


def test_wrong_types_are_named() -> None:
    with pytest.raises((InputError, TypeError), match=r"cells must be an int64 tensor \[n, d\]|Type-check"):
        morton_encode(torch.zeros(3, 2))
    with pytest.raises((InputError, TypeError), match=r"codes must be an int64 tensor \[n\]|Type-check"):
        morton_decode(torch.zeros(3), 2)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_cuda_gives_the_same_bits(dim: int) -> None:
    pos, ptr = torch.randn(100_000, dim) * 1e3 + 7.0, torch.tensor([0, 30_000, 100_000])
    depth = MAX_DEPTH[dim]
    here, there = grid_positions(pos, ptr, depth), grid_positions(pos.cuda(), ptr.cuda(), depth)
    assert all(torch.equal(a, b.cpu()) for a, b in zip(here, there, strict=True))
    for one, other in (
        (morton_encode(here.cells), morton_encode(there.cells)),
        (hilbert_encode(here.cells, depth), hilbert_encode(there.cells, depth)),
    ):
        assert torch.equal(one, other.cpu())
        assert torch.equal(curve_order(one, ptr), curve_order(other, ptr.cuda()).cpu())
        assert torch.equal(
            common_depth(one[1:], one[:-1], dim, depth), common_depth(other[1:], other[:-1], dim, depth).cpu()
        )
