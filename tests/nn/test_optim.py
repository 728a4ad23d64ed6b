"""Optimisers against their formula, the schedule at its corners."""

import pytest
import torch
from torch.testing import assert_close

from meshops.errors import InputError
from meshops.nn import MLP, quantize
from meshops.nn.optim import Lion, make_optimizer, parameter_groups, warmup_cosine


def test_lion_follows_algorithm_2():
    lr, (b1, b2), wd = 0.1, (0.9, 0.99), 0.05
    theta = torch.tensor([1.0, -2.0], requires_grad=True)
    optimizer = Lion([theta], lr=lr, betas=(b1, b2), weight_decay=wd)
    expected, momentum = theta.detach().clone(), torch.zeros(2)
    for gradient in (torch.tensor([0.3, -0.1]), torch.tensor([-5.0, 0.2]), torch.tensor([0.0, 0.4])):
        theta.grad = gradient.clone()
        optimizer.step()
        update = torch.sign(b1 * momentum + (1 - b1) * gradient)
        expected = expected - lr * (update + wd * expected)
        momentum = b2 * momentum + (1 - b2) * gradient
        assert_close(theta.detach(), expected)


def test_names():
    weight = [torch.zeros(2, requires_grad=True)]
    settings = {"lr": 0.1, "weight_decay": 0.0, "betas": (0.9, 0.99)}
    assert isinstance(make_optimizer("lion", weight, **settings), Lion)
    assert isinstance(make_optimizer("adamw", weight, **settings), torch.optim.AdamW)
    with pytest.raises(InputError, match="'adamw' or 'lion', got 'sgd'"):
        make_optimizer("sgd", weight, **settings)


def test_schedule_rises_then_falls_to_the_floor():
    factor = warmup_cosine(100, warmup=0.1, floor=0.01)
    assert factor(0) == pytest.approx(0.1)
    assert factor(9) == pytest.approx(1)
    assert factor(55) == pytest.approx(0.01 + 0.99 * 0.5)
    assert factor(100) == pytest.approx(0.01) == factor(1000)
    values = [factor(step) for step in range(10, 100)]
    assert values == sorted(values, reverse=True)


def test_quantisers_have_a_rate_of_their_own_and_no_decay():
    """What they learn are logarithms, at a tenth of the rate, also inside of a part with another rate."""
    model = torch.nn.ModuleList([quantize(MLP([4, 8, 2]), (4, 8), ranges="tensor") for _ in range(2)])
    model[1].lr_factor = 5.0
    groups = parameter_groups(model, 1e-3)
    found = {id(p): (group.get("lr", 1e-3), group.get("weight_decay")) for group in groups for p in group["params"]}
    for name, p in model.named_parameters():
        learned = any(part in name for part in ("log_step", "log_clip", "log_limits"))
        rate = 1e-4 if learned else 5e-3 if name.startswith("1") else 1e-3
        assert found[id(p)] == (pytest.approx(rate), 0.0 if p.dim() < 2 else None), name
    assert sum(len(group["params"]) for group in groups) == len(found) == len(list(model.parameters()))
