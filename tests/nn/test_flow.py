import pytest
import torch
from torch import Tensor, nn

from meshops.errors import InputError
from meshops.nn.flow import EVALUATIONS, METHODS, draw_times, flow_pair, flow_sample, integrate, masked_loss


def test_path_is_straight() -> None:
    clean, noise = torch.randn(3, 2, 4), torch.randn(3, 2, 4)
    for r in (0.0, 0.3, 1.0):
        place, velocity = flow_pair(clean, noise, torch.full((3,), r))
        torch.testing.assert_close(place + (1 - r) * velocity, clean)
        torch.testing.assert_close(place - r * velocity, noise)


def test_path_equals_torchcfm() -> None:
    torchcfm = pytest.importorskip("torchcfm.conditional_flow_matching", reason="torchcfm is an optional oracle")
    matcher = torchcfm.ConditionalFlowMatcher(sigma=0.0)
    noise, clean, r = torch.randn(5, 3), torch.randn(5, 3), torch.rand(5)
    _, place, velocity = matcher.sample_location_and_conditional_flow(noise, clean, t=r)
    ours = flow_pair(clean, noise, r)
    torch.testing.assert_close(ours[0], place)
    torch.testing.assert_close(ours[1], velocity)


@pytest.mark.parametrize("method", list(METHODS))
def test_methods_have_their_order(method: str) -> None:
    """dz/dr = z (1 + r): the end is known."""
    start = torch.tensor([1.0, -2.0], dtype=torch.float64)
    exact = start * torch.exp(torch.tensor(1.5, dtype=torch.float64))
    calls = []

    def speed(r: Tensor, z: Tensor) -> Tensor:
        calls.append(1)
        return z * (1 + r)

    errors = []
    for steps in (16, 32):
        calls.clear()
        errors.append(float((integrate(speed, start, steps=steps, method=method) - exact).abs().max()))  # type: ignore[arg-type]
    if method == "dopri5":
        assert max(errors) < 1e-3
        return
    order = {"euler": 1, "midpoint": 2, "heun": 2, "rk4": 4}[method]
    assert errors[0] / errors[1] == pytest.approx(2**order, rel=0.3)
    assert len(calls) == 32 * EVALUATIONS[method]


def test_known_parts_are_the_same_bits_after_sampling() -> None:
    start = torch.randn(4, 6)
    known = torch.rand(4, 6) < 0.5
    end = integrate(lambda r, z: torch.where(known, 0.0, z.sin() + r), start)
    assert torch.equal(end[known], start[known])
    assert not torch.equal(end, start)


def test_masked_loss_sees_wanted_numbers_only() -> None:
    a, b = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    wanted = torch.tensor([[True, False, True], [False, False, False]]).unsqueeze(2)
    slow = sum(float((a[i, j, k] - b[i, j, k]) ** 2) for i, j in ((0, 0), (0, 2)) for k in range(4)) / 8
    assert float(masked_loss(a, b, wanted)) == pytest.approx(slow, rel=1e-5)
    assert float(masked_loss(a, b, torch.zeros(2, 1, 1, dtype=torch.bool))) == 0


def test_recovers_a_conditional_gaussian() -> None:
    """Masked flow matching on a correlated Gaussian: mean and variance of one number given the other."""
    torch.manual_seed(0)
    correlation = 0.8
    network = nn.Sequential(nn.Linear(5, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 2))
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 800)

    def velocity(z: Tensor, clean: Tensor, mask: Tensor, r: Tensor) -> Tensor:
        shown = torch.where(mask, clean, z)
        out: Tensor = network(torch.cat([shown, mask.float(), r.view(-1, 1)], 1))
        return out

    def draw(count: int) -> Tensor:
        a = torch.randn(count)
        return torch.stack([a, correlation * a + (1 - correlation**2) ** 0.5 * torch.randn(count)], 1)

    for _ in range(800):
        clean = draw(512)
        mask = torch.rand(512, 1) < torch.tensor([[0.7, 0.0]])
        r = draw_times(512)
        place, target = flow_pair(clean, torch.randn_like(clean), r)
        loss = masked_loss(velocity(place, clean, mask, r), target, ~mask)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    for first in (-1.0, 1.0):
        mask = torch.tensor([[True, False]]).expand(4000, 2)
        known = torch.tensor([[first, 0.0]]).expand(4000, 2)
        start = torch.where(mask, known, torch.randn(4000, 2))

        def field(r: Tensor, z: Tensor, known: Tensor = known, mask: Tensor = mask) -> Tensor:
            return velocity(z, known, mask, r.expand(len(z))).masked_fill(mask, 0)

        end = integrate(field, start)
        assert torch.equal(end[:, 0], known[:, 0])
        assert float(end[:, 1].mean()) == pytest.approx(correlation * first, abs=0.08)
        assert float(end[:, 1].std()) == pytest.approx(0.6, abs=0.08)
    free = torch.zeros(4000, 2, dtype=torch.bool)
    end = integrate(lambda r, z: velocity(z, z, free, r.expand(len(z))), torch.randn(4000, 2))
    assert float(torch.corrcoef(end.T)[0, 1]) == pytest.approx(correlation, abs=0.06)


def test_times_and_error_messages() -> None:
    torch.manual_seed(0)
    assert 0.45 < float(draw_times(2000).mean()) < 0.55
    middle = draw_times(2000, law="logit_normal")
    assert float(middle.std()) < float(draw_times(2000).std())
    with pytest.raises(InputError, match="'uniform' or 'logit_normal', got 'beta'"):
        draw_times(1, law="beta")
    with pytest.raises(InputError, match="method must be one of euler, midpoint, heun, rk4, dopri5, got 'ab3'"):
        integrate(lambda r, z: z, torch.zeros(1), method="ab3")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="steps must be at least 1, got 0"):
        integrate(lambda r, z: z, torch.zeros(1), steps=0)


def test_what_is_known_of_a_sample_is_the_same_bits() -> None:
    known, wanted = torch.randn(6, 4), torch.rand(6, 4) < 0.5

    def sample(seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return flow_sample(lambda r, z: 1 + z, known, wanted, steps=3, generator=generator)

    assert torch.equal(sample(0), sample(0)) and torch.equal(sample(0)[~wanted], known[~wanted])
    assert not torch.isclose(sample(0), sample(1))[wanted].any()
