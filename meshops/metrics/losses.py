"""Losses over fields: normalised ``prediction, truth [n, c]`` at the nodes of some graphs; one number out.

Each is the mean over graphs of a number per graph, so that large meshes count as much as small ones; while several
processes train, over the graphs of all of them (:func:`meshops.ranks.mean`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import huber_loss

from meshops import ranks
from meshops.errors import InputError, did_you_mean, listing
from meshops.ops.segment import segment_mean, segment_sum

TINY = 1e-12
FLOOR = 1e-4  # mean square, over that of the training set, below which an error is not relative any more
Loss: TypeAlias = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""``loss(prediction [n, c], truth [n, c], origin [c], ptr [b + 1])``; origin: where the physical values are zero."""


def relative_l2_loss(prediction: Tensor, truth: Tensor, origin: Tensor, ptr: Tensor) -> Tensor:
    """Mean over graphs of ``||prediction - truth|| / ||truth||``, the norm of the truth in physical values."""
    error = segment_sum((prediction - truth).square().sum(1, keepdim=True), ptr)
    size = segment_sum((truth - origin).square().sum(1, keepdim=True), ptr)
    return ranks.mean((error / size.clamp(min=TINY)).clamp(min=TINY).sqrt())


def relative_l2_centered_loss(prediction: Tensor, truth: Tensor, origin: Tensor, ptr: Tensor) -> Tensor:
    """The same of the fields minus their training mean."""
    return relative_l2_loss(prediction, truth, torch.zeros_like(origin), ptr)


def mse_loss(prediction: Tensor, truth: Tensor, origin: Tensor, ptr: Tensor) -> Tensor:
    """Mean squared length of the error vector."""
    del origin
    return ranks.mean(segment_mean((prediction - truth).square().sum(1, keepdim=True), ptr))


def l1_loss(prediction: Tensor, truth: Tensor, origin: Tensor, ptr: Tensor) -> Tensor:
    """Mean length of the error vector: not led by a few extreme nodes."""
    del origin
    return ranks.mean(segment_mean(((prediction - truth).square().sum(1, keepdim=True) + 1e-6).sqrt(), ptr))


def huber(prediction: Tensor, truth: Tensor, origin: Tensor, ptr: Tensor) -> Tensor:
    """Quadratic for error vectors shorter than 0.5 standard deviations, linear beyond."""
    del origin
    length = ((prediction - truth).square().sum(1, keepdim=True) + TINY).sqrt()
    return ranks.mean(segment_mean(huber_loss(length, torch.zeros_like(length), delta=0.5, reduction="none"), ptr))


def relative_errors(prediction: Tensor, truth: Tensor, ptr: Tensor, *, each: bool = False) -> Tensor:
    """``||p - u|| / ||u||`` of every trajectory over points, frames and channels, ``[b]``.

    This is what AROMA's and ENMA's code calls "relative MSE" (not squared). Values are normalised; a trajectory whose
    mean square is below :data:`FLOOR` is measured against that, so that a start from rest does not rule the loss.

    Args:
        prediction: ``[q, s, c]``.
        truth: Same shape.
        ptr: ``[b + 1]`` trajectory i has rows ``ptr[i]:ptr[i + 1]``.
        each: Every one of the s frames by itself, ``[b, s]``: quiet ones count as much as loud ones.
    """
    over = (2,) if each else (1, 2)
    wrong = segment_sum((prediction - truth).square().sum(over), ptr)
    size = segment_sum(truth.square().sum(over), ptr)
    least = FLOOR * ptr.diff() * truth.shape[2] * (1 if each else truth.shape[1])
    least = least.unsqueeze(1) if each else least
    return (wrong / torch.maximum(size, least.to(size.dtype)).clamp(min=1e-30)).sqrt()


LOSSES: Mapping[str, Loss] = {
    "relative_l2": relative_l2_loss,
    "relative_l2_centered": relative_l2_centered_loss,
    "mse": mse_loss,
    "l1": l1_loss,
    "huber": huber,
}


def get_loss(name: str) -> Loss:
    """Loss by name.

    Raises:
        InputError: Unknown name.
    """
    if name not in LOSSES:
        raise InputError(f"unknown loss '{name}'; {did_you_mean(name, LOSSES)}allowed: {listing(LOSSES)}")
    return LOSSES[name]
