"""Sums over sources: the tree against all pairs, for solids, plates, lines, parts far apart, and places far away."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from meshops import ops
from meshops.errors import InputError

SHAPES = {
    "solid": (1.0, 1.0, 1.0),
    "plate": (1.0, 1.0, 1e-5),
    "slender": (1.0, 0.01, 0.01),
    "line": (1.0, 0.0, 0.0),
    "point": (0.0, 0.0, 0.0),
}


def cloud(n: int, shape: str, seed: int, *, apart: float = 0.0) -> Tensor:
    points = torch.rand(n, 3, generator=torch.Generator().manual_seed(seed)) * torch.tensor(SHAPES[shape])
    points[n // 2 :, 0] += apart
    return points


def sources(num: int, shape: str, apart: float = 0.0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    vectors = torch.randn(num, 3, generator=generator)
    weight = torch.rand(num, generator=generator) + 0.1
    return cloud(num, shape, 2, apart=apart), weight, vectors / vectors.norm(dim=1, keepdim=True), weight / num


def check_velocity(pos: Tensor, place: Tensor, strength: Tensor, soft: Tensor) -> None:
    found = ops.source_velocity(pos, place, strength, soft)
    exact = ops.source_velocity.reference(*(t.double() for t in (pos, place, strength, soft)))
    assert float((found - exact).norm(dim=1).max()) <= 5e-4 * float(exact.norm(dim=1).max())


def check_means(pos: Tensor, place: Tensor, weight: Tensor, vectors: Tensor, radius: float) -> None:
    offset, mean = ops.gaussian_means(pos, place, weight, vectors, radius)
    exact = ops.gaussian_means.reference(*(t.double() for t in (pos, place, weight, vectors)), radius)
    far = max(1.0, float(exact[0].abs().max()))  # of single precision
    assert float((offset - exact[0]).abs().max()) < 3e-4 * radius + 1e-6 * far
    assert float((mean - exact[1]).abs().max()) < 1e-4


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("apart", [0.0, 30.0])
def test_tree_equals_all_pairs(shape: str, apart: float) -> None:
    place, weight, vectors, soft = sources(300, shape, apart)
    pos = cloud(6_000, shape, 3, apart=apart)
    signs = torch.where(torch.arange(300) % 3 == 0, -1.0, 1.0)
    check_velocity(pos, place, weight * signs, soft * 1e-2)
    for radius in (0.02, 0.3, 5.0):
        check_means(pos, place, weight, vectors, radius)


def test_places_far_from_all_sources_see_the_nearest() -> None:
    place, weight, vectors, soft = sources(300, "solid")
    pos = cloud(5_000, "solid", 3) * 40 - 20
    check_velocity(pos, place, weight, soft)
    for radius in (0.05, 0.3):
        check_means(pos, place, weight, vectors, radius)


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(sorted(SHAPES)), st.integers(0, 700), st.integers(1, 40), st.floats(0.01, 10), st.integers(0, 99)
)
def test_tree_equals_all_pairs_for_any_number(shape: str, n: int, num: int, radius: float, seed: int) -> None:
    place, weight, vectors, soft = sources(num, "slender")
    pos = cloud(n, shape, seed)
    if n:
        check_velocity(pos, place, weight, soft + 1e-4)
        check_means(pos, place, weight, vectors, radius)
    else:
        assert ops.source_velocity(pos, place, weight, soft).shape == (0, 3)
        assert ops.gaussian_means(pos, place, weight, vectors, radius)[0].shape == (0, 3)


def test_result_does_not_depend_on_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    place, weight, vectors, soft = sources(200, "solid")
    pos = cloud(20_000, "solid", 3)
    before = ops.source_velocity(pos, place, weight, soft), *ops.gaussian_means(pos, place, weight, vectors, 0.2)
    monkeypatch.setattr("meshops.ops.kernels.sources_numba.thread_count", lambda *_: 3)
    after = ops.source_velocity(pos, place, weight, soft), *ops.gaussian_means(pos, place, weight, vectors, 0.2)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_one_source_gives_the_law_of_distance() -> None:
    pos, place = torch.tensor([[2.0, 0.0, 0.0]]), torch.zeros(1, 3)
    out = ops.source_velocity(pos, place, torch.tensor([3.0]), torch.zeros(1))
    torch.testing.assert_close(out, torch.tensor([[0.75, 0.0, 0.0]]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pos": torch.zeros(2, 2)}, "pos must be"),
        ({"sources": torch.full((3, 3), torch.nan)}, "sources must be finite"),
        ({"strength": torch.ones(2)}, "one number a source"),
        ({"soft": -torch.ones(3)}, "soft must be"),
        ({"sources": torch.zeros(0, 3), "strength": torch.ones(0), "soft": torch.ones(0)}, "must not be empty"),
    ],
)
def test_wrong_arguments_are_said(change: dict[str, Tensor], message: str) -> None:
    right = {"pos": torch.zeros(2, 3), "sources": torch.ones(3, 3), "strength": torch.ones(3), "soft": torch.ones(3)}
    with pytest.raises(InputError, match=message):
        ops.source_velocity(**(right | change))
