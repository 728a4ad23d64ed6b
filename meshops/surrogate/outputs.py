"""What a prediction leaves on disk: mesh with fields, forces as JSON, pictures, report."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from meshops.aero.cases import Case
from meshops.io import write_json
from meshops.surrogate.base import Surrogate
from meshops.tasks.fields_report import FOR_STL
from meshops.tasks.fields_spec import FieldsSpec
from meshops.tasks.prediction import Prediction
from meshops.tasks.report import shown

NICE = {"pressure": "pressure", "shear": "wall shear stress", "velocity": "velocity"}


@dataclass(frozen=True)
class Written:
    """Files of one prediction.

    Attributes:
        mesh: VTP or VTU with the fields on the original cells.
        numbers: JSON.
        pictures: PNG files with captions.
        report: HTML or None.
    """

    mesh: Path
    numbers: Path
    pictures: tuple[tuple[Path, str], ...] = ()
    report: Path | None = None


def write_prediction(
    prediction: Prediction,
    surrogate: Surrogate,
    folder: Path,
    stem: str,
    *,
    pictures: bool = True,
    report: bool = False,
) -> Written:
    """Write the files of a prediction as ``<stem>_predicted.vtp``, ``<stem>.json``, ``<stem>_<field>.png``, ...

    Args:
        prediction: From ``surrogate.predict``.
        surrogate: For the report: what made the prediction.
        folder: Existing folder.
        stem: Start of the file names.
        pictures: Draw the fields.
        report: Write ``<stem>_report.html`` with the pictures in it.
    """
    from meshops.data.writers import write_mesh

    mesh = prediction.mesh
    suffix = ".vtp" if type(mesh).__name__ == "PolyData" else ".vtu"
    path = write_mesh(mesh, folder / f"{stem}_predicted{suffix}")
    numbers = folder / f"{stem}.json"
    write_json(numbers, prediction.to_dict() | {"surrogate": surrogate.info.get("data", {})})
    drawn = draw(prediction, _spec(surrogate), folder, stem) if pictures or report else []
    page = None
    if report:
        files = [Path(path.name), Path(numbers.name)]
        page = write_case_report(prediction, surrogate, folder / f"{stem}_report.html", drawn, files)
    return Written(path, numbers, tuple(drawn), page)


def draw(prediction: Prediction, spec: FieldsSpec, folder: Path, stem: str) -> list[tuple[Path, str]]:
    """Pictures with captions: of a body, one per field (truth, prediction, error where the truth is known)."""
    if not spec.bodies:
        return _draw_plain(prediction, spec, folder, stem)
    from meshops.viz.pictures import comparison_picture, surface_picture
    from meshops.viz.slices import slice_picture

    case = prediction.case
    mesh = case.original()
    axes: dict[str, Any] = {"flow": case.flow.flow, "up": case.flow.up}
    drawn = []
    for name, unit in zip(spec.fields, spec.units_at(case.flow), strict=True):
        values = prediction.fields[name]
        target = folder / f"{stem}_{file_part(name)}.png"
        title = f"{name}, predicted"
        if spec.domain == "volume":
            slice_picture(_with(mesh, f"{name}_predicted", values, case.location),
                          f"{name}_predicted", target, unit=unit, **axes)  # fmt: skip
        elif name in prediction.truth:
            comparison_picture(mesh, name, prediction.truth[name], values, target, unit=unit, **axes)
            title = f"{name}: true field, prediction, and their difference"
        else:
            surface_picture(mesh, values, target, title=title, unit=unit, association=case.location, **axes)
        drawn.append((target, _caption(name, spec, title)))
    return drawn


def _draw_plain(prediction: Prediction, spec: FieldsSpec, folder: Path, stem: str) -> list[tuple[Path, str]]:
    """Fields on a plane mesh side by side, or on a surface, one picture each."""
    case = prediction.case
    fields = {name: torch.as_tensor(values) for name, values in prediction.fields.items()}
    if spec.dim == 2:
        from meshops.viz.plane import graph_picture, plane_picture, triangles_of

        target = folder / f"{stem}.png"
        if len(prediction.truth) == len(fields):
            graph_picture(case.graph, fields, target)
        else:
            shown = {n: v if v.dim() == 1 else v.norm(dim=1) for n, v in fields.items()}
            plane_picture(case.graph.pos, triangles_of(case.graph), shown, target)
        return [(target, "predicted fields")]
    from meshops.data.surface import is_surface
    from meshops.viz.pictures import surface_picture

    mesh = case.original()
    if not is_surface(mesh):
        return []
    drawn = []
    for name, unit in zip(spec.fields, spec.units, strict=True):
        target = folder / f"{stem}_{file_part(name)}.png"
        title = f"{name}, predicted"
        surface_picture(mesh, prediction.fields[name], target, title=title, unit=unit, association=case.location)
        drawn.append((target, title))
    return drawn


def file_part(name: str) -> str:
    """A field's name as part of a file name: nothing in it can lead to another folder."""
    return re.sub(r"[^\w.() -]", "_", name).strip(". ") or "field"


def write_case_report(
    prediction: Prediction, surrogate: Surrogate, path: Path, pictures: list[tuple[Path, str]], files: list[Path]
) -> Path:
    """The HTML report of one prediction; ``files`` are links relative to it."""
    from meshops.viz.report import ReportData, TrustSection, write_report

    spec, case, verdict = _spec(surrogate), prediction.case, prediction.verdict
    trust = None
    if verdict is not None:
        rows = [(f"{name} [{unit}]" if unit else name, *rest) for name, unit, *rest in verdict.rows]
        trust = TrustSection(
            level=verdict.level,
            sentence=f"{verdict.sentence} Nearest training shape: {verdict.nearest}.",
            rows=rows,  # type: ignore[arg-type]
            expected_error=_expected(prediction, surrogate),
        )
    name = Path(case.label).name
    kind = "flow on" if spec.bodies else "fields of"
    return write_report(
        ReportData(
            title=f"Predicted {kind} {name}",
            subtitle=f"{case.rows:,} {'cells' if case.location == 'cell' else 'points'}, {prediction.seconds:.1f} s",
            summary=_summary(prediction),
            forces=_force_table(prediction),
            field_table=_field_table(prediction, spec),
            pictures=pictures,
            scene=_scene(prediction, spec),
            trust=trust,
            warnings=case.notes,
            provenance=_provenance(surrogate, case),
            downloads=[(file.as_posix(), _what(file)) for file in files],
        ),
        path,
    )


def _spec(surrogate: Surrogate) -> FieldsSpec:
    assert isinstance(surrogate.spec, FieldsSpec)
    return surrogate.spec


def _expected(prediction: Prediction, surrogate: Surrogate) -> tuple[list[str], list[list[Any]]] | None:
    """Held-out errors that apply to this prediction: with or without features of the mesh itself."""
    held_out: Any = surrogate.info.get("held_out") or {}
    plain = held_out.get("baselines", {}).get(FOR_STL)
    return expected_errors(held_out.get("mean", {}) if prediction.cues or not plain else plain, _spec(surrogate))


def expected_errors(mean: Mapping[str, Any], spec: FieldsSpec) -> tuple[list[str], list[list[Any]]] | None:
    """Errors of the surrogate on the cases it was not trained on, in words."""
    words = {f"{spec.short(n)}_rel_l2": f"{NICE.get(spec.short(n), n)}, relative L2" for n in spec.fields}
    words |= {
        "drag_error": "drag coefficient, mean absolute error",
        "lift_error": "lift coefficient, mean absolute error",
    }
    words |= {f"{name}_error": f"{name}, mean absolute error" for name in spec.numbers}
    rows = [[text, mean[key]] for key, text in words.items() if mean.get(key) is not None]
    return (["error on held-out cases", "value"], rows) if rows else None


def _summary(prediction: Prediction) -> list[tuple[str, str]]:
    rows = []
    if prediction.forces is not None:
        rows += [
            ("drag coefficient", f"{prediction.forces.cd:.3f}"),
            ("lift coefficient", f"{prediction.forces.cl:.3f}"),
        ]
    rows += [(name, shown(value)) for name, value in (prediction.numbers or {}).items()]
    for name, errors in prediction.errors.items():
        error = errors["rel_l2"]
        rows.append((f"{name}: error against the file", "not defined" if error is None else f"{100 * error:.1f} %"))
    return rows


def _force_table(prediction: Prediction) -> tuple[list[str], list[list[Any]]] | None:
    forces, true = prediction.forces, prediction.true_forces
    if forces is None:
        return None
    lines = {
        "drag coefficient": "cd",
        "of it pressure": "cd_pressure",
        "of it friction": "cd_friction",
        "lift coefficient": "cl",
        "side-force coefficient": "cs",
        "reference area [m²]": "frontal_area",
        "closure |Σ n A| / Σ A": "closure",
    }
    columns = ["", "predicted"] + (["from the file's fields", "difference"] if true is not None else [])
    rows = []
    for text, key in lines.items():
        value = getattr(forces, key)
        known = [] if true is None else [getattr(true, key), value - getattr(true, key)]
        rows.append([text, value, *known])
    return columns, rows


def _field_table(prediction: Prediction, spec: FieldsSpec) -> tuple[list[str], list[list[Any]]]:
    columns = ["field", "unit", "min", "mean", "max"]
    if prediction.errors:
        columns += ["rel. L2", "rel. L2 (area)", "MAE", "R²"]
    rows = []
    for name, unit in zip(spec.fields, spec.units_at(prediction.case.flow), strict=True):
        values = prediction.fields[name]
        length = values if values.ndim == 1 else np.linalg.norm(values, axis=1)
        row: list[Any] = [name if values.ndim == 1 else f"|{name}|", unit, *(float(f(length)) for f in _RANGE)]
        if name in prediction.errors:
            errors = prediction.errors[name]
            row += [errors["rel_l2"], errors.get("rel_l2_area", "–"), errors["mae"], errors["r2"]]
        elif prediction.errors:
            row += ["–"] * 4
        rows.append(row)
    return columns, rows


_RANGE = (np.min, np.mean, np.max)


def _scene(prediction: Prediction, spec: FieldsSpec) -> str | None:
    if spec.domain != "surface":
        return None
    from meshops.viz.scene import scene_html

    fields = {f"{name} (predicted)": values for name, values in prediction.fields.items()}
    units = {
        f"{name} (predicted)": unit for name, unit in zip(spec.fields, spec.units_at(prediction.case.flow), strict=True)
    }
    for name, truth in prediction.truth.items():
        error = prediction.fields[name] - truth
        fields[f"{name} (error)"] = error
        units[f"{name} (error)"] = units[f"{name} (predicted)"]
    conditions = prediction.case.flow
    return scene_html(prediction.case.original(), fields, units=units, flow=conditions.flow, up=conditions.up)


def _provenance(surrogate: Surrogate, case: Case) -> dict[str, dict[str, str]]:
    info = {key: value for key, value in surrogate.info.items() if isinstance(value, dict) and key != "held_out"}
    sections = {key: {k: str(v) for k, v in values.items()} for key, values in info.items()}
    model = sections.setdefault("model", {})
    model["name"] = surrogate.task.made.name
    model |= {k: str(v) for k, v in surrogate.task.made.arguments.items()}
    c = case.flow
    sections["conditions"] = {"speed": f"{c.speed:g} m/s", "density": f"{c.density:g} kg/m³", "flow": str(c.flow)}
    sections["input"] = {"file": case.label}
    return sections


def _caption(name: str, spec: FieldsSpec, title: str) -> str:
    role = next((text for role, text in NICE.items() if getattr(spec, role) == name), None)
    return title if role is None else f"{role[0].upper()}{role[1:]} ({title})"


def _with(mesh: Any, name: str, values: Any, location: str) -> Any:
    out = mesh.copy(deep=False)
    (out.cell_data if location == "cell" else out.point_data)[name] = values
    return out


def _what(file: Path) -> str:
    return {".vtp": "surface with predicted fields", ".vtu": "volume with predicted fields",
            ".json": "forces and errors"}.get(file.suffix, file.name)  # fmt: skip
