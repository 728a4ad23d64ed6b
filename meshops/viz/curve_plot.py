"""Errors against the number of cases."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from meshops.io import replacing


def learning_plot(
    path: Path, cases: Sequence[int], errors: Sequence[float], *, label: str,
    now: tuple[int, float], more: tuple[int, float] | None = None,
) -> Path:  # fmt: skip
    """Draw a learning curve.

    Args:
        path: PNG file.
        cases: Numbers of cases learnt from.
        errors: Held-out error at each.
        label: What was measured there.
        now: Cases and error of the winner.
        more: The same, as expected with more cases.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 3.8), dpi=150)
    axes.plot(cases, errors, "o-", color="#7a8599", label=label)
    axes.plot(*now, "s", color="#1f5fa8", markersize=8, label="the surrogate")
    if more is not None:
        axes.plot(*zip(now, more, strict=True), "--", color="#1f5fa8")
        axes.plot(*more, "s", color="white", markeredgecolor="#1f5fa8", markersize=8, label="expected with more runs")
    axes.set_xlabel("cases learnt from")
    axes.set_ylabel("held-out relative L2 error")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.tight_layout()
    with replacing(path) as partial:
        figure.savefig(partial, format="png")
    plt.close(figure)
    return path
