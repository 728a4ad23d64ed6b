"""Slices through volume meshes: the plane of symmetry and one cross-section behind the body."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from meshops.errors import InputError
from meshops.viz.camera import View, flat_view, flow_frame, look_along
from meshops.viz.colors import ColorScale, color_scale, magnitude, number
from meshops.viz.layout import Bar, Panel, row_height, sheet
from meshops.viz.render import Frame, field_values, fit, render, surface_of

SOLID = "#c9cdd3"

# What is shown around the body, in body lengths: before, behind, and above and beside it.
BEFORE, BEHIND, AROUND = 0.4, 1.2, 0.45
# The cross-section lies this part of the body length behind its rear end.
WAKE = 0.25


@dataclass(frozen=True, kw_only=True)
class _Cut:
    view: View
    axes: tuple[int, int]
    caption: str
    names: tuple[str, str]
    piece: Any
    frame: Frame
    box: tuple[float, float, float, float]


def slice_picture(
    volume_mesh: Any,
    field: str | np.ndarray,
    path: str | Path,
    *,
    title: str | None = None,
    unit: str = "",
    clim: Sequence[float] | None = None,
    cmap: str | None = None,
    flow: Sequence[float] = (1, 0, 0),
    up: Sequence[float] = (0, 0, 1),
) -> Path:
    """Draw a field on the plane of symmetry and on one cross-section of a volume mesh.

    The plane of symmetry is lateral position 0 where the mesh has it, else the middle of the mesh. The body is
    found as the boundary points that lie on none of the outer planes of the mesh; the picture shows its
    surroundings and the cross-section lies a quarter of its length behind it. Without a body the whole mesh
    is shown and cut through its middle. Solid regions are gray.

    Args:
        volume_mesh: PyVista volume mesh, polyhedra included; a planar mesh is drawn as it is.
        field: Name of an array, or values with one row per cell (or point).
        path: PNG to write.
        title: Above the picture; the field's name by default.
        unit: Of the field, for the color bar.
        clim: Color limits; by default the 1-99 % percentiles of what is seen.
        cmap: A matplotlib map; chosen by sign if None.
        flow: Direction of the free stream.
        up: Direction of lift.
    """
    frame = flow_frame(flow, up)
    raw, association = field_values(volume_mesh, field, None)
    mesh = volume_mesh.copy(deep=False)
    mesh.clear_data()
    (mesh.cell_data if association == "cell" else mesh.point_data)["shown"] = magnitude(raw)
    name = field if isinstance(field, str) else (title or "field")
    if flat_view(mesh.points, frame) is None:
        cuts = _cuts(mesh, frame)
    else:
        cuts = [_planar(mesh, frame)]
    # Cells are small where the flow varies, so percentiles count cells here: by area the far field would decide.
    scale = color_scale(np.concatenate([_seen(cut, association) for cut in cuts]), clim=clim, cmap=cmap)
    height = row_height([cut.frame.aspect for cut in cuts], most=620, axes=True)
    row = [_panel(cut, scale, height, association, frame[0]) for cut in cuts]
    label = f"|{name}|" if raw.ndim == 2 and raw.shape[1] > 1 else name
    bar = Bar(scale=scale, label=f"{label} ({unit})" if unit else label, first=0, last=len(row) - 1)
    return sheet([row], [bar], path, title=title or name)


def body_box(mesh: Any, frame: np.ndarray) -> np.ndarray | None:
    """Bounds ``[2, 3]`` (low, high) of the body in the axes of ``frame``, None where there is no body.

    Args:
        mesh: Volume mesh.
        frame: ``[3, 3]`` rows flow, lateral, up.
    """
    surface = np.asarray(surface_of(mesh).points) @ frame.T
    if len(surface) == 0:
        return None
    low, high = surface.min(axis=0), surface.max(axis=0)
    slack = 1e-4 * (high - low).max()
    inside = ((surface > low + slack) & (surface < high - slack)).all(axis=1)
    if not inside.any():
        return None
    body = surface[inside]
    return np.stack([body.min(axis=0), body.max(axis=0)])


def _cuts(mesh: Any, frame: np.ndarray) -> list[_Cut]:
    points = np.asarray(mesh.points) @ frame.T
    domain = np.stack([points.min(axis=0), points.max(axis=0)])
    body = body_box(mesh, frame)
    lateral = _lateral_position(domain)
    if body is None:
        window, behind = domain, float(domain[:, 0].mean())
    else:
        length = float(body[1, 0] - body[0, 0])
        room = np.array([[BEFORE, AROUND, AROUND], [BEHIND, AROUND, AROUND]]) * length
        window = np.stack([np.maximum(body[0] - room[0], domain[0]), np.minimum(body[1] + room[1], domain[1])])
        behind = min(float(body[1, 0]) + WAKE * length, float(domain[1, 0] - 0.01 * (domain[1, 0] - domain[0, 0])))
    names = _axis_names(frame)
    return [
        _cut(mesh, frame, 1, lateral, window, (0, 2), look_along(-frame[1], frame[2], "side"), names),
        _cut(mesh, frame, 0, behind, window, (1, 2), look_along(frame[0], frame[2], "rear"), names),
    ]


def _cut(
    mesh: Any,
    frame: np.ndarray,
    normal: int,
    position: float,
    window: np.ndarray,
    axes: tuple[int, int],
    view: View,
    names: Sequence[str],
) -> _Cut:
    origin = window.mean(axis=0)
    origin[normal] = position
    piece = mesh.slice(normal=tuple(frame[normal]), origin=tuple(origin @ frame))
    if piece.n_cells == 0:
        raise InputError(f"the plane {names[normal]} = {number(position)} m cuts no cell; check flow and up")
    width, height = window[1, list(axes)] - window[0, list(axes)]
    what = "plane of symmetry" if normal == 1 else "cross-section"
    box = (*window[:, axes[0]], *window[:, axes[1]])
    return _Cut(
        view=view,
        axes=axes,
        caption=f"{what}, {names[normal]} = {number(_rounded(position, float(np.ptp(window))))} m",
        names=(f"{names[axes[0]]} (m)", f"{names[axes[1]]} (m)"),
        piece=piece,
        frame=Frame(center=origin @ frame, width=float(width), height=float(height)),
        box=(float(box[0]), float(box[1]), float(box[2]), float(box[3])),
    )


def _planar(mesh: Any, frame: np.ndarray) -> _Cut:
    view = flat_view(mesh.points, frame)
    assert view is not None
    seen = fit(mesh.points, view, margin=0.02)
    right, upward = (float(v) for v in view.project(seen.center))
    half = (0.5 * seen.width, 0.5 * seen.height)
    box = (right - half[0], right + half[0], upward - half[1], upward + half[1])
    names = _axis_names(np.stack([view.right, view.up, view.toward]))
    return _Cut(
        view=view, axes=(0, 1), caption=view.name, names=(f"{names[0]} (m)", f"{names[1]} (m)"), piece=mesh,
        frame=seen, box=box,
    )  # fmt: skip


def _panel(cut: _Cut, scale: ColorScale, height: int, association: str, flow: np.ndarray) -> Panel:
    data = cut.piece.cell_data if association == "cell" else cut.piece.point_data
    picture = render(
        cut.piece,
        np.asarray(data["shown"]),
        association,
        cut.view,
        cut.frame,
        scale=scale,
        size=(max(round(height * cut.frame.aspect), 60), height),
        background=SOLID,
        lit=False,
        outline=False,
    )
    return Panel(picture=picture, caption=cut.caption, view=cut.view, flow=flow, axes=(cut.box, *cut.names))


def _seen(cut: _Cut, association: str) -> np.ndarray:
    """Values inside the shown window."""
    where = cut.piece.cell_centers().points if association == "cell" else cut.piece.points
    flat = cut.view.project(np.asarray(where) - cut.frame.center)
    seen = (np.abs(flat[:, 0]) <= 0.5 * cut.frame.width) & (np.abs(flat[:, 1]) <= 0.5 * cut.frame.height)
    data = cut.piece.cell_data if association == "cell" else cut.piece.point_data
    values = np.asarray(data["shown"])
    return values[seen] if seen.any() else values


def _rounded(position: float, span: float) -> float:
    """Drop what is less than a thousandth of the picture, such as the nudge off a boundary."""
    step = 10.0 ** (np.floor(np.log10(span)) - 3) if span > 0 else 1.0
    return float(np.round(position / step) * step) + 0.0


def _lateral_position(domain: np.ndarray) -> float:
    low, high = (float(v) for v in domain[:, 1])
    nudge = 1e-4 * (high - low)
    if low - nudge <= 0 <= high + nudge:
        # A half model has its plane of symmetry on the boundary, where a cut would miss every cell.
        return float(np.clip(0.0, low + nudge, high - nudge))
    return 0.5 * (low + high)


def _axis_names(frame: np.ndarray) -> list[str]:
    """``x``, ``y`` or ``z`` where a row of ``frame`` is that axis, else its role."""
    names = []
    for row, role in zip(frame, ("along flow", "lateral", "up"), strict=True):
        axis = int(np.argmax(np.abs(row)))
        names.append("xyz"[axis] if row[axis] > 0.9999 else role)
    return names
