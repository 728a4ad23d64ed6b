"""Bytes alive at once, against what can be counted by hand."""

from __future__ import annotations

import torch

from meshops.nn.live_memory import LiveBytes


def test_peak_is_what_is_alive_at_once() -> None:
    x, w = torch.randn(1000, 100), torch.randn(100, 100, requires_grad=True)
    size = x.numel() * 4

    def run(grad: bool) -> int:
        with torch.set_grad_enabled(grad), LiveBytes() as live:
            h = x
            for _ in range(5):
                h = torch.relu(h @ w)
        return live.peak // size

    assert run(False) == 3  # the last one, the product, the next one
    assert run(True) == 6  # five results are kept for the way back, and the last product


def test_views_and_what_is_given_do_not_count_and_calls_do() -> None:
    x = torch.zeros(1000)
    with LiveBytes() as live:
        y = x.view(10, 100)[2:].t()
        y.add_(1)
    assert (live.peak, live.made) == (0, 0) and live.calls >= 3
    with LiveBytes() as live:
        for _ in range(3):
            _ = x + 1
    assert live.made == 3 * 4000 and live.peak <= 2 * 4000
