"""The step is exact for decay alone and of fourth order with the rest."""

from __future__ import annotations

import math

import torch
from torch.testing import assert_close

from meshops.solvers.integrating_factor import integrating_factor_step


def test_decay_alone_is_exact_at_any_step() -> None:
    decay = torch.tensor([0.0, 1.0, 300.0], dtype=torch.float64)
    found = integrating_factor_step(torch.ones(3).double(), 0.7, change=torch.zeros_like, decay=decay)
    assert_close(found, torch.exp(-0.7 * decay), rtol=1e-14, atol=0)


def test_logistic_growth_is_of_fourth_order() -> None:
    """ds/dt = s^2 - s from 2/3: s = 1 / (1 + e^t / 2)."""
    errors = []
    for steps in (8, 16):
        state = torch.tensor(2 / 3, dtype=torch.float64)
        for _ in range(steps):
            state = integrating_factor_step(state, 2 / steps, change=torch.square, decay=torch.ones(()).double())
        errors.append(abs(float(state) - 1 / (1 + math.exp(2) / 2)))
    assert 14 < errors[0] / errors[1] < 18
