"""The folder of a run: settings, checkpoints, logs, results. One run at a time, never overwritten unasked.

config.yaml   settings            checkpoints/last.ckpt   where a stopped run continues
model.ckpt    the surrogate       log.jsonl               a line every few steps
metrics.json  its errors          run.lock                held while the run goes on
errors.html   the same as a page

Of several processes of a run the first alone writes there.
"""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

import yaml

from meshops import ranks
from meshops.errors import CheckpointError, InputError, listing
from meshops.io import plain, write_text
from meshops.plain_yaml import load_yaml
from meshops.training.config import RunConfig, flat

FREE = {"out", "data.store", "train.accelerator", "train.devices", "train.threads"}  # what a resumed run may change
LEFT = ("config.yaml", "model.ckpt", "metrics.json", "errors.html", "log.jsonl", "latents.pt", "store.json",
        "checkpoints", "logs")  # fmt: skip


@contextmanager
def open_folder(config: RunConfig, *, resume: bool = False, overwrite: bool = False) -> Iterator[Path]:
    """Hold the folder ``config.out`` for a run; the settings are written there.

    Args:
        config: Settings.
        resume: A run that stopped there continues.
        overwrite: A run that was there is removed first.

    Raises:
        InputError: It cannot be written, holds a run already, is in use, or a resumed run has other settings.
        CheckpointError: There is nothing to resume, or its settings are damaged.
    """
    folder = Path(config.out)
    with ExitStack() as held:

        def hold() -> None:
            held.enter_context(_lock(folder))

        ranks.by_first(hold)
        try:
            if resume:
                check_same(folder, config)
            else:
                ranks.by_first(lambda: _start(folder, config, overwrite))
            yield folder
        except InputError:
            if ranks.is_first():
                _sweep(folder)
            raise


def _lock(folder: Path) -> IO[str]:
    """The file that is locked as long as the run goes on."""
    try:
        (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
        lock = (folder / "run.lock").open("a")
    except OSError as error:
        raise InputError(f"{folder}: cannot write the run there ({error.strerror}); choose another --out") from None
    try:
        _hold(lock.fileno(), folder)
    except InputError:
        lock.close()
        raise
    _remove_partial(folder)
    return lock


def _hold(handle: int, folder: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise InputError(f"{folder}: another run is writing there; wait for it, or choose another --out") from None


def _remove_partial(folder: Path) -> None:
    """Remove what a killed run was writing; nobody else writes while the folder is held."""
    for part in (folder, folder / "checkpoints"):
        for path in part.glob(".[0-9]*.*"):
            if path.is_file() and path.name.split(".")[1].isdigit():
                path.unlink(missing_ok=True)


def _start(folder: Path, config: RunConfig, overwrite: bool) -> None:
    kept = _kept(folder)
    if kept and not overwrite:
        raise InputError(
            f"{folder}: holds a run already ({listing(kept)}); continue it with --resume, remove it with --overwrite, "
            "or choose another --out"
        )
    for name in LEFT:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
    (folder / "checkpoints").mkdir()
    write_text(folder / "config.yaml", yaml.safe_dump(plain(config.to_dict()), sort_keys=False))


def _kept(folder: Path) -> list[str]:
    """What is worth keeping of a run that is there; settings and a log alone are not."""
    return [name for name in ("model.ckpt", "metrics.json", "checkpoints/last.ckpt") if (folder / name).is_file()]


def _sweep(folder: Path) -> None:
    """Leave nothing of a run that was refused before its first step."""
    if _kept(folder) or (folder / "log.jsonl").is_file():
        return
    for name in ("config.yaml", "latents.pt", "store.json", "run.lock"):
        (folder / name).unlink(missing_ok=True)
    for empty in (folder / "checkpoints", folder):
        with suppress(OSError):  # something else is in it
            empty.rmdir()


def check_same(folder: Path, config: RunConfig) -> None:
    """See that a run can be continued: there is one, and only its folder's name and the hardware changed.

    Raises:
        CheckpointError: There is nothing to resume, or the settings are damaged.
        InputError: A setting changed.
    """
    last, settings = folder / "checkpoints" / "last.ckpt", folder / "config.yaml"
    if not last.is_file() and not (folder / "model.ckpt").is_file():
        raise CheckpointError(f"{folder}: nothing to resume, checkpoints/last.ckpt is missing; start without --resume")
    try:
        known = flat(load_yaml(settings, aliases=True))
    except (InputError, AttributeError):
        raise CheckpointError(
            f"{settings}: missing or damaged, so that it cannot be seen whether the run is the same; start anew in "
            "another --out"
        ) from None
    now = flat(plain(config.to_dict()))
    changed = [key for key in sorted({*known, *now}) if key not in FREE and known.get(key) != now.get(key)]
    if changed:
        key = changed[0]
        raise InputError(
            f"{folder}: --resume continues the run as it was, but {key} changed from {known.get(key)} to "
            f"{now.get(key)}; use another --out for a new run"
        )
