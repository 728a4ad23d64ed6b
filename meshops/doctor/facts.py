"""What is kept of a case once it was read: a page of numbers instead of its mesh.

The sketch of a field (quantiles of its values), dipoles and moments are enough to tell copies, other units, other
poses and turned signs apart without a second look at any case.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from meshops.aero.conditions import FlowConditions
from meshops.aero.integrals import SurfaceIntegrals
from meshops.data.mesh_graph import MeshGraph, origin_of

Array = NDArray[np.float64]
LEVELS = np.linspace(0.0, 1.0, 33)
MOST_ROWS = 2_000_000  # of larger fields every k-th value is looked at
KINDS = {
    1: "point", 3: "line", 5: "triangle", 7: "polygon", 8: "pixel", 9: "quad", 10: "tetrahedron", 11: "voxel",
    12: "hexahedron", 13: "wedge", 14: "pyramid", 21: "line (3 points)", 22: "triangle (6 points)",
    23: "quad (8 points)", 24: "tetrahedron (10 points)", 25: "hexahedron (20 points)", 28: "quad (9 points)",
    42: "polyhedron",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class FieldFacts:
    """One field of one case.

    Attributes:
        size: Components.
        minimum, mean, maximum, std: Over nodes and components; NaN where no value is finite.
        bad: Share of the rows that are NaN or infinite.
        spike: Largest value by size, over the 99.5 % quantile of the sizes (at least three values lie beyond): above
            1000 a value is not of this field.
        largest: The largest value by size.
        sketch: ``[33]`` quantiles of the values of a scalar, of the length of a vector.
        dipole: ``[d]`` first moment of a scalar over its spread and the size of the mesh; mean of a vector over its
            rms.
        zero: Share of the rows that are exactly zero.
        key: Hash of the bytes.
    """

    size: int
    minimum: float
    mean: float
    maximum: float
    std: float
    bad: float
    spike: float
    largest: float
    sketch: Array
    dipole: Array
    zero: float
    key: str

    @property
    def rms(self) -> float:
        """Root of the mean square."""
        return math.sqrt(self.mean**2 + self.std**2)

    @property
    def constant(self) -> bool:
        """Every value is the same, up to rounding."""
        return not self.std > 1e-7 * max(abs(self.mean), 1e-300)


@dataclass(frozen=True, eq=False)
class CaseFacts:
    """One case.

    Attributes:
        index, name: In the data set.
        error: Why it cannot be read; empty: it was.
        nodes, cells: Numbers.
        kinds: Cells of each kind.
        dim: 2 or 3.
        location: ``point``, ``cell`` or ``free``.
        low, high: ``[d]`` box.
        moments: ``[d, d]`` second moments about the middle of the mesh over the square of its size.
        skew: ``[d]`` third moments, of ``x |x|^2``, over the cube of its size.
        reach: ``[2, d]`` corners of the box, seen from the middle of the mesh, over its size.
        points_key, cells_key: Hashes of coordinates and connectivity.
        fields: By name.
        surface: Integrals, None off surfaces in space.
        conditions, numbers, parameters: Of the table.
        notes: Remarks of the reader.
        flow: Free stream of the case.
        files: Files it came from.
    """

    index: int
    name: str
    error: str = ""
    nodes: int = 0
    cells: int = 0
    kinds: Mapping[str, int] = field(default_factory=dict)
    dim: int = 0
    location: str = ""
    low: Array = field(default_factory=lambda: np.zeros(0))
    high: Array = field(default_factory=lambda: np.zeros(0))
    moments: Array = field(default_factory=lambda: np.zeros((0, 0)))
    skew: Array = field(default_factory=lambda: np.zeros(0))
    reach: Array = field(default_factory=lambda: np.zeros((2, 0)))
    points_key: str = ""
    cells_key: str = ""
    fields: Mapping[str, FieldFacts] = field(default_factory=dict)
    surface: SurfaceIntegrals | None = None
    conditions: Mapping[str, float] = field(default_factory=dict)
    numbers: Mapping[str, float] = field(default_factory=dict)
    parameters: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    flow: FlowConditions | None = None
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def size(self) -> float:
        """Diagonal of the box."""
        return float(np.linalg.norm(self.high - self.low))

    @property
    def middle(self) -> Array:
        """Middle of the box."""
        return np.asarray((self.low + self.high) / 2)


def facts_of(graph: MeshGraph, index: int, name: str, flow: FlowConditions | None = None) -> CaseFacts:
    """Look at a graph once.

    Args:
        graph: Case that was read.
        index: Its place in the data set.
        name: How messages call it.
        flow: Its free stream.
    """
    pos = (graph.pos.double() + origin_of(graph)).numpy()
    weight = _weights(graph, len(pos))
    low, high = pos.min(0), pos.max(0)
    arm = pos - (weight[:, None] * pos).sum(0) / weight.sum()
    size = float(np.linalg.norm(high - low)) or 1.0
    scaled = arm / size
    kinds, counts = np.unique(graph.cell_type.numpy(), return_counts=True) if graph.num_cells else ((), ())
    finite = True if graph.get("y") is None else bool(np.isfinite(graph.y.numpy()).all())
    return CaseFacts(
        index=index,
        name=name,
        nodes=len(pos),
        cells=graph.num_cells,
        kinds={KINDS.get(int(k), f"kind {k}"): int(c) for k, c in zip(kinds, counts, strict=True)},
        dim=pos.shape[1],
        location=str(graph.get("location") or "point"),
        low=low,
        high=high,
        moments=np.einsum("n,ni,nj->ij", weight, scaled, scaled),
        skew=(weight * (scaled**2).sum(1)) @ scaled,
        reach=np.stack([scaled.min(0), scaled.max(0)]),
        points_key=_key(graph.pos.numpy()),
        cells_key=_key(graph.cell_nodes.numpy(), graph.cell_size.numpy()) if graph.num_cells else "",
        fields={n: field_facts(graph.field(n).numpy(), scaled, weight) for n in graph.fields}
        if graph.get("y") is not None
        else {},
        surface=SurfaceIntegrals.of(graph, flow) if finite else None,
        flow=flow,
    )  # fmt: skip


def field_facts(values: NDArray[np.floating], arm: Array, weight: Array) -> FieldFacts:
    """Look at one field.

    Args:
        values: ``[n]`` or ``[n, k]``.
        arm: ``[n, d]`` place of the nodes from the middle of the mesh, over its size.
        weight: ``[n]`` share of each node, sum 1.
    """
    rows = np.asarray(values, dtype=np.float64).reshape(len(values), -1)
    good = np.isfinite(rows).all(axis=1)
    sound = rows[good]
    if not len(sound):
        nan = float("nan")
        empty = np.full(len(LEVELS), nan)
        return FieldFacts(
            rows.shape[1], nan, nan, nan, nan, 1.0, nan, nan, empty, np.zeros(arm.shape[1]), 0.0, _key(values)
        )
    length = np.abs(sound[:, 0]) if rows.shape[1] == 1 else np.linalg.norm(sound, axis=1)
    shown = sound[:, 0] if rows.shape[1] == 1 else length
    step = -(-len(sound) // MOST_ROWS)
    beyond = max(3, len(length) // 200)
    high = (
        float(np.partition(length, len(length) - 1 - beyond)[len(length) - 1 - beyond]) if len(length) > 8 else math.inf
    )
    place = int(np.abs(sound).max(axis=1).argmax())
    largest = float(sound[place][int(np.abs(sound[place]).argmax())])
    share = weight[good] / max(float(weight[good].sum()), 1e-300)
    return FieldFacts(
        size=rows.shape[1],
        minimum=float(sound.min()),
        mean=float(sound.mean()),
        maximum=float(sound.max()),
        std=float(sound.std()),
        bad=float(1 - good.mean()),
        spike=float(length.max() / high) if high > 0 else (math.inf if length.max() > 0 else 1.0),
        largest=largest,
        sketch=np.quantile(shown[::step], LEVELS),
        dipole=_dipole(sound, arm[good], share),
        zero=float((length == 0).mean()),
        key=_key(values),
    )


def _dipole(rows: Array, arm: Array, share: Array) -> Array:
    if rows.shape[1] == 1:
        off = rows[:, 0] - share @ rows[:, 0]
        spread = math.sqrt(float(share @ off**2))
        return np.asarray(arm.T @ (share * off) / spread) if spread > 0 else np.zeros(arm.shape[1])
    if rows.shape[1] != arm.shape[1]:
        return np.zeros(arm.shape[1])
    rms = math.sqrt(float(share @ (rows**2).sum(1)))
    return np.asarray(share @ rows / rms) if rms > 0 else np.zeros(arm.shape[1])


def _weights(graph: MeshGraph, n: int) -> Array:
    area = graph.get("area")
    if area is None:
        return np.full(n, 1.0 / n)
    weight = np.abs(area.double().numpy())
    total = float(weight.sum())
    return weight / total if np.isfinite(total) and total > 0 else np.full(n, 1.0 / n)


def _key(*arrays: NDArray[np.generic]) -> str:
    digest = hashlib.blake2b(digest_size=12)
    for array in arrays:
        digest.update(str(array.shape).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
