"""What the page says of a model before anything is predicted: fields, conditions with their ranges, files it takes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshops.surrogate.outputs import WORDS

if TYPE_CHECKING:
    from meshops.surrogate import Surrogate

# Files that are whole by themselves. Others (indexes, cases of many files, HDF5 with links, Abaqus with *INCLUDE) may
# name further files, and a stranger's upload must not make the server read those.
ALONE = (
    ".stl", ".vtp", ".vtu", ".vtk", ".obj", ".ply", ".vti", ".vts", ".vtr", ".msh", ".su2", ".dat", ".plt", ".tec",
    ".bdf", ".nas", ".fem", ".avs", ".mesh", ".meshb", ".ugrid", ".frd", ".glb",
)  # fmt: skip
FLOW_UNITS = {
    "speed": "m/s", "density": "kg/m³", "yaw": "degrees", "pitch": "degrees", "viscosity": "Pa s",
    "reference_pressure": "of the pressure", "ground": "m", "frontal_area": "m²",
}  # fmt: skip


def card(surrogate: Surrogate, checkpoint: Path) -> dict[str, Any]:
    """Plain values."""
    from meshops.tasks.fields import FieldsTask
    from meshops.tasks.numbers import NumbersTask
    from meshops.trust import behind

    task = surrogate.task
    assert isinstance(task, FieldsTask | NumbersTask)
    spec = task.spec
    data, held_out = surrogate.info.get("data"), surrogate.info.get("held_out")
    name = str(data.get("name", "")) if isinstance(data, dict) else ""
    folder = checkpoint.parent.name
    return {
        "name": name or folder,
        "checkpoint": f"{folder}/{checkpoint.name}",
        "model": task.made.name or "regressions",
        "cases": 0 if surrogate.novelty is None else len(surrogate.novelty.shapes),
        "fields": [{"name": n, "unit": u} for n, u in zip(spec.fields, spec.units, strict=True)],
        "numbers": [WORDS.get(n, n) for n in _numbers(surrogate)],
        "bodies": spec.bodies,
        "mesh": _needs_a_mesh(surrogate),
        "conditions": _conditions(surrogate),
        "flow": _flow(task),
        "compares": _why_not(surrogate),
        "endings": list(ALONE),
        "warnings": behind(held_out),
    }


def _needs_a_mesh(surrogate: Surrogate) -> bool:
    """Whether a file must be given; else the shape is that of all training cases."""
    if surrogate.kind == "numbers":
        return surrogate.trust is None or surrogate.trust.shape
    return getattr(surrogate.task, "reference", None) is None


def _conditions(surrogate: Surrogate) -> list[dict[str, Any]]:
    """Those the model was told, with their range in the training."""
    task: Any = surrogate.task
    known = dict(getattr(task, "condition_range", {}))
    if surrogate.kind == "numbers" and surrogate.novelty is not None:
        low, high = surrogate.novelty.values.min(0), surrogate.novelty.values.max(0)
        known = {name: (float(low[i]), float(high[i])) for i, (name, _) in enumerate(surrogate.novelty.described)}
    out = []
    for name in task.spec.conditions:
        low, high = known.get(name, (None, None))
        unit = task.spec.named(name).removeprefix(name).strip(" []")
        out.append({"name": name, "unit": unit, "low": low, "high": high})
    return out


def _flow(task: Any) -> list[dict[str, Any]]:
    """Numbers of the flow that may be set beside the conditions, with their value in the training."""
    if not task.spec.flow_stated:
        return []
    flow = task.spec.flow
    return [
        {"name": name, "unit": FLOW_UNITS[name], "value": getattr(flow, name, 0.0)}
        for name in FLOW_UNITS
        if name not in task.spec.conditions
    ]


def _numbers(surrogate: Surrogate) -> list[str]:
    return [] if surrogate.trust is None else [number.name for number in surrogate.trust.numbers]


def _why_not(surrogate: Surrogate) -> str:
    """Why designs cannot be compared; empty: they can."""
    trust = surrogate.trust
    if trust is None:
        return "the surrogate is not calibrated (meshops evaluate CKPT --calibrate ROOT)"
    if not trust.numbers:
        return "the surrogate predicts no number to compare designs by"
    return "" if trust.shape else "the surrogate learnt one shape only"
