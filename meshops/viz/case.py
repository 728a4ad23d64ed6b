"""A case and predicted fields on it: pictures, an interactive scene, and the tables of its report."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from meshops.aero.case_spec import CaseSpec
from meshops.aero.cases import Case
from meshops.aero.forces import Forces
from meshops.viz.report import Table

Fields = Mapping[str, NDArray[np.float32]]
NICE = {"pressure": "pressure", "shear": "wall shear stress", "velocity": "velocity"}
RANGE: dict[str, Callable[..., Any]] = {"min": np.min, "mean": np.mean, "max": np.max}
FORCES = {
    "drag coefficient": "cd",
    "of it pressure": "cd_pressure",
    "of it friction": "cd_friction",
    "lift coefficient": "cl",
    "side-force coefficient": "cs",
    "reference area [m²]": "frontal_area",
    "closure |Σ n A| / Σ A": "closure",
}


def draw_case(case: Case, fields: Fields, spec: CaseSpec, folder: Path, stem: str) -> list[tuple[Path, str]]:
    """Pictures with captions: of a plane mesh one, else one per field (truth, prediction, error where known).

    Args:
        case: As it was opened; its truth is drawn beside the prediction.
        fields: Predicted, per cell or point of its mesh.
        spec: Says what the fields are.
        folder: Where the pictures go.
        stem: Start of their names.
    """
    if not spec.bodies and spec.dim == 2:
        return [(_draw_plane(case, fields, folder / f"{stem}.png"), "predicted fields")]
    from meshops.data.surface import is_surface
    from meshops.viz.pictures import comparison_picture, surface_picture
    from meshops.viz.slices import slice_picture

    mesh = case.original()
    if not spec.bodies and not is_surface(mesh):
        return []
    axes: dict[str, Any] = {"flow": case.flow.flow, "up": case.flow.up} if spec.bodies else {}
    drawn = []
    for name, unit in zip(spec.fields, spec.units_at(case.flow), strict=True):
        values, target = fields[name], folder / f"{stem}_{file_part(name)}.png"
        title = f"{name}, predicted"
        if spec.domain == "volume":
            slice_picture(mesh, values, target, title=f"{name}_predicted", unit=unit, **axes)
        elif spec.bodies and name in case.truth and np.isfinite(case.truth[name]).all():
            comparison_picture(mesh, name, case.truth[name], values, target, unit=unit, **axes)
            title = f"{name}: true field, prediction, and their difference"
        else:
            surface_picture(mesh, values, target, title=title, unit=unit, association=case.location, **axes)
        role = NICE.get(spec.short(name), "") if spec.bodies else ""
        drawn.append((target, f"{role[0].upper()}{role[1:]} ({title})" if role else title))
    return drawn


def case_scene(case: Case, fields: Fields, spec: CaseSpec) -> str | None:
    """Interactive scene of the predicted fields and their errors on a surface of a body; None for others."""
    if spec.domain != "surface":
        return None
    from meshops.viz.scene import scene_html

    shown, units = {}, {}
    for name, unit in zip(spec.fields, spec.units_at(case.flow), strict=True):
        shown[f"{name} (predicted)"] = fields[name]
        units[f"{name} (predicted)"] = units[f"{name} (error)"] = unit
    shown |= {f"{name} (error)": fields[name] - truth for name, truth in case.truth.items() if np.isfinite(truth).all()}
    return scene_html(case.original(), shown, units=units, flow=case.flow.flow, up=case.flow.up)


def field_table(
    case: Case, fields: Fields, errors: Mapping[str, Mapping[str, Any]], spec: CaseSpec, widths: Fields | None = None
) -> Table:
    """Range of each field (of the length of vectors), half its interval, and its errors where the truth is known."""
    half = ["interval: ±, on average"] if widths else []
    columns = {"rel. L2": "rel_l2", "rel. L2 (area)": "rel_l2_area", "MAE": "mae", "R²": "r2"} if errors else {}
    rows = []
    for name, unit in zip(spec.fields, spec.units_at(case.flow), strict=True):
        values = fields[name]
        length = values if values.ndim == 1 else np.linalg.norm(values, axis=1)
        row = [
            name if values.ndim == 1 else f"|{name}|",
            unit,
            *(float(function(length)) for function in RANGE.values()),
        ]
        row += [float(np.mean(widths[name]))] if widths else []
        rows.append([*row, *(errors.get(name, {}).get(key, "–") for key in columns.values())])
    return Table(["field", "unit", *RANGE, *half, *columns], rows)


def force_table(forces: Forces | None, true: Forces | None) -> Table | None:
    """Coefficients of integrated fields, beside those of the true ones where they are known."""
    if forces is None:
        return None
    columns, rows = ["", "predicted"] + (["from the file's fields", "difference"] if true is not None else []), []
    for text, key in FORCES.items():
        value = getattr(forces, key)
        rows.append([text, value] if true is None else [text, value, getattr(true, key), value - getattr(true, key)])
    return Table(columns, rows)


def file_part(name: str) -> str:
    """A field's name as part of a file name: nothing in it can lead to another folder."""
    return re.sub(r"[^\w.() -]", "_", name).strip(". ") or "field"


def _draw_plane(case: Case, fields: Fields, path: Path) -> Path:
    """Truth, prediction and error of the first scalar field, or all predicted fields where a truth is unknown."""
    from meshops.viz.plane import canvas, graph_picture, plane_picture

    values = {name: torch.as_tensor(array) for name, array in fields.items()}
    if all(name in case.truth and name in case.graph.fields for name in values):
        return graph_picture(case.graph, values, path)
    panels = {name: v if v.dim() == 1 else v.norm(dim=1) for name, v in values.items()}
    return plane_picture(panels=panels, path=path, **canvas(case.graph))
