"""Checks of settings, said alike: what is wrong, what was given, what is allowed."""

from __future__ import annotations

import math

from meshops.errors import InputError


def check_counts(least: int, of: str = "", /, **numbers: int | None) -> None:
    """Raise ``InputError`` unless these are whole numbers from ``least`` on; None passes.

    Example:
        >>> check_counts(1, "task.", stride=2, given=None)
    """
    for name, number in numbers.items():
        if number is not None and (not isinstance(number, int) or isinstance(number, bool) or number < least):
            raise InputError(f"{of}{name} must be a whole number, at least {least}, got {number}")


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
