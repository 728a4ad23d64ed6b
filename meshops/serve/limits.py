"""What a server takes, and for how long: every bound in one place."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from meshops.errors import InputError

KILO = 1000
SIZES = {"": 1, "k": KILO, "m": KILO**2, "g": KILO**3}
SMALL_BODY = 64 * KILO  # of requests that carry no file
FORM = 1000 * KILO  # what a form may hold beside its file


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds of a server.

    Attributes:
        upload: Bytes of a file.
        seconds: A prediction or comparison may take; then its process is ended.
        waiting: Requests that may be uploading or waiting at a time.
        kept: Finished results that are kept; the oldest goes first.
        keep_seconds: Time for which they are kept.
        memory: Bytes the worker may take beyond the loaded model (where the system can bound it: Linux).
        stall: Seconds without a byte after which an upload is given up.
    """

    upload: int = 200 * KILO**2
    seconds: float = 300.0
    waiting: int = 32
    kept: int = 100
    keep_seconds: float = 3600.0
    memory: int = 4 * KILO**3
    stall: float = 30.0

    def __post_init__(self) -> None:
        """Refuse bounds that let nothing through."""
        for name, value in vars(self).items():
            if not 0 < value < math.inf:
                raise InputError(f"{name.replace('_', '-')} must be positive, got {value:g}")


def bytes_of(text: str) -> int:
    """``"200MB"`` -> 200,000,000; powers of 1,000.

    Raises:
        InputError: Not a size.
    """
    found = re.fullmatch(r"(?i)\s*(\d+(?:\.\d+)?)\s*([kmg]?)b?\s*", text)
    if found is None or not float(found[1]) > 0:
        raise InputError(f"a size is a number with kB, MB or GB, e.g. 200MB, got '{text}'")
    return int(float(found[1]) * SIZES[found[2].lower()])


def size_text(count: float) -> str:
    """200,000,000 -> ``"200 MB"``."""
    for unit, size in (("GB", KILO**3), ("MB", KILO**2), ("kB", KILO)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.0f} bytes"
