"""Optimisers and the learning-rate schedule of the published recipes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import AdamW, Optimizer

from meshops.errors import InputError


class Lion(Optimizer):
    """EvoLved Sign Momentum (Chen et al., arXiv 2302.06675, algorithm 2).

    Args:
        params: Parameters.
        lr: Learning rate, 3 to 10 times smaller than AdamW's.
        betas: Of the update and of the momentum.
        weight_decay: Decoupled, 3 to 10 times larger than AdamW's.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 5e-5,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.05,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """One update; ``closure`` re-evaluates the loss."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            lr, (beta1, beta2) = group["lr"], group["betas"]
            learnt = [p for p in group["params"] if p.grad is not None]
            if not learnt:
                continue
            grads = [p.grad for p in learnt]
            for p in learnt:
                if "momentum" not in self.state[p]:
                    self.state[p]["momentum"] = torch.zeros_like(p)
            momenta = [self.state[p]["momentum"] for p in learnt]
            update = torch._foreach_mul(momenta, beta1)
            torch._foreach_add_(update, torch._foreach_mul(grads, 1 - beta1))
            torch._foreach_sign_(update)
            torch._foreach_mul_(learnt, 1 - lr * group["weight_decay"])
            torch._foreach_add_(learnt, update, alpha=-lr)
            torch._foreach_lerp_(momenta, grads, 1 - beta2)
        return loss


def make_optimizer(
    name: str, params: Iterable[Tensor], *, lr: float, weight_decay: float, betas: tuple[float, float]
) -> Optimizer:
    """Optimiser by name, ``"adamw"`` or ``"lion"``.

    Raises:
        InputError: Unknown name.
    """
    if name == "adamw":
        groups: list[Any] = list(params)
        one = all(_on_cpu(p) for group in groups for p in (group["params"] if isinstance(group, dict) else [group]))
        return AdamW(groups, lr=lr, weight_decay=weight_decay, betas=betas, foreach=one or None)
    if name == "lion":
        return Lion(params, lr=lr, weight_decay=weight_decay, betas=betas)
    raise InputError(f"optimizer must be 'adamw' or 'lion', got '{name}'")


def _on_cpu(p: Tensor) -> bool:
    """Whether a parameter is updated with all others in one call, same bits; elsewhere PyTorch chooses by itself."""
    return p.device.type == "cpu" and not isinstance(p, DTensor)


def warmup_cosine(steps: int, *, warmup: float = 0.05, floor: float = 0.0) -> Callable[[int], float]:
    """Factor on the learning rate: linear warm-up over a fraction of the steps, then cosine down to ``floor``."""
    rise = max(1, round(warmup * steps))

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        progress = min(1.0, (step - rise) / max(1, steps - rise))
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))

    return factor


def noam(*, warmup_steps: int = 4000) -> Callable[[int], float]:
    """Factor that rises linearly for ``warmup_steps``, then falls as 1 / sqrt(step) (Vaswani et al., eq. 3).

    With a peak rate of d^-0.5 * warmup_steps^-0.5 it is the schedule of AMR-Transformer: 9.88e-4 for d = 256.
    """

    def factor(step: int) -> float:
        now = step + 1
        return min(float((warmup_steps / now) ** 0.5), now / warmup_steps)

    return factor


def step_decay(
    *, rise: int = 2500, start: float = 2e-3, gamma: float = 0.95, every: int = 5000, floor: float = 0.02
) -> Callable[[int], float]:
    """Factor that rises from ``start`` to 1, then falls by ``gamma`` every ``every`` steps: IAP, tables 3 and 4.

    Over ``rise`` steps upwards, not below ``floor`` downwards; the defaults are for a peak rate of 5e-4.
    """

    def factor(step: int) -> float:
        if step < rise:
            return start + (1 - start) * step / rise
        return max(floor, float(gamma ** ((step - rise) // every)))

    return factor


def schedule(name: str, *, steps: int, warmup: float) -> Callable[[int], float]:
    """Factor on the learning rate by step.

    Args:
        name: ``"cosine"``, ``"noam"`` or ``"step_decay"``.
        steps: Of the run.
        warmup: Fraction of the steps with rising rate, for ``"cosine"`` and ``"noam"``.

    Raises:
        InputError: Unknown name.
    """
    rise = max(1, round(warmup * steps))
    if name == "cosine":
        return warmup_cosine(steps, warmup=warmup)
    if name == "noam":
        return noam(warmup_steps=rise)
    if name == "step_decay":
        return step_decay(rise=rise)
    raise InputError(f"schedule must be 'cosine', 'noam' or 'step_decay', got '{name}'")


def parameter_groups(module: nn.Module, lr: float) -> list[dict[str, Any]]:
    """Groups for an optimiser: normalisation layers, biases and vectors are not decayed.

    Weights of a submodule with the attribute ``lr_factor`` have a learning rate of their own; the innermost counts.
    """
    factor: dict[int, float] = {}
    for part in module.modules():
        own = getattr(part, "lr_factor", None)
        if own is not None:
            factor |= {id(p): float(own) for p in part.parameters()}
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {(1.0, True): [], (1.0, False): []}
    for p in module.parameters():
        groups.setdefault((factor.get(id(p), 1.0), p.dim() > 1), []).append(p)
    out: list[dict[str, Any]] = []
    for (scale, decayed), parameters in groups.items():
        group: dict[str, Any] = {"params": parameters}
        out.append(group | ({} if decayed else {"weight_decay": 0.0}) | ({} if scale == 1 else {"lr": lr * scale}))
    return out
