"""What is known of a segment of latent frames in training, and what is left to generate.

A segment has ``1 + m`` latent frames. What is known of it is a list of *runs* of frames, each encoded by itself: a
causal encoder makes a late latent depend on all earlier frames, which nobody knows when the run is in the middle or at
the end. A run at the start gives exactly the first latents of the segment: they are *observed* and stay as they are.
Later runs are *hints*: the network sees their tokens and generates the frames anew, so that the frames between two
latents are never lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from meshops.errors import InputError

TaskName = Literal["forward", "inverse", "interpolation", "generation"]
TASKS: tuple[TaskName, ...] = ("forward", "inverse", "interpolation", "generation")


class Known(NamedTuple):
    """What is known of a batch of segments, standardised.

    Attributes:
        latent: ``[b, d, t, *cells]`` tokens of the runs at their places.
        observed: ``[b, t]`` latent frames that are what ``latent`` says.
        hint: ``[b, t]`` latent frames that it says something of; the observed ones are among them.
        start: ``[b, t]`` where a run begins.
        task: ``[b]`` number in :data:`TASKS`.
    """

    latent: Tensor
    observed: Tensor
    hint: Tensor
    start: Tensor
    task: Tensor

    def repeat(self, count: int) -> Known:
        """Every segment ``count`` times, one after the other."""
        return Known(*(part.repeat_interleave(count, 0) for part in self))

    def wanted(self) -> Tensor:
        """``[b, 1, t, 1, ...]``: latent frames that are not observed, broadcasts to ``latent``."""
        return ~self.observed.view(len(self.latent), 1, -1, *(1,) * (self.latent.dim() - 3))


def draw_known(clean: Tensor, runs: Tensor, tasks: Sequence[float]) -> Known:
    """What training examples show, each by its task; at least one latent frame of each is left to generate.

    Args:
        clean: ``[b, d, t, *cells]``.
        runs: ``[b, d, t (t - 1) / 2, *cells]``, see :func:`run_offset`; empty: inverse and interpolation are left out.
        tasks: How often each of :data:`TASKS` is drawn.

    Raises:
        InputError: No task is left that such segments allow.
    """
    b, t = len(clean), clean.shape[2]
    shares = torch.tensor(allowed_shares(tasks, t, runs=bool(runs.shape[2])))
    task = torch.multinomial(shares, b, replacement=True)
    latent = torch.zeros_like(clean)
    observed, hint, start = (torch.zeros(b, t, dtype=torch.bool) for _ in range(3))
    for row, name in enumerate(TASKS[int(i)] for i in task):
        head = tail = 0
        if name in ("forward", "interpolation"):
            head = _draw_length(t, others=2 if name == "interpolation" else 1)
        if name in ("inverse", "interpolation"):
            tail = _draw_length(t, others=1 + head)
        if head:
            latent[row, :, :head] = clean[row, :, :head]
            observed[row, :head] = hint[row, :head] = start[row, 0] = True
        if tail:
            first = t - tail
            begin = run_offset(first, t)
            latent[row, :, first:] = runs[row, :, begin : begin + tail]
            hint[row, first:] = start[row, first] = True
    device = clean.device
    return Known(latent, observed.to(device), hint.to(device), start.to(device), task.to(device))


def allowed_shares(tasks: Sequence[float], latent_frames: int, *, runs: bool = True) -> tuple[float, ...]:
    """Shares of the tasks that segments of so many latent frames allow, 0 for the others.

    Args:
        tasks: Shares that are asked for.
        latent_frames: Of a segment.
        runs: Whether later runs of frames were encoded, which inverse and interpolation show.

    Raises:
        InputError: None is left.
    """
    allowed = (True, runs and latent_frames > 1, runs and latent_frames > 2, True)
    shares = tuple(float(share) if ok else 0.0 for share, ok in zip(tasks, allowed, strict=True))
    if any(shares):
        return shares
    wanted = " and ".join(name for name, share in zip(TASKS, tasks, strict=True) if share)
    if not runs:
        raise InputError(
            f"training {wanted} needs the latents of later runs of frames; encode them (runs=True), or change tasks"
        )
    raise InputError(
        f"training {wanted} needs segments of at least three latent frames; train on more frames, or change tasks"
    )


def run_offset(first: int, frames: int) -> int:
    """Where the encoding of the run from latent frame ``first`` begins among all runs from 1, 2, ... of a segment.

    Example:
        >>> [run_offset(first, 4) for first in (1, 2, 3)]
        [0, 3, 5]
    """
    return sum(frames - i for i in range(1, first))


def _draw_length(frames: int, *, others: int) -> int:
    """Length of a run: up to half of a segment of ``frames``, ``others`` of which are left to others."""
    return int(torch.randint(1, max(1, min((frames + 1) // 2, frames - others)) + 1, ()))
