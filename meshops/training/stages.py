"""Runs that follow each other, each from the checkpoint of the one before; finished ones are not run again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from meshops.errors import InputError
from meshops.training.results import RunResult


def train_stages(
    stages: Sequence[tuple[str, Any]],
    train: Callable[..., RunResult[Any]],
    *,
    out: str,
    stage: str = "all",
    resume: bool = False,
    console: Console | None = None,
) -> RunResult[Any]:
    """Run some or all stages; run i goes to ``out/<i>_<name>`` and starts from ``model.ckpt`` of run i - 1.

    Args:
        stages: Name and settings of each, in order; ``task.start`` is filled in where it is empty.
        train: Runs one: settings, ``resume``, ``console``.
        out: Folder of the runs.
        stage: ``"all"``, or the number or name of one.
        resume: Leave out what is finished and continue what was stopped.
        console: Where progress goes; None: silent.

    Returns:
        What the last stage that was run left.

    Raises:
        InputError: No such stage, nothing left to do, or the stage before has not been run.
    """
    screen = console or Console(quiet=True)
    names = [name for name, _ in stages]
    numbers = [str(number + 1) for number in range(len(names))]
    if stage not in ("all", *names, *numbers):
        raise InputError(f"stage must be all, {', '.join(numbers)} or one of {', '.join(names)}, got '{stage}'")
    result: RunResult[Any] | None = None
    before = ""
    for number, (name, config) in enumerate(stages, start=1):
        folder = Path(out) / f"{number}_{name}"
        model = folder / "model.ckpt"
        if stage in ("all", name, str(number)):
            if resume and model.is_file():
                screen.print(f"stage {number}, {name}: finished, {model}")
            else:
                start = config.task.start or before
                if start == before and number > 1 and not Path(before).is_file():
                    raise InputError(f"{before}: stage {number - 1} has not been run; run --stage {number - 1} first")
                settings = replace(config, out=str(folder), task=replace(config.task, start=start))
                screen.print(f"stage {number} of {len(stages)}: {name}")
                again = resume and (folder / "checkpoints" / "last.ckpt").is_file()
                result = train(settings, resume=again, console=console)
        before = str(model)
    if result is None:
        raise InputError(f"{out}: every stage is finished; use another --out, or leave out --resume to start anew")
    return result
