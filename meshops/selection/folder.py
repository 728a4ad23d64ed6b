"""The folder of a fit: one at a time, continued where it stopped, never overwritten unasked.

study.yaml    what the data are       fit.yaml    settings and cases
model.ckpt    the surrogate           work/       finished parts, from which a stopped fit goes on
metrics.json  its errors              run.lock    held while it works
report.html   what was learnt from what
"""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import yaml

from meshops.errors import CheckpointError, InputError, listing
from meshops.io import plain, write_text
from meshops.plain_yaml import load_yaml
from meshops.tasks.base import Plain

RESULTS = ("model.ckpt", "metrics.json", "report.html")
LEFT = (*RESULTS, "fit.yaml", "work", "pictures")


@contextmanager
def fit_folder(
    folder: Path, settings: Mapping[str, Plain], *, resume: bool = False, overwrite: bool = False
) -> Iterator[Path]:
    """Hold a folder for a fit.

    Args:
        folder: Made if missing.
        settings: What a resumed fit must share.
        resume: Go on with the fit that is there.
        overwrite: Remove the fit that is there.

    Raises:
        InputError: It cannot be written, is in use, holds a fit already, or one with other settings is resumed.
        CheckpointError: There is nothing to resume.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "run.lock").open("a")
    except OSError as error:
        raise InputError(f"{folder}: cannot write the fit there ({error.strerror}); choose another --out") from None
    with lock:
        try:
            fcntl.flock(lock.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(f"{folder}: another run is writing there; wait, or choose another --out") from None
        (_continue if resume else _begin)(folder, settings, overwrite)
        yield folder


def _begin(folder: Path, settings: Mapping[str, Plain], overwrite: bool) -> None:
    there = [name for name in (*RESULTS, "work") if (folder / name).exists()]
    if there and not overwrite:
        raise InputError(
            f"{folder}: holds a fit already ({listing(there)}); go on with --resume, remove it with --overwrite, or "
            "choose another --out"
        )
    for name in LEFT:
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)
        (folder / name).unlink(missing_ok=True)
    write_text(folder / "fit.yaml", yaml.safe_dump(plain(dict(settings)), sort_keys=False))


def _continue(folder: Path, settings: Mapping[str, Plain], overwrite: bool) -> None:
    del overwrite
    path = folder / "fit.yaml"
    if not path.is_file():
        raise CheckpointError(f"{folder}: nothing to resume, fit.yaml is missing; start without --resume")
    try:
        before = load_yaml(path, aliases=True)
        changed = [key for key, value in plain(dict(settings)).items() if before.get(key) != value]
    except (InputError, AttributeError):
        raise CheckpointError(f"{path}: missing or damaged; start anew in another --out") from None
    if changed:
        what = "other cases" if changed == ["cases"] else f"another {changed[0]}"
        raise InputError(f"{folder}: --resume goes on with the same fit, but this one has {what}; choose another --out")
