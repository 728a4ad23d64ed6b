"""What all models on regular grids share: fields in, fields out, and what a training loss compares."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from meshops import ranks
from meshops.data.grid import grid_values
from meshops.ops.segment import segment_mean


class LossPairs(NamedTuple):
    """Rows a loss compares.

    Attributes:
        prediction: ``[r, c]``.
        truth: ``[r, c]``.
        ptr: ``[b + 1]`` sample i owns rows ``ptr[i]:ptr[i + 1]``.
    """

    prediction: Tensor
    truth: Tensor
    ptr: Tensor

    def error(self, name: str) -> Tensor:
        """Mean over samples of ``"mse"``, ``"mae"`` or ``"nmse"``, the first over the mean square of the truth."""
        difference = self.prediction - self.truth
        error = difference.abs() if name == "mae" else difference.square()
        per_sample = segment_mean(error.mean(1), self.ptr)
        if name == "nmse":
            per_sample = per_sample / segment_mean(self.truth.square().mean(1), self.ptr).clamp(min=1e-12)
        return ranks.mean(per_sample)


class GridModel(nn.Module):
    """A map of fields on a grid, ``[b, c_in, *grid] -> [b, c_out, *grid]``, normalised on both sides.

    Attributes:
        takes: What the model can work on.
        out_channels: c_out.
    """

    takes: ClassVar[frozenset[str]] = frozenset({"grid"})
    out_channels: int

    def unpack(self, graph: Any) -> Tensor:
        """``x`` of a batch of equal grid graphs as ``[b, c, *grid]``."""
        return grid_values(graph, "x")

    def loss_pairs(self, fields: Tensor, target: Tensor) -> LossPairs:
        """Prediction and truth where the model makes them: here in every cell.

        Args:
            fields: ``[b, c_in, *grid]``.
            target: ``[b, c_out, *grid]``.
        """
        return self.loss_and_fields(fields, target)[0]

    def loss_and_fields(self, fields: Tensor, target: Tensor) -> tuple[LossPairs, Tensor]:
        """:meth:`loss_pairs`, and the prediction ``[b, c_out, *grid]`` they were taken from."""
        cells = target[0, 0].numel()
        ptr = torch.arange(0, len(target) * cells + 1, cells, device=target.device)
        prediction: Tensor = self(fields)
        return LossPairs(_rows(prediction), _rows(target), ptr), prediction

    def floor(self, fields: Tensor, target: Tensor) -> Tensor:
        """``target`` after it went through the tokens the model would use for ``fields``: the best it could do."""
        del fields
        return target


def _rows(values: Tensor) -> Tensor:
    return values.movedim(1, -1).flatten(0, -2)
