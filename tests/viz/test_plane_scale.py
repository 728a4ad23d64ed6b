"""A prediction is drawn with the colours of its truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from meshops.viz.plane import plane_picture


def test_panels_that_are_alike_have_one_scale(tmp_path: Path) -> None:
    pos = torch.rand(400, 2)
    truth, flat = torch.linspace(0, 10, 400), torch.full((400,), 5.0) + torch.linspace(0, 0.1, 400)
    shades = []
    for alike in ((), ("truth", "predicted")):
        path = plane_picture(
            pos, None, {"truth": truth, "predicted": flat}, tmp_path / f"{len(alike)}.png", alike=alike
        )
        picture = np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3)
        shades.append(int((picture[:, 0] > 200).sum() - (picture.min(1) > 200).sum()))  # yellow: the top of the scale
    assert shades[1] < shades[0]  # of a nearly constant prediction nothing reaches the top of the truth's scale
