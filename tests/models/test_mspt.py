"""MSPT: published sizes, invariances, equality with dense attention, decoding, errors."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close
from torch_geometric.data import Batch, Data

from meshops.data.mesh_graph import MeshGraph
from meshops.data.sampling import interleave
from meshops.errors import InputError
from meshops.models import MSPT, create_model, list_models
from meshops.models.mspt import MSPTBlock, MSPTInputs
from meshops.nn.point_model import grid_distances
from meshops.partition import assign
from meshops.tasks import Draw, FieldsSettings, FieldsSpec, FieldsTask
from meshops.tasks.fields_samples import FieldsSamples
from meshops.testing import check_model, random_graphs

# Released code, instantiated (Pipe equals Airfoil).
PARAMETERS = {
    "mspt_shapenet_car": 12_776_964,
    "mspt_elasticity": 2_149_761,
    "mspt_airfoil": 2_150_273,
    "mspt_pipe": 2_150_273,
    "mspt_plasticity": 2_183_428,
    "mspt_navier_stokes": 8_596_225,
    "mspt_darcy": 8_591_617,
}


def small(in_channels: int = 2, **changes: Any) -> MSPT:
    """Model with weights large enough that every part matters."""
    arguments = {"channels": 16, "depth": 2, "num_heads": 2, "num_patches": 4} | changes
    model = MSPT(in_channels, 3, **arguments)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model.eval()


def run(model: MSPT, pos: Tensor, x: Tensor | None) -> Tensor:
    out: Tensor = model(MSPTInputs(pos, x, *model.patches(pos)))
    return out


@pytest.mark.parametrize("name", PARAMETERS)
def test_number_of_parameters(name: str) -> None:
    assert sum(p.numel() for p in create_model(name).parameters()) == PARAMETERS[name]


def test_all_published_sizes_are_checked() -> None:
    assert set(list_models("mspt_*")) == set(PARAMETERS)


@pytest.mark.parametrize("name", list_models("mspt*"))
def test_shared_checks(name: str) -> None:
    changes: dict[str, Any] = {"num_patches": 4, "depth": 2}
    if name == "mspt":
        changes |= {"in_channels": 2, "out_channels": 1, "channels": 16}
    model = create_model(name, **changes)
    assert isinstance(model, MSPT)
    graphs = random_graphs([36, 36], num_features=model.embed.in_channels, dim=model.embed.pos_dim)
    for graph in graphs:
        if model.embed.time is not None:
            graph.time = torch.rand(1)
    check_model(model, graphs, any_order=model.patching != "file")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"num_supernodes": 2},
        {"rotary": True, "num_supernodes": 2, "channels": 24},
        {"pooling": "max"},
        {"patch_size": 16, "num_patches": None},
        {"patch_size": 20, "num_patches": None, "rotary": True, "channels": 24},
        {"unified_pos": 3},
        {"variant": "reference", "mask_padding": True},
    ],
    ids=str,
)
def test_shared_checks_on_ragged_batches(changes: dict[str, Any]) -> None:
    check_model(small(**changes), random_graphs([61, 40, 33], num_features=2))


def test_tiny_and_empty_graphs_in_a_batch() -> None:
    model = small()
    graphs = random_graphs([50, 1, 3], num_features=2)
    check_model(model, graphs)
    pos, x = torch.rand(53, 3), torch.randn(53, 2)
    patches = model.patches(pos, torch.tensor([0, 50, 50, 53]))
    out = model(MSPTInputs(pos, x, *patches))
    out.sum().backward()
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters() if p.grad is not None)
    assert_close(out[:50], run(model, pos[:50], x[:50]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("variant", ["paper", "reference"])
@pytest.mark.parametrize("num_patches", [1, 4, 8])
def test_order_of_nodes_does_not_matter(num_patches: int, variant: Any) -> None:
    model = small(num_patches=num_patches, variant=variant).double()
    pos, x, order = torch.rand(64, 3).double(), torch.randn(64, 2).double(), torch.randperm(64)
    assert_close(run(model, pos[order], x[order]), run(model, pos, x)[order], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("changes", [{}, {"num_supernodes": 2}, {"pooling": "max"}, {"rotary": True}], ids=str)
def test_padding_does_not_change_the_answer(changes: dict[str, Any]) -> None:
    model = small(**changes)
    pos, x = torch.rand(27, 3), torch.randn(27, 2)
    index, mask = model.patches(pos)
    assert mask is not None
    q = model.num_supernodes
    blocks = [array.view(1, 4, q, -1) for array in (index, mask)]
    wider = [nn.functional.pad(block, (0, 3)).flatten(2) for block in blocks]
    empty = [nn.functional.pad(array, (0, 0, 0, 2)) for array in wider]
    expected = model(MSPTInputs(pos, x, index, mask))
    assert_close(model(MSPTInputs(pos, x, *wider)), expected)
    assert_close(model(MSPTInputs(pos, x, *empty)), expected)
    unmasked = small(**changes, mask_padding=False)
    unmasked.load_state_dict(model.state_dict())
    assert not torch.allclose(unmasked(MSPTInputs(pos, x, index, mask)), expected)


def dense_block(block: MSPTBlock, h: Tensor, patches: list[Tensor]) -> Tensor:
    """The formula of the paper, patch by patch, with torch's attention on [H_k ; S]."""
    u = block.norm_attention(h)
    supernodes = torch.stack([u[nodes].mean(0) for nodes in patches])
    layer = block.attention
    out = torch.zeros_like(h)
    for nodes in patches:
        z = torch.cat([u[nodes], supernodes])
        attended, _ = nn.functional.multi_head_attention_forward(
            z[:, None], z[:, None], z[:, None], z.shape[1], layer.num_heads,
            torch.cat([layer.query.weight, layer.key.weight, layer.value.weight]),
            torch.cat([layer.query.bias, layer.key.bias, layer.value.bias]),
            None, None, False, 0.0, layer.out.weight, layer.out.bias, need_weights=False,
        )  # fmt: skip
        out = out.index_copy(0, nodes, attended[: len(nodes), 0])
    h = h + out
    y: Tensor = block.ffn(block.norm_ffn(h))
    return h + y if block.residual else y


@pytest.mark.parametrize("num_patches", [1, 4])
def test_equals_the_formula_of_the_paper_with_gradients(num_patches: int) -> None:
    """K = 1: full attention plus the one supernode."""
    model = small(num_patches=num_patches, depth=3).double()
    pos, x = torch.rand(30, 3).double(), torch.randn(30, 2).double()
    index, mask = model.patches(pos)
    mask = torch.ones_like(index, dtype=torch.bool) if mask is None else mask
    groups = [i[m] for i, m in zip(index[0], mask[0], strict=True)]

    h = model.embed(pos, x)
    for block in model.blocks:
        assert isinstance(block, MSPTBlock)
        h = dense_block(block, h, groups)
    out = run(model, pos, x)
    assert_close(out, h)
    parameters = list(model.parameters())
    weights = torch.randn_like(h)
    expected = torch.autograd.grad((h * weights).sum(), parameters)
    for grad, wanted in zip(torch.autograd.grad((out * weights).sum(), parameters), expected, strict=True):
        assert_close(grad, wanted)


@pytest.mark.parametrize("q", [1, 2])
def test_rows_of_a_block_are_n_plus_k_q(q: int) -> None:
    model = small(num_patches=8, num_supernodes=q)
    n = 64
    rows: dict[str, int] = {}
    attention = model.blocks[0].attention
    for name in ("query", "key", "value"):

        def count(module: nn.Module, args: tuple[Tensor, ...], out: Tensor, name: str = name) -> None:
            rows[name] = rows.get(name, 0) + args[0].shape[:-1].numel()

        getattr(attention, name).register_forward_hook(count)
    run(model, torch.rand(n, 3), torch.randn(n, 2))
    assert rows == {"query": n, "key": n + 8 * q, "value": n + 8 * q}


@pytest.mark.parametrize(
    "changes", [{}, {"num_supernodes": 2}, {"rotary": True}, {"patch_size": 9, "num_patches": None}], ids=str
)
def test_decoding_the_anchors_is_the_forward_pass(changes: dict[str, Any]) -> None:
    model = small(**changes)
    pos, x = torch.rand(45, 3), torch.randn(45, 2)
    patches = model.patches(pos)
    memories = model.encode(MSPTInputs(pos, x, *patches))
    assert len(memories) == len(model.blocks)
    assert_close(model.decode(memories, MSPTInputs(pos, x, *patches)), run(model, pos, x))


@pytest.mark.parametrize("rotary", [False, True])
def test_decoding_does_not_depend_on_chunks(rotary: bool) -> None:
    model = small(rotary=rotary)
    pos, x = torch.rand(45, 3), torch.randn(45, 2)
    memories = model.encode(MSPTInputs(pos, x, *model.patches(pos)))
    queries, features, leaf = torch.rand(20, 3), torch.randn(20, 2), torch.randint(0, 4, (20,))
    whole = model.decode(memories, MSPTInputs(queries, features, *assign(leaf, 4)))
    for chunk in (1, 7):
        parts = [
            model.decode(memories, MSPTInputs(p, f, *assign(i, 4)))
            for p, f, i in zip(queries.split(chunk), features.split(chunk), leaf.split(chunk), strict=True)
        ]
        assert_close(torch.cat(parts), whole)


def test_decoding_with_time() -> None:
    model = small(time=True)
    pos, x, time = torch.rand(20, 3), torch.randn(20, 2), torch.tensor([0.7])
    patches = model.patches(pos)
    memories = model.encode(MSPTInputs(pos, x, *patches, time=time))
    assert_close(
        model.decode(memories, MSPTInputs(pos, x, *patches, time=time)), model(MSPTInputs(pos, x, *patches, time))
    )


def test_each_graph_has_its_own_time() -> None:
    model = small(time=True).double()
    graphs = random_graphs([20, 20], num_features=2)
    pos, x = graphs[0].pos.double(), graphs[0].x.double()
    times = torch.tensor([0.1, 0.9]).double()
    patches = model.patches(pos.repeat(2, 1), torch.tensor([0, 20, 40]))
    both = model(MSPTInputs(pos.repeat(2, 1), x.repeat(2, 1), *patches, times))
    for i, out in enumerate(both.split(20)):
        assert_close(out, model(MSPTInputs(pos, x, *model.patches(pos), times[i : i + 1])))
    assert not torch.allclose(both[:20], both[20:])
    with pytest.raises(InputError, match="needs an attribute 'time'"):
        model(MSPTInputs(pos, x, *model.patches(pos)))


def test_rotary_attention_ignores_a_common_shift() -> None:
    model = small(rotary=True, rotary_wavelengths=(0.2, 2.0)).double()
    with torch.no_grad():
        model.embed.mlp[0].weight[:, :3].zero_()  # positions enter through the rotation alone
    pos, x = torch.rand(30, 3).double(), torch.randn(30, 2).double()
    out = run(model, pos, x)
    assert_close(run(model, pos + 8.0, x), out, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(out, run(model, pos * 1.3, x), rtol=1e-3)


def test_unified_pos_replaces_positions_by_distances() -> None:
    pos = torch.rand(40, 2) * 2 - 1
    grid = [(2 * i / 7 - 1, 2 * j / 7 - 1) for i in range(8) for j in range(8)]
    expected = torch.stack([(pos - torch.tensor(point)).norm(dim=1) for point in grid], 1)
    assert_close(grid_distances(pos, 8), expected)
    assert grid_distances(torch.tensor([[-5 / 7, -3 / 7]]), 8)[0, 10] < 1e-7
    assert small(1, pos_dim=2, unified_pos=8).embed.mlp[0].in_features == 65


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize(
    ("patching", "changes"),
    [
        ("ball_tree", {"patch_size": 8}),
        ("ball_tree", {"patch_size": 8, "num_supernodes": 4}),
        ("hilbert", {"num_patches": 5}),
        ("hilbert", {"patch_size": 9, "num_supernodes": 3}),
        ("morton", {"num_patches": 5, "num_supernodes": 3, "rotary": True}),
        ("morton", {"patch_size": 9, "variant": "reference", "mask_padding": True}),
        ("octree", {"patch_size": 8}),
        ("octree", {"patch_size": 8, "pooling": "max"}),
        ("file", {"num_patches": 5, "rotary": True}),
        ("file", {"num_patches": 5, "num_supernodes": 3}),
        ("file", {"patch_size": 9, "num_supernodes": 2, "rotary": True}),
    ],
    ids=str,
)
def test_any_patches_any_graphs(patching: Any, changes: dict[str, Any], dim: int) -> None:
    """Ragged batches in two and three dimensions, graphs smaller than a patch or than the number of patches."""
    model = small(patching=patching, pos_dim=dim, **{"num_patches": None} | changes)
    graphs = random_graphs([61, 33, 3, 1], num_features=2, dim=dim)
    check_model(model, graphs, any_order=patching != "file")


def spread(model: MSPT, pos: Tensor) -> float:
    """Mean distance of nodes from the centre of their patch."""
    index, mask = model.patches(pos)
    mask = torch.ones_like(index, dtype=torch.bool) if mask is None else mask
    parts = [pos[i[m]] for i, m in zip(index[0], mask[0], strict=True) if bool(m.any())]
    return float(torch.cat([(part - part.mean(0)).norm(dim=1) for part in parts]).mean())


def test_patches_of_every_kind_are_compact_but_those_of_the_file() -> None:
    """Nodes in random order: 16 patches of 64 in the unit cube; a ball of that volume has a mean radius of 0.18."""
    pos = torch.rand(1024, 3, generator=torch.Generator().manual_seed(0))
    found = {
        name: spread(small(patching=name, num_patches=16), pos) for name in ("ball_tree", "hilbert", "morton", "file")
    }
    found["octree"] = spread(small(patching="octree", num_patches=None, patch_size=128), pos)
    assert max(found[name] for name in ("ball_tree", "hilbert", "morton", "octree")) < 0.3 < 0.4 < found["file"]


def test_patches_of_the_file_are_runs_of_the_file_in_training_and_prediction() -> None:
    """The first coordinate is the place in the file: a patch of a subset spans no more of it than it must."""
    n, patches = 3682, 32
    case = MeshGraph(pos=torch.rand(n, 3), x=torch.zeros(n, 1), y=torch.zeros(n, 1))
    case.pos[:, 0] = torch.arange(n)
    model = small(1, patching="file", num_patches=patches)

    def span(graph: Any) -> float:
        inputs = model.unpack(graph)
        mask = torch.ones_like(inputs.index, dtype=torch.bool) if inputs.mask is None else inputs.mask
        place = inputs.pos[:, 0][inputs.index]
        high = place.masked_fill(~mask, -1).amax(2)
        return float((high - place.masked_fill(~mask, n).amin(2))[mask.any(2)].median())

    def task(model: MSPT, case: MeshGraph, nodes: int) -> Any:
        spec = FieldsSpec(fields=("y",), sizes=(1,), units=("",), dim=3, inputs=("x",), nodes=nodes)
        samples = FieldsSamples(spec=spec, graphs=[case], held_out=(), offers=frozenset({"points"}), names=("case",))
        made = FieldsTask.fit(model, samples, FieldsSettings())
        return made.batch(samples, [Draw(0, 1), Draw(0, 2)])

    assert span(case) == -(-n // patches) - 1
    for nodes in (n, n // 2):
        drawn = task(model, case, nodes)
        assert span(drawn) < 1.25 * n / patches and len(drawn.pos) == 2 * nodes
    for index in interleave(n, n // 3, torch.Generator().manual_seed(0)):
        assert span(MeshGraph(pos=case.pos[index], x=case.x[index])) < 1.25 * n / patches


def test_linear_pooling_takes_shorter_patches_as_padded() -> None:
    model = small(patch_size=16, num_patches=None, pooling="linear")
    pos, x = torch.rand(50, 3), torch.randn(50, 2)
    index, mask = model.patches(pos)
    assert index.shape[2] == 13
    assert mask is not None
    full = nn.functional.pad(index, (0, 3)), nn.functional.pad(mask, (0, 3))
    assert_close(model(MSPTInputs(pos, x, index, mask)), model(MSPTInputs(pos, x, *full)))


@pytest.mark.parametrize("variant", ["paper", "reference"])
def test_checkpointing_changes_no_gradient(variant: Any) -> None:
    pos, x = torch.rand(30, 3), torch.randn(30, 2)
    grads = []
    plain = small(variant=variant)
    for checkpoint in (False, True):
        model = small(variant=variant, checkpoint=checkpoint)
        model.load_state_dict(plain.state_dict())
        model.train()
        run(model, pos, x).square().sum().backward()
        grads.append([p.grad for p in model.parameters()])
    for first, second in zip(*grads, strict=True):
        assert_close(first, second)


def test_plain_graphs_of_pyg_without_ptr_are_enough() -> None:
    model = small()
    graphs = [Data(pos=graph.pos, x=graph.x) for graph in random_graphs([20, 9], num_features=2)]
    together = model(model.unpack(Batch.from_data_list(graphs)))
    assert_close(together, torch.cat([model(model.unpack(graph)) for graph in graphs]), rtol=1e-4, atol=1e-5)
    joined = Data(
        pos=torch.cat([g.pos for g in graphs]), x=torch.cat([g.x for g in graphs]),
        batch=torch.tensor([0] * 20 + [1] * 9),
    )  # fmt: skip
    assert_close(model(model.unpack(joined)), together)


def test_unpack_names_the_tensors() -> None:
    model = small(time=True)
    graphs = random_graphs([20, 9], num_features=2)
    for graph in graphs:
        graph.time = torch.rand(1)
    batch = Batch.from_data_list(graphs)
    inputs = model.unpack(batch)
    assert inputs.pos is batch.pos and inputs.x is batch.x and inputs.time is not None
    assert inputs.index.shape[:2] == (2, 4) and inputs.time.shape == (2,)


@pytest.mark.compile
@pytest.mark.parametrize("n", [64, 61])
@pytest.mark.parametrize("backend", ["eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiles_whole(backend: str, n: int) -> None:
    model = small(rotary=True)
    pos, x = torch.rand(n, 3), torch.randn(n, 2)
    patches = model.patches(pos)
    compiled = torch.compile(model, fullgraph=True, backend=backend)
    assert_close(compiled(MSPTInputs(pos, x, *patches)), model(MSPTInputs(pos, x, *patches)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_heads": 3}, "num_heads=3 and channels=16; try num_heads=2"),
        ({"num_heads": 3, "variant": "reference"}, "num_heads must divide channels"),
        ({"num_patches": 6}, "power of two, got 6; try 4 or 8"),
        ({"num_supernodes": 3}, "'ball_tree' with num_supernodes=3: multiple must be a power of two, got 3"),
        ({"variant": "published"}, "'paper' or 'reference', got 'published'"),
        ({"variant": "reference", "rotary": True}, "reference variant has no rotary positions"),
        ({"patch_size": 8}, "num_patches or patch_size, not both; got 4 and 8"),
        ({"patching": "hilbrt"}, "unknown partitioner 'hilbrt'; did you mean 'hilbert'"),
        ({"patching": "metis"}, "'metis' needs edges, and models cut by positions alone; use one of 'ball_tree'"),
        ({"patching": "octree"}, "as many leaves as it needs: give patch_size"),
        (
            {"patching": "octree", "patch_size": 8, "num_patches": None, "num_supernodes": 2},
            "'octree' with num_supernodes=2: partitioner 'octree' has no option 'multiple'",
        ),
        ({"pooling": "median"}, "'mean', 'max' or 'linear'"),
        ({"pooling": "linear"}, "patch_size"),
        ({"rotary": True, "num_heads": 4}, "at least 6 in 3-D, got 4"),
    ],
    ids=str,
)
def test_impossible_arguments(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        small(**changes)


def test_the_reference_variant_cannot_decode() -> None:
    model = small(variant="reference")
    pos, x = torch.rand(9, 3), torch.randn(9, 2)
    with pytest.raises(InputError, match="use variant='paper' to decode"):
        model.encode(MSPTInputs(pos, x, *model.patches(pos)))
