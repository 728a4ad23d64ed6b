"""Checkpoints of strangers, damaged ones, devices that are not there, names that would leave the folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvista as pv
import torch
from torch_geometric.data import Data

import meshops
from meshops.cli.main import main
from meshops.errors import CheckpointError, InputError
from meshops.surrogate.outputs import write_prediction
from meshops.training import RunConfig, TrainConfig, train
from meshops.viz.case import file_part

MODEL = {"name": "mspt", "channels": 8, "depth": 1, "num_heads": 1, "num_patches": 2}
ESCAPED = "/../../escaped"


def run(out: Path, name: str = "p") -> Path:
    g = torch.Generator().manual_seed(0)
    data = [
        Data(pos=torch.rand(20, 2, generator=g), y=torch.rand(20, 1, generator=g), y_names=(name,), y_sizes=(1,))
        for _ in range(2)
    ]
    settings = TrainConfig(steps=1, batch_size=1, accelerator="cpu", threads=1)
    train(RunConfig(out=str(out), model=MODEL, train=settings), data=data)
    return out / "model.ckpt"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("run") / "run")


@pytest.fixture
def mesh(tmp_path: Path) -> Path:
    grid = pv.ImageData(dimensions=(5, 5, 1), spacing=(0.2, 0.2, 1)).cast_to_unstructured_grid()
    grid.save(tmp_path / "plain.vtu")
    return tmp_path / "plain.vtu"


def without(*keys: str) -> Callable[[dict[str, Any]], object]:
    def change(content: dict[str, Any]) -> None:
        for key in keys[:-1]:
            content = content[key]
        del content[keys[-1]]

    return change


def put(value: Any, *keys: str) -> Callable[[dict[str, Any]], object]:
    def change(content: dict[str, Any]) -> None:
        for key in keys[:-1]:
            content = content[key]
        content[keys[-1]] = value

    return change


KEYS = ("kind", "model", "spec", "asked", "memory", "weights", "parts", "info", "novelty", "version")
DAMAGE = {
    **{f"no {key}": without(key) for key in KEYS},
    **{f"{key} is 7": put(7, key) for key in KEYS if key != "version"},
    **{f"{key} is empty": put({}, key) for key in ("model", "spec", "weights", "memory")},
    "version is text": put("two", "version"), "newer": put(99, "version"),
    "no name of the model": without("model", "name"), "no such model": put("nothing", "model", "name"),
    "no such argument": put(1, "model", "arguments", "colour"),
    "other width": put(16, "model", "arguments", "channels"),
    "absurd argument": put(-3, "model", "arguments", "depth"),
    "text for a number": put("x", "model", "arguments", "depth"),
    "no such kind": put("dreams", "kind"), "another kind": put("generate", "kind"),
    "no fields": put((), "spec", "fields"), "fields is 3": put(3, "spec", "fields"), "no flow": without("spec", "flow"),
    "an unknown flow": put({"wind": 3}, "spec", "flow"), "a speed of 0": put(0.0, "spec", "flow", "speed"),
    "a word as dim": put("two", "spec", "dim"), "one weight less": without("weights", "position"),
    "weights as text": put("heavy", "weights", "position"), "novelty of nothing": put({}, "novelty"),
    "info of text": put("mine", "info"), "asked of text": put("all", "asked"),
    "a part of nothing": put({"a": {}}, "parts"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_content_is_one_sentence(name: str, checkpoint: Path, mesh: Path, tmp_path: Path, capsys: Any) -> None:
    content = torch.load(checkpoint, weights_only=True)
    DAMAGE[name](content)
    bad = tmp_path / "bad.ckpt"
    torch.save(content, bad)
    with pytest.raises(CheckpointError, match=r"bad\.ckpt: ") as caught:
        meshops.load(bad)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 700
    out = tmp_path / "out"
    assert main(["predict", str(bad), str(mesh), "--out", str(out), "--no-pictures"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("meshops predict: ") and err.count("\n") == 1 and not out.exists()


def test_weights_that_are_not_numbers_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    content = torch.load(checkpoint, weights_only=True)
    next(value for value in content["weights"].values() if value.dim() == 2).fill_(torch.nan)
    torch.save(content, tmp_path / "nan.ckpt")
    with pytest.raises(CheckpointError, match=r"nan\.ckpt: holds weights that are NaN or infinite; train again"):
        meshops.load(tmp_path / "nan.ckpt")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_a_gpu_that_is_not_there(device: str, checkpoint: Path, mesh: Path, tmp_path: Path, capsys: Any) -> None:
    with pytest.raises(InputError, match="no GPU that PyTorch can use; use --device cpu"):
        meshops.load(checkpoint, device=device)
    for command in (
        ["predict", str(checkpoint), str(mesh), "--out", str(tmp_path / "out")],
        ["evaluate", str(checkpoint), "--data", "ahmed_mini"],
    ):
        assert main([*command, "--device", device]) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1 and "no GPU that PyTorch can use" in err


@pytest.mark.parametrize("device", ["gpu", "tpu", "", "cuda:x"])
def test_devices_that_do_not_exist(device: str, checkpoint: Path) -> None:
    with pytest.raises(InputError, match=f"device must be cpu, cuda or cuda:NUMBER, got '{device}'"):
        meshops.load(checkpoint, device=device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_training_on_a_gpu_that_is_not_there(tmp_path: Path, capsys: Any) -> None:
    command = ["train", "demo", "--out", str(tmp_path / "out"), "--train.accelerator", "cuda"]
    assert main(command) == 2
    err = capsys.readouterr().err
    assert (
        err.splitlines()[-1].startswith("meshops train: train.accelerator 'cuda': this machine has no") and "cpu" in err
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("p", "p"), ("U mean (x)", "U mean (x)"), (ESCAPED, "_.._.._escaped"), ("..", "field"), (".", "field"),
        ("", "field"), ("a/b", "a_b"), ("a\\b", "a_b"), ("a\0b", "a_b"), (".hidden", "hidden"), ("p\n", "p_"),
        ("Druck", "Druck"),
    ],
)  # fmt: skip
def test_names_of_fields_as_parts_of_file_names(name: str, part: str) -> None:
    assert file_part(name) == part


def test_a_name_cannot_leave_the_folder(tmp_path: Path, capsys: Any) -> None:
    """A field with a path for a name, from a list of graphs through training to the pictures of a surface."""
    g = torch.Generator().manual_seed(0)
    ball = pv.Icosphere(nsub=1)
    points = torch.as_tensor(np.asarray(ball.points), dtype=torch.float32)
    data = [Data(pos=points, y=torch.rand(len(points), 1, generator=g), y_names=(ESCAPED,), y_sizes=(1,))] * 2
    settings = TrainConfig(steps=1, batch_size=1, accelerator="cpu", threads=1)
    surrogate = train(RunConfig(out=str(tmp_path / "run"), model=MODEL, train=settings), data=data).surrogate
    ball.save(tmp_path / "ball.vtp")
    before = {path for path in tmp_path.rglob("*")}
    out = tmp_path / "deep" / "down" / "out"
    out.mkdir(parents=True)
    written = write_prediction(surrogate.predict(tmp_path / "ball.vtp"), surrogate, out, "ball", report=True)
    made = {path for path in tmp_path.rglob("*")} - before - {out, *out.parents}
    assert made and all(path.parent == out for path in made)
    assert [path.name for path, _ in written.pictures] == ["ball__.._.._escaped.png"]
    assert not list(tmp_path.parent.glob("escaped*"))


# ---- undefined errors, from the command line


def zero_folder(folder: Path) -> Path:
    for split in ("train", "test"):
        (folder / split).mkdir(parents=True)
        for i in range(2):
            grid = pv.ImageData(dimensions=(5, 5, 1), spacing=(0.2, 0.2 + 0.01 * i, 1)).cast_to_unstructured_grid()
            x = np.asarray(grid.points)[:, 0]
            grid.point_data["T"] = (x if split == "train" else 0 * x).astype(np.float32)
            grid.save(folder / split / f"{split}_{i}.vtu")
    return folder


def test_a_test_field_that_is_zero_everywhere(tmp_path: Path, capsys: Any) -> None:
    root = zero_folder(tmp_path / "data")
    command = ["train", "--data.name", "mesh_files", "--data.root", str(root), "--model", json.dumps(MODEL), "--out",
               str(tmp_path / "run"), "--train.steps", "2", "--train.batch_size", "1"]  # fmt: skip
    assert main(command) == 0
    table = capsys.readouterr().out
    assert [row.split() for row in table.splitlines()[1:4]] == [["T"], ["surrogate", "–"], ["mean", "–"]]
    text = (tmp_path / "run" / "metrics.json").read_text()
    assert "NaN" not in text and "Infinity" not in text
    metrics = json.loads(text)
    assert metrics["mean"]["T_rel_l2"] is None and metrics["mean"]["T_mae"] > 0
    assert metrics["cases"]["test_0"]["T_rel_l2"] is None and metrics["baselines"]["mean"]["T_rel_l2"] is None
    checkpoint = str(tmp_path / "run" / "model.ckpt")
    assert main(["evaluate", checkpoint, "--data", str(root), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["mean"] == metrics["mean"]
    file = root / "test" / "test_0.vtu"
    assert main(["predict", checkpoint, str(file), "--out", str(tmp_path / "out"), "--report", "--json"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)[str(file)]["errors"]["T"]["rel_l2"] is None and "T MAE" in shown.err


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_truth_that_is_not_finite_is_a_note(
    bad: float, tmp_path: Path, checkpoint: Path, mesh: Path, capsys: Any
) -> None:
    grid = pv.read(mesh)
    grid.point_data["p"] = np.ones(grid.n_points, dtype=np.float32)
    grid.point_data["p"][3] = bad
    grid.save(tmp_path / "bad.vtu")
    assert main(["predict", str(checkpoint), str(tmp_path / "bad.vtu"), "--out", str(tmp_path / "o"), "--json"]) == 0
    shown = capsys.readouterr()
    numbers = json.loads(shown.out)[str(tmp_path / "bad.vtu")]
    assert any("'p' holds 1 NaN or infinite values" in note for note in numbers["notes"]) and "note: " in shown.err
    written = pv.read(tmp_path / "o" / "bad_predicted.vtu")
    error = np.delete(np.asarray(written["p_predicted"], dtype=np.float64), 3) - 1
    assert numbers["errors"]["p"]["mae"] == pytest.approx(np.abs(error).mean(), rel=1e-4)  # on the rest
    grid.point_data["p"][:] = bad
    grid.save(tmp_path / "none.vtu")
    assert main(["predict", str(checkpoint), str(tmp_path / "none.vtu"), "--out", str(tmp_path / "o"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[str(tmp_path / "none.vtu")]["errors"] == {}
