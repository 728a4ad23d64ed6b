"""MeshGraph: a mesh, a point cloud or a grid as a PyG graph.

Nodes are mesh points, cell centres or free points (``location``). The cells travel with the graph in
compressed form, so that every VTK cell type, polyhedra included, can be written back unchanged.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch_geometric.data import Data

from meshops.errors import InputError, listing, warn
from meshops.ops.pointers import pointers

Location = Literal["point", "cell", "free"]
LOCATIONS: tuple[str, ...] = ("point", "cell", "free")

# Attributes with one row per node; ``subset`` cuts them.
NODE_ARRAYS = ("pos", "x", "y", "y_use", "normal", "area", "node_type", "weight", "node_index")
UNKNOWN, JUDGED, LEARNT = 0, 1, 2  # values of ``y_use``
# Attributes that describe the original cells; meaningless for a subset of nodes.
CELL_ARRAYS = ("points", "cell_size", "cell_nodes", "cell_type", "cell_num_faces", "face_size", "face_nodes")
# Attributes that hold the patches of ``meshops.partition``.
PATCH_ARRAYS = (
    "patch_index", "patch_size", "patch_count", "patch_level", "patch_center", "patch_radius",
    "cover_index", "cover_size", "cover_count", "cover_level",
)  # fmt: skip


class MeshGraph(Data):  # type: ignore[misc]
    """One simulation case as a graph.

    Attributes:
        pos: ``[n, d]`` float32, node positions in metres (d = 2 or 3), relative to ``origin`` where there is one.
        origin: ``[1, d]`` float64, only for meshes that lie so far from (0, 0, 0) that float32 would lose their shape;
            read it with :func:`origin_of`.
        x, x_names: ``[n, c_in]`` node features and one name per *channel*.
        y, y_names, y_sizes, y_units: ``[n, c_out]`` targets in physical units (``[n, t, c_out]`` of a trajectory); one
            name, one number of channels and one unit per *field* (a vector field is one field of d channels).
        y_use: ``[n, fields]`` int8, of cases where a field exists at part of the nodes, such as the pressure on a wall
            and the velocity around it: 0 no value (what ``y`` holds there is ignored), 1 a value, 2 a value to learn
            from that errors do not count. None: values everywhere.
        normal, area: ``[n, d]`` outward unit normals and ``[n]`` areas (m^2) or volumes (m^3) of the nodes.
        edge_index: ``[2, e]``, optional.
        node_type: ``[n]`` int64, optional.
        globals: ``[1, g]``, optional: one row of numbers for the whole case.
        location: ``"point"``, ``"cell"`` or ``"free"``.
        points: ``[m, 3]`` mesh points (float64 when the file had them), only for ``location="cell"``;
            for ``"point"`` the nodes are the mesh points.
        cell_size, cell_nodes, cell_type: cell i has ``cell_size[i]`` points, listed in ``cell_nodes``,
            VTK type ``cell_type[i]``; ``cell_ptr`` is their running sum. Sizes rather than pointers are stored
            because they survive batching by concatenation.
        cell_num_faces, face_size, face_nodes: faces of polyhedra: cell i has ``cell_num_faces[i]`` faces
            (0 for other cell types); face j has ``face_size[j]`` points in ``face_nodes``.
        patch_index, patch_size: set by partitioners, read through ``meshops.partition.Partition.of``.
        source: file the case came from; ``name``: short label; ``notes``: what was read, left out, turned or assumed.

    Example:
        >>> import torch
        >>> graph = MeshGraph(pos=torch.rand(5, 3), y=torch.rand(5, 1), y_names=("p",), y_sizes=(1,))
        >>> graph.validate().field("p").shape
        torch.Size([5])
    """

    def __inc__(self, key: str, value: Any, *args: Any, **kwargs: Any) -> Any:
        """Offset point indices when graphs are put into one batch; PyG offsets node indices, keys with ``index``."""
        if key in ("cell_nodes", "face_nodes"):
            return self.num_points
        return super().__inc__(key, value, *args, **kwargs)

    @property
    def cell_ptr(self) -> Tensor:
        """``[c + 1]``: points of cell i are ``cell_nodes[cell_ptr[i]:cell_ptr[i + 1]]``."""
        return pointers(self.cell_size)

    @property
    def num_cells(self) -> int:
        """Number of original cells, 0 for a point cloud."""
        return 0 if self.get("cell_size") is None else int(self.cell_size.numel())

    @property
    def num_points(self) -> int:
        """Number of mesh points: the nodes themselves unless the nodes are cell centres."""
        points = self.get("points")
        return int(self.num_nodes or 0) if points is None else int(points.shape[0])

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the target fields."""
        return tuple(_first(self.get("y_names")) or ())

    def field_slices(self) -> dict[str, slice]:
        """Channel range of each target field in ``y``."""
        sizes = tuple(_first(self.get("y_sizes")) or (1,) * len(self.fields))
        return field_slices(self.fields, sizes)

    def field(self, name: str) -> Tensor:
        """Values of one target field, ``[n]`` for a scalar and ``[n, k]`` for a vector; with time ``[n, t]``, ...."""
        slices = self.field_slices()
        if name not in slices:
            raise InputError(f"{self.label}: no field '{name}'; fields present: {listing(slices)}")
        values: Tensor = self.y[..., slices[name]]
        return values[..., 0] if values.shape[-1] == 1 else values

    @property
    def label(self) -> str:
        """How messages call this case: its file if known, else its name."""
        return str(_one(self.get("source")) or _one(self.get("name")) or "graph")

    def subset(self, index: Tensor) -> MeshGraph:
        """Graph of some of the nodes, in the order of ``index``; cells, edges and patches are left behind."""
        drop = {*CELL_ARRAYS, *PATCH_ARRAYS, "edge_index", "edge_attr", "source_arrays"}
        out = MeshGraph()
        for key, value in self.to_dict().items():
            if key in drop:
                continue
            out[key] = value[index] if key in NODE_ARRAYS and isinstance(value, Tensor) else value
        out.location = "free"
        return out

    def without_cells(self) -> MeshGraph:
        """Shallow copy without the original cells: what training needs, a fraction of the memory."""
        out = self.clone_shallow()
        for key in (*CELL_ARRAYS, "source_arrays"):
            if key in out:
                del out[key]
        return out

    def clone_shallow(self) -> MeshGraph:
        """Copy of the container; tensors are shared."""
        out = MeshGraph()
        for key, value in self.to_dict().items():
            out[key] = value
        return out

    def validate(self, raise_on_error: bool = True) -> MeshGraph:
        """Check shapes, indices and values; with ``raise_on_error=False`` only warn, as PyG does.

        Raises:
            InputError: Names the array, the first bad position and what to do.
        """
        problems = check_graph(self)
        message = f"{self.label}: " + "; ".join(problems[:3])
        if problems and raise_on_error:
            raise InputError(message)
        if problems:
            warn(message)
        return self


def origin_of(graph: Any) -> Tensor:
    """``[d]`` float64: what must be added to ``pos`` to get the coordinates of the file, m; mostly zero."""
    origin = graph.get("origin")
    none: Tensor = graph.pos.new_zeros(1, graph.pos.shape[-1], dtype=torch.float64)
    return none[0] if origin is None else torch.as_tensor(origin)[0]


def field_slices(names: Sequence[str], sizes: Sequence[int]) -> dict[str, slice]:
    """Channel range of each field when fields of the given sizes are laid side by side."""
    out: dict[str, slice] = {}
    start = 0
    for name, size in zip(names, sizes, strict=True):
        out[name] = slice(start, start + int(size))
        start += int(size)
    return out


def check_graph(graph: MeshGraph) -> list[str]:
    """Everything that is wrong with a graph, one sentence each; empty when it is sound."""
    pos = graph.get("pos")
    if not isinstance(pos, Tensor) or pos.dim() != 2 or pos.shape[1] not in (1, 2, 3):
        found = tuple(pos.shape) if isinstance(pos, Tensor) else type(pos).__name__
        return [f"'pos' must be a [n, d] tensor with d = 1, 2 or 3, got {found}; give the node positions in metres"]
    n = pos.shape[0]
    if n == 0:
        return ["the mesh is empty (0 nodes); check the export"]
    problems = []
    if not pos.is_floating_point():
        problems.append(f"'pos' must be float32, got {pos.dtype}; convert with .float()")
    for key in NODE_ARRAYS:
        value = graph.get(key)
        if value is None:
            continue
        if value.shape[0] != n:
            problems.append(f"'{key}' has {value.shape[0]} rows for {n} nodes; give one row per node")
        elif value.is_floating_point() and not bool(torch.isfinite(value).all()):
            problems.append(_non_finite(key, value, graph))
    problems += _check_names(graph)
    problems += _check_use(graph)
    problems += _check_indices(graph)
    return problems


def _check_names(graph: MeshGraph) -> Iterable[str]:
    y, names = graph.get("y"), graph.fields
    if y is not None and names:
        sizes = tuple(_first(graph.get("y_sizes")) or (1,) * len(names))
        if len(sizes) != len(names) or sum(sizes) != y.shape[-1]:
            yield f"'y' has {y.shape[-1]} channels but y_names {names} with y_sizes {sizes} describe {sum(sizes)}"
    x, x_names = graph.get("x"), _first(graph.get("x_names"))
    if x is not None and x_names and len(x_names) != x.shape[1]:
        yield f"'x' has {x.shape[1]} channels but {len(x_names)} x_names"
    location = _one(graph.get("location"))
    if location is not None and location not in LOCATIONS:
        yield f"location must be one of {listing(LOCATIONS)}, got {location!r}"


def _check_use(graph: MeshGraph) -> Iterable[str]:
    use = graph.get("y_use")
    if use is None:
        return
    if use.dim() != 2 or use.shape[1] != len(graph.fields):
        yield f"'y_use' must be [n, {len(graph.fields)}], a column per field, got {tuple(use.shape)}"
    elif not bool(((use >= UNKNOWN) & (use <= LEARNT)).all()):
        yield f"'y_use' holds {int(use.min())} to {int(use.max())}, allowed {UNKNOWN}, {JUDGED} and {LEARNT}"


def _check_indices(graph: MeshGraph) -> Iterable[str]:
    limits = {
        "edge_index": int(graph.num_nodes or 0),
        "cell_nodes": graph.num_points,
        "face_nodes": graph.num_points,
        "patch_index": int(graph.num_nodes or 0),
    }
    for key, limit in limits.items():
        value = graph.get(key)
        if value is None or value.numel() == 0:
            continue
        low, high = int(value.min()), int(value.max())
        if low < 0 or high >= limit:
            yield f"'{key}' holds index {low if low < 0 else high}, allowed 0..{limit - 1}"
    if graph.get("cell_size") is not None and int(graph.cell_size.sum()) != graph.cell_nodes.numel():
        yield f"'cell_size' sums to {int(graph.cell_size.sum())} for {graph.cell_nodes.numel()} cell_nodes"


def _non_finite(key: str, value: Tensor, graph: MeshGraph) -> str:
    bad = ~torch.isfinite(value.reshape(value.shape[0], -1))
    row, column = (int(i) for i in bad.nonzero()[0])
    what = f"'{key}'"
    if key == "y":
        for name, channels in graph.field_slices().items():
            if channels.start <= column % value.shape[-1] < channels.stop:
                what = f"field '{name}'"
    return (
        f"{what} holds {int(bad.any(1).sum())} NaN or infinite rows, the first at node {row}; "
        "repair the export or drop those cells"
    )


def _first(value: Any) -> Any:
    """The names or sizes of the first graph of a batch; those of a graph itself, which ``Data.to`` turns into lists."""
    return value[0] if isinstance(value, list) and value and isinstance(value[0], (tuple, list)) else value


def _one(value: Any) -> Any:
    """In a batch PyG keeps non-tensor attributes as a list with one entry per graph: take the first."""
    if isinstance(value, list) and value and isinstance(value[0], (tuple, list, str)):
        return value[0]
    return value
