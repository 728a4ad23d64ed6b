"""The study of ECHO: what was stopped goes on, budgets are written down, spread and skill are averaged as squares."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from meshops.metrics.forecasts import forecast_errors, forecast_scores

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "echo_study.py"


@pytest.fixture(scope="module")
def study() -> ModuleType:
    spec = importlib.util.spec_from_file_location("echo_study", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Line(nn.Module):
    """Two numbers that learn a line."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))

    def loss(self, batch: Tensor) -> dict[str, Tensor]:
        return {"loss": (self.weight[0] + self.weight[1] * batch - 3 + 2 * batch).square().mean()}


def test_what_was_stopped_goes_on_and_says_what_it_took(
    study: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "SAVED", 0.0)
    seen: list[int] = []

    def batch(draw: torch.Generator) -> Tensor:
        if len(seen) == 30:
            seen.append(0)
            raise KeyboardInterrupt
        seen.append(1)
        return torch.randn(8, generator=draw)

    path, task = tmp_path / "line.pt", Line()
    with pytest.raises(KeyboardInterrupt):
        study.learn(task, batch, 0.8, 0.05, path)
    kept = torch.load(tmp_path / "line.part", weights_only=True)
    assert not path.exists() and kept["steps"] == 30 and 0 < kept["seconds"] < 0.8
    assert torch.equal(kept["weights"]["weight"], task.weight)
    again = Line()
    told = study.learn(again, batch, 0.8, 0.05, path)
    assert told["steps"] == sum(seen) > 30 and told["seconds"] == pytest.approx(0.8, abs=0.4)
    assert not (tmp_path / "line.part").exists()
    final = Line()
    assert study.learn(final, batch, 0.8, 0.05, path) == told and told["steps"] == sum(seen)
    assert torch.equal(final.weight, again.weight)


def test_the_table_has_every_number_under_its_head(study: ModuleType) -> None:
    torch.manual_seed(0)
    tables: dict[str, dict[str, Tensor]] = {}
    for size in (1.0, 7.0):  # cases of unlike error: a mean of roots would say 4 where the root of the mean says 5
        truth = size * torch.randn(3, 50, 1)
        samples = truth + size * torch.randn(4, 3, 50, 1)
        tables[str(size)] = forecast_errors(samples, truth, truth[:1], scale=torch.ones(1), decoded=truth)
    curves = forecast_scores(tables).curves
    squares = torch.stack([table["skill"].square() for table in tables.values()]).mean(0).sqrt()
    torch.testing.assert_close(curves["skill"], squares)
    row: dict[str, Any] = {
        "relative_l2 first": 0.1, "relative_l2 trained": 0.2, "relative_l2 end": 0.3,
        "crps trained": 0.4, "crps end": 0.5,
        "spread_skill trained": 0.6, "spread_skill end": 0.7, "expected_skill": 0.8, "coverage_90": 0.9,
        "bands": [1.0, 1.1, 1.2], "training steps": 1300, "training seconds": 240.2, "forecast seconds": 1.5,
    }  # fmt: skip
    head, _, line, bare = study.table(["a", "b"], {"a": row, "b": {"relative_l2 first": 0.1}}).splitlines()
    pairs = dict(zip(head.strip("| ").split(" | "), line.strip("| ").split(" | "), strict=True))
    assert (pairs["L2 twice"], pairs["CRPS trained"], pairs["steps"], pairs["training, s"]) == (
        "0.300", "0.400", "1300", "240.2",
    )  # fmt: skip
    assert (pairs["in 90 %"], pairs["middle band"], pairs["forecast, s"]) == ("0.900", "1.100", "1.500")
    assert bare.count(" - ") == len(study.HEADS) - 2
    both = study.over_seeds([{"a": row, "minutes": 3}, {"a": row | {"relative_l2 end": 0.5}, "minutes": 3}])
    assert "| 0.400 (0.300 to 0.500) |" in both
