"""Flow matching on straight paths (Lipman et al., 2210.02747; Liu et al., 2209.03003), with parts that are known.

    z_r = (1 - r) z_0 + r z_1,   z_0 ~ N(0, 1),   target velocity v = z_1 - z_0,   loss on the parts that are not known

A sample is the end of dz/dr = v(z, r) from noise at r = 0. Known parts start at their value and have velocity zero, so
they are the same bits at the end. Steps in r are taken by torchdiffeq.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from meshops import ranks
from meshops.errors import InputError

Method = Literal["euler", "midpoint", "heun", "rk4", "dopri5"]
METHODS = {"euler": "euler", "midpoint": "midpoint", "heun": "heun2", "rk4": "rk4", "dopri5": "dopri5"}
EVALUATIONS = {"euler": 1, "midpoint": 2, "heun": 2, "rk4": 4}  # of the velocity, per step


def flow_pair(clean: Tensor, noise: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
    """Place on the path and velocity there.

    Args:
        clean: ``[b, ...]`` z_1.
        noise: Same shape, z_0.
        r: ``[b]`` in 0..1.

    Returns:
        ``z_r`` and ``z_1 - z_0``.
    """
    part = r.view(-1, *(1,) * (clean.dim() - 1))
    return (1 - part) * noise + part * clean, clean - noise


def draw_times(count: int, *, law: str = "uniform", generator: torch.Generator | None = None) -> Tensor:
    """``[count]`` times of training examples: uniform in 0..1, or the logistic function of a standard normal.

    Raises:
        InputError: Unknown law.
    """
    if law == "uniform":
        return torch.rand(count, generator=generator)
    if law == "logit_normal":
        return torch.sigmoid(torch.randn(count, generator=generator))
    raise InputError(f"times are drawn 'uniform' or 'logit_normal', got '{law}'")


def masked_loss(prediction: Tensor, target: Tensor, wanted: Tensor) -> Tensor:
    """Mean square over the numbers that are wanted; 0 where none is.

    Args:
        prediction: ``[b, ...]``.
        target: Same shape.
        wanted: Booleans that broadcast to it.
    """
    mask = wanted.expand_as(target)
    total = ((prediction - target).square() * mask).sum()
    return ranks.ratio(total, mask.sum())


@torch.no_grad()
def integrate(
    velocity: Callable[[Tensor, Tensor], Tensor], start: Tensor, *, steps: int = 10, method: Method = "midpoint"
) -> Tensor:
    """End of dz/dr = velocity(r, z) from r = 0 to 1.

    Args:
        velocity: Of a time (a number) and a state, of the shape of the state.
        start: State at r = 0.
        steps: Of the fixed methods.
        method: ``"euler"``, ``"midpoint"`` (ENMA: 10 steps), ``"heun"``, ``"rk4"``, or ``"dopri5"`` with its own steps.

    Raises:
        InputError: Unknown method, or no step.
    """
    from torchdiffeq import odeint

    if method not in METHODS:
        raise InputError(f"method must be one of {', '.join(METHODS)}, got '{method}'")
    if steps < 1:
        raise InputError(f"steps must be at least 1, got {steps}")
    if method == "dopri5":
        ends = torch.tensor([0.0, 1.0], device=start.device, dtype=start.dtype)
        found: Tensor = odeint(velocity, start, ends, method="dopri5", rtol=1e-4, atol=1e-4)
        return found[-1]
    ladder = torch.linspace(0, 1, steps + 1, device=start.device, dtype=start.dtype)
    path: Tensor = odeint(velocity, start, ladder, method=METHODS[method])
    return path[-1]


def flow_sample(
    velocity: Callable[[Tensor, Tensor], Tensor],
    known: Tensor,
    wanted: Tensor,
    *,
    steps: int = 10,
    method: Method = "midpoint",
    generator: torch.Generator | None = None,
) -> Tensor:
    """A sample from noise; parts that are known start at their value, have velocity zero and are the same bits after.

    Args:
        velocity: See :func:`integrate`.
        known: ``[b, k]`` values of the parts that are known.
        wanted: ``[b, k]`` the others.
        steps: See :func:`integrate`.
        method: See :func:`integrate`.
        generator: Of the noise.
    """
    noise = torch.randn(known.shape, generator=generator).to(known.device)
    start = torch.where(wanted, noise, known)
    end = integrate(lambda r, z: velocity(r, z).masked_fill(~wanted, 0), start, steps=steps, method=method)
    return torch.where(wanted, end, known)
