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

from meshops.data.tensor_cache import cached_tensors
from meshops.datasets.point_trajectories import PointTrajectories
from meshops.tasks.autoencode import AutoencodeTask
from meshops.tasks.base import judging


@dataclass(frozen=True, eq=False)
class Latents:
    """Encoded segments.

    Attributes:
        latents: ``[m, d, t, *cells]``.
        runs: ``[m, d, t (t - 1) / 2, *cells]`` encodings of the frames from latent frame 1, 2, ... on, see
            :func:`meshops.nn.known_frames.run_offset`; empty along the third axis where they are not needed.
        parameters: ``[m, g]``.
    """

    latents: Tensor
    runs: Tensor
    parameters: Tensor

    def batch(self, rows: Sequence[int]) -> dict[str, Tensor]:
        """Some of them, as the loss takes them."""
        return {name: values[list(rows)] for name, values in vars(self).items()}


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
    frames, factor = task.spec.frames, task.model.time_factor

    def encode() -> dict[str, Tensor]:
        span = (frames - 1) * stride + 1
        windows = [(i, s) for i in cases for s in range(0, data.lengths[i] - span + 1, every)]
        latents, later = [], []
        quiet = console is None or not console.is_terminal
        with judging(task):
            for index, start in track(windows, "encoding", console=console, transient=True, disable=quiet):
                segment = data.window(index, start, frames, stride).to(task.device)
                latents.append(task.latents_of(segment).mean[0].cpu())
                if runs and frames > 1:
                    rest = [segment.crop(first, frames - first) for first in range(factor, frames, factor)]
                    later.append(torch.cat([task.latents_of(part).mean[0] for part in rest], 1).cpu())
        whole = torch.stack(latents)
        parameters = torch.tensor([list(data.parameters(index).values()) for index, _ in windows], dtype=torch.float32)
        return {
            "latents": whole,
            "runs": torch.stack(later) if later else whole[:, :, :0],
            "parameters": parameters.view(len(whole), -1),
        }

    segments = f"{_fingerprint(data, cases)} {every} {stride} {runs}"
    made_of = {"another auto-encoder": task.fingerprint(), "other segments": segments} if path is not None else {}
    return Latents(**cached_tensors(path, made_of, encode, what="latents", reuse=reuse))


def _fingerprint(data: PointTrajectories, cases: range) -> str:
    """Hash of what is encoded: names, lengths and parameters, and the values of a frame of each trajectory."""
    digest = hashlib.sha256(repr((data.spec, cases)).encode())
    for index in cases:
        length = data.lengths[index]
        digest.update(repr((data.cases[index], length, data.parameters(index))).encode())
        digest.update(data.window(index, length // 2, 1).values.contiguous().numpy().tobytes())
    return digest.hexdigest()
