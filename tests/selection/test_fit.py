"""A fit from cases to its folder: the winner, its honesty, repeats, resuming, few cases, what is refused."""

from __future__ import annotations

import io
import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch_geometric.data import Data

import meshops
from meshops.errors import CheckpointError, InputError, Stopped
from meshops.selection import FitConfig, fit
from meshops.selection import networks as networks_module
from meshops.selection import search as search_module
from meshops.selection.curve import Curve
from tests.selection.test_reduced import cases


def study(count: int = 12, *, same: bool = True) -> list[Data]:
    graphs = cases(count, same=same)
    for i, graph in enumerate(graphs):
        graph.numbers = {"lift": 3 * graph.conditions["angle"] + 0.1, "noise": float(i * 5 % 7)}
    return graphs


def quick(out: Path, **changes: object) -> FitConfig:
    return FitConfig(**{"minutes": 0.2, "out": str(out), "networks": (), **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("same", [True, False])
def test_the_winner_is_an_ordinary_checkpoint(tmp_path: Path, same: bool) -> None:
    result = fit(study(same=same), quick(tmp_path))
    assert len(result.split.test) == 2
    loaded = meshops.load(tmp_path / "model.ckpt")
    graph = study(same=same)[result.split.test[0]]
    prediction = loaded.predict(graph)
    row = result.report.cases[str(graph.name)]
    assert prediction.errors["a"]["rel_l2"] == pytest.approx(row["a_rel_l2"], rel=1e-4)
    assert prediction.numbers["lift"].value == pytest.approx(graph.numbers["lift"], abs=0.05)
    limit = 0.02 if same else 0.25
    assert row["a_rel_l2"] is not None and row["a_rel_l2"] < limit
    for name in ("model.ckpt", "metrics.json", "report.html", "fit.yaml"):
        assert (tmp_path / name).is_file()


def test_the_winner_is_no_worse_than_yardsticks_and_says_how_it_was_chosen(tmp_path: Path) -> None:
    result = fit(study(), quick(tmp_path))
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    for name in ("average", "nearest"):
        assert metrics["mean"]["a_rel_l2"] <= metrics["baselines"][name]["a_rel_l2"]
    candidates = metrics["cross_validation"]["candidates"]
    assert metrics["cross_validation"]["error"] <= min(c["error"] for c in candidates.values())
    assert set(metrics["chosen"]) <= set(candidates)
    weights = metrics["numbers"]["lift"]["weights"]
    assert sum(weights.values()) == pytest.approx(1) and weights["ridge"] > 0.9
    assert result.curve.cases[0] < result.curve.cases[-1]


def test_the_same_cases_and_seed_give_the_same_surrogate(tmp_path: Path) -> None:
    first = fit(study(), quick(tmp_path / "1"))
    second = fit(study(), quick(tmp_path / "2"))
    states = [result.surrogate.task.state_dict() for result in (first, second)]
    assert list(states[0]) == list(states[1])
    for key, value in states[0].items():
        assert torch.equal(value, states[1][key]), key
    assert fit(study(), quick(tmp_path / "3", seed=5)).split != first.split


def test_outer_cases_do_not_change_what_is_learnt(tmp_path: Path) -> None:
    """The judges may be nonsense: the surrogate stays the same, only its judgement changes."""
    sound, broken = study(), study()
    broken[3].y = broken[3].y * -50
    config = {"test": ("case_3", "case_7")}
    one, two = fit(sound, quick(tmp_path / "1", **config)), fit(broken, quick(tmp_path / "2", **config))
    for key, value in one.surrogate.task.state_dict().items():
        assert torch.equal(value, two.surrogate.task.state_dict()[key]), key
    assert float(two.report.mean["a_rel_l2"] or 0) > 10 * float(one.report.mean["a_rel_l2"] or 0)


def test_few_cases_are_compared_with_yardsticks_only(tmp_path: Path) -> None:
    result = fit(study(3), quick(tmp_path, networks=None))
    assert {c.name for c in result.found.candidates} <= {"constant", "average", "nearest"}
    assert any("3 cases are too few to choose a model by" in note for note in result.notes)
    assert result.split.test == ()


def test_a_network_is_trained_fold_by_fold_and_its_members_are_the_surrogate(tmp_path: Path) -> None:
    config = quick(tmp_path, networks=("mspt",), minutes=0.5)
    result = fit(study(8, same=False), config)
    network = next(c for c in result.found.candidates if c.name == "mspt")
    assert len(network.members) == len(result.split.folds)
    assert (tmp_path / "work" / "mspt-1" / "member.pt").is_file()


def test_ctrl_c_leaves_the_best_so_far_and_the_same_fit_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = quick(tmp_path / "a", networks=("mspt",), minutes=0.5)
    whole = fit(study(8, same=False), quick(tmp_path / "b", networks=("mspt",), minutes=0.5))
    original, calls = networks_module.train_member, []

    def interrupted(*args: object, **options: object) -> object:
        calls.append(args)
        if len(calls) == 3:
            raise Stopped(2, 7, tmp_path)
        return original(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("meshops.selection.search.train_member", interrupted)
    with pytest.raises(Stopped, match=r"the best so far is .*model\.ckpt; go on with the same command and --resume"):
        fit(study(8, same=False), config)
    meshops.load(tmp_path / "a" / "model.ckpt").predict(study(8, same=False)[0])
    monkeypatch.undo()
    resumed = fit(study(8, same=False), config, resume=True)
    for key, value in whole.surrogate.task.state_dict().items():
        assert torch.equal(value, resumed.surrogate.task.state_dict()[key]), key


def test_a_finished_fit_is_not_overwritten_unasked(tmp_path: Path) -> None:
    fit(study(), quick(tmp_path))
    before = (tmp_path / "model.ckpt").read_bytes()
    with pytest.raises(InputError, match="holds a fit already"):
        fit(study(), quick(tmp_path))
    assert (tmp_path / "model.ckpt").read_bytes() == before
    with pytest.raises(InputError, match="this one has another seed"):
        fit(study(), quick(tmp_path, seed=1), resume=True)
    with pytest.raises(InputError, match="this one has other cases"):
        fit(study(11), quick(tmp_path), resume=True)
    fit(study(), quick(tmp_path), overwrite=True)


def test_there_must_be_something_to_resume(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nothing to resume, fit\.yaml is missing"):
        fit(study(), quick(tmp_path / "none"), resume=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"minutes": 0}, "minutes must be positive"),
        ({"test": ("case_99",)}, "no case 'case_99' to test on"),
        ({"numbers": ("weight",)}, "not every case has the number 'weight'; all have 'lift', 'noise'"),
        ({"fields": ("pressure",)}, "no field 'pressure'"),
        ({"networks": ("mspt", "nosuch")}, "unknown model 'nosuch'"),
        ({"networks": ("mspt", "unet")}, "model 'unet' takes grid, and these data give"),
    ],
)
def test_what_cannot_be_fitted_is_refused(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    told = io.StringIO()
    with pytest.raises(InputError, match=message):
        fit(study(), quick(tmp_path, **changes), console=Console(file=told))
    assert "held-out error" not in told.getvalue()  # before anything was compared


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_among_closed_forms_leaves_the_best_so_far(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    whole = search_module.cross_validated

    def stopped(*args: object, **options: object) -> Iterator[object]:
        for count, pair in enumerate(whole(*args, **options)):  # type: ignore[arg-type]
            yield pair
            if count == 3:
                signal.raise_signal(number)

    with monkeypatch.context() as patch:
        patch.setattr(search_module, "cross_validated", stopped)
        with pytest.raises(Stopped, match="--resume") as stop:
            fit(study(), quick(tmp_path))
    assert stop.value.signal == number
    assert meshops.load(tmp_path / "model.ckpt").predict(study()[0]).errors["a"]["rel_l2"] is not None
    result = fit(study(), quick(tmp_path), resume=True)
    assert len(result.found.candidates) > 3


def test_numbers_stand_beside_the_mean_of_what_was_learnt_from(tmp_path: Path) -> None:
    graphs = study()
    result = fit(graphs, quick(tmp_path))
    lifts = [float(graph.numbers["lift"]) for graph in graphs]
    mean = sum(lifts[i] for i in result.split.learn) / len(result.split.learn)
    expected = sum(abs(lifts[i] - mean) for i in result.split.test) / len(result.split.test)
    assert result.report.baselines["constant"]["lift_error"] == pytest.approx(expected, rel=1e-6)
    assert float(result.report.mean["lift_error"] or 0) < 0.2 * expected


def test_more_runs_are_not_said_to_take_all_of_the_error_away() -> None:
    sentence = Curve("x", (4, 8), (1.0, 1e-9), 30.0, (8, 1e-4), 1e-5).sentence()
    assert sentence == "10 more runs would bring the error from 1.00e-04 to about 1.00e-05 (90 % less or more)."
