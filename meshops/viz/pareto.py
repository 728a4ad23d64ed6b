"""Error against cost: who is better at the same price."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from meshops.viz.grid import _figure, _save
from meshops.viz.layout import INK

MARKS = "osD^vPX*"


def pareto_picture(
    panels: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]],
    path: str | Path,
    *,
    xlabel: str,
    ylabel: str,
    lines: bool = True,
) -> Path:
    """One panel per problem, one line per method, both axes logarithmic.

    Args:
        panels: Problem -> method -> ``(cost, error)`` pairs.
        path: PNG to write.
        xlabel: What the cost is.
        ylabel: What the error is.
        lines: Join the dots of a method in the order of the cost; measured times are too noisy for that.
    """
    from matplotlib.ticker import FuncFormatter

    columns = 2 if len(panels) > 1 else 1
    figure, axes = _figure(columns, (4, 3), -(-len(panels) // columns))
    figure.set_size_inches(4.6 * columns, 3.6 * -(-len(panels) // columns))
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
    for ax, (problem, curves) in zip(axes, panels.items(), strict=False):
        for mark, (name, pairs) in zip(MARKS, curves.items(), strict=False):
            ordered = sorted(pairs)
            style = {"linestyle": "--", "color": "#8a93a0"} if name == "uniform" else {}
            style |= {} if lines else {"linestyle": "none"}
            ax.plot([p[0] for p in ordered], [p[1] for p in ordered], marker=mark, markersize=4, label=name, **style)
        for axis, set_scale in ((ax.xaxis, ax.set_xscale), (ax.yaxis, ax.set_yscale)):
            set_scale("log")
            for which in (axis.set_major_formatter, axis.set_minor_formatter):
                which(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.tick_params(which="both", labelsize=7)
        ax.set_xlabel(xlabel, fontsize=8)
        ax.set_ylabel(ylabel, fontsize=8)
        ax.set_title(problem, loc="left", fontsize=10, fontweight="bold", color=INK)
        ax.grid(True, which="major", color="#e3e6ea", linewidth=0.8)
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False, fontsize=8)
    return _save(figure, path)
