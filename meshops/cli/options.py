"""Parts the verbs share: parser, console, output folders, JSON."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from rich.console import Console

from meshops.errors import InputError
from meshops.io import json_text

T = TypeVar("T")
FIRST_SIGN, SELDOM = 3.0, 10.0  # seconds to the first line of progress off a terminal, and between lines


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
    """Progress goes to the standard error stream, results to the standard output."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def followed(each: Iterable[T], what: str, *, count: int | None = None) -> Iterator[T]:
    """The items, with a bar on a terminal and elsewhere a line after a few seconds and then every ten.

    Args:
        each: What is worked through.
        what: Said in front, e.g. ``"solving wake"``.
        count: How many there are; None: ``len(each)``.
    """
    screen = console()
    total = len(each) if count is None else count  # type: ignore[arg-type]
    if screen.is_terminal:
        from rich.progress import track

        yield from track(each, what, total=total, console=screen, transient=True)
        return
    begun = time.monotonic()
    told = begun - SELDOM + FIRST_SIGN
    for done, item in enumerate(each):
        now = time.monotonic()
        if now - told >= SELDOM:
            left = f", {(now - begun) / done * (total - done):.0f} s left" if done else ""
            screen.print(f"  {what}: {done}/{total}  {now - begun:.0f} s{left}")
            told = now
        yield item


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
