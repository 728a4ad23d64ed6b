"""Integer linear layers: every version equals the fake-quantised numbers, for all bits, shapes and buckets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from meshops.errors import DataWarning, InputError
from meshops.ops import integer
from meshops.ops.integer import ACTIVATIONS, IntegerWeight, Rows, _integer_linear, integer_linear
from meshops.ops.quantize import (
    fake_quantize_rows,
    fake_quantize_tensor,
    fake_quantize_weight,
    quantize_weight,
    weight_step,
)

AVX2 = integer._cpu_features()[1]
VERSIONS = ["reference", "int_mm", *(["avx2"] if AVX2 else [])]


def version(name: str) -> Callable[..., Tensor]:
    return _integer_linear.reference if name == "reference" else integer._version(name)


def made(bits: int, weight: Tensor, clip: float = 1.0, met: int | None = None) -> IntegerWeight:
    values, step = quantize_weight(weight, met or bits, weight_step(weight, met or bits))
    return IntegerWeight(bits, values, step, 2 ** ((met or bits) - 1) - 1, clip)


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
    seed=st.integers(0, 10**6), r=st.integers(1, 80), k=st.integers(1, 90), n=st.integers(1, 40),
    cut=st.floats(0, 1), activation=st.sampled_from(sorted(ACTIVATIONS)), tables=st.integers(0, 2),
)  # fmt: skip
@settings(max_examples=25, deadline=None)
def test_buckets_tables_and_activations(
    name: str, seed: int, r: int, k: int, n: int, cut: float, activation: str, tables: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    x, weight = torch.randn(r, k, generator=generator), torch.randn(n, k, generator=generator)
    order, first = torch.randperm(r, generator=generator), int(cut * r)
    added = [Rows(torch.randn(4, n, generator=generator), torch.arange(r) % 4), Rows(torch.randn(r, n))][:tables]
    arguments = (x, order, [first, r], [made(4, weight), made(8, weight)], torch.randn(n), added, activation)
    want, got = _integer_linear.reference(*arguments), version(name)(*arguments)
    assert float((got - want).abs().max()) <= 1e-5 * max(1.0, float(want.abs().max()))


@pytest.mark.skipif(not AVX2, reason="needs a CPU with AVX2")
@pytest.mark.parametrize(("bits", "met"), [(2, 8), (4, 8), (6, 8), (8, 2), (6, 6), (7, 7)])
def test_sixteen_bit_sums_cannot_overflow(bits: int, met: int) -> None:
    """All rows and weights at their largest: the worst case of every instruction."""
    k, n = 1030, 16
    weight = IntegerWeight(
        bits, torch.full((n, k), 2 ** (met - 1) - 1, dtype=torch.int8), torch.ones(n), 2 ** (met - 1) - 1
    )
    x = torch.ones(6, k)
    x[:, 0] = 0.0
    got = version("avx2")(x, torch.arange(6), [6], [weight], None, [], "none")
    assert torch.allclose(got, torch.tensor(float((k - 1) * (2 ** (met - 1) - 1))))


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


def test_a_cpu_without_working_integers_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A version that gives wrong results is not used; the user is told."""
    monkeypatch.setattr(integer, "_cpu_features", lambda: (True, False))
    wrong = lambda x, *rest: x.new_zeros(len(x), rest[2][0].values.shape[0])  # noqa: E731
    monkeypatch.setattr(integer, "_version", lambda name: wrong)
    integer.cpu_backend.cache_clear()
    try:
        with pytest.warns(DataWarning, match="no working 8-bit arithmetic on this CPU .int_mm: wrong results"):
            assert integer.cpu_backend() == "reference"
        monkeypatch.setattr(integer, "_cpu_features", lambda: (False, False))
        assert "wrong results" in integer._self_test("int_mm")
    finally:
        integer.cpu_backend.cache_clear()


def test_the_version_that_runs_is_told() -> None:
    x = torch.randn(4, 3)
    text = _integer_linear.explain(x, torch.arange(4), [4], [made(4, torch.randn(2, 3))], None, [], "none")
    assert "runs" in text
