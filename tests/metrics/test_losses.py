import pytest
import torch

from meshops.metrics.losses import FLOOR, relative_errors


@pytest.mark.parametrize("each", [False, True])
def test_relative_errors_of_windows_and_of_their_frames(each: bool) -> None:
    torch.manual_seed(0)
    truth, prediction, ptr = torch.randn(10, 3, 2), torch.randn(10, 3, 2), torch.tensor([0, 4, 10])
    truth[4:, 1] = 0  # a frame that is zero is measured against the floor
    found = relative_errors(prediction, truth, ptr, each=each)
    rows = []
    for part in (slice(0, 4), slice(4, 10)):
        frames = [slice(t, t + 1) for t in range(3)] if each else [slice(0, 3)]
        row = []
        for t in frames:
            u, p = truth[part, t], prediction[part, t]
            least = FLOOR * u.numel()
            row.append(((p - u).square().sum() / max(float(u.square().sum()), least)).sqrt())
        rows.append(torch.stack(row) if each else row[0])
    torch.testing.assert_close(found, torch.stack(rows))
