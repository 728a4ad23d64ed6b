"""How wide the interval of a field is at each node: where on a shape errors were large on cases that were held out.

    s_i^2 = m(x_i)^2 + d_i^2,      |u_i - u*_i| <= q f s_i   at the share ``level`` of the nodes

m: root mean square error of held-out cases at this place of the shape; d: standard deviation of the members of a blend;
f: how much larger errors are expected on this case than usual; q: makes the share of covered nodes of the held-out
cases, averaged over cases, the level. m of a held-out case is that of the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from meshops.aero.case_spec import CaseSpec
from meshops.data.mesh_graph import MeshGraph
from meshops.data.shape import between, places

Array = NDArray[np.float64]
NODES = 4096  # of the reference
QUANTILES = np.concatenate([np.linspace(0, 0.9, 91), np.linspace(0.905, 1, 20)])
FLOOR = 0.05  # of the root mean square error of all nodes: a width is never much smaller


def node_places(prepared: MeshGraph, spec: CaseSpec) -> Tensor:
    """``[n, k]`` where each node of a prepared case is in its shape."""
    known: Tensor | None = prepared.get("place")
    if known is not None:
        return known
    names = spec.feature_names()
    facing = [names.index(f"normal_{axis}") for axis in "xyz" if f"normal_{axis}" in names]
    solid = spec.domain == "surface" and len(facing) == 3
    return places(prepared.pos, prepared.x[:, facing] if solid else None)


def lengths(values: Tensor, spec: CaseSpec) -> Tensor:
    """``[n, fields]`` of normalised rows ``[n, c]``: the length of each field's channels."""
    return torch.stack([values[:, c].norm(dim=1) for c in spec.slices().values()], 1)


@dataclass(frozen=True, eq=False)
class FieldWidths:
    """What the widths are made of.

    Attributes:
        where: ``[r, k]`` places of the reference.
        error: ``[r, f]`` root mean square normalised error of each field there.
        ratios: ``[m, f, q]`` quantiles of error over s of each held-out case.
    """

    where: Tensor
    error: Tensor
    ratios: Array

    @classmethod
    def of(cls, cases: Sequence[tuple[Tensor, Tensor, Tensor]], scales: Array, reference: int = 0) -> FieldWidths:
        """From held-out cases.

        Args:
            cases: Place ``[n, k]``, error ``[n, f]`` and spread ``[n, f]`` of the nodes of each.
            scales: ``[m]`` how much larger errors were expected on each.
            reference: The case whose nodes carry the errors.
        """
        where = cases[reference][0]
        if len(where) > NODES:
            chosen = torch.randperm(len(where), generator=torch.Generator().manual_seed(0))[:NODES].sort().values
            where = where[chosen]
        squares = torch.stack([_carried(error.square(), place, where) for place, error, _ in cases])
        total, floor = squares.sum(0), FLOOR**2 * squares.mean((0, 1))
        ratios = np.empty((len(cases), squares.shape[2], len(QUANTILES)))
        for j, (place, error, spread) in enumerate(cases):
            others = (total - squares[j]) / max(1, len(cases) - 1) + floor
            s = (_carried(others, where, place) + spread.square()).sqrt() * float(scales[j])
            ratio = (error / s.clamp(min=1e-30)).double().numpy()
            ratios[j] = np.nanquantile(ratio, QUANTILES, axis=0).T
        return cls(where, (total / len(cases) + floor).sqrt(), ratios)

    def half_widths(self, place: Tensor, spread: Tensor, level: float, scale: float) -> Tensor:
        """``[n, f]`` normalised half widths at the nodes of a case."""
        s = (_carried(self.error.square(), self.where, place) + spread.square()).sqrt()
        q = torch.tensor([self.factor(k, level) for k in range(s.shape[1])], dtype=s.dtype)
        return s * q * scale

    def factor(self, field: int, level: float) -> float:
        """q: what s is multiplied with, so that the mean share of nodes covered is the level."""
        table = self.ratios[:, field]
        low, high = 0.0, float(table.max())
        for _ in range(60):
            middle = (low + high) / 2
            covered = np.mean([np.interp(middle, row, QUANTILES) for row in table])
            low, high = (middle, high) if covered < level else (low, middle)
        return high

    def to_dict(self) -> dict[str, Any]:
        """Tensors for a checkpoint."""
        return {"where": self.where, "error": self.error, "ratios": torch.as_tensor(self.ratios)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FieldWidths:
        """Inverse of :meth:`to_dict`."""
        return cls(values["where"], values["error"], values["ratios"].numpy())


def _carried(values: Tensor, sources: Tensor, targets: Tensor) -> Tensor:
    index, weight = between(sources, targets)
    out: Tensor = (values[index] * weight.unsqueeze(-1).to(values.dtype)).sum(1)
    return out
