"""From a path to the description of a study: its file, or a guess."""

from __future__ import annotations

from pathlib import Path

from meshops.datasets.folder.description import FILE, Description
from meshops.datasets.folder.guess import guess_description
from meshops.datasets.folder.study_file import read_study
from meshops.errors import InputError, MissingDataError


def description_of(path: str | Path) -> Description:
    """The study of a folder (its ``study.yaml`` where it has one, else guessed) or of a ``study.yaml``.

    Raises:
        InputError: There is nothing to learn from; says what was found.
    """
    given = Path(path).expanduser()
    if given.is_dir():
        return read_study(given / FILE) if (given / FILE).is_file() else guess_description(given)
    if given.suffix.lower() in (".yaml", ".yml"):
        return read_study(given)
    if not given.exists():
        raise MissingDataError(f"no folder {given}; give the folder that holds the simulations, or a {FILE}")
    raise InputError(f"{given}: is one file; give the folder that holds the simulations, or a {FILE}")
