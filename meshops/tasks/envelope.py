"""Is a shape like those a surrogate was trained on? A few numbers per shape, compared with the training set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from meshops.aero.conditions import FlowConditions

Array = NDArray[np.float64]

DESCRIPTORS: dict[str, str] = {
    "length": "m",
    "width": "m",
    "height": "m",
    "ground clearance": "m",
    "surface area": "m2",
    "volume": "m3",
    "frontal area": "m2",
    "front-facing share": "",
    "rear-facing share": "",
    "rear slant share": "",
}


def describe(centers: Array, normal: Array, area: Array, points: Array, frontal_area: float,
             conditions: FlowConditions) -> Array:  # fmt: skip
    """The numbers of :data:`DESCRIPTORS` for a surface.

    Args:
        centers: ``[c, 3]`` cell centres.
        normal: ``[c, 3]`` outward unit normals.
        area: ``[c]`` cell areas, m^2.
        points: ``[m, 3]`` mesh points that belong to a cell.
        frontal_area: m^2.
        conditions: Flow, up, height of the ground.
    """
    frame = conditions.frame
    p, c, n = points @ frame.T, centers @ frame.T, normal @ frame.T
    low, high = p.min(0), p.max(0)
    ground = 0.0 if conditions.ground is None else conditions.ground
    total = area.sum()
    slant = (n[:, 0] > 0.15) & (n[:, 0] < 0.95) & (n[:, 2] > 0.2)
    return np.array([
        *(high - low),
        low[2] - ground,
        total,
        (area * ((c - (low + high) / 2) * n).sum(1)).sum() / 3,
        frontal_area,
        area[n[:, 0] < -0.5].sum() / total,
        area[n[:, 0] > 0.5].sum() / total,
        area[slant].sum() / total,
    ])  # fmt: skip


@dataclass(frozen=True)
class Judgement:
    """Where a shape lies.

    Attributes:
        level: ``"inside"``, ``"edge"`` or ``"outside"`` the training set.
        sentence: The same in words.
        distance: To the nearest training shape, in units of the largest such distance within the training set.
        nearest: Name of that shape.
        rows: (descriptor, unit, value, training minimum, training maximum, inside).
    """

    level: Literal["inside", "edge", "outside"]
    sentence: str
    distance: float
    nearest: str
    rows: tuple[tuple[str, str, float, float, float, bool], ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        table = [
            dict(zip(("descriptor", "unit", "value", "min", "max", "inside"), row, strict=True)) for row in self.rows
        ]
        return {"level": self.level, "sentence": self.sentence, "distance": self.distance,
                "nearest": self.nearest, "descriptors": table}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Envelope:
    """Descriptors ``[s, k]`` of the training shapes, with their names."""

    values: Array
    shapes: tuple[str, ...]

    def judge(self, value: Array, *, margin: float = 0.05) -> Judgement:
        """Compare a shape ``[k]`` with the training set.

        Inside: every descriptor within the training range widened by ``margin`` of it, and the nearest training
        shape no farther than twice the largest gap within the training set. Outside: a descriptor misses the range by
        more than a quarter of it, or the nearest shape is more than four gaps away. Edge: between.
        """
        low, high = self.values.min(0), self.values.max(0)
        span = np.maximum(high - low, 1e-3 * np.maximum(np.abs(high), 1e-9))
        miss = np.maximum(low - value, value - high) / span
        scale = np.maximum(self.values.std(0), 1e-2 * np.maximum(np.abs(high), 1e-9))
        distances = np.linalg.norm((self.values - value) / scale, axis=1)
        gap = self._largest_gap(scale)
        nearest = int(distances.argmin())
        distance = float(distances[nearest] / gap)
        names = list(DESCRIPTORS)
        if (miss > 0.25).any() or distance > 4:
            level: Literal["inside", "edge", "outside"] = "outside"
        else:
            level = "edge" if (miss > margin).any() or distance > 2 else "inside"
        rows = tuple(
            (name, unit, float(value[i]), float(low[i]), float(high[i]), bool(miss[i] <= margin))
            for i, (name, unit) in enumerate(DESCRIPTORS.items())
        )
        beyond = [names[i] for i in np.argsort(-miss) if miss[i] > margin]
        return Judgement(level, _sentence(level, beyond, distance, self.shapes), distance, self.shapes[nearest], rows)

    def unit_hint(self, value: Array) -> str:
        """A hint when the sizes are off by the factor of another length unit, else an empty string."""
        ratio = float(np.median(value[:3] / np.median(self.values[:, :3], axis=0)))
        for factor, unit in ((1000.0, "millimetres"), (100.0, "centimetres"), (39.37, "inches"), (3.281, "feet")):
            if 0.5 < ratio / factor < 2.0:
                return f"the shape is about {ratio:.3g} times as large as the training shapes: is it in {unit}? " \
                       f"Then pass --scale {1 / factor:.4g}"  # fmt: skip
        if ratio > 5 or ratio < 0.2:
            return f"the shape is {ratio:.3g} times as large as the training shapes; check its unit (--scale)"
        return ""

    def _largest_gap(self, scale: Array) -> float:
        if len(self.values) < 2:
            return 1.0
        z = self.values / scale
        distance = np.linalg.norm(z[:, None] - z[None], axis=2)
        np.fill_diagonal(distance, np.inf)
        return float(max(distance.min(1).max(), 1e-9))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return {"values": self.values.tolist(), "shapes": list(self.shapes)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Envelope:
        """Inverse of :meth:`to_dict`."""
        return cls(np.array(values["values"], dtype=np.float64), tuple(values["shapes"]))


def _sentence(level: str, beyond: Sequence[str], distance: float, shapes: Sequence[str]) -> str:
    where = {
        "inside": f"The shape lies inside the range of the {len(shapes)} training shapes.",
        "edge": f"The shape lies at the edge of the {len(shapes)} training shapes: expect larger errors than on the "
        "held-out shapes.",
        "outside": f"The shape lies outside the {len(shapes)} training shapes: the prediction is an extrapolation and "
        "its error is unknown.",
    }[level]
    if beyond:
        where += f" Out of range: {', '.join(beyond)}."
    elif level != "inside":
        where += f" Every number is in range, but the combination is new ({distance:.1f} training gaps away)."
    return where
