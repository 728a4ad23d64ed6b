"""Same-size k-means."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from meshops.errors import InputError
from meshops.partition import CurvePatches, Partition, SameSizeKMeans
from meshops.testing import check_partitioner


def spread(pos: torch.Tensor, part: Partition) -> float:
    """Sum of squared distances from the centers."""
    return float((pos - part.center[part.node_to_patch]).square().sum())


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("kmeans", [SameSizeKMeans(8), SameSizeKMeans(num_patches=5), SameSizeKMeans(1)], ids=repr)
def test_shared_checks(kmeans: SameSizeKMeans, dim: int) -> None:
    check_partitioner(kmeans, dim=dim)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 80), st.integers(1, 12), st.integers(0, 2**31))
def test_every_node_once_and_sizes_differ_by_one(n: int, patches: int, seed: int) -> None:
    pos = (torch.rand(n, 3, generator=torch.Generator().manual_seed(seed)) * 4).round()  # many coincide
    part = SameSizeKMeans(num_patches=patches).partition(pos)
    assert part.perm.sort().values.tolist() == list(range(n))
    assert part.num_patches == patches and int(part.size.max() - part.size.min()) <= 1


def test_spread_falls_with_every_round_from_that_of_the_hilbert_runs() -> None:
    pos = torch.rand(2000, 3)
    spreads = [spread(pos, SameSizeKMeans(20, max_rounds=rounds).partition(pos)) for rounds in (0, 1, 3, 30)]
    assert spreads[0] == pytest.approx(spread(pos, CurvePatches(20).partition(pos)), rel=1e-5)
    assert spreads[0] > spreads[1] > spreads[2] > spreads[3]
    assert spreads[3] < 0.9 * spreads[0]


def test_finds_two_blobs() -> None:
    blobs = torch.randn(60, 2) * 0.1
    blobs[::2] += 5
    part = SameSizeKMeans(num_patches=2).partition(blobs)
    assert {tuple(sorted(nodes.tolist())) for nodes in part.perm.split([30, 30])} == {
        tuple(range(0, 60, 2)), tuple(range(1, 60, 2)),
    }  # fmt: skip


def test_batch_equals_its_graphs() -> None:
    pos, ptr = torch.rand(90, 3), torch.tensor([0, 50, 50, 90])
    kmeans = SameSizeKMeans(num_patches=4)
    together = kmeans.partition(pos, ptr)
    alone = [kmeans.partition(pos[a:b]) for a, b in ((0, 50), (50, 50), (50, 90))]
    assert together.perm.tolist() == [*alone[0].perm.tolist(), *(alone[2].perm + 50).tolist()]
    assert together.size.tolist() == [size for part in alone for size in part.size.tolist()]


def test_errors_and_repr() -> None:
    assert repr(SameSizeKMeans(patch_size=8)) == "SameSizeKMeans(patch_size=8)"
    with pytest.raises(InputError, match="either patch_size or num_patches"):
        SameSizeKMeans()
    with pytest.raises(InputError, match="max_rounds must be at least 0, got -1"):
        SameSizeKMeans(8, max_rounds=-1)
    with pytest.raises(InputError, match="num_patches must be at least 1, got 0"):
        SameSizeKMeans(num_patches=0)
