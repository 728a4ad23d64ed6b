"""Linear layers whose rows have a number of bits each (AMQ-style; the paper's own design is not public).

A row at b bits meets the weights at b bits (``weights="matched"``) or weights at one width for all (``"shared"``).
Bias, sums and whatever follows stay in floating point. Without bits the layer is ``torch.nn.Linear``, bit for bit.

Rows are nodes, edges or clusters of a mesh: a layer says which, and finds its bits in :class:`MeshBits`.
:func:`to_integers` replaces trained layers by :class:`IntegerLinear`, which hold and multiply 8-bit integers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from meshops.errors import InputError, some
from meshops.ops.integer import Activation, IntegerWeight, Rows, finish, integer_linear
from meshops.ops.quantize import (
    INTEGER_MOST,
    check_bits,
    fake_quantize_rows,
    fake_quantize_tensor,
    fake_quantize_weight,
    quantize_weight,
    weight_step,
)

Kind = Literal["node", "edge", "cluster"]
WeightMode = Literal["matched", "shared"]
Ranges = Literal["row", "tensor"]
RAW_BITS = 8
"""Bits of rows that hold coordinates and raw fields, and of the last layer: fewer would destroy geometry."""


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


Bits = BitPlan | MeshBits | None


class QuantLinear(nn.Linear):
    """``y = activation(x W^T + b)`` with rows and weights quantised.

    Args:
        in_features: Channels of the input.
        out_features: Channels of the output.
        bits: Bit-widths rows may have; each has its own learned clip of the rows and steps of the weights. Empty: a
            plain layer without further weights.
        rows: What a row is; decides which bits of :class:`MeshBits` it has.
        fixed: All rows have this many bits whatever is assigned to nodes and edges.
        weights: ``"matched"``: weights at the bits of the row; ``"shared"``: at ``weight_bits`` for all rows.
        weight_bits: See above.
        ranges: ``"row"``: every row has its own range, times a learned clip; ``"tensor"``: one learned range for all
            rows of a bit-width (LSQ+), which starts as that of the first rows seen in training.
        bias: Add a bias, in floating point.

    Attributes:
        name: Place in the model, for messages; set by :func:`name_layers`.

    Raises:
        InputError: Bit-widths out of range, unknown mode.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bits: Sequence[int] = (4, 8),
        rows: Kind = "node",
        fixed: int | None = None,
        weights: WeightMode = "matched",
        weight_bits: int = 8,
        ranges: Ranges = "row",
        bias: bool = True,
    ) -> None:
        super().__init__(in_features, out_features, bias=bias)
        if weights not in ("matched", "shared") or ranges not in ("row", "tensor"):
            raise InputError(
                f"weights must be 'matched' or 'shared' and ranges 'row' or 'tensor', got '{weights}', '{ranges}'"
            )
        wanted = [] if not bits else [fixed] if fixed is not None else bits
        for width in (*wanted, weight_bits):
            check_bits(int(width))
        self.bits = tuple(sorted({int(width) for width in wanted}))
        self.rows, self.fixed, self.mode, self.weight_bits = rows, fixed, weights, weight_bits
        self.name = "layer"
        self.limits = nn.ParameterDict()
        if ranges == "tensor":
            for b in self.bits:
                self.limits[str(b)] = nn.Parameter(torch.full((2,), torch.nan))
        self.clip = nn.ParameterDict({str(b): nn.Parameter(torch.tensor(0.9 if b <= 4 else 1.0)) for b in self.bits})
        self.step = nn.ParameterDict()
        self.set_steps()

    def set_steps(self) -> None:
        """Start the steps of the weights anew from the weights as they are now."""
        widths = () if not self.bits else self.bits if self.mode == "matched" else (self.weight_bits,)
        for b in widths:
            self.step[str(b)] = nn.Parameter(weight_step(self.weight.detach(), b))

    def forward(  # type: ignore[override]
        self, x: Tensor, bits: Bits = None, *, added: Sequence[Rows] = (), activation: Activation = "none"
    ) -> Tensor:
        """``[r, in] -> [r, out]``.

        Args:
            x: Rows.
            bits: Bits of each; None: nothing is quantised.
            added: Rows of other tables that are added before the activation.
            activation: Applied last.

        Raises:
            InputError: A row has bits the layer was not built for, the plan has another number of rows, or ``x`` is
                not finite.
        """
        if bits is None:
            return finish(linear(x, self.weight, self.bias), None, added, activation)
        plan = checked_plan(self, x, bits)
        parts = []
        rows = x[plan.order] if len(plan.buckets) > 1 else x
        for width, first, last in plan.buckets:
            seen = self.quantized_rows(rows[first:last], width)
            parts.append(linear(seen, self.quantized_weight(width), self.bias))
        out = torch.cat(parts)[plan.inverse] if len(parts) > 1 else [*parts, x.new_zeros(0, self.out_features)][0]
        return finish(out, None, added, activation)

    def quantized_rows(self, x: Tensor, width: int) -> Tensor:
        """``[r, in]`` rows at ``width`` bits."""
        if str(width) not in self.limits:
            return fake_quantize_rows(x, width, self.clip[str(width)])
        limits = self.limits[str(width)]
        if bool(torch.isnan(limits).any()):
            with torch.no_grad():
                limits.copy_(torch.stack([x.min().clamp(max=0), x.max().clamp(min=0)]))
        return fake_quantize_tensor(x, width, limits[0], limits[1])

    def quantized_weight(self, width: int) -> Tensor:
        """``[out, in]`` weights that rows at ``width`` bits meet."""
        bits = width if self.mode == "matched" else self.weight_bits
        return fake_quantize_weight(self.weight, bits, self.step[str(bits)])

    def bit_operations(self, plan: BitPlan) -> float:
        """Multiply-accumulates times the bits of both factors, summed over the rows of a plan."""
        macs = self.in_features * self.out_features
        total = 0
        for width, first, last in plan.buckets:
            total += (last - first) * macs * width * (width if self.mode == "matched" else self.weight_bits)
        return float(total)

    def extra_repr(self) -> str:
        """Arguments shown by ``print``."""
        rows = f"{self.rows} rows" + ("" if self.fixed is None else f" at {self.fixed} bits")
        return f"{super().extra_repr()}, {rows}, bits={self.bits}, weights='{self.mode}'"


class IntegerLinear(nn.Module):
    """A trained :class:`QuantLinear` that holds integers only and multiplies integers; no gradients.

    Weights of up to 4 bits are kept two to a byte. Values are those of the layer it came from, to rounding.

    Args:
        layer: Its sizes, bits and weights are taken.

    Raises:
        InputError: The layer has bit-widths above 8, or none.
    """

    bias: Tensor | None

    def __init__(self, layer: QuantLinear) -> None:
        super().__init__()
        above = [b for b in (*layer.bits, layer.weight_bits if layer.mode == "shared" else 2) if b > INTEGER_MOST]
        if above or not layer.bits:
            raise InputError(
                f"{layer.name}: integers hold 2 to {INTEGER_MOST} bits, the layer has {some(layer.bits) or 'none'}; "
                "train with fewer bits"
            )
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.bits, self.rows, self.fixed, self.name = layer.bits, layer.rows, layer.fixed, layer.name
        self.mode, self.weight_bits = layer.mode, layer.weight_bits
        for width in layer.step:
            values, step = quantize_weight(layer.weight, int(width), layer.step[width])
            self.register_buffer(f"values_{width}", _pack_halves(values) if int(width) <= 4 else values)
            self.register_buffer(f"step_{width}", step.float())
        ends = [layer.limits[str(b)].detach().float() for b in self.bits if str(b) in layer.limits]
        if any(bool(torch.isnan(end).any()) for end in ends):
            raise InputError(f"{layer.name}: its ranges have not been learned yet; train before compressing")
        self.register_buffer("limits", torch.stack(ends) if ends else torch.zeros(0, 2))
        clips = torch.stack([layer.clip[str(b)].detach().float() for b in self.bits])
        self.register_buffer("clips", clips)
        self.register_buffer("bias", None if layer.bias is None else layer.bias.detach().clone())
        self._weights: dict[int, IntegerWeight] = {}

    def forward(
        self, x: Tensor, bits: Bits = None, *, added: Sequence[Rows] = (), activation: Activation = "none"
    ) -> Tensor:
        """As :meth:`QuantLinear.forward`; bits are needed."""
        if bits is None:
            raise InputError(f"{self.name}: only the integers of this model were kept; predict with bits, not without")
        plan = checked_plan(self, x, bits)
        if not plan.buckets:
            return x.new_zeros(0, self.out_features)
        weights = [self.weight_at(width) for width, _, _ in plan.buckets]
        ends = [last for _, _, last in plan.buckets]
        try:
            return integer_linear(x, plan.order, ends, weights, self.bias, added, activation)
        except InputError as error:
            raise InputError(f"{self.name}: {error}") from None

    def weight_at(self, width: int) -> IntegerWeight:
        """Integers that rows at ``width`` bits meet, unpacked at the first call."""
        if width not in self._weights:
            met = width if self.mode == "matched" else self.weight_bits
            values = getattr(self, f"values_{met}")
            values = _unpack_halves(values, self.in_features) if met <= 4 else values
            clip = float(self.get_buffer("clips")[self.bits.index(width)])
            most = 2 ** (met - 1) - 1
            limits = self.get_buffer("limits")
            pair = tuple(limits[self.bits.index(width)].tolist()) if len(limits) else None
            self._weights[width] = IntegerWeight(width, values, getattr(self, f"step_{met}"), most, clip, pair)
        return self._weights[width]

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        self._weights = {}
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call]

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._weights = {}
        super()._load_from_state_dict(*args, **kwargs)

    def extra_repr(self) -> str:
        """Sizes and bits."""
        return f"{self.in_features}, {self.out_features}, {self.rows} rows, bits={self.bits}, weights='{self.mode}'"


class SplitLinear(nn.Module):
    """One linear layer on concatenated inputs, as a sum over the inputs: ``W [x1, x2, ...] + b``.

    The same numbers as ``nn.Linear`` on the concatenation, to rounding; but each input is quantised by itself, with its
    own range and its own bits.

    Args:
        parts: Channels of each input and its fixed bits (None: the bits assigned to its rows).
        out_features: Channels of the output.
        bias: Add a bias.
        **settings: See :class:`QuantLinear`.
    """

    def __init__(
        self, parts: Sequence[tuple[int, int | None]], out_features: int, *, bias: bool = True, **settings: Any
    ) -> None:
        super().__init__()
        layers = [
            QuantLinear(width, out_features, fixed=fixed, bias=bias and i == 0, **settings)
            for i, (width, fixed) in enumerate(parts)
        ]
        self.parts = nn.ModuleList(layers)
        reset_as_one(layers)

    def forward(
        self, *inputs: Tensor, bits: Bits = None, added: Sequence[Rows] = (), activation: Activation = "none"
    ) -> Tensor:
        """``[r, c_i] ... -> [r, out]``."""
        *rest, (last, x) = list(zip(self.parts, inputs, strict=True))
        total: Tensor | None = None
        for part, values in rest:
            out = part(values, bits)
            total = out if total is None else total + out
        if total is not None:
            added = [*added, Rows(total)]
        result: Tensor = last(x, bits, added=added, activation=activation)
        return result


def reset_as_one(layers: Sequence[QuantLinear]) -> None:
    """Start layers whose outputs are added as one ``nn.Linear`` on all inputs would start."""
    bound = sum(layer.in_features for layer in layers) ** -0.5
    for layer in layers:
        nn.init.uniform_(layer.weight, -bound, bound)
        if layer.bias is not None:
            nn.init.uniform_(layer.bias, -bound, bound)
        layer.set_steps()


def quantized_layers(model: nn.Module) -> Iterator[tuple[str, QuantLinear | IntegerLinear]]:
    """Names and layers of a model that can run quantised."""
    for name, module in model.named_modules():
        if isinstance(module, (QuantLinear, IntegerLinear)):
            yield name, module


def name_layers(model: nn.Module) -> None:
    """Tell every layer its place in the model, so that messages can name it."""
    for name, layer in quantized_layers(model):
        layer.name = name


def to_integers(model: nn.Module) -> nn.Module:
    """Replace every :class:`QuantLinear` of a model by its integers, in place; returns the model.

    Raises:
        InputError: A layer has bit-widths that 8-bit integers cannot hold, or none at all.
    """
    name_layers(model)
    for name, layer in list(quantized_layers(model)):
        if isinstance(layer, QuantLinear):
            owner = model.get_submodule(name.rpartition(".")[0])
            setattr(owner, name.rpartition(".")[2], IntegerLinear(layer))
    return model


def checked_plan(layer: QuantLinear | IntegerLinear, x: Tensor, bits: BitPlan | MeshBits) -> BitPlan:
    """Plan of the rows of ``x``; raises ``InputError`` where it does not fit, or where ``x`` is not finite (CPU)."""
    plan = bits if isinstance(bits, BitPlan) else bits.plan(layer.rows, layer.fixed, len(x))
    if len(plan.bits) != len(x):
        raise InputError(f"{layer.name}: the plan is for {len(plan.bits)} rows, got {len(x)}")
    for width, _, _ in plan.buckets:
        if width not in layer.bits:
            built = some(layer.bits) if layer.bits else "none"
            raise InputError(f"{layer.name}: a row has {width} bits, the layer was built for {built}; add it to bits=")
    if isinstance(layer, QuantLinear) and x.device.type == "cpu" and not bool(torch.isfinite(x.detach().sum())):
        raise InputError(f"{layer.name}: activations hold NaN or infinite values; lower the learning rate or the input")
    return plan


def _pack_halves(values: Tensor) -> Tensor:
    """``[n, k]`` integers -8..7 -> ``[n, ceil(k / 2)]`` bytes, two of them in each."""
    low = values[:, 0::2].to(torch.int16) & 15
    high = torch.zeros_like(low)
    high[:, : values.shape[1] // 2] = values[:, 1::2].to(torch.int16) & 15
    return (low | high << 4).to(torch.uint8)


def _unpack_halves(packed: Tensor, k: int) -> Tensor:
    """Inverse of :func:`_pack_halves`."""
    both = torch.stack([packed & 15, packed >> 4], 2).flatten(1)[:, :k].to(torch.int8)
    return torch.where(both > 7, both - 16, both)
