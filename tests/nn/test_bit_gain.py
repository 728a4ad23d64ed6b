"""The break-even share against brute force, against the specification's table, and as measured on networks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from meshops.data.mesh_graph import MeshGraph
from meshops.errors import DataWarning, InputError
from meshops.models import create_model
from meshops.nn import bit_gain, break_even_share, quantize, row_costs, share_of_rows
from meshops.nn.bit_budget import assign_bits
from meshops.nn.bit_gain import held_share


@given(
    low=st.integers(2, 6), more=st.integers(1, 6), place=st.floats(0.05, 0.95), seed=st.integers(0, 10**6),
    spread=st.floats(0, 4), weight_bits=st.sampled_from([None, 8]),
)  # fmt: skip
@settings(max_examples=100, deadline=None)
def test_mixtures_pay_exactly_above_the_share(
    low: int, more: int, place: float, seed: int, spread: float, weight_bits: int | None
) -> None:
    """Noise a_i 4^-b of nodes of equal cost: what is left with the noisiest at high bits, against uniform bits."""
    high = low + more
    budget = low + place * more
    noise = torch.exp(spread * torch.randn(400, generator=torch.Generator().manual_seed(seed))).double()
    bits = assign_bits(
        noise, torch.ones(400), torch.tensor([0, 400]), widths=(low, high), budget=budget, weight_bits=weight_bits
    )
    mixed, uniform = float((noise * 4.0 ** -bits.double()).sum()), float(noise.sum()) * 4.0**-budget
    held = float(noise[bits == high].sum() / noise.sum())
    needed = break_even_share(low, high, budget)
    assert (mixed < uniform) == (held > needed) or mixed == pytest.approx(uniform, rel=1e-9)
    assert float((bits == high).double().mean()) == pytest.approx(
        share_of_rows(low, high, budget, weight_bits), abs=1 / 400
    )


def test_numbers_of_the_specification() -> None:
    """Shares of rows: table 3.3; shares of noise: 0.80 one bit apart, 0.75 for (4, 8) at 5, 0.94 for (2, 8) at 4."""
    for low, high, budget, matched, shared in (
        (2, 4, 3, 0.417, 0.5), (2, 8, 4, 0.2, 0.333), (4, 8, 5, 0.188, 0.25), (4, 16, 8, 0.2, 0.333),
    ):  # fmt: skip
        assert share_of_rows(low, high, budget) == pytest.approx(matched, abs=6e-4)
        assert share_of_rows(low, high, budget, 8) == pytest.approx(shared, abs=6e-4)
    for low, high, budget, needed in ((2, 4, 3, 0.8), (3, 5, 4, 0.8), (4, 8, 5, 0.753), (2, 8, 4, 0.938)):
        assert break_even_share(low, high, budget) == pytest.approx(needed, abs=1e-3)


def network(**changes: Any) -> tuple[Any, list[Any]]:
    torch.manual_seed(0)
    model = create_model("mppde", in_channels=3, out_channels=2, pos_dim=2, channels=32, depth=2, **changes)
    graphs = [MeshGraph(pos=torch.rand(n, 2), x=torch.randn(n, 3)) for n in (60, 40)]
    return model, [model.unpack(graph) for graph in graphs]


@pytest.mark.parametrize("weights", ["matched", "shared"])
def test_what_is_measured_of_a_network(weights: Any) -> None:
    model, inputs = network()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.warns(DataWarning, match=r"bits \(2, 8\) at the cost of uniform 4: .* must hold 94 %"):
        gain = bit_gain(model, inputs, bits=(2, 8), budget=4, weights=weights)
    assert not gain.pays and gain.mixed is not None and gain.uniform is not None
    assert gain.mixed > gain.uniform > 0 and gain.needed == break_even_share(2, 8, 4)
    assert gain.rows == pytest.approx(share_of_rows(2, 8, 4, None if weights == "matched" else 8), abs=0.05)
    assert 0 < gain.held < gain.needed
    assert "measured noise" in str(gain)
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())  # a copy was quantised


def test_chance_cannot_be_foreseen() -> None:
    """Nodes that are all alike: whoever knows the rounding finds half of them with most of the noise, nobody else."""
    torch.manual_seed(0)
    model = create_model("mppde", in_channels=2, out_channels=1, pos_dim=2, channels=32, depth=2)
    side = torch.arange(20.0)
    pos = torch.stack(torch.meshgrid(side, side, indexing="ij"), -1).flatten(0, 1) / 20
    inputs = model.unpack(MeshGraph(pos=pos, x=torch.randn(400, 2)))
    with pytest.warns(DataWarning, match="must hold 80 % .* if chosen by what can be foreseen"):
        gain = bit_gain(model, [inputs], bits=(3, 5), budget=4, weights="shared")
    assert gain.foreseen is not None and not gain.pays
    assert gain.held > 0.85 and gain.rows < gain.foreseen < gain.held - 0.05


def test_noise_on_few_nodes_pays() -> None:
    model, (inputs, _) = network()
    costs = row_costs(quantize(model, (2, 8)))
    even, uneven = torch.ones(60), torch.where(torch.arange(60) < 6, 1.0, 1e-4)
    assert held_share(uneven, inputs, costs, 2, 8, 4).pays and not held_share(even, inputs, costs, 2, 8, 4).pays
    hidden = inputs._replace(counted=torch.arange(60) >= 6)  # the noisy ones do not count
    gain = held_share(uneven, hidden, costs, 2, 8, 4)
    assert not gain.pays and gain.held == pytest.approx(gain.rows, abs=0.1)


def test_bad_pairs_and_networks() -> None:
    model, inputs = network()
    for bits, budget in (((8, 4), 5), ((4, 8), 9), ((4, 8), 3)):
        with pytest.raises(InputError, match="low < high with the budget between them"):
            bit_gain(model, inputs, bits=bits, budget=budget)
    with pytest.raises(InputError, match="must be 2 to 16, got 1"):
        break_even_share(1, 8, 4)
    with pytest.raises(InputError, match="no inputs to measure"):
        bit_gain(model, [], bits=(4, 8), budget=5)
    with pytest.raises(InputError, match="quantised already"):
        bit_gain(quantize(model, (4, 8)), inputs, bits=(4, 8), budget=5)
    assert isinstance(inputs[0].pos, Tensor)
