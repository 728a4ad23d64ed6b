"""Checks of settings, said alike: what is wrong, what was given, what is allowed."""

from __future__ import annotations

import math

from meshops.errors import InputError


def at_least(name: str, value: object, least: int) -> int:
    """A whole number from ``least`` on.

    Raises:
        InputError: It is something else.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InputError(f"{name} must be a whole number of at least {least}, got {value!r}")
    return value


def check_counts(least: int, of: str = "", /, **numbers: object) -> None:
    """Raise ``InputError`` unless these are whole numbers from ``least`` on; None passes.

    Example:
        >>> check_counts(1, "task.", stride=2, given=None)
    """
    for name, number in numbers.items():
        if number is not None:
            at_least(f"{of}{name}", number, least)


def check_amounts(of: str = "", /, **numbers: float) -> None:
    """Raise ``InputError`` unless these are finite and not negative."""
    for name, number in numbers.items():
        if not (math.isfinite(number) and number >= 0):
            raise InputError(f"{of}{name} must be a finite number, at least 0, got {number}")


def check_fractions(of: str = "", /, **numbers: float) -> None:
    """Raise ``InputError`` unless these are from 0 to 1."""
    for name, number in numbers.items():
        if not 0 <= number <= 1:
            raise InputError(f"{of}{name} must be from 0 to 1, got {number}")
