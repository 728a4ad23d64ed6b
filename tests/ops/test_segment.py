"""Segment reductions against loops, on every implementation that runs here."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from meshops import ops
from meshops.errors import InputError
from meshops.ops.kernels import segment_numba
from meshops.ops.segment import _segment_extreme, _segment_spread

LOOPS: dict[str, Callable[[Tensor], Tensor]] = {
    "sum": lambda rows: rows.sum(0),
    "mean": lambda rows: rows.mean(0) if len(rows) else torch.zeros(rows.shape[1:], dtype=rows.dtype),
    "max": lambda rows: rows.amax(0) if len(rows) else torch.zeros(rows.shape[1:], dtype=rows.dtype),
    "min": lambda rows: rows.amin(0) if len(rows) else torch.zeros(rows.shape[1:], dtype=rows.dtype),
    "logsumexp": lambda rows: rows.logsumexp(0),
}
SEGMENT = {name: getattr(ops, f"segment_{name}") for name in LOOPS}
SCATTER = {name: getattr(ops, f"scatter_{name}") for name in LOOPS}


@pytest.fixture(params=["auto", "reference"])
def kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the test with the fast implementations and with the definitions."""
    monkeypatch.setenv("MESHOPS_KERNELS", request.param)
    return str(request.param)


def pointers(sizes: list[int]) -> Tensor:
    return torch.tensor([0, *sizes]).cumsum(0)


def loop(name: str, values: Tensor, ptr: Tensor, perm: Tensor | None = None) -> Tensor:
    rows = values if perm is None else values[perm]
    out = [LOOPS[name](part) for part in rows.split(ptr.diff().tolist())]
    return torch.stack(out) if out else values.new_zeros(0, *values.shape[1:])


SIZES = [[3, 0, 5, 1], [0, 4, 0], [7], [0], [0, 0, 2, 0, 0, 30, 1, 0]]


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("name", LOOPS)
def test_equals_loop(name: str, sizes: list[int], shape: tuple[int, ...]) -> None:
    ptr = pointers(sizes)
    n = int(ptr[-1])
    values, perm = torch.randn(n, *shape), torch.randperm(n)
    assert_close(SEGMENT[name](values, ptr), loop(name, values, ptr))
    assert_close(SEGMENT[name](values, ptr, perm), loop(name, values, ptr, perm))


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("name", LOOPS)
def test_scatter_equals_loop_over_indices(name: str) -> None:
    values, index = torch.randn(40, 3), torch.randint(0, 6, (40,))
    index[index == 2] = 5  # segments 2 and 6 stay empty
    expected = torch.stack([loop(name, values[index == i], pointers([int((index == i).sum())]))[0] for i in range(7)])
    assert_close(SCATTER[name](values, index, 7), expected)


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("name", LOOPS)
def test_no_segments_and_no_rows(name: str) -> None:
    assert SEGMENT[name](torch.zeros(0, 2), torch.zeros(1, dtype=torch.long)).shape == (0, 2)
    empty = -torch.inf if name == "logsumexp" else 0.0
    assert_close(SCATTER[name](torch.zeros(0, 2), torch.zeros(0, dtype=torch.long), 3), torch.full((3, 2), empty))


@pytest.mark.usefixtures("kernels")
def test_softmax_and_spread_keep_rows_in_place() -> None:
    ptr, values, perm = pointers([3, 0, 4]), torch.randn(7, 2), torch.randperm(7)
    expected = torch.empty_like(values)
    for start, end in ((0, 3), (3, 7)):
        expected[perm[start:end]] = values[perm[start:end]].softmax(0)
    assert_close(ops.segment_softmax(values, ptr, perm), expected)
    index = torch.empty(7, dtype=torch.long)
    index[perm] = torch.tensor([0, 0, 0, 2, 2, 2, 2])
    assert_close(ops.scatter_softmax(values, index, 3), expected)
    rows = torch.randn(3, 2)
    assert torch.equal(ops.segment_spread(rows, ptr, perm), rows[index])
    assert torch.equal(ops.segment_spread(rows, ptr), rows[[0, 0, 0, 2, 2, 2, 2]])


def test_large_values_do_not_overflow() -> None:
    values = torch.tensor([1000.0, 1000.0, -torch.inf, -torch.inf])
    ptr = pointers([2, 1, 1])
    assert_close(ops.segment_softmax(values[:2], pointers([2])), torch.tensor([0.5, 0.5]))
    expected = torch.tensor([1000.0 + math.log(2), -torch.inf, -torch.inf])
    assert_close(ops.segment_logsumexp(values, ptr), expected)


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("name", [*LOOPS, "softmax"])
def test_first_and_second_derivatives(name: str) -> None:
    values = torch.randn(8, 2, dtype=torch.float64, requires_grad=True)
    ptr, perm = pointers([3, 4, 1]), torch.randperm(8)
    function = getattr(ops, f"segment_{name}")
    assert torch.autograd.gradcheck(lambda v: function(v, ptr, perm), (values,))
    assert torch.autograd.gradgradcheck(lambda v: function(v, ptr, perm), (values,))
    index, scatter = torch.tensor([0, 0, 2, 2, 2, 1, 0, 2]), getattr(ops, f"scatter_{name}")
    assert torch.autograd.gradcheck(lambda v: scatter(v[:, 0], index, 3), (values,))


@pytest.mark.parametrize("name", ["sum", "max", "mean"])
def test_derivative_of_empty_segments(name: str) -> None:
    values = torch.randn(5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: SEGMENT[name](v, pointers([0, 2, 0, 3, 0])), (values,))


def test_derivative_of_spread() -> None:
    values = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    ptr, perm = pointers([3, 0, 2]), torch.randperm(5)
    assert torch.autograd.gradcheck(lambda v: ops.segment_spread(v, ptr, perm), (values,))
    assert torch.autograd.gradgradcheck(lambda v: ops.segment_spread(v, ptr, perm), (values,))


@pytest.mark.usefixtures("kernels")
def test_of_equal_values_the_first_takes_the_gradient() -> None:
    values = torch.tensor([1.0, 5.0, 5.0, 2.0, 2.0], requires_grad=True)
    ops.segment_max(values, pointers([3, 2])).sum().backward()
    assert values.grad is not None
    assert values.grad.tolist() == [0, 1, 0, 1, 0]


@pytest.mark.usefixtures("kernels")
def test_nan_is_the_extreme_of_its_segment() -> None:
    values = torch.tensor([1.0, torch.nan, 3.0, 4.0])
    for reduce in (ops.segment_max, ops.segment_min):
        out = reduce(values, pointers([3, 1]))
        assert bool(out[0].isnan()) and out[1] == 4


@pytest.mark.usefixtures("kernels")
def test_whole_numbers() -> None:
    values, ptr = torch.tensor([3, 2**60 + 1, -5, 2]), pointers([2, 0, 2])
    assert ops.segment_max(values, ptr).tolist() == [2**60 + 1, 0, 2]
    assert ops.segment_min(values, ptr).tolist() == [3, 0, -5]
    assert ops.segment_spread(torch.tensor([7, 8, 9]), ptr).tolist() == [7, 7, 9, 9]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_float32(dtype: torch.dtype) -> None:
    values = torch.full((4000, 1), 0.25, dtype=dtype)  # adding one by one in 16 bits would stop growing
    assert ops.segment_sum(values, pointers([4000])).item() == 1000


def test_rows_of_any_layout() -> None:
    wide = torch.randn(6, 10)
    ptr = pointers([2, 4])
    assert_close(ops.segment_sum(wide[:, ::2], ptr), loop("sum", wide[:, ::2], ptr))
    values = torch.randn(6, 3, requires_grad=True)
    ops.segment_sum(values, ptr).sum().backward()  # the gradient that arrives has stride 0
    assert_close(values.grad, torch.ones(6, 3))


def test_long_segments_are_shared_and_keep_their_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment_numba, "SERIAL_BELOW", 0)
    ptr = pointers([100, 3 * segment_numba.PIECE + 5, 0, 2 * segment_numba.PIECE])
    values = torch.randn(int(ptr[-1]), 2)
    outs, threads = [], torch.get_num_threads()
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            outs.append(
                [ops.segment_sum(values, ptr), ops.segment_max(values, ptr), ops.segment_spread(values[:4], ptr)]
            )
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(first, second) for first, second in zip(*outs, strict=True))
    assert_close(outs[0][0], loop("sum", values, ptr), rtol=1e-4, atol=1e-3)
    assert torch.equal(outs[0][1], loop("max", values, ptr))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 6), max_size=12), st.integers(0, 3), st.integers(0, 2**31))
def test_implementations_agree(sizes: list[int], channels: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    ptr = pointers(sizes)
    n = int(ptr[-1])
    values = torch.randint(-3, 4, (n, channels), generator=generator).float()  # sums of small integers are exact
    perm = torch.randperm(n, generator=generator)
    rows = torch.randn(len(sizes), channels, generator=generator)
    assert torch.equal(ops.segment_sum(values, ptr, perm), ops.segment_sum.reference(values, ptr, perm))
    assert torch.equal(_segment_spread(rows, ptr, perm, n), _segment_spread.reference(rows, ptr, perm, n))
    for largest in (True, False):
        ours, definition = (run(values, ptr, perm, largest) for run in (_segment_extreme, _segment_extreme.reference))
        assert torch.equal(ours[0], definition[0]) and torch.equal(ours[1], definition[1])
    index = torch.empty(n, dtype=torch.long)
    index[perm] = torch.repeat_interleave(ptr.diff())
    for ours, definition in zip(
        ops.sort_index(index, len(sizes)), ops.sort_index.reference(index, len(sizes)), strict=True
    ):
        assert torch.equal(ours, definition)


def test_equals_torch_scatter() -> None:
    torch_scatter = pytest.importorskip("torch_scatter", reason="an oracle that has to be compiled")
    ptr = pointers([5, 0, 17, 2])
    values = torch.randn(24, 4)
    for name in ("sum", "mean", "max", "min"):
        assert_close(SEGMENT[name](values, ptr), torch_scatter.segment_csr(values, ptr, reduce=name))


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize(
    ("ptr", "perm", "message"),
    [
        ([0, 3, 2, 4], None, r"ptr must not fall, got ptr\[1\] = 3 and ptr\[2\] = 2"),
        ([1, 4], None, r"start with 0 and end with the number of rows, 4; got ptr\[0\] = 1"),
        ([0, 5], None, r"number of rows, 4; got ptr\[0\] = 0 and ptr\[1\] = 5"),
        ([0, 4], [0, 1, 1, 3], r"row 2 is missing"),
        ([0, 4], [0, 1, 4, 3], r"perm\[2\] is 4; indices must lie in 0 .. 3"),
        ([0, 4], [0, -1, 2, 3], r"perm\[1\] is -1"),
        ([0, 4], [0, 1, 2], r"each of the 4 rows once, got shape \(3,\)"),
    ],
)
def test_refuses_what_would_be_read_out_of_bounds(ptr: list[int], perm: list[int] | None, message: str) -> None:
    order = None if perm is None else torch.tensor(perm)
    for reduce in (ops.segment_sum, ops.segment_max, ops.segment_softmax):
        with pytest.raises(InputError, match=message):
            reduce(torch.zeros(4, 2), torch.tensor(ptr), order)


@pytest.mark.usefixtures("kernels")
def test_refuses_wrong_types_and_indices() -> None:
    with pytest.raises(InputError, match=r"index\[2\] is 3; indices must lie in 0 .. 2"):
        ops.scatter_sum(torch.zeros(3), torch.tensor([0, 1, 3]), 3)
    with pytest.raises(InputError, match=r"index\[0\] is -1"):
        ops.scatter_max(torch.zeros(2), torch.tensor([-1, 0]), 3)
    with pytest.raises(InputError, match=r"one entry per row, got \(2,\) for 3 rows"):
        ops.scatter_mean(torch.zeros(3), torch.tensor([0, 1]), 3)
    with pytest.raises(InputError, match=r"index must be an int64 tensor, got torch.int32"):
        ops.scatter_sum(torch.zeros(2), torch.tensor([0, 1], dtype=torch.int32), 2)
    with pytest.raises(InputError, match=r"ptr must be an int64 tensor \[s \+ 1\], got \(2,\) of torch.float32"):
        ops.segment_sum(torch.zeros(2), torch.tensor([0.0, 2.0]))
    with pytest.raises(InputError, match=r"float tensor, got torch.int64; convert"):
        ops.segment_sum(torch.tensor([1, 2]), torch.tensor([0, 2]))
    with pytest.raises(InputError, match=r"one row per segment \(2\), got \(3,\)"):
        ops.segment_spread(torch.zeros(3), torch.tensor([0, 1, 2]))


def test_checks_can_be_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESHOPS_CHECKS", "off")
    assert ops.scatter_sum(torch.ones(3), torch.tensor([0, 1, 1]), 2).tolist() == [1, 2]
