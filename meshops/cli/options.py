"""Parts the verbs share: parser, console, output folders, JSON."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from rich.console import Console

from meshops.errors import CheckpointError, InputError
from meshops.io import json_text, missing_checkpoint


class Parser(argparse.ArgumentParser):
    """Argument parser whose errors say what is allowed in one line."""

    def error(self, message: str) -> NoReturn:
        """Leave with code 2."""
        raise InputError(f"{message}; see {self.prog} --help")


def parser(verb: str, description: str, epilog: str = "") -> Parser:
    """Parser of one verb; ``--import`` is followed before a verb runs, and is here for its help."""
    made = Parser(
        prog=f"meshops {verb}",
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--import", metavar="MODULE", help="a module of yours, whose models, datasets, ... register")
    return made


def console() -> Console:
    """Progress goes to the standard error stream, results to the standard output; one process speaks."""
    return Console(stderr=True, highlight=False, soft_wrap=True, markup=False, quiet=not speaks())


def speaks() -> bool:
    """Whether this process says what came out: the first, where ``torchrun`` started several."""
    return os.environ.get("RANK", "0") == "0"


def output_folder(path: str) -> Path:
    """Make a folder and see that it can be written.

    Raises:
        InputError: It cannot.
    """
    folder = Path(path)
    probe = folder / f".write-test-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f"{folder}: cannot write there ({error.strerror}); choose another --out") from None
    return folder


def existing_checkpoint(path: str) -> Path:
    """Path of a checkpoint that is there; said before PyTorch is loaded.

    Raises:
        CheckpointError: There is none.
    """
    problem = missing_checkpoint(Path(path))
    if problem:
        raise CheckpointError(problem)
    return Path(path)


def existing_folder(path: str) -> Path:
    """A folder or file that is there; said before PyTorch is loaded.

    Raises:
        InputError: It is not.
    """
    if not Path(path).exists():
        raise InputError(f"no folder {path}; check the path")
    return Path(path)


def print_json(content: Mapping[str, Any]) -> None:
    """For scripts."""
    sys.stdout.write(json_text(content))


def key_values(pairs: Sequence[str]) -> dict[str, Any]:
    """``["protocol=A", "test_fold=0"]`` -> ``{"protocol": "A", "test_fold": 0}``.

    Raises:
        InputError: A pair without ``=``.
    """
    out: dict[str, Any] = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign:
            raise InputError(f"'{pair}' is not of the form key=value")
        try:
            out[key] = json.loads(value)
        except json.JSONDecodeError:
            out[key] = value
    return out


def numbers_of(pairs: Sequence[str]) -> dict[str, float]:
    """``["speed=30"]`` as numbers; raises ``InputError`` for what is none."""
    out = {}
    for name, value in key_values(pairs).items():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise InputError(f"--set {name}={value}: a condition is a number, e.g. --set speed=30")
        out[name] = float(value)
    return out


def stems(files: Sequence[str]) -> list[str]:
    """Names of files for their results: different ones, with the folder where the files are called alike.

    Raises:
        InputError: Two would still be written under one name.
    """
    out = [Path(file).resolve().stem for file in files]
    twice = {stem for stem in out if out.count(stem) > 1}
    if twice:
        out = [f"{Path(f).resolve().parent.name}_{s}" if s in twice else s for f, s in zip(files, out, strict=True)]
    if len(set(out)) < len(out):
        raise InputError("two of the files would be written under the same name; predict them into different folders")
    return out


UNITS = {"": 1.0, "B": 1.0, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}


def memory(text: str) -> float:
    """``"12GB"`` as bytes.

    Raises:
        InputError: It is no size.
    """
    number = text.strip().rstrip("BbKkMmGgTt")
    unit = text.strip()[len(number) :].upper()
    try:
        value = float(number) * UNITS[unit if unit.endswith("B") or not unit else unit + "B"]
    except (ValueError, KeyError):
        raise InputError(f"a size of memory is a number with kB, MB, GB or TB, such as 12GB; got '{text}'") from None
    if not 0 < value < float("inf"):
        raise InputError(f"a size of memory is positive, got '{text}'")
    return value
