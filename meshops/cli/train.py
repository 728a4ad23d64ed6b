"""``meshops train RUN.yaml [--key value ...]``."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentError, ArgumentParser

from meshops.cli.options import console, print_json
from meshops.cli.tables import metrics_table, rollout_table
from meshops.errors import InputError
from meshops.training.config import (
    AutoencodeRunConfig,
    FieldsRunConfig,
    GenerateRunConfig,
    MeshRolloutRunConfig,
    RolloutRunConfig,
    RunConfig,
    StagesRunConfig,
)

KINDS: dict[str, Any] = {
    "steady": RunConfig,
    "rollout": RolloutRunConfig,
    "fields": FieldsRunConfig,
    "mesh_rollout": MeshRolloutRunConfig,
    "autoencode": AutoencodeRunConfig,
    "generate": GenerateRunConfig,
    "stages": StagesRunConfig,
}
TRAINERS = {  # Lightning takes seconds to import
    "steady": ("meshops.training.run", "train"),
    "rollout": ("meshops.training.rollout", "train_rollout"),
    "fields": ("meshops.training.graphs", "train_fields"),
    "mesh_rollout": ("meshops.training.graphs", "train_mesh_rollout"),
    "autoencode": ("meshops.training.generative", "train_autoencoder"),
    "generate": ("meshops.training.generative", "train_generator"),
}

USAGE = """usage: meshops train RUN.yaml [--key value ...] [--stage all|1|2|...] [--resume] [--json]

Train a surrogate and judge it on the test split of its dataset: of steady fields on bodies, or by
``kind:`` of trajectories on grids (rollout), fields on any graph (fields), trajectories on moving meshes
(mesh_rollout), compressed trajectories (autoencode), whole futures as ensembles (generate), or several
runs that build on each other (stages).

  RUN.yaml             settings of the run; models/<system>/<dataset>.yaml are ready to use, and so are
                       the names of shipped recipes: {recipes}
  --key value          change a setting, e.g. --train.steps 500 --model.depth 6 --out runs/mine
  --stage NAME         of a file of stages: all, or the number or name of one; a changed setting then
                       holds for every run that has it
  --resume             continue the run in --out exactly where it stopped; finished stages are kept
  --json               print metrics.json at the end

The run folder (--out) holds config.yaml, model.ckpt, metrics.json, checkpoints/ and logs/.
On several GPUs: torchrun --nproc-per-node 4 -m meshops train RUN.yaml, or --train.devices 4

settings and defaults:
"""


def run(argv: Sequence[str]) -> int:
    """Train."""
    arguments = list(argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        sys.stdout.write(USAGE.format(recipes=", ".join(sorted(recipes()))) + _settings_help())
        return 0
    resume, as_json = (_take(arguments, flag) for flag in ("--resume", "--json"))
    stage = _pop(arguments, "--stage")
    screen = console(quiet=False)
    result: Any
    if not arguments[0].startswith("--") and kind_of(recipe_path(arguments[0])) == "stages":
        from meshops.training.stages import train_stages

        config, stages = parse_stages(arguments)
        result = train_stages(stages, train, out=config.out, stage=stage or "all", resume=resume, console=screen)
    else:
        config = parse(arguments)
        if stage is not None:
            raise InputError(f"--stage is for run files of kind: stages; this one is of kind: {config.kind}")
        result = train(config, resume=resume, console=screen)
    if as_json:
        print_json(result.metrics)
    elif result.metrics.get("one_step"):
        sys.stdout.write(rollout_table(result.metrics) + "\n")
    elif result.metrics.get("cases") and isinstance(config, RunConfig):
        sys.stdout.write(metrics_table(result.metrics) + "\n")
    return 0


def train(config: Any, **options: Any) -> Any:
    """Train by the kind of the settings."""
    module, function = TRAINERS[config.kind]
    return getattr(importlib.import_module(module), function)(config, **options)


def parse_stages(arguments: Sequence[str]) -> tuple[StagesRunConfig, list[tuple[str, Any]]]:
    """Settings of a file of stages, and name and settings of each; changes hold for every stage that has the setting.

    Raises:
        InputError: No stages, no such file, or a change that no stage has.
    """
    changes = _pairs(arguments[1:])
    own = {key: changes.pop(key) for key in ("--out", "--stages") if key in changes}
    config: StagesRunConfig = parse([arguments[0], *(part for pair in own.items() for part in pair)])
    if not config.stages:
        raise InputError(f"{arguments[0]}: names no stages; give stages: [first.yaml, second.yaml, ...]")
    used: set[str] = set()
    out = []
    for file in config.stages:
        path = recipe_path(str(recipe_path(arguments[0]).parent / file))
        fitting = {key: value for key, value in changes.items() if _has_setting(path, key.removeprefix("--"))}
        used |= set(fitting)
        out.append((path.stem, parse([str(path), *(part for pair in fitting.items() for part in pair)])))
    unused = [key for key in changes if key not in used]
    if unused:
        raise InputError(f"{arguments[0]}: no stage has the setting {unused[0]}; see meshops train --help")
    return config, out


def _has_setting(path: Path, key: str) -> bool:
    """Whether a run file, or the model it names, has a setting."""
    made = KINDS[kind_of(path) or "steady"]
    if key.startswith("model."):
        from meshops.models.registry import model_arguments

        config = parse([str(path)])
        return key.removeprefix("model.") in ("name", *model_arguments(config.model["name"]))
    return key.startswith("data.options.") or key in _parser(made).get_defaults()


def _pairs(arguments: Sequence[str]) -> dict[str, str]:
    """``--key value`` and ``--key=value`` as a mapping."""
    out: dict[str, str] = {}
    place = 0
    while place < len(arguments):
        key, equals, value = arguments[place].partition("=")
        if not key.startswith("--") or (not equals and place + 1 >= len(arguments)):
            raise InputError(f"cannot read '{arguments[place]}'; changes are --key value")
        out[key] = value if equals else arguments[place + 1]
        place += 1 if equals else 2
    return out


def parse(arguments: Sequence[str]) -> Any:
    """Settings from a YAML file (or the name of a shipped recipe) and changes to it; its ``kind`` says which they are.

    Raises:
        InputError: No such file, not YAML, or an unknown or impossible setting.
    """
    arguments = list(arguments)
    source, kind = "", _option(arguments, "--kind")
    if arguments and not arguments[0].startswith("--"):
        source, path = f"{arguments[0]}: ", recipe_path(arguments[0])
        kind = kind or kind_of(path)
        arguments = ["--config", str(path), *arguments[1:]]
    if kind not in (None, *KINDS):
        raise InputError(f"{source}kind must be one of {', '.join(KINDS)}, got {kind!r}")
    made = KINDS[kind or "steady"]
    settings = _parser(made)
    try:
        namespace = settings.parse_args(arguments)
    except ArgumentError as error:
        raise InputError(source + _brief(str(error))) from None
    namespace.pop("config", None)
    built = settings.instantiate(namespace)
    return made(**vars(built))


def recipes() -> dict[str, Path]:
    """Recipes shipped with the package, by name."""
    folder = Path(__file__).parents[1] / "recipes"
    return {path.stem: path for path in folder.glob("*.yaml")}


def recipe_path(name: str) -> Path:
    """File of a recipe given by path or by name."""
    path = recipes().get(name, Path(name))
    if not path.is_file():
        raise InputError(f"{name}: no such file or recipe; recipes: {', '.join(sorted(recipes()))}")
    return path


def _parser(kind: type = RunConfig) -> Any:
    settings = ArgumentParser(prog="meshops train", exit_on_error=False, default_env=False, allow_abbrev=False)
    settings.add_argument("--config", action="config", help="YAML file with the settings below")
    settings.add_class_arguments(kind)
    return settings


def _settings_help() -> str:
    parts = []
    for kind in KINDS.values():
        text = _parser(kind).format_help()
        parts.append(text[text.index(f"\n{str(kind.__doc__).splitlines()[0][:-1]}:") + 1 :])
    return "\n".join(parts)  # without usage and the parser's own options


def kind_of(path: Path) -> str | None:
    """What ``kind:`` says in a YAML file; what is wrong with the file is said by the parser."""
    try:
        content = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError):
        return None
    return content.get("kind") if isinstance(content, dict) else None


def _option(arguments: Sequence[str], name: str) -> str | None:
    """Value of ``--name value`` or ``--name=value``."""
    for place, argument in enumerate(arguments):
        if argument == name and place + 1 < len(arguments):
            return arguments[place + 1]
        if argument.startswith(name + "="):
            return argument.partition("=")[2]
    return None


def _pop(arguments: list[str], name: str) -> str | None:
    """Take ``--name value`` or ``--name=value`` out."""
    value = _option(arguments, name)
    for place, argument in enumerate(arguments):
        if argument == name:
            del arguments[place : place + 2]
            break
        if argument.startswith(name + "="):
            del arguments[place]
            break
    return value


def _brief(text: str) -> str:
    """The parser's message without its advice on how to print the help of a parser."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith(("usage:", "tip:"))]
    return " ".join(lines) + "; see meshops train --help"


def _take(arguments: list[str], flag: str) -> bool:
    there = flag in arguments
    while flag in arguments:
        arguments.remove(flag)
    return there
