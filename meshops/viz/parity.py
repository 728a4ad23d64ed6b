"""Predicted against true results of held-out cases."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from meshops.io import replacing
from meshops.viz.case import file_part

Array = NDArray[np.float64]


def parity_picture(
    truth: Array,
    found: Array,
    folder: Path,
    *,
    name: str,
    unit: str = "",
    half: float | None = None,
    level: float = 0.0,
) -> Path:
    """Draw ``<name>.png``: a point per case, the line where both agree, and a band of the intervals.

    Args:
        truth: ``[m]``.
        found: ``[m]`` by a model that did not see the case.
        folder: Where it goes.
        name: Of the result.
        unit: Of it.
        half: Half the interval; None: no band.
        level: Of the interval.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6, 4.4), layout="constrained")
    axes = figure.subplots()
    ends = np.array([min(truth.min(), found.min()), max(truth.max(), found.max())])
    ends += np.array([-0.06, 0.06]) * max(np.ptp(ends), 1e-12)
    if half is not None:
        axes.fill_between(ends, ends - half, ends + half, color="#4477aa", alpha=0.15, lw=0,
                          label=f"interval of {100 * level:.0f} %")  # fmt: skip
    axes.plot(ends, ends, color="#888888", lw=1, label="both agree")
    axes.scatter(truth, found, s=22, color="#224466", label="case, held out", zorder=3)
    axes.set_xlim(*ends)
    axes.set_ylim(*ends)
    axes.set_aspect("equal")
    label = f"{name} [{unit}]" if unit else name
    axes.set_xlabel(f"{label}, true")
    axes.set_ylabel(f"{label}, predicted")
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    FigureCanvasAgg(figure)
    path = folder / f"{file_part(name)}.png"
    with replacing(path) as partial:
        figure.savefig(partial, format="png", dpi=130)
    return path
