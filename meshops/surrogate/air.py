"""What a surrogate says of the air at the cells of a volume mesh: velocity and pressure, for a solver to start from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyvista as pv
import torch

from meshops.aero.around import INPUTS, points_around
from meshops.aero.case_spec import ROLE_NAMES
from meshops.data.cells import cells_of, segment_sum
from meshops.data.surface import oriented_geometry
from meshops.data.volume_body import extract_body
from meshops.errors import InputError, listing
from meshops.surrogate.base import Surrogate

Array = np.ndarray[Any, Any]
TURBULENCE = {"k": ("kMean", "k"), "nut": ("nutMean", "nut")}
NEEDS = (
    "a start needs velocity and pressure in the air: train on cases with volumes, e.g. meshops generate ahmed --volume "
    "and meshops train models/mspt/ahmed.yaml with data.options domain: volume (or all)"
)


def air_fields(surrogate: Surrogate, velocity: str | None = None, pressure: str | None = None) -> dict[str, str]:
    """``U``, ``p``, and ``k`` and ``nut`` where they are predicted -> field of the surrogate.

    Args:
        surrogate: Of kind fields.
        velocity: Its field; None: by its role.
        pressure: The same.

    Raises:
        InputError: It does not predict velocity and pressure in the air.
    """
    if surrogate.kind != "fields":
        raise InputError(f"this surrogate is of kind '{surrogate.kind}', which does not predict single cases; {NEEDS}")
    spec: Any = surrogate.spec
    if spec.domain == "surface":
        raise InputError(f"this surrogate predicts fields on the surface alone ({listing(spec.fields)}); {NEEDS}")
    if spec.dim != 3:
        raise InputError(f"this surrogate is of {spec.dim}-D cases; {NEEDS}")
    if spec.domain == "graph" and tuple(spec.inputs) != INPUTS:
        raise InputError(
            f"this surrogate has the inputs {listing(spec.inputs)}, of which nothing is known for a new mesh; taken "
            f"are those of bodies in a flow, and of points around them ({listing(INPUTS)})"
        )
    role = {
        role: getattr(spec, role) or next((n for n in ROLE_NAMES[role] if n in spec.fields), None)
        for role in ("velocity", "pressure")
    }
    beside = f"{role['pressure']}_volume"  # what the pressure of the air is called beside that of the surface
    known = beside if beside in spec.fields else role["pressure"]
    found: dict[str, Any] = {"U": velocity or role["velocity"], "p": pressure or known}
    for what, name in found.items():
        if name is None or name not in spec.fields:
            option = {"U": "--velocity", "p": "--pressure"}[what]
            raise InputError(
                f"this surrogate predicts {listing(spec.fields)}, and none of them is known as {what}"
                + (f" ('{name}' is not among them)" if name else "")
                + f"; name it with {option} NAME. {NEEDS}"
            )
    sizes = dict(zip(spec.fields, spec.sizes, strict=True))
    for what, size in (("U", 3), ("p", 1)):
        if sizes[found[what]] != size:
            raise InputError(
                f"'{found[what]}' has {sizes[found[what]]} channels, {what} has {size}; name another field"
            )
    more = {k: next((n for n in names if n in spec.fields), None) for k, names in TURBULENCE.items()}
    return found | ({k: n for k, n in more.items() if n} if all(more.values()) else {})


def air_at_cells(
    surrogate: Surrogate, mesh: pv.UnstructuredGrid, *, fields: Mapping[str, str],
    conditions: Mapping[str, float] | None = None,
) -> dict[str, Array]:  # fmt: skip
    """Predict at the cells of a volume mesh around a body.

    Args:
        surrogate: That :func:`air_fields` took.
        mesh: All of the volume; half of a symmetric one does not show the body whole.
        fields: From :func:`air_fields`.
        conditions: Of the case, see :meth:`Surrogate.predict`.

    Returns:
        ``U`` ``[c, 3]`` m/s, ``p`` ``[c]`` m^2/s^2 (divided by the density), ``k`` and ``nut`` where it predicts them.
    """
    spec: Any = surrogate.spec
    if spec.domain == "graph":
        body = extract_body(mesh)
        center, normal, _, _ = oriented_geometry(body, label="body")
        points = np.asarray(mesh.cell_centers().points)
        graph = points_around(*(torch.tensor(np.asarray(a), dtype=torch.float32) for a in (points, center, normal)))
        told = surrogate.predict(graph, conditions=conditions)
    else:
        told = surrogate.predict(mesh, conditions=conditions)
    out = {what: np.asarray(told.fields[name], dtype=np.float64) for what, name in fields.items()}
    out = {what: _at_cells(values, mesh, spec) for what, values in out.items()}
    flow = told.case.flow or spec.flow
    shift = flow.reference_pressure if spec.flow_stated else 0.0
    out["p"] = (out["p"].reshape(-1) - shift) / (1.0 if flow.kinematic else flow.density)
    return out


def _at_cells(values: Array, mesh: pv.UnstructuredGrid, spec: Any) -> Array:
    if spec.domain == "graph":
        return values[: mesh.n_cells]
    if spec.location == "cell":
        return values
    cells = cells_of(mesh)
    total = segment_sum(values[cells.nodes], cells.owner, cells.size.size)
    return np.asarray(total / (cells.size if values.ndim == 1 else cells.size[:, None]))
