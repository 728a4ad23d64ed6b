"""Runs that follow each other, each from the checkpoint of the one before; finished ones are not run again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from meshops import ranks
from meshops.errors import InputError
from meshops.training.config import RunConfig, setting
from meshops.training.run import RunResult, train


@ranks.joined()
def train_stages(
    stages: Sequence[tuple[str, RunConfig]],
    *,
    out: str,
    stage: str = "all",
    resume: bool = False,
    overwrite: bool = False,
    console: Console | None = None,
    one: Callable[..., RunResult] = train,
) -> RunResult:
    """Run some or all stages; run i goes to ``out/<i>_<name>`` and starts from ``model.ckpt`` of run i - 1.

    Args:
        stages: Name and settings of each, in order; ``task.start`` is filled in where it is empty.
        out: Folder of the runs.
        stage: ``"all"``, or the number or name of one.
        resume: Leave out what is finished and continue what was stopped.
        overwrite: Remove runs that are there.
        console: Where progress goes; None: silent.
        one: Runs one; as :func:`meshops.training.train`.

    Returns:
        What the last stage that was run left.

    Raises:
        InputError: No such stage, nothing left to do, or the stage before has not been run.
    """
    screen = console if console is not None and ranks.is_first() else Console(quiet=True)
    names = [name for name, _ in stages]
    numbers = [str(number + 1) for number in range(len(names))]
    if stage not in ("all", *names, *numbers):
        raise InputError(f"stage must be all, {', '.join(numbers)} or one of {', '.join(names)}, got '{stage}'")
    result: RunResult | None = None
    before = ""
    for number, (name, config) in enumerate(stages, start=1):
        folder = Path(out) / f"{number}_{name}"
        model = folder / "model.ckpt"
        if stage in ("all", name, str(number)):
            if resume and (folder / "metrics.json").is_file() and model.is_file():
                screen.print(f"stage {number}, {name}: finished, {model}")
            else:
                settings = _following(config, str(folder), before, number)
                screen.print(f"stage {number} of {len(stages)}: {name}")
                again = resume and (folder / "checkpoints" / "last.ckpt").is_file()
                result = one(settings, resume=again, overwrite=overwrite, console=console)
        before = str(model)
    if result is None:
        raise InputError(f"{out}: every stage is finished; use another --out, or leave out --resume to start anew")
    return result


def _following(config: RunConfig, folder: str, before: str, number: int) -> RunConfig:
    """Settings of a stage: its folder, and where it starts from."""
    start = str(setting(config, "start", "") or before)
    if start == before and number > 1 and not Path(before).is_file():
        raise InputError(f"{before}: stage {number - 1} has not been run; run --stage {number - 1} first")
    task = replace(config.task, start=start) if hasattr(config.task, "start") else config.task  # type: ignore[type-var]
    return replace(config, out=folder, task=task)
