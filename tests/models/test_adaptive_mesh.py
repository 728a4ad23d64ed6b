"""IAP and AMR-Transformer on meshes: content of tokens, painting, few nodes, planes, draws in training."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.testing import assert_close
from torch_geometric.data import Batch

from meshops.data import MeshGraph
from meshops.errors import InputError
from meshops.models import AMRMesh, IAPMesh, create_model

SMALL: dict[str, dict[str, Any]] = {
    "iapmesh": {"channels": 16, "depth": 1, "num_heads": 2, "budget": 24},
    "amrmesh": {"channels": 16, "depth": 1, "num_heads": 2, "hidden": 16},
}


def build(name: str, pos_dim: int = 2, in_channels: int = 2, **changes: Any) -> Any:
    torch.manual_seed(0)
    return create_model(
        name, in_channels=in_channels, out_channels=3, pos_dim=pos_dim, **{**SMALL[name], **changes}
    ).eval()


def graph(n: int, dim: int = 2, features: int = 2, seed: int = 0) -> MeshGraph:
    generator = torch.Generator().manual_seed(seed)
    pos = 2 * torch.rand(n, dim, generator=generator) - 1
    return MeshGraph(
        pos=pos, x=torch.stack([(3 * pos[:, i % dim] + i).sin() for i in range(features)], 1) if features else None
    )


def predict(model: Any, data: Any) -> torch.Tensor:
    with torch.no_grad():
        out: torch.Tensor = model(model.unpack(data))
    return out


@pytest.mark.parametrize("decoder", ["cross", "local", "amr local", "amr paint"])
def test_batches_of_unequal_graphs_equal_them_one_by_one(decoder: str) -> None:
    kind, _, how = decoder.rpartition(" ")
    model = build("amrmesh" if kind else "iapmesh", decoder=how)
    graphs = [graph(n, seed=n) for n in (300, 11, 60)]
    together = predict(model, Batch.from_data_list(graphs))
    assert_close(together, torch.cat([predict(model, one) for one in graphs]), rtol=1e-4, atol=1e-5)
    order = torch.randperm(300)
    turned = MeshGraph(pos=graphs[0].pos[order], x=graphs[0].x[order])
    assert_close(predict(model, turned), together[:300][order], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["iapmesh", "amrmesh"])
@pytest.mark.parametrize("features", [0, 2])
def test_few_nodes_planes_and_coinciding_nodes(name: str, features: int) -> None:
    model = build(name, pos_dim=3, in_channels=features, num_heads=2)
    for n in (1, 2, 5, 23):  # fewer than tokens
        out = predict(model, graph(n, 3, features))
        assert out.shape == (n, 3) and bool(out.isfinite().all())
    flat = graph(200, 3, features)
    flat.pos[:, 2] = 0.3
    assert bool(predict(model, flat).isfinite().all())
    flat.pos[:] = 0.3
    inputs = model.train().unpack(flat)
    model(inputs).square().sum().backward()
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in model.parameters())


def test_tokens_of_regions_hold_the_means_of_their_parts() -> None:
    model = build("amrmesh")
    data = graph(200)
    inputs = model.unpack(data)
    content, cells = model.content(inputs), inputs.tokens
    assert content.shape == (cells.num_tokens, 4 * (2 + 2 + 2))
    token = int(cells.ptr.diff().argmin()) // 2
    nodes = cells.node[cells.ptr[token] : cells.ptr[token + 1]]
    for number, (right, up) in enumerate([(0, 0), (1, 0), (0, 1), (1, 1)]):
        above = data.pos[nodes] >= cells.center[token]
        inside = nodes[(above == torch.tensor([bool(right), bool(up)])).all(1)]
        mean = data.x[inside].mean(0) if len(inside) else torch.zeros(2)
        centre = cells.center[token] + cells.half[token] * (torch.tensor([right, up]) - 0.5)
        wanted = torch.cat([mean, torch.tensor([len(inside) / len(nodes), cells.depth[token] / 8]), centre])
        assert_close(content[token].view(4, 6)[number], wanted)


def test_painted_values_are_those_of_the_part_of_the_finest_region() -> None:
    model = build("amrmesh", decoder="paint")
    data = graph(400)
    out, cells = predict(model, data), model.unpack(data).tokens
    part = cells.home * 4 + ((data.pos >= cells.center[cells.home]).long() * torch.tensor([1, 2])).sum(1)
    for number in part.unique():
        assert_close(out[part == number], out[part == number][:1].expand(int((part == number).sum()), 3))
    assert len(out.unique(dim=0)) == len(part.unique()) > 100


@pytest.mark.parametrize("name", ["iapmesh", "amrmesh"])
def test_every_node_hears_of_every_other(name: str) -> None:
    model, data = build(name), graph(100)
    inputs = model.unpack(data)
    x = inputs.x.clone().requires_grad_()
    model(inputs._replace(x=x))[3].sum().backward()
    assert x.grad is not None and bool((x.grad != 0).any(1).all())


def test_budgets_and_thresholds_are_drawn_in_training_alone() -> None:
    data = graph(500)
    iap = build("iapmesh", budget_range=(5, 100))
    assert iap.unpack(data).tokens.num_tokens <= 24
    drawn = {iap.train().unpack(data).tokens.num_tokens for _ in range(8)}
    assert len(drawn) > 3 and max(drawn) <= 100
    amr = build("amrmesh", random_thresholds=True)
    assert len({amr.unpack(data).tokens.num_tokens for _ in range(4)}) == 1
    assert len({amr.train().unpack(data).tokens.num_tokens for _ in range(8)}) > 1


def test_the_score_can_be_told_which_features_to_look_at() -> None:
    data = graph(500)
    data.x[:, 1] = torch.randn(500, generator=torch.Generator().manual_seed(0))
    ours, smooth = (build("iapmesh", score_channels=c).unpack(data).tokens for c in (None, [0]))
    data.x[:, 1] = 0
    assert torch.equal(build("iapmesh").unpack(data).tokens.node, smooth.node)
    assert not torch.equal(ours.node, smooth.node)


@pytest.mark.parametrize("name", ["iapmesh", "amrmesh"])
def test_rotary_positions_take_part(name: str) -> None:
    model, data = build(name), graph(200)
    out = predict(model, data)
    model.positions.frequency.zero_()
    still = predict(model, data)
    assert not torch.allclose(out, still)
    if name == "amrmesh":
        bare = build(name, rotary=False)
        bare.load_state_dict(model.state_dict())
        assert_close(predict(bare, data), still)


def test_refusals() -> None:
    with pytest.raises(InputError, match="score_channels names channel 2 of an input of 2"):
        IAPMesh(2, 1, score_channels=(2,))
    with pytest.raises(InputError, match=r"budget_range must be \(smallest, largest\)"):
        IAPMesh(2, 1, budget_range=(5, 2))
    with pytest.raises(InputError, match="decoder must be 'local' or 'paint', got 'cross'"):
        AMRMesh(2, 1, decoder="cross")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"velocity must name one feature per axis \(3\), got \[0\]"):
        AMRMesh(2, 1, velocity=[0])
    with pytest.raises(InputError, match="has no place for a time"):
        AMRMesh(2, 1, decoder="paint", time=True)
    for name in SMALL:
        model = build(name)
        with pytest.raises(InputError, match="made for 2 coordinates in pos and 2 features in x, got 2 and 1"):
            predict(model, graph(9, features=1))
