"""Every run file parses, names a dataset and a model that exist, and its model can be built."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from meshops.training.generative import named
from meshops.training.graphs import build as build_on_graphs
from meshops.training.rollout import build

from meshops.aero.features import FeatureSpec
from meshops.cli.train import parse, parse_stages, recipes
from meshops.datasets import names
from meshops.datasets.cfdbench.dataset import CONSTANTS
from meshops.datasets.registry import MESH_TRAJECTORIES, TRAJECTORIES
from meshops.models import create_model, list_models
from meshops.tasks.autoencode import AutoencodeSpec
from meshops.tasks.generate import GenerateSpec
from meshops.tasks.rollout import RolloutSpec
from meshops.training.config import (
    AutoencodeRunConfig,
    FieldsRunConfig,
    GenerateRunConfig,
    MeshRolloutRunConfig,
    RolloutRunConfig,
    RunConfig,
    StagesRunConfig,
)
from meshops.training.optim import schedule

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted([*ROOT.glob("models/*/*.yaml"), *ROOT.glob("meshops/recipes/*.yaml")])


def features(config: RunConfig) -> int:
    spec = FeatureSpec(
        radii=config.task.radii, potential_flow=config.task.potential_flow, max_sources=config.task.max_sources
    )
    return len(spec.names("surface"))


def test_there_are_run_files() -> None:
    found = {str(path.relative_to(ROOT)) for path in FILES}
    assert {"models/mspt/ahmed.yaml", "models/mspt/shapenet_car.yaml", "meshops/recipes/demo.yaml"} <= found


def of_kind(kind: str) -> list[Path]:
    """Run files that name a kind; steady ones do not."""
    kinds = {path: yaml.safe_load(path.read_text(encoding="utf-8")).get("kind", "steady") for path in FILES}
    return [path for path in FILES if kinds[path] == kind]


STEADY, ROLLOUT = of_kind("steady"), of_kind("rollout")
GRAPHS = [*of_kind("fields"), *of_kind("mesh_rollout")]


@pytest.mark.parametrize("path", GRAPHS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_run_file_of_graphs_can_be_used(path: Path) -> None:
    config = parse([str(path)])
    assert isinstance(config, FieldsRunConfig | MeshRolloutRunConfig)
    assert config.data.name in (names() if isinstance(config, FieldsRunConfig) else MESH_TRAJECTORIES)
    given = dict(config.model)
    assert given.pop("name") in list_models()
    sizes = {"in_channels": 13, "out_channels": 4, "pos_dim": 2}
    model, _ = build_on_graphs(config.model, sizes)
    assert sum(p.numel() for p in model.parameters()) > 10_000
    assert given.get("warmup", 0) + given.get("explore", 0) < config.train.steps


@pytest.mark.parametrize("path", of_kind("stages"), ids=lambda path: str(path.relative_to(ROOT)))
def test_stages_fit_each_other(path: Path) -> None:
    """A trajectory goes through the auto-encoder of the first stage, its latent through the generator of the last."""
    config, stages = parse_stages([str(path)])
    first, *middle, last = [stage for _, stage in stages]
    assert isinstance(config, StagesRunConfig) and isinstance(first, AutoencodeRunConfig)
    assert isinstance(last, GenerateRunConfig)
    for number, (name, stage) in enumerate(stages, start=1):
        assert stage.data.name in {*TRAJECTORIES, *MESH_TRAJECTORIES}
        assert stage.out == f"{config.out}/{number}_{name}"
    spec = AutoencodeSpec(
        fields=("u",), sizes=(1,), units=("",), low=(0, 0), high=(1, 1), periodic=(True, True),
        frames=first.task.frames,
    )  # fmt: skip
    name, arguments = named(first.model, spec.model_arguments(), "")
    autoencoder = create_model(name, **arguments)
    latent = autoencoder.latent_shape(first.task.frames)  # type: ignore[operator]
    assert all(stage.task.frames == first.task.frames and stage.task.refine for stage in middle)
    made = GenerateSpec(latent=latent, time_factor=autoencoder.time_factor)  # type: ignore[arg-type]
    name, arguments = named(last.model, made.model_arguments(), "")
    assert sum(p.numel() for p in create_model(name, **arguments).parameters()) > 10_000


@pytest.mark.parametrize("path", ROLLOUT, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_run_file_of_trajectories_can_be_used(path: Path) -> None:
    config = parse([str(path)])
    assert isinstance(config, RolloutRunConfig) and config.data.name in TRAJECTORIES
    constants = CONSTANTS if config.data.name == "cfdbench" else ()
    channels = {"cfdbench": ("u", "v"), "navier_stokes": ("vorticity",)}.get(
        config.data.name, ("density", "pressure", "velocity_x", "velocity_y")
    )
    velocity = (len(channels) - 2, len(channels) - 1) if len(channels) > 1 else ()
    spec = RolloutSpec(
        channels=channels, constants=constants, velocity=velocity, spacing=(1.0, 1.0),
        periodic=(False, False), history=config.task.history,
    )  # fmt: skip
    model, arguments = build(config.model, spec)
    assert sum(p.numel() for p in model.parameters()) > 10_000
    assert arguments["in_channels"] == spec.in_channels
    if "mask_channel" in arguments:
        assert arguments["mask_channel"] == config.task.history * len(channels) + constants.index("fluid")
    schedule(config.train.schedule, steps=config.train.steps, warmup=config.train.warmup)


@pytest.mark.parametrize("path", STEADY, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_run_file_can_be_used(path: Path) -> None:
    config = parse([str(path)])
    assert isinstance(config, RunConfig) and config.data.name in names()
    arguments = dict(config.model)
    assert arguments.pop("name") in list_models()
    model = create_model(config.model["name"], **arguments, in_channels=features(config), out_channels=4)
    assert sum(p.numel() for p in model.parameters()) > 10_000
    assert 0 < config.train.warmup < 1
    assert len(config.task.loss) in (1, len(config.task.fields or config.task.loss))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_run_file_says_what_it_is_and_writes_to_runs(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# "), "a run file opens with a comment that says what it is"
    assert parse([str(path)]).out.startswith("runs/")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_setting_of_a_run_file_arrives(path: Path) -> None:
    config = parse([str(path)])
    for group, values in yaml.safe_load(path.read_text(encoding="utf-8")).items():
        parsed = getattr(config, group)
        if not isinstance(values, dict):
            assert (list(parsed) if isinstance(parsed, tuple) else parsed) == values
            continue
        for key, value in values.items():
            got = parsed[key] if isinstance(parsed, dict) else getattr(parsed, key)
            assert (list(got) if isinstance(got, tuple) else got) == value, f"{group}.{key}"


def test_an_option_changes_a_setting_of_the_file() -> None:
    config = parse([str(ROOT / "models" / "mspt" / "ahmed.yaml"), "--train.steps", "7"])
    assert config.train.steps == 7
    assert config.train.optimizer == "lion"


def test_shipped_recipes_are_known_by_name() -> None:
    assert set(recipes()) == {path.stem for path in FILES if path.parent.name == "recipes"}
    assert parse(["demo"]).data.name == "ahmed_mini"
