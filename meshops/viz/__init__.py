"""Pictures, animations, interactive scenes and reports of fields on meshes.

Importing this package loads neither VTK nor plotly nor matplotlib; the functions do when they are called.
"""

from meshops.viz.animation import animate_grid, animate_points
from meshops.viz.colors import ColorScale, color_scale
from meshops.viz.ensemble import EnsembleNumbers, ensemble_numbers, ensemble_page
from meshops.viz.forecast import forecast_curves, forecast_page
from meshops.viz.grid import frames_picture, patches_picture, tradeoff_picture
from meshops.viz.pareto import pareto_picture
from meshops.viz.pictures import comparison_picture, curve_picture, partition_picture, surface_picture
from meshops.viz.plane import graph_picture, plane_picture
from meshops.viz.report import IndexCase, ReportData, Table, TrustSection, write_index, write_report
from meshops.viz.scene import Scene, scene_html
from meshops.viz.slices import slice_picture

__all__ = [
    "ColorScale",
    "EnsembleNumbers",
    "IndexCase",
    "ReportData",
    "Scene",
    "Table",
    "TrustSection",
    "animate_grid",
    "animate_points",
    "color_scale",
    "comparison_picture",
    "curve_picture",
    "ensemble_numbers",
    "ensemble_page",
    "forecast_curves",
    "forecast_page",
    "frames_picture",
    "graph_picture",
    "pareto_picture",
    "partition_picture",
    "patches_picture",
    "plane_picture",
    "scene_html",
    "slice_picture",
    "surface_picture",
    "tradeoff_picture",
    "write_index",
    "write_report",
]
