"""``meshops train RUN.yaml [--key value ...]``."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentError, ArgumentParser

from meshops.cli.options import Parser, console, print_json, speaks
from meshops.errors import InputError, did_you_mean, listing
from meshops.plain_yaml import load_yaml

if TYPE_CHECKING:
    from meshops.training import RunConfig, StagesConfig

USAGE = """usage: meshops train RUN.yaml [--key value ...] [--stage all|1|2|...] [--resume] [--overwrite] [--json]

Train a surrogate and judge it on the test split of its dataset. ``kind:`` says what is learnt: fields of finished
cases (fields), trajectories on grids or meshes step by step (rollout), compressed trajectories (autoencode), whole
futures as ensembles (generate), or several runs that build on each other (stages).

  RUN.yaml             settings of the run, or the name of a recipe that comes with meshops (listed below)
  --key value          change a setting, e.g. --train.steps 500 --model.depth 6 --out runs/mine
  --stage NAME         of a file of stages: all, or the number or name of one; a changed setting then
                       holds for every run that has it
  --resume             continue the run in --out exactly where it stopped; finished stages are kept
  --overwrite          remove the run that is in --out
  --import MODULE      import a module of yours first: its models, datasets, tasks register themselves
  --json               print metrics.json at the end

The run folder (--out) holds config.yaml, model.ckpt, metrics.json, errors.html, log.jsonl and checkpoints/.
Ctrl-C ends the step that runs, leaves a run that --resume continues, and exits with code 130.
Several processes or GPUs: torchrun --nproc-per-node 4 -m meshops train RUN.yaml (--train.strategy ddp, fsdp or patches)

{known}

A dataset is chosen by --data.name, its folder given by --data.root; a folder of one's own mesh files is mesh_files.

settings and defaults:
"""


def run(argv: Sequence[str]) -> int:
    """Train."""
    if not argv or argv[0] in ("-h", "--help"):
        sys.stdout.write(_usage())
        return 0
    given, arguments = _taken(argv, "--stage", resume="store_true", overwrite="store_true", json="store_true")
    staged = False
    if arguments and not arguments[0].startswith("--"):
        staged = kind_of(recipe_path(arguments[0])) == "stages"  # a file that is not there is said before PyTorch loads

    if "RANK" in os.environ:  # of DDP, which looks for weights that take no part and says so when there are none
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    from meshops.training import train, train_stages

    again: dict[str, Any] = {"resume": given.resume, "overwrite": given.overwrite, "console": console()}
    out = ""
    try:
        if staged:
            config, stages = parse_stages(arguments)
            out = config.out
            result = train_stages(stages, out=out, stage=given.stage or "all", **again)
        else:
            settings = parse(arguments)
            if given.stage is not None:
                raise InputError(f"--stage is for run files of kind: stages; this one is of kind: {settings.kind}")
            out = settings.out
            result = train(settings, **again)
    except KeyboardInterrupt:
        sys.stderr.write(f"\nmeshops train: interrupted; {how_to_go_on(out)}\n")
        return 130
    if not speaks():
        return 0
    if given.json:
        print_json(result.report.to_dict())
    else:
        sys.stdout.write(result.report.table() + "\n")
    return 0


def how_to_go_on(out: str) -> str:
    """What to do after a run was interrupted outside of its steps."""
    folder = Path(out or ".")
    kept = [*folder.glob("**/checkpoints/last.ckpt"), *folder.glob("**/model.ckpt")] if out else []
    if not kept:
        return "nothing was learnt yet, start again with the same command"
    return f"continue with the same command and --resume (run in {out})"


def parse_stages(arguments: Sequence[str]) -> tuple[StagesConfig, list[tuple[str, RunConfig]]]:
    """Settings of a file of stages, and name and settings of each; changes hold for every stage that has the setting.

    Raises:
        InputError: No stages, no such file, or a change that no stage has.
    """
    from meshops.training import StagesConfig

    changes = _pairs(arguments[1:])
    path = recipe_path(arguments[0])
    content = _content(path)
    unknown = sorted(set(content) - {"kind", "stages", "out"})
    if unknown:
        raise InputError(f"{arguments[0]}: a file of stages holds kind, stages and out, not '{unknown[0]}'")
    out = changes.pop("--out", None) or content.get("out", StagesConfig.out)
    files = content.get("stages") or ()
    config = StagesConfig(stages=tuple(str(file) for file in files), out=str(out))
    if not config.stages:
        raise InputError(f"{arguments[0]}: names no stages; give stages: [first.yaml, second.yaml, ...]")
    used: set[str] = set()
    made = []
    for file in config.stages:
        stage = recipe_path(str(path.parent / file))
        fitting = {key: value for key, value in changes.items() if _has_setting(stage, key.removeprefix("--"))}
        used |= set(fitting)
        made.append((stage.stem, parse([str(stage), *(part for pair in fitting.items() for part in pair)])))
    unused = [key for key in changes if key not in used]
    if unused:
        raise InputError(f"{arguments[0]}: no stage has the setting {unused[0]}; see meshops train --help")
    return config, made


def _has_setting(path: Path, key: str) -> bool:
    """Whether a run file, or the model it names, has a setting."""
    if key.startswith("model."):
        from meshops.models import model_arguments

        return key.removeprefix("model.") in ("name", *model_arguments(str(parse([str(path)]).model["name"])))
    return key.startswith("data.options.") or key in _parser(kind_of(path) or "fields").get_defaults()


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


def parse(arguments: Sequence[str]) -> RunConfig:
    """Settings from a YAML file (or the name of a shipped recipe) and changes to it; its ``kind`` says which they are.

    Raises:
        InputError: No such file, not YAML, or an unknown or impossible setting.
    """
    from meshops.tasks import get_task, list_tasks
    from meshops.training import DataConfig, RunConfig, TrainConfig

    given, arguments = _taken(arguments, "--kind")
    source, kind = "", given.kind
    if arguments and not arguments[0].startswith("--"):
        source, path = f"{arguments[0]}: ", recipe_path(arguments[0])
        kind = kind or kind_of(path)
        arguments = ["--config", str(path), *arguments[1:]]
    for before, argument in zip(["", *arguments], arguments, strict=False):
        if before == "--config" or argument.startswith("--config="):
            kind_of(Path(argument.removeprefix("--config=")))  # under limits, which the parser does not have
    if kind == "stages":
        raise InputError(f"{source}kind 'stages' is a run file that names others: meshops train STAGES.yaml")
    if kind not in (None, *list_tasks()):
        raise InputError(f"{source}kind must be one of {', '.join([*list_tasks(), 'stages'])}, got {kind!r}")
    chosen = kind or "fields"
    settings = _parser(chosen)
    try:
        read = settings.instantiate(settings.parse_args(arguments))
    except ArgumentError as error:
        raise InputError(source + _brief(str(error))) from None
    return RunConfig(
        kind=chosen,
        out=read.out,
        model=dict(read.model),
        data=DataConfig(**vars(read.data)),
        task=get_task(chosen).Settings(**vars(read.task)),
        train=TrainConfig(**vars(read.train)),
    )


def recipes() -> dict[str, Path]:
    """Recipes shipped with the package, by name: ``demo``, and ``mspt/ahmed`` for ``models/mspt/ahmed.yaml``."""
    package = Path(__file__).parents[1]
    shipped = {path.stem: path for path in (package / "recipes").glob("*.yaml")}
    for folder in (package / "recipes", package.parent / "models"):  # of a wheel, of a checkout
        shipped |= {f"{path.parent.name}/{path.stem}": path for path in sorted(folder.glob("*/*.yaml"))}
    return shipped


def recipe_path(name: str) -> Path:
    """File of a recipe given by path or by name; ``models/mspt/ahmed.yaml`` is found from anywhere."""
    if Path(name).is_file():
        return Path(name)
    known = recipes()
    short = name.removeprefix("models/").removesuffix(".yaml")
    if short not in known:
        raise InputError(
            f"{name}: no such file or recipe; {did_you_mean(short, known)}recipes: {listing(_alike(short, known))}; "
            "all: meshops train --help"
        )
    return known[short]


def _alike(name: str, known: Mapping[str, Path]) -> list[str]:
    """Recipes of the model or the data that a name speaks of, or all."""
    words = [word for word in name.replace("/", "_").split("_") if word]
    return sorted(recipe for recipe in known if any(word in recipe for word in words)) or sorted(known)


def _parser(kind: str) -> ArgumentParser:
    from meshops.tasks import get_task
    from meshops.training import DataConfig, RunConfig, TrainConfig

    defaults = RunConfig(kind=kind)
    settings = ArgumentParser(prog="meshops train", exit_on_error=False, default_env=False, allow_abbrev=False)
    settings.add_argument("--config", action="config", help="YAML file with the settings below")
    settings.add_argument("--kind", type=str, default=kind, help="what is learnt")
    settings.add_argument("--out", type=str, default=defaults.out, help="folder of the run; made if missing")
    text = "name of a registered model and its arguments: {name: mspt, depth: 4, ...}"
    settings.add_argument("--model", type=dict[str, object], default=defaults.model, help=text)
    settings.add_class_arguments(DataConfig, "data")
    settings.add_class_arguments(get_task(kind).Settings, "task")
    settings.add_class_arguments(TrainConfig, "train")
    return settings


def _usage() -> str:
    """Help: what all kinds share once, then the task block of each kind."""
    from meshops.datasets import names
    from meshops.models import list_models
    from meshops.tasks import list_tasks

    known = {
        "kinds": [*list_tasks(), "stages"],
        "datasets": names(),
        "models": list_models(),
        "recipes": sorted(recipes()),
    }
    lines = (f"{what + ':':10} {', '.join(values)}" for what, values in known.items())
    wrapped = "\n".join(fill(line, 100, subsequent_indent=" " * 11) for line in lines)
    text = USAGE.format(known=wrapped)
    whole = {kind: _groups(_parser(kind).format_help()) for kind in list_tasks()}
    first = next(iter(whole.values()))
    shared = [block for block in first[1:] if "--task." not in block]
    tasks = [f"kind: {kind}\n{block}" for kind, blocks in whole.items() for block in blocks if "--task." in block]
    return text + "\n" + "\n\n".join([*shared, *tasks]) + "\n"


def _groups(text: str) -> list[str]:
    blocks = [block.strip("\n") for block in text.split("\n\n")]
    return [block for block in blocks if "--" in block and not block.startswith("usage:")]


def kind_of(path: Path) -> str | None:
    """What ``kind:`` says in a YAML file.

    Raises:
        InputError: It cannot be read, or is no YAML of plain values.
    """
    return _content(path).get("kind")


def _content(path: Path) -> dict[str, Any]:
    content = load_yaml(path, aliases=True)
    return content if isinstance(content, dict) else {}


def _taken(arguments: Sequence[str], value: str, **flags: str) -> tuple[Any, list[str]]:
    """An option with a value and flags, taken out of the arguments, and the others in their order."""
    options = Parser(prog="meshops train", add_help=False, allow_abbrev=False)
    options.add_argument(value)
    for flag, action in flags.items():
        options.add_argument(f"--{flag}", action=action)
    return options.parse_known_args(arguments)


def _brief(text: str) -> str:
    """The parser's message without its advice on how to print the help of a parser."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith(("usage:", "tip:"))]
    return " ".join(lines) + "; see meshops train --help"
