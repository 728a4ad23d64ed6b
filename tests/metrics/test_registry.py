"""Metrics by name, and how a task is asked for them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch_geometric.data import Data

from meshops.errors import InputError
from meshops.metrics import field_errors, get_metric, list_metrics, register_metric, registry
from meshops.surrogate import load
from meshops.tasks import FieldsSettings
from meshops.training import RunConfig, TrainConfig, train


def test_names() -> None:
    assert list_metrics("field", "area") == ["mae", "max_error", "r2", "rel_l2", "rel_l2_area", "rmse"]
    assert list_metrics("grid") == ["band_errors", "nmse", "vrmse"]
    assert set(list_metrics()) >= {"crps", "rmsce", "missing_variance", "frechet_distance", "spearman", "relative_mse"}
    assert (get_metric("r2").better, get_metric("mae").unit, get_metric("rel_l2").unit) == ("higher", "field", "")


@pytest.mark.parametrize("name", list_metrics("field", "area"))
@pytest.mark.parametrize("shape", [(40,), (40, 3)])
def test_every_metric_of_a_field_knows_the_truth_from_others(name: str, shape: tuple[int, ...]) -> None:
    metric, truth, area = get_metric(name), torch.randn(shape), torch.rand(40)
    more = (area,) if metric.needs == "area" else ()
    best, near, far = (metric(truth + e * torch.randn(shape), truth, *more) for e in (0.0, 0.1, 1.0))
    assert all(isinstance(value, float) for value in (best, near, far))
    if metric.better == "higher":
        best, near, far = -best, -near, -far
    assert best < near < far


def test_units_scale_with_the_field() -> None:
    truth, prediction, area = torch.randn(30, 2), torch.randn(30, 2), torch.rand(30)
    one, thousand = (field_errors(s * prediction, s * truth, area, extra=list_metrics("field")) for s in (1, 1000))
    for name, value in one.items():
        assert value is not None
        assert thousand[name] == pytest.approx(value * (1000 if get_metric(name).unit == "field" else 1), rel=1e-5)


def test_further_metrics_by_hand() -> None:
    prediction, truth = torch.tensor([[3.0, 4.0], [0.0, 0.0]]), torch.zeros(2, 2)
    row = field_errors(prediction, truth, extra=["rmse", "max_error", "mae"])
    assert list(row) == ["rel_l2", "mae", "r2", "rmse", "max_error"]
    assert row == {"rel_l2": None, "mae": 2.5, "r2": None, "rmse": pytest.approx(12.5**0.5), "max_error": 5.0}


def test_refusals() -> None:
    with pytest.raises(InputError, match="unknown metric 'rmsee'; did you mean 'rmse'"):
        get_metric("rmsee")
    with pytest.raises(InputError, match="metric 'crps' is one of ensemble, not of a field; those are 'mae'"):
        FieldsSettings(metrics=("crps",))
    with pytest.raises(InputError, match="better of the metric 'x' must be one of 'lower', 'higher', got 'up'"):
        register_metric("x", better="up")  # type: ignore[arg-type]


def cloud(seed: int) -> Data:
    generator = torch.Generator().manual_seed(seed)
    pos = torch.rand(40, 2, generator=generator)
    return Data(pos=pos, x=pos[:, :1], y=torch.stack([pos.sum(1), pos.prod(1)], 1), y_names=("p", "t"))


def test_a_new_metric_is_one_function_and_the_task_is_asked_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_METRICS", dict(registry._METRICS))

    @register_metric("p95", unit="field")
    def p95(prediction: Tensor, truth: Tensor) -> float:
        return float((prediction - truth).abs().quantile(0.95))

    model = {"name": "mspt", "channels": 16, "depth": 1, "num_heads": 2, "num_patches": 4}
    result = train(
        RunConfig(
            out=str(tmp_path / "run"), model=model, task=FieldsSettings(metrics=("p95", "max_error")),
            train=TrainConfig(steps=2, batch_size=1, accelerator="cpu"),
        ),
        data=[cloud(i) for i in range(3)], test=[cloud(9)],
    )  # fmt: skip
    row = next(iter(result.report.cases.values()))
    for field in ("p", "t"):
        assert row[f"{field}_p95"] < row[f"{field}_max_error"]  # type: ignore[operator]
        assert result.report.mean[f"{field}_max_error"] == row[f"{field}_max_error"]
        assert f"{field}_p95" in result.report.baselines["mean"]
    again = load(tmp_path / "run" / "model.ckpt").evaluate([cloud(9)])
    assert again.mean == result.report.mean
