"""Simulations in time on meshes that may move: EAGLE, MeshGraphNets. Read window by window."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from meshops.data.edges import VTK_TRIANGLE, triangle_edges
from meshops.data.mesh_graph import MeshGraph
from meshops.datasets.base import CaseProblem, unreadable
from meshops.datasets.trajectory import Trajectories

NODE_TYPES = 9  # kinds of nodes of MeshGraphNets and EAGLE, given to models as one-hot


@dataclass(frozen=True, kw_only=True)
class MeshSpec:
    """What the channels of a set mean; the same for all its trajectories.

    Attributes:
        fields: Names of the fields that change in time, e.g. ``("velocity", "pressure")``.
        sizes: Channels of each.
        units: Unit of each, ``""`` where unknown.
        time_step: Time between frames, s, the median where it varies; 0 where unknown.
        uneven: Whether it varies; then windows state their times.
        forced: Node types whose values are known in advance (walls, inflow): a rollout takes them from the data.
        inputs: Name of each channel that is known at the nodes beforehand (a material, a source), in ``MeshWindow.x``.
        weights: Weight of each field in the loss.
        location: ``"point"`` or ``"cell"``: where the fields live in files.
    """

    fields: tuple[str, ...]
    sizes: tuple[int, ...]
    units: tuple[str, ...]
    time_step: float = 0.0
    forced: tuple[int, ...] = ()
    inputs: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()
    uneven: bool = False
    location: Literal["cell", "point"] = "point"

    @property
    def channels(self) -> int:
        """c, number of channels of a state."""
        return sum(self.sizes)


@dataclass(frozen=True, eq=False)
class MeshWindow:
    """Consecutive frames of one trajectory, physical units.

    Attributes:
        pos: ``[t, n, d]`` float32 node positions, m.
        state: ``[t, n, c]`` float32.
        node_type: ``[t, n]`` int64.
        triangles: Cells of each frame, ``[f, 3]`` int64; the same tensor t times where the mesh stays.
        edge_index: ``[2, e]`` edges of all frames, where they are known instead of the triangles.
        x: ``[t, n, k]`` float32, the channels of ``spec.inputs``; None: there are none.
        times: ``[t]`` float64, s, where the frames are not equally far apart; None: they are.
    """

    pos: Tensor
    state: Tensor
    node_type: Tensor
    triangles: tuple[Tensor, ...]
    edge_index: Tensor | None = None
    x: Tensor | None = None
    times: Tensor | None = None

    def __len__(self) -> int:
        """Number of frames t."""
        return len(self.state)

    def edges(self, frame: int) -> Tensor:
        """``[2, e]`` sides of the triangles of one frame, both directions, each once, sorted by receiver."""
        if self.edge_index is not None:
            return self.edge_index
        return triangle_edges(self.triangles[frame], self.pos.shape[1])

    def every(self, stride: int) -> MeshWindow:
        """Every ``stride``-th frame, the first among them."""
        parts = (self.pos[::stride], self.state[::stride], self.node_type[::stride], self.triangles[::stride])
        x, times = (None if part is None else part[::stride] for part in (self.x, self.times))
        return MeshWindow(*parts, edge_index=self.edge_index, x=x, times=times)

    def graph(self, frame: int, spec: MeshSpec) -> MeshGraph:
        """One frame as a graph: ``y`` the state, cells, edges and node types."""
        cells = self.triangles[frame]
        return MeshGraph(
            pos=self.pos[frame],
            y=self.state[frame],
            y_names=spec.fields,
            y_sizes=spec.sizes,
            y_units=spec.units,
            node_type=self.node_type[frame],
            edge_index=self.edges(frame),
            cell_size=torch.full((len(cells),), 3),
            cell_nodes=cells.flatten(),
            cell_type=torch.full((len(cells),), VTK_TRIANGLE),
            location="point",
        )


class MeshTrajectoryDataset(Trajectories):
    """Trajectories of fields on meshes.

    Subclasses set the attributes in their ``__init__`` and implement :meth:`window` and :meth:`standin`.

    Attributes:
        spec: What the channels mean.
    """

    spec: MeshSpec

    def __getitem__(self, index: int) -> MeshGraph:
        """The first frame of a trajectory as a graph."""
        index = self.position(index)
        graph = self.window(index, 0, 1).graph(0, self.spec)
        graph.name = self.cases[index]
        return graph

    @abstractmethod
    def window(self, index: int, start: int, length: int) -> MeshWindow:
        """Frames ``start .. start + length - 1`` of one trajectory.

        Raises:
            InputError: The frames do not exist, or the file is damaged (its name and what is wrong).
        """

    def clusters(self, index: int, frame: int, size: int) -> Tensor | None:
        """``[n]`` int64 cluster of each node of one frame, clusters of ``size`` nodes, where stored; else None."""
        del index, frame, size
        return None

    def check(self) -> Iterator[CaseProblem]:
        """Read every trajectory and report what is wrong; nothing is raised."""
        for index, case in enumerate(self.cases):
            try:
                window = self.window(index, 0, self.lengths[index])
            except Exception as error:  # damaged files fail in any way
                yield CaseProblem(case, None, unreadable(error))
                continue
            good = torch.isfinite(window.state).all(2).all(1) & torch.isfinite(window.pos).all(2).all(1)
            if not bool(good.all()):
                first = int((~good).nonzero()[0])
                yield CaseProblem(case, None, f"NaN or infinite values, first in frame {first}; drop the case")

    def __repr__(self) -> str:
        """Class, number of trajectories and fields."""
        return f"{type(self).__name__}(trajectories={len(self)}, fields={list(self.spec.fields)})"
