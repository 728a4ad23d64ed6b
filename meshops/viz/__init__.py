"""Pictures, interactive scenes and reports of fields on meshes.

Importing this package loads neither VTK nor plotly nor matplotlib; the functions do when they are called.
"""

from meshops.viz.grid import frames_picture, patches_picture, tradeoff_picture
from meshops.viz.pictures import (
    comparison_picture,
    curve_picture,
    partition_picture,
    surface_picture,
)
from meshops.viz.report import IndexCase, ReportData, Table, TrustSection, write_index, write_report
from meshops.viz.scene import scene_html
from meshops.viz.slices import slice_picture

__all__ = [
    "IndexCase",
    "ReportData",
    "Table",
    "TrustSection",
    "comparison_picture",
    "curve_picture",
    "frames_picture",
    "partition_picture",
    "patches_picture",
    "scene_html",
    "slice_picture",
    "surface_picture",
    "tradeoff_picture",
    "write_index",
    "write_report",
]
