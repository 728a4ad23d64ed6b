"""``meshops train RUN.yaml [--key value ...]``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser

from meshops.cli.options import console, print_json
from meshops.cli.tables import metrics_table
from meshops.errors import InputError
from meshops.training.config import RunConfig

USAGE = """usage: meshops train RUN.yaml [--key value ...] [--resume] [--json]

Train a surrogate and judge it on the test split of its dataset.

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

    from meshops.training.run import train  # Lightning takes seconds to import

    result = train(config, resume=resume, console=console(quiet=False))
    if as_json:
        print_json(result.metrics)
    elif result.metrics.get("cases"):
        sys.stdout.write(metrics_table(result.metrics) + "\n")
    return 0


def parse(arguments: Sequence[str]) -> RunConfig:
    """Settings from a YAML file (or the name of a shipped recipe) and changes to it.

    Raises:
        InputError: No such file, not YAML, or an unknown or impossible setting.
    """
    arguments = list(arguments)
    source = ""
    if arguments and not arguments[0].startswith("--"):
        source = f"{arguments[0]}: "
        arguments = ["--config", str(recipe_path(arguments[0])), *arguments[1:]]
    settings = _parser()
    try:
        namespace = settings.parse_args(arguments)
    except ArgumentError as error:
        raise InputError(source + _brief(str(error))) from None
    namespace.pop("config", None)
    built = settings.instantiate(namespace)
    return RunConfig(**vars(built))


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


def _parser() -> Any:
    settings = ArgumentParser(prog="meshops train", exit_on_error=False, default_env=False, allow_abbrev=False)
    settings.add_argument("--config", action="config", help="YAML file with the settings below")
    settings.add_class_arguments(RunConfig)
    return settings


def _settings_help() -> str:
    text: str = _parser().format_help()
    return text[text.index("\nA run:") + 1 :]  # without usage and the parser's own options


def _brief(text: str) -> str:
    """The parser's message without its advice on how to print the help of a parser."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith(("usage:", "tip:"))]
    return " ".join(lines) + "; see meshops train --help"


def _take(arguments: list[str], flag: str) -> bool:
    there = flag in arguments
    while flag in arguments:
        arguments.remove(flag)
    return there
