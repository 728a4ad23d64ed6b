"""Linear layers that hold and multiply 8-bit integers: what a quantised network becomes after its training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from meshops.errors import InputError, some
from meshops.nn.quantized import BitPlan, QuantLinear, checked_plan, name_layers, quantized_repr, swapped
from meshops.ops.integer import integer_linear
from meshops.ops.integer_definition import IntegerWeight
from meshops.ops.quantize import INTEGER_MOST, quantize_weight
from meshops.ops.rows import Activation, Rows


class IntegerLinear(nn.Module):
    """A trained :class:`QuantLinear` that holds integers only and multiplies integers; no gradients.

    Weights of up to 4 bits are kept two to a byte. Values are those of the layer it came from, to rounding.

    Args:
        layer: Its sizes, bits and weights are taken.
        empty: State is loaded later; ranges need not be known yet.

    Raises:
        InputError: The layer has bit-widths above 8, or ranges that were never learned.
    """

    bias: Tensor | None

    def __init__(self, layer: QuantLinear, *, empty: bool = False) -> None:
        super().__init__()
        above = [b for b in (*layer.bits, layer.weight_bits if layer.mode == "shared" else 2) if b > INTEGER_MOST]
        if above:
            raise InputError(
                f"{layer.name}: integers hold 2 to {INTEGER_MOST} bits, the layer has {some(layer.bits)}; "
                "train with fewer bits"
            )
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.bits, self.rows, self.fixed, self.name = layer.bits, layer.rows, layer.fixed, layer.name
        self.mode, self.weight_bits, self.per_member = layer.mode, layer.weight_bits, layer.per_member
        self.source = layer.source
        for width in layer.log_step:
            values, step = quantize_weight(layer.weight, int(width), layer.step_at(int(width)))
            self.register_buffer(f"values_{width}", _pack_halves(values) if int(width) <= 4 else values)
            self.register_buffer(f"step_{width}", step.float())
        ranged = layer.ranges == "tensor"
        if ranged and not empty and not all(layer.has_ranges(b) for b in self.bits):
            raise InputError(f"{layer.name}: its ranges have not been learned yet; train before compressing")
        ends = [layer.limits_at(b).detach().float() for b in self.bits] if ranged else []
        self.register_buffer("limits", torch.stack(ends) if ends else torch.zeros(0, 2))
        clips = torch.stack([layer.clip_at(b).detach().float() for b in self.bits])
        self.register_buffer("clips", clips)
        self.register_buffer("bias", None if layer.bias is None else layer.bias.detach().clone())
        self._weights: dict[int, IntegerWeight] = {}

    def forward(self, x: Tensor, *, added: Sequence[Rows] = (), activation: Activation = "none") -> Tensor:
        """As :meth:`QuantLinear.forward`; bits are needed where rows may have several."""
        if x.dim() != 2:
            out: Tensor = self(x.flatten(0, -2), added=added, activation=activation)
            return out.reshape(*x.shape[:-1], self.out_features)
        if self.source.bits is not None:
            plan = checked_plan(self, x)
        elif len(self.bits) == 1:
            plan = BitPlan.uniform(len(x), self.bits[0], x.device)
        else:
            raise InputError(
                f"{self.name}: only the integers of this model were kept; predict with bits (assigned), not without"
            )
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
        return quantized_repr(self)


def to_integers(model: nn.Module, *, empty: bool = False) -> nn.Module:
    """Replace every :class:`~meshops.nn.QuantLinear` of a model by its integers, in place.

    Rows get their bits from :func:`~meshops.nn.quantized.assigned`, as before; a layer that knows one number of bits
    alone needs none.

    Args:
        model: With layers of :func:`~meshops.nn.quantize`.
        empty: State is loaded later; ranges need not be known yet.

    Returns:
        The model; where it is a layer itself, the layer that takes its place.

    Raises:
        InputError: A layer has bit-widths that 8-bit integers cannot hold, or no layer is quantised.
    """
    name_layers(model)
    made = {layer: IntegerLinear(layer, empty=empty) for layer in model.modules() if isinstance(layer, QuantLinear)}
    if not made:
        raise InputError("the model has no quantised layers to make integers of; call quantize(model) first")
    return swapped(model, made)


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
