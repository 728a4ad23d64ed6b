"""Names people give to files: shown, never used as a path."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence

LONGEST = 80
# What the messages of the command line call its options -> what page and interface call them.
WORDS = {"--scale ": "the scale ", "--set ": "the condition ", "--region ": "the parts ", "--level ": "the level "}


def clean_name(given: str | None) -> str:
    r"""The last part of a name, without control characters, and not too long.

    Example:
        >>> clean_name("..\\..\\etc/car.stl"), clean_name(None)
        ('car.stl', 'unnamed')
    """
    text = unicodedata.normalize("NFC", given or "").replace("\\", "/").split("/")[-1]
    text = "".join(c for c in text if unicodedata.category(c)[0] != "C").strip(" .")
    if len(text) > LONGEST:
        text = f"{text[: LONGEST - 20]}…{text[-19:]}"
    return text or "unnamed"


def ending(name: str, allowed: Sequence[str]) -> str | None:
    """The allowed ending of a name; None: it has another."""
    lower = name.lower()
    return next((suffix for suffix in allowed if lower.endswith(suffix) and len(lower) > len(suffix)), None)


def stem_of(name: str) -> str:
    """What results of a file are called when they are downloaded: letters, digits, ``-`` and ``_``."""
    return re.sub(r"[^\w-]+", "_", name.rsplit(".", 1)[0]).strip("_") or "prediction"


def labels(names: Sequence[str]) -> list[str]:
    """Designs of the same name told apart: ``car.stl``, ``car.stl (2)``."""
    out: list[str] = []
    for name in names:
        count, label = 1, name
        while label in out:
            count += 1
            label = f"{name} ({count})"
        out.append(label)
    return out


def for_page(text: str, shown: Mapping[str, str]) -> str:
    """A message with the names people gave instead of places, and without options of the command line."""
    for place, name in shown.items():
        text = text.replace(place, name)
    for option, word in WORDS.items():
        text = text.replace(option, word)
    return text
