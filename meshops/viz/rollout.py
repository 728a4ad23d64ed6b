"""Pictures of a rollout on a grid beside the truth: errors by step, spectra at the end, frames."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from meshops.viz.grid import frames_picture, tradeoff_picture
from meshops.viz.pictures import curve_picture


def draw_rollout(
    curves: Mapping[str, Sequence[float]], truth: Tensor, predicted: Tensor, folder: Path, *, label: str
) -> list[Path]:
    """``errors.png``, ``spectrum.png`` and, of more than one dimension, four frames in ``rollout.png``.

    What is not finite is not drawn.

    Args:
        curves: ``vrmse`` and ``vrmse_kept`` by step, ``spectrum_truth`` and ``spectrum_prediction`` by wave number.
        truth: ``[t, c, *grid]`` of the trajectory that is shown.
        predicted: Likewise.
        folder: Where they go.
        label: Name of the first channel, which is shown.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    lines = {"model": curves["vrmse"], "keep first frame": curves["vrmse_kept"]}
    if any(math.isfinite(value) for values in lines.values() for value in values):
        written.append(
            curve_picture(lines, folder / "errors.png", xlabel="step", ylabel="VRMSE", title="error along the rollout")
        )
    energies = {name: _energies(curves[f"spectrum_{name}"]) for name in ("truth", "prediction")}
    if any(energies.values()):
        label_k, title = "wave number (periods over the longest axis)", "spectrum at the last step"
        path = folder / "spectrum.png"
        written.append(tradeoff_picture(energies, path, xlabel=label_k, ylabel="energy", title=title))
    if truth.dim() == 3 or not bool(torch.isfinite(truth).all()):
        return written  # lines, or nothing to compare with
    if truth.dim() == 5:  # the plane in the middle
        truth, predicted = (part[..., part.shape[-1] // 2] for part in (truth, predicted))
    last = len(truth) - 1
    places = sorted({round(i * last / 3) for i in range(4)})
    rows = {"truth": [truth[i, 0] for i in places], "predicted": [predicted[i, 0] for i in places]}
    titles = [f"step {i + 1}" for i in places]
    return [*written, frames_picture(rows, folder / "rollout.png", columns=titles, label=label)]


def _energies(values: Sequence[float]) -> list[tuple[float, float]]:
    """Wave numbers and energies that a logarithmic picture can show."""
    return [(k, energy) for k, energy in enumerate(values) if k and 0 < energy < math.inf]
