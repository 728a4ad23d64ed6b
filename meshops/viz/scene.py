"""An interactive 3-D scene as one HTML fragment that works offline: plotly's script travels inside it.

Arrays are stored as base64 little-endian bytes and unpacked by a few lines of script, so that the size is that of
the numbers and any plotly from 5.20 on will do.
"""

from __future__ import annotations

import base64
import html
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from meshops.errors import InputError
from meshops.viz.camera import VIEWS, flat_view, flow_frame
from meshops.viz.colors import color_scale, magnitude
from meshops.viz.render import cell_areas, field_values, surface_of

BUTTONS = ("front three-quarter", "rear three-quarter", "side", "top", "front", "rear")

# Meshes of more triangles are first thinned by clustering, which is fast; decimation by quadrics is better but slow.
CLUSTER_ABOVE = 500_000
CLUSTERS_PER_SIDE = 300


@dataclass(frozen=True, kw_only=True)
class Triangles:
    """A surface as the browser draws it.

    Attributes:
        points: ``[m, 3]`` metres.
        triangles: ``[t, 3]`` point numbers.
        cell: ``[t]`` cell of the original mesh each triangle stands for.
        point: ``[m]`` point of the original mesh each point stands for.
        original: Number of triangles before decimation.
    """

    points: np.ndarray
    triangles: np.ndarray
    cell: np.ndarray
    point: np.ndarray
    original: int


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A surface with its fields that a notebook and the pages of the documentation show as a scene to turn.

    Attributes:
        mesh: PyVista surface, or a volume mesh whose outer surface is shown.
        fields: Values by name; the first is shown first.
        units: Unit of each field, by name.
        flow: Direction of the free stream.
        up: Direction of lift.
    """

    mesh: Any
    fields: Mapping[str, np.ndarray]
    units: Mapping[str, str] = field(default_factory=dict)
    flow: Sequence[float] = (1, 0, 0)
    up: Sequence[float] = (0, 0, 1)

    def html(self, element_id: str = "scene", *, include_plotly: bool = True) -> str:
        """The fragment of :func:`scene_html`."""
        return scene_html(
            self.mesh, self.fields, units=self.units, flow=self.flow, up=self.up, element_id=element_id,
            include_plotly=include_plotly,
        )  # fmt: skip

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return self.html(f"scene-{uuid.uuid4().hex[:12]}")


def scene_html(
    mesh: Any,
    fields: Mapping[str, np.ndarray],
    *,
    units: Mapping[str, str] | None = None,
    flow: Sequence[float] = (1, 0, 0),
    up: Sequence[float] = (0, 0, 1),
    max_triangles: int = 60000,
    element_id: str = "scene",
    include_plotly: bool = True,
) -> str:
    """HTML fragment with a surface that can be turned, a drop-down of fields and values under the pointer.

    Args:
        mesh: PyVista surface, or a volume mesh whose outer surface is shown.
        fields: Values by name, one row per cell (or per point); vectors are shown by magnitude.
        units: Unit of each field, by name.
        flow: Direction of the free stream.
        up: Direction of lift.
        max_triangles: Larger surfaces are decimated for display, and a note under the scene says so.
        element_id: Identifier of the scene in the page; differs between several scenes of one page.
        include_plotly: Put plotly's script in; False for every further scene of the same page.

    Returns:
        A fragment that fetches nothing. It takes its colors from the custom properties of the report's style
        sheet and falls back to its own.
    """
    if not fields:
        raise InputError("no field for the scene; give at least one named array")
    if max_triangles < 100:
        raise InputError(f"max_triangles must be at least 100, got {max_triangles}")
    frame = flow_frame(flow, up)
    surface = decimated(triangles_of(mesh), max_triangles)
    entries = [
        _field_entry(mesh, surface, name, np.asarray(values), (units or {}).get(name, ""))
        for name, values in fields.items()
    ]
    data = {
        "x": _packed(surface.points[:, 0].astype(np.float32)),
        "y": _packed(surface.points[:, 1].astype(np.float32)),
        "z": _packed(surface.points[:, 2].astype(np.float32)),
        "i": _packed(_small(surface.triangles[:, 0])),
        "j": _packed(_small(surface.triangles[:, 1])),
        "k": _packed(_small(surface.triangles[:, 2])),
        "fields": entries,
    } | _stage(surface.points, frame)
    return _page_part(data, _note(mesh, surface), element_id, include_plotly)


def triangles_of(mesh: Any) -> Triangles:
    """Outer surface cut into triangles, each with the number of the cell it belongs to; unused points are left out."""
    import pyvista as pv

    surface = surface_of(mesh)
    cell = np.asarray(surface.cell_data["vtkOriginalCellIds"])
    point = np.asarray(surface.point_data["vtkOriginalPointIds"])
    bare = pv.PolyData()
    bare.copy_structure(surface)
    bare.cell_data["row"] = np.arange(surface.n_cells)
    cut = bare.triangulate()
    faces = np.asarray(cut.faces).reshape(-1, 4)[:, 1:]
    if len(faces) == 0:
        raise InputError(f"the mesh of {mesh.n_cells} cells has no faces to show; a scene needs a surface")
    used, renumbered = np.unique(faces, return_inverse=True)
    return Triangles(
        points=np.asarray(cut.points, dtype=np.float64)[used],
        triangles=renumbered.reshape(-1, 3),
        cell=cell[np.asarray(cut.cell_data["row"])],
        point=point[used],
        original=len(faces),
    )


def decimated(surface: Triangles, max_triangles: int) -> Triangles:
    """At most about ``max_triangles`` triangles; each takes the cell of the nearest original triangle."""
    import pyvista as pv

    if len(surface.triangles) <= max_triangles:
        return surface
    faces = np.insert(surface.triangles, 0, 3, axis=1).ravel()
    mesh = pv.PolyData(surface.points, faces)
    if mesh.n_cells > CLUSTER_ABOVE:
        mesh = _clustered(mesh)
    if mesh.n_cells > max_triangles:
        mesh = mesh.decimate(1.0 - max_triangles / mesh.n_cells)
    points = np.asarray(mesh.points, dtype=np.float64)
    triangles = np.asarray(mesh.faces).reshape(-1, 4)[:, 1:]
    _, nearest_triangle = cKDTree(surface.points[surface.triangles].mean(axis=1)).query(points[triangles].mean(axis=1))
    _, nearest_point = cKDTree(surface.points).query(points)
    return replace(
        surface,
        points=points,
        triangles=triangles,
        cell=surface.cell[nearest_triangle],
        point=surface.point[nearest_point],
    )


def _clustered(mesh: Any) -> Any:
    import pyvista as pv
    from vtkmodules.vtkFiltersCore import vtkQuadricClustering

    thin = vtkQuadricClustering()
    thin.SetInputData(mesh)
    thin.AutoAdjustNumberOfDivisionsOn()
    thin.SetNumberOfDivisions(CLUSTERS_PER_SIDE, CLUSTERS_PER_SIDE, CLUSTERS_PER_SIDE)
    thin.Update()
    return pv.wrap(thin.GetOutput())


def _field_entry(mesh: Any, surface: Triangles, name: str, values: np.ndarray, unit: str) -> dict[str, Any]:
    raw, association = field_values(mesh, values, None)
    size = magnitude(raw)
    is_vector = raw.ndim == 2 and raw.shape[1] > 1
    areas = cell_areas(mesh) if association == "cell" else None
    scale = color_scale(size, weights=areas if areas is not None and areas.sum() > 0 else None)
    shown = size[surface.cell if association == "cell" else surface.point].astype(np.float32)
    steps = np.linspace(0, 255, 33).round().astype(int)
    colors = (255 * scale.colors[steps]).round().astype(int)
    return {
        "name": f"|{name}|" if is_vector else name,
        "unit": unit,
        "mode": "cell" if association == "cell" else "vertex",
        "values": _packed(shown),
        "low": scale.low,
        "high": scale.high,
        "scale": [[round(n / 255, 4), f"rgb({r},{g},{b})"] for n, (r, g, b) in zip(steps, colors, strict=True)],
        "remark": scale.remark,
    }


def _stage(points: np.ndarray, frame: np.ndarray) -> dict[str, Any]:
    """Axis ranges, the arrow of the flow, and cameras, in plotly's terms.

    Plotly scales the box of the axis ranges so that the product of its sides is 1; camera positions are
    measured in that scale from the middle of the box.
    """
    flat = points @ frame.T
    length = float(np.linalg.norm(np.ptp(points, axis=0))) or 1.0
    middle = 0.5 * (flat.min(axis=0) + flat.max(axis=0))
    above = middle + np.array([0.0, 0.0, 0.5 * np.ptp(flat[:, 2]) + 0.08 * length])
    half = np.array([0.1 * length, 0.0, 0.0])
    arrow = np.stack([above - half, above + half]) @ frame
    everything = np.concatenate([points, arrow])
    low, high = everything.min(axis=0), everything.max(axis=0)
    pad = np.maximum(0.02 * length, 0.5 * (0.05 * length - (high - low)))
    low, high = low - pad, high + pad
    to_plotly = 1.0 / float(np.prod(high - low)) ** (1 / 3)
    center = (0.5 * (points.min(axis=0) + points.max(axis=0)) - 0.5 * (low + high)) * to_plotly
    distance = 1.15 * length * to_plotly
    planar = flat_view(points, frame)
    views = {name: np.asarray(VIEWS[name]) @ frame for name in BUTTONS}
    if planar is not None:
        views = {planar.name: planar.toward} | views
    cameras = {}
    for name, toward in views.items():
        vertical = frame[1] if name == "top" else -frame[1] if name == "bottom" else frame[2]
        if planar is not None and name == planar.name:
            vertical = planar.up
        eye = center + toward / np.linalg.norm(toward) * distance
        cameras[name] = {"eye": _xyz(eye), "up": _xyz(vertical), "center": _xyz(center)}
    return {
        "ranges": [[float(a), float(b)] for a, b in zip(low, high, strict=True)],
        "arrow": arrow.round(6).tolist(),
        "flow": frame[0].tolist(),
        "length": length,
        "cameras": cameras,
    }


def _note(mesh: Any, surface: Triangles) -> str:
    shown = f"{mesh.n_cells:,} cells drawn as {len(surface.triangles):,} triangles."
    if len(surface.triangles) < surface.original:
        shown = (
            f"Simplified for display from {surface.original:,} to {len(surface.triangles):,} triangles; each shows the "
            f"value of the nearest of the {mesh.n_cells:,} original cells. Tables and files hold every cell."
        )
    return f"{shown} Drag to turn, right-drag to shift, scroll to zoom; point at the surface to read a value."


def _page_part(data: Mapping[str, Any], note: str, element_id: str, include_plotly: bool) -> str:
    if not element_id.replace("-", "").replace("_", "").isalnum():
        raise InputError(f"element_id may hold letters, digits, '-' and '_', got {element_id!r}")
    folder = Path(__file__).parent / "templates"
    parts = []
    if include_plotly:
        parts.append(f"<script>{_plotly_script()}</script>")
    template = (folder / "scene.html").read_text(encoding="utf-8")
    options = "".join(f'<option value="{n}">{html.escape(f["name"])}</option>' for n, f in enumerate(data["fields"]))
    buttons = "".join(
        f'<button type="button" data-view="{html.escape(name)}">{html.escape(name)}</button>'
        for name in data["cameras"]
    )
    # "<" inside JSON could end the script element early.
    packed = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    for mark, text in (
        ("@id@", element_id),
        ("@options@", options),
        ("@buttons@", buttons),
        ("@note@", html.escape(note)),
        ("@data@", packed),
    ):
        template = template.replace(mark, text)
    return "\n".join([*parts, template])


def _plotly_script() -> str:
    from plotly.offline import get_plotlyjs

    script = str(get_plotlyjs())
    if "</script" in script.lower():
        script = script.replace("</script", "<\\/script").replace("</SCRIPT", "<\\/SCRIPT")
    return script


def _packed(values: np.ndarray) -> dict[str, str]:
    little = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"), copy=False)
    return {"dtype": values.dtype.str[1:], "bytes": base64.b64encode(little.tobytes()).decode("ascii")}


def _small(index: np.ndarray) -> np.ndarray:
    return index.astype(np.uint16 if index.max(initial=0) < 65536 else np.uint32)


def _xyz(vector: np.ndarray) -> dict[str, float]:
    return {axis: round(float(value), 6) for axis, value in zip("xyz", vector, strict=True)}
