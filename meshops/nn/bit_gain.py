"""Can bits per node pay? The share of the rounding noise that the nodes at high bits must hold, and what they hold.

Noise falls as ``4^-b``. A mixture of low and high bits at the cost of uniform u bits has less noise than u bits only if
the nodes at high bits hold, of the noise at low bits, at least

    h = (4^-low - 4^-u) / (4^-low - 4^-high)

and the cost lets these be a share of the nodes of

    p = (u^2 - low^2) / (high^2 - low^2)   (weights at the bits of the row),     p = (u - low) / (high - low)   (fixed)

Noise that nodes at low bits send to their neighbours is not in this bound: it makes mixtures worse. And a part of the
noise of a node is chance, which only who rounds can know: with one output channel the noisier half of nodes that are
all alike already holds 93 %. What a predictor can know is the noise of a node on average over many roundings; the share
that the nodes chosen by this average hold of the noise of another rounding is measured here, too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from meshops.errors import InputError, warn
from meshops.nn.bit_budget import mesh_bits, node_costs, unit_cost
from meshops.nn.costs import RowCosts, row_costs
from meshops.nn.mesh_model import MeshInputs
from meshops.nn.model import judging
from meshops.nn.quantized import Bits, QuantLinear, WeightMode, assigned, quantize
from meshops.ops.quantize import check_bits

ROUNDINGS = 8  # that the noise of a node is averaged over


def break_even_share(low: int, high: int, budget: float) -> float:
    """Least share of the noise at ``low`` bits that nodes at ``high`` bits must hold, h above.

    Args:
        low: Fewest bits.
        high: Most bits.
        budget: Uniform bits of the same cost, between them.

    Raises:
        InputError: Bits out of range or order.

    Example:
        >>> round(break_even_share(4, 8, 5), 2)
        0.75
    """
    _check(low, high, budget)
    noise = [math.exp(-bits * math.log(4)) for bits in (low, high, budget)]
    return (noise[0] - noise[2]) / (noise[0] - noise[1])


def share_of_rows(low: int, high: int, budget: float, weight_bits: int | None = None) -> float:
    """Share of rows (by cost) that can have ``high`` bits, p above.

    Args:
        low: Fewest bits.
        high: Most bits.
        budget: Uniform bits of the same cost, between them.
        weight_bits: Bits of the weights whatever the rows have; None: those of the row.

    Raises:
        InputError: Bits out of range or order.
    """
    _check(low, high, budget)
    each, least, most = (float(unit_cost(b, weight_bits)) for b in (budget, low, high))
    return (each - least) / (most - least)


@dataclass(frozen=True)
class BitGain:
    """What mixing two bit-widths needs and what a network offers.

    Attributes:
        low: Fewest bits.
        high: Most bits.
        budget: Uniform bits of the same cost.
        rows: Share of the cost of nodes and their edges that is at ``high`` bits.
        needed: Share of the noise at ``low`` bits that these must hold for less noise than uniform bits.
        held: Share that they hold if the noisiest nodes are chosen.
        foreseen: Share that they hold if those are chosen that are noisiest on average; None: not measured.
        mixed: Root mean square noise of the mixture, measured, those nodes at ``high`` bits; None: not measured.
        uniform: That of uniform bits; None: not measured.
    """

    low: int
    high: int
    budget: float
    rows: float
    needed: float
    held: float
    foreseen: float | None = None
    mixed: float | None = None
    uniform: float | None = None

    @property
    def pays(self) -> bool:
        """Whether a predictor's mixture can be better than uniform bits: by the shares, and as measured."""
        if self.mixed is not None and self.uniform is not None and self.mixed >= self.uniform:
            return False
        return (self.held if self.foreseen is None else self.foreseen) >= self.needed

    def __str__(self) -> str:
        """One sentence."""
        told = (
            f"bits ({self.low}, {self.high}) at the cost of uniform {self.budget:g}: the {100 * self.rows:.0f} % of "
            f"the rows at {self.high} bits must hold {100 * self.needed:.0f} % of the rounding noise and hold at best "
            f"{100 * self.held:.0f} % here"
        )
        if self.foreseen is not None:
            told += f", {100 * self.foreseen:.0f} % if chosen by what can be foreseen"
        if self.mixed is not None and self.uniform is not None:
            told += f"; measured noise {self.mixed:.3g} mixed, {self.uniform:.3g} uniform"
        return told


def held_share(
    noise: Tensor,
    inputs: MeshInputs,
    costs: RowCosts,
    low: int,
    high: int,
    budget: float,
    *,
    by: Tensor | None = None,
) -> BitGain:
    """Share of the noise that the noisiest nodes hold, as many as the budget has high bits for.

    Args:
        noise: ``[n]`` squared rounding noise of each node at ``low`` bits.
        inputs: The graphs.
        costs: Of the network.
        low: Fewest bits.
        high: Most bits.
        budget: Uniform bits of the same cost.
        by: ``[n]`` what the nodes are chosen by; None: the noise.
    """
    bits = mesh_bits(noise if by is None else by, inputs, costs, widths=(low, high), budget=budget).plans["node"].bits
    counted = torch.ones_like(bits, dtype=torch.bool) if inputs.counted is None else inputs.counted
    power = noise.double() * counted
    cost = node_costs(inputs, costs)
    held = float((power * (bits == high)).sum() / power.sum().clamp(min=1e-300))
    rows = float((cost * (bits == high)).sum() / cost.sum())
    return BitGain(low, high, budget, rows, break_even_share(low, high, budget), held)


def bit_gain(
    model: nn.Module,
    inputs: Iterable[MeshInputs],
    *,
    bits: tuple[int, int],
    budget: float,
    weights: WeightMode = "matched",
    weight_bits: int = 8,
) -> BitGain:
    """Measure on a trained network, before any training with quantisation, whether bits per node can pay.

    A copy is quantised; the noise of a node is the squared change of its output from float32. Warns where the pair
    cannot pay. The mixture is measured with the nodes chosen by their true noise, which no predictor knows, beside
    uniform bits where the budget is a whole number. Roundings are varied by ranges of rows that are a little narrower.

    Args:
        model: Trained in float32: mppde, graphvit, meshgraphnet or any on graphs whose layers know their rows.
        inputs: Batches, ``model.unpack(graph)``; of a task's graph ``model.unpack(task.inputs(graph))``.
        bits: Fewest and most bits of the rows.
        budget: Uniform bits of the same cost.
        weights: See :class:`~meshops.nn.QuantLinear`.
        weight_bits: See there.

    Raises:
        InputError: Bits out of range or order, no inputs, or a network that is quantised already.

    Example:
        >>> print(bit_gain(model, [model.unpack(graph)], bits=(4, 8), budget=5))  # doctest: +SKIP
        bits (4, 8) at the cost of uniform 5: the 19 % of the rows at 8 bits must hold 75 % of the rounding noise ...
    """
    low, high = bits
    _check(low, high, budget)
    whole = float(budget).is_integer()
    widths = sorted({low, high, *([int(budget)] if whole else [])})
    copied: Any = quantize(deepcopy(model), widths, weights=weights, weight_bits=weight_bits)
    costs, rows = row_costs(copied), []
    with judging(copied):
        for batch in inputs:
            best = quantised_gain(copied, batch, low, high, budget)
            exact = _at(copied, batch, None)
            own = (_at(copied, batch, low) - exact).square().mean(1)
            chosen = mesh_bits(own, batch, costs, widths=(low, high), budget=budget)
            left = [
                _mean((_at(copied, batch, b) - exact).square().mean(1), batch) for b in (chosen, _whole(budget, low))
            ]
            rows.append((best.rows, best.held, best.foreseen or 0.0, *left))
    if not rows:
        raise InputError("no inputs to measure the noise on; give at least one batch, model.unpack(graph)")
    share, held, foreseen, power, reference = (sum(values) / len(rows) for values in zip(*rows, strict=True))
    measured = (power**0.5, reference**0.5) if whole else (None, None)
    gain = BitGain(low, high, budget, share, break_even_share(low, high, budget), held, foreseen, *measured)
    if not gain.pays:
        warn(cannot_pay(gain))
    return gain


@torch.no_grad()
def quantised_gain(
    network: nn.Module, inputs: MeshInputs, low: int, high: int, budget: float, *, exact: Bits = None
) -> BitGain:
    """Shares of the noise of a network that is quantised already.

    Args:
        network: With layers of :func:`~meshops.nn.quantize` for these bits; it stays as it is.
        inputs: Of one batch.
        low: Fewest bits.
        high: Most bits.
        budget: Uniform bits of the same cost.
        exact: Bits of the output that noise is measured from; None: float32.
    """
    generator, costs, reference = torch.Generator().manual_seed(0), row_costs(network), _at(network, inputs, exact)
    own = (_at(network, inputs, low) - reference).square().mean(1)
    average = torch.zeros_like(own)
    with _other_roundings(network, generator) as another:
        for _ in range(ROUNDINGS):
            another()
            average += (_at(network, inputs, low) - reference).square().mean(1)
    best, known = (held_share(own, inputs, costs, low, high, budget, by=by) for by in (own, average))
    return replace(best, foreseen=known.held)


def _whole(budget: float, other: int) -> int:
    return int(budget) if float(budget).is_integer() else other


@contextmanager
def _other_roundings(model: nn.Module, generator: torch.Generator) -> Iterator[Callable[[], None]]:
    """Inside, each call moves the levels of all rows a little, by ranges up to a tenth narrower."""
    layers = [layer for layer in model.modules() if isinstance(layer, QuantLinear)]
    clips = [p for layer in layers for ends in (layer.log_clip, layer.log_limits) for p in ends.values()]
    before = [p.detach().clone() for p in clips]

    def another() -> None:
        for p, value in zip(clips, before, strict=True):
            p.copy_(value + math.log(1 - 0.1 * float(torch.rand((), generator=generator))))

    try:
        yield another
    finally:
        for p, value in zip(clips, before, strict=True):
            p.copy_(value)


def cannot_pay(gain: BitGain) -> str:
    """What to tell somebody whose pair of bits cannot pay."""
    return f"{gain}; uniform bits are better: assignment='uniform', or a pair of bits closer to the budget"


def _at(model: nn.Module, inputs: MeshInputs, bits: Bits) -> Tensor:
    with assigned(model, bits):
        out: Tensor = model(inputs)
    return out


def _mean(noise: Tensor, inputs: MeshInputs) -> float:
    return float(noise.mean() if inputs.counted is None else noise[inputs.counted].mean())


def _check(low: int, high: int, budget: float) -> None:
    check_bits(low)
    check_bits(high)
    if not low < high or not low <= budget <= high:
        raise InputError(f"bits must be low < high with the budget between them, got {low}, {high} and {budget:g}")
