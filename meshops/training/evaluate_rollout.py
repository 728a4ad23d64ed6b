"""Judge a rollout task: one step from every frame, whole rollouts, beside yardsticks and the floor of its tokens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from meshops.datasets.trajectory import TrajectoryDataset
from meshops.metrics.grids import energy_spectrum, grid_errors, vrmse
from meshops.tasks.rollout import RolloutTask

BATCH = 8  # windows worked on at a time


@torch.no_grad()
def evaluate_rollout(
    task: RolloutTask,
    data: TrajectoryDataset,
    *,
    steps: int = 20,
    stride: int = 1,
    cases: int = 0,
    windows: int = 32,
    console: Console | None = None,
) -> dict[str, Any]:
    """Errors in physical units, averaged over trajectories.

    Args:
        task: Model and normalisation.
        data: Trajectories.
        steps: Frames of the rollouts, which start at the first frames; fewer where a trajectory is short.
        stride: Frames from one step to the next.
        cases: Trajectories at most; 0: all.
        windows: One-step windows per trajectory at most, evenly spread.
        console: Shows progress.

    Returns:
        ``one_step``: ``vrmse``, ``nmse``, ``mse``, ``mae`` and ``vrmse_<channel>``; ``floor``: the same of the truth
        after it went through the model's tokens; ``persistence``: the same of the newest frame kept as it is;
        ``rollout``: ``vrmse`` and ``nmse`` per step, of the model and of persistence; ``spectrum``: energies per wave
        number at the last step; ``vrmse`` and ``nmse`` of one step at the top level.
    """
    device = task.norm.scale.device
    training = task.training
    task.eval()
    number = len(data) if cases == 0 else min(cases, len(data))
    tables: dict[str, list[dict[str, float]]] = {"one_step": [], "floor": [], "persistence": []}
    curves: list[dict[str, list[float]]] = []
    spectra: list[Tensor] = []
    rows = track(range(number), "testing", console=console, transient=True,
                 disable=console is None or not console.is_terminal)  # fmt: skip
    for index in rows:
        found: dict[str, list[dict[str, Tensor]]] = {name: [] for name in tables}
        for frames, constants, target in one_step_windows(data, index, task.spec.history, stride, windows):
            frames, constants, target = frames.to(device), constants.to(device), target.to(device)
            guesses = {
                "one_step": task(frames, constants),
                "floor": task.floor(frames, constants, target),
                "persistence": frames[:, -1],
            }
            for name, guess in guesses.items():
                found[name].append(_errors(task, guess, target))
        for name, parts in found.items():
            tables[name].append({key: float(torch.cat([p[key] for p in parts]).mean()) for key in parts[0]})
        curve, spectrum = _curve(task, data, index, steps, stride)
        curves.append(curve)
        spectra.append(spectrum)
    task.train(training)
    out: dict[str, Any] = {name: _mean(table) for name, table in tables.items()}
    shortest = min(len(curve["vrmse"]) for curve in curves)
    out["rollout"] = {
        key: torch.tensor([curve[key][:shortest] for curve in curves]).mean(0).tolist() for key in curves[0]
    }
    out["spectrum"] = dict(zip(("truth", "prediction"), torch.stack(spectra).mean(0).tolist(), strict=True))
    return {"vrmse": out["one_step"]["vrmse"], "nmse": out["one_step"]["nmse"], "trajectories": number, **out}


def one_step_windows(
    data: TrajectoryDataset, index: int, history: int, stride: int, most: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Batches of ``frames [b, h, c, *grid]``, ``constants`` and the frame that follows, spread over a trajectory."""
    length = history * stride + 1
    places = data.lengths[index] - length + 1
    starts = sorted({round(i * (places - 1) / max(min(most, places) - 1, 1)) for i in range(min(most, places))})
    constants = data.constants(index)
    for first in range(0, len(starts), BATCH):
        windows = torch.stack([data.window(index, s, length)[::stride] for s in starts[first : first + BATCH]])
        yield windows[:, :-1], constants.expand(len(windows), *constants.shape), windows[:, -1]


def _errors(task: RolloutTask, guess: Tensor, target: Tensor) -> dict[str, Tensor]:
    errors = grid_errors(guess, target, dim=task.spec.dim)
    each = vrmse(guess, target, dim=task.spec.dim)
    return errors | {f"vrmse_{name}": each[:, place] for place, name in enumerate(task.spec.channels)}


def _curve(
    task: RolloutTask, data: TrajectoryDataset, index: int, steps: int, stride: int
) -> tuple[dict[str, list[float]], Tensor]:
    """Errors against time of one rollout, and the spectra ``[2, k]`` of truth and prediction at its end."""
    spec, device = task.spec, task.norm.scale.device
    steps = min(steps, (data.lengths[index] - 1) // stride + 1 - spec.history)
    frames = data.window(index, 0, (spec.history + steps - 1) * stride + 1)[::stride].to(device)
    first, truth = frames[: spec.history], frames[spec.history :]
    constants = data.constants(index).to(device)
    predicted = task.rollout(first.unsqueeze(0), constants.unsqueeze(0), steps)[0]
    ours, kept = (grid_errors(p, truth, dim=spec.dim) for p in (predicted, first[-1:].expand_as(truth)))
    curve = {key: ours[key].tolist() for key in ("vrmse", "nmse")}
    curve |= {f"{key}_persistence": kept[key].tolist() for key in ("vrmse", "nmse")}
    channels = list(spec.velocity) or [0]
    energies = [
        energy_spectrum(part[-1, channels], dim=spec.dim, spacing=spec.spacing)[1].cpu() for part in (truth, predicted)
    ]
    return curve, torch.stack(energies)


def _mean(table: list[dict[str, float]]) -> dict[str, float]:
    return {key: sum(row[key] for row in table) / len(table) for key in table[0]}


@torch.no_grad()
def draw_rollout(
    task: RolloutTask, data: TrajectoryDataset, metrics: dict[str, Any], folder: Path, *, steps: int, stride: int
) -> list[Path]:
    """Pictures of the first trajectory and of the errors: ``rollout.png``, ``errors.png``, ``spectrum.png``.

    Args:
        task: Model and normalisation.
        data: Trajectories.
        metrics: What :func:`evaluate_rollout` returned.
        folder: Where they go.
        steps: Frames of the rollout; fewer where the trajectory is short.
        stride: Frames from one step to the next.
    """
    from meshops.viz import curve_picture, frames_picture, tradeoff_picture  # matplotlib

    spec, device = task.spec, task.norm.scale.device
    task.eval()
    curve, spectrum = metrics["rollout"], metrics["spectrum"]
    lines = {"model": curve["vrmse"], "keep first frame": curve["vrmse_persistence"]}
    written = [
        curve_picture(lines, folder / "errors.png", xlabel="step", ylabel="VRMSE", title="error along the rollout"),
        tradeoff_picture(
            {name: [(k, e) for k, e in enumerate(values) if k and e > 0] for name, values in spectrum.items()},
            folder / "spectrum.png", xlabel="wave number (periods over the longest axis)", ylabel="energy",
            title="spectrum at the last step",
        ),
    ]  # fmt: skip
    if spec.dim == 1:
        return written
    steps = min(steps, (data.lengths[0] - 1) // stride + 1 - spec.history)
    frames = data.window(0, 0, (spec.history + steps - 1) * stride + 1)[::stride]
    constants = data.constants(0).unsqueeze(0).to(device)
    predicted = task.rollout(frames[None, : spec.history].to(device), constants, steps)[0].cpu()
    truth = frames[spec.history :]
    if spec.dim == 3:  # the plane in the middle
        truth, predicted = (part[..., part.shape[-1] // 2] for part in (truth, predicted))
    shown = sorted({round(i * (steps - 1) / 3) for i in range(4)})
    rows = {"truth": [truth[i, 0] for i in shown], "predicted": [predicted[i, 0] for i in shown]}
    titles = [f"step {i + 1}" for i in shown]
    return [*written, frames_picture(rows, folder / "rollout.png", columns=titles, label=spec.channels[0])]
