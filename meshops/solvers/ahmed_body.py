"""A parametric Ahmed body as a closed triangle surface, in the frame and with the parameters of AhmedMini.

The cross-section is a rectangle at every x. Within the front radius R it is narrower and lower by
R - sqrt(R^2 - (R - x)^2) on each side, so quarter cylinders meet in mitre edges; at the rear the roof falls along the
slant. All other edges are sharp; there are no wheels and no stilts. Such a body is convex.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyvista as pv

from meshops.errors import InputError, listing, warn
from meshops.solvers.developable import Chart, Cylinder, Plane, fill, orient_convex

Array = np.ndarray[Any, Any]

# In the shipped cases the radius never exceeds this share of the smaller of width and height.
RADIUS_LIMIT = 0.35
COLUMNS = {
    "body-length": "length",
    "body-width": "width",
    "body-height": "height",
    "front-radius": "front_radius",
    "slant-length": "slant_length",
    "slant-angle-degrees": "slant_angle",
    "ground-clearance": "ground_clearance",
}
# Length of the mitre curve over the radius: the integral of sqrt(1 + cos^2) over a quarter turn.
MITRE_LENGTH = 1.9101


@dataclass(frozen=True, kw_only=True)
class AhmedShape:
    """Dimensions of a body, checked.

    Attributes:
        length, width, height: Outer size along x, y, z, m.
        front_radius: Radius of the rounded front, m.
        slant_length: Length of the slanted rear surface along itself, m.
        slant_angle: Its angle to the horizontal, degrees.
        ground_clearance: Height of the flat underside above z = 0, m.
    """

    length: float
    width: float
    height: float
    front_radius: float
    slant_length: float
    slant_angle: float
    ground_clearance: float

    def __post_init__(self) -> None:
        """Refuse dimensions that do not make a body."""
        for name in ("length", "width", "height", "front_radius", "slant_length"):
            if not getattr(self, name) > 0:
                raise InputError(f"ahmed_body: {name} must be positive (m), got {getattr(self, name)}")
        if not 0 <= self.slant_angle < 90:
            raise InputError(f"ahmed_body: slant_angle must be 0 to below 90 degrees, got {self.slant_angle}")
        if self.ground_clearance < 0:
            raise InputError(f"ahmed_body: ground_clearance must not be negative (m), got {self.ground_clearance}")
        if self.slant_start <= self.front_radius:
            raise InputError(
                f"ahmed_body: the slant starts at x = {self.slant_start:.4g} m, inside the front radius of "
                f"{self.front_radius:.4g} m; shorten slant_length or lengthen the body"
            )
        if self.slant_end <= self.ground_clearance:
            raise InputError(
                f"ahmed_body: the slant ends {self.ground_clearance - self.slant_end:.4g} m below the underside; "
                "shorten slant_length or lower slant_angle"
            )

    @property
    def slant_start(self) -> float:
        """Position x of the upper edge of the slant, m."""
        return self.length - self.slant_length * float(np.cos(np.radians(self.slant_angle)))

    @property
    def slant_end(self) -> float:
        """Height z of the lower edge of the slant, m."""
        return self.top - self.slant_length * float(np.sin(np.radians(self.slant_angle)))

    @property
    def top(self) -> float:
        """Height z of the roof, m."""
        return self.ground_clearance + self.height


def ahmed_body(
    length: float,
    width: float,
    height: float,
    front_radius: float,
    slant_length: float,
    slant_angle: float,
    ground_clearance: float,
    *,
    edge: float = 0.02,
) -> pv.PolyData:
    """Make the closed, outward-oriented triangle surface of an Ahmed body.

    Frame: x downstream from 0 to ``length``, y across and symmetric, z up, underside at ``ground_clearance``.

    Args:
        length: Along x, m (the original body: 1.044).
        width: Along y, m (0.389).
        height: Along z, m (0.288).
        front_radius: m (0.1); at most 0.35 times the smaller of width and height, larger ones are cut with a warning.
        slant_length: Along the slant, m (0.222).
        slant_angle: Degrees to the horizontal (25).
        ground_clearance: m (0.05).
        edge: Wanted edge length of the triangles, m.

    Raises:
        InputError: The dimensions do not make a body, or ``edge`` is more than half its width or height.

    Example:
        >>> body = ahmed_body(1.044, 0.389, 0.288, 0.1, 0.222, 25.0, 0.05)
        >>> body.n_open_edges, round(body.volume, 3)
        (0, 0.111)
    """
    limit = RADIUS_LIMIT * min(width, height)
    shape = AhmedShape(
        length=length,
        width=width,
        height=height,
        front_radius=min(front_radius, limit),
        slant_length=slant_length,
        slant_angle=slant_angle,
        ground_clearance=ground_clearance,
    )
    if front_radius > limit * (1 + 1e-9):
        warn(
            f"ahmed_body: front_radius {front_radius:.4g} m is more than {RADIUS_LIMIT} times the smaller of width and "
            f"height; {limit:.4g} m is used, as in the shipped cases"
        )
    if not 0 < edge <= min(width, height) / 2:
        raise InputError(
            f"ahmed_body: edge must be positive and at most {min(width, height) / 2:.3g} m here, got {edge}"
        )
    return _surface(shape, edge)


def ahmed_body_from(parameters: dict[str, float], *, edge: float = 0.02) -> pv.PolyData:
    """:func:`ahmed_body` from the columns of ``geo_parameters_<i>.csv``, e.g. ``dataset.parameters(i)``.

    A body longer than 20 is taken to be in millimetres, as in the published AhmedML, and said so.

    Raises:
        InputError: A column is missing.
    """
    missing = [name for name in COLUMNS if name not in parameters]
    if missing:
        raise InputError(f"ahmed_body: no column {listing(missing)} among {listing(parameters)}")
    values = {argument: float(parameters[name]) for name, argument in COLUMNS.items()}
    if values["length"] > 20:
        warn(f"ahmed_body: body-length {values['length']:g} is taken to be millimetres; lengths are divided by 1000")
        values = {name: value if name == "slant_angle" else value / 1000 for name, value in values.items()}
    return ahmed_body(**values, edge=edge)


# Each piece of the right half (y >= 0): its corners in turn. The left half is its mirror image.
FLAT_PIECES = (
    ("middle nose low", "side nose low", "side nose high", "middle nose high"),
    ("middle front high", "side front high", "side slant high", "middle slant high"),
    ("middle slant high", "side slant high", "side slant low", "middle slant low"),
    ("middle slant low", "side slant low", "side base low", "middle base low"),
    ("middle front low", "side front low", "side base low", "middle base low"),
    ("side front low", "side base low", "side slant low", "side slant high", "side front high"),
)
# Rounded pieces and the direction they end up facing.
ROUND_PIECES = (
    (("side nose low", "side nose high", "side front high", "side front low"), (0.0, 1.0, 0.0)),
    (("middle nose low", "side nose low", "side front low", "middle front low"), (0.0, 0.0, -1.0)),
    (("middle nose high", "side nose high", "side front high", "middle front high"), (0.0, 0.0, 1.0)),
)


def _surface(shape: AhmedShape, edge: float) -> pv.PolyData:
    """Triangulate every piece in its unrolled plane, join them along their common curves, and add the mirror image."""
    filled = [fill(loop, chart, edge) for loop, chart in _pieces(shape, edge)]
    offsets = np.cumsum([0, *(len(part[0]) for part in filled)])
    points = np.concatenate([part[0] for part in filled])
    faces = np.concatenate([part[1] + offset for part, offset in zip(filled, offsets, strict=False)])
    both = np.concatenate([points, points * [1, -1, 1]]) + 0.0  # no negative zeros on the plane of symmetry
    # Curves shared by two pieces were computed once, so their points are equal to the last bit.
    unique, index = np.unique(both, axis=0, return_inverse=True)
    faces = index.reshape(-1)[np.concatenate([faces, faces + len(points)])]
    return pv.PolyData.from_regular_faces(unique, orient_convex(unique, faces))


def _pieces(shape: AhmedShape, edge: float) -> Iterator[tuple[Array, Chart]]:
    """Boundary loop and chart of each piece of the right half."""
    curves = _Curves(shape, edge)
    upstream = np.array([-1.0, 0.0, 0.0])
    for names in FLAT_PIECES:
        first, second, last = (curves.corners[names[i]] for i in (0, 1, -1))
        yield curves.loop(names), Plane.through(first, second, last)
    for names, direction in ROUND_PIECES:
        outward, radius = np.array(direction), shape.front_radius
        axis = np.abs(np.cross(outward, upstream))
        center = curves.corners[names[0]] - radius * upstream
        yield curves.loop(names), Cylinder(center=center, radius=radius, start=upstream, end=outward, axis=axis)


class _Curves:
    """Corners of the body and the divided curves between them, each computed once.

    Args:
        shape: The body.
        edge: Wanted distance of points, m.
    """

    def __init__(self, shape: AhmedShape, edge: float) -> None:
        self.radius = shape.front_radius
        self.edge = edge
        self.corners = _corners(shape)
        self._made: dict[tuple[str, str], Array] = {}

    def loop(self, names: Sequence[str]) -> Array:
        """Points ``[n, 3]`` around a piece, without repeating the first."""
        return np.concatenate([self.between(a, b)[:-1] for a, b in pairwise([*names, names[0]])])

    def between(self, a: str, b: str) -> Array:
        """Points ``[n, 3]`` from corner ``a`` to corner ``b``."""
        if (a, b) not in self._made:
            rounded = ("nose" in a) != ("nose" in b)
            points = self._arc(a, b) if rounded else self._line(a, b)
            self._made[a, b], self._made[b, a] = points, points[::-1]
        return self._made[a, b]

    def _line(self, a: str, b: str) -> Array:
        start, end = self.corners[a], self.corners[b]
        steps = max(1, round(float(np.linalg.norm(end - start)) / self.edge))
        points: Array = np.linspace(start, end, steps + 1)
        return points

    def _arc(self, a: str, b: str) -> Array:
        """From the nose plane to the end of the rounding: y and z grow with the sine, x with one minus the cosine.

        At the side this is the mitre where two quarter cylinders meet, in the middle a quarter circle.
        """
        nose, front = sorted((a, b), key=lambda name: "front" in name)
        steps = max(1, round(MITRE_LENGTH * self.radius / self.edge))
        angle = np.linspace(0, np.pi / 2, steps + 1)[:, None]
        grow = np.hstack([1 - np.cos(angle), np.sin(angle), np.sin(angle)])
        points = self.corners[nose] + grow * (self.corners[front] - self.corners[nose])
        points[0], points[-1] = self.corners[nose], self.corners[front]
        ordered: Array = points if nose == a else points[::-1]
        return ordered


def _corners(shape: AhmedShape) -> dict[str, Array]:
    r, half, low, high = shape.front_radius, shape.width / 2, shape.ground_clearance, shape.top
    corners: dict[str, Array] = {}
    for place, nose, side in (("middle", 0.0, 0.0), ("side", half - r, half)):
        corners |= {
            f"{place} nose low": np.array([0.0, nose, low + r]),
            f"{place} nose high": np.array([0.0, nose, high - r]),
            f"{place} front low": np.array([r, side, low]),
            f"{place} front high": np.array([r, side, high]),
            f"{place} slant high": np.array([shape.slant_start, side, high]),
            f"{place} slant low": np.array([shape.length, side, shape.slant_end]),
            f"{place} base low": np.array([shape.length, side, low]),
        }
    return corners
