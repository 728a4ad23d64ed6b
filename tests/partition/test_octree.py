"""Linear octree against recursive splitting, and its neighbours and boxes against comparing all pairs."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch_geometric.data import Batch

from meshops.data.mesh_graph import MeshGraph
from meshops.errors import InputError
from meshops.ops.curves import MAX_DEPTH, grid_positions, morton_decode, morton_encode
from meshops.partition.octree import LinearOctree, Octree
from meshops.partition.partition import Partition
from meshops.testing import check_partitioner, random_graphs

OCTREES = [
    Octree(8),
    Octree(1),
    Octree(1000),
    Octree(2, max_depth=2),
    Octree(4, min_depth=2),
    Octree(3, balance=True),
]


class Leaf(NamedTuple):
    """Cell in units of the finest grid, and the nodes in it."""

    corner: tuple[int, ...]
    level: int
    nodes: list[int]


def children(leaf: Leaf, cells: list[list[int]], depth: int) -> list[Leaf]:
    half = 1 << (depth - leaf.level - 1)
    nodes: dict[tuple[int, ...], list[int]] = {}
    for node in leaf.nodes:
        corner = tuple(low + half * (value - low >= half) for low, value in zip(leaf.corner, cells[node], strict=True))
        nodes.setdefault(corner, []).append(node)
    return [Leaf(corner, leaf.level + 1, nodes[corner]) for corner in sorted(nodes)]


def split(leaf: Leaf, cells: list[list[int]], depth: int, octree: Octree) -> list[Leaf]:
    """Recursive definition, in Morton order."""
    done = leaf.level == depth or (len(leaf.nodes) <= octree.capacity and leaf.level >= octree.min_depth)
    if done:
        return [leaf]
    return [part for child in children(leaf, cells, depth) for part in split(child, cells, depth, octree)]


def share_face(a: Leaf, b: Leaf, depth: int, periodic: tuple[bool, ...]) -> bool:
    """Boxes touch along one axis, through the border of the cube if it is periodic, and overlap along the others."""
    size_a, size_b, whole = 1 << (depth - a.level), 1 << (depth - b.level), 1 << depth
    for axis, wrap in enumerate(periodic):
        low, other = a.corner[axis], b.corner[axis]
        touch = low + size_a == other or other + size_b == low
        touch |= wrap and ((low + size_a) % whole == other or (other + size_b) % whole == low)
        beside = [
            max(x, y) < min(x + size_a, y + size_b)
            for i, (x, y) in enumerate(zip(a.corner, b.corner, strict=True))
            if i != axis
        ]
        if touch and all(beside):
            return True
    return False


def balance(leaves: list[Leaf], cells: list[list[int]], depth: int) -> list[Leaf]:
    """Split the coarser leaf of a bad pair, the pair with the deepest leaf first, until there is none."""
    while True:
        solid = (False,) * len(leaves[0].corner)
        pairs = [
            (fine.level, coarse)
            for coarse in leaves
            for fine in leaves
            if fine.level > coarse.level + 1 and share_face(fine, coarse, depth, solid)
        ]
        if not pairs:
            return leaves
        coarse = max(pairs, key=lambda pair: pair[0])[1]
        place = leaves.index(coarse)
        leaves[place : place + 1] = children(coarse, cells, depth)


def slow_leaves(pos: Tensor, octree: Octree) -> list[Leaf]:
    n, dim = pos.shape
    if n == 0:
        return []
    depth = MAX_DEPTH[dim] if octree.max_depth is None else octree.max_depth
    cells = grid_positions(pos, torch.tensor([0, n]), depth).cells.tolist()
    leaves = split(Leaf((0,) * dim, 0, list(range(n))), cells, depth, octree)
    return balance(leaves, cells, depth) if octree.balance else leaves


def leaves_of(tree: LinearOctree, graph: int = 0, start: int = 0) -> list[Leaf]:
    corners = morton_decode(tree.code, tree.dim).tolist()
    part = tree.partition
    return [
        Leaf(tuple(corners[i]), int(part.level[i]), (part.perm[part.ptr[i] : part.ptr[i + 1]] - start).tolist())
        for i in range(part.num_patches)
        if int(part.batch[i]) == graph
    ]


@st.composite
def clouds(draw: st.DrawFn, most: int = 40) -> Tensor:
    """Positions with duplicates, clusters in clusters, planes, lines, and extents that differ by 10^7."""
    dim = draw(st.integers(1, 3))
    n = draw(st.integers(0, most))
    base = draw(st.lists(st.lists(st.integers(0, 16), min_size=dim, max_size=dim), min_size=n, max_size=n))
    power = draw(st.lists(st.integers(0, 24), min_size=n, max_size=n))
    pos = torch.tensor(base, dtype=torch.float64).view(n, dim) / 2.0 ** torch.tensor(power).view(n, 1)
    scale = draw(
        st.sampled_from([[1.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 0.0, 0.0], [1.0, 1e-7, 1.0], [3.0, 2.0, 1e7]])
    )
    return pos * torch.tensor(scale[:dim], dtype=torch.float64)


@st.composite
def octrees(draw: st.DrawFn) -> Octree:
    low = draw(st.integers(0, 3))
    return Octree(
        draw(st.integers(1, 9)),
        max_depth=draw(st.none() | st.integers(max(low, 1), 20)),
        min_depth=low,
        balance=draw(st.booleans()),
    )


@st.composite
def joined(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Graphs of one dimension and their pointers."""
    parts = [draw(clouds(most=15)) for _ in range(draw(st.integers(1, 4)))]
    dim = min(part.shape[1] for part in parts)
    return torch.cat([part[:, :dim] for part in parts]), torch.tensor([0, *map(len, parts)]).cumsum(0)


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("octree", OCTREES, ids=repr)
def test_shared_checks(octree: Octree, dim: int) -> None:
    check_partitioner(octree, dim=dim)


@settings(deadline=None, max_examples=120)
@given(clouds(), octrees())
def test_equals_recursive_splitting(pos: Tensor, octree: Octree) -> None:
    tree = octree.tree(pos)
    assert leaves_of(tree) == slow_leaves(pos, octree)
    crowded = tree.partition.size > octree.capacity
    assert bool((tree.level[crowded] == tree.depth).all())


@settings(deadline=None, max_examples=60)
@given(joined(), octrees())
def test_a_batch_is_its_graphs_one_by_one(batch: tuple[Tensor, Tensor], octree: Octree) -> None:
    pos, ptr = batch
    tree = octree.tree(pos, ptr)
    assert tree.ptr.tolist()[0] == 0 and tree.side.shape == (len(ptr) - 1,)
    for graph, (start, end) in enumerate(pairwise(ptr.tolist())):
        alone = octree.tree(pos[start:end])
        assert leaves_of(tree, graph, start) == leaves_of(alone)
        assert torch.equal(tree.origin[graph], alone.origin[0]) and torch.equal(tree.side[graph], alone.side[0])
        assert int(tree.ptr[graph + 1] - tree.ptr[graph]) == alone.partition.num_patches
        of_graph = tree.batch == graph
        assert torch.equal(tree.partition.center[of_graph], alone.partition.center)


@settings(deadline=None, max_examples=60)
@given(clouds(), octrees(), st.integers(0, 2**31))
def test_order_of_points_does_not_matter(pos: Tensor, octree: Octree, seed: int) -> None:
    order = torch.randperm(len(pos), generator=torch.Generator().manual_seed(seed))
    here, there = leaves_of(octree.tree(pos)), leaves_of(octree.tree(pos[order]))
    assert [leaf._replace(nodes=sorted(order[leaf.nodes].tolist())) for leaf in there] == here


@pytest.mark.parametrize("octree", OCTREES, ids=repr)
def test_scaling_and_translation_change_nothing(octree: Octree) -> None:
    pos = torch.randint(0, 2**10, (300, 3)) / 2**10  # exact under the shift
    leaves = leaves_of(octree.tree(pos))
    for same in (pos + 32, pos * 0.25, pos * 2.0**40, (pos - 8) * 4):
        assert leaves_of(octree.tree(same)) == leaves


@settings(deadline=None, max_examples=80)
@given(clouds(), octrees(), st.tuples(st.booleans(), st.booleans(), st.booleans()))
def test_face_neighbors_are_the_pairs_of_touching_boxes(
    pos: Tensor, octree: Octree, wrap: tuple[bool, bool, bool]
) -> None:
    tree = octree.tree(pos)
    leaves = leaves_of(tree)
    for periodic in ((False,) * tree.dim, wrap[: tree.dim]):
        expected = [
            [i, j]
            for i, a in enumerate(leaves)
            for j, b in enumerate(leaves)
            if i != j and share_face(a, b, tree.depth, periodic)
        ]
        assert tree.face_neighbors(periodic).T.tolist() == expected
    assert torch.equal(tree.face_neighbors(), tree.face_neighbors((False,) * tree.dim))


def test_face_neighbors_stay_within_their_graph() -> None:
    pos, ptr = torch.rand(150, 2), torch.tensor([0, 60, 60, 150])
    tree = Octree(3).tree(pos, ptr)
    edges = tree.face_neighbors()
    assert torch.equal(tree.batch[edges[0]], tree.batch[edges[1]])
    alone = [Octree(3).tree(part).face_neighbors() + int(start) for part, start in
             ((pos[:60], tree.ptr[0]), (pos[60:], tree.ptr[2]))]  # fmt: skip
    assert torch.equal(edges, torch.cat(alone, 1))


@pytest.mark.parametrize("dim", [2, 3])
def test_full_lattice_has_the_faces_of_a_lattice(dim: int) -> None:
    axis = torch.arange(4.0)
    pos = torch.cartesian_prod(*[axis] * dim)
    tree = Octree(1).tree(pos)
    assert tree.partition.num_patches == 4**dim
    assert tree.face_neighbors().shape[1] == 2 * dim * 3 * 4 ** (dim - 1)
    assert tree.face_neighbors([True] * dim).shape[1] == 2 * dim * 4**dim


def test_balanced_tree_of_a_cluster_steps_by_one_level() -> None:
    pos = torch.cat([torch.rand(2000, 2), 0.3 + 1e-4 * torch.rand(500, 2)])
    rough, smooth = Octree(4).tree(pos), Octree(4, balance=True).tree(pos)
    steps = [
        int((tree.level[edges[0]] - tree.level[edges[1]]).abs().max())
        for tree, edges in ((tree, tree.face_neighbors()) for tree in (rough, smooth))
    ]
    assert steps[0] > 1 and steps[1] == 1
    assert smooth.partition.num_patches > rough.partition.num_patches
    assert bool((smooth.level[smooth.partition.node_to_patch] >= rough.level[rough.partition.node_to_patch]).all())


@settings(deadline=None, max_examples=60)
@given(joined(), octrees())
def test_every_node_is_located_in_its_leaf(batch: tuple[Tensor, Tensor], octree: Octree) -> None:
    pos, ptr = batch
    tree = octree.tree(pos, ptr)
    graph = torch.repeat_interleave(ptr.diff())
    assert torch.equal(tree.locate(pos, graph), tree.partition.node_to_patch)


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("sizes", [(50,), (50, 0, 9, 1, 70)])
def test_locate_is_the_search_through_all_boxes(dim: int, sizes: tuple[int, ...]) -> None:
    pos = torch.randint(0, 65, (sum(sizes), dim)) / 64
    ptr = torch.tensor([0, *sizes]).cumsum(0)
    for start, end in pairwise(ptr.tolist()):
        if end - start > 1:
            pos[start], pos[start + 1] = 0.0, 1.0  # the cube is the unit cube: nothing is rounded
            pos[start, dim - 1], pos[start + 1, dim - 1] = 1.0, 0.0  # its first cell may be empty
    tree = Octree(2, max_depth=20).tree(pos, ptr)
    asked = torch.cat([torch.randint(-8, 73, (400, dim)) / 64, torch.rand(100, dim)])
    graph = torch.randint(0, len(sizes), (500,))
    low = tree.cell_origin()
    high = low + tree.cell_size().unsqueeze(1)
    found = tree.locate(asked, graph)
    for point, g, leaf in zip(asked.double(), graph.tolist(), found.tolist(), strict=True):
        inside = (point >= low) & ((point < high) | ((point == high) & (high == 1.0)))
        covering = (inside.all(1) & (tree.batch == g) & (tree.side[tree.batch] > 0)).nonzero()[:, 0].tolist()
        if sizes[g] > 1:
            assert [leaf] == (covering or [-1])
    if len(sizes) == 1:
        assert torch.equal(tree.locate(asked), found)


def test_locate_in_a_graph_without_extent() -> None:
    tree = Octree(2).tree(torch.tensor([[3.0, 1.0], [3.0, 1.0], [3.0, 1.0]]))
    assert tree.locate(torch.tensor([[3.0, 1.0], [3.0, 1.1], [2.0, 1.0]])).tolist() == [0, -1, -1]


@settings(deadline=None, max_examples=60)
@given(joined(), octrees())
def test_hierarchy_joins_the_leaves_of_each_cell(batch: tuple[Tensor, Tensor], octree: Octree) -> None:
    pos, ptr = batch
    tree = octree.tree(pos, ptr)
    levels = tree.hierarchy()
    assert all(
        torch.equal(getattr(levels[0], name), getattr(tree.partition, name)) for name in ("perm", "ptr", "level")
    )
    assert levels[len(levels) - 1].batch.tolist() == (ptr.diff() > 0).nonzero()[:, 0].tolist()
    deepest = int(tree.level.max()) if tree.code.numel() else 0
    expected: list[list[list[int]]] = []
    for depth in range(deepest, -1, -1):
        cells: dict[tuple[int, int, int], list[int]] = {}
        for leaf in range(tree.code.numel()):
            level = min(depth, int(tree.level[leaf]))
            corner = int(tree.code[leaf]) >> tree.dim * (tree.depth - level)
            nodes = tree.partition.perm[tree.partition.ptr[leaf] : tree.partition.ptr[leaf + 1]].tolist()
            cells.setdefault((int(tree.batch[leaf]), level, corner), []).extend(nodes)
        sets = sorted(sorted(nodes) for nodes in cells.values())
        if not expected or sets != expected[-1]:
            expected.append(sets)
    found = [
        sorted(sorted(nodes.tolist()) for nodes in part.perm.tensor_split(part.ptr[1:-1])) for part in levels.partitions
    ]
    assert found == (expected if len(pos) else [[[]]])
    for coarse, parent in zip(levels.partitions[1:], levels.parents, strict=True):
        assert bool((coarse.level[parent] <= tree.level[: len(parent)].max()).all())
        assert torch.equal(coarse.node_to_patch, coarse.node_to_patch[torch.arange(len(pos))])


def test_hierarchy_of_a_lattice_quarters() -> None:
    pos = torch.cartesian_prod(torch.arange(8.0), torch.arange(8.0))
    levels = Octree(1).hierarchy(pos)
    assert [part.num_patches for part in levels.partitions] == [64, 16, 4, 1]
    assert [part.level.unique().tolist() for part in levels.partitions] == [[3], [2], [1], [0]]
    assert all(parent.tolist() == [i // 4 for i in range(len(parent))] for parent in levels.parents)
    assert torch.equal(levels[3].center, pos.mean(0, keepdim=True))


def test_boxes_hold_their_nodes_and_lie_in_the_cube() -> None:
    pos, ptr = torch.randn(500, 3) * torch.tensor([1.0, 20.0, 0.1]), torch.tensor([0, 100, 500])
    tree = Octree(6).tree(pos, ptr)
    low, size = tree.cell_origin(), tree.cell_size()
    leaf = tree.partition.node_to_patch
    slack = 1e-12
    assert bool((pos >= low[leaf] - slack).all()) and bool((pos <= low[leaf] + size[leaf, None] + slack).all())
    assert torch.equal(size, tree.side[tree.batch] / 2.0**tree.level)
    assert bool((low + size[:, None] <= (tree.origin + tree.side[:, None])[tree.batch] + slack).all())
    assert torch.equal(tree.side, torch.stack([(part.amax(0) - part.amin(0)).max() for part in
                                               (pos[:100].double(), pos[100:].double())]))  # fmt: skip


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_drawing_shows_the_boxes(dim: int) -> None:
    pos = torch.randint(0, 17, (60, dim)) / 16
    pos[0], pos[1] = 0.0, 1.0
    tree = Octree(3).tree(pos)
    grid: Any = tree.to_pyvista()
    assert grid.n_cells == tree.partition.num_patches
    measure = grid.compute_cell_sizes()[("Length", "Area", "Volume")[dim - 1]]
    torch.testing.assert_close(torch.as_tensor(measure.copy()), tree.cell_size() ** dim)
    assert grid["level"].tolist() == tree.level.tolist() and grid["count"].sum() == 60
    assert grid["size"].tolist() == tree.cell_size().tolist()
    for i in range(grid.n_cells):
        low = [*tree.cell_origin()[i].tolist(), 0.0, 0.0][:3]
        assert grid.get_cell(i).bounds[::2] == tuple(low)


def test_coinciding_points_stay_in_one_leaf() -> None:
    pos = torch.cat([torch.zeros(50, 3), torch.ones(1, 3)])
    tree = Octree(8).tree(pos)
    assert tree.partition.size.tolist() == [50, 1] and tree.level.tolist() == [21, 1]
    assert len(tree.hierarchy()) == 2
    alone = Octree(8).tree(torch.ones(50, 3))
    assert alone.partition.size.tolist() == [50] and alone.side.tolist() == [0.0]
    assert alone.face_neighbors([True] * 3).shape == (2, 0)


def test_one_point_and_none() -> None:
    one = Octree(8).tree(torch.tensor([[1.0, 2.0, 3.0]]))
    assert one.level.tolist() == [0] and one.cell_origin().tolist() == [[1.0, 2.0, 3.0]]
    assert one.cell_size().tolist() == [0.0]
    none = Octree(8, balance=True).tree(torch.zeros(0, 3))
    assert none.partition.num_patches == 0 and len(none.hierarchy()) == 1
    assert none.face_neighbors().shape == (2, 0)
    assert none.locate(torch.zeros(2, 3)).tolist() == [-1, -1]
    assert none.to_pyvista().n_cells == 0


def test_extents_that_differ_by_ten_million() -> None:
    pos = torch.rand(1000, 3) * torch.tensor([1e7, 1.0, 1.0])
    tree = Octree(8).tree(pos)
    assert int(tree.partition.size.max()) <= 8
    assert leaves_of(tree) == slow_leaves(pos, Octree(8))
    cluster = torch.cat([torch.rand(500, 2, dtype=torch.float64), torch.rand(500, 2, dtype=torch.float64) * 1e-7])
    tree = Octree(8).tree(cluster)
    assert int(tree.partition.size.max()) <= 8 and int(tree.level.max()) > 24
    assert leaves_of(tree) == slow_leaves(cluster, Octree(8))


def test_fewer_and_more_levels_on_demand() -> None:
    pos = torch.rand(400, 2)
    assert Octree(1, max_depth=0).tree(pos).partition.size.tolist() == [400]
    regular = Octree(400, min_depth=2, max_depth=2).tree(pos)
    assert regular.partition.num_patches == 16 and regular.level.tolist() == [2] * 16
    assert regular.code.tolist() == list(range(16))
    cells = grid_positions(pos, torch.tensor([0, 400]), 2).cells
    assert torch.equal(regular.partition.node_to_patch, morton_encode(cells))


def test_transform_stores_the_leaves() -> None:
    graphs = random_graphs([40, 25])
    octree = Octree(8)
    batch = Batch.from_data_list([octree(graph) for graph in graphs])
    part, direct = Partition.of(batch), octree.partition(batch.pos, batch.ptr)
    for name in ("perm", "ptr", "level", "batch"):
        assert torch.equal(getattr(part, name), getattr(direct, name)), name
    assert graphs[0].get("patch_index") is None
    with pytest.raises(InputError, match="'batch' must be sorted"):
        octree(MeshGraph(pos=batch.pos, batch=batch.batch.flip(0)))


def test_graphs_without_nodes_survive_batching() -> None:
    graphs = random_graphs([0, 9, 0, 7, 0])
    octree = Octree(4)
    batch = Batch.from_data_list(graphs)
    direct = octree.partition(batch.pos, batch.ptr)
    assert direct.batch.unique().tolist() == [1, 3]
    for stored in (octree(batch), Batch.from_data_list([octree(graph) for graph in graphs])):
        part = Partition.of(stored)
        assert torch.equal(part.batch, direct.batch) and torch.equal(part.perm, direct.perm)
        assert stored.patch_count.shape == (5,)


def test_repr_and_bad_arguments() -> None:
    assert repr(Octree(8)) == "Octree(capacity=8, max_depth=None, min_depth=0, balance=False)"
    with pytest.raises(InputError, match="capacity must be at least 1, got 0"):
        Octree(0)
    with pytest.raises(InputError, match="max_depth must be 0 to 62, got 63"):
        Octree(max_depth=63)
    with pytest.raises(InputError, match=r"min_depth must be 0 to max_depth \(3\), got 4"):
        Octree(max_depth=3, min_depth=4)
    with pytest.raises(InputError, match="depth must be 0 to 21 for 3 coordinates, got 25"):
        Octree(max_depth=25).partition(torch.rand(5, 3))
    with pytest.raises(InputError, match="depth must be 0 to 21 for 3 coordinates, got 25"):
        Octree(min_depth=25).partition(torch.rand(5, 3))
    with pytest.raises(InputError, match="1, 2 or 3 coordinates, got 4"):
        Octree().partition(torch.rand(5, 4))
    with pytest.raises(InputError, match="position 2 is"):
        Octree().partition(torch.tensor([[0.0], [1.0], [torch.nan]]))


def test_bad_queries() -> None:
    tree = Octree(4).tree(torch.rand(20, 3), torch.tensor([0, 12, 20]))
    with pytest.raises(InputError, match="the tree is of 2 graphs: give 'batch'"):
        tree.locate(torch.rand(5, 3))
    with pytest.raises(InputError, match=r"batch\[1\] is 2; indices must lie in 0 .. 1"):
        tree.locate(torch.rand(2, 3), torch.tensor([0, 2]))
    with pytest.raises(InputError, match=r"batch must be \[2\], one graph per position, got \(3,\)"):
        tree.locate(torch.rand(2, 3), torch.zeros(3, dtype=torch.long))
    with pytest.raises(InputError, match="positions must have 3 coordinates like the tree, got 2"):
        tree.locate(torch.rand(2, 2))
    with pytest.raises(InputError, match="position 1 is"):
        tree.locate(torch.tensor([[0.0] * 3, [torch.nan] * 3]))
    with pytest.raises(InputError, match=r"one entry per axis \(3\), got 1"):
        tree.face_neighbors((True,))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("octree", OCTREES, ids=repr)
def test_cuda_gives_the_same_leaves(octree: Octree) -> None:
    pos = torch.cat([torch.randn(3000, 3), 1e-4 * torch.randn(2000, 3).round(decimals=1)])
    ptr = torch.tensor([0, 1200, 1200, 5000])
    here, there = octree.tree(pos, ptr), octree.tree(pos.cuda(), ptr.cuda())
    for name in ("code", "level", "batch", "origin", "side"):
        assert torch.equal(getattr(here, name), getattr(there, name).cpu()), name
    for name in ("perm", "ptr"):
        assert torch.equal(getattr(here.partition, name), getattr(there.partition, name).cpu()), name
    assert torch.equal(here.face_neighbors(), there.face_neighbors().cpu())
    assert torch.equal(here.cell_origin(), there.cell_origin().cpu())
    query, graph = torch.randn(500, 3), torch.randint(0, 3, (500,))
    assert torch.equal(here.locate(query, graph), there.locate(query.cuda(), graph.cuda()).cpu())
    for one, other in zip(here.hierarchy().partitions, there.hierarchy().partitions, strict=True):
        assert torch.equal(one.ptr, other.ptr.cpu())
