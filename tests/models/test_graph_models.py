"""MP-PDE, GraphViT, MeshGraphNet and AMQ: published sizes, invariances, split layers, integers, bad input."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from torch_geometric.data import Batch

from meshops.data.mesh_graph import MeshGraph
from meshops.errors import DataWarning, InputError
from meshops.models import create_model, list_models, registry
from meshops.models.mp_pde import advance
from meshops.nn import MeshBits, QuantLinear, assigned, quantize, to_integers
from meshops.nn.bit_budget import bit_operations
from meshops.nn.costs import cost_report, row_costs, row_layers
from meshops.nn.model import Model
from meshops.nn.optim import parameter_groups
from meshops.ops.quantize import weight_step
from meshops.testing import check_model, random_graphs

NAMES = ("mppde", "graphvit", "meshgraphnet")
SMALL: dict[str, dict[str, Any]] = {
    "mppde": {"channels": 16, "depth": 2, "variables": 1},
    "graphvit": {"channels": 16, "tokens": 32, "depth": 2, "attention_depth": 1, "cluster_size": 8},
    "meshgraphnet": {"channels": 16, "depth": 2},
}


def small(name: str, **changes: Any) -> Any:
    torch.manual_seed(0)
    return create_model(name, in_channels=3, out_channels=2, pos_dim=2, **(SMALL.get(name, {}) | changes)).eval()


def graph(n: int = 50, seed: int = 0) -> MeshGraph:
    generator = torch.Generator().manual_seed(seed)
    return MeshGraph(pos=torch.rand(n, 2, generator=generator), x=torch.randn(n, 3, generator=generator))


@pytest.mark.parametrize(("name", "count"), [("mp_pde_e1", 634_745), ("graph_vit_eagle", 10_317_956)])
def test_published_numbers_of_weights(name: str, count: int) -> None:
    assert sum(p.numel() for p in create_model(name).parameters()) == count


def test_mp_pde_of_the_other_equations() -> None:
    """E2 and E3 see one and three more parameters of the equation (specification: 636,409 and 639,737)."""
    for more, count in ((1, 636_409), (3, 639_737)):
        model = create_model("mp_pde_e1", in_channels=26 + more, variables=1 + more)
        assert sum(p.numel() for p in model.parameters()) == count


def test_bundles_advance_from_the_newest_step() -> None:
    u, d = torch.tensor([[1.0, 2.0, 10.0, 20.0]]), torch.tensor([[1.0, 1.0, 1.0, 3.0]])  # two steps of two fields
    assert_close(advance(u, d, 0.5, 2), torch.tensor([[10.5, 20.5, 11.0, 23.0]]))


@pytest.mark.parametrize("name", NAMES)
def test_split_edge_layers_are_exact(name: str) -> None:
    split, whole = small(name), small(name, split=False)
    whole.load_state_dict(split.state_dict())
    inputs = split.unpack(graph())
    assert_close(split(inputs), whole(inputs), atol=1e-5, rtol=1e-5)
    assert sum(c.macs for c in cost_report(split, inputs)) < sum(c.macs for c in cost_report(whole, inputs))


CHECKED: dict[str, dict[str, Any]] = {
    "mppde": {},
    "graphvit": {"pooling": "mean"},  # the recurrent network reads members in the order of the tree
    "meshgraphnet": {},
    "amq": {"assignment": "uniform", "bits": (8,), "budget": 8, "arguments": SMALL["mppde"]},
}


@pytest.mark.parametrize("name", CHECKED)
def test_the_contract_of_models_on_graphs(name: str) -> None:
    model = small(name, **CHECKED[name])
    assert isinstance(model, Model) and model.takes == {"graph"}
    loose = {"rtol": 1e-2, "atol": 1e-2} if name == "amq" else {}  # roundings flip
    check_model(model, random_graphs([50, 31], num_features=3, dim=2), **loose)


def test_no_model_on_graphs_is_left_out() -> None:
    classes = {name: registry._MODELS[name] for name in list_models() if isinstance(registry._MODELS[name], type)}
    graphs = {name for name, maker in classes.items() if "graph" in getattr(maker, "takes", ())}
    assert graphs - {"gino"} == set(CHECKED)  # GINO reads no edges


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda m: setattr(m, "takes", {"graph"}), "takes must be a frozenset"),
        (lambda m: setattr(m, "forward", lambda *tensors: tensors[0]), "forward must take one argument"),
        (lambda m: setattr(m, "forward", lambda inputs: inputs.pos + len(inputs.pos)), "a batch gives other values"),
        (lambda m: setattr(m, "forward", lambda inputs: inputs.pos.cumsum(0)), "order of the nodes"),
    ],
)
def test_broken_models_are_found(change: Any, text: str) -> None:
    model = small("mppde")
    change(model)
    with pytest.raises(AssertionError, match=text):
        check_model(model, random_graphs([20, 9], num_features=3, dim=2))


@pytest.mark.parametrize("name", NAMES)
def test_order_of_nodes_and_batching_do_not_matter(name: str) -> None:
    model, data = small(name, **CHECKED[name]), graph()
    out = model(model.unpack(data))
    order = torch.randperm(50)
    assert_close(model(model.unpack(MeshGraph(pos=data.pos[order], x=data.x[order]))), out[order], atol=1e-5, rtol=1e-4)
    other = graph(31, seed=1)
    both = model(model.unpack(Batch.from_data_list([data, other])))
    assert_close(both, torch.cat([out, model(model.unpack(other))]), atol=1e-5, rtol=1e-4)


def test_stored_clusters_are_used() -> None:
    model, data = small("graphvit"), graph()
    found = model.unpack(data)
    data.cluster = found.clusters.of_node
    assert_close(model(model.unpack(data)), model(found), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_every_weight_learns(name: str) -> None:
    model = quantize(small(name), (4, 8)).train()
    inputs = model.unpack(graph())
    bits = MeshBits(*(torch.where(torch.arange(n) % 3 == 0, 8, 4) for n in inputs.counts().values()))
    with assigned(model, bits):
        out = model(inputs)
    out.square().sum().backward()  # outside of the block
    assert [key for key, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.usefixtures("integer_backend")
@pytest.mark.parametrize("name", NAMES)
def test_each_integer_layer_equals_the_fake_one(name: str) -> None:
    """Layer by layer on the same rows: in a whole network, roundings that flip may add up."""
    model = quantize(small(name), (2, 4, 8))
    inputs = model.unpack(graph())
    bits = MeshBits(*(torch.tensor([2, 4, 8])[torch.arange(n) % 3] for n in inputs.counts().values()))
    seen: dict[str, list[tuple[Any, Any, Tensor]]] = {}
    for key, layer in row_layers(model):
        layer.register_forward_hook(
            lambda _, args, kwargs, out, key=key: seen.setdefault(key, []).append((args, kwargs, out)), with_kwargs=True
        )
    with torch.no_grad(), assigned(model, bits):
        model(inputs)
        recorded = {key: list(calls) for key, calls in seen.items()}
        integers = dict(row_layers(to_integers(model)))
        for key, calls in recorded.items():
            for args, kwargs, want in calls:
                got = integers[key](*args, **kwargs)
                assert float((got - want).abs().max()) <= 1e-5 * float(want.abs().max()) + 1e-7, key


@pytest.mark.usefixtures("integer_backend")
@pytest.mark.parametrize("name", NAMES)
def test_quantised_networks_are_the_plain_ones_in_float32(name: str) -> None:
    """Same weights, same costs; a plain network has nothing of quantisers in its state."""
    plain = small(name)
    inputs, keys = plain.unpack(graph()), set(plain.state_dict())
    assert all(key.endswith(("weight", "bias")) for key in keys)
    want = plain(inputs)
    model = quantize(deepcopy(plain), (4, 8))
    assert torch.equal(model(inputs), want) and row_costs(model) == row_costs(plain)
    assert cost_report(model, inputs) == cost_report(plain, inputs)
    assert keys < set(model.state_dict())
    with assigned(model, 4):
        assert not torch.allclose(model(inputs), want)
        with assigned(model, None):
            assert torch.equal(model(inputs), want)
    with pytest.raises(InputError, match=r"'[a-z_]+\.layers\.0' is not quantised"):
        cost_report(plain, inputs, MeshBits.uniform(4, **inputs.counts()))


@pytest.mark.parametrize("name", NAMES)
def test_eight_bits_are_close_to_float(name: str) -> None:
    plain = small(name)
    model = quantize(deepcopy(plain), 8)
    inputs = plain.unpack(graph())
    want = plain(inputs)
    with torch.no_grad():
        got = to_integers(model)(inputs)
    assert float((got - want).norm() / want.norm()) < 0.05


@pytest.mark.parametrize("assignment", ["auxiliary", "gradient", "random", "uniform"])
@pytest.mark.parametrize("backbone", NAMES[:2])
def test_amq_keeps_its_budget_and_learns(assignment: str, backbone: str) -> None:
    torch.manual_seed(0)
    model: Any = create_model(
        "amq", in_channels=3, out_channels=2, pos_dim=2, backbone=backbone, bits=(4, 5, 8), budget=5, explore=1,
        warmup=1, ladders={5: (4, 8)}, assignment=assignment, arguments=SMALL[backbone] | {"channels": 96},
    )  # fmt: skip
    inputs = model.unpack(Batch.from_data_list([graph(), graph(40, seed=2)]))
    bits = model.assign(inputs)
    full = bit_operations(MeshBits.uniform(5, **inputs.counts()), inputs, row_costs(model.main))
    used = model.bit_operations(inputs, bits)
    assert bool((used <= full * (1 + 1e-9)).all()) and bool((used > 0.93 * full).all())
    assert bool((model.auxiliary_operations(inputs) <= 0.03 * full).all())
    truth = torch.randn(90, 2)
    for _ in range(5):
        parts = model.learn(inputs, truth, lambda out: {"loss": (out - truth).square().mean()})
        parts["loss"].backward()
    assert ("auxiliary" in parts) == (assignment == "auxiliary")
    assert int(model.step) == 5
    if assignment == "auxiliary":
        assert all(p.grad is not None for p in model.auxiliary.parameters())
        assert all(p.grad is None for p in model.assigner.parameters())


def test_the_auxiliary_network_finds_where_the_loss_is() -> None:
    """A field that is hard (noise) on one half of the mesh and zero on the other."""
    torch.manual_seed(0)
    model: Any = create_model(
        "amq", in_channels=3, out_channels=1, pos_dim=2, bits=(4, 8), budget=5,
        arguments={"channels": 96, "depth": 1}, exploration=0.0, target="step",
    )  # fmt: skip
    data = graph(200)
    inputs = model.unpack(data)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    for _ in range(60):
        truth = torch.randn(200, 1) * (data.pos[:, :1] > 0.5)
        optimizer.zero_grad()
        model.learn(inputs, truth, lambda out, t=truth: {"loss": (out - t).square().mean()})["loss"].backward()
        optimizer.step()
    bits = model.assign(inputs).plans["node"].bits
    right = data.pos[:, 0] > 0.5
    assert float((bits[right] == 8).float().mean()) > 3 * float((bits[~right] == 8).float().mean())


def amq(**changes: Any) -> Any:
    torch.manual_seed(0)
    given = {"arguments": {"channels": 96, "depth": 1}, "bits": (4, 8), "exploration": 0.0}
    return create_model("amq", in_channels=3, out_channels=1, pos_dim=2, **(given | changes))


def squared(truth: Tensor) -> Any:
    return lambda out: {"loss": (out - truth).square().mean()}


@pytest.mark.parametrize("weights", ["matched", "shared"])
@pytest.mark.parametrize("backbone", NAMES)
def test_both_costs_keep_the_budget_that_the_report_adds_up(weights: str, backbone: str) -> None:
    model = amq(backbone=backbone, arguments=SMALL[backbone] | {"channels": 64}, weights=weights, budget=5)
    inputs = model.unpack(graph())
    bits = model.assign(inputs)
    uniform = MeshBits.uniform(5, **inputs.counts())
    costs = row_costs(model.main)
    assert costs.weight_bits == (None if weights == "matched" else 8)
    sizes = {"in_channels": 3, "out_channels": 1, "pos_dim": 2} | SMALL[backbone] | {"channels": 64}
    whole = quantize(create_model(backbone, **sizes), (4, 5, 8), weights=weights)  # type: ignore[arg-type]
    full = float(bit_operations(uniform, inputs, costs))
    for network, given in ((model.main, bits), (whole, uniform)):
        added = sum(line.bit_operations for line in cost_report(network, inputs, given) if line.rows != "float32")
        assert float(bit_operations(given, inputs, costs)) == pytest.approx(added)
    assert 0.93 <= float(model.bit_operations(inputs, bits)) / full <= 1 + 1e-9
    high = float((bits.plans["node"].bits == 8).float().mean())
    assert high == pytest.approx(0.1875 if weights == "matched" else 0.25, abs=0.08)


def test_networks_on_integers_run_with_weights_at_one_width() -> None:
    model = amq(weights="shared", budget=5, ranges="tensor").train()
    inputs, truth = model.unpack(graph()), torch.zeros(50, 1)
    for width in (4, 8):  # ranges are seen in training
        with assigned(model.main, width), torch.no_grad():
            model.main(inputs)
    model.learn(inputs, truth, squared(truth))
    model.eval()
    with torch.no_grad():
        want = model(inputs)
        bits = model.assign(inputs)
        integers = to_integers(deepcopy(model.main))
        with assigned(integers, bits):
            got = integers(inputs)
    assert float((got - want).norm() / want.norm()) < 0.05


def test_quantisers_start_from_the_weights_at_the_end_of_the_warm_up() -> None:
    """Weights that have another shape after the float32 steps meet steps found for them, held by the same optimiser."""
    model = amq(assignment="random", warmup=30, bits=(4, 6, 8)).train()
    inputs = model.unpack(graph())
    truth = torch.sin(5 * graph().pos[:, :1])
    optimizer = torch.optim.Adam(parameter_groups(model, 5e-3), lr=5e-3)
    steps = {name: p for name, p in model.named_parameters() if "log_step" in name}
    for step in range(31):
        before = {name: p.detach().clone() for name, p in steps.items()}
        optimizer.zero_grad()
        model.learn(inputs, truth, squared(truth))["loss"].backward()
        moved = [name for name, p in steps.items() if not torch.equal(p.detach(), before[name])]
        assert len(moved) == (len(steps) if step == 30 else 0), step
        if step == 30:
            for layer in (m for m in model.main.modules() if isinstance(m, QuantLinear)):
                for width in layer.log_step:
                    assert_close(layer.step_at(int(width)), weight_step(layer.weight.detach(), int(width)))
        optimizer.step()
    assert all(dict(model.named_parameters())[name] is p for name, p in steps.items())


def test_what_the_auxiliary_network_learns_has_no_level_of_the_budget() -> None:
    """Two budgets whose errors differ by a factor of 50: targets are equal, and the budget is told."""
    model = amq(bits=(2, 4, 6, 8), budget=3, budgets=(3.0, 6.0), ladders={3.0: (2, 4), 6.0: (4, 8)})
    inputs, seen = model.unpack(graph()), []
    model._predict_loss = lambda network, inputs, budget: seen.append(budget) or torch.zeros(50)
    error = torch.rand(50) + 0.1
    losses = [float(model.teach(inputs, torch.zeros(50, 1), factor * error, budget))
              for budget, factor in ((3.0, 50.0), (6.0, 1.0), (3.0, 50.0))]  # fmt: skip
    assert seen == [3.0, 6.0, 3.0] and losses[0] == pytest.approx(losses[1], rel=1e-4)
    told = amq(bits=(2, 4, 6, 8), budget=3, budgets=(3.0, 6.0), ladders={3.0: (2, 4), 6.0: (4, 8)})
    with torch.no_grad():
        told.target_deviation.fill_(1.0)
        assert not torch.equal(told.scores(inputs, 3.0), told.scores(inputs, 6.0))


def test_scores_are_logarithms_where_there_are_three_widths() -> None:
    """What is learnt is in units of its deviation; the greedy rule needs it back in those of the error."""
    model = amq()
    inputs = model.unpack(graph())
    with torch.no_grad():
        model.target_deviation.fill_(1.0)
        one = model.scores(inputs)
        model.target_deviation.fill_(3.0)
    assert_close(model.scores(inputs), 3 * one)


@pytest.mark.parametrize("rule", ["loss", "change"])
def test_the_oracle_ranks_at_its_own_ladder(rule: str) -> None:
    """By what the bits of this budget mend, the same in training and in test; not by the loss at the lowest of all."""
    ladders = {3.0: (2, 4), 6.0: (4, 8)}
    model = amq(assignment="oracle", oracle=rule, bits=(2, 4, 8), budget=6, budgets=(3.0, 6.0), ladders=ladders)
    inputs, truth = model.unpack(graph()), torch.randn(50, 1)

    def at(width: int) -> Tensor:
        with torch.no_grad(), assigned(model.main, width):
            out: Tensor = model.main(inputs)
        return out

    for budget, (low, high) in ladders.items():
        mended = ((at(low) - truth).square() - (at(high) - truth).square()).mean(1)
        want = mended if rule == "loss" else (at(low) - at(high)).square().mean(1)
        scores = model.oracle_scores(inputs, truth, budget)
        assert torch.equal(scores.argsort(stable=True), want.argsort(stable=True))
        used: list[Tensor] = []
        original = model.assign
        model.assign = lambda i, s=None, b=None, u=used, o=original: u.append(s) or o(i, s, b)
        model._training_bits(inputs, truth, 5, budget)
        model.assign = original
        assert torch.equal(used[0], scores)
    assert not torch.equal(
        model.oracle_scores(inputs, truth, 3.0).argsort(), model.oracle_scores(inputs, truth, 6.0).argsort()
    )


@pytest.mark.parametrize("backbone", NAMES[:2])
def test_nodes_that_do_not_count_are_not_taught_and_take_no_bits(backbone: str) -> None:
    model = amq(backbone=backbone, arguments=SMALL[backbone] | {"channels": 96}, target="step")
    inputs = model.unpack(graph())
    counted = graph().pos[:, 0] > 0.3
    some = inputs._replace(counted=counted)
    scores = torch.where(counted, torch.randn(50), 1e3)
    bits = model.assign(some, scores).plans["node"].bits
    assert int((bits[counted] == 8).sum()) >= 5 and int((bits[~counted] == 8).sum()) == 0
    if inputs.clusters is not None:
        alone = [not bool(counted[inputs.clusters.of_node == c].any()) for c in range(len(inputs.clusters.size))]
        assert not bool((model.assign(some, scores).plans["cluster"].bits[torch.tensor(alone)] == 8).any())
    error, losses = torch.rand(50), []
    for given in (error, torch.where(counted, error, 1e9)):
        with torch.no_grad():
            model.target_deviation.fill_(1.0)
        losses.append(float(model.teach(some, torch.zeros(50, 1), given).detach()))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_pairs_that_cannot_pay_are_warned_of_with_the_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meshops.models.amq.SETTLED", 2)
    model = amq(assignment="random", bits=(2, 8), budget=4, warmup=1)
    inputs, truth = model.unpack(graph()), torch.zeros(50, 1)
    said = r"bits \(2, 8\) at the cost of uniform 4: .* must hold 94 % .* hold at best .*; uniform bits are better"
    for step in range(3):
        if step == 2:
            with pytest.warns(DataWarning, match=said):
                model.learn(inputs, truth, squared(truth))
        else:
            model.learn(inputs, truth, squared(truth))


def test_all_rows_are_alike_unless_there_is_a_choice_of_bits() -> None:
    """The default is what came out best; two widths around the budget ask for the auxiliary network."""
    plain = create_model("amq", in_channels=3, out_channels=1, pos_dim=2, arguments={"channels": 96, "depth": 1})
    assert (plain.assignment, plain.bits, plain.auxiliary) == ("uniform", (5,), None)
    assert amq(budget=5).assignment == "auxiliary" and amq(budget=8).assignment == "uniform"
    assert amq(bits=(3, 4, 5), budget=4, budgets=(4.0, 4.5)).assignment == "auxiliary"


def test_states_of_older_networks_are_refused() -> None:
    model = amq()
    with pytest.raises(InputError, match="auxiliary network was not told its budget; train again"):
        model.load_state_dict({**model.state_dict(), "target_stats": torch.zeros(2)})


def test_bad_input_of_amq() -> None:
    make = amq
    for changes, text in (
        ({"bits": (1, 8)}, "must be 2 to 16, got 1"),
        ({"bits": (4, 17)}, "must be 2 to 16, got 17"),
        ({"budget": 3.0}, "outside the bits of the rows, 4, 8"),
        ({"assignment": "uniform"}, "uniform bits must be one of 4, 8, got 5"),
        ({"backbone": "mspt"}, "backbone must be one of 'mppde', 'graphvit', 'meshgraphnet'"),
        ({"assignment": "best"}, "assignment must be one of"),
        ({"oracle": "truth"}, "oracle one of 'loss', 'change'"),
    ):
        with pytest.raises(InputError, match=text):
            make(**changes)
    model = make(assignment="gradient")
    with pytest.raises(InputError, match="no auxiliary predictor"):
        model.set_budget(5, "auxiliary")
    with pytest.raises(InputError, match="graph without edges"):
        model.unpack(MeshGraph(pos=torch.rand(1, 2), x=torch.randn(1, 3)))
    with pytest.raises(InputError, match="graph without edges"):
        model.unpack(
            MeshGraph(pos=torch.rand(3, 2), x=torch.randn(3, 3), edge_index=torch.empty(2, 0, dtype=torch.long))
        )
    bad = graph()
    bad.x[7, 1] = torch.nan
    with pytest.raises(InputError, match=r"main\.encoder\.layers\.0: activations hold NaN"):
        model(model.unpack(bad))
    with torch.no_grad(), pytest.raises(InputError, match=r"main\.encoder\.layers\.0: activations hold NaN"):
        to_integers(model)(model.unpack(bad))
    with pytest.raises(InputError, match="only the integers of this model were kept"):
        model.main(model.unpack(graph()))
    with pytest.raises(InputError, match="the oracle needs the true loss"):
        oracle = make(assignment="oracle")
        oracle(oracle.unpack(graph()))
    wide, truth = make(auxiliary_channels=12), torch.zeros(50, 1)
    with pytest.warns(DataWarning, match="the auxiliary network takes"):
        wide.learn(wide.unpack(graph()), truth, lambda out: {"loss": (out - truth).square().mean()})
    assert torch.isfinite(make(assignment="gradient")(model.unpack(_constant()))).all()


def _constant() -> MeshGraph:
    out = graph()
    out.x = torch.ones_like(out.x)  # constant rows
    return out
