"""Losses over fields: ``prediction, truth [b, m, c]`` normalised, b cases of m nodes; one number out."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from meshops.errors import InputError, listing


def relative_l2_loss(prediction: Tensor, truth: Tensor) -> Tensor:
    """Mean over cases of ``||prediction - truth|| / ||truth||`` (the metric itself, when the shift is zero)."""
    error = (prediction - truth).square().mean((1, 2))
    return (error / truth.square().mean((1, 2)).clamp(min=1e-12)).sqrt().mean()


def mse_loss(prediction: Tensor, truth: Tensor) -> Tensor:
    """Mean squared length of the error vector."""
    return (prediction - truth).square().sum(-1).mean()


def l1_loss(prediction: Tensor, truth: Tensor) -> Tensor:
    """Mean length of the error vector: not led by a few extreme nodes."""
    return ((prediction - truth).square().sum(-1) + 1e-6).sqrt().mean()


def huber_loss(prediction: Tensor, truth: Tensor) -> Tensor:
    """Quadratic for error vectors shorter than 0.5 standard deviations, linear beyond."""
    length = ((prediction - truth).square().sum(-1) + 1e-12).sqrt()
    return torch.nn.functional.huber_loss(length, torch.zeros_like(length), delta=0.5)


LOSSES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "relative_l2": relative_l2_loss,
    "relative_l2_centered": relative_l2_loss,  # the same of the field minus its training mean, see output_normalizer
    "mse": mse_loss,
    "l1": l1_loss,
    "huber": huber_loss,
}


def get_loss(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    """Loss by name.

    Raises:
        InputError: Unknown name.
    """
    if name not in LOSSES:
        raise InputError(f"unknown loss '{name}'; allowed: {listing(LOSSES)}")
    return LOSSES[name]
