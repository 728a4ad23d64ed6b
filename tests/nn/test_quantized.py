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
from meshops.nn.optim import make_optimizer, parameter_groups
from meshops.nn.quantized import FIRST_BATCHES, BitPlan, Bits, QuantLinear, assigned, quantize, start_quantisers
from meshops.nn.row_linear import RowLinear
from meshops.ops.quantize import fake_quantize_rows, fake_quantize_weight, weight_step


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
        seen = fake_quantize_rows(x[row : row + 1], width, layer.clip_at(width))
        met = width if weights == "matched" else 8
        weight = fake_quantize_weight(layer.weight, met, layer.step_at(met))
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


def test_learned_ranges_start_from_the_first_batches_of_training() -> None:
    torch.manual_seed(0)
    layer, x = QuantLinear(nn.Linear(12, 5), bits=(4, 8), ranges="tensor"), torch.randn(40, 12)
    plan = BitPlan.of(torch.tensor([4, 8] * 20))
    before = deepcopy(layer.state_dict())
    layer.eval()
    wide = run(layer, 100 * x, plan)  # before any training the rows at hand give the range, and leave nothing behind
    assert float((wide - layer(100 * x)).norm() / wide.norm()) < 0.2
    assert all(torch.equal(value, before[key]) for key, value in layer.state_dict().items())
    layer.train()
    out = run(layer, x, plan)
    assert layer.limits_at(4).tolist() == [float(x[::2].min()), float(x[::2].max())]
    out.square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in layer.log_limits.parameters())
    run(layer, 2 * x, plan)
    assert layer.limits_at(8).tolist() == [2 * float(x[1::2].min()), 2 * float(x[1::2].max())]
    for _ in range(FIRST_BATCHES):
        run(layer, x, plan)
    run(layer, 3 * x, plan)  # too late
    assert layer.limits_at(8).tolist() == [2 * float(x[1::2].min()), 2 * float(x[1::2].max())]


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("ranges", ["row", "tensor"])
def test_states_are_finite_and_read_back_before_and_after_training(ranges: Any, trained: bool) -> None:
    torch.manual_seed(0)
    one, other = (quantize(MLP([6, 8, 2]), (4, 8), ranges=ranges) for _ in range(2))
    x = torch.randn(9, 6)
    if trained:
        run(one, x, 4)
        run(one, x, 8)
    other.load_state_dict(one.state_dict())
    assert all(bool(value.isfinite().all()) for value in one.state_dict().values())
    assert torch.equal(run(one.eval(), x, 4), run(other.eval(), x, 4))


@pytest.mark.parametrize("old", ["step.4", "clip.8", "limits.4"])
def test_states_of_older_quantisers_are_refused(old: str) -> None:
    model = quantize(MLP([6, 8, 2]), (4, 8))
    state = {**model.state_dict(), f"0.{old}": torch.ones(8)}
    with pytest.raises(InputError, match=rf"'0\.{old}' is of a version of meshops .* train again"):
        model.load_state_dict(state)


def weight_errors(model: nn.Module) -> dict[int, tuple[float, float]]:
    """Mean relative error of the weights at each width, with the learned steps and with fresh ones."""
    found: dict[int, list[tuple[float, float]]] = {}
    for layer in (module for module in model.modules() if isinstance(module, QuantLinear)):
        weight = layer.weight.detach()
        for width in layer.log_step:
            steps = (layer.step_at(int(width)).detach(), weight_step(weight, int(width)))
            pair = [float((fake_quantize_weight(weight, int(width), s) - weight).norm() / weight.norm()) for s in steps]
            found.setdefault(int(width), []).append((pair[0], pair[1]))
    return {
        width: (sum(a for a, _ in pairs) / len(pairs), sum(b for _, b in pairs) / len(pairs))
        for width, pairs in found.items()
    }


@pytest.mark.parametrize("grouped", [True, False])
@pytest.mark.parametrize("optimizer", ["adamw", "lion"])
def test_learned_steps_stay_as_good_as_fresh_ones(optimizer: str, grouped: bool) -> None:
    """After joint steps with a real optimiser, at its full rate also where a user forgets the groups."""
    torch.manual_seed(0)
    model, x = quantize(MLP([8, 64, 64, 1]), (4, 5, 6, 7, 8)), torch.randn(200, 8)
    truth = torch.sin(3 * x[:, :1]) * x[:, 1:2]
    parameters: Any = parameter_groups(model, 1e-3) if grouped else model.parameters()
    rule = make_optimizer(optimizer, parameters, lr=1e-3, weight_decay=0.05, betas=(0.9, 0.99))
    losses = []
    for step in range(60):
        rule.zero_grad()
        loss = (run(model, x, 4 + step % 5) - truth).square().mean()
        loss.backward()
        rule.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    for width, (learned, fresh) in weight_errors(model).items():
        assert learned < 1.25 * fresh, (
            width
        )  # fresh steps are fitted to the very weights; stale ones are 2 to 8 times off


def test_clips_and_ranges_move_by_shares_of_themselves() -> None:
    """A range of thousands and one of thousandths: one rate moves both by the same share, and none through zero."""
    moved = []
    for size in (1e-3, 1e3):
        torch.manual_seed(0)
        layer = QuantLinear(nn.Linear(12, 5, bias=False), bits=(4,), ranges="tensor")
        x = size * torch.randn(40, 12)
        rule = torch.optim.Adam(parameter_groups(layer, 1e-2), lr=1e-2)
        for _ in range(40):
            rule.zero_grad()
            (run(layer, x, 4) / size).square().sum().backward()
            rule.step()
        limits = layer.limits_at(4).detach()
        assert float(limits[0]) < 0 < float(limits[1])
        moved.append(float(limits[1]) / float(x.max()))
    assert 0.9 < moved[0] < 1.1 and moved[0] == pytest.approx(moved[1], abs=0.02)


def test_quantisers_start_anew_from_weights_that_were_loaded() -> None:
    torch.manual_seed(0)
    model, trained = quantize(MLP([8, 64, 1]), (4, 8), ranges="tensor"), MLP([8, 64, 1])
    kept = {name: p for name, p in model.named_parameters() if "log_step" in name}
    with torch.no_grad():
        for weight in trained.parameters():
            weight.copy_(weight**3 * 40)  # another size and another shape
    run(model, torch.randn(9, 8), 8)
    model.load_state_dict(trained.state_dict(), strict=False)
    start_quantisers(model)
    assert all(dict(model.named_parameters())[name] is p for name, p in kept.items())  # an optimiser may hold them
    assert all(learned == pytest.approx(fresh, rel=1e-4) for learned, fresh in weight_errors(model).values())
    first: Any = next(layer for layer in model.modules() if isinstance(layer, QuantLinear))
    assert not first.has_ranges(8)


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
