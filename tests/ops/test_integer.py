"""Integer linear layers: every version equals the fake-quantised numbers, for all bits, shapes and buckets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Any
from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from meshops.errors import InputError
from meshops.ops import integer_backend
from meshops.ops.integer import integer_linear
from meshops.ops.integer_definition import IntegerWeight, integer_linear_operation
from meshops.ops.kernels import integer_mm, integer_numba
from meshops.ops.quantize import (
    fake_quantize_rows,
    fake_quantize_tensor,
    fake_quantize_weight,
    quantize_weight,
    weight_step,
)
from meshops.ops.rows import ACTIVATIONS, Rows

needs_avx2 = pytest.mark.skipif(not integer_backend._cpu_features()[1], reason="needs a CPU with AVX2")
FASTER = ["int_mm", pytest.param("avx2", marks=needs_avx2)]
"""All that can run here, whichever would be chosen; the Triton version is tested in ``kernels/test_triton.py``."""
VERSIONS = ["reference", *FASTER]
SIZES = (0, 1, 2, 3, 15, 16, 17)
version: Callable[[str], Callable[..., Tensor]] = integer_backend._version


def made(bits: int, weight: Tensor, clip: float = 1.0, met: int | None = None) -> IntegerWeight:
    values, step = quantize_weight(weight, met or bits, weight_step(weight, met or bits))
    return IntegerWeight(bits, values, step, 2 ** ((met or bits) - 1) - 1, clip)


def strided(values: Tensor) -> Tensor:
    """The same numbers with gaps between them in memory, along every direction."""
    wide = values.new_zeros([3 * size + 1 for size in values.shape])
    wide[tuple(slice(1, 1 + 3 * size, 3) for size in values.shape)] = values
    return wide[tuple(slice(1, 1 + 3 * size, 3) for size in values.shape)]


def transposed(values: Tensor) -> Tensor:
    """The same numbers, columns after one another in memory."""
    return values.T.contiguous().T


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda values: values, "strided": strided, "transposed": transposed,
    "expanded": lambda values: values[:1].expand_as(values),
}  # fmt: skip


def assert_same(name: str, *arguments: Any) -> None:
    """A version gives the numbers of the definition, and the same bits at each call, without touching its input."""
    want = integer_linear_operation.reference(*arguments)
    inputs = [value.clone() for value in arguments if isinstance(value, Tensor)]
    got = [version(name)(*arguments) for _ in range(3)]
    most = float(want.abs().max()) if want.numel() else 0.0
    assert got[0].shape == want.shape and got[0].dtype == want.dtype
    assert torch.allclose(got[0], want, rtol=1e-5, atol=1e-5 * max(most, 1e-3))
    assert torch.equal(got[0], got[1]) and torch.equal(got[0], got[2])
    assert all(map(torch.equal, inputs, [value for value in arguments if isinstance(value, Tensor)]))


@pytest.mark.parametrize("name", VERSIONS)
@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 7, 8])
@pytest.mark.parametrize("shape", [(1, 1, 1), (33, 7, 5), (70, 129, 17), (64, 128, 128), (5, 700, 33)])
def test_equals_the_fake_quantised_layer(name: str, bits: int, shape: tuple[int, int, int]) -> None:
    r, k, n = shape
    torch.manual_seed(bits)
    x, weight, bias = torch.nn.functional.silu(torch.randn(r, k)), torch.randn(n, k), torch.randn(n)
    x[0] = 0.3  # a constant row
    clip = torch.tensor(0.9)
    want = fake_quantize_rows(x, bits, clip) @ fake_quantize_weight(weight, bits, weight_step(weight, bits)).T + bias
    got = version(name)(x, torch.arange(r), [r], [made(bits, weight, 0.9)], bias, [], "none")
    assert float((got - want).abs().max()) <= 1e-5 * float(want.abs().max())


@pytest.mark.parametrize("name", VERSIONS)
@given(
    seed=st.integers(0, 10**6), r=st.integers(0, 80), k=st.integers(1, 90) | st.integers(1, 4),
    n=st.integers(1, 40) | st.integers(1, 4), bits=st.lists(st.integers(2, 8), min_size=1, max_size=3),
    activation=st.sampled_from(sorted(ACTIVATIONS)), tables=st.integers(0, 2), layout=st.sampled_from(sorted(LAYOUTS)),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_buckets_tables_and_activations(
    name: str, seed: int, r: int, k: int, n: int, bits: list[int], activation: str, tables: int, layout: str
) -> None:
    torch.manual_seed(seed)
    x, weight = LAYOUTS[layout](torch.randn(r, k)), LAYOUTS[layout](torch.randn(n, k))
    ends = sorted([*torch.randint(0, r + 1, (len(bits) - 1,)).tolist(), r])
    added = [Rows(torch.randn(4, n), torch.arange(r) % 4), Rows(torch.randn(r, n))][:tables]
    weights = [made(width, weight) for width in bits]
    assert_same(name, x, torch.randperm(r), ends, weights, torch.randn(n), added, activation)


@pytest.mark.parametrize("name", VERSIONS)
@pytest.mark.parametrize(("bits", "met"), [(2, 8), (4, 8), (6, 8), (8, 2), (6, 6), (7, 7), (8, 8)])
@pytest.mark.parametrize(("r", "n"), [(6, 16), (1, 1), (1, 33), (40, 1)])
def test_sixteen_bit_sums_cannot_overflow(name: str, bits: int, met: int, r: int, n: int) -> None:
    """All rows and weights at their largest: the worst case of every instruction."""
    k = 1030
    for value in (2 ** (met - 1) - 1, 1 - 2 ** (met - 1)):
        weight = IntegerWeight(bits, torch.full((n, k), value, dtype=torch.int8), torch.ones(n), abs(value))
        x = torch.ones(r, k)
        x[:, 0] = 0.0
        got = version(name)(x, torch.arange(r), [r], [weight], None, [], "none")
        assert torch.allclose(got, torch.tensor(float((k - 1) * value)))


@pytest.mark.parametrize("name", FASTER)
def test_a_wrong_promise_about_the_largest_weight_does_no_harm(name: str) -> None:
    weight = IntegerWeight(2, torch.full((5, 400), -128, dtype=torch.int8), torch.ones(5), most=7)
    assert_same(name, torch.ones(9, 400), torch.arange(9), [9], [weight], None, [], "none")


@pytest.mark.parametrize("name", FASTER)
@pytest.mark.parametrize("k", SIZES)
def test_awkward_sizes(name: str, k: int) -> None:
    """One, two, three, odd, beside a power of two, and nothing at all, along rows, channels and outputs."""
    for r, n in product((*SIZES, 33), SIZES):
        x, values, step = torch.randn(r, k), torch.randint(-127, 128, (n, k)).to(torch.int8), torch.rand(n) + 0.1
        for bits in (2, 6, 7, 8):
            weight = IntegerWeight(bits, values, step)
            assert_same(name, x, torch.randperm(r), [r], [weight], torch.randn(n), [], "none")


@pytest.mark.parametrize("name", FASTER)
@pytest.mark.parametrize("layout", list(LAYOUTS))
@pytest.mark.parametrize(("r", "k", "n"), [(1, 1, 2), (7, 1, 19), (40, 9, 1), (40, 2, 3), (33, 17, 5), (70, 129, 33)])
def test_any_layout_of_the_inputs(name: str, layout: str, r: int, k: int, n: int) -> None:
    change = LAYOUTS[layout]
    along = strided if layout == "strided" else lambda values: values
    values = change(torch.randint(-127, 128, (n, k)).to(torch.int8))
    weights = [IntegerWeight(bits, values, along(torch.rand(n) + 0.1)) for bits in (4, 8)]
    added = [Rows(change(torch.randn(4, n)), along(torch.arange(r) % 4)), Rows(change(torch.randn(r, n)))]
    order, bias = along(torch.randperm(r)), along(torch.randn(n))
    assert_same(name, change(torch.randn(r, k)), order, [r // 2, r], weights, bias, added, "silu")


@pytest.mark.parametrize("name", FASTER)
def test_rows_shared_between_threads(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also on a machine with one core."""
    monkeypatch.setattr(integer_numba, "SERIAL_BELOW", 0)
    weights = [made(4, torch.randn(9, 21)), made(8, torch.randn(9, 21))]
    with mock.patch("torch.get_num_threads", return_value=3):
        for r in (1, 2, 33, 200):
            assert_same(name, torch.randn(r, 21), torch.randperm(r), [r // 3, r], weights, None, [], "relu")


def test_products_in_chunks_and_on_a_cpu_that_saturates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(integer_mm, "CHUNK", 16)
    values = torch.randint(-127, 128, (9, 21)).to(torch.int8)
    weights = [IntegerWeight(4, values, torch.rand(9) + 0.1), IntegerWeight(8, values, torch.rand(9) + 0.1)]
    for saturates in (False, True) if not integer_mm.saturates() else (True,):
        monkeypatch.setattr(integer_mm, "saturates", lambda answer=saturates: answer)
        assert_same("int_mm", torch.randn(50, 21), torch.randperm(50), [20, 50], weights, None, [], "none")


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (3, 4), (0, 3)])
def test_strides_of_a_factor_are_never_ambiguous(shape: tuple[int, int]) -> None:
    values = torch.randint(0, 9, shape, dtype=torch.int8)
    for layout in (values, transposed(values), strided(values)):
        made_so = integer_mm.row_major(layout)
        assert torch.equal(made_so, values) and made_so.stride() == (shape[1], 1)


@pytest.mark.parametrize("name", VERSIONS)
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_one_learned_range_for_all_rows(name: str, bits: int) -> None:
    x, weight = torch.randn(70, 33), torch.randn(9, 33)
    low, high = torch.tensor(-0.7), torch.tensor(1.9)
    want = fake_quantize_tensor(x, bits, low, high) @ fake_quantize_weight(weight, bits, weight_step(weight, bits)).T
    given = replace(made(bits, weight), limits=(-0.7, 1.9))
    got = version(name)(x, torch.arange(70), [70], [given], None, [], "none")
    assert float((got - want).abs().max()) <= 1e-5 * float(want.abs().max())


def test_changing_the_bits_of_a_row_changes_only_that_row() -> None:
    x, weight = torch.randn(40, 24), torch.randn(8, 24)
    weights = [made(4, weight), made(8, weight)]
    before = integer_linear(x, torch.arange(40), [20, 40], weights)
    after = integer_linear(x, torch.arange(40), [21, 40], weights)
    assert torch.equal((before != after).any(1).nonzero()[:, 0], torch.tensor([20]))


@pytest.mark.parametrize("name", VERSIONS)
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_bad_values_are_found(name: str, bad: float) -> None:
    x = torch.randn(70, 9)
    x[66, 8] = bad
    with pytest.raises(InputError, match="NaN or infinite"):
        version(name)(x, torch.arange(70), [70], [made(8, torch.randn(5, 9))], None, [], "none")


def test_what_does_not_fit_is_explained() -> None:
    x, weight = torch.randn(4, 3), made(4, torch.randn(2, 3))
    for arguments, text in (
        ((x, torch.arange(4), [3], [weight]), "buckets must cover the 4 rows"),
        ((x, torch.arange(4), [4], [made(4, torch.randn(2, 5))]), "3 channels, the weights take 5"),
    ):
        with pytest.raises(InputError, match=text):
            integer_linear(*arguments)
    with pytest.raises(InputError, match="activation must be one of none, relu, silu"):
        integer_linear(x, torch.arange(4), [4], [weight], activation="gelu")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="must be 2 to 8, got 9"):
        IntegerWeight(9, weight.values, weight.step)
    with pytest.raises(InputError, match="int8"):
        IntegerWeight(4, weight.values.float(), weight.step)
