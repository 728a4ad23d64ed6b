"""Patches along a space-filling curve."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch_geometric.data import Batch

from meshops.data.mesh_graph import MeshGraph
from meshops.errors import InputError
from meshops.ops.curves import MAX_DEPTH, grid_positions, hilbert_encode, morton_encode
from meshops.partition.curves import CurvePatches
from meshops.partition.partition import Partition
from meshops.testing import check_partitioner, random_graphs

PARTITIONERS = [
    CurvePatches(8),
    CurvePatches(7, curve="morton"),
    CurvePatches(1),
    CurvePatches(1000),
    CurvePatches(num_patches=12),
    CurvePatches(7, multiple=3),
]


@st.composite
def batches(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Positions on a coarse lattice, so that many coincide, and pointers of graphs, some empty."""
    dim = draw(st.integers(1, 3))
    sizes = draw(st.lists(st.integers(0, 25), min_size=1, max_size=4))
    rows = [draw(st.lists(st.integers(0, 3), min_size=dim, max_size=dim)) for _ in range(sum(sizes))]
    pos = torch.tensor(rows, dtype=torch.float32).view(-1, dim)
    scale = draw(st.sampled_from([[1.0, 1.0, 1.0], [1.0, 1e-7, 1.0], [1.0, 0.0, 0.0], [1e7, 1.0, 1e-3]]))
    return pos * torch.tensor(scale[:dim]), torch.tensor([0, *sizes]).cumsum(0)


def patches(part: Partition) -> list[list[int]]:
    return [nodes.tolist() for nodes in part.perm.tensor_split(part.ptr[1:-1])] if part.num_patches else []


def slow_patches(pos: Tensor, partitioner: CurvePatches) -> list[list[int]]:
    """Sort in Python, then cut."""
    n, dim = pos.shape
    depth = MAX_DEPTH[dim]
    cells = grid_positions(pos, torch.tensor([0, n]), depth).cells
    code = hilbert_encode(cells, depth) if partitioner.curve == "hilbert" else morton_encode(cells)
    order = sorted(range(n), key=lambda i: (int(code[i]), pos[i].tolist(), i))
    count = partitioner.num_patches or max(1, -(-n // int(partitioner.patch_size or 1)))
    count = -(-count // partitioner.multiple) * partitioner.multiple
    return [sorted(order[i * n // count : (i + 1) * n // count]) for i in range(count)]


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("partitioner", PARTITIONERS, ids=repr)
def test_shared_checks(partitioner: CurvePatches, dim: int) -> None:
    check_partitioner(partitioner, dim=dim)


@pytest.mark.parametrize("partitioner", PARTITIONERS, ids=repr)
@settings(deadline=None, max_examples=40)
@given(batches())
def test_equals_sorting_graph_by_graph(partitioner: CurvePatches, batch: tuple[Tensor, Tensor]) -> None:
    pos, ptr = batch
    part = partitioner.partition(pos, ptr)
    expected, graphs = [], []
    for graph, (start, end) in enumerate(zip(ptr.tolist(), ptr.tolist()[1:], strict=False)):
        found = slow_patches(pos[start:end], partitioner)
        expected += [[start + node for node in patch] for patch in found]
        graphs += [graph] * len(found)
    assert patches(part) == expected
    assert part.batch.tolist() == graphs


@settings(deadline=None, max_examples=40)
@given(batches(), st.randoms(use_true_random=False))
def test_order_of_points_does_not_matter(batch: tuple[Tensor, Tensor], random: object) -> None:
    pos = batch[0].unique(dim=0)  # among coinciding points the index decides
    order = torch.randperm(len(pos), generator=torch.Generator().manual_seed(random.randrange(2**31)))  # type: ignore[attr-defined]
    for partitioner in PARTITIONERS:
        there = [sorted(order[patch].tolist()) for patch in patches(partitioner.partition(pos[order]))]
        assert there == patches(partitioner.partition(pos))


def test_points_in_one_cell_are_ordered_by_their_coordinates() -> None:
    pos = torch.tensor([[2.0, 0.0], [0.0, 0.0], [3e-10, 0.0], [1e-10, 2e-10], [1e-10, 1e-10], [1e-10, 1e-10]])
    assert grid_positions(pos, torch.tensor([0, 6]), 31).cells[1:].tolist() == [[0, 0]] * 5
    for curve in ("hilbert", "morton"):
        assert CurvePatches(1, curve=curve).order(pos).tolist() == [1, 4, 5, 3, 2, 0]


@pytest.mark.parametrize(("n", "patch_size", "expected"), [(100, 100, 1), (101, 100, 2), (1000, 7, 143), (1, 5, 1)])
def test_number_of_patches(n: int, patch_size: int, expected: int) -> None:
    part = CurvePatches(patch_size).partition(torch.rand(n, 3))
    assert part.num_patches == expected
    assert int(part.size.max()) <= patch_size
    assert int(part.size.max() - part.size.min()) <= 1


def test_more_patches_than_nodes_leaves_some_empty() -> None:
    part = CurvePatches(num_patches=5).partition(torch.rand(6, 2), torch.tensor([0, 3, 3, 6]))
    assert part.size.view(3, 5).sum(1).tolist() == [3, 0, 3]
    assert int(part.size.max()) == 1
    assert part.batch.tolist() == [0] * 5 + [1] * 5 + [2] * 5


def test_no_nodes_are_one_empty_patch() -> None:
    part = CurvePatches(4).partition(torch.zeros(0, 3))
    assert part.size.tolist() == [0] and part.perm.numel() == 0


@pytest.mark.parametrize("curve", ["hilbert", "morton"])
def test_scaling_and_translation_keep_the_patches(curve: str) -> None:
    pos = torch.randint(0, 2**10, (300, 3)) / 2**10  # exact under the shift
    partitioner = CurvePatches(16, curve=curve)  # type: ignore[arg-type]
    perm = partitioner.partition(pos).perm
    for same in (pos + 32, pos * 0.25, pos * 2.0**40, (pos - 8) * 4):
        assert torch.equal(partitioner.partition(same).perm, perm)


def test_hilbert_patches_of_a_lattice_are_connected() -> None:
    """A run of 9 along the curve of an 8 x 8 lattice steps from neighbour to neighbour."""
    pos = torch.cartesian_prod(torch.arange(8.0), torch.arange(8.0))
    order = CurvePatches(9).order(pos)
    assert bool((pos[order].diff(dim=0).abs().sum(1) == 1).all())
    assert CurvePatches(9).partition(pos).radius.max() < 3.0


def test_hilbert_patches_are_more_compact_than_morton_patches() -> None:
    pos = torch.rand(4000, 3)
    assert CurvePatches(40).partition(pos).radius.mean() < CurvePatches(40, curve="morton").partition(pos).radius.mean()


def test_transform_stores_the_patches_and_batches() -> None:
    graphs = random_graphs([40, 25])
    partitioner = CurvePatches(8)
    batch = Batch.from_data_list([partitioner(graph) for graph in graphs])
    assert torch.equal(Partition.of(batch).perm, partitioner.partition(batch.pos, batch.ptr).perm)
    assert graphs[0].get("patch_index") is None
    with pytest.raises(InputError, match="'batch' must be sorted"):
        partitioner(MeshGraph(pos=batch.pos, batch=batch.batch.flip(0)))


def test_repr_and_bad_arguments() -> None:
    assert repr(CurvePatches(8)) == "CurvePatches(patch_size=8, curve='hilbert')"
    assert repr(CurvePatches(num_patches=3, curve="morton")) == "CurvePatches(num_patches=3, curve='morton')"
    for arguments in ({}, {"patch_size": 4, "num_patches": 4}):
        with pytest.raises(InputError, match="either patch_size or num_patches"):
            CurvePatches(**arguments)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="patch_size must be at least 1, got 0"):
        CurvePatches(0)
    with pytest.raises(InputError, match="num_patches must be at least 1, got -2"):
        CurvePatches(num_patches=-2)
    with pytest.raises((InputError, TypeError), match=r"must be 'hilbert' or 'morton', got 'peano'|value: 'peano'"):
        CurvePatches(8, curve="peano")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="1, 2 or 3 coordinates, got 4"):
        CurvePatches(8).partition(torch.rand(5, 4))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("partitioner", PARTITIONERS, ids=repr)
def test_cuda_gives_the_same_patches(partitioner: CurvePatches) -> None:
    pos, ptr = torch.randn(5000, 3).round(decimals=1), torch.tensor([0, 1200, 1200, 5000])
    here, there = partitioner.partition(pos, ptr), partitioner.partition(pos.cuda(), ptr.cuda())
    for name in ("perm", "ptr", "level", "batch"):
        assert torch.equal(getattr(here, name), getattr(there, name).cpu()), name
