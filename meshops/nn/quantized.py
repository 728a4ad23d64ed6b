"""Linear layers whose rows have a number of bits each (AMQ-style; the paper's own design is not public).

A row at b bits meets the weights at b bits (``weights="matched"``) or weights at one width for all (``"shared"``).
Bias, sums and whatever follows stay in floating point. Without bits the layer is ``torch.nn.Linear``, bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from meshops.errors import InputError, listing
from meshops.ops.quantize import check_bits, fake_quantize_rows, fake_quantize_weight, weight_step


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


class QuantLinear(nn.Linear):
    """``y = x W^T + b`` with rows and weights quantised.

    Args:
        in_features: Channels of the input.
        out_features: Channels of the output.
        bits: Bit-widths rows may have; each has its own learned clip of the rows and steps of the weights.
        weights: ``"matched"``: weights at the bits of the row; ``"shared"``: at ``weight_bits`` for all rows.
        weight_bits: See above.
        bias: Add a bias, in floating point.

    Raises:
        InputError: No bit-widths, or some out of range.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bits: Sequence[int] = (4, 8),
        weights: Literal["matched", "shared"] = "matched",
        weight_bits: int = 8,
        bias: bool = True,
    ) -> None:
        super().__init__(in_features, out_features, bias=bias)
        if not bits or weights not in ("matched", "shared"):
            raise InputError(f"give bit-widths and weights='matched' or 'shared', got bits={bits}, weights='{weights}'")
        for width in (*bits, weight_bits):
            check_bits(int(width))
        self.bits = tuple(sorted({int(width) for width in bits}))
        self.mode, self.weight_bits = weights, weight_bits
        self.clip = nn.ParameterDict({str(b): nn.Parameter(torch.tensor(0.9 if b <= 4 else 1.0)) for b in self.bits})
        widths = self.bits if weights == "matched" else (weight_bits,)
        self.step = nn.ParameterDict({str(b): nn.Parameter(weight_step(self.weight.detach(), b)) for b in widths})

    def forward(self, x: Tensor, plan: BitPlan | None = None) -> Tensor:  # type: ignore[override]
        """``[r, in] -> [r, out]``.

        Args:
            x: Rows.
            plan: Bits of each; None: nothing is quantised.

        Raises:
            InputError: A row has bits the layer was not built for, or the plan has another number of rows.
        """
        if plan is None:
            return linear(x, self.weight, self.bias)
        if len(plan.bits) != len(x):
            raise InputError(f"the plan is for {len(plan.bits)} rows, got {len(x)}")
        parts = []
        rows = x[plan.order]
        for width, first, last in plan.buckets:
            if width not in self.bits:
                raise InputError(
                    f"a row has {width} bits, the layer was built for {listing(self.bits)}; add it to bits="
                )
            seen = fake_quantize_rows(rows[first:last], width, self.clip[str(width)])
            parts.append(linear(seen, self.quantized_weight(width), self.bias))
        out = torch.cat(parts) if parts else x.new_zeros(0, self.out_features)
        return out[plan.inverse]

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
        return f"{super().extra_repr()}, bits={self.bits}, weights='{self.mode}'"
