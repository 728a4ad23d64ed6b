"""Latents of all training segments, encoded once and kept on disk, bound to the auto-encoder that made them."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from meshops.data.tensor_cache import cached_tensors, fingerprint
from meshops.datasets.point_trajectories import PointTrajectories
from meshops.nn.model import judging
from meshops.tasks.autoencode import AutoencodeTask
from meshops.tasks.base import ALONE, Context


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
    context: Context = ALONE,
) -> dict[str, Tensor]:
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
        context: Shows progress.

    Returns:
        ``latents [m, d, t, *cells]``; ``runs [m, d, t (t - 1) / 2, *cells]`` encodings of the frames from latent frame
        1, 2, ... on, see :func:`meshops.nn.known_frames.run_offset`, empty along the third axis where they are not
        needed; ``parameters [m, g]``.

    Raises:
        CheckpointError: The file is of another auto-encoder, of other segments, damaged, or no cache.
    """
    frames, factor = task.spec.frames, task.model.time_factor

    def encode() -> dict[str, Tensor]:
        span = (frames - 1) * stride + 1
        windows = [(i, s) for i in cases for s in range(0, data.lengths[i] - span + 1, every)]
        latents, later = [], []
        with judging(task):
            for _, (index, start) in zip(context.track(len(windows), "encoding"), windows, strict=True):
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

    if path is None:
        return encode()
    told = [(data.cases[i], data.lengths[i], data.parameters(i)) for i in cases]
    middle = ((data.cases[i], data.window(i, data.lengths[i] // 2, 1).values) for i in cases)
    segments = fingerprint((data.spec, cases, every, stride, runs, told), middle)
    made_of = {"another auto-encoder": task.fingerprint(), "other segments": segments}
    return cached_tensors(path, made_of, encode, what="latents", reuse=reuse)
