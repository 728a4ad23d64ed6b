"""Lists of graphs as trajectories: ``Data`` of PyG with ``y [n, t, c]``, on any mesh or on a regular grid.

pos [n, d] or [t, n, d], y [n, t, c], one of edge_index, face [3, f] and cells; optional node_type [n] or [t, n]
conditions: a dictionary of numbers, what was set, e.g. {"speed": 30.0}
x [n, k] with x_names: what is known at the nodes beforehand, given to the model
y_names, y_sizes, y_units: of the fields; name: of the trajectory; time_step, s
times [t], s: where the frames are not equally far apart
grids: grid_shape (then spacing, periodic and x [n, k] with x_names, see meshops.data.grid), cells row-major
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor
from torch_geometric.data import Data

from meshops.data.edges import triangle_edges
from meshops.data.graph_files import cell_edges
from meshops.data.grid import grid_shape, grid_values
from meshops.data.mesh_graph import MeshGraph
from meshops.datasets.base import CaseDataset
from meshops.datasets.graph_list import graphs_of, named_numbers
from meshops.datasets.mesh_trajectory import NODE_TYPES, MeshSpec, MeshTrajectoryDataset, MeshWindow
from meshops.datasets.trajectory import GridSpec, TrajectoryDataset
from meshops.errors import InputError


def as_trajectories(
    data: Sequence[Data] | CaseDataset | TrajectoryDataset | MeshTrajectoryDataset,
) -> TrajectoryDataset | MeshTrajectoryDataset:
    """Trajectories of a set or of a list of graphs.

    Raises:
        InputError: A graph is no trajectory, or the graphs differ.

    Example:
        >>> graph = Data(pos=torch.rand(4, 2), y=torch.rand(4, 10, 3), edge_index=torch.tensor([[0, 1], [1, 0]]))
        >>> as_trajectories([graph])
        GraphTrajectories(trajectories=1, fields=['y'])
    """
    if isinstance(data, TrajectoryDataset | MeshTrajectoryDataset):
        return data
    graphs = graphs_of(data)  # type: ignore[arg-type]
    if graphs and all(graph.get("grid_shape") is not None for graph in graphs):
        return GridTrajectories(graphs)
    return GraphTrajectories(graphs)


class GraphTrajectories(MeshTrajectoryDataset):
    """Trajectories of a list of graphs; see the module.

    Args:
        graphs: One per trajectory.
        forced: Kinds of nodes whose values are known in advance.
        weights: Weight of each field in the loss; empty: 1.

    Raises:
        InputError: A graph is no trajectory, or the graphs differ in dimensions or fields.
    """

    def __init__(self, graphs: Sequence[Data], *, forced: Sequence[int] = (), weights: Sequence[float] = ()) -> None:
        self.graphs, self.cases, self.lengths = _checked(graphs)
        names, sizes, units = _fields(self.graphs[0])
        _alike(
            self.cases,
            [("times",) if graph.get("times") is not None else () for graph in self.graphs],
            "what they state",
        )
        _alike(self.cases, [_inputs(graph) for graph in self.graphs], "inputs")
        self._times = [_times(graph, name) for graph, name in zip(self.graphs, self.cases, strict=True)]
        self.spec = MeshSpec(
            fields=names,
            sizes=sizes,
            units=units,
            time_step=_time_step(self.graphs[0]),
            uneven=self._times[0] is not None,
            forced=tuple(forced),
            inputs=_inputs(self.graphs[0]),
            weights=tuple(weights),
        )
        self._edges = [_edges(graph, name) for graph, name in zip(self.graphs, self.cases, strict=True)]
        self._kinds = [_kinds(graph, name) for graph, name in zip(self.graphs, self.cases, strict=True)]

    def window(self, index: int, start: int, length: int) -> MeshWindow:
        """See the base class."""
        index = self.position(index)
        self.check_window(index, start, length)
        graph, frames, times = self.graphs[index], slice(start, start + length), self._times[index]
        pos = graph.pos.expand(length, *graph.pos.shape) if graph.pos.dim() == 2 else graph.pos[frames]
        none = torch.empty(0, 3, dtype=torch.int64)
        return MeshWindow(
            pos=pos.float(),
            state=graph.y.movedim(1, 0)[frames].float(),
            node_type=self._kinds[index][frames],
            triangles=(none,) * length,
            edge_index=self._edges[index],
            times=None if times is None else times[frames],
            x=graph.x.float().expand(length, *graph.x.shape) if self.spec.inputs else None,
        )

    def parameters(self, index: int) -> dict[str, float]:
        """``conditions`` of the graph."""
        index = self.position(index)
        return named_numbers(self.graphs[index], "conditions", self.cases[index])

    @classmethod
    def standin(cls, root: str | Path, num: int = 4) -> Path:
        """There is none: these are graphs in memory.

        Raises:
            InputError: Always.
        """
        raise InputError("trajectories of a list of graphs have no stand-in on disk")


class GridTrajectories(TrajectoryDataset):
    """Trajectories of a list of grid graphs; see the module.

    Args:
        graphs: One per trajectory.

    Raises:
        InputError: A graph is no trajectory, or the graphs differ in channels or axes.
    """

    def __init__(self, graphs: Sequence[Data]) -> None:
        self.graphs, self.cases, self.lengths = _checked(graphs)
        self.shapes = tuple(grid_shape(graph) for graph in self.graphs)
        specs = [_grid_spec(graph) for graph in self.graphs]
        _alike(self.cases, specs, "axes or constants")
        self.spec = specs[0]

    def window(self, index: int, start: int, length: int) -> Tensor:
        """See the base class."""
        index = self.position(index)
        self.check_window(index, start, length)
        frames: Tensor = grid_values(self.graphs[index], "y")[0, start : start + length]
        return frames.float()

    def constants(self, index: int) -> Tensor:
        """See the base class."""
        graph = self.graphs[self.position(index)]
        if graph.get("x") is None:
            return torch.zeros(0, *grid_shape(graph))
        return grid_values(graph, "x")[0].float()

    def parameters(self, index: int) -> dict[str, float]:
        """``conditions`` of the graph."""
        index = self.position(index)
        return named_numbers(self.graphs[index], "conditions", self.cases[index])

    @classmethod
    def standin(cls, root: str | Path, num: int = 4) -> Path:
        """There is none: these are graphs in memory.

        Raises:
            InputError: Always.
        """
        raise InputError("trajectories of a list of graphs have no stand-in on disk")


def _checked(graphs: Sequence[Data]) -> tuple[list[Data], tuple[str, ...], tuple[int, ...]]:
    """Graphs, their names and numbers of frames."""
    if not graphs:
        raise InputError("there is no trajectory: the list of graphs is empty")
    names = tuple(str(graph.get("name") or i) for i, graph in enumerate(graphs))
    for name, graph in zip(names, graphs, strict=True):
        pos, y = graph.get("pos"), graph.get("y")
        if not isinstance(pos, Tensor) or pos.dim() not in (2, 3):
            raise InputError(f"graph {name}: pos must be [n, d] or, where the mesh moves, [t, n, d]")
        nodes = pos.shape[-2]
        moves = pos.dim() == 3
        if not isinstance(y, Tensor) or y.dim() != 3 or len(y) != nodes or (moves and len(pos) != y.shape[1]):
            found = str(tuple(y.shape)) if isinstance(y, Tensor) else "nothing"
            if isinstance(y, Tensor) and y.dim() < 3:
                found += ": a finished case, no trajectory; those are learnt by kind: fields"
            raise InputError(
                f"graph {name}: y must be [n, t, c] for the {nodes} nodes{' and the frames' if moves else ''} of pos "
                f"{tuple(pos.shape)}, got {found}"
            )
    kinds = [(graph.pos.shape[-1], *_fields(graph)) for graph in graphs]
    _alike(names, kinds, "dimensions or fields")
    return list(graphs), names, tuple(int(graph.y.shape[1]) for graph in graphs)


def _alike(names: Sequence[str], values: Iterable[object], what: str) -> None:
    for (first, a), (second, b) in pairwise(zip(names, values, strict=True)):
        if a != b:
            raise InputError(f"graphs {first} and {second} differ in {what}: {a} and {b}; learn alike ones together")


def _fields(graph: Data) -> tuple[tuple[str, ...], tuple[int, ...], tuple[str, ...]]:
    """Names, channels and units of the fields of a graph."""
    channels = int(graph.y.shape[2])
    names = tuple(graph.get("y_names") or ("y",))
    sizes = tuple(graph.get("y_sizes") or ((channels,) if len(names) == 1 else (1,) * len(names)))
    if len(sizes) != len(names) or sum(sizes) != channels:
        raise InputError(f"y has {channels} channels, but y_names {names} with y_sizes {sizes} name {sum(sizes)}")
    return names, sizes, tuple(graph.get("y_units") or ("",) * len(names))


def _inputs(graph: Data) -> tuple[str, ...]:
    """Name of each channel of ``x [n, k]``; empty: there is none."""
    x = graph.get("x")
    if not isinstance(x, Tensor) or x.dim() != 2:
        return ()
    names = tuple(graph.get("x_names") or ())
    return names if len(names) == x.shape[1] else tuple(f"x{i}" for i in range(x.shape[1]))


def _times(graph: Data, name: str) -> Tensor | None:
    """``[t]`` times of the frames, where the graph states them."""
    given = graph.get("times")
    if given is None:
        return None
    times = torch.as_tensor(given, dtype=torch.float64).flatten()
    if len(times) != graph.y.shape[1] or not bool((times.diff() > 0).all()):
        raise InputError(f"graph {name}: times must be {graph.y.shape[1]} rising numbers, one per frame, got {given}")
    return times


def _time_step(graph: Data) -> float:
    value, times = graph.get("time_step"), graph.get("times")
    if value is None and times is not None and len(times) > 1:
        return float(torch.as_tensor(times, dtype=torch.float64).diff().median())
    return 0.0 if value is None else float(value)


def _edges(graph: Data, name: str) -> Tensor:
    """``[2, e]`` of the graph, of its triangles or of its cells."""
    nodes = int(graph.pos.shape[-2])
    edges = graph.get("edge_index")
    if isinstance(edges, Tensor):
        return edges
    if graph.get("face") is not None:
        return triangle_edges(graph.face.T, nodes)
    if graph.get("cell_nodes") is not None:
        mesh = MeshGraph(pos=graph.pos if graph.pos.dim() == 2 else graph.pos[0])
        mesh.cell_size, mesh.cell_nodes, mesh.cell_type = graph.cell_size, graph.cell_nodes, graph.cell_type
        return cell_edges(mesh)
    raise InputError(f"graph {name} has no edges; give edge_index, face or cells, or use meshops.data.edges.KNNGraph")


def _kinds(graph: Data, name: str) -> Tensor:
    """``[t, n]`` kinds of nodes."""
    frames, nodes = int(graph.y.shape[1]), int(graph.y.shape[0])
    kinds = graph.get("node_type")
    kinds = torch.zeros(nodes, dtype=torch.int64) if kinds is None else kinds.long()
    kinds = kinds.expand(frames, nodes) if kinds.shape == (nodes,) else kinds
    if kinds.shape != (frames, nodes) or int(kinds.min()) < 0 or int(kinds.max()) >= NODE_TYPES:
        raise InputError(
            f"graph {name}: node_type must be [{nodes}] or [{frames}, {nodes}] of kinds 0 to {NODE_TYPES - 1}, got "
            f"{tuple(kinds.shape)} of {int(kinds.min())} to {int(kinds.max())}"
        )
    return kinds


def _grid_spec(graph: Data) -> GridSpec:
    dim = len(grid_shape(graph))
    names, sizes, units = _fields(graph)
    channels = tuple(n if k == 1 else f"{n}_{i}" for n, k in zip(names, sizes, strict=True) for i in range(k))
    known = 0 if graph.get("x") is None else int(graph.x.shape[1])
    constants = tuple(graph.get("x_names") or (f"x_{i}" for i in range(known)))
    spacing, periodic = graph.get("spacing"), graph.get("periodic")
    if len(constants) != known:
        raise InputError(f"x has {known} channels, but x_names {constants} name {len(constants)}")
    return GridSpec(
        channels=channels,
        constants=constants,
        spacing=(1.0,) * dim if spacing is None else tuple(float(s) for s in spacing.reshape(-1)),
        periodic=(False,) * dim if periodic is None else tuple(bool(p) for p in periodic.reshape(-1)),
        time_step=_time_step(graph),
        units=tuple(unit for unit, k in zip(units, sizes, strict=True) for _ in range(k)),
    )
