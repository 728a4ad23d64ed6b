"""Steps whose loss is not finite: the batch is saved and named, or the step is skipped and changes no weight."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn
from torch_geometric.data import Data

from meshops.errors import InputError
from meshops.models import registry
from meshops.nn.point_model import PointInputs, point_inputs
from meshops.training import RunConfig, TrainConfig, train
from meshops.training.guards import BATCH, NotFinite

BAD = 1000.0


class SpoiltLine(nn.Module):
    """A linear map that is NaN for cases marked by their inputs: what an overflow in half precision looks like."""

    takes: ClassVar[frozenset[str]] = frozenset({"points"})
    steps: ClassVar[list[bool]] = []

    def __init__(self, in_channels: int, out_channels: int, *, pos_dim: int = 2) -> None:
        super().__init__()
        self.line = nn.Linear(pos_dim + in_channels, out_channels)

    def unpack(self, graph: Any) -> PointInputs:
        return point_inputs(graph)

    def forward(self, inputs: PointInputs) -> Tensor:
        out: Tensor = self.line(torch.cat([inputs.pos, inputs.x], 1))
        bad = bool((inputs.pos > 0.999).any() and (inputs.x > 0.3).any())
        if self.training:
            self.steps.append(bad)
        return out * torch.nan if bad else out


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model, for these tests alone."""
    monkeypatch.setitem(registry._MODELS, "spoiltline", SpoiltLine)


def graphs(count: int, bad: tuple[int, ...]) -> list[Data]:
    out = []
    for i in range(count):
        generator = torch.Generator().manual_seed(i)
        pos = torch.rand(20, 2, generator=generator)
        pos[0], pos[1] = 1.0, 0.0
        x = torch.full((20, 1), BAD if i in bad else 0.0)
        out.append(Data(pos=pos, x=x, y=pos.sum(1, keepdim=True), name=f"case_{i}"))
    return out


def config(out: Path, **changes: Any) -> RunConfig:
    given = {"steps": 12, "batch_size": 1, "lr": 0.1, "threads": 1, "ema": 0.0, "val_every": 4} | changes
    return RunConfig(out=str(out), model={"name": "spoiltline"}, train=TrainConfig(**given))


def test_the_batch_that_ends_a_run_is_saved_and_its_case_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the loss is nan at step \d+ \(cases 'case_3'\): lower train\.lr") as error:
        train(config(tmp_path / "run"), data=graphs(6, (3,)))
    assert BATCH in str(error.value) and "--train.not_finite skip" in str(error.value)
    saved = torch.load(tmp_path / "run" / BATCH, weights_only=True)
    assert saved["cases"] == "cases 'case_3'" and f"at step {saved['step']} " in str(error.value)
    assert torch.equal(saved["tensors"]["batch.x"], torch.full((20, 1), BAD))
    assert not (tmp_path / "run" / "model.ckpt").exists()


def test_bad_steps_are_skipped_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    SpoiltLine.steps.clear()
    result = train(config(tmp_path / "a", not_finite="skip"), data=graphs(6, (3,)), console=Console())
    assert SpoiltLine.steps.count(True) == 2 and len(SpoiltLine.steps) == 12
    assert "2 of 12 steps were skipped" in capsys.readouterr().out
    assert all(bool(value.isfinite().all()) for value in result.surrogate.task.state_dict().values())


def test_a_run_of_one_bad_step_leaves_the_weights_as_they_were(tmp_path: Path) -> None:
    """Weight decay and moments of the optimiser do not move them either."""
    bad = next(seed for seed in range(20) if first_case(tmp_path / f"look_{seed}", seed))
    made = train(config(tmp_path / "run", not_finite="skip", steps=1, val_every=1, seed=bad), data=graphs(6, (3,)))
    torch.manual_seed(bad)
    start = SpoiltLine(1, 1).state_dict()
    for name, value in made.surrogate.task.model.state_dict().items():
        assert torch.equal(value, start[name])


def first_case(out: Path, seed: int) -> bool:
    """Whether the bad case is the first of a run."""
    SpoiltLine.steps.clear()
    train(config(out, not_finite="skip", steps=1, val_every=1, seed=seed), data=graphs(6, (3,)))
    return SpoiltLine.steps[0]


def test_too_many_skipped_steps_end_the_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"11th step that would be skipped, \d+ in a row; at most 10 and 10 are"):
        train(config(tmp_path / "run", not_finite="skip", steps=40), data=graphs(4, (0, 1, 2)))
    assert (tmp_path / "run" / BATCH).is_file()


def test_a_run_with_skipped_steps_resumes_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train(config(tmp_path / "whole", not_finite="skip"), data=graphs(6, (3,))).surrogate.task.model.state_dict()
    original, calls = SpoiltLine.forward, [0]

    def interrupted(self: SpoiltLine, inputs: PointInputs) -> Tensor:
        calls[0] += 1
        if calls[0] == 10:
            raise RuntimeError("the machine died")
        return original(self, inputs)

    monkeypatch.setattr(SpoiltLine, "forward", interrupted)
    with pytest.raises(RuntimeError, match="the machine died"):
        train(config(tmp_path / "half", not_finite="skip"), data=graphs(6, (3,)))
    monkeypatch.setattr(SpoiltLine, "forward", original)
    half = train(config(tmp_path / "half", not_finite="skip"), data=graphs(6, (3,)), resume=True)
    for name, value in half.surrogate.task.model.state_dict().items():
        assert torch.equal(value, whole[name])


def test_deterministic_runs_leave_the_setting_as_it_was(tmp_path: Path) -> None:
    assert not torch.are_deterministic_algorithms_enabled()
    train(config(tmp_path / "run", deterministic=True), data=graphs(4, ()))
    assert not torch.are_deterministic_algorithms_enabled()


def test_what_is_done_must_be_one_of_two() -> None:
    with pytest.raises(InputError, match=r"train\.not_finite must be one of 'stop', 'skip', got 'ignore'"):
        TrainConfig(not_finite="ignore")  # type: ignore[arg-type]


def test_values_beyond_half_precision_stop_a_run_in_bfloat16(tmp_path: Path) -> None:
    """Through the real path: inputs of 1e38 overflow in the linear map, whose output is bfloat16."""
    data = graphs(6, ())
    data[2].x = torch.full((20, 1), 3e38)
    settings = {"precision": "bf16-mixed", "steps": 12}
    with pytest.raises(InputError, match=r"(loss is (nan|inf)|are not finite) at step \d+ \(cases 'case_2'\)"):
        train(config(tmp_path / "run", **settings), data=data)
    assert torch.load(tmp_path / "run" / BATCH, weights_only=True)["cases"] == "cases 'case_2'"
    train(config(tmp_path / "kept", not_finite="skip", **settings), data=data)


@pytest.mark.parametrize("scale", [2.0**16, 2.0**-11])
def test_a_loss_that_no_scale_saves_from_overflow_ends_the_run(scale: float, tmp_path: Path) -> None:
    """float16 is scaled on GPUs alone, so that the scaler is stood in for."""
    guard, model = NotFinite("stop", tmp_path), nn.Linear(1, 1)
    scaler = SimpleNamespace(get_scale=lambda: scale)
    trainer: Any = SimpleNamespace(global_step=40, precision_plugin=SimpleNamespace(scaler=scaler), max_steps=100)
    module: Any = SimpleNamespace(
        samples=SimpleNamespace(names=("a", "b")), numbers_of=lambda step: [1], parameters=model.parameters
    )
    model.weight.grad = torch.full((1, 1), torch.inf)
    guard.on_train_batch_start(trainer, module, {"x": torch.ones(2)}, 40)
    if scale > 1:
        guard.on_before_optimizer_step(trainer, module, None)  # the scaler skips the step by itself
        return
    with pytest.raises(InputError, match=r"overflow in half precision at step 40 \(cases 'b'\).*bf16-mixed or 32-true"):
        guard.on_before_optimizer_step(trainer, module, None)
    assert torch.equal(torch.load(tmp_path / BATCH, weights_only=True)["tensors"]["batch.x"], torch.ones(2))
