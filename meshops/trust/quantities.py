"""Numbers of the fields of a case: coefficients, peaks, and averages that other numbers are learnt from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from meshops.aero.case_forces import per_cell
from meshops.aero.case_spec import CaseSpec
from meshops.aero.cases import Case
from meshops.aero.descriptors import facing
from meshops.aero.forces import Forces
from meshops.data.mesh_graph import MeshGraph
from meshops.data.outline import outline
from meshops.data.shape import shape_numbers
from meshops.tasks.fields import FieldsTask
from meshops.tasks.prediction import RawFields

Array = NDArray[np.float64]
Fields = Mapping[str, NDArray[np.float32]]
COEFFICIENTS = ("cd", "cl")
TABLE = " of the table"  # a number that is called as a coefficient, but is not the integrated one
FACES = 20  # numbers that tell which way the surface of a body faces


class Quantity(NamedTuple):
    """A number of the fields of a case.

    Attributes:
        value: The number.
        unit: Of it.
        place: ``[dim]`` where it is, in the coordinates of the graph; None for integrals.
    """

    value: float
    unit: str
    place: Array | None = None


def coefficients(forces: Forces | None) -> dict[str, Quantity]:
    """Drag and lift coefficient, where forces can be integrated."""
    return {} if forces is None else {name: Quantity(float(getattr(forces, name)), "") for name in COEFFICIENTS}


def free(name: str, values: NDArray[np.float32], case: Case, spec: CaseSpec) -> Array:
    """A field without density and speed of its flow: what can be compared between flows."""
    shift, scale = spec.scaling(case.flow)[name]
    return (np.asarray(values, dtype=np.float64) - shift) / abs(scale)


def peaks(case: Case, fields: Fields, spec: CaseSpec) -> dict[str, Quantity]:
    """Largest and smallest value of each scalar field, largest length of each vector, at the nodes of the graph.

    Free of density and speed, see :func:`free`; :func:`in_flow` is the way back.
    """
    out = {}
    pos = case.graph.pos.double().numpy()
    units = dict(zip(spec.fields, spec.units_at(case.flow), strict=True))
    for name, values in fields.items():
        if len(values) != len(pos):
            continue
        rows = free(name, values, case, spec)
        plain = rows.ndim == 1
        rows = rows if plain else np.linalg.norm(rows, axis=1)
        if not np.isfinite(rows).any():
            continue
        ends = {"max": np.nanargmax, "min": np.nanargmin} if plain else {"max": np.nanargmax}
        for end, find in ends.items():
            at = int(find(rows))
            out[f"{end} {name}" if plain else f"{end} |{name}|"] = Quantity(float(rows[at]), units[name], pos[at])
    return out


def in_flow(peak: str, case: Case, spec: CaseSpec) -> tuple[float, float]:
    """Shift and scale that bring a peak of :func:`peaks` into the flow of a case."""
    name = peak.split(" ", 1)[1]
    plain = name in spec.fields
    shift, scale = spec.scaling(case.flow)[name if plain else name[1:-1]]
    return (shift if plain else 0.0), abs(scale)


def averages(case: Case, fields: Fields, spec: CaseSpec) -> Array:
    """What a number of the case is regressed on beside its shape: averages of the fields.

    On bodies with a pressure: what the front, the sides and the rear give to drag and lift, and the friction; else mean
    and standard deviation of every channel, by area where nodes have one.
    """
    forces = case.forces(fields, spec)
    if case.body is None or forces is None or spec.pressure is None:
        return _moments(case.graph, {name: free(name, values, case, spec) for name, values in fields.items()})
    body, flow = (case.graph, case.flow) if case.parents is not None else (case.body, case.flow)
    normal = np.asarray(body.normal, dtype=np.float64) @ flow.frame.T
    area = np.asarray(body.area, dtype=np.float64)
    gauge = per_cell(case, fields[spec.pressure]) - flow.reference_pressure
    pressure = -gauge * area / (flow.dynamic_pressure * forces.frontal_area)
    out = []
    for part in (normal[:, 0] < -0.3, np.abs(normal[:, 0]) <= 0.3, normal[:, 0] > 0.3):
        out += [float((pressure * normal[:, k])[part].sum()) for k in (0, 2)]
    return np.array([*out, forces.cd_friction])


def _moments(graph: MeshGraph, fields: Mapping[str, Array]) -> Array:
    area = graph.get("area")
    weight = np.ones(len(graph.pos)) if area is None else area.double().numpy()
    weight = weight / weight.sum()
    columns = np.concatenate([np.asarray(v, dtype=np.float64).reshape(len(weight), -1) for v in fields.values()], 1)
    mean = weight @ columns
    return np.concatenate([mean, np.sqrt(np.maximum(weight @ (columns - mean) ** 2, 0))])


def case_vector(case: Case, prepared: MeshGraph, spec: CaseSpec, *, shape: bool) -> Array:
    """``[v]`` conditions, then what describes the shape: of a body its descriptors and, last, which way it faces.

    Args:
        case: As opened.
        prepared: As the model sees it.
        spec: Conditions.
        shape: Shapes differ between cases.
    """
    told = [case.conditions[name] for name in spec.conditions]
    if not shape:
        return np.array(told, dtype=np.float64)
    if not spec.fields:
        return np.concatenate([told, outline(prepared)])
    if case.body is not None:
        body, flow = case.body, case.flow
        numbers = [body.descriptors(flow)[1:], facing(body.normal, body.area, body.frontal_area(flow), flow)]
        return np.concatenate([told, *numbers])
    return np.concatenate([told, shape_numbers(prepared.pos, prepared.get("area")).double().numpy()])


def quantities_of(raw: RawFields, nodes: Mapping[str, Any], task: FieldsTask) -> dict[str, Quantity]:
    """Coefficients and peaks of fields at the nodes, and what a trained head says."""
    found = {**coefficients(raw.case.forces(nodes, task.spec)), **peaks(raw.case, nodes, task.spec)}
    for name, value in task.learnt_numbers(raw).items():
        unit = task.spec.named(name).removeprefix(name).strip(" []")
        found[name + TABLE if name.casefold() in found else name] = Quantity(value, unit)
    return found


def true_quantities(case: Case, task: FieldsTask) -> dict[str, Quantity]:
    """The same of the known fields, as far as they are known."""
    return {**coefficients(case.true_forces(task.spec)), **peaks(case, case.truth, task.spec)}


def size_of(case: Case) -> float:
    """Diagonal of the box of the nodes."""
    pos = case.graph.pos.double()
    return float((pos.amax(0) - pos.amin(0)).norm())
