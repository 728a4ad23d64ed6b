"""Latents of all training segments, encoded once and kept on disk, bound to the auto-encoder that made them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from meshops.datasets.point_trajectories import PointTrajectories
from meshops.errors import CheckpointError
from meshops.io import replacing
from meshops.tasks.autoencode import AutoencodeTask
from meshops.tasks.base import judging

FORMAT = "meshops-latents"
FILE = "latents.pt"


@dataclass(frozen=True, eq=False)
class Latents:
    """Encoded segments.

    Attributes:
        latents: ``[m, d, t, *cells]``.
        runs: ``[m, d, t (t - 1) / 2, *cells]`` encodings of the frames from latent frame 1, 2, ... on, see
            :func:`meshops.tasks.segments.run_offset`; empty along the third axis where they are not needed.
        parameters: ``[m, g]``.
    """

    latents: Tensor
    runs: Tensor
    parameters: Tensor

    def __len__(self) -> int:
        """Number of segments."""
        return len(self.latents)

    def batch(self, rows: Sequence[int]) -> dict[str, Tensor]:
        """Some of them, as the loss takes them."""
        chosen = list(rows)
        return {"latents": self.latents[chosen], "runs": self.runs[chosen], "parameters": self.parameters[chosen]}


def encoded_segments(
    task: AutoencodeTask,
    data: PointTrajectories,
    cases: range,
    path: Path | None,
    *,
    every: int,
    stride: int = 1,
    runs: bool = True,
    reuse: bool = True,
    console: Console | None = None,
) -> Latents:
    """Latents of the segments of a set, read from ``path`` or encoded and written there.

    Args:
        task: Auto-encoder.
        data: Trajectories.
        cases: Which of them.
        path: Cache; None: nothing is kept.
        every: Frames from the start of one segment to the next.
        stride: Frames of the data from one frame to the next.
        runs: Encode all later runs too, which inverse and interpolation need.
        reuse: Read ``path`` if it is there; else it is written anew.
        console: Shows progress.

    Raises:
        CheckpointError: The file is of another auto-encoder, of other segments, damaged, or no cache.
    """
    if path is None:
        return _encoded(task, data, cases, every=every, stride=stride, runs=runs, console=console)
    key = f"{task.fingerprint()} {_fingerprint(data, cases)} {every} {stride} {runs}"
    if reuse and path.exists():
        return read_latents(path, key)
    found = _encoded(task, data, cases, every=every, stride=stride, runs=runs, console=console)
    with replacing(path) as partial:
        kept = {"latents": found.latents, "runs": found.runs, "parameters": found.parameters}
        torch.save({"format": FORMAT, "key": key, **kept}, partial)
    return found


def _encoded(
    task: AutoencodeTask,
    data: PointTrajectories,
    cases: range,
    *,
    every: int,
    stride: int,
    runs: bool,
    console: Console | None,
) -> Latents:
    frames, factor = task.spec.frames, task.model.time_factor
    span = (frames - 1) * stride + 1
    windows = [(i, s) for i in cases for s in range(0, data.lengths[i] - span + 1, every)]
    latents, later, parameters = [], [], []
    quiet = console is None or not console.is_terminal
    with judging(task):
        for index, start in track(windows, "encoding", console=console, transient=True, disable=quiet):
            segment = data.window(index, start, frames, stride).to(task.device)
            latents.append(task.latents_of(segment).mean[0].cpu())
            if runs and frames > 1:
                rest = [segment.crop(first, frames - first) for first in range(factor, frames, factor)]
                later.append(torch.cat([task.latents_of(part).mean[0] for part in rest], 1).cpu())
            parameters.append(list(data.parameters(index).values()))
    whole = torch.stack(latents)
    return Latents(
        whole,
        torch.stack(later) if later else whole[:, :, :0],
        torch.tensor(parameters, dtype=torch.float32).view(len(whole), -1),
    )


def _fingerprint(data: PointTrajectories, cases: range) -> str:
    """Hash of what is encoded: names, lengths and parameters, and the values of a frame of each trajectory."""
    digest = hashlib.sha256(repr((data.spec, cases)).encode())
    for index in cases:
        length = data.lengths[index]
        digest.update(repr((data.cases[index], length, data.parameters(index))).encode())
        frame = data.window(index, length // 2, 1)
        digest.update(frame.values.contiguous().numpy().tobytes())
    return digest.hexdigest()


def read_latents(path: Path, key: str) -> Latents:
    """Latents of a cache whose key is ``key``.

    Raises:
        CheckpointError: It is not.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds here, none of them documented
        raise CheckpointError(f"{path}: not a readable cache of latents ({str(error).splitlines()[0]})") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{path}: not a cache of latents; remove it to encode anew")
    if content["key"] != key:
        other = "of another auto-encoder" if content["key"].split()[0] != key.split()[0] else "of other segments"
        raise CheckpointError(f"{path}: holds latents {other} and cannot be used here; remove it to encode anew")
    return Latents(content["latents"], content["runs"], content["parameters"])
