"""Cases that would fill the memory go into a store by themselves; runs and fits from it are those from the files."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console

from meshops.datasets import AhmedML
from meshops.datasets.folder.dataset import FolderCases
from meshops.datasets.store import StoredCases
from meshops.datasets.study import guess_study
from meshops.errors import InputError
from meshops.selection import FitConfig, fit_study
from meshops.tasks import FieldsSettings
from meshops.training import DataConfig, RunConfig, TrainConfig, storing, train
from meshops.training.storing import Need, need_of

pytest.importorskip("zarr", reason="the extra 'store' is not installed")
pytestmark = pytest.mark.filterwarnings("ignore::meshops.errors.DataWarning")  # few runs: not the published split
SPLIT = {"train": "1-3", "test": "4"}
TASK = FieldsSettings(nodes=64, radii=(0.1,), max_sources=128, passes=1)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return AhmedML.standin(tmp_path / "runs", num=4)


def config(runs: Path, out: Path, store: str = "auto") -> RunConfig:
    return RunConfig(
        out=str(out), task=TASK,
        data=DataConfig(name="ahmed_ml", root=str(runs), store=store, options={"split_method": SPLIT}),
        model={"name": "mspt", "channels": 16, "depth": 1, "num_heads": 2, "num_patches": 4},
        train=TrainConfig(steps=4, batch_size=2, threads=1),
    )  # fmt: skip


def screen() -> Console:
    return Console(file=io.StringIO(), width=400)


def said(console: Console) -> str:
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_the_estimate_is_what_models_see(runs: Path) -> None:
    cases = AhmedML(runs, "train")
    need = need_of(cases, TASK)
    from meshops.tasks import FieldsTask

    graphs = FieldsTask.samples(cases, TASK).graphs
    real = sum(v.numel() * v.element_size() for g in graphs for v in g.to_dict().values() if torch.is_tensor(v))
    assert need.bytes == pytest.approx(real, rel=0.2) and not need.large
    assert Need(4e9, 10e9).large and not Need(2e9, 10e9).large


def test_a_run_that_would_fill_the_memory_streams_and_learns_the_same(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = train(config(runs, tmp_path / "files", "off"))
    assert not (tmp_path / "stores").exists()
    monkeypatch.setattr(storing, "SHARE", 0.0)
    console = screen()
    first = train(config(runs, tmp_path / "first"), console=console)
    (root,) = (tmp_path / "stores").iterdir()
    assert f"are kept in {root} and streamed from there" in said(console)
    assert "store off prevents it" in said(console) and "4 written" in said(console)
    assert json.loads((tmp_path / "first" / "store.json").read_text())["store"] == str(root.resolve())
    monkeypatch.setattr(AhmedML, "read", lambda *_: pytest.fail("a raw file was read again"))
    again = screen()
    second = train(config(runs, tmp_path / "second"), console=again)
    assert "which an earlier run made" in said(again) and "4 kept" in said(again)
    assert "3 of 3 prepared cases were there already" in said(again)
    for other in (first, second):
        for key, value in plain.surrogate.task.state_dict().items():
            assert torch.equal(value, other.surrogate.task.state_dict()[key]), key
        assert other.report.mean == plain.report.mean and other.report.baselines == plain.report.baselines


def test_a_run_goes_on_from_the_store_it_began_with(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, store = config(runs, tmp_path / "run", str(tmp_path / "mine")), tmp_path / "mine"
    train(whole)
    assert len(StoredCases(store, "all")) == 4
    shutil.rmtree(runs)  # everything is in the store
    shutil.rmtree(store / "prepared")
    (tmp_path / "run" / "model.ckpt").unlink()
    (tmp_path / "run" / "metrics.json").unlink()
    done = train(replace(whole, data=replace(whole.data, store="off")), resume=True)
    assert done.report.mean
    shutil.rmtree(store)
    (tmp_path / "run" / "metrics.json").unlink()
    with pytest.raises(InputError, match="the store this run streams from is gone; start the run anew"):
        train(whole, resume=True)


def fitted_twice(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fit from the files and from a store that makes itself, and compare."""
    study, options = guess_study(data), {"minutes": 0.05, "networks": (), "test": 0.2}
    plain = fit_study(study, FitConfig(out=str(tmp_path / "a" / "fit"), store="off", **options))  # type: ignore[arg-type]
    assert not (tmp_path / "a" / "stores").exists()
    monkeypatch.setattr(storing, "SHARE", 0.0)
    console = screen()
    kept = fit_study(study, FitConfig(out=str(tmp_path / "b" / "fit"), **options), console=console)  # type: ignore[arg-type]
    assert "streamed from there" in said(console) and "6 written" in said(console)
    one, other = plain.surrogate, kept.surrogate
    for key, value in one.task.state_dict().items():
        assert torch.equal(value, other.task.state_dict()[key]), key
    assert one.trust is not None and other.trust is not None
    assert one.trust.summary() == other.trust.summary()
    assert plain.report.mean == kept.report.mean and plain.report.baselines == kept.report.baselines


def test_a_fit_from_a_store_is_that_from_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fitted_twice(FolderCases.standin(tmp_path / "runs", num=6), tmp_path, monkeypatch)


@pytest.mark.slow
def test_a_fit_of_bodies_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fitted_twice(AhmedML.standin(tmp_path / "runs", num=6), tmp_path, monkeypatch)
