"""Optimisers against their formula, the schedule at its corners."""

import pytest
import torch
from torch.testing import assert_close

from meshops.errors import InputError
from meshops.nn.optim import Lion, make_optimizer, warmup_cosine


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
