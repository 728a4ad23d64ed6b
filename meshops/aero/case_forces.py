"""Forces of a case: its fields integrated over the surface, and the least change of a field that gives other ones.

A coefficient is linear in the pressure p: C = sum_i w_i p_i + (what the friction gives). The change of p of the least
area-weighted square that shifts coefficients C_k by d_k is

    dp_i = sum_k m_k w_ki / a_i,     sum_l G_kl m_l = d_k,     G_kl = sum_i w_ki w_li / a_i

(a_i: area of a node; the minimum-norm solution of the linear constraints).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from meshops.aero.body_surface import BodySurface
from meshops.aero.case_spec import CaseSpec
from meshops.aero.conditions import FlowConditions
from meshops.aero.forces import Forces, integrate_forces
from meshops.data.mesh_graph import MeshGraph

Array = NDArray[np.float64]


class OnSurface(Protocol):
    """What is needed of a case to integrate over it, see :class:`meshops.aero.cases.Case`."""

    graph: MeshGraph
    location: Literal["cell", "point"]
    flow: FlowConditions
    body: BodySurface | None
    parents: NDArray[np.int64] | None


def case_forces(
    case: OnSurface, fields: Mapping[str, NDArray[np.float32]], spec: CaseSpec, *, mesh: bool
) -> Forces | None:
    """Integrate fields; None without a surface, a pressure that is known everywhere, or a stated flow.

    Args:
        case: An opened case.
        fields: At the nodes of its graph, or on its mesh.
        spec: Says which field is the pressure.
        mesh: The fields are those on the mesh of the file (they differ where it was refined).
    """
    if case.body is None or spec.pressure is None or spec.pressure not in fields or not spec.flow_stated:
        return None
    if not np.isfinite(fields[spec.pressure]).all():
        return None
    pressure = per_cell(case, fields[spec.pressure])
    shear = None if spec.shear is None or spec.shear not in fields else per_cell(case, fields[spec.shear])
    if shear is not None and not np.isfinite(shear).all():
        return None
    normal, area = _surface(case, mesh=mesh)
    frontal = case.body.frontal_area(case.flow)
    return integrate_forces(normal, area, pressure, case.flow, frontal_area=frontal, shear=shear)


def per_cell(case: OnSurface, values: NDArray[np.float32]) -> Array:
    """Point values averaged over the points of each cell; cell values as they are."""
    if case.location == "cell":
        return np.asarray(values, dtype=np.float64)
    size, nodes = case.graph.cell_size.numpy(), case.graph.cell_nodes.numpy()
    starts = np.concatenate([[0], np.cumsum(size)[:-1]])
    rows = np.asarray(values, dtype=np.float64)[nodes]
    return np.asarray(np.add.reduceat(rows, starts, axis=0) / (size if rows.ndim == 1 else size[:, None]))


def with_coefficients(
    case: OnSurface, pressure: NDArray[np.float32], change: Mapping[str, float], *, mesh: bool = False
) -> NDArray[np.float32]:
    """The pressure ``[n]`` changed as little as shifts the coefficients ``cd``, ``cl``, ``cs`` by ``change``."""
    assert case.body is not None
    normal, area = _surface(case, mesh=mesh)
    flow = case.flow
    axes = dict(zip(("cd", "cs", "cl"), flow.frame, strict=True))
    q = flow.dynamic_pressure * case.body.frontal_area(flow)
    weights = [-(normal @ axes[name]) * area / q for name in change]
    size = area
    if case.location != "cell":
        weights, size = [_at_points(case, w) for w in weights], _at_points(case, area)
    w = np.stack(weights)
    share = np.divide(w, size, out=np.zeros_like(w), where=size > 0)
    gram = w @ share.T
    multiplier = np.linalg.lstsq(gram, np.array(list(change.values())), rcond=1e-9)[0]
    return np.asarray(pressure + multiplier @ share, dtype=np.float32)


def _surface(case: OnSurface, *, mesh: bool) -> tuple[Array, Array]:
    """Normals and areas of the cells of the mesh, or of the finer ones the model worked on."""
    assert case.body is not None
    if mesh or case.parents is None:
        return case.body.normal, case.body.area
    return case.graph.normal.numpy().astype(np.float64), case.graph.area.numpy().astype(np.float64)


def _at_points(case: OnSurface, values: Array) -> Array:
    """Cell values dealt evenly to the points of the cells."""
    size, nodes = case.graph.cell_size.numpy(), case.graph.cell_nodes.numpy()
    out = np.zeros(len(case.graph.pos))
    np.add.at(out, nodes, np.repeat(values / size, size))
    return out
