"""One mesh, one view, one picture: PyVista off screen, without any lettering."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from meshops.errors import InputError, listing
from meshops.viz.camera import View
from meshops.viz.colors import NAN_COLOR, ColorScale

# Cell edges are drawn on meshes up to this many cells; on finer ones they hide the colors.
MOST_CELLS_WITH_EDGES = 1500
# Sharp edges are looked for on meshes up to this many cells; on finer ones that takes longer than drawing.
MOST_CELLS_WITH_OUTLINE = 500_000
FEATURE_ANGLE = 40.0
LINE_COLOR = "#30343a"


@dataclass(frozen=True, kw_only=True)
class Frame:
    """The part of the picture plane that is shown.

    Attributes:
        center: ``[3]`` point in the middle of the picture.
        width, height: In metres.
    """

    center: np.ndarray
    width: float
    height: float

    @property
    def aspect(self) -> float:
        """Width over height."""
        return self.width / self.height


def field_values(mesh: Any, field: str | np.ndarray, association: str | None) -> tuple[np.ndarray, str]:
    """Values of a field and where they live.

    Args:
        mesh: PyVista mesh.
        field: Name of an array of the mesh, or the values themselves.
        association: ``"cell"``, ``"point"`` or None to decide by length (cells first).

    Returns:
        ``[n]`` or ``[n, k]`` values and ``"cell"`` or ``"point"``.
    """
    if association not in (None, "cell", "point"):
        raise InputError(f"association must be 'cell' or 'point', got '{association}'")
    data = {"cell": mesh.cell_data, "point": mesh.point_data}
    if isinstance(field, str):
        for place in (association,) if association else ("cell", "point"):
            if field in data[place]:
                return np.asarray(data[place][field]), place
        where = f"{association} data" if association else "the mesh"
        names = mesh.array_names if association is None else list(data[association])
        raise InputError(f"no field '{field}' in {where}; arrays present: {listing(names)}")
    values = np.asarray(field)
    counts = {"cell": mesh.n_cells, "point": mesh.n_points}
    for place in (association,) if association else ("cell", "point"):
        if values.ndim in (1, 2) and values.shape[0] == counts[place]:
            return values, place
    raise InputError(
        f"the field has shape {values.shape} for a mesh of {mesh.n_cells} cells and {mesh.n_points} points; "
        f"give one row per {association or 'cell or point'}"
    )


def fit(points: np.ndarray, view: View, margin: float = 0.04) -> Frame:
    """Frame around all points ``[n, 3]`` as seen in a view."""
    flat = view.project(points)
    low, high = flat.min(axis=0), flat.max(axis=0)
    size = np.maximum(high - low, 1e-3 * max(float((high - low).max()), 1e-12)) * (1 + 2 * margin)
    depth = float(np.mean(np.asarray(points) @ view.toward))
    middle = 0.5 * (low + high)
    center = middle[0] * view.right + middle[1] * view.up + depth * view.toward
    return Frame(center=center, width=float(size[0]), height=float(size[1]))


def render(
    mesh: Any,
    values: np.ndarray,
    association: str,
    view: View,
    frame: Frame,
    *,
    scale: ColorScale | None,
    size: tuple[int, int],
    background: str = "white",
    lit: bool = True,
    outline: bool = True,
) -> np.ndarray:
    """Picture of a mesh as ``[height, width, 3]`` uint8.

    Args:
        mesh: PyVista mesh; not changed.
        values: Scalars ``[n]``, or red, green, blue ``[n, 3]`` uint8 when ``scale`` is None.
        association: ``"cell"`` or ``"point"``.
        view: Where from.
        frame: What part of the picture plane.
        scale: Colors of the scalars.
        size: Width and height in pixels.
        background: Color behind the mesh.
        lit: Shade by orientation; flat colors otherwise.
        outline: Draw sharp edges of the shape.
    """
    import pyvista as pv
    from matplotlib.colors import ListedColormap

    bare = mesh.copy(deep=False)
    bare.clear_data()
    (bare.cell_data if association == "cell" else bare.point_data)["shown"] = values
    edges = lit and mesh.n_cells <= MOST_CELLS_WITH_EDGES
    options: dict[str, Any] = {
        "scalars": "shown",
        "show_scalar_bar": False,
        "show_edges": edges,
        "edge_color": LINE_COLOR,
        "edge_opacity": 0.35,
        "lighting": lit,
        "ambient": 0.55,
        "diffuse": 0.45,
        "specular": 0.0,
    }
    if scale is None:
        options["rgb"] = True
    else:
        options |= {"cmap": ListedColormap(scale.colors), "clim": (scale.low, scale.high), "nan_color": NAN_COLOR}
    if _only_points(mesh):
        options |= {"show_edges": False, "render_points_as_spheres": True, "point_size": _point_size(mesh, size)}
    with _quiet_display():
        plotter = pv.Plotter(off_screen=True, window_size=list(size), border=False, lighting="none")
        plotter.render()
    try:
        # One lamp at the eye: a face seen square-on shows the color of the bar.
        plotter.add_light(pv.Light(light_type="headlight"))
        plotter.background_color = background
        plotter.add_mesh(bare, **options)
        if outline and not edges and not _only_points(mesh):
            _add_outline(plotter, bare)
        _aim(plotter, view, frame, mesh)
        plotter.enable_anti_aliasing("ssaa")
        picture = np.asarray(plotter.screenshot(return_img=True))
    finally:
        plotter.close()
    return picture[:, :, :3]


def surface_of(mesh: Any) -> Any:
    """Outer surface as PolyData whose cell array ``vtkOriginalCellIds`` (and point array) lead back to the mesh."""
    import pyvista as pv
    from vtkmodules.vtkFiltersGeometry import vtkDataSetSurfaceFilter

    bare = mesh.copy(deep=False)
    bare.clear_data()
    extract = vtkDataSetSurfaceFilter()
    extract.SetInputDataObject(bare)
    extract.PassThroughCellIdsOn()
    extract.PassThroughPointIdsOn()
    extract.Update()
    return pv.wrap(extract.GetOutput())


def cell_areas(mesh: Any) -> np.ndarray:
    """``[n]`` area of each cell, m^2; zero for cells without one."""
    bare = mesh.copy(deep=False)
    bare.clear_data()
    areas: np.ndarray = np.abs(
        np.asarray(bare.compute_cell_sizes(length=False, area=True, volume=False).cell_data["Area"])
    )
    return areas


@contextmanager
def _quiet_display() -> Iterator[None]:
    """VTK looks for a display before it draws without one, and says so on stderr; that is no news to the user."""
    from vtkmodules.vtkCommonCore import vtkLogger

    before = vtkLogger.GetCurrentVerbosityCutoff()
    vtkLogger.SetStderrVerbosity(vtkLogger.VERBOSITY_ERROR)
    try:
        yield
    finally:
        vtkLogger.SetStderrVerbosity(before)


def _aim(plotter: Any, view: View, frame: Frame, mesh: Any) -> None:
    distance = 3.0 * max(float(mesh.length), frame.width, frame.height)
    camera = plotter.camera
    camera.parallel_projection = True
    camera.focal_point = tuple(frame.center)
    camera.position = tuple(frame.center + distance * view.toward)
    camera.up = tuple(view.up)
    camera.parallel_scale = 0.5 * frame.height
    plotter.reset_camera_clipping_range()


def _add_outline(plotter: Any, mesh: Any) -> None:
    if mesh.n_cells > MOST_CELLS_WITH_OUTLINE:
        return
    lines = mesh.extract_feature_edges(
        feature_angle=FEATURE_ANGLE, boundary_edges=True, non_manifold_edges=False, manifold_edges=False
    )
    # A surface that is rough everywhere has feature edges everywhere; they would only hide the colors.
    if 0 < lines.n_cells < 0.15 * mesh.n_cells:
        lines.clear_data()
        plotter.add_mesh(lines, color=LINE_COLOR, line_width=1.0, opacity=0.55, lighting=False)


def _only_points(mesh: Any) -> bool:
    import pyvista as pv

    return isinstance(mesh, pv.PolyData) and mesh.n_cells == mesh.n_verts


def _point_size(mesh: Any, size: tuple[int, int]) -> float:
    return float(np.clip(1.2 * np.sqrt(size[0] * size[1] / max(mesh.n_points, 1)), 2.0, 14.0))
