"""Numbers in the text of mesh files: parsed at once, to the last digit, with what is no number noticed."""

from __future__ import annotations

import re
import warnings

import numpy as np

from meshops.data.cells import Array

# Writers in Python that print numbers of NumPy 2 as objects leave ``np.float64(0.5)`` in a file.
AS_OBJECTS = re.compile(rb"np\.(?:float|int|uint)\d+\(([^()]*)\)")


class DamagedError(Exception):
    """Something is not what its counts and its format say; the message is the rest of a sentence about it."""


def numbers_of(body: bytes) -> Array:
    """Numbers of a text, float64, each the nearest to its digits.

    Raises:
        DamagedError: There is something else in it.
    """
    if not body.strip():
        return np.zeros(0)
    if b"np." in body:
        body = AS_OBJECTS.sub(rb"\1", body)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            out: Array = np.fromstring(body, sep=" ")
        except (DeprecationWarning, ValueError):
            raise DamagedError("holds text where numbers belong") from None
    return out


def word_starts(raw: Array, between: bytes = b" \t\n\r\v\f") -> Array:
    """Where words begin in the bytes of a text.

    Args:
        raw: ``[n]`` uint8.
        between: Characters between words.
    """
    table = np.zeros(256, dtype=bool)
    table[list(between)] = True
    blank = table[raw]
    word = ~blank
    word[1:] &= blank[:-1]
    return np.flatnonzero(word)
