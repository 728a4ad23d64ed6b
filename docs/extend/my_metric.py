"""The 95th percentile of the absolute error: large errors in few places, which an average hides."""

import torch

from meshops.metrics import register_metric


@register_metric("p95", unit="field", needs="field")
def p95(prediction, truth):
    """``[n]`` or ``[n, k]``, physical units."""
    return torch.quantile((prediction - truth).abs().float().flatten(), 0.95).item()
