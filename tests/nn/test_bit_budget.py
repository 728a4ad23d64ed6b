"""Budgets are exact, on any graph and any degrees; assignments do not depend on the order of the nodes."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from meshops.data.mesh_graph import MeshGraph
from meshops.errors import InputError
from meshops.models import create_model
from meshops.nn.bit_budget import assign_bits, bit_operations, mesh_bits, node_costs
from meshops.nn.costs import cost_report, row_costs
from meshops.nn.quantized import MeshBits, quantize


@given(
    seed=st.integers(0, 10**6), sizes=st.lists(st.integers(1, 60), min_size=1, max_size=4),
    widths=st.sets(st.integers(2, 10), min_size=1, max_size=4), place=st.floats(0, 1), shared=st.booleans(),
)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_never_above_and_within_one_step_below(
    seed: int, sizes: list[int], widths: set[int], place: float, shared: bool
) -> None:
    generator = torch.Generator().manual_seed(seed)
    ptr = torch.tensor([0, *sizes]).cumsum(0)
    n = int(ptr[-1])
    cost = torch.exp(3 * torch.randn(n, generator=generator)).mul(1000).round()  # very different degrees
    scores = torch.randn(n, generator=generator)
    ladder = sorted(widths)
    budget = ladder[0] + place * (ladder[-1] - ladder[0])
    weight_bits = 8 if shared else None
    bits = assign_bits(scores, cost, ptr, widths=ladder, budget=budget, weight_bits=weight_bits)
    assert set(bits.tolist()) <= set(ladder)
    for i in range(len(sizes)):
        rows = slice(int(ptr[i]), int(ptr[i + 1]))
        unit = (lambda b: b * 8) if shared else (lambda b: b * b)
        used = float((cost[rows].double() * unit(bits[rows].double())).sum())
        allowed = float(cost[rows].double().sum()) * unit(budget)
        assert used <= allowed * (1 + 1e-9)
        rest = bits[rows] < ladder[-1]
        if bool(rest.any()):
            steps = [unit(h) - unit(low) for low, h in pairwise(ladder)]
            assert allowed - used <= float(cost[rows].max()) * max(steps) + 1e-6


def test_higher_scores_come_first_and_order_does_not_matter() -> None:
    torch.manual_seed(0)
    scores, cost, ptr = torch.randn(50), torch.randint(1, 9, (50,)).double(), torch.tensor([0, 50])
    bits = assign_bits(scores, cost, ptr, widths=(4, 8), budget=5)
    assert float(scores[bits == 8].min()) >= float(scores[bits == 4].max())
    order = torch.randperm(50)
    assert torch.equal(assign_bits(scores[order], cost[order], ptr, widths=(4, 8), budget=5), bits[order])
    with pytest.raises(InputError, match=r"below the cost of the lowest bits \(4"):
        assign_bits(scores, cost, ptr, widths=(4, 8), budget=3)
    with pytest.raises(InputError, match="and the auxiliary predictor"):
        assign_bits(scores, cost, ptr, widths=(4, 8), budget=4, spent=torch.tensor([1.0]))
    assert assign_bits(scores[:1], cost[:1], torch.tensor([0, 1]), widths=(4, 8), budget=8).tolist() == [8]


@pytest.mark.parametrize("weights", ["matched", "shared"])
@pytest.mark.parametrize("name", ["mppde", "graphvit", "meshgraphnet"])
def test_costs_of_rows_are_those_of_the_layers(name: str, weights: Any) -> None:
    """The budget adds up node by node what the report adds up layer by layer, with either reading of the cost."""
    torch.manual_seed(0)
    plain = create_model(name, in_channels=3, out_channels=2, pos_dim=2, channels=16, depth=2)
    model: Any = quantize(plain, (4, 8), weights=weights, weight_bits=6)
    inputs = model.unpack(MeshGraph(pos=torch.rand(60, 2), x=torch.randn(60, 3)))
    costs = row_costs(model)
    for bits in (
        MeshBits.uniform(4, **inputs.counts()),
        mesh_bits(torch.randn(60), inputs, costs, widths=(4, 8), budget=5),
    ):
        report = [line for line in cost_report(model, inputs, bits) if line.rows != "float32"]
        assert float(bit_operations(bits, inputs, costs)) == pytest.approx(sum(line.bit_operations for line in report))
    macs = sum(line.macs for line in report)
    assert 0 < float(node_costs(inputs, costs).sum()) < macs
    assert all(line.weight_bytes > 0 and line.activation_bytes > 0 for line in report)


def test_layers_of_different_costs_are_refused() -> None:
    first, second = (create_model("mppde", in_channels=3, out_channels=2, pos_dim=2, channels=8, depth=1) for _ in "ab")
    both = torch.nn.ModuleList([quantize(first, 8), quantize(second, 8, weights="shared")])
    with pytest.raises(InputError, match="layers differ in the bits of their weights"):
        row_costs(both)
    with pytest.raises(InputError, match="no layers whose rows are known"):
        row_costs(torch.nn.Linear(3, 2))
