"""Every registered model runs in every task it claims: learns a little, is judged, and is the same after loading."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import pyvista as pv
import torch
from torch import Tensor
from torch_geometric.data import Data

from meshops import optional
from meshops.aero import FlowConditions
from meshops.data import MeshGraph, from_pyvista, grid_graph
from meshops.datasets import CaseDataset, base
from meshops.errors import InputError
from meshops.models import list_models, model_takes
from meshops.surrogate import load
from meshops.tasks import (
    AutoencodeSettings,
    FieldsSettings,
    GenerateSettings,
    Report,
    RolloutSettings,
    get_task,
    list_tasks,
    matrix_table,
    tasks_of,
)
from meshops.tasks.base import CaseSource
from meshops.tasks.matrix import GIVES
from meshops.training import RunConfig, TrainConfig, train

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "matrix.md"

# As small as each architecture goes; a new one needs a line only where its defaults are slow.
TINY: dict[str, dict[str, Any]] = {
    "amq": {"arguments": {"channels": 96, "depth": 1}, "bits": (4, 8), "budget": 5, "warmup": 1, "explore": 1},
    "amrmesh": {"channels": 12, "depth": 1, "num_heads": 2, "hidden": 12},
    "amrtransformer": {"channels": 16, "depth": 1, "hidden": 32, "max_size": 4, "velocity": [0, 1]},
    "echoautoencoder": {"cells": 8, "channels": 8, "latent_channels": 3, "layers": ["res", "space", "time", "res"]},
    "echogenerator": {"channels": 16, "depth": 1, "num_heads": 2},
    "fno": {"channels": 8, "depth": 1, "modes": 2},
    "gino": {"channels": 4, "cells": 4, "depth": 1},
    "graphvit": {"channels": 8, "tokens": 16, "depth": 1, "attention_depth": 1, "num_heads": 2, "cluster_size": 8},
    "iap": {"channels": 24, "depth": 1, "num_heads": 2, "budget": 16, "p_min": 1, "p_max": 4},
    "iapmesh": {"channels": 16, "depth": 1, "num_heads": 2, "budget": 8},
    "meshgraphnet": {"channels": 8, "depth": 1},
    "mppde": {"channels": 8, "depth": 1},
    "mspt": {"channels": 8, "depth": 1, "num_heads": 2, "num_patches": 4},
    "transformer": {"channels": 12, "depth": 1, "num_heads": 2},
    "transolver": {"channels": 8, "depth": 1, "num_heads": 2, "num_slices": 4},
    "unet": {"channels": 4, "depth": 1},
    "vit": {"channels": 16, "depth": 1, "num_heads": 2, "patch_size": 2},
}


class Bodies(CaseDataset):
    """Two or three ellipsoids in a flow, with a smooth pressure."""

    fields, units, flow, transform = ("p",), ("Pa",), FlowConditions(ground=None), None

    def __init__(self, count: int) -> None:
        self.cases = tuple(f"body_{i}" for i in range(count))
        self.cache = base.GraphCache()

    def read(self, index: int) -> MeshGraph:
        mesh = pv.Icosphere(radius=1.0, nsub=2)
        mesh.points = mesh.points * [1.0, 0.3 + 0.05 * index, 0.25]
        mesh.cell_data["p"] = 1 - 2 * mesh.cell_centers().points[:, 0] ** 2
        return from_pyvista(mesh, fields=self.fields, location="cell", label=self.cases[index], units=self.units)

    def files(self, index: int) -> dict[str, Path]:
        return {}

    @classmethod
    def standin(cls, root: str | Path, num: int = 4) -> Path:
        return Path(root)


def ring(seed: int, *, frames: int = 0) -> Data:
    """Points on a bumpy ring, with edges; ``frames`` of a field that fades and turns."""
    generator = torch.Generator().manual_seed(seed)
    angle = torch.arange(24) * 2 * math.pi / 24
    radius = 1 + 0.2 * torch.rand(24, generator=generator)
    around = torch.arange(24)
    edges = torch.cat([torch.stack([around, around.roll(k)]) for k in (1, -1)], 1)
    out = Data(pos=torch.stack([radius * angle.cos(), radius * angle.sin()], 1), edge_index=edges)
    if frames:
        out.y = torch.stack([(angle + t / 5 + seed).sin() * 0.9**t for t in range(frames)], 1).unsqueeze(2)
    else:
        out.x, out.y = radius.unsqueeze(1), torch.stack([radius * angle.sin(), radius.square()], 1)
    return out


def grid(seed: int, *, frames: int = 0) -> MeshGraph:
    """A vortex on 8 x 8 cells, as one case with inputs or as frames in which it fades and drifts."""
    x, y = torch.meshgrid(*[torch.arange(8) / 8 * 2 * math.pi] * 2, indexing="ij")

    def state(t: float) -> Tensor:
        return 0.9**t * torch.stack([(x + 0.3 * t + seed).sin() * y.cos(), -(x + seed).cos() * (y + 0.1 * t).sin()], 2)

    if frames:
        return grid_graph(torch.stack([state(t) for t in range(frames)], 2), periodic=(True, True), trailing=2)
    constants = torch.cat([state(0.0).movedim(2, 0), torch.ones(1, 8, 8)])
    return grid_graph(state(1.0), periodic=(True, True), constants=constants)


def waves(count: int) -> list[Data]:
    return [grid(i, frames=6) for i in range(count)]


def turning(count: int) -> list[Data]:
    return [ring(i, frames=5) for i in range(count)]


FIELDS = FieldsSettings(nodes=0, passes=1)
BODIES = FieldsSettings(nodes=128, passes=1, potential_flow=False, radii=(0.3,), max_sources=64)
CODES = AutoencodeSettings(frames=5, test_points=(1.0,))
CASES: dict[str, tuple[str, object, Callable[[int], CaseSource]]] = {
    "fields of bodies": ("fields", BODIES, Bodies),
    "fields on graphs": ("fields", FIELDS, lambda n: [ring(i) for i in range(n)]),
    "fields on grids": ("fields", FIELDS, lambda n: [grid(i) for i in range(n)]),
    "rollout on grids": ("rollout", RolloutSettings(steps=2), waves),
    "rollout on meshes": ("rollout", RolloutSettings(steps=2, horizon=2), turning),
    "autoencode": ("autoencode", CODES, waves),
    "generate": ("generate", GenerateSettings(start="autoencoder", samples=2, steps=4), waves),
}


def config(task: str, out: Path, model: str, settings: object) -> RunConfig:
    return RunConfig(
        kind=CASES[task][0], out=str(out), model={"name": model, **TINY.get(model, {})}, task=settings,
        train=TrainConfig(steps=2, batch_size=2, val_every=2, accelerator="cpu"),
    )  # fmt: skip


@pytest.fixture(scope="module")
def autoencoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("matrix")
    train(config("autoencode", out / "run", "echoautoencoder", CODES), data=waves(2))
    return str(out / "run" / "model.ckpt")


PAIRS = [(model, task) for model in list_models(published=False) for task in tasks_of(model)]


@pytest.mark.parametrize(("model", "task"), PAIRS)
def test_a_model_runs_where_it_claims_to(model: str, task: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if model == "fno" and not optional.available("neuralop"):
        pytest.skip("needs the package neuraloperator")
    settings, data = CASES[task][1:]
    if isinstance(settings, GenerateSettings):
        settings = GenerateSettings(start=request.getfixturevalue("autoencoder"), samples=2, steps=4)
    result = train(config(task, tmp_path / "run", model, settings), data=data(2))  # refuses a loss that is not finite
    report = result.surrogate.evaluate(data(1))
    assert isinstance(report, Report) and report.kind == CASES[task][0] and report.cases
    errors = report.numbers()
    assert errors and all(math.isfinite(value) for value in errors.values())
    again = load(tmp_path / "run" / "model.ckpt").evaluate(data(1))
    assert (again.mean, again.cases) == (report.mean, report.cases)


def test_every_architecture_has_a_task_and_every_kind_is_tried() -> None:
    assert set(TINY) <= set(list_models(published=False))
    fitted = {name for name in list_models() if model_takes(name) == {"case"}}  # by meshops fit, not by steps
    assert {name for name in list_models() if not tasks_of(name)} == fitted == {"blend", "components", "trees"}
    assert {kind for kind, _, _ in CASES.values()} == set(list_tasks())
    assert list(CASES) == list(GIVES)


@cache
def offered(task: str) -> frozenset[str]:
    kind, settings, data = CASES[task]
    return get_task(kind).samples(data(2), settings).offers


@pytest.mark.parametrize("task", [task for task in GIVES if task != "generate"])
def test_the_cases_of_a_task_give_what_the_table_says(task: str, tmp_path: Path) -> None:
    assert offered(task) == GIVES[task]
    other = next(name for name in list_models(published=False) if not model_takes(name) & GIVES[task])
    with pytest.raises(InputError, match=f"model '{other}' takes .*, and these data give .*; use one of"):
        train(config(task, tmp_path, other, CASES[task][1]), data=CASES[task][2](2))


def test_the_page_shows_the_table() -> None:
    assert matrix_table() in PAGE.read_text(encoding="utf-8")
