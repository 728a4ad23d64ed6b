from typing import Any

import pytest
import torch
from torch import Tensor

from meshops.errors import InputError
from meshops.models.echo import EchoGenerator
from meshops.tasks import GenerateTask
from meshops.tasks.latent_steps import History, change_scale, march, step_loss
from meshops.tasks.segments import GenerateSpec


def task(**options: Any) -> GenerateTask:
    torch.manual_seed(0)
    settings = {"latent": (3, 6, 4, 2), "time_factor": 2, "history": 2, "periodic": (True, True)} | options
    spec = GenerateSpec(**settings)
    model = EchoGenerator(**spec.model_arguments(), channels=16, depth=2, num_heads=2, fold_time=True, local=True)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.05 * torch.randn_like(p))
    count = len(spec.parameters)
    return GenerateTask.fitted(model, spec, 2 + 3 * torch.randn(20, *spec.latent), torch.rand(20, count) + 0.1).eval()


def linear(noisy: Tensor, history: History, r: Tensor) -> Tensor:
    """A change that is known: twice the last frame less the one before."""
    del noisy, r
    return 2 * history.latent[:, :, -2] - history.latent[:, :, -3]


def test_history_is_what_came_before() -> None:
    latent = torch.randn(3, 2, 5, 4)
    end = torch.tensor([1, 2, 4])
    found = History.before(latent, end, 3)
    for row, number in enumerate(end.tolist()):
        for place in range(4):
            frame = number - 3 + place
            there = 0 <= frame < number
            assert bool(found.observed[row, place]) == there and bool(found.start[row, place]) == (there and frame == 0)
            wanted = latent[row, :, frame] if there else torch.zeros(2, 4)
            assert torch.equal(found.latent[row, :, place], wanted)


@pytest.mark.parametrize("deterministic", [True, False])
def test_a_known_change_is_followed(deterministic: bool) -> None:
    known, scale = torch.randn(2, 3, 2, 4, dtype=torch.float64), torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)
    found = march(
        known, 6, linear, length=2, scale=scale, deterministic=deterministic, steps=40, method="midpoint",
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    assert torch.equal(found[:, :, :2], known)
    wanted = [known[:, :, 0], known[:, :, 1]]
    for _ in range(4):
        wanted.append(wanted[-1] + scale.view(1, 3, 1) * (2 * wanted[-1] - wanted[-2]))
    # a flow stops short of the end of its path by what noise is left there
    torch.testing.assert_close(found, torch.stack(wanted, 2), rtol=1e-6, atol=1e-9 if deterministic else 0.2)


def test_a_sure_flow_ends_where_it_is_told() -> None:
    known = torch.randn(4, 1, 2, 3, dtype=torch.float64)
    found = march(
        known, 3, linear, length=2, scale=torch.ones(1, dtype=torch.float64), deterministic=False, steps=10,
        method="midpoint", generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    exact = known[:, :, 1] + 2 * known[:, :, 1] - known[:, :, 0]
    assert float((found[:, :, 2] - exact).abs().max()) < 0.15


def test_loss_is_zero_for_the_truth_and_counts_by_weight() -> None:
    start = torch.randn(5, 2, 2, 4)
    start[:, :, 0] = 0  # what a history has in place of frames that do not exist
    scale = torch.tensor([0.5, 2.0])
    clean = march(
        start, 6, linear, length=2, scale=scale, deterministic=True, steps=1, method="euler", generator=None
    )  # fmt: skip
    shared: dict[str, Any] = {"length": 2, "scale": scale, "law": "uniform", "deterministic": True}

    def wrong(noisy: Tensor, history: History, r: Tensor) -> Tensor:
        return linear(noisy, history, r) + torch.tensor([1.0, 0.0]).view(1, 2, 1)

    def back(noisy: Tensor, history: History, r: Tensor) -> Tensor:
        return (0.0 * noisy - history.latent[:, :, -2]) / scale.view(1, 2, 1)

    still = torch.zeros_like(clean)  # from wherever noise has put them, steps lead back to what is there next
    for jitter in (0.0, 0.5):
        assert float(step_loss(still, back, weight=torch.ones(2), jitter=jitter, **shared)) < 1e-10
    assert float(step_loss(still, wrong, weight=torch.ones(2), jitter=0.5, **shared)) > 0.51
    for seed in range(10):
        torch.manual_seed(seed)
        assert float(step_loss(clean[:, :, 1:], linear, weight=torch.ones(2), **shared)) < 1e-8
        found = float(step_loss(clean[:, :, 1:], wrong, weight=torch.tensor([3.0, 1.0]), **shared))
        assert found == pytest.approx(1.5, rel=1e-3)


def test_scale_of_changes() -> None:
    clean = torch.randn(50, 2, 4, 8) * torch.tensor([1.0, 3.0]).view(1, 2, 1, 1)
    found = change_scale(clean)
    slow = torch.stack([(clean[:, c, 1:] - clean[:, c, :-1]).square().mean().sqrt() for c in range(2)])
    torch.testing.assert_close(found, slow)


@pytest.mark.parametrize("options", [{}, {"deterministic": True}, {"parameters": ("nu",), "logarithmic": (True,)}])
def test_every_weight_learns_and_state_goes_round(options: dict[str, Any]) -> None:
    made = task(**options, weigh=True)
    made.weight.copy_(torch.tensor([2.0, 1.0, 0.5]))
    torch.manual_seed(0)
    batch = {"latents": torch.randn(16, *made.spec.latent), "runs": torch.zeros(16, 3, 0, 4, 2),
             "parameters": torch.rand(16, len(made.spec.parameters)) + 0.1}  # fmt: skip
    found = made.loss(batch)
    found["loss"].backward()
    assert not [name for name, p in made.model.named_parameters() if p.grad is None]
    again = GenerateTask.empty(made.model, made.spec.to_dict())
    again.load_state_dict(made.state_dict())
    assert torch.equal(again.change_scale, made.change_scale) and torch.equal(again.weight, made.weight)
    assert not {"weight", "change_scale"} & set(task(history=0).state_dict())  # checkpoints of before still load


def test_error_messages() -> None:
    with pytest.raises(InputError, match=r"task\.history must be below the 6 latent frames of a segment, got 6"):
        task(history=6)
    with pytest.raises(InputError, match="identifies no parameters"):
        task(parameters=("nu",), logarithmic=(False,), identify=True)
    with pytest.raises(InputError, match="history must be a whole number of at least 0, got -1"):
        task(history=-1)
