"""One Runge-Kutta step of ``ds/dt = change(s) - decay s`` in which the decay is exact.

The classical fourth-order method for ``exp(decay t) s``, so that viscosity sets no limit to the step of the spectral
solvers.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def integrating_factor_step(state: Tensor, dt: float, *, change: Callable[[Tensor], Tensor], decay: Tensor) -> Tensor:
    """State after ``dt``.

    Args:
        state: Coefficients of the modes.
        dt: Step, s.
        change: Everything but the decay, of a state of the same shape.
        decay: Rate of each mode, 1/s; broadcasts against ``state``.
    """
    half = torch.exp(-decay * dt / 2)
    a = change(state)
    b = change(half * (state + dt / 2 * a))
    c = change(half * state + dt / 2 * b)
    d = change(half * half * state + dt * half * c)
    return half * half * state + dt / 6 * (half * half * a + 2 * half * (b + c) + d)
