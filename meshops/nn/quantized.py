"""Linear layers whose rows have a number of bits each, and the swap that quantises a network (AMQ-style).

A row at b bits meets the weights at b bits (``weights="matched"``: the cost of a row grows with b^2) or weights at one
width for all (``"shared"``: with b). Bias, sums and whatever follows stay in floating point. Without bits a layer is
``torch.nn.Linear``, bit for bit.

    model = quantize(create_model("mppde", in_channels=1, out_channels=1), bits=(4, 8))
    with assigned(model, MeshBits(node, edge)):
        out = model(inputs)

What a quantiser learns (clips of rows, steps of weights, ranges) it learns as a logarithm, of a factor on a size that
follows the weights or was seen in training: a step of an optimiser is then a share of it, and neither weights that
grow nor averages over many steps make it stale.

The layers of a network share one object that holds the bits assigned at the moment; there is no global state. The
paper's own design is not public. :func:`meshops.nn.to_integers` makes integers of a trained network.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from meshops.errors import InputError, some
from meshops.nn.linear import Linear
from meshops.nn.row_linear import Kind, RowLinear
from meshops.ops.quantize import (
    check_bits,
    fake_quantize_rows,
    fake_quantize_tensor,
    fake_quantize_weight,
    weight_scale,
    weight_step,
)
from meshops.ops.rows import Activation, Rows, finish

WeightMode = Literal["matched", "shared"]
Ranges = Literal["row", "tensor"]
QUANTISER_RATE = 0.1  # learning rate of clips, steps and ranges over that of the weights
FIRST_BATCHES = 10  # of training, that a range for all rows is seen on


@dataclass(frozen=True, eq=False)
class BitPlan:
    """Rows sorted by their bits: made once per forward pass, used by all layers.

    Attributes:
        bits: ``[r]`` int64 bits of each row.
        order: ``[r]`` rows, those with the fewest bits first; rows of equal bits in their order.
        inverse: ``[r]`` place of each row in ``order``.
        buckets: ``(bits, first, last)`` of each run in ``order``, none empty.
    """

    bits: Tensor
    order: Tensor
    inverse: Tensor
    buckets: tuple[tuple[int, int, int], ...]

    @classmethod
    def of(cls, bits: Tensor) -> BitPlan:
        """Plan for ``bits [r]``; waits for the device.

        Raises:
            InputError: A bit-width is out of range.
        """
        check_bits(bits)
        ordered, order = torch.sort(bits.long(), stable=True)
        widths, counts = torch.unique_consecutive(ordered, return_counts=True)
        bounds = [0, *counts.cumsum(0).tolist()]
        buckets = tuple((width, a, b) for width, (a, b) in zip(widths.tolist(), pairwise(bounds), strict=True))
        inverse = torch.empty_like(order)
        inverse[order] = torch.arange(len(order), device=order.device)
        return cls(bits.long(), order, inverse, buckets)

    @classmethod
    def uniform(cls, count: int, bits: int, device: torch.device | str = "cpu") -> BitPlan:
        """Plan for ``count`` rows that all have the same bits."""
        check_bits(bits)
        rows = torch.arange(count, device=device)
        buckets = ((bits, 0, count),) if count else ()
        return cls(torch.full_like(rows, bits), rows, rows, buckets)


class MeshBits:
    """Bits of every node, edge and cluster of a batch.

    Args:
        node: ``[n]`` int64.
        edge: ``[e]`` int64.
        cluster: ``[c]`` int64, or None for models without clusters.

    Raises:
        InputError: A bit-width is out of range.
    """

    def __init__(self, node: Tensor, edge: Tensor, cluster: Tensor | None = None) -> None:
        self.plans = {"node": BitPlan.of(node), "edge": BitPlan.of(edge)}
        if cluster is not None:
            self.plans["cluster"] = BitPlan.of(cluster)
        self._fixed: dict[tuple[int, int], BitPlan] = {}

    @classmethod
    def uniform(cls, bits: int, *, nodes: int, edges: int, clusters: int = 0, device: Any = "cpu") -> MeshBits:
        """The same bits everywhere."""
        counts = (nodes, edges, clusters)
        return cls(*(torch.full((count,), bits, device=device) for count in counts))

    def plan(self, kind: Kind, fixed: int | None, count: int) -> BitPlan:
        """Plan of the rows of a layer: those of ``kind``, or all ``count`` at ``fixed`` bits."""
        if fixed is None:
            return self.plans[kind]
        if (count, fixed) not in self._fixed:
            self._fixed[count, fixed] = BitPlan.uniform(count, fixed, self.plans["node"].bits.device)
        return self._fixed[count, fixed]


Bits = BitPlan | MeshBits | int | None


class BitSource:
    """Where the quantised layers of a network look up the bits of their rows: one object for all of them."""

    def __init__(self) -> None:
        self.bits: Bits = None


@contextmanager
def assigned(model: nn.Module, bits: Bits) -> Iterator[nn.Module]:
    """Inside of the ``with`` block the rows of a quantised network have these bits.

    Blocks may be nested, the inner one counts; at the end, also by an exception, what was before is back. The bits
    belong to the model: copies have their own, and one model cannot run with different bits in two threads at once.

    Args:
        model: With layers of :func:`quantize` or :func:`meshops.nn.to_integers`.
        bits: Of every node, edge and cluster; or one number for all rows but those of layers at fixed bits; or a plan
            for one layer alone; or None: float32.

    Raises:
        InputError: The model has no quantised layers.
    """
    found = [getattr(module, "source", None) for module in model.modules()]
    sources = {id(source): source for source in found if isinstance(source, BitSource)}
    if not sources:
        raise InputError("the model has no quantised layers that could be assigned bits; call quantize(model) first")
    before = {key: source.bits for key, source in sources.items()}
    for source in sources.values():
        source.bits = bits
    try:
        yield model
    finally:
        for key, source in sources.items():
            source.bits = before[key]


class QuantLinear(nn.Module):
    """A linear layer with rows and weights quantised: ``y = activation(x W^T + b + added)``.

    Args:
        layer: Its weights are taken, not copied, and what a :class:`~meshops.nn.row_linear.RowLinear` knows of its
            rows. Rows of a plain ``nn.Linear`` have the number of bits that is assigned to all, or the highest of
            ``bits`` where nodes and edges are assigned theirs.
        bits: Bit-widths rows may have; each has its own learned clip of the rows and steps of the weights.
        weights: ``"matched"``: weights at the bits of the row; ``"shared"``: at ``weight_bits`` for all rows.
        weight_bits: See above.
        ranges: ``"row"``: every row has its own range, times a learned clip; ``"tensor"``: one learned range for all
            rows of a bit-width (LSQ+), which starts as that of the first ten batches of training; evaluation changes
            nothing, and before any training the rows at hand give their range.
        source: Where the bits are looked up; None: a new one, for this layer alone.

    Attributes:
        name: Place in the model, for messages; set by :func:`name_layers`.

    Raises:
        InputError: Bit-widths out of range, or an unknown mode.
    """

    bias: nn.Parameter | None

    def __init__(
        self,
        layer: nn.Linear,
        *,
        bits: int | Sequence[int] = (4, 8),
        weights: WeightMode = "matched",
        weight_bits: int = 8,
        ranges: Ranges = "row",
        source: BitSource | None = None,
    ) -> None:
        super().__init__()
        if weights not in ("matched", "shared") or ranges not in ("row", "tensor"):
            raise InputError(
                f"weights must be 'matched' or 'shared' and ranges 'row' or 'tensor', got '{weights}', '{ranges}'"
            )
        known = layer if isinstance(layer, RowLinear) else None
        self.rows: Kind | None = None if known is None else known.rows
        self.fixed = None if known is None else known.fixed
        self.per_member = known is not None and known.per_member
        wanted = [self.fixed] if self.fixed is not None else [bits] if isinstance(bits, int) else bits
        if not wanted:
            raise InputError("bits is empty; give at least one bit-width, such as bits=(4, 8)")
        for width in (*wanted, weight_bits):
            check_bits(int(width))
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.bits = tuple(sorted({int(width) for width in wanted}))
        self.mode, self.weight_bits = weights, weight_bits
        self.source = BitSource() if source is None else source
        self.name = "layer"
        self.weight, self.bias = layer.weight, layer.bias
        self.ranges = ranges
        self.log_limits = _learned({str(b): self.weight.new_zeros(2) for b in self.bits if ranges == "tensor"})
        for b in self.log_limits:
            self.register_buffer(f"range_{b}", self.weight.new_zeros(2))
            self.register_buffer(f"batches_{b}", torch.zeros((), dtype=torch.long, device=self.weight.device))
        self.log_clip = _learned({str(b): self.weight.new_tensor(0.9 if b <= 4 else 1.0).log() for b in self.bits})
        met = self.bits if weights == "matched" else (weight_bits,)
        self.log_step = _learned({str(b): self.weight.new_zeros(self.out_features) for b in met})
        self.start()
        self.train(layer.training)

    @torch.no_grad()
    def start(self) -> None:
        """Start steps and ranges anew: the steps from the weights as they are now, ranges from the next batches.

        For a network whose weights were loaded, or learned without quantisation, since the layer was made.
        """
        for width, learned in self.log_step.items():
            weight, bits = self.weight.detach(), int(width)
            learned.copy_((weight_step(weight, bits) / weight_scale(weight, bits)).log())
        for width, learned in self.log_limits.items():
            learned.zero_()
            self.get_buffer(f"range_{width}").zero_()
            self.get_buffer(f"batches_{width}").zero_()

    def forward(self, x: Tensor, *, added: Sequence[Rows] = (), activation: Activation = "none") -> Tensor:
        """``[..., in] -> [..., out]`` with the bits of :func:`assigned`; without, nothing is quantised.

        Args:
            x: Rows.
            added: Rows of other tables that are added before the activation.
            activation: Applied last.

        Raises:
            InputError: A row has bits the layer was not built for, the plan has another number of rows, or ``x`` is
                not finite.
        """
        if self.source.bits is None:
            return finish(linear(x, self.weight, self.bias), None, added, activation)
        if x.dim() != 2:
            out: Tensor = self(x.flatten(0, -2), added=added, activation=activation)
            return out.reshape(*x.shape[:-1], self.out_features)
        plan = checked_plan(self, x)
        parts = []
        rows = x[plan.order] if len(plan.buckets) > 1 else x
        for width, first, last in plan.buckets:
            seen = self.quantized_rows(rows[first:last], width)
            parts.append(linear(seen, self.quantized_weight(width), self.bias))
        out = torch.cat(parts)[plan.inverse] if len(parts) > 1 else [*parts, x.new_zeros(0, self.out_features)][0]
        return finish(out, None, added, activation)

    def quantized_rows(self, x: Tensor, width: int) -> Tensor:
        """``[r, in]`` rows at ``width`` bits."""
        if self.ranges == "row":
            return fake_quantize_rows(x, width, self.clip_at(width))
        if not len(x):
            return x
        low, high = torch.aminmax(x.detach())
        if self.training and int(self.get_buffer(f"batches_{width}")) < FIRST_BATCHES:
            seen = self.get_buffer(f"range_{width}")
            seen.copy_(torch.stack([torch.minimum(seen[0], low), torch.maximum(seen[1], high)]))
            self.get_buffer(f"batches_{width}").add_(1)
        if self.has_ranges(width):
            low, high = self.limits_at(width)
        return fake_quantize_tensor(x, width, low, high)

    def quantized_weight(self, width: int) -> Tensor:
        """``[out, in]`` weights that rows at ``width`` bits meet."""
        bits = width if self.mode == "matched" else self.weight_bits
        return fake_quantize_weight(self.weight, bits, self.step_at(bits))

    def clip_at(self, width: int) -> Tensor:
        """Factor on the range of rows at ``width`` bits."""
        out: Tensor = self.log_clip[str(width)].exp()
        return out

    def step_at(self, bits: int) -> Tensor:
        """``[out]`` steps of the weights at ``bits`` bits."""
        out: Tensor = self.log_step[str(bits)].exp() * weight_scale(self.weight, bits)
        return out

    def has_ranges(self, width: int) -> bool:
        """Whether a range for all rows of ``width`` bits was seen in training; before, rows at hand give it."""
        return int(self.get_buffer(f"batches_{width}")) > 0

    def limits_at(self, width: int) -> Tensor:
        """``[2]`` range of all rows at ``width`` bits."""
        seen = self.get_buffer(f"range_{width}").clone()  # may widen before the gradient is asked for
        out: Tensor = self.log_limits[str(width)].exp() * seen
        return out

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        old = [key for key in state_dict if key.startswith((f"{prefix}step.", f"{prefix}clip.", f"{prefix}limits."))]
        if old:
            raise InputError(
                f"'{old[0]}' is of a version of meshops whose quantisers learned on another scale; train again"
            )
        super()._load_from_state_dict(state_dict, prefix, *args)  # type: ignore[no-untyped-call]

    def bit_operations(self, plan: BitPlan) -> float:
        """Multiply-accumulates times the bits of both factors, summed over the rows of a plan."""
        macs = self.in_features * self.out_features
        total = 0
        for width, first, last in plan.buckets:
            total += (last - first) * macs * width * (width if self.mode == "matched" else self.weight_bits)
        return float(total)

    def extra_repr(self) -> str:
        """Arguments shown by ``print``."""
        return quantized_repr(self)


def quantize(
    model: nn.Module,
    bits: int | Sequence[int] = (4, 8),
    *,
    weights: WeightMode = "matched",
    weight_bits: int = 8,
    ranges: Ranges = "row",
) -> nn.Module:
    """Swap the linear layers of a network for :class:`QuantLinear` with the same weights, in place.

    The parameters stay the same objects; learned clips and steps are new ones, started from the weights as they are.
    Layers of classes derived from ``nn.Linear`` (attention of PyTorch) and convolutions stay as they are. In float32
    nothing changes; see :func:`assigned` for how rows get their bits.

    Args:
        model: Any network. Rows of a :class:`~meshops.nn.row_linear.RowLinear` have bits of their own, those of other
            linear layers one number of bits.
        bits: Bit-widths rows may have.
        weights: See :class:`QuantLinear`.
        weight_bits: See there.
        ranges: See there.

    Returns:
        The model; where it is a linear layer itself, the layer that takes its place.

    Raises:
        InputError: Bit-widths out of range, or no linear layer that is not quantised yet.
    """
    source = BitSource()
    made = {
        layer: QuantLinear(layer, bits=bits, weights=weights, weight_bits=weight_bits, ranges=ranges, source=source)
        for layer in model.modules()
        if type(layer) in (nn.Linear, Linear, RowLinear) and isinstance(layer, nn.Linear)
    }
    if not made:
        raise InputError("the model has no linear layers that could be quantised, or they are quantised already")
    model = swapped(model, made)
    name_layers(model)
    return model


def _learned(start: Mapping[str, Tensor]) -> nn.ParameterDict:
    """What a quantiser learns, at a rate of its own (see ``parameter_groups``)."""
    out = nn.ParameterDict({key: nn.Parameter(value) for key, value in start.items()})
    out.lr_factor = QUANTISER_RATE  # type: ignore[assignment]
    return out


def start_quantisers(model: nn.Module) -> None:
    """Start steps and ranges of all quantised layers anew (:meth:`QuantLinear.start`); parameters stay the same."""
    for layer in model.modules():
        if isinstance(layer, QuantLinear):
            layer.start()


def swapped(model: nn.Module, made: Mapping[Any, nn.Module]) -> nn.Module:
    """Put other layers in the place of those of a model, in place; the new one where the model itself is swapped."""
    for owner in list(model.modules()):
        for name, child in list(owner._modules.items()):
            if child in made:
                setattr(owner, name, made[child])
    return made.get(model, model)


def name_layers(model: nn.Module) -> None:
    """Tell every layer its place in the model, so that messages can name it."""
    for name, layer in model.named_modules():
        if isinstance(layer, QuantLinear):
            layer.name = name or "layer"


def checked_plan(layer: Any, x: Tensor) -> BitPlan:
    """Plan of the rows of ``x`` in a layer; ``InputError`` where it does not fit, or ``x`` is not finite (CPU)."""
    bits: Bits = layer.source.bits
    if isinstance(bits, BitPlan):
        plan = bits
    elif isinstance(bits, MeshBits) and layer.rows is not None:
        plan = bits.plan(layer.rows, layer.fixed, len(x))
    else:
        width = layer.fixed or (bits if isinstance(bits, int) else layer.bits[-1])
        plan = BitPlan.uniform(len(x), width, x.device)
    if len(plan.bits) != len(x):
        raise InputError(f"{layer.name}: the plan is for {len(plan.bits)} rows, got {len(x)}")
    for width, _, _ in plan.buckets:
        if width not in layer.bits:
            built = some(layer.bits)
            raise InputError(f"{layer.name}: a row has {width} bits, the layer was built for {built}; add it to bits=")
    if isinstance(layer, QuantLinear) and x.device.type == "cpu" and not bool(torch.isfinite(x.detach().sum())):
        raise InputError(f"{layer.name}: activations hold NaN or infinite values; lower the learning rate or the input")
    return plan


def quantized_repr(layer: Any) -> str:
    """Sizes and bits of a quantised layer."""
    rows = f"{layer.rows or 'any'} rows" + ("" if layer.fixed is None else f" at {layer.fixed} bits")
    return f"{layer.in_features}, {layer.out_features}, {rows}, bits={layer.bits}, weights='{layer.mode}'"
