"""Endings of files that may hold meshes or points."""

from __future__ import annotations

# Endings of meshes; the last may hold shapes without fields.
WITH_FIELDS = (
    ".vtu", ".vtp", ".vtk", ".pvtu", ".pvtp", ".vtm", ".vtmb", ".pvd", ".vti", ".vts", ".vtr", ".pvti", ".pvts",
    ".pvtr", ".cgns", ".e", ".exo", ".ex2", ".exii", ".g", ".case",
    ".encas", ".xdmf", ".xmf", ".med", ".frd", ".cas", ".plt", ".tec", ".msh",
    ".su2", ".vtkhdf", ".rst", ".unv", ".avs",
)  # fmt: skip
SHAPES = (".stl", ".obj", ".ply", ".inp", ".bdf", ".nas", ".fem", ".off")
MESHES = WITH_FIELDS + SHAPES
# Endings of files that may hold points with values: tables, which may as well say something of all cases, and arrays.
TABLES = (".csv", ".tsv", ".txt", ".asc", ".xyz", ".dat")
ARRAYS = (".npz", ".h5", ".hdf5", ".mat")
