"""Small pictures of many cases on one sheet, colored by one field with one bar."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from meshops.data.mesh_graph import MeshGraph
from meshops.errors import InputError
from meshops.viz.camera import View, flat_view, flow_frame, named_view
from meshops.viz.colors import ColorScale, color_scale, magnitude
from meshops.viz.layout import GAP, MARGIN, SHEET_WIDTH, Bar, Panel, sheet
from meshops.viz.render import cell_areas, field_values, fit, render, surface_of

MOST = 12
COLUMNS = 4
SOLID = (10, 11, 12, 13, 14, 24, 25, 42)  # VTK types of cells that fill space


@dataclass(frozen=True, eq=False)
class Thumbnail:
    """One case, ready to be drawn.

    Attributes:
        mesh: PyVista mesh without arrays.
        values: ``[n]`` one scalar per cell or point.
        association: ``"cell"`` or ``"point"``.
        caption: Below it.
    """

    mesh: Any
    values: np.ndarray
    association: str
    caption: str


def thumbnail(graph: MeshGraph, field: str, caption: str, *, lateral: Sequence[float] = (0, 1, 0)) -> Thumbnail:
    """A case with one of its fields; a volume is cut through the middle, across ``lateral``.

    Args:
        graph: With its cells, or a cloud of points.
        field: Of the graph.
        caption: Below the picture.
        lateral: Normal of the cut.
    """
    from meshops.data.convert import to_pyvista  # VTK

    if not graph.num_cells:  # a cloud of points
        graph = graph.clone_shallow()
        graph.location = "free"
    mesh = to_pyvista(graph)
    raw, association = field_values(mesh, field, None)
    values = magnitude(raw)
    kinds = graph.get("cell_type")
    if kinds is not None and np.isin(kinds.numpy(), SOLID).any():
        return _cut(mesh, values, association, caption, lateral)
    bare = mesh.copy(deep=False)
    bare.clear_data()
    return Thumbnail(bare, values, association, caption)


def cases_picture(
    cases: Iterable[Thumbnail],
    field: str,
    path: str | Path,
    *,
    unit: str = "",
    flow: Sequence[float] = (1, 0, 0),
    up: Sequence[float] = (0, 0, 1),
    title: str = "",
) -> Path:
    """Draw cases in a grid; all share their colors and, where they are of one size, their scale.

    Args:
        cases: Up to twelve.
        field: For the bar.
        path: PNG to write.
        unit: Of the field.
        flow: Direction of the free stream: bodies are seen from their front quarter.
        up: Upward in the pictures of bodies.
        title: Above the picture.

    Raises:
        InputError: There is none.
    """
    drawn = list(cases)[:MOST]
    if not drawn:
        raise InputError("no case to draw; give at least one")
    weights = [_weights(case) for case in drawn]
    scale = color_scale(np.concatenate([c.values for c in drawn]), weights=np.concatenate(weights))
    frame = flow_frame(flow, up)
    columns = _columns(len(drawn))
    width = (SHEET_WIDTH - 2 * MARGIN - GAP * (columns - 1)) // columns
    views = [_view(case, frame) for case in drawn]
    frames = [fit(np.asarray(case.mesh.points), view) for case, view in zip(drawn, views, strict=True)]
    aspect = float(np.clip(np.median([f.aspect for f in frames]), 0.9, 2.6))
    size = (width, int(width / aspect))
    panels = [
        Panel(picture=_draw(*item, scale, size), caption=item[0].caption)
        for item in zip(drawn, views, frames, strict=True)
    ]
    rows = [panels[start : start + columns] for start in range(0, len(panels), columns)]
    blank = np.full((size[1], size[0], 3), 255, dtype=np.uint8)
    while len(rows) > 1 and len(rows[-1]) < columns:
        rows[-1].append(Panel(picture=blank))
    label = field + (f" ({unit})" if unit else "")
    return sheet(rows, [Bar(scale=scale, label=label, first=0, last=len(rows[-1]) - 1)], path, title=title or field)


def _columns(count: int) -> int:
    return count if count <= COLUMNS else 3 if count in (5, 6, 9) else COLUMNS


def _draw(case: Thumbnail, view: View, frame: Any, scale: ColorScale, size: tuple[int, int]) -> np.ndarray:
    """One picture; the case fills the panel without being stretched."""
    aspect = size[0] / size[1]
    width = max(frame.width, frame.height * aspect)
    filled = type(frame)(center=frame.center, width=width, height=width / aspect)
    lit = flat_view(np.asarray(case.mesh.points), np.eye(3)) is None
    return render(case.mesh, case.values, case.association, view, filled, scale=scale, size=size, lit=lit, outline=lit)


def _view(case: Thumbnail, frame: np.ndarray) -> View:
    points = np.asarray(case.mesh.points)
    flat = flat_view(points, np.eye(3))
    if flat is None:
        return named_view("front three-quarter", frame)
    if abs(flat.toward[2]) > 0.99:  # plane meshes in x and y: as on paper
        right, upward = np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0])
        return View(name=flat.name, right=right, up=upward, toward=np.array([0.0, 0.0, 1.0]))
    return flat


def _weights(case: Thumbnail) -> np.ndarray:
    if case.association == "cell" and case.mesh.n_cells == len(case.values):
        areas = cell_areas(case.mesh)
        if areas.sum() > 0:
            return np.asarray(areas / areas.sum())
    return np.full(len(case.values), 1.0 / max(len(case.values), 1))


def _cut(mesh: Any, values: np.ndarray, association: str, caption: str, lateral: Sequence[float]) -> Thumbnail:
    """The plane through the middle of a volume; its outside where the cut is empty."""
    bare = mesh.copy(deep=False)
    bare.clear_data()
    (bare.cell_data if association == "cell" else bare.point_data)["shown"] = values
    cut = bare.slice(normal=tuple(lateral), origin=tuple(_off_center(bare, lateral)))
    if cut.n_cells == 0:
        skin = surface_of(mesh)
        ids = skin.cell_data["vtkOriginalCellIds"] if association == "cell" else skin.point_data["vtkOriginalPointIds"]
        return Thumbnail(skin, values[np.asarray(ids)], association, caption)
    shown = np.asarray((cut.cell_data if association == "cell" else cut.point_data)["shown"])
    cut.clear_data()
    return Thumbnail(cut, shown, association, f"{caption} (cut)")


def _off_center(mesh: Any, lateral: Sequence[float]) -> np.ndarray:
    """Middle of a mesh, a hair aside: a cut along faces would belong to none of the cells."""
    middle = np.asarray(mesh.center, dtype=np.float64)
    return middle + 1e-5 * math.sqrt(2) * float(mesh.length) * np.asarray(lateral, dtype=np.float64)
