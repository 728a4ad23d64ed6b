from functools import partial

import pytest
import torch
from torch import Tensor

from meshops.data.latent_grid import LatentGrid
from meshops.data.point_frames import PointFrames, grid_frames
from meshops.errors import InputError
from meshops.nn.straight_path import CONSTANT, LENGTHS, NUGGET, StraightPath, cubic_stencil, interpolation_weights


def square(periodic: bool = True, cells: int = 4, dim: int = 2) -> LatentGrid:
    return LatentGrid(low=(0.0,) * dim, high=(1.0,) * dim, shape=(cells,) * dim, periodic=(periodic,) * dim)


def path(latent: int = 12, *, periodic: bool = True, channels: int = 2, dim: int = 2) -> StraightPath:
    return StraightPath(
        channels, square(periodic, dim=dim), space_factor=2, time_factor=2, latent_channels=latent, subcells=2
    )


def near(made: StraightPath, points: PointFrames) -> object:
    return made.grid.from_points(points.pos, ptr=points.ptr)


def through(made: StraightPath, source: PointFrames, queries: PointFrames) -> Tensor:
    latent = made.encode(made.spread(made.resample(source.values, near(made, source)), source.frames))  # type: ignore[arg-type]
    series = queries.values.shape[1]
    return made.read(made.rows(made.decode(latent), series), made.stencil(queries.pos, queries.graph))


def regular(frames: int = 5, dim: int = 2, seed: int = 0) -> PointFrames:
    torch.manual_seed(seed)
    return grid_frames(torch.randn(frames, 2, *(8,) * dim), (0.125,) * dim)


def slow_components(windows: list[PointFrames], count: int) -> Tensor:
    """Blocks by loops; every latent frame divided by its root mean square."""
    rows = []
    for window in windows:
        field = window.values.movedim(0, -1).view(window.frames, 2, 8, 8)
        pairs = [(0, 0)] + [(t, t + 1) for t in range(1, window.frames, 2)]
        for pair in pairs:
            blocks = [
                torch.stack([field[t, :, 4 * a : 4 * a + 4, 4 * b : 4 * b + 4] for t in pair], 1).flatten()
                for a in range(2)
                for b in range(2)
            ]
            whole = torch.stack(blocks)
            rows.append(whole / whole.square().mean().sqrt())
    table = torch.cat(rows).double()
    return torch.linalg.svd(table, full_matrices=False).Vh[:count]


def test_it_is_the_projection_onto_the_components_of_the_blocks() -> None:
    windows = [regular(seed=s) for s in range(8)]
    made = path(latent=12)
    made.fit(lambda: iter(windows), lambda pos, ptr: made.grid.from_points(pos, ptr=ptr))
    wanted = slow_components(windows, 12)
    basis = made.basis.double()
    found = basis @ made.inverse.double()
    torch.testing.assert_close(found, wanted.T @ wanted, atol=2e-3, rtol=0)  # but for the nugget of the interpolation
    source = regular(seed=9)
    once = through(made, source, source)
    again = through(made, source.filled(once.transpose(0, 1)), source)
    torch.testing.assert_close(again[:, 1:], once[:, 1:], atol=2e-3, rtol=0)  # the first frame stands for two
    latent = made.encode(made.spread(made.resample(source.values, near(made, source)), 5))  # type: ignore[arg-type]
    assert latent.shape == (1, 12, 3, 2, 2) and 0.3 < float(latent.square().mean()) < 3


def test_nothing_is_lost_where_every_number_is_kept() -> None:
    made = path(latent=64)  # 4 x 4 places, two frames, two channels
    windows = [regular(seed=s) for s in range(40)]
    made.fit(lambda: iter(windows), lambda pos, ptr: made.grid.from_points(pos, ptr=ptr))
    source = regular(seed=50)
    torch.testing.assert_close(through(made, source, source), source.values, atol=5e-3, rtol=0)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_later_frames_change_nothing_and_points_that_move_but_rest_neither(dim: int) -> None:
    made = path(latent=6, dim=dim)
    torch.manual_seed(1)
    for buffer in (made.basis, made.inverse):
        buffer.normal_()
    source = PointFrames.resting(torch.rand(60, dim), torch.randn(7, 60, 2))

    def encode(points: PointFrames) -> Tensor:
        return made.encode(made.spread(made.resample(points.values, near(made, points)), points.frames))  # type: ignore[arg-type]

    z = encode(source)
    for m in range(4):
        torch.testing.assert_close(encode(source.crop(0, 1 + 2 * m)), z[:, :, : 1 + m])
    torch.testing.assert_close(encode(source.by_frame()), z)
    both = PointFrames.batch([source, source.filled(2 * source.values.transpose(0, 1))])
    torch.testing.assert_close(encode(both), torch.cat([z, 2 * z]))
    out = through(made, source, source)
    torch.testing.assert_close(through(made, source, source.by_frame()).view(7, 60, 2).transpose(0, 1), out)


def test_interpolation_solves_its_equations() -> None:
    torch.manual_seed(0)
    offset, there = torch.rand(3, 6, 2) - 0.5, torch.ones(3, 6, dtype=torch.bool)
    there[1, 4:] = False
    places = torch.rand(5, 2) - 0.5
    found = interpolation_weights(offset, there, places, 1.5)

    def covariance(a: Tensor, b: Tensor) -> float:
        r = 5**0.5 * float((a - b).norm()) / 1.5
        return CONSTANT + (1 + r + r * r / 3) * 2.718281828459045**-r

    for q in range(3):
        v = -offset[q][there[q]].double()
        among = torch.tensor([[covariance(a, b) for b in v] for a in v], dtype=torch.float64)
        among += NUGGET * torch.eye(len(v))
        aside = torch.tensor([[covariance(p.double(), a) for a in v] for p in places], dtype=torch.float64)
        torch.testing.assert_close(found[q][:, there[q]], aside @ torch.linalg.inv(among), atol=1e-6, rtol=1e-6)
        assert not bool(found[q][:, ~there[q]].any())
    alone = interpolation_weights(torch.zeros(1, 1, 2), torch.ones(1, 1, dtype=torch.bool), torch.zeros(1, 2), 1.0)
    assert float(alone) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("periodic", [True, False])
def test_cubics_are_read_exactly(periodic: bool) -> None:
    grid = square(periodic)
    axis = (torch.arange(8) + 0.5) / 8
    x, y = torch.meshgrid(axis, axis, indexing="ij")

    def field(x: Tensor, y: Tensor) -> Tensor:
        return (x**3 - 2 * x * y**2 + y) if not periodic else (2 * torch.pi * x).sin() + (2 * torch.pi * y).cos()

    pos = torch.rand(200, 2)
    index, weight = cubic_stencil(grid, 2, pos)
    found = (field(x, y).flatten()[index] * weight).sum(1)
    tolerance = 1e-5 if not periodic else 0.03  # (pi / 4)^4 / 24 of either wave at most
    torch.testing.assert_close(found, field(*pos.unbind(1)).double(), atol=tolerance, rtol=0)


def test_length_is_that_which_tells_most_of_what_was_left_out() -> None:
    torch.manual_seed(0)
    pos = torch.rand(400, 2)
    made = path(latent=4)
    for waves in (1.0, 4.0):
        wave = torch.sin(2 * torch.pi * waves * pos.sum(1)).view(1, -1, 1).expand(5, -1, 2)
        window = PointFrames.resting(pos, wave)
        made.fit(partial(iter, [window]), lambda pos, ptr: made.grid.from_points(pos, ptr=ptr))
        best = float(made.length)
        kept = window.crop(2, 1).subsample(0.5, generator=torch.Generator().manual_seed(0))
        wrong = {}
        for length in LENGTHS:
            made.length.fill_(length)
            rows = made.rows(made.spread(made.resample(kept.values, near(made, kept)), 1), 1)  # type: ignore[arg-type]
            found = made.read(rows, made.stencil(pos, torch.zeros(400, dtype=torch.long)))
            wrong[length] = float((found - window.values[:, 2:3]).norm())
        assert best == min(wrong, key=lambda length: wrong[length])


def test_blocks_of_a_wrong_size_are_refused() -> None:
    with pytest.raises(InputError, match=r"hold 64 numbers; components need 65 \(latent_channels\) to 8192"):
        path(latent=65)
    with pytest.raises(InputError, match="hold 65536 numbers"):
        StraightPath(1, square(dim=3), space_factor=8, time_factor=2, latent_channels=8, subcells=4)
