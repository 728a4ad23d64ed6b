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


def rollout_table(metrics: Mapping[str, Any]) -> str:
    """Errors of one step beside keeping the last frame and the floor of the tokens, then errors along the rollout."""
    columns = ("vrmse", "nmse", "mse", "mae")
    rows = {"one step": "one_step", "keep last frame": "persistence", "token floor": "floor"}
    lines = ["held-out".ljust(16) + "".join(name.upper().rjust(12) for name in columns)]
    for name, key in rows.items():
        lines.append(name.ljust(16) + "".join(f"{metrics[key][column]:.3e}".rjust(12) for column in columns))
    curve = metrics["rollout"]["vrmse"]
    places = sorted({0, len(curve) // 4, len(curve) // 2, len(curve) - 1})
    kept = metrics["rollout"]["vrmse_persistence"]
    lines.append("rollout VRMSE " + ", ".join(f"step {i + 1}: {curve[i]:.3f} (kept {kept[i]:.3f})" for i in places))
    return "\n".join(lines)
