"""Pictures of fields and patches on grids: written whole, with what they should show, or refused with a reason."""

from __future__ import annotations

from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import torch

from meshops.errors import InputError
from meshops.partition import RefineByCriteria, TokenBudget
from meshops.viz import frames_picture, patches_picture, tradeoff_picture


def brightness(path: Path) -> np.ndarray:
    return matplotlib.image.imread(path)[..., :3].mean(-1)


def test_more_patches_draw_more_lines(tmp_path: Path) -> None:
    field = torch.zeros(32, 24)
    fields = torch.randn(1, 2, 32, 24)
    few = patches_picture(field, TokenBudget(12, 2, 8).patches(fields), tmp_path / "few.png", cmap="gray")
    many = patches_picture(field, TokenBudget(192, 2, 8).patches(fields), tmp_path / "many.png", cmap="gray")
    assert brightness(many).mean() > brightness(few).mean() + 0.003
    overlapping = RefineByCriteria(velocity=(0, 1), max_size=8).patches(fields)
    assert patches_picture(field, overlapping, tmp_path / "amr.png").stat().st_size > 5_000


def test_frames_and_curves_are_written(tmp_path: Path) -> None:
    frames = [np.random.rand(8, 6) for _ in range(3)]
    path = frames_picture({"truth": frames, "predicted": frames}, tmp_path / "frames.png", columns=["1", "2", "3"])
    assert brightness(path).std() > 0.05
    path = tradeoff_picture({"IAP": [(100, 0.1), (50, 0.2)], "ViT": [(64, 0.3)]}, tmp_path / "sub" / "curve.png")
    assert brightness(path).min() < 0.5


def test_what_cannot_be_drawn_is_refused(tmp_path: Path) -> None:
    patches = TokenBudget(12, 2, 8).patches(torch.randn(1, 1, 32, 24))
    with pytest.raises(InputError, match="only plane grids are drawn"):
        patches_picture(torch.zeros(24, 32), patches, tmp_path / "a.png")
    volume = TokenBudget(8, 2, 8).patches(torch.randn(1, 1, 16, 16, 16))
    with pytest.raises(InputError, match="cut a plane out of a volume first"):
        patches_picture(torch.zeros(16, 16, 16), volume, tmp_path / "a.png")
    with pytest.raises(InputError, match="same number of frames"):
        frames_picture({"a": [np.zeros((2, 2))], "b": []}, tmp_path / "a.png")
    assert not list(tmp_path.iterdir())
