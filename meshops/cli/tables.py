"""Tables of results for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

COLUMNS = {
    "pressure_rel_l2": "pressure",
    "shear_rel_l2": "shear",
    "velocity_rel_l2": "velocity",
    "drag_error": "|dCd|",
    "lift_error": "|dCl|",
}


def metrics_table(metrics: Mapping[str, Any]) -> str:
    """Errors of the surrogate beside the yardsticks, one line each: relative L2 of fields, error of coefficients."""
    rows = {"surrogate": metrics}
    if "without_mesh_cues" in metrics:
        rows["  as for an STL"] = metrics["without_mesh_cues"]
    rows |= metrics.get("yardsticks", {})
    columns = [key for key in COLUMNS if key in metrics]
    columns += [key for key in metrics if key.endswith("_rel_l2") and key not in COLUMNS]
    names = [COLUMNS.get(key, key.removesuffix("_rel_l2")) for key in columns]
    lines = ["held-out cases".ljust(16) + "".join(name.rjust(max(11, len(name) + 2)) for name in names)]
    for name, row in rows.items():
        cells = "".join(f"{row[key]:.3f}".rjust(max(11, len(n) + 2)) for key, n in zip(columns, names, strict=True))
        lines.append(name.ljust(16) + cells)
    return "\n".join(lines)


def forces_line(numbers: Mapping[str, Any]) -> str:
    """One prediction in one line."""
    forces, place = numbers.get("forces"), numbers.get("training_set")
    parts = [f"{numbers['cells']:,} cells", f"{numbers['seconds']:.1f} s"]
    if forces:
        parts.append(f"Cd {forces['cd']:.4f}  Cl {forces['cl']:.4f}")
    if place:
        parts.append(f"{place['level']} the training set" if place["level"] != "edge" else "edge of the training set")
    parts += [f"{name} error {100 * errors['rel_l2']:.1f} %" for name, errors in numbers["errors"].items()]
    return ", ".join(parts)
