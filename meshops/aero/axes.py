"""Which way the flow goes and which way is up, where nothing states it: from the pressure on closed bodies.

Where the pressure is highest the flow meets the body head-on, so that the surface there faces against it. The body is
its own mirror image across the flow. What faces down lies at one height (an underside), what faces up does not.
Where these cues are weak or the cases disagree the answer is "not known", which is better than a wrong one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meshops.aero.integrals import SurfaceIntegrals

Array = NDArray[np.float64]
FACING = 0.6  # mean normal of the stagnation region along its axis
AGREE = 0.8  # share of the cases
SYMMETRIC = 0.25  # oddness across the mirror plane over that along the other axis
FLATTER = 0.8  # spread of the underside over that of the top


@dataclass(frozen=True)
class Axes:
    """Flow and up of a set of bodies.

    Attributes:
        flow, up: Unit vectors along axes of the files; None: not known.
        reason: What was seen, or why it is not known.
        confidence: Share of the cases that agree, 0 where it is not known.
    """

    flow: tuple[float, float, float] | None
    up: tuple[float, float, float] | None
    reason: str
    confidence: float

    @property
    def known(self) -> bool:
        """Both are."""
        return self.flow is not None and self.up is not None


def guess_axes(cases: Sequence[SurfaceIntegrals | None], pressure: str) -> Axes:
    """Flow direction and up of bodies with a pressure field.

    Args:
        cases: Integrals of each case, None off surfaces.
        pressure: Name of the scalar that is the pressure.

    Example:
        >>> from meshops.datasets import AhmedMini
        >>> cases = [SurfaceIntegrals.of(graph) for graph in AhmedMini("test")]
        >>> axes = guess_axes(cases, "pMean")
        >>> axes.flow, axes.up
        ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0))
    """
    bodies = [s for s in cases if s is not None and pressure in s.front and np.isfinite(s.front[pressure]).all()]
    if not bodies:
        return Axes(None, None, f"not known: no surface in space with '{pressure}'", 0.0)
    if np.mean([np.abs(s.closure).max() < 0.02 for s in bodies]) < AGREE:
        return Axes(
            None, None, "not known: the surfaces are open, so that their pressure need not be that of a body", 0.0
        )
    facing = np.array([s.front[pressure] for s in bodies])
    axis = int(np.abs(facing.mean(0)).argmax())
    side = -np.sign(facing[:, axis].mean())
    agree = float(np.mean((-side * facing[:, axis] > FACING) & (np.abs(facing).argmax(1) == axis)))
    if agree < AGREE:
        said = ", ".join(f"{v:+.2f}" for v in facing.mean(0))
        return Axes(None, None, f"not known: where '{pressure}' is highest the surface faces no one way ({said})", 0.0)
    flow = _unit(axis, side)
    reason = (
        f"where '{pressure}' is highest the surface faces {_name(axis, -side)} in {agree:.0%} of the cases, so the "
        f"flow is along {_name(axis, side)}"
    )
    up_axis, sign, why, share = _up(bodies, axis)
    if up_axis is None:
        return Axes(flow, None, f"{reason}; up is not known: {why}", agree)
    return Axes(flow, _unit(up_axis, sign), f"{reason}; {why}", min(agree, share))


def _up(bodies: Sequence[SurfaceIntegrals], flow_axis: int) -> tuple[int | None, float, str, float]:
    """Axis and sign of up, the reason, and the share of the cases that agree on the mirror plane."""
    across = [k for k in range(3) if k != flow_axis]
    odd = np.array([s.odd[across] for s in bodies])
    lateral = int(np.median(odd, axis=0).argmin())
    other = 1 - lateral
    clear = float(np.mean(odd[:, lateral] < SYMMETRIC * odd[:, other] + 1e-5))
    up_axis = across[other] if clear >= AGREE else None
    if up_axis is None:
        # A body that is symmetric both ways, or neither: the convention, if the ground says no other.
        if flow_axis == 2:
            return 1, 1.0, "up is +y by convention (the flow is along z)", 0.5
        return 2, 1.0, "up is +z by convention", 0.5
    name = "xyz"[across[lateral]]
    spread = np.array([s.height[up_axis] for s in bodies])
    known = np.isfinite(spread).all(axis=1)
    below = np.median(spread[known], axis=0) if known.any() else np.ones(2)
    positive = 1.0 if below[0] <= below[1] else -1.0
    if below.min() <= FLATTER * below.max():
        votes = float(np.mean((spread[known, 0] <= spread[known, 1]) == (positive > 0)))
        if votes >= 0.7:
            under = _name(up_axis, -positive)
            why = f"the bodies are mirrored across {name}, and what faces {under} is flatter (underside)"
            return up_axis, positive, why, votes
    return up_axis, 1.0, f"the bodies are mirrored across {name}; up is {_name(up_axis, 1.0)} by convention", 0.6


def _unit(axis: int, sign: float) -> tuple[float, float, float]:
    out = [0.0, 0.0, 0.0]
    out[axis] = float(sign)
    return (out[0], out[1], out[2])


def _name(axis: int, sign: float) -> str:
    return f"{'+' if sign > 0 else '-'}{'xyz'[axis]}"
