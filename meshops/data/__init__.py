"""Meshes as graphs: reading, cleaning, conversion, writing, surface geometry."""

from meshops.data.clean import CleanReport, clean_mesh
from meshops.data.convert import from_pyvista, to_pyvista
from meshops.data.edges import KNNGraph, RadiusGraph
from meshops.data.mesh_graph import MeshGraph
from meshops.data.readers import read, read_mesh
from meshops.data.sampling import Subsample
from meshops.data.writers import with_predictions, write_mesh

__all__ = [
    "CleanReport",
    "KNNGraph",
    "MeshGraph",
    "RadiusGraph",
    "Subsample",
    "clean_mesh",
    "from_pyvista",
    "read",
    "read_mesh",
    "to_pyvista",
    "with_predictions",
    "write_mesh",
]
