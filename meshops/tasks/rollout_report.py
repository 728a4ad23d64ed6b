"""What is reported of rollouts on grids: tables, curves against time, spectra and pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from meshops.tasks.base import spread
from meshops.tasks.report import Report, Row, means, shown

COLUMNS = {"vrmse": "VRMSE", "nmse": "NMSE", "mse": "MSE", "mae": "MAE"}
KEPT, FLOOR = "keep last frame", "token floor"


class Future(NamedTuple):
    """A rollout of a trajectory beside the truth.

    Attributes:
        truth: ``[t, c, *grid]``; None where it is not kept.
        predicted: ``[t, c, *grid]``; likewise.
        curve: Errors of each step.
        spectrum: ``[2, k]`` energy of truth and prediction at the last step.
    """

    truth: Tensor | None
    predicted: Tensor | None
    curve: dict[str, list[float]]
    spectrum: Tensor


def grid_report(kind: str, rows: dict[str, dict[str, Row]], futures: list[Future], details: dict[str, int]) -> Report:
    """Errors of one step and along rollouts, averaged over trajectories.

    Args:
        kind: Of the task.
        rows: Errors of one step by trajectory, of the surrogate (``""``) and of what it is compared with.
        futures: Rollouts.
        details: What was asked.
    """
    shortest = min(len(future.curve["vrmse"]) for future in futures)
    waves = min(future.spectrum.shape[1] for future in futures)
    curves: dict[str, list[float]] = {
        key: torch.tensor([future.curve[key][:shortest] for future in futures]).mean(0).tolist()
        for key in futures[0].curve
    }
    spectra = torch.stack([future.spectrum[:, :waves] for future in futures]).mean(0).tolist()
    curves |= {"spectrum_truth": spectra[0], "spectrum_prediction": spectra[1]}
    places = sorted({0, shortest // 4, shortest // 2, shortest - 1})
    steps = (f"step {i + 1}: {shown(curves['vrmse'][i])} (kept {shown(curves['vrmse_kept'][i])})" for i in places)
    return Report(
        kind=kind,
        title=f"one step, mean of {len(futures)} trajectories",
        mean=means(rows[""]),
        cases=rows[""],
        baselines={name: means(rows[name]) for name in (KEPT, FLOOR) if rows[name]},
        curves=curves,
        details={"trajectories": len(futures), **details},
        columns=dict(COLUMNS),
        lines=["rollout VRMSE " + ", ".join(steps)],
    )


def draw_rollout(curves: Mapping[str, Sequence[float]], future: Future, folder: Path, *, label: str) -> list[Path]:
    """``errors.png``, ``spectrum.png`` and, of more than one dimension, four frames in ``rollout.png``.

    What is not finite is not drawn.

    Args:
        curves: Of the report.
        future: Of the trajectory that is shown.
        folder: Where they go.
        label: Name of the first channel, which is shown.
    """
    from meshops.viz import curve_picture, frames_picture, tradeoff_picture  # matplotlib

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
    truth, predicted = future.truth, future.predicted
    if truth is None or predicted is None or truth.dim() == 3 or not bool(torch.isfinite(truth).all()):
        return written  # lines, or nothing to compare with
    if truth.dim() == 5:  # the plane in the middle
        truth, predicted = (part[..., part.shape[-1] // 2] for part in (truth, predicted))
    places = spread(len(truth), 4)
    rows = {"truth": [truth[i, 0] for i in places], "predicted": [predicted[i, 0] for i in places]}
    titles = [f"step {i + 1}" for i in places]
    return [*written, frames_picture(rows, folder / "rollout.png", columns=titles, label=label)]


def _energies(values: Sequence[float]) -> list[tuple[float, float]]:
    """Wave numbers and energies that a logarithmic picture can show."""
    return [(k, energy) for k, energy in enumerate(values) if k and 0 < energy < math.inf]
