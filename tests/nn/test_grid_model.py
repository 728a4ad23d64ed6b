"""Models of points on grids."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from meshops.errors import InputError
from meshops.models import MSPT, Transformer, Transolver, UNet
from meshops.nn.grid_model import PointsOnGrid, on_grid
from meshops.nn.point_model import PointInputs, point_inputs


class Echo(nn.Module):
    """Features and positions as they come."""

    takes = frozenset({"points"})
    unpack = staticmethod(point_inputs)

    def forward(self, inputs: PointInputs) -> Tensor:
        return torch.cat([inputs.x, inputs.pos], 1)


def test_cells_are_points_row_by_row() -> None:
    fields = torch.randn(2, 3, 4, 6)
    out = PointsOnGrid(Echo(), spacing=(0.5, 0.25))(fields)
    assert torch.equal(out[:, :3], fields)
    first, second = out[0, 3:]
    assert_close(first[:, 0], torch.tensor([-0.75, -0.25, 0.25, 0.75]))  # 4 x 0.5 is the longest side
    assert_close(second[0], (torch.arange(6) + 0.5) / 4 - 0.75)
    assert torch.equal(out[1, 3:], out[0, 3:])


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_models_of_points_take_any_grid_with_gradients(dim: int) -> None:
    size = {"pos_dim": dim, "channels": 24, "depth": 1, "num_heads": 2}
    fields = torch.randn(2, 3, *(6, 5, 4)[:dim], requires_grad=True)
    for model in (
        Transolver(3, 2, num_slices=4, **size), Transformer(3, 2, **size), MSPT(3, 2, num_patches=2, **size),
        MSPT(3, 2, num_patches=3, patching="file", variant="reference", **size),
    ):  # fmt: skip
        made = on_grid(model)
        out = made(fields)
        assert out.shape == (2, 2, *fields.shape[2:])
        assert_close(out[1:], made(fields[1:]), rtol=1e-4, atol=1e-5)
        (gradient,) = torch.autograd.grad(out[0].square().sum(), fields)
        assert bool(gradient[0].any()) and not bool(gradient[1].any())
        pairs = made.loss_pairs(fields, torch.zeros_like(out))
        assert_close(pairs.prediction, out.movedim(1, -1).flatten(0, -2))


def test_a_model_of_grids_stays_and_others_are_refused() -> None:
    model = UNet(1, 1, channels=8, depth=1)
    assert on_grid(model) is model
    with pytest.raises(InputError, match="Linear takes neither regular grids nor points"):
        on_grid(nn.Linear(1, 1))
