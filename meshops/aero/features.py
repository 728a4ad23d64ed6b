"""Node features computed from the geometry alone, in the body's frame and lengths (see ``meshops.aero.frame``).

place      position, position in the body's bounding box, its width, height and clearance         (8)
reynolds   logarithm of the Reynolds number, where the viscosity is known                         (1)
normal     outward unit normal (surface) or distance and direction to the body (volume)           (3 / 4)
shape      Gaussian averages of the body's normals around the node, and the offset of the local
           centroid along the normal (a curvature), at several radii                              (4 per radius)
potential  velocity and pressure coefficient of the potential flow past the body with its image
           in the ground: a source-panel solution (Hess and Smith 1967), no wake, no friction     (4)
change     mean of that pressure coefficient on the surface around the node that faces the same way, and its
           rise along the potential flow over one radius (where flows separate), at the same radii (2 per radius)
mesh       edges and folds of the cells themselves, see ``meshops.data.cues``                     (8)

All of them come from the whole shape, before any nodes are left out. All but the last depend on the mesh only through
quadrature: another triangulation of the same shape gives nearly the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, gmres
from scipy.spatial import cKDTree
from torch import Tensor

from meshops.aero.conditions import FlowConditions
from meshops.aero.frame import Frame
from meshops.data.cues import CUES, mesh_cues
from meshops.data.mesh_graph import MeshGraph, origin_of
from meshops.errors import InputError
from meshops.ops.sources import gaussian_means, source_velocity
from meshops.partition.ball_tree import BallTree

MERGED = 2.0**-11  # merging: grid of places and turns, above the noise of normals in single precision
TURN = 0.1  # merging: a quarter turn counts as this many body lengths (times sqrt 2)
PAIRS = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
ROWS = 128  # nodes whose interactions with all sources are held at once: they stay in the cache of a core


@dataclass(frozen=True, kw_only=True)
class FeatureSpec:
    """Which features are computed.

    Attributes:
        radii: Radii of the Gaussian averages, in body heights; empty: none.
        potential_flow: Solve for the potential flow.
        potential_change: How its pressure changes along the surface, at the radii; for surfaces, with potential_flow.
        max_sources: The body is represented by at most this many panels (cells are merged by a ball tree).
        mesh_cues: Edges and folds of surface cells; only for ``location="cell"``.
        reynolds: The logarithm of the Reynolds number.
    """

    radii: tuple[float, ...] = (0.04, 0.08, 0.16, 0.32)
    potential_flow: bool = True
    potential_change: bool = False
    max_sources: int = 2048
    mesh_cues: bool = False
    reynolds: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FeatureSpec:
        """Inverse of :meth:`to_dict`."""
        return cls(**{**values, "radii": tuple(values["radii"])})

    def names(self, domain: str) -> tuple[str, ...]:
        """Name of each feature channel."""
        place = ["position_x", "position_y", "position_z", "box_y", "box_z", *self.constants]
        own = [f"normal_{a}" for a in "xyz"] if domain == "surface" else ["distance", *[f"to_body_{a}" for a in "xyz"]]
        shape = [f"{name}@{r:g}" for r in self.radii for name in ("normal_x", "normal_y", "normal_z", "curvature")]
        flow = ["potential_x", "potential_y", "potential_z", "potential_cp"] if self.potential_flow else []
        change = [f"potential_{name}@{r:g}" for r in self.changes(domain) for name in ("mean", "rise")]
        return tuple(place + own + shape + flow + change + list(self.cues(domain)))

    @property
    def constants(self) -> tuple[str, ...]:
        """Names of the features that are the same at all nodes of a case."""
        return ("extent_y", "extent_z", "clearance") + (("log_reynolds",) if self.reynolds else ())

    def changes(self, domain: str) -> tuple[float, ...]:
        """Radii at which the change of the potential flow is felt."""
        return self.radii if self.potential_flow and self.potential_change and domain == "surface" else ()

    def cues(self, domain: str) -> tuple[str, ...]:
        """Names of the features that depend on the mesh itself; they come last."""
        return CUES if self.mesh_cues and domain == "surface" else ()


@dataclass(frozen=True, eq=False)
class Body:
    """A surface as panels, in the frame of the body but not folded (both sides of the body are there).

    Attributes:
        center: ``[s, 3]``.
        normal: ``[s, 3]`` outward.
        area: ``[s]``.
        low, high: ``[3]`` corners of the bounding box of the mesh points.
    """

    center: Tensor
    normal: Tensor
    area: Tensor
    low: Tensor
    high: Tensor

    def merged(self, max_panels: int) -> Body:
        """At most ``max_panels`` panels: cells near each other that face the same way are joined.

        The tree splits positions and normals together, so that no panel reaches around an edge. Cells without
        area, such as points that belong to no face, are left out: a panel of them alone has no place.
        """
        some = self.area > 0
        if not bool(some.all()) and bool(some.any()):
            kept = Body(self.center[some], self.normal[some], self.area[some], self.low, self.high)
            return kept.merged(max_panels)
        if self.area.numel() <= max_panels:
            return self
        tree = BallTree(num_patches=1 << (max_panels.bit_length() - 1))
        reach = (self.high - self.low).max()
        place = torch.cat([self.center, TURN * reach * self.normal], 1)
        patches = tree.partition((place / MERGED).round() * MERGED + 0.0)
        area = patches.pool(self.area, "sum")
        center = patches.pool(self.center * self.area.unsqueeze(1), "sum") / area.unsqueeze(1)
        vector = patches.pool(self.normal * self.area.unsqueeze(1), "sum")
        length = vector.norm(dim=1).clamp(min=1e-20)
        return Body(center, vector / length.unsqueeze(1), length, self.low, self.high)


def frame_of(graph: MeshGraph, conditions: FlowConditions, domain: str) -> Frame:
    """Frame of a case as read, from its body: the surface itself, or the body inside a volume.

    Raises:
        InputError: A volume without its body, or a body without extent along the flow.
    """
    if conditions.ground is not None:
        up = torch.tensor(conditions.up, dtype=torch.float64)
        conditions = replace(conditions, ground=conditions.ground - float(origin_of(graph) @ up))
    return Frame.of(graph.pos, conditions, _corners(graph, domain))


def node_features(
    graph: MeshGraph, frame: Frame, spec: FeatureSpec, domain: str, *, reynolds: float | None = None
) -> Tensor:
    """Features ``[n, len(spec.names(domain))]`` of a case as read.

    Args:
        graph: The case.
        frame: From :func:`frame_of`.
        spec: Which features.
        domain: ``"surface"`` or ``"volume"``.
        reynolds: Reynolds number of the case, for ``spec.reynolds``.

    Raises:
        InputError: A surface without normals and areas, or a volume without its body.
    """
    body = body_of(graph, frame, domain)
    pos = frame.place(graph.pos)
    extent = (body.high - body.low).clamp(min=1e-12)
    height = float(extent[2])
    box = ((pos - body.low) / extent)[:, 1:]  # along the flow it is the position itself
    if frame.folded:
        box[:, 0] = (2 * box[:, 0] - 1).abs()
    constants = torch.cat([extent[1:], body.low[2:]])
    if spec.reynolds:
        assert reynolds is not None
        constants = torch.cat([constants, constants.new_tensor([math.log(reynolds)])])
    columns = [frame.fold(pos), box, constants.expand(len(pos), -1)]
    panels = body.merged(spec.max_sources)
    if domain == "surface":
        normal = frame.turn(graph.normal)
        columns.append(frame.fold(normal))
    else:
        normal, distance = _nearest(pos, body)
        columns += [distance.unsqueeze(1), frame.fold(normal)]
    for smooth, curvature in _smoothed(pos, normal, panels, [r * height for r in spec.radii]):
        columns += [frame.fold(smooth), curvature.unsqueeze(1)]
    if spec.potential_flow:
        places = torch.cat([pos, panels.center]) if spec.changes(domain) else pos
        velocity = potential_velocity(places, panels, ground=frame.has_ground)
        if domain == "surface":
            facing = torch.cat([normal, panels.normal])[: len(places)]
            velocity = velocity - (velocity * facing).sum(1, keepdim=True) * facing
        pressure = (1 - velocity.square().sum(1, keepdim=True)).clamp(-3, 1)
        velocity, own, around = velocity[: len(pos)], pressure[: len(pos)], pressure[len(pos) :, 0]
        columns += [frame.fold(velocity).clamp(-2.5, 2.5), own]
        radii = [r * height for r in spec.changes(domain)]
        columns += changes_along(pos, normal, velocity, panels, around, radii) if radii else []
    if spec.cues(domain):
        columns.append(_mesh_cues(graph, frame))
    return torch.cat(columns, 1)


def _mesh_cues(graph: MeshGraph, frame: Frame) -> Tensor:
    if graph.get("cell_size") is None or graph.get("points") is None or graph.get("location") == "point":
        raise InputError(
            f"{graph.label}: mesh cues need the cells of a surface with location='cell'; set mesh_cues=false"
        )
    values = mesh_cues(graph)
    return torch.cat([values[:, :-3], frame.vectors(values[:, -3:])], 1)


def body_of(graph: MeshGraph, frame: Frame, domain: str) -> Body:
    """The body in its frame: the graph itself for a surface, its ``body_*`` arrays for a volume."""
    names = ("pos", "normal", "area") if domain == "surface" else ("body_pos", "body_normal", "body_area")
    arrays = [graph.get(name) for name in names]
    if any(array is None for array in arrays):
        raise InputError(
            f"{graph.label}: the features need {', '.join(names)}; read the case with meshops.data.read"
            + ("" if domain == "surface" else " and attach its body with meshops.data.attach_body")
        )
    pos, normal, area = (torch.as_tensor(array) for array in arrays)
    corners = frame.place(_corners(graph, domain))
    area = (area.to(torch.float64) / frame.length**2).to(torch.float32)
    return Body(frame.place(pos), frame.turn(normal), area, corners.amin(0), corners.amax(0))


def potential_velocity(pos: Tensor, panels: Body, *, ground: bool) -> Tensor:
    """Velocity of the potential flow of unit speed along x past the panels, ``[n, 3]`` at ``pos [n, 3]``.

    Each panel is a source of strength s: ``s_i / 2 + sum_j K_ij s_j = -n_i . U`` makes the flow tangent to the body.
    The kernel is softened over the size of a panel. On the surface only the tangential part is meaningful.

    Args:
        pos: Where the velocity is wanted, canonical axes.
        panels: The body.
        ground: Reflect the body in z = 0.
    """
    soft = panels.area / 2  # radius^2 of about its own disc: inside it a panel does not look like a point
    images = [panels.center] + ([panels.center * panels.center.new_tensor([1, 1, -1])] if ground else [])
    weight = panels.area / (4 * math.pi)
    rows = []
    for start in range(0, len(panels.center), ROWS):
        x, n = panels.center[start : start + ROWS], panels.normal[start : start + ROWS]
        kernel = torch.zeros(len(x), len(panels.center))
        for sources in images:
            along = (x * n).sum(1, keepdim=True) - n @ sources.T
            kernel += along * _inverse_cube(x, sources, soft)
        rows.append(kernel * weight)
    influence = torch.cat(rows)
    strength = _solve(influence, -panels.normal[:, 0]) * weight
    sources = torch.cat(images)
    out = source_velocity(pos, sources, strength.repeat(len(images)), soft.repeat(len(images)))
    out[:, 0] += 1
    return out


def changes_along(
    pos: Tensor, normal: Tensor, velocity: Tensor, panels: Body, pressure: Tensor, radii: list[float]
) -> list[Tensor]:
    """Mean ``[n, 1]`` and rise ``[n, 1]`` per radius of a quantity of the panels, along the flow over the surface.

    The rise is the slope of a straight line through ``pressure [s]`` over the distance along ``velocity``, times the
    radius. Panels count by area, by a Gaussian of their distance, and by how far they face the same way.
    """
    direction = velocity / velocity.norm(dim=1, keepdim=True).clamp(min=1e-6)
    c, p = panels.center, pressure.unsqueeze(1)
    products = torch.stack([c[:, i] * c[:, j] for i, j in PAIRS], 1)
    columns = torch.cat([torch.ones_like(p), c, p, p * c, products], 1) * panels.area.unsqueeze(1)
    out = [torch.empty(len(pos), 2) for _ in radii]
    for start in range(0, len(pos), ROWS):
        rows = slice(start, start + ROWS)
        square = _squares(pos[rows], c).clamp_(min=0)
        square -= square.amin(1, keepdim=True)
        facing = (normal[rows] @ panels.normal.T).clamp_(min=0)
        for k, near in _gaussians(square, radii):
            sums = (facing * near) @ columns
            sums = sums[:, 1:] / sums[:, :1].clamp(min=1e-20)
            out[k][rows] = _line(sums, direction[rows], radii[k])
    return [part for found in out for part in found.split(1, 1)]


def _line(mean: Tensor, direction: Tensor, radius: float) -> Tensor:
    """Mean and rise ``[n, 2]`` from means of place, quantity p, p times place and products of places, ``[n, 13]``."""
    place, p, p_place, products = mean.split((3, 1, 3, 6), 1)
    across = torch.stack([(2 - (i == j)) * direction[:, i] * direction[:, j] for i, j in PAIRS], 1)
    spread = (products * across).sum(1) - (place * direction).sum(1).square()
    slope = ((p_place - p * place) * direction).sum(1) / spread.clamp(min=1e-3 * radius**2)
    return torch.stack([p[:, 0], (radius * slope).clamp(-3, 3)], 1)


def _gaussians(square: Tensor, radii: list[float]) -> Iterator[tuple[int, Tensor]]:
    """Gaussian weights of squared distances for each radius, widest first; the tensor is used again for the next."""
    weight, last = square, 0.0
    for i in sorted(range(len(radii)), key=lambda i: -radii[i]):
        if last and abs(last / radii[i] - 2) < 1e-6:
            weight.square_().square_()  # half the radius: the fourth power, cheaper than another exponential
        else:
            weight = torch.exp(square * (-0.5 / radii[i] ** 2))
        last = radii[i]
        yield i, weight


def _inverse_cube(x: Tensor, sources: Tensor, soft: Tensor) -> Tensor:
    inverse = _squares(x, sources).add_(soft).clamp_(min=1e-12).rsqrt_()
    return inverse * inverse.square()


def _solve(influence: Tensor, right: Tensor) -> Tensor:
    size = len(right)

    def apply(vector: Any) -> Any:
        v = torch.as_tensor(vector, dtype=torch.float32).view(-1)
        return (0.5 * v + influence @ v).numpy().astype(np.float64)

    operator = LinearOperator((size, size), matvec=apply, dtype=np.float64)
    solution, _ = gmres(operator, right.numpy().astype(np.float64), rtol=1e-3, restart=40, maxiter=1)
    return torch.as_tensor(solution, dtype=torch.float32)


def _smoothed(pos: Tensor, normal: Tensor, panels: Body, radii: list[float]) -> list[tuple[Tensor, Tensor]]:
    """Per radius: mean normal ``[n, 3]`` and curvature ``[n]``: ``(pos - mean position) . normal / radius``."""
    result = []
    for radius in radii:
        offset, mean = gaussian_means(pos, panels.center, panels.area, panels.normal, radius)
        result.append((mean, -(offset * normal).sum(1) / radius))
    return result


def _squares(x: Tensor, y: Tensor) -> Tensor:
    """Squared distances ``[n, m]``, to rounding."""
    return torch.addmm(y.square().sum(1).unsqueeze(0), x, y.T, alpha=-2).add_(x.square().sum(1, keepdim=True))


def _nearest(pos: Tensor, body: Body) -> tuple[Tensor, Tensor]:
    """Unit vector from the nearest panel centre, and the distance, for nodes off the body."""
    distance, index = cKDTree(body.center.numpy()).query(pos.numpy(), workers=-1)
    away = pos - body.center[torch.as_tensor(index)]
    length = torch.as_tensor(distance, dtype=pos.dtype)
    return away / length.clamp(min=1e-12).unsqueeze(1), length


def _corners(graph: MeshGraph, domain: str) -> Tensor:
    """Points that span the body, as read."""
    if domain == "volume":
        body: Tensor | None = graph.get("body_pos")
        if body is None:
            raise InputError(
                f"{graph.label}: the features need body_pos; attach the body with meshops.data.attach_body"
            )
        return body
    points: Tensor | None = graph.get("points")
    pos: Tensor = graph.pos
    if points is None:
        used = graph.get("node_type")
        return pos if used is None else pos[used == 0]
    return points[graph.cell_nodes] if graph.get("cell_nodes") is not None else points
