"""PNG pictures of fields and patches on surfaces, and of slices through volumes.

PyVista draws off screen, so no display is needed; lettering, bars and layout are matplotlib's.
Fields may be named arrays of the mesh or arrays with one row per cell (or point). Vectors are drawn by magnitude.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import coo_matrix

from meshops.errors import InputError
from meshops.io import write_bytes
from meshops.viz.camera import View, flat_view, flow_frame, named_view
from meshops.viz.colors import NAN_COLOR, PALETTE, ColorScale, color_scale, magnitude, patch_colors
from meshops.viz.layout import DPI, INK, SOFT, Bar, Panel, row_height, sheet
from meshops.viz.render import cell_areas, field_values, fit, render

Direction = Sequence[float]
DEFAULT_VIEWS = ("front three-quarter", "rear three-quarter")

# Panels are at least this wide for their height, so that captions fit under tall shapes.
NARROWEST = 0.55


def surface_picture(
    mesh: Any,
    field: str | np.ndarray,
    path: str | Path,
    *,
    title: str | None = None,
    unit: str = "",
    clim: Sequence[float] | None = None,
    cmap: str | None = None,
    views: Sequence[str] = DEFAULT_VIEWS,
    flow: Direction = (1, 0, 0),
    up: Direction = (0, 0, 1),
    association: str = "cell",
) -> Path:
    """Draw a field on a surface from several sides with one color bar.

    Args:
        mesh: PyVista mesh with positions in metres; a planar one is seen face-on, whatever ``views`` says.
        field: Name of an array, or values ``[n]`` or ``[n, k]``.
        path: PNG to write.
        title: Above the picture; the field's name by default.
        unit: Of the field, for the color bar.
        clim: Color limits; by default the 1-99 % percentiles, which the bar then says.
        cmap: A matplotlib map; by default diverging about 0 for fields of both signs, else sequential.
        views: Names out of :data:`meshops.viz.camera.VIEWS`.
        flow: Direction of the free stream, which the pictures show as an arrow.
        up: Direction of lift, upward in the pictures.
        association: ``"cell"`` or ``"point"``.

    Example:
        >>> import pyvista as pv
        >>> sphere = pv.Sphere().compute_normals(cell_normals=True)
        >>> surface_picture(sphere, "Normals", "sphere.png", unit="1")  # doctest: +SKIP
    """
    frame = flow_frame(flow, up)
    raw, association = field_values(mesh, field, association)
    values = magnitude(raw)
    scale = color_scale(values, clim=clim, cmap=cmap, weights=_areas(mesh, association))
    name = field if isinstance(field, str) else (title or "field")
    row = _view_row(mesh, values, association, _views(mesh, views, frame), scale, frame[0])
    bar = Bar(scale=scale, label=_label(name, raw, unit), first=0, last=len(row) - 1)
    return sheet([row], [bar], path, title=title or name)


def comparison_picture(
    mesh: Any,
    name: str,
    truth: np.ndarray,
    prediction: np.ndarray,
    path: str | Path,
    *,
    unit: str = "",
    flow: Direction = (1, 0, 0),
    up: Direction = (0, 0, 1),
    views: Sequence[str] = DEFAULT_VIEWS,
    titles: tuple[str, str, str] = ("truth", "prediction", "error"),
) -> Path:
    """Draw truth, prediction and error side by side; the first two share their limits.

    The error of a scalar is prediction minus truth; of a vector it is the length of the difference.

    Args:
        mesh: PyVista mesh.
        name: Of the field.
        truth: ``[n]`` or ``[n, k]``, one row per cell (or per point).
        prediction: The same shape.
        path: PNG to write.
        unit: Of the field.
        flow: Direction of the free stream.
        up: Direction of lift.
        views: Names out of :data:`meshops.viz.camera.VIEWS`, one row of pictures each.
        titles: Of the three columns.
    """
    frame = flow_frame(flow, up)
    true_values, association = field_values(mesh, np.asarray(truth), None)
    predicted, _ = field_values(mesh, np.asarray(prediction), association)
    if true_values.shape != predicted.shape:
        raise InputError(f"'{name}': truth has shape {true_values.shape}, prediction {predicted.shape}; give the same")
    difference = predicted.astype(np.float64) - true_values
    error = magnitude(difference)
    vector = true_values.ndim == 2 and true_values.shape[1] > 1
    columns = [magnitude(true_values), magnitude(predicted), error]
    areas = _areas(mesh, association)
    shared = color_scale(np.concatenate(columns[:2]), weights=None if areas is None else np.tile(areas, 2))
    noise = 1e-6 * max(shared.high - shared.low, 1e-30)
    wrong = color_scale(error, diverging=not vector, floor=noise, weights=areas)
    scales = (shared, shared, _symmetric(wrong, error) if not vector else wrong)
    size = float(np.linalg.norm(true_values))
    relative = f", relative L2 {100 * float(np.linalg.norm(difference)) / size:.2f} %" if size > 0 else ""
    headings = (*titles[:2], f"{titles[2]}{relative}")
    rows: list[list[Panel]] = []
    for view in _views(mesh, views, frame):
        panels = [
            _view_row(mesh, values, association, [view], scale, frame[0], columns=3)[0]
            for values, scale in zip(columns, scales, strict=True)
        ]
        rows.append([_with_heading(p, h if not rows else "") for p, h in zip(panels, headings, strict=True)])
    what = f"|{name} {titles[2]}|" if vector else f"{name}: {titles[1]} − {titles[0]}"
    bars = [
        Bar(scale=shared, label=_label(name, true_values, unit), first=0, last=1),
        Bar(scale=scales[2], label=_label(what, error, unit), first=2, last=2),
    ]
    return sheet(rows, bars, path, title=f"{name}: {titles[0]}, {titles[1]} and {titles[2]}")


def partition_picture(
    mesh: Any,
    patch_of_cell: np.ndarray,
    path: str | Path,
    *,
    flow: Direction = (1, 0, 0),
    up: Direction = (0, 0, 1),
    num_patches: int | None = None,
    title: str | None = None,
    views: Sequence[str] = DEFAULT_VIEWS,
) -> Path:
    """Draw patches in colors that differ between neighbors.

    Args:
        mesh: PyVista mesh.
        patch_of_cell: ``[n]`` patch number of each cell (or point); negative means no patch and is drawn gray.
        path: PNG to write.
        flow: Direction of the free stream.
        up: Direction of lift.
        views: Names out of :data:`meshops.viz.camera.VIEWS`.
        num_patches: Number of patches; by default the largest number plus one.
        title: Above the picture.
    """
    frame = flow_frame(flow, up)
    patch, association = field_values(mesh, np.asarray(patch_of_cell), None)
    if patch.ndim != 1 or not np.issubdtype(patch.dtype, np.integer):
        raise InputError(f"patch_of_cell must be whole numbers [n], got {patch.dtype} of shape {patch.shape}")
    num_patches = int(patch.max(initial=-1)) + 1 if num_patches is None else int(num_patches)
    color = patch_colors(patch, _touching(mesh, patch, association, num_patches), num_patches)
    table = np.array([_rgb(c) for c in (*PALETTE, NAN_COLOR)], dtype=np.uint8)
    rgb = table[np.where(patch >= 0, np.append(color, 0)[np.maximum(patch, 0)], len(PALETTE))]
    row = _view_row(mesh, rgb, association, _views(mesh, views, frame), None, frame[0])
    sizes = np.bincount(patch[patch >= 0], minlength=max(num_patches, 1))
    words = f"{num_patches} patches of {sizes.min()} to {sizes.max()} {association}s"
    return sheet([row], [], path, title=f"{title}: {words}" if title else words)


def curve_picture(
    history: Mapping[str, Sequence[float]],
    path: str | Path,
    *,
    title: str | None = None,
    xlabel: str = "epoch",
    ylabel: str = "loss",
    log: bool = True,
) -> Path:
    """Draw training curves, one line per name of ``history``; NaN entries are gaps."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if not history or not any(len(values) for values in history.values()):
        raise InputError("no training history to draw; give at least one named list of numbers")
    figure = Figure(figsize=(9, 4), dpi=DPI, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for i, (name, values) in enumerate(history.items()):
        line = np.asarray(values, dtype=np.float64)
        known = np.isfinite(line)
        axes.plot(np.flatnonzero(known) + 1, line[known], label=name, color=PALETTE[i % len(PALETTE)], linewidth=1.6)
    positive = all(np.nanmin(np.asarray(v, dtype=np.float64), initial=np.inf) > 0 for v in history.values())
    if log and positive:
        axes.set_yscale("log")
    axes.set_xlabel(xlabel, color=SOFT)
    axes.set_ylabel(ylabel, color=SOFT)
    axes.grid(True, which="major", color="#e3e6ea", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)
    if title:
        axes.set_title(title, loc="left", fontsize=11, fontweight="bold", color=INK)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    return write_bytes(path, buffer.getvalue())


def _views(mesh: Any, names: Sequence[str], frame: np.ndarray) -> list[View]:
    if mesh.n_cells == 0 and mesh.n_points == 0:
        raise InputError("the mesh is empty; there is nothing to draw")
    if not names:
        raise InputError("views is empty; name at least one, such as 'front three-quarter'")
    flat = flat_view(mesh.points, frame)
    return [flat] if flat is not None else [named_view(name, frame) for name in names]


def _view_row(
    mesh: Any,
    values: np.ndarray,
    association: str,
    views: Sequence[View],
    scale: ColorScale | None,
    flow: np.ndarray,
    columns: int | None = None,
) -> list[Panel]:
    """Panels of one mesh from several views, all at the scale that fits ``columns`` of them on the sheet."""
    frames = [fit(mesh.points, view) for view in views]
    frames = [replace(f, width=max(f.width, NARROWEST * f.height)) for f in frames]
    height = row_height([f.aspect for f in frames] * ((columns or len(views)) // len(views)))
    return [
        Panel(
            picture=render(
                mesh, values, association, view, seen, scale=scale, size=(max(round(height * seen.aspect), 60), height)
            ),
            caption=view.name,
            view=view,
            flow=flow,
        )
        for view, seen in zip(views, frames, strict=True)
    ]


def _with_heading(panel: Panel, heading: str) -> Panel:
    return replace(panel, heading=heading)


def _symmetric(scale: ColorScale, error: np.ndarray) -> ColorScale:
    """Equal limits on both sides of zero, so that over- and under-prediction are read alike."""
    reach = max(abs(scale.low), abs(scale.high))
    even = color_scale(error, clim=(-reach, reach), diverging=True)
    return replace(even, limits=scale.limits)


def _areas(mesh: Any, association: str) -> np.ndarray | None:
    areas = cell_areas(mesh) if association == "cell" else np.zeros(1)
    return areas if areas.sum() > 0 else None


def _label(name: str, values: np.ndarray, unit: str) -> str:
    shown = f"|{name}|" if values.ndim == 2 and values.shape[1] > 1 else name
    return f"{shown} ({unit})" if unit else shown


def _rgb(color: str) -> tuple[int, int, int]:
    return (int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16))


def _touching(mesh: Any, patch: np.ndarray, association: str, num_patches: int) -> np.ndarray:
    """``[2, e]`` pairs of patches that share a point (cells) or a cell (points), sorted by the first."""
    cells, points = cell_point_pairs(mesh)
    group, owner = (points, cells) if association == "cell" else (cells, points)
    member = patch[owner]
    keep = (member >= 0) & (member < num_patches)
    pairs = (np.ones(int(keep.sum()), dtype=np.int64), (group[keep], member[keep]))
    touches = coo_matrix(pairs, shape=(int(group.max(initial=0)) + 1, num_patches)).tocsr()
    shared = (touches.T @ touches).tocoo()
    apart = shared.row != shared.col
    edges = np.stack([shared.row[apart], shared.col[apart]]).astype(np.int64)
    return edges[:, np.lexsort((edges[1], edges[0]))]


def cell_point_pairs(mesh: Any) -> tuple[np.ndarray, np.ndarray]:
    """Cell and point number of every corner of every cell, ``[k]`` each."""
    import pyvista as pv
    from vtkmodules.util.numpy_support import vtk_to_numpy

    grid = mesh if isinstance(mesh, pv.UnstructuredGrid) else mesh.cast_to_unstructured_grid()
    cells = grid.GetCells()
    sizes = np.diff(vtk_to_numpy(cells.GetOffsetsArray()))
    return np.repeat(np.arange(grid.n_cells), sizes), vtk_to_numpy(cells.GetConnectivityArray())
