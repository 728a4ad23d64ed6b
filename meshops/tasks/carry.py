"""What the auto-encoder lost of the last given frame, given back to a forecast as long as it lasts (ours).

    u'(t + k) = decoded(t + k) + a_k (u(t) - decoded(t)),   a_k = sum r_k r_0 / sum r_0^2

r_k is what encoding and decoding lose of the truth, k frames after the last one that is given; the factors are found on
training trajectories by least squares, for every channel. Details that move away are soon given back no more.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

from meshops.datasets.point_trajectories import PointTrajectories
from meshops.tasks.autoencode import AutoencodeTask

WINDOWS = 4  # of a trajectory, evenly spread


@torch.no_grad()
def learn_carry(
    autoencoder: AutoencodeTask, data: PointTrajectories, cases: Iterable[int], *, given: int, stride: int = 1
) -> torch.Tensor:
    """Factors ``[frames, c]`` of the frames after the given ones, to the end of a segment.

    Args:
        autoencoder: What is lost in.
        data: Training trajectories on points that stay; those that move or are shorter than a segment do not count.
        cases: Which of them.
        given: Frames that forecasts start from.
        stride: Frames of the data from one to the next.
    """
    frames = autoencoder.spec.frames
    span = (frames - 1) * stride + 1
    channels = autoencoder.spec.channels
    both = torch.zeros(frames - given, channels, dtype=torch.float64)
    alone = torch.zeros(channels, dtype=torch.float64)
    for case in cases:
        free = data.lengths[case] - span
        for first in sorted({round(i * free / max(WINDOWS - 1, 1)) for i in range(WINDOWS)} if free >= 0 else set()):
            window = data.window(case, first, frames, stride)
            if window.moving:
                continue
            lost = (window.values - autoencoder.through(window)).double()  # [n, t, c]
            last = lost[:, given - 1]
            both += torch.einsum("ntc,nc->tc", lost[:, given:], last)
            alone += last.square().sum(0)
    return (both / alone.clamp(min=1e-30)).float()
