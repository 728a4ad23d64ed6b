"""Supernodes: a few pooled tokens per patch (MSPT, 2512.01738, sec. 3.2)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from meshops.errors import InputError
from meshops.typing import Bool, Float

Pooling = Literal["mean", "max", "linear"]
Variant = Literal["paper", "reference"]


class SupernodePool(nn.Module):
    """Reduce the tokens of each patch to Q supernodes.

    ``style="paper"``: the tokens are cut into Q sub-blocks, each is averaged (mean) or maximised (max); ``linear``
    is a learned map over the tokens, ``S = W^T H`` with ``W [L, Q]``.
    ``style="reference"`` (released code): mean = patch means without the q tokens of largest norm (q = 0..Q-1);
    max = the q-th largest value of each channel; linear = one layer on the patch mean.

    Args:
        channels: Width of a token.
        num_supernodes: Q.
        pooling: ``"mean"``, ``"max"`` or ``"linear"``.
        style: See above.
        patch_size: L, needed by the linear map of the paper alone; shorter patches count as padded with zeros.
    """

    def __init__(
        self,
        channels: int,
        num_supernodes: int = 1,
        *,
        pooling: Pooling = "mean",
        style: Variant = "paper",
        patch_size: int | None = None,
    ) -> None:
        super().__init__()
        if pooling not in ("mean", "max", "linear"):
            raise InputError(f"pooling must be 'mean', 'max' or 'linear', got '{pooling}'")
        self.num_supernodes = num_supernodes
        self.pooling = pooling
        self.style = style
        self.weight: nn.Parameter | None = None
        self.linear: nn.Linear | None = None
        if pooling == "linear" and style == "paper":
            if patch_size is None:
                raise InputError("linear pooling of the paper maps the tokens of a patch: give patch_size")
            self.weight = nn.Parameter(torch.full((patch_size, num_supernodes), 1.0 / patch_size))
        if pooling == "linear" and style == "reference":
            self.linear = nn.Linear(channels, num_supernodes * channels)

    def forward(
        self, x: Float[Tensor, "b p l c"], mask: Bool[Tensor, "b p l"] | None = None
    ) -> tuple[Float[Tensor, "b m c"], Bool[Tensor, "b m"] | None]:
        """Supernodes of all patches, patch after patch, and which of them exist (None: all).

        Args:
            x: Tokens, l of them in each of p patches.
            mask: True where a token exists; None: everywhere.
        """
        pooled = self._reference(x, mask) if self.style == "reference" else self._paper(x, mask)
        exists = None if mask is None else self._exists(mask)
        return pooled.flatten(1, 2), exists

    def _exists(self, mask: Tensor) -> Tensor:
        q = self.num_supernodes
        if self.style == "paper" and self.pooling != "linear":
            return mask.reshape(mask.shape[0], mask.shape[1] * q, -1).any(2)
        return mask.any(2, keepdim=True).expand(-1, -1, q).flatten(1)

    def _paper(self, x: Tensor, mask: Tensor | None) -> Tensor:
        if self.weight is not None:
            length = x.shape[2]
            if length > self.weight.shape[0]:
                raise InputError(f"linear pooling was built for {self.weight.shape[0]} tokens a patch, got {length}")
            tokens = x if mask is None else x * mask.unsqueeze(-1)
            return torch.einsum("bplc,lq->bpqc", tokens, self.weight[:length])
        if x.shape[2] % self.num_supernodes:
            raise InputError(
                f"the {x.shape[2]} token slots of a patch must be divisible by num_supernodes={self.num_supernodes}"
            )
        blocks = x.unflatten(2, (self.num_supernodes, -1))
        exists = None if mask is None else mask.unflatten(2, (self.num_supernodes, -1)).unsqueeze(-1)
        return _masked_mean(blocks, exists, 3) if self.pooling == "mean" else _masked_max(blocks, exists, 3)

    def _reference(self, x: Tensor, mask: Tensor | None) -> Tensor:
        exists = None if mask is None else mask.unsqueeze(-1)
        mean = _masked_mean(x, exists, 2)
        q, length = self.num_supernodes, x.shape[2]
        if self.linear is not None:
            out: Tensor = self.linear(mean).unflatten(-1, (q, -1))
            return out
        if self.pooling == "max":
            tokens = x if exists is None else x.masked_fill(~exists, -torch.inf)
            top = tokens.topk(min(q, length), dim=2).values
            return torch.nn.functional.pad(torch.where(top.isinf(), 0.0, top), (0, 0, 0, q - top.shape[2]))
        if q == 1:
            return mean.unsqueeze(2)
        norm = x.norm(dim=-1) if mask is None else x.norm(dim=-1).masked_fill(~mask, -1)
        rank = norm.argsort(dim=2, descending=True).argsort(dim=2)
        means = []
        for dropped in range(min(q, length)):
            keep = (rank >= dropped).unsqueeze(-1)
            means.append(_masked_mean(x, keep if exists is None else keep & exists, 2))
        return torch.nn.functional.pad(torch.stack(means, 2), (0, 0, 0, q - len(means)))

    def extra_repr(self) -> str:
        """Arguments shown by ``print``."""
        return f"num_supernodes={self.num_supernodes}, pooling='{self.pooling}', style='{self.style}'"


def _masked_mean(x: Tensor, exists: Tensor | None, dim: int) -> Tensor:
    if exists is None:
        return x.mean(dim)
    return (x * exists).sum(dim) / exists.sum(dim).clamp(min=1)


def _masked_max(x: Tensor, exists: Tensor | None, dim: int) -> Tensor:
    if exists is None:
        return x.amax(dim)
    top = x.masked_fill(~exists, -torch.inf).amax(dim)
    return torch.where(top.isinf(), 0.0, top)
