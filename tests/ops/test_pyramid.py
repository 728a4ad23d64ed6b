"""One selection over the pyramid against a heap that splits the best leaf again and again."""

from __future__ import annotations

import heapq
import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from meshops.errors import InputError
from meshops.ops.pyramid import largest_mask, split_best, split_in_steps, sum_pyramid


def best_first(pyramid: list[torch.Tensor], splits: int, per_step: int = 1) -> set[tuple[int, ...]]:
    """Leaves (level, *place) of one sample: the definition. Ties: coarse first, then row-major."""
    heap: list[tuple[float, int, tuple[int, ...]]] = []
    leaves = set()

    def add(level: int, place: tuple[int, ...]) -> None:
        leaves.add((level, *place))
        if level < len(pyramid):
            number = sum(p.numel() for p in pyramid[:level])
            stride, flat = 1, 0
            for i, n in zip(reversed(place), reversed(pyramid[level].shape), strict=True):
                flat += i * stride
                stride *= n
            heapq.heappush(heap, (-float(pyramid[level][place]), number + flat, (level, *place)))

    for place in itertools.product(*map(range, pyramid[0].shape)):
        add(0, place)
    done = 0
    while done < splits and heap:
        batch = [heapq.heappop(heap)[2] for _ in range(min(per_step, splits - done, len(heap)))]
        for level, *place in batch:
            leaves.remove((level, *place))
            for offset in itertools.product((0, 1), repeat=len(place)):
                add(level + 1, tuple(2 * i + o for i, o in zip(place, offset, strict=True)))
        done += len(batch)
    return leaves


def as_set(leaves: list[torch.Tensor]) -> set[tuple[int, ...]]:
    return {(level, *place) for level, mask in enumerate(leaves) for place in mask[0].nonzero().tolist()}


@st.composite
def pyramids(draw: st.DrawFn) -> tuple[list[torch.Tensor], int]:
    dim, levels = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    roots = [draw(st.integers(1, 3 if dim < 3 else 2)) for _ in range(dim)]
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    cells = torch.rand(1, *[n * 2 ** (levels - 1) for n in roots], generator=generator)
    kind = draw(st.sampled_from(["random", "ties", "zero", "spread"]))
    if kind == "ties":
        cells = (cells * 3).floor()
    if kind == "zero":
        cells = torch.zeros_like(cells)
    if kind == "spread":
        cells = cells * 10.0 ** torch.randint(-15, 15, cells.shape, generator=generator)
    pyramid = sum_pyramid(cells, levels - 1)[::-1]
    return pyramid, draw(st.integers(0, sum(p[0].numel() for p in pyramid)))


@given(pyramids())
@settings(deadline=None, max_examples=150)
def test_one_selection_equals_the_heap(case: tuple[list[torch.Tensor], int]) -> None:
    pyramid, splits = case
    assert as_set(split_best(pyramid, splits)) == best_first([p[0] for p in pyramid], splits)


@given(pyramids(), st.integers(1, 5))
@settings(deadline=None, max_examples=100)
def test_steps_equal_the_heap_in_steps(case: tuple[list[torch.Tensor], int], per_step: int) -> None:
    pyramid, splits = case
    assert as_set(split_in_steps(pyramid, splits, per_step)) == best_first([p[0] for p in pyramid], splits, per_step)


@given(pyramids())
@settings(deadline=None, max_examples=50)
def test_leaves_tile_the_domain_and_are_counted(case: tuple[list[torch.Tensor], int]) -> None:
    pyramid, splits = case
    leaves = split_best(pyramid, splits)
    dim = pyramid[0].dim() - 1
    volume = sum(int(mask.sum()) * 2 ** (dim * (len(leaves) - 1 - level)) for level, mask in enumerate(leaves))
    assert volume == leaves[-1][0].numel()
    assert sum(int(mask.sum()) for mask in leaves) == pyramid[0][0].numel() + (2**dim - 1) * splits


def test_ties_go_to_the_first_and_a_batch_equals_its_samples() -> None:
    assert largest_mask(torch.zeros(1, 6), 2).tolist() == [[True, True, False, False, False, False]]
    assert largest_mask(torch.tensor([[0.0, -0.0, 1.0]]), 2).tolist() == [[True, False, True]]
    scores = torch.rand(5, 40).mul(4).floor()
    together = largest_mask(scores, 11)
    assert torch.equal(together, torch.cat([largest_mask(row[None], 11) for row in scores]))
    with pytest.raises(InputError, match="count must be 0 to the number of scores"):
        largest_mask(scores, 41)
