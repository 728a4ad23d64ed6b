"""Every run file parses, names a dataset and a model that exist, and its model can be built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from meshops.aero.conditions import FlowConditions
from meshops.cli.train import parse, parse_stages, recipe_path, recipes
from meshops.datasets import CaseDataset, MeshTrajectoryDataset, TrajectoryDataset, names
from meshops.datasets.cfdbench.dataset import CONSTANTS
from meshops.errors import InputError
from meshops.nn.optim import schedule
from meshops.tasks import FieldsSettings, FieldsSpec, RolloutSettings, get_task
from meshops.tasks.base import Plain
from meshops.tasks.build import build_model
from meshops.tasks.grid_channels import GridRolloutSpec
from meshops.tasks.mesh_states import MeshRolloutSpec
from meshops.tasks.segments import GenerateSpec
from meshops.tasks.windows import AutoencodeSettings, AutoencodeSpec
from meshops.training import RunConfig, StagesConfig

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted([*ROOT.glob("models/*/*.yaml"), *ROOT.glob("meshops/recipes/*.yaml")])
BODIES = ("ahmed_mini", "ahmed_ml", "shapenet_car")
OFFERS = {
    "bodies": {"points", "graph"}, "fields": {"points", "graph", "grid"}, "grid": {"points", "graph", "grid"},
    "mesh": {"points", "graph"}, "points of trajectories": {"autoencoder"}, "latents": {"latents"},
}  # fmt: skip


def of_kind(kind: str) -> list[Path]:
    """Run files of a kind; ``fields`` is what is meant where none is named."""
    kinds = {path: yaml.safe_load(path.read_text(encoding="utf-8")).get("kind", "fields") for path in FILES}
    return [path for path in FILES if kinds[path] == kind]


def label(path: Path) -> str:
    return str(path.relative_to(ROOT))


def built(config: RunConfig, known: dict[str, Plain], space: str) -> dict[str, Any]:
    """Arguments of the model of a run, after it was built with the sizes of the data."""
    model, made = build_model(config.model, known, frozenset(OFFERS[space]))
    assert sum(p.numel() for p in model.parameters()) > 10_000
    schedule(config.train.schedule, steps=config.train.steps, warmup=config.train.warmup)
    return dict(made.arguments)


def test_there_are_run_files() -> None:
    found = {label(path) for path in FILES}
    assert {"models/mspt/ahmed.yaml", "models/mspt/shapenet_car.yaml", "meshops/recipes/demo.yaml"} <= found
    assert sum(len(of_kind(kind)) for kind in ("fields", "rollout", "autoencode", "generate", "stages")) == len(FILES)


@pytest.mark.parametrize("path", of_kind("fields"), ids=label)
def test_a_run_file_of_fields_can_be_used(path: Path) -> None:
    config = parse([str(path)])
    assert config.kind == "fields" and config.data.name in names(CaseDataset)
    task = config.task
    assert isinstance(task, FieldsSettings)
    body = config.data.name in BODIES and task.geometry != "none"
    features = task.features(FlowConditions()) if body else None
    chosen = task.fields or tuple(f"field{i}" for i in range(max(len(task.loss), len(task.weights), 1)))
    spec = FieldsSpec(
        fields=chosen, sizes=(1,) * len(chosen), units=("",) * len(chosen), dim=3 if body else 2,
        domain="surface" if body else "graph", inputs=() if body else ("a",), features=features, loss=task.loss,
        weights=task.weights,
    )  # fmt: skip
    arguments = built(config, spec.model_arguments(), "bodies" if body else "fields")
    assert arguments["in_channels"] == len(spec.feature_names())
    given = dict(config.model)
    assert given.get("warmup", 0) + given.get("explore", 0) < config.train.steps
    assert 0 <= config.train.warmup < 1


@pytest.mark.parametrize("path", of_kind("rollout"), ids=label)
def test_a_run_file_of_trajectories_can_be_used(path: Path) -> None:
    config = parse([str(path)])
    task = config.task
    assert config.kind == "rollout" and isinstance(task, RolloutSettings)
    if config.data.name in names(MeshTrajectoryDataset):
        mesh = MeshRolloutSpec(fields=("velocity", "pressure"), sizes=(2, 1), units=("m/s", "Pa"))
        assert built(config, mesh.model_arguments(), "mesh")["in_channels"] > 3
        return
    assert config.data.name in names(TrajectoryDataset)
    constants = CONSTANTS if config.data.name == "cfdbench" else ()
    channels = {"cfdbench": ("u", "v"), "navier_stokes": ("vorticity",)}.get(
        config.data.name, ("density", "pressure", "velocity_x", "velocity_y")
    )
    velocity = (len(channels) - 2, len(channels) - 1) if len(channels) > 1 else ()
    spec = GridRolloutSpec(
        channels=channels, constants=constants, velocity=velocity, spacing=(1.0, 1.0),
        periodic=(False, False), history=task.history,
    )  # fmt: skip
    arguments = built(config, spec.model_arguments(), "grid")
    assert arguments["in_channels"] == spec.in_channels
    if "mask_channel" in arguments:
        assert arguments["mask_channel"] == task.history * len(channels) + constants.index("fluid")


@pytest.mark.parametrize("path", of_kind("stages"), ids=label)
def test_stages_fit_each_other(path: Path) -> None:
    """A trajectory goes through the auto-encoder of the first stage, its latent through the generator of the last."""
    config, stages = parse_stages([str(path)])
    first, *middle, last = [stage for _, stage in stages]
    assert isinstance(config, StagesConfig) and config.out.startswith("runs/")
    assert [stage.kind for stage in (first, *middle, last)] == ["autoencode", *["autoencode"] * len(middle), "generate"]
    for _, stage in stages:
        assert stage.data.name in {*names(TrajectoryDataset), *names(MeshTrajectoryDataset)}
        assert isinstance(stage.task, get_task(stage.kind).Settings)
    settings = first.task
    assert isinstance(settings, AutoencodeSettings)
    spec = AutoencodeSpec(
        fields=("u",), sizes=(1,), units=("",), low=(0, 0), high=(1, 1), periodic=(True, True),
        frames=settings.frames,
    )  # fmt: skip
    encoder: Any
    encoder, _ = build_model(first.model, spec.model_arguments(), frozenset(OFFERS["points of trajectories"]))
    latent = encoder.latent_shape(settings.frames)
    for stage in middle:
        assert isinstance(stage.task, AutoencodeSettings) and stage.task.refine
        assert stage.task.frames == settings.frames
    made = GenerateSpec(latent=latent, time_factor=encoder.time_factor)
    generator, _ = build_model(last.model, made.model_arguments(), frozenset(OFFERS["latents"]))
    assert sum(p.numel() for p in generator.parameters()) > 10_000


@pytest.mark.parametrize("path", FILES, ids=label)
def test_a_run_file_says_what_it_is_and_writes_to_runs(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# "), "a run file opens with a comment that says what it is"
    assert parsed(path).out.startswith("runs/")


@pytest.mark.parametrize("path", FILES, ids=label)
def test_every_setting_of_a_run_file_arrives(path: Path) -> None:
    config = parsed(path)
    for group, values in yaml.safe_load(path.read_text(encoding="utf-8")).items():
        found = getattr(config, group)
        if not isinstance(values, dict):
            assert (list(found) if isinstance(found, tuple) else found) == values
            continue
        for key, value in values.items():
            got = found[key] if isinstance(found, dict) else getattr(found, key)
            assert (list(got) if isinstance(got, tuple) else got) == value, f"{group}.{key}"


def parsed(path: Path) -> RunConfig | StagesConfig:
    return parse_stages([str(path)])[0] if path in of_kind("stages") else parse([str(path)])


def test_a_file_of_stages_is_no_run() -> None:
    with pytest.raises(InputError, match="kind 'stages' is a run file that names others"):
        parse(["--kind", "stages"])


def test_an_option_changes_a_setting_of_the_file() -> None:
    config = parse([str(ROOT / "models" / "mspt" / "ahmed.yaml"), "--train.steps", "7"])
    assert config.train.steps == 7
    assert config.train.optimizer == "lion"


def test_shipped_recipes_are_known_by_name() -> None:
    named = {path.stem if path.parent.name == "recipes" else f"{path.parent.name}/{path.stem}" for path in FILES}
    assert set(recipes()) == named


def test_a_recipe_of_the_repository_is_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("models/mspt/ahmed.yaml", "mspt/ahmed"):
        assert recipe_path(name).read_bytes() == (ROOT / "models" / "mspt" / "ahmed.yaml").read_bytes()
    with pytest.raises(InputError, match=r"no such file or recipe; did you mean 'mspt/ahmed'\?") as told:
        recipe_path("mspt/ahmet")
    assert "'mspt/darcy'" in str(told.value) and "gray_scott" not in str(told.value)  # those of the model it speaks of


def test_the_wheel_holds_the_run_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from setuptools import Distribution

    scope: dict[str, Any] = {"__name__": "setup"}
    source = (ROOT / "setup.py").read_text(encoding="utf-8").replace("setup(cmdclass", "found = dict(cmdclass")
    exec(compile(source, "setup.py", "exec"), scope)
    monkeypatch.chdir(ROOT)
    build = scope["WithRecipes"](Distribution({"packages": []}))
    build.build_lib = str(tmp_path)
    monkeypatch.setattr("setuptools.command.build_py.build_py.run", lambda self: None)
    build.run()
    there = {path.relative_to(tmp_path / "meshops" / "recipes") for path in tmp_path.rglob("*.yaml")}
    assert there == {path.relative_to(ROOT / "models") for path in ROOT.glob("models/*/*.yaml")}
    assert parse(["demo"]).data.name == "ahmed_mini"
