"""Meshes as graphs: reading, cleaning, conversion, writing, surface geometry."""

from meshops.data.clean import CleanReport, clean_mesh
from meshops.data.convert import from_pyvista, to_pyvista
from meshops.data.edges import KNNGraph, RadiusGraph, triangle_edges
from meshops.data.graph_files import read_graph
from meshops.data.grid import grid_graph, grid_shape, grid_values
from meshops.data.latent_grid import LatentGrid, Neighborhood
from meshops.data.mesh_graph import MeshGraph, check_graph
from meshops.data.normalize import Normalizer, Statistics
from meshops.data.point_frames import PointFrames, grid_frames, point_frames
from meshops.data.readers import read, read_mesh
from meshops.data.sampling import Subsample, interleave, random_subset
from meshops.data.surface import cell_geometry, extract_body, refine
from meshops.data.writers import with_predictions, write_mesh

__all__ = [
    "CleanReport",
    "KNNGraph",
    "LatentGrid",
    "MeshGraph",
    "Neighborhood",
    "Normalizer",
    "PointFrames",
    "RadiusGraph",
    "Statistics",
    "Subsample",
    "cell_geometry",
    "check_graph",
    "clean_mesh",
    "extract_body",
    "from_pyvista",
    "grid_frames",
    "grid_graph",
    "grid_shape",
    "grid_values",
    "interleave",
    "point_frames",
    "random_subset",
    "read",
    "read_graph",
    "read_mesh",
    "refine",
    "to_pyvista",
    "triangle_edges",
    "with_predictions",
    "write_mesh",
]
