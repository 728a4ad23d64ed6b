"""Quantised linear layers: plain without bits, one bucket at a time with them, in any order of the rows."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from meshops.errors import InputError
from meshops.nn import MLP, MeshBits
from meshops.nn.quantized import BitPlan, Bits, QuantLinear, assigned, quantize
from meshops.nn.row_linear import RowLinear
from meshops.ops.quantize import fake_quantize_rows, fake_quantize_weight


def run(layer: nn.Module, x: Tensor, bits: Bits) -> Tensor:
    with assigned(layer, bits):
        out: Tensor = layer(x)
    return out


def test_without_bits_it_is_the_plain_layer() -> None:
    torch.manual_seed(0)
    layer, x = QuantLinear(nn.Linear(12, 5)), torch.randn(7, 12)
    assert torch.equal(layer(x), torch.nn.functional.linear(x, layer.weight, layer.bias))


@pytest.mark.parametrize("weights", ["matched", "shared"])
def test_each_row_meets_the_weights_of_its_bits(weights: str) -> None:
    torch.manual_seed(0)
    layer = QuantLinear(nn.Linear(12, 5), bits=(2, 4, 8), weights=weights)  # type: ignore[arg-type]
    x, bits = torch.randn(40, 12), torch.tensor([2, 4, 8])[torch.randint(0, 3, (40,))]
    out = run(layer, x, BitPlan.of(bits))
    for row in range(40):
        width = int(bits[row])
        seen = fake_quantize_rows(x[row : row + 1], width, layer.clip[str(width)])
        met = width if weights == "matched" else 8
        weight = fake_quantize_weight(layer.weight, met, layer.step[str(met)])
        assert_close(out[row : row + 1], seen @ weight.T + layer.bias, atol=1e-5, rtol=1e-5)


def test_order_and_empty_buckets_do_not_matter() -> None:
    layer, x = QuantLinear(nn.Linear(12, 5), bits=(2, 4, 8)), torch.randn(33, 12)
    bits = torch.where(torch.arange(33) % 3 == 0, 2, 8)
    out = run(layer, x, BitPlan.of(bits))
    order = torch.randperm(33)
    assert_close(run(layer, x[order], BitPlan.of(bits[order])), out[order])
    assert run(layer, x[:0], BitPlan.of(bits[:0])).shape == (0, 5)
    assert BitPlan.of(bits[:0]).buckets == ()


def test_eight_bits_are_nearly_exact_and_fewer_are_worse() -> None:
    torch.manual_seed(0)
    layer, x = QuantLinear(nn.Linear(128, 64), bits=(2, 3, 4, 6, 8)), torch.randn(500, 128)
    plain = layer(x)
    errors = []
    for width in layer.bits:
        out = run(layer, x, BitPlan.of(torch.full((500,), width)))
        errors.append(float((out - plain).norm() / plain.norm()))
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.01


def test_everything_learns() -> None:
    layer, x = QuantLinear(nn.Linear(12, 5), bits=(2, 4)), torch.randn(20, 12, requires_grad=True)
    run(layer, x, BitPlan.of(torch.tensor([2, 4] * 10))).square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in layer.parameters())
    assert x.grad is not None and bool(x.grad.any())


def test_bit_operations_are_counted() -> None:
    plan = BitPlan.of(torch.tensor([4, 8, 8, 4, 4]))
    assert QuantLinear(nn.Linear(10, 3)).bit_operations(plan) == 30 * (3 * 16 + 2 * 64)
    assert QuantLinear(nn.Linear(10, 3), weights="shared").bit_operations(plan) == 30 * (3 * 4 * 8 + 2 * 64)


def test_bad_plans_are_explained() -> None:
    layer = QuantLinear(nn.Linear(4, 2))
    with pytest.raises(InputError, match="a row has 6 bits, the layer was built for 4, 8"):
        run(layer, torch.zeros(2, 4), BitPlan.of(torch.tensor([4, 6])))
    with pytest.raises(InputError, match="the plan is for 3 rows, got 2"):
        run(layer, torch.zeros(2, 4), BitPlan.of(torch.tensor([4, 8, 8])))
    with pytest.raises(InputError, match="got 1 in row 1"):
        BitPlan.of(torch.tensor([4, 1]))
    with pytest.raises(InputError, match="must be 'matched' or 'shared'"):
        QuantLinear(nn.Linear(4, 2), weights="own")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="bits is empty"):
        QuantLinear(nn.Linear(4, 2), bits=())


def test_learned_ranges_start_from_the_first_rows() -> None:
    torch.manual_seed(0)
    layer, x = QuantLinear(nn.Linear(12, 5), bits=(4, 8), ranges="tensor"), torch.randn(40, 12)
    out = run(layer, x, BitPlan.of(torch.tensor([4, 8] * 20)))
    assert layer.limits["4"].tolist() == [float(x[::2].min()), float(x[::2].max())]
    out.square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in layer.limits.parameters())


class Pair(nn.Module):
    """A layer on nodes and one on edges, raw inputs at 8 bits, and one layer under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.node, self.edge = RowLinear(3, 4, rows="node", fixed=8), RowLinear(4, 4, rows="edge", bias=False)
        self.last = nn.ModuleList([nn.Linear(4, 2)])
        self.same = self.last[0]

    def forward(self, x: Tensor, sender: Tensor) -> Tensor:
        messages = self.edge(self.node(x, activation="relu")[sender], activation="silu")
        out: Tensor = self.last[0](messages) + self.same(messages)
        return out


def test_quantize_swaps_layers_and_keeps_weights() -> None:
    torch.manual_seed(0)
    model, x, sender = Pair(), torch.randn(6, 3), torch.randint(0, 6, (10,))
    weights, want, random = dict(model.named_parameters()), model(x, sender), torch.get_rng_state()
    quantized = quantize(model, (4, 6))
    assert quantized is model and torch.equal(torch.get_rng_state(), random)
    assert torch.equal(model(x, sender), want)
    assert all(dict(model.named_parameters())[key] is weight for key, weight in weights.items())
    node, edge, last = model.node, model.edge, model.last[0]
    assert isinstance(node, QuantLinear) and isinstance(edge, QuantLinear) and isinstance(last, QuantLinear)
    assert model.same is last and last.name == "last.0" and edge.bias is None
    assert (node.bits, edge.bits, last.bits) == ((8,), (4, 6), (4, 6))
    assert (node.rows, edge.rows, last.rows) == ("node", "edge", None)
    with pytest.raises(InputError, match="or they are quantised already"):
        quantize(model)


def test_rows_have_the_bits_of_their_nodes_and_edges() -> None:
    torch.manual_seed(0)
    model: Any = quantize(Pair(), (4, 6))
    x, sender = torch.randn(6, 3), torch.randint(0, 6, (10,))
    bits = MeshBits(torch.full((6,), 6), torch.tensor([4, 6] * 5))
    with assigned(model, bits):
        out = model(x, sender)
    messages = run(model.node, x, 8).relu()[sender]  # raw inputs: 8 bits
    messages = torch.nn.functional.silu(run(model.edge, messages, bits.plans["edge"]))
    assert_close(out, 2 * run(model.last[0], messages, 6))  # neither nodes nor edges: the highest


def test_plain_networks_have_uniform_bits() -> None:
    torch.manual_seed(0)
    mlp, x = MLP([8, 32, 4]), torch.randn(2, 5, 8)
    want = mlp(x)
    quantize(mlp, bits=(3, 8))
    errors = []
    for width in (3, 8):
        with assigned(mlp, width):
            out = mlp(x)
        assert out.shape == want.shape
        errors.append(float((out - want).norm() / want.norm()))
    assert 0 < errors[1] < 0.02 < errors[0]
    with assigned(mlp, 5), pytest.raises(InputError, match="0: a row has 5 bits, the layer was built for 3, 8"):
        mlp(x)
    layer = quantize(nn.Linear(4, 2), bits=8)
    assert isinstance(layer, QuantLinear) and layer.name == "layer"
    attention: Any = quantize(nn.Sequential(nn.Linear(4, 4), nn.MultiheadAttention(4, 1)))
    assert isinstance(attention[0], QuantLinear) and type(attention[1].out_proj) is not QuantLinear


def test_assigned_bits_end_with_the_block() -> None:
    mlp: Any = quantize(MLP([8, 16, 4]), bits=(4, 8))
    x = torch.randn(5, 8)
    plain = mlp(x)
    with assigned(mlp, 8):
        eight = mlp(x)
        with pytest.raises(RuntimeError, match="stop"), assigned(mlp, 4):
            assert not torch.equal(mlp(x), eight)
            raise RuntimeError("stop")
        assert torch.equal(mlp(x), eight)
        with assigned(mlp[0], None):
            assert not torch.equal(mlp(x), eight)  # all layers of a network share their bits
        copied = deepcopy(mlp)
        with assigned(copied, None):
            assert torch.equal(copied(x), plain) and torch.equal(mlp(x), eight)
    assert torch.equal(mlp(x), plain)
    with pytest.raises(InputError, match="no quantised layers that could be assigned bits"), assigned(nn.ReLU(), 8):
        pass


def test_states_and_bad_settings(tmp_path: Path) -> None:
    model, other = quantize(MLP([8, 16, 4]), (4, 8)), quantize(MLP([8, 16, 4]), (4, 8))
    torch.save(model.state_dict(), tmp_path / "state.pt")
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    x = torch.randn(5, 8)
    assert torch.equal(run(model, x, 4), run(other, x, 4))
    mlp = MLP([8, 16, 4])
    keys = list(mlp.state_dict())
    for settings, text in (
        ({"bits": (1, 8)}, "got 1"),
        ({"weights": "own"}, "must be 'matched'"),
        ({"bits": ()}, "empty"),
    ):
        with pytest.raises(InputError, match=text):
            quantize(mlp, **settings)  # type: ignore[arg-type]
    assert list(mlp.state_dict()) == keys  # all or nothing
    with pytest.raises(InputError, match="no linear layers that could be quantised"):
        quantize(nn.Conv1d(1, 1, 1))
