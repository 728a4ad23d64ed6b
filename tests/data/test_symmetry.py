from dataclasses import dataclass, replace

import pytest
import torch

from meshops.data.point_frames import PointFrames, grid_frames
from meshops.data.symmetry import check_symmetries, moved
from meshops.errors import InputError


@dataclass(frozen=True)
class Square:
    fields: tuple[str, ...] = ("height", "velocity")
    sizes: tuple[int, ...] = (1, 2)
    low: tuple[float, ...] = (0.0, 0.0)
    high: tuple[float, ...] = (2.0, 2.0)
    periodic: tuple[bool, ...] = (True, True)
    grid: tuple[int, ...] = (8, 8)


def waves(pos: torch.Tensor) -> torch.Tensor:
    """A height and its gradient at points of the square, ``[n, 1, 3]``."""
    x, y = (torch.pi * pos).unbind(1)
    height = x.sin() + 0.5 * (2 * y).cos() + (x + y).sin()
    slope = torch.pi * torch.stack([x.cos() + (x + y).cos(), -(2 * y).sin() + (x + y).cos()], 1)
    return torch.cat([height.unsqueeze(1), slope], 1).unsqueeze(1)


@pytest.mark.parametrize("kinds", [("shift",), ("flip",), ("turn",), ("shift", "flip", "turn")])
@pytest.mark.parametrize("seed", range(6))
def test_a_gradient_stays_the_gradient_of_the_height(kinds: tuple[str, ...], seed: int) -> None:
    """Moved points and fields are again a height and its slope: the difference quotients agree wherever they are."""
    torch.manual_seed(seed)
    pos, step = 2 * torch.rand(40, 2, dtype=torch.float64), 1e-6
    both = torch.cat([pos, pos + step * torch.tensor([1.0, 0.0]), pos + step * torch.tensor([0.0, 1.0])])
    frames = PointFrames(both, waves(both), torch.tensor([0, 120]), 1)
    draw = torch.Generator().manual_seed(seed)
    out = moved(frames, Square(grid=()), kinds, generator=draw)
    here, ahead, aside = out.pos.split(40)
    period = 2.0
    steps = [(p - here + 1).remainder(period) - 1 for p in (ahead, aside)]
    rise = [out.values[40 * i : 40 * i + 40, 0, 0] - out.values[:40, 0, 0] for i in (1, 2)]
    for move, gain in zip(steps, rise, strict=True):
        torch.testing.assert_close((out.values[:40, 0, 1:] * move).sum(1), gain, atol=1e-10, rtol=1e-4)


def test_shifts_of_a_grid_stay_on_it_and_roll_the_field() -> None:
    field = torch.randn(3, 3, 8, 8)
    frames = grid_frames(field, (0.25, 0.25))
    out = moved(frames, Square(), ("shift",), generator=torch.Generator().manual_seed(1))
    place = (out.pos / 0.25 - 0.5).round().long()
    torch.testing.assert_close((place + 0.5) * 0.25, out.pos)
    laid = torch.empty_like(field)
    laid[:, :, place[:, 0], place[:, 1]] = out.values.permute(1, 2, 0)
    shifts = [(a, b) for a in range(8) for b in range(8) if torch.equal(laid, field.roll((a, b), (2, 3)))]
    assert len(shifts) == 1 and shifts != [(0, 0)]


def test_what_the_data_do_not_allow_is_refused() -> None:
    open_ = replace(Square(), periodic=(False, False))
    with pytest.raises(InputError, match=r"'shift' moves trajectories round periodic axes, and none .* leave it out"):
        check_symmetries(("shift",), open_)
    check_symmetries(("flip", "turn"), open_)
    with pytest.raises(InputError, match=r"'turn' needs a first and second axis alike .* high \[2.0, 4.0\]"):
        check_symmetries(("turn",), replace(Square(), high=(2.0, 4.0)))
    with pytest.raises(InputError, match=r"'flip' turns scalars .* got 'stress \(3\)'"):
        check_symmetries(("flip",), replace(Square(), fields=("stress",), sizes=(3,)))
    with pytest.raises(InputError, match="no symmetry 'shfit'; did you mean 'shift'"):
        check_symmetries(("shfit",), Square())
    half = replace(Square(), periodic=(True, False))
    pos = torch.rand(30, 2)
    out = moved(PointFrames(pos, waves(pos), torch.tensor([0, 30]), 1), half, ("shift",))
    assert torch.equal(out.pos[:, 1], pos[:, 1]) and not torch.equal(out.pos[:, 0], pos[:, 0])
