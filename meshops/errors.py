"""Errors a user can act on.

Every message says what is wrong, what was found, what is allowed and what to do, in one to three lines.
The command line prints the message alone and leaves with exit code 2; from Python they are ordinary
``ValueError`` or ``ImportError`` subclasses.
"""

from __future__ import annotations

import difflib
import shlex
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class MeshopsError(Exception):
    """Base of all errors that are the caller's to mend."""


class InputError(MeshopsError, ValueError):
    """A file, an array or an option cannot be used as it is."""


class MissingDataError(InputError, FileNotFoundError):
    """Files of a dataset are not where they should be; the message says where to get them."""


class CheckpointError(InputError):
    """A checkpoint is not one of ours, is damaged, or holds pickled code."""


class MissingPackageError(MeshopsError, ImportError):
    """An optional package is needed for this call."""


class Stopped(MeshopsError):
    """A run was stopped from outside and can be continued.

    Args:
        signal: Number of the signal; the command line leaves with 128 more.
        step: Steps that are done.
        folder: Of the run.
    """

    def __init__(self, signal: int, step: int, folder: object) -> None:
        self.signal = signal
        super().__init__(f"stopped after step {step}; continue with the same command and --resume (run in {folder})")


class DataWarning(UserWarning):
    """Something was changed or assumed about the user's data; the command line and the report repeat it."""


def warn(message: str) -> None:
    """Tell the user what was changed or assumed, once per place and message."""
    warnings.warn(message, DataWarning, stacklevel=3)


@contextmanager
def collecting(notes: list[str]) -> Iterator[None]:
    """Put warnings about the data into ``notes`` instead; others are warned of again."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DataWarning)
        yield
    for warning in caught:
        if issubclass(warning.category, DataWarning):
            notes.append(str(warning.message))
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


def listing(names: Iterable[object], limit: int = 12) -> str:
    """Format names for an error message, e.g. ``'p', 'U' (and 3 more)``; ``none`` when empty."""
    shown = [repr(str(name)) for name in names]
    if not shown:
        return "none"
    rest = len(shown) - limit
    return ", ".join(shown[:limit]) + (f" (and {rest} more)" if rest > 0 else "")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``"did you mean 'mspt'? "`` where a known name is near, else nothing."""
    near = difflib.get_close_matches(name, list(known), 1)
    return f"did you mean '{near[0]}'? " if near else ""


def some(numbers: Iterable[object]) -> str:
    """Numbers for a message: ``4, 8``."""
    return ", ".join(str(number) for number in numbers)


def settings(names: Iterable[str], limit: int = 6) -> str:
    """Options that give numbers by name, as a shell takes them.

    Example:
        >>> settings(["speed", "ride height"])
        "--set speed=VALUE --set 'ride height=VALUE'"
    """
    given = [f"--set {shlex.quote(f'{name}=VALUE')}" for name in names]
    return " ".join(given[:limit]) + (" ..." if len(given) > limit else "")


def first_line(error: BaseException) -> str:
    """What an error of another library says, in one line for a message."""
    return next((line.strip()[:200] for line in str(error).splitlines() if line.strip()), type(error).__name__)
