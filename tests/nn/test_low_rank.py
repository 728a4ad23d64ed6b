"""Low-rank changes: nothing at the start, only they learn, of the rank that was asked, merged to a plain module."""

from __future__ import annotations

import torch
from torch import nn
from torch.testing import assert_close

from meshops.nn.low_rank import add_low_rank, merged_state


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 16), nn.GELU(), nn.LayerNorm(16), nn.Linear(16, 3))


def test_nothing_changes_before_something_is_learnt() -> None:
    module, x = network(), torch.randn(5, 6)
    before = module(x)
    add_low_rank(module, rank=2)
    assert_close(module(x), before)


def test_only_the_changes_learn_and_they_have_the_rank() -> None:
    module, x = network(), torch.randn(64, 6)
    plain = {name: value.clone() for name, value in module.state_dict().items()}
    learning = add_low_rank(module, rank=2, alpha=4.0)
    optimizer = torch.optim.Adam(learning, 1e-2)
    for _ in range(20):
        optimizer.zero_grad()
        (module(x) - x[:, :3]).square().mean().backward()
        optimizer.step()
    state = merged_state(module)
    assert set(state) == set(plain)
    for name, value in state.items():
        change = value - plain[name]
        if name in ("0.weight", "3.weight"):
            assert int(torch.linalg.matrix_rank(change, rtol=1e-4)) == 2
        else:
            assert torch.equal(value, plain[name])


def test_merged_weights_give_the_same() -> None:
    module, x = network(), torch.randn(5, 6)
    for part in add_low_rank(module, rank=99):
        nn.init.normal_(part, std=0.1)
    out = network()
    out.load_state_dict(merged_state(module))
    assert_close(out(x), module(x))
