"""Centres and radii of patches: by hand, both versions alike, errors; threads that outlive a call and a fork."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from meshops.errors import InputError
from meshops.ops import patch_balls
from meshops.ops.kernels import balls_numba, threads
from meshops.partition import Partition


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 4), st.lists(st.integers(0, 9), min_size=1, max_size=8), st.integers(0, 99))
def test_both_versions_are_the_words_of_the_docstring(d: int, sizes: list[int], seed: int) -> None:
    torch.manual_seed(seed)
    n = sum(sizes)
    pos, perm = 100 + torch.randn(n, d), torch.randperm(n)
    ptr = torch.tensor([0, *np.cumsum(sizes)])
    for center, radius in (patch_balls.reference(pos, ptr, perm), balls_numba.patch_balls(pos, ptr, perm)):
        assert center.dtype == radius.dtype == torch.float32
        for i, nodes in enumerate(perm.tensor_split(ptr[1:-1])):
            mean = pos[nodes].double().mean(0) if len(nodes) else torch.zeros(d).double()
            far = (pos[nodes].double() - mean).norm(dim=1).max() if len(nodes) else torch.zeros(()).double()
            torch.testing.assert_close(center[i].double(), mean, rtol=1e-6, atol=1e-5)
            torch.testing.assert_close(radius[i].double(), far, rtol=1e-4, atol=1e-4)


def test_many_nodes_in_threads_are_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    pos, perm = torch.rand(5_000, 3), torch.randperm(5_000)
    ptr = torch.tensor([0, 0, 17, 3_000, 3_001, 5_000])
    alone = balls_numba.patch_balls(pos, ptr, perm)
    monkeypatch.setattr(balls_numba, "thread_count", lambda *_: 3)
    for one, other in zip(alone, balls_numba.patch_balls(pos, ptr, perm), strict=True):
        assert torch.equal(one, other)


def test_wrong_order_and_pointers_are_refused() -> None:
    pos = torch.rand(3, 2)
    with pytest.raises(InputError, match="perm must hold each row once; row 2 is missing"):
        patch_balls(pos, torch.tensor([0, 3]), torch.tensor([0, 1, 1]))
    with pytest.raises(InputError, match="ptr must"):
        patch_balls(pos, torch.tensor([0, 2]), torch.tensor([0, 1, 2]))


def test_a_partition_of_positions_that_learn_has_centres_without_gradient() -> None:
    pos = torch.rand(4, 2, requires_grad=True)
    part = Partition.from_order(pos, torch.tensor([3, 0, 2, 1]), torch.tensor([0, 2, 4]))
    assert not part.center.requires_grad and not part.radius.requires_grad


def test_threads_are_kept_errors_come_back_and_a_forked_process_has_its_own() -> None:
    seen: list[int] = []

    def note(first: int, last: int) -> None:
        seen.append(threading.get_ident())
        if first == 3:
            raise ValueError("the last part")

    threads.in_threads(note, (), [0, 1, 2])
    before = threading.active_count()
    threads.in_threads(note, (), [0, 1, 2])
    assert threading.active_count() == before and threading.get_ident() in seen[2:]
    with pytest.raises(ValueError, match="the last part"):
        threads.in_threads(note, (), [0, 1, 3, 4])
    child = os.fork()
    if child == 0:  # no thread of the parent lives here
        done: list[int] = []
        threads.in_threads(lambda first, last: done.append(first), (), [0, 1, 2, 3])
        os._exit(0 if sorted(done) == [0, 1, 2] else 1)
    assert os.waitpid(child, 0)[1] == 0
