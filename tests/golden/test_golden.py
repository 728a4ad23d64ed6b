"""Frozen numbers of short runs of every kind: losses, weights and errors, resumed and staged runs among them.

They were taken before the upper half of the library got one spine, and guard it: what is learnt must not change when
code moves. ``MESHOPS_GOLDEN=write pytest tests/golden`` freezes anew (say why in the commit); ``MESHOPS_GOLDEN=exact``
asks for the same bits, which holds on one machine only; else rounding of other CPUs is allowed for.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from meshops.cli.train import parse, parse_stages
from meshops.datasets import AhmedML, Eagle
from meshops.datasets.mesh_files import MeshFiles
from meshops.datasets.the_well.files import write_well
from meshops.solvers.registry import generate
from meshops.training import RunConfig, RunResult, train, train_stages

pytest.importorskip("skfem", reason="the generators need scikit-fem")
FILE = Path(__file__).with_name("golden.json")
MODE = os.environ.get("MESHOPS_GOLDEN", "")
SHORT = ["--train.steps", "20", "--train.val_every", "10", "--train.accelerator", "cpu", "--train.threads", "1"]
GRAPH = ["--kind", "fields", "--data.name", "mesh_files", "--data.options", '{"inputs": "coefficient"}',
         "--train.batch_size", "2"]  # fmt: skip
GRID = ["--kind", "rollout", "--data.name", "the_well", "--task.steps", "4", "--train.batch_size", "4"]
MESH = ["--kind", "rollout", "--data.name", "eagle", "--task.steps", "6", "--train.batch_size", "1"]
SMALL_ECHO = '{"name": "echoautoencoder", "cells": 8, "channels": 8, "latent_channels": 3, ' \
             '"layers": ["res", "space", "time", "res"]}'  # fmt: skip

RUNS: dict[str, tuple[str, list[str]]] = {
    "fields_mppde": ("darcy", [*GRAPH, "--model", '{"name": "mppde", "channels": 16, "depth": 2}']),
    "fields_amq": (
        "darcy",
        [*GRAPH, "--model", '{"name": "amq", "arguments": {"channels": 64, "depth": 1}, "bits": [4, 8], "budget": 5, '
         '"warmup": 4, "explore": 4}', "--train.validation", "1"],
    ),
    "grid_unet": (
        "vorticity",
        [*GRID, "--model", '{"name": "unet", "channels": 8, "depth": 1}', "--task.history", "2", "--task.loss", "nmse",
         "--task.residual", "true", "--train.validation", "1"],
    ),
    "grid_iap": (
        "vorticity",
        [*GRID, "--model", '{"name": "iap", "channels": 16, "depth": 1, "num_heads": 2, "budget": 32}'],
    ),
    "mesh_graphvit": (
        "eagle",
        [*MESH, "--model", '{"name": "graphvit", "channels": 16, "tokens": 16, "depth": 1, '
         '"attention_depth": 1, "num_heads": 2, "cluster_size": 20}', "--task.horizon", "2", "--train.validation", "1"],
    ),
    "mesh_pushforward": (
        "eagle",
        [*MESH, "--model", '{"name": "mppde", "channels": 16, "depth": 1}', "--task.horizon", "3",
         "--task.pushforward", "2"],
    ),
    "bodies_mspt": (
        "ahmed",
        ["--kind", "fields", "--data.name", "ahmed_ml", "--data.options",
         '{"split_method": {"train": [1, 2, 3, 4], "test": [5]}}', "--model",
         '{"name": "mspt", "channels": 16, "depth": 1, "num_heads": 2, "num_patches": 8, "dropout": 0.1}',
         "--task.nodes", "256", "--task.mesh_cues", "true", "--task.max_sources", "256", "--task.loss",
         '["relative_l2", "relative_l2_centered"]', "--task.radii", "[0.2]", "--train.validation", "1"],
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Data from solvers: random media on meshes, vorticity on a grid, flow over ground on moving meshes."""
    root = tmp_path_factory.mktemp("data")
    flows = [generate("vorticity", s, resolution=16, frames=12, t_end=2.0, viscosity=1e-3 * (1 + s)) for s in range(4)]
    write_well({"train": flows[:3], "valid": [], "test": flows[3:]}, root / "vorticity", name="vorticity")
    return {
        "darcy": MeshFiles.standin(root / "darcy", num=5),
        "vorticity": root / "vorticity",
        "eagle": Eagle.standin(root / "eagle", num=4),
        "ahmed": AhmedML.standin(root / "ahmed", num=5),
    }


def losses(folder: Path) -> list[float]:
    """Training losses of the log."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line["train/loss"] for line in lines if "train/loss" in line]


def summary(result: RunResult) -> dict[str, Any]:
    """What is frozen of a run."""
    state = result.surrogate.task.state_dict()
    floats = [value.double() for value in state.values() if value.is_floating_point()]
    return {
        "losses": losses(result.folder),
        "weights": float(torch.stack([value.abs().sum() for value in floats]).sum()),
        "errors": flat(json.loads((result.folder / "metrics.json").read_text())),
    }


def flat(values: Any, prefix: str = "") -> dict[str, float]:
    """All numbers of nested values by their path, but times."""
    pairs = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    out: dict[str, float] = {}
    for key, value in pairs:
        if isinstance(value, bool) or "seconds" in str(key):
            continue
        if isinstance(value, (int, float)):
            out[f"{prefix}{key}"] = float(value)
        else:
            out |= flat(value, f"{prefix}{key}/")
    return out


def check(name: str, found: dict[str, Any]) -> None:
    """Compare with what is frozen, or freeze it."""
    frozen = json.loads(FILE.read_text()) if FILE.is_file() else {}
    if MODE == "write":
        FILE.write_text(json.dumps(frozen | {name: found}, indent=1, sort_keys=True) + "\n")
        return
    wanted = frozen[name]
    if MODE == "exact":
        assert found == wanted
    # A rounding to few bits that flips is not small, and processors add up in different orders: parts in a hundred.
    loose = 10 if name.endswith("amq") else 1
    tolerance: dict[str, float] = {"rel": 2e-3 * loose, "abs": 1e-6}
    assert found["losses"] == pytest.approx(wanted["losses"], **tolerance)
    assert found["weights"] == pytest.approx(wanted["weights"], **tolerance)
    assert found["errors"] == pytest.approx(wanted["errors"], rel=1e-2 * loose, abs=1e-5)


def settings(name: str, root: Path, out: Path) -> RunConfig:
    return parse([*RUNS[name][1], *SHORT, "--data.root", str(root), "--out", str(out)])


@pytest.mark.parametrize("name", RUNS)
def test_a_run_gives_the_frozen_numbers(name: str, roots: dict[str, Path], tmp_path: Path) -> None:
    check(name, summary(train(settings(name, roots[RUNS[name][0]], tmp_path / "run"))))


@pytest.mark.parametrize("name", ["fields_mppde", "grid_unet", "mesh_graphvit", "bodies_mspt"])
def test_a_resumed_run_gives_them_too(
    name: str, roots: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if MODE == "write":
        pytest.skip("frozen by the run that is not interrupted")
    from meshops.training.module import TaskModule

    config = settings(name, roots[RUNS[name][0]], tmp_path / "run")
    original = TaskModule.training_step

    def interrupted(self: Any, batch: Any, number: int) -> Any:
        if self.global_step == 13:
            raise KeyboardInterrupt
        return original(self, batch, number)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(TaskModule, "training_step", interrupted)
        train(config)
    check(name, summary(train(config, resume=True)))


def test_stages_give_the_frozen_numbers(roots: dict[str, Path], tmp_path: Path) -> None:
    """An auto-encoder, refined on single frames, and a generator of its latents that is calibrated."""
    data = f"data: {{name: the_well, root: '{roots['vorticity']}'}}\n"
    common = "train: {steps: 10, batch_size: 2, lr: 1.0e-3, accelerator: cpu, threads: 1, validation: 1}\n"
    fields = "fields: [vorticity], frames: 5"
    files = {
        "first": f"kind: autoencode\n{data}{common}model: {SMALL_ECHO}\ntask: {{{fields}}}\n",
        "refine": f"kind: autoencode\n{data}{common}model: {SMALL_ECHO}\ntask: {{{fields}, refine: true}}\n",
        "last": f"kind: generate\n{data}{common}"
        "model: {name: echogenerator, channels: 16, depth: 1, num_heads: 2}\ntask: {samples: 3, steps: 4}\n",
        "all": "kind: stages\nstages: [first.yaml, refine.yaml, last.yaml]\n",
    }
    for name, text in files.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    config, stages = parse_stages([str(tmp_path / "all.yaml"), "--out", str(tmp_path / "runs")])
    seen: dict[str, Any] = {}

    def one(settings: Any, **options: Any) -> Any:
        result = train(settings, **options)
        seen[Path(settings.out).name] = summary(result)
        return result

    train_stages(stages, out=config.out, one=one)
    for name, found in seen.items():
        check(f"stages_{name}", found)
