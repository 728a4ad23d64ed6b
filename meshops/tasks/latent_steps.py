"""Latent trajectories step by step: the change of the next latent frame from a few before it (ours).

    z_{j+1} = z_j + s y,   y = model(z_{j-h+1}, ..., z_j)

s is the standard deviation of changes in training, by channel. A flow over y says what the clean change is wherever it
stands on its path, y' = F(y_r, r), and moves along (y' - y_r) / (1 - r): where the future is all but certain that is
easier to learn than a velocity. Frames of a history that do not exist (before the first) are not observed. Nothing is
decoded and encoded again on the way, so windows of few frames serve for any length.

The loss counts a number by what the decoder makes of it: w_c is the mean square of the change of decoded fields over
that of a change of channel c, averaged over random signs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from meshops import ranks
from meshops.data.point_frames import PointFrames
from meshops.nn.flow import Method, draw_times, flow_pair, integrate
from meshops.nn.known_frames import TASKS
from meshops.nn.model import judging
from meshops.tasks.autoencode import AutoencodeTask

LAST = 0.98  # of the path, beyond which its end is not divided by what is left
NUDGE = 0.1  # of the standard deviation of a channel, which finds what the decoder does with it


class History(NamedTuple):
    """Latent frames a step sees, and the place of the one it makes, standardised.

    Attributes:
        latent: ``[b, d, h + 1, *cells]``; the last is zero, and so are frames that do not exist.
        observed: ``[b, h + 1]`` those that do.
        start: ``[b, h + 1]`` the first frame of a trajectory, where it is among them.
    """

    latent: Tensor
    observed: Tensor
    start: Tensor

    @classmethod
    def before(cls, latent: Tensor, end: Tensor, length: int) -> History:
        """The frames before number ``end [b]`` (at least 1) of ``latent [b, d, t, *cells]``, ``length`` at most."""
        b = len(latent)
        place = end.unsqueeze(1) + torch.arange(-length, 1, device=latent.device)  # [b, h + 1]
        observed = (place >= 0) & (place < end.unsqueeze(1))
        rows = torch.arange(b, device=latent.device).unsqueeze(1)
        frames = latent.transpose(1, 2)[rows, place.clamp(min=0, max=latent.shape[2] - 1)].transpose(1, 2)
        mask = observed.view(b, 1, -1, *(1,) * (latent.dim() - 3))
        return cls(frames * mask, observed, observed & (place == 0))


Ask = Callable[[Tensor, History, Tensor], Tensor]
"""Clean change from ``(place on the path [b, d, *cells], history, r [b])``."""


def ask(model: Any, told: Mapping[str, Any]) -> Ask:
    """What a generator says of a step, parameters told."""

    def change(noisy: Tensor, history: History, r: Tensor) -> Tensor:
        whole = torch.cat([history.latent[:, :, :-1], noisy.unsqueeze(2)], 2)
        task = torch.full((len(r),), TASKS.index("forward"), device=r.device)
        made = model(whole, history.latent, history.observed, r, task, start=history.start, **told)
        out: Tensor = made.latent[:, :, -1]
        return out

    return change


def step_loss(
    clean: Tensor,
    change: Ask,
    *,
    length: int,
    scale: Tensor,
    weight: Tensor,
    law: str,
    deterministic: bool,
    jitter: float = 0.0,
) -> Tensor:
    """Weighted square error of the change of one latent frame of every segment, drawn at random.

    Args:
        clean: ``[b, d, t, *cells]`` standardised segments.
        change: See :func:`ask`.
        length: Latent frames that are seen.
        scale: ``[d]`` s.
        weight: ``[d]`` w.
        law: Of the times on the path.
        deterministic: One evaluation, which sees no noise.
        jitter: Of the frames that are seen: noise of a standard deviation drawn from 0 to this, for every segment.
    """
    b, wide = len(clean), (1, -1, *(1,) * (clean.dim() - 3))
    end = torch.randint(1, clean.shape[2], (b,)).to(clean.device)
    rows = torch.arange(b, device=clean.device)
    seen = clean
    if jitter:
        size = jitter * torch.rand(b, *(1,) * (clean.dim() - 1)).to(clean)
        seen = clean + size * torch.randn_like(clean)
    wanted = (clean.transpose(1, 2)[rows, end] - seen.transpose(1, 2)[rows, end - 1]) / scale.view(wide)
    r = (torch.zeros(b) if deterministic else draw_times(b, law=law)).to(clean.device)
    noisy = torch.zeros_like(wanted) if deterministic else flow_pair(wanted, torch.randn_like(wanted), r)[0]
    made = change(noisy, History.before(seen, end, length), r)
    return ranks.mean(weight.view(wide) * (made - wanted).square())


@torch.no_grad()
def march(
    known: Tensor, frames: int, change: Ask, *, length: int, scale: Tensor, deterministic: bool, steps: int,
    method: Method, generator: torch.Generator | None,
) -> Tensor:  # fmt: skip
    """``[b, d, frames, *cells]``: the known latent frames and those that follow, standardised.

    Args:
        known: ``[b, d, k, *cells]`` from the first frame on.
        frames: Latent frames in all.
        change: See :func:`ask`.
        length: Latent frames that are seen.
        scale: ``[d]`` s.
        deterministic: One evaluation a step.
        steps: Of the integration.
        method: See :func:`meshops.nn.flow.integrate`.
        generator: Of the noise.
    """
    latent, b = known, len(known)
    wide = (1, -1, *(1,) * (known.dim() - 3))
    while latent.shape[2] < frames:
        end = torch.full((b,), latent.shape[2], device=known.device)
        history = History.before(latent, end, length)
        if deterministic:
            made = change(torch.zeros_like(latent[:, :, 0]), history, known.new_zeros(b))
        else:
            noise = torch.randn(latent[:, :, 0].shape, generator=generator).to(known)

            def velocity(r: Tensor, y: Tensor, history: History = history) -> Tensor:
                r = r.clamp(max=LAST)
                return (change(y, history, r.expand(b)) - y) / (1 - r)

            made = integrate(velocity, noise, steps=steps, method=method)
        latent = torch.cat([latent, (latent[:, :, -1] + scale.view(wide) * made).unsqueeze(2)], 2)
    return latent


def change_scale(clean: Tensor) -> Tensor:
    """``[d]`` standard deviation about zero of the changes from frame to frame of ``[m, d, t, *cells]``."""
    change = clean.diff(dim=2).movedim(1, -1).flatten(0, -2)
    return change.double().square().mean(0).sqrt().clamp(min=1e-6).float()


@torch.no_grad()
def decoder_gain(autoencoder: AutoencodeTask, window: PointFrames, scale: Tensor) -> Tensor:
    """``[d]`` mean square change of the decoded fields (normalised) per unit of each standardised channel.

    Args:
        autoencoder: Whose decoder it is.
        window: A training segment.
        scale: ``[d]`` standard deviation of the channels.
    """
    signs = torch.Generator().manual_seed(0)
    with judging(autoencoder):
        points = window.to(autoencoder.device)
        latent = autoencoder.latents_of(points).mean
        base = autoencoder.normalised_fields_of(latent, points)
        found = []
        for channel in range(latent.shape[1]):
            sign = torch.randint(0, 2, latent[:, channel].shape, generator=signs).to(latent) * 2 - 1
            moved = latent.clone()
            moved[:, channel] += NUDGE * float(scale[channel]) * sign
            found.append((autoencoder.normalised_fields_of(moved, points) - base).square().mean() / NUDGE**2)
    return torch.stack(found)
