"""Plain transformer: dense attention written out, order, batches, shifts, gradients, errors."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close
from torch_geometric.data import Batch, Data

from meshops.errors import InputError
from meshops.models import Transformer
from meshops.nn.transformer import TransformerBlock
from meshops.testing import check_model, random_graphs


def small(in_channels: int = 2, **changes: Any) -> Transformer:
    """Model with weights large enough that every part matters."""
    torch.manual_seed(0)
    arguments = {"channels": 24, "depth": 2, "num_heads": 3} | changes
    model = Transformer(in_channels, 3, **arguments)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    return model.eval()


@pytest.mark.parametrize(
    "changes", [{}, {"rotary": False}, {"dropout": 0.1}, {"num_heads": 1, "mlp_ratio": 1}], ids=str
)
def test_shared_checks_on_ragged_and_equal_batches(changes: dict[str, Any]) -> None:
    check_model(small(**changes), random_graphs([61, 40, 1, 33], num_features=2))
    check_model(small(**changes), random_graphs([30, 30], num_features=2))


def test_shared_checks_in_the_plane_without_features() -> None:
    check_model(small(0, pos_dim=2), random_graphs([25, 14], dim=2))


def turned(rows: Tensor, angles: Tensor) -> Tensor:
    """Pairs of channels (i, i + c / 2) as complex numbers, times exp(i angle)."""
    first, second = rows.chunk(2, 1)
    product = torch.complex(first, second) * torch.polar(torch.ones_like(angles), angles)
    return torch.cat([product.real, product.imag], 1)


def literal(model: Transformer, block: TransformerBlock, h: Tensor, pos: Tensor) -> Tensor:
    """One block for one graph, head by head with the matrix of all pairs."""
    u, layer = block.attention_norm(h), block.attention
    q, (k, v) = layer.query(u), layer.key_value(u).chunk(2, 1)
    width = h.shape[1] // layer.num_heads
    heads = []
    for head in range(layer.num_heads):
        part = slice(head * width, (head + 1) * width)
        query, key = q[:, part], k[:, part]
        if model.rotary is not None:
            angles = model.rotary(pos)
            query, key = turned(query, angles), turned(key, angles)
        heads.append(torch.softmax(query @ key.T / math.sqrt(width), 1) @ v[:, part])
    h = h + layer.out(torch.cat(heads, 1))
    out: Tensor = h + block.mlp(block.mlp_norm(h))
    return out


@pytest.mark.parametrize("rotary", [True, False])
def test_equals_dense_attention_with_gradients(rotary: bool) -> None:
    model = small(rotary=rotary).double()
    pos, x = torch.rand(30, 3).double(), torch.randn(30, 2).double()
    h = model.embed(pos, x)
    for block in model.blocks:
        assert isinstance(block, TransformerBlock)
        h = literal(model, block, h, pos)
    expected, out = model.head(h), model(model.unpack(Data(pos=pos, x=x)))
    assert_close(out, expected)
    parameters, weights = list(model.parameters()), torch.randn_like(out)
    wanted = torch.autograd.grad((expected * weights).sum(), parameters)
    for grad, other in zip(torch.autograd.grad((out * weights).sum(), parameters), wanted, strict=True):
        assert_close(grad, other)


def test_attention_ignores_a_common_shift() -> None:
    model = small().double()
    with torch.no_grad():
        model.embed.mlp[0].weight[:, :3].zero_()  # positions enter through the rotation alone
    pos, x = torch.rand(30, 3).double(), torch.randn(30, 2).double()
    out = model(model.unpack(Data(pos=pos, x=x)))
    assert_close(model(model.unpack(Data(pos=pos + 8.0, x=x))), out, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(out, model(model.unpack(Data(pos=pos * 1.3, x=x))), rtol=1e-3)


def test_graphs_of_one_size_need_no_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    """No matrix over all pairs: attention gets no mask, for one graph and for several."""
    import meshops.nn.transformer as layers

    masks: list[Any] = []

    def attention(q: Tensor, k: Tensor, v: Tensor, **given: Any) -> Tensor:
        masks.append(given.get("attn_mask"))
        return nn.functional.scaled_dot_product_attention(q, k, v, **given)

    monkeypatch.setattr(layers, "scaled_dot_product_attention", attention)
    model = small()
    for count in (1, 3):
        model(model.unpack(Batch.from_data_list(random_graphs([20] * count, num_features=2))))
    assert masks == [None] * 4


def test_each_graph_has_its_own_time() -> None:
    model = small(time=True)
    for sizes in ([20, 20], [20, 12]):
        graphs = random_graphs(sizes, num_features=2)
        for graph, time in zip(graphs, (0.1, 0.9), strict=True):
            graph.time = torch.tensor([time])
        together = model(model.unpack(Batch.from_data_list(graphs)))
        assert_close(together, torch.cat([model(model.unpack(graph)) for graph in graphs]), rtol=1e-4, atol=1e-5)


def test_checkpointing_changes_no_gradient() -> None:
    for sizes in ([30], [30, 11]):
        batch, grads = Batch.from_data_list(random_graphs(sizes, num_features=2)), []
        for checkpoint in (False, True):
            model = small(checkpoint=checkpoint).train()
            model(model.unpack(batch)).square().sum().backward()
            grads.append([p.grad for p in model.parameters()])
        for first, second in zip(*grads, strict=True):
            assert_close(first, second)


def test_error_messages() -> None:
    with pytest.raises(InputError, match="num_heads=5 and channels=24; try num_heads=4"):
        small(num_heads=5)
    with pytest.raises(InputError, match="at least 6 in 3-D, got 4"):
        small(num_heads=6)
    model = small()
    with pytest.raises(InputError, match="3 coordinates in pos and 2 features in x, got 3 and 0"):
        model(model.unpack(Data(pos=torch.rand(4, 3))))
    timed = small(time=True)
    with pytest.raises(InputError, match="needs an attribute 'time'"):
        timed(timed.unpack(random_graphs([5], num_features=2)[0]))
