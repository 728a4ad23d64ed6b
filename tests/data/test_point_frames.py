import pytest
import torch

from meshops.data.point_frames import PointFrames, grid_frames
from meshops.errors import InputError


def resting(points: int = 6, frames: int = 4) -> PointFrames:
    torch.manual_seed(points)
    return PointFrames.resting(torch.rand(points, 2), torch.randn(frames, points, 3), constants=torch.rand(points, 1))


def test_grid_cells_are_points_at_their_centres() -> None:
    frames = torch.arange(2 * 1 * 3 * 2.0).view(2, 1, 3, 2)
    made = grid_frames(frames, (0.5, 1.0), constants=torch.arange(6.0).view(1, 3, 2))
    torch.testing.assert_close(made.pos[3], torch.tensor([0.75, 1.5]))
    torch.testing.assert_close(made.values[:, 1, 0], torch.arange(6.0, 12.0))
    assert made.constants is not None and made.constants[:, 0].tolist() == list(range(6))
    assert (made.frames, made.num_trajectories, made.moving) == (2, 1, False)


def test_points_that_rest_are_found() -> None:
    pos = torch.rand(1, 5, 2).expand(3, -1, -1)
    made = PointFrames.of_frames(pos, torch.randn(3, 5, 1), node_type=torch.zeros(3, 5, dtype=torch.long))
    assert not made.moving and made.values.shape == (5, 3, 1)
    kinds = torch.zeros(3, 5, dtype=torch.long)
    kinds[1, 0] = 1
    assert PointFrames.of_frames(pos, torch.randn(3, 5, 1), node_type=kinds).moving


def test_by_frame_keeps_every_value() -> None:
    both = PointFrames.batch([resting(6), resting(4)])
    split = both.by_frame()
    assert split.moving and (split.num_graphs, split.num_trajectories) == (8, 2)
    for trajectory, (a, b) in enumerate(((0, 6), (6, 10))):
        for t in range(4):
            first, last = split.ptr[4 * trajectory + t], split.ptr[4 * trajectory + t + 1]
            torch.testing.assert_close(split.values[first:last, 0], both.values[a:b, t])
            torch.testing.assert_close(split.pos[first:last], both.pos[a:b])
    mixed = PointFrames.batch([resting(6), resting(4).by_frame()])
    torch.testing.assert_close(mixed.values, split.values)


@pytest.mark.parametrize("moving", [False, True])
def test_crop_is_a_part_of_every_trajectory(moving: bool) -> None:
    both = PointFrames.batch([resting(6), resting(4)])
    wanted = both.values[:, 1:3]
    part = (both.by_frame() if moving else both).crop(1, 2)
    assert (part.frames, part.num_trajectories) == (2, 2)
    if moving:
        wanted = torch.cat([wanted[:6].transpose(0, 1).reshape(-1, 1, 3), wanted[6:].transpose(0, 1).reshape(-1, 1, 3)])
    torch.testing.assert_close(part.values, wanted)


def test_frames_are_picked_by_number_with_what_is_known_of_their_points() -> None:
    one = resting()
    numbers = [3, 0, 0]
    for points in (one, one.by_frame()):
        part = points.pick(numbers)
        torch.testing.assert_close(part.series(), one.series()[numbers])
        torch.testing.assert_close(part.constants, one.constants.repeat(3, 1) if points.moving else one.constants)
    both = PointFrames.batch([resting(6), resting(4)]).by_frame()
    torch.testing.assert_close(
        both.pick([2, 2]).values, torch.cat([both.crop(2, 1).values[:6]] * 2 + [both.crop(2, 1).values[6:]] * 2)
    )


def test_series_has_one_row_per_frame() -> None:
    pos, values = torch.rand(4, 6, 2), torch.randn(4, 6, 3)
    moved = PointFrames.of_frames(pos, values, constants=torch.arange(6.0).view(6, 1))
    torch.testing.assert_close(moved.series(), values)
    torch.testing.assert_close(moved.places(), pos)
    assert moved.constants is not None and moved.crop(1, 2).constants.flatten().tolist() == [*range(6), *range(6)]
    still = PointFrames.of_frames(pos[:1].expand(4, -1, -1), values)
    torch.testing.assert_close(still.series(), values)
    torch.testing.assert_close(still.places(), pos[0])


def test_subsample_keeps_a_part_of_every_graph() -> None:
    both = PointFrames.batch([resting(100), resting(50)])
    part = both.subsample(0.2, generator=torch.Generator().manual_seed(0))
    assert part.ptr.tolist() == [0, 20, 30]
    again = both.subsample(0.2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(part.pos, again.pos)
    assert both.subsample(1e-9).ptr.tolist() == [0, 1, 2]
    assert both.subsample(1.0, most=60).ptr.tolist() == [0, 60, 110]
    where = (both.pos.unsqueeze(0) == part.pos.unsqueeze(1)).all(2).nonzero()[:, 1]
    torch.testing.assert_close(both.values[where], part.values)


def test_error_messages() -> None:
    with pytest.raises(InputError, match=r"fraction must be in \(0, 1\], got 0"):
        resting().subsample(0)
    with pytest.raises(InputError, match="equally many frames, got"):
        PointFrames.batch([resting(frames=2), resting(frames=3)])
    with pytest.raises(InputError, match="frames 3 to 6 do not exist, there are 4"):
        resting().crop(3, 4)
    with pytest.raises(InputError, match=r"numbers from 0 to 3, at least one, got \[4\]"):
        resting().pick([4])
    with pytest.raises(InputError, match="one trajectory with equally many points in every frame, got 2 with 4 to 6"):
        PointFrames.batch([resting(6), resting(4)]).series()
    with pytest.raises(InputError, match=r"constants must be \[n, k\] with n = 4"):
        PointFrames.of_frames(torch.rand(3, 4, 2), torch.rand(3, 4, 1), constants=torch.rand(3, 4, 1))
    with pytest.raises(InputError, match="positions"):
        PointFrames(torch.rand(3, 2), torch.rand(4, 1, 1), torch.tensor([0, 3]), 1)
    with pytest.raises(InputError, match="no trajectories of 3 frames"):
        PointFrames(torch.rand(4, 2), torch.rand(4, 2, 1), torch.tensor([0, 4]), 3)
    with pytest.raises(InputError, match="spacing needs one entry per axis"):
        grid_frames(torch.rand(2, 1, 3, 3), (1.0,))
