"""Every run file parses, names a dataset and a model that exist, and its model can be built."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from meshops.cli.train import parse, recipes
from meshops.data.features import FeatureSpec
from meshops.datasets import names
from meshops.models import create_model, list_models
from meshops.training.config import RunConfig

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


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_run_file_can_be_used(path: Path) -> None:
    config = parse([str(path)])
    assert config.data.name in names()
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
            assert parsed == values
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
