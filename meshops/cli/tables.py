"""One line of a prediction for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meshops.tasks.report import shown


def forces_line(numbers: Mapping[str, Any]) -> str:
    """One prediction in one line."""
    forces, place = numbers.get("forces"), numbers.get("training_set")
    parts = [f"{numbers['nodes']:,} values a field", f"{numbers['seconds']:.1f} s"]
    if forces:
        parts.append(f"Cd {forces['cd']:.4f}  Cl {forces['cl']:.4f}")
    parts += [f"{name} {value:.4g}" for name, value in numbers["numbers"].items()]
    if place:
        parts.append(f"{place['level']} the training set" if place["level"] != "edge" else "edge of the training set")
    for name, errors in numbers["errors"].items():
        error = errors["rel_l2"]
        parts.append(f"{name} error {100 * error:.1f} %" if error is not None else f"{name} MAE {shown(errors['mae'])}")
    return ", ".join(parts)
