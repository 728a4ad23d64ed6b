"""``meshops train RUN.yaml [--key value ...]``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentError, ArgumentParser

from meshops.cli.options import console, print_json
from meshops.cli.tables import metrics_table, rollout_table
from meshops.errors import InputError
from meshops.training.config import FieldsRunConfig, MeshRolloutRunConfig, RolloutRunConfig, RunConfig

KINDS: dict[str, Any] = {
    "steady": RunConfig,
    "rollout": RolloutRunConfig,
    "fields": FieldsRunConfig,
    "mesh_rollout": MeshRolloutRunConfig,
}
AnyConfig = RunConfig | RolloutRunConfig | FieldsRunConfig | MeshRolloutRunConfig

USAGE = """usage: meshops train RUN.yaml [--key value ...] [--resume] [--json]

Train a surrogate and judge it on the test split of its dataset: of steady fields on bodies, or by
``kind:`` of trajectories on grids (rollout), fields on any graph (fields), trajectories on moving meshes
(mesh_rollout).

  RUN.yaml             settings of the run; models/<system>/<dataset>.yaml are ready to use, and so are
                       the names of shipped recipes: {recipes}
  --key value          change a setting, e.g. --train.steps 500 --model.depth 6 --out runs/mine
  --resume             continue the run in --out exactly where it stopped
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
    config = parse(arguments)
    result: Any
    if isinstance(config, RolloutRunConfig):
        from meshops.training.rollout import train_rollout  # Lightning takes seconds to import

        result = train_rollout(config, resume=resume, console=console(quiet=False))
    elif isinstance(config, FieldsRunConfig):
        from meshops.training.graphs import train_fields

        result = train_fields(config, resume=resume, console=console(quiet=False))
    elif isinstance(config, MeshRolloutRunConfig):
        from meshops.training.graphs import train_mesh_rollout

        result = train_mesh_rollout(config, resume=resume, console=console(quiet=False))
    else:
        from meshops.training.run import train

        result = train(config, resume=resume, console=console(quiet=False))
    if as_json:
        print_json(result.metrics)
    elif result.metrics.get("one_step"):
        sys.stdout.write(rollout_table(result.metrics) + "\n")
    elif result.metrics.get("cases") and isinstance(config, RunConfig):
        sys.stdout.write(metrics_table(result.metrics) + "\n")
    return 0


def parse(arguments: Sequence[str]) -> AnyConfig:
    """Settings from a YAML file (or the name of a shipped recipe) and changes to it; its ``kind`` says which they are.

    Raises:
        InputError: No such file, not YAML, or an unknown or impossible setting.
    """
    arguments = list(arguments)
    source, kind = "", _option(arguments, "--kind")
    if arguments and not arguments[0].startswith("--"):
        source, path = f"{arguments[0]}: ", recipe_path(arguments[0])
        kind = kind or _kind(path)
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
    config: AnyConfig = made(**vars(built))
    return config


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


def _kind(path: Path) -> str | None:
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


def _brief(text: str) -> str:
    """The parser's message without its advice on how to print the help of a parser."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith(("usage:", "tip:"))]
    return " ".join(lines) + "; see meshops train --help"


def _take(arguments: list[str], flag: str) -> bool:
    there = flag in arguments
    while flag in arguments:
        arguments.remove(flag)
    return there
