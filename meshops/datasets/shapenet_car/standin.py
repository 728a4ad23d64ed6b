"""Stand-in for ShapeNet-Car: the exact file layout and counts, filled with potential flow past ellipsoids.

What it is: each "car" is a triaxial ellipsoid of car-like size; velocity and pressure are the exact solution of
frictionless flow past it (:mod:`meshops.solvers.ellipsoid_flow`). No ground, no wake, so the drag is zero
up to the discretization. It is not CFD and says nothing about cars; it exercises readers, losses and metrics.

The counts are those of the published files. The surface is a 16 x 16 x 48 box grid drawn onto the body: 3,584 quads on
3,586 points. The volume is a hexahedral shell on every second surface point (8 x 8 x 24, 898 points) in 28 layers with
a block of 9 x 24 x 16 points above the roof: 29,498 points. As in the real files the 898 coarse points and 96 points
that belong to no quad (16 to 111) come first in the surface file and are also points of the volume: 994 in common.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from hashlib import md5
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from meshops.datasets.shapenet_car.drag import DENSITY, SPEED, car_drag
from meshops.io import write_bytes
from meshops.solvers.ellipsoid_flow import ellipsoid_velocity

Array = np.ndarray[Any, Any]

NUM_UNUSED = 96
FIRST_UNUSED = 16
AIR_DENSITY = 1.2
COARSE = (8, 8, 24)
NUM_LAYERS = 28
GROWTH = 1.15
NUM_BLOCK_LAYERS = 16
# Half-sizes and center of the outermost layer, and the height of the block above it (m), inside the published domain.
OUTER_AXES = np.array([1.7, 1.45, 4.2])
OUTER_CENTER = np.array([0.0, 0.85, 0.4])
BLOCK_TOP = 4.3


@dataclass(frozen=True)
class Topology:
    """Connectivity shared by all cars.

    Attributes:
        sphere: ``[3586, 3]`` points of the surface grid on the unit sphere, in file order without the unused ones.
        quads: ``[3584, 4]`` file indices, outward.
        coarse: ``[898]`` which of ``sphere`` are the wall points of the volume.
        hexes: ``[h, 8]`` volume indices.
        roof: ``[216]`` points of a layer below the block.
        unused: ``[96]`` points of the first layer that are listed in the surface file too.
    """

    sphere: Array
    quads: Array
    coarse: Array
    hexes: Array
    roof: Array
    unused: Array


def write_standin(root: Path, num: int) -> Path:
    """Write ``num`` cars, one after another into ``training_data/param0`` to ``param8``; returns ``root``."""
    generator = np.random.default_rng(0)
    for index in range(num):
        axes = np.array([0.82, 0.52, 2.1]) * generator.uniform(0.88, 1.12, size=3)
        name = md5(f"meshops ellipsoid {index}".encode(), usedforsecurity=False).hexdigest()
        folder = root / "training_data" / f"param{index % 9}" / name
        folder.mkdir(parents=True, exist_ok=True)
        _write_car(folder, axes)
    return root


def _write_car(folder: Path, axes: Array) -> None:
    mesh = topology()
    center = np.array([0.0, axes[1] + 0.15, 0.0])
    wall = center + mesh.sphere * axes
    volume = _volume_points(wall, axes, center)
    unused = volume[len(mesh.coarse) :][mesh.unused]
    surface = np.concatenate([wall[:FIRST_UNUSED], unused, wall[FIRST_UNUSED:]])
    size = tuple(float(axis) for axis in axes)
    velocity = ellipsoid_velocity(volume - center, size, SPEED).astype(np.float32)  # type: ignore[arg-type]
    at_surface = ellipsoid_velocity(surface - center, size, SPEED)  # type: ignore[arg-type]
    pressure = (AIR_DENSITY / 2 * (SPEED**2 - np.square(at_surface).sum(axis=1))).astype(np.float32)
    drag = car_drag(surface, mesh.quads, pressure, density=DENSITY)
    quads = _vtk("surface pressure of a stand-in", surface, mesh.quads, 9, "SCALARS point_scalars float", pressure)
    hexes = _vtk("velocity of a stand-in", volume, mesh.hexes, 12, "VECTORS point_vectors float", velocity)
    write_bytes(folder / "quadpress_smpl.vtk", quads)
    write_bytes(folder / "hexvelo_smpl.vtk", hexes)
    write_bytes(folder / "press.npy", _npy(pressure))
    write_bytes(folder / "velo.npy", _npy(velocity.astype(np.float64).reshape(-1)))
    write_bytes(folder / "cd.txt", f"{drag.coefficient:.9g}\n".encode())


def _volume_points(wall: Array, axes: Array, center: Array) -> Array:
    """Layers from the wall (kept bit for bit) to the outer ellipsoid, then the block above it."""
    mesh = topology()
    sphere = mesh.sphere[mesh.coarse]
    share = (GROWTH ** np.arange(NUM_LAYERS + 1) - 1) / (GROWTH**NUM_LAYERS - 1)
    layers = [wall[mesh.coarse]]
    for part in share[1:]:
        layers.append((1 - part) * center + part * OUTER_CENTER + sphere * ((1 - part) * axes + part * OUTER_AXES))
    roof = layers[-1][mesh.roof]
    rise = np.linspace(0, 1, NUM_BLOCK_LAYERS + 1)[1:, None]
    block = [roof + step * np.stack([0 * roof[:, 0], BLOCK_TOP - roof[:, 1], 0 * roof[:, 2]], axis=1) for step in rise]
    return np.concatenate([*layers, *block])


@lru_cache(maxsize=1)
def topology() -> Topology:
    """Make the grids, once."""
    fine_nodes, fine_quads = box_surface(tuple(2 * n for n in COARSE))
    coarse_nodes, coarse_quads = box_surface(COARSE)
    is_coarse = (fine_nodes % 2 == 0).all(axis=1)
    # Coarse points first; both lists are in the same lexicographic order.
    order = np.concatenate([np.flatnonzero(is_coarse), np.flatnonzero(~is_coarse)])
    place = np.argsort(order)
    place = place + NUM_UNUSED * (place >= FIRST_UNUSED)
    roof = np.flatnonzero((coarse_nodes[:, 1] == COARSE[1]) & (coarse_nodes[:, 2] < COARSE[2]))
    return Topology(
        sphere=_on_sphere(2.0 * fine_nodes[order] / (2 * np.array(COARSE)) - 1),
        quads=place[fine_quads],
        coarse=np.arange(len(coarse_nodes)),
        hexes=_hexes(coarse_quads, roof, len(coarse_nodes)),
        roof=roof,
        unused=np.linspace(0, len(coarse_nodes) - 1, NUM_UNUSED).astype(np.int64),
    )


def box_surface(cells: tuple[int, ...]) -> tuple[Array, Array]:
    """Surface of a box grid.

    Args:
        cells: Number of cells along x, y, z.

    Returns:
        nodes ``[n, 3]`` integer grid positions in lexicographic order; quads ``[q, 4]`` node numbers, outward.
    """
    nodes = np.stack(np.meshgrid(*(np.arange(n + 1) for n in cells), indexing="ij"), axis=-1).reshape(-1, 3)
    nodes = nodes[((nodes == 0) | (nodes == cells)).any(axis=1)]
    number = np.full([n + 1 for n in cells], -1)
    number[tuple(nodes.T)] = np.arange(len(nodes))
    quads = []
    for axis in range(3):
        for end, face in ((0, number.take(0, axis)), (1, number.take(-1, axis))):
            # In the plane of the two other axes (in cyclic order) a counter-clockwise quad faces along +axis.
            face = face if axis != 1 else face.T
            loop = np.stack([face[:-1, :-1], face[1:, :-1], face[1:, 1:], face[:-1, 1:]], axis=-1).reshape(-1, 4)
            quads.append(loop if end else loop[:, ::-1])
    return nodes, np.concatenate(quads)


def _hexes(quads: Array, roof: Array, num_wall: int) -> Array:
    """Cells between the layers, then those of the block on the outermost layer."""
    shells = [np.hstack([quads + layer * num_wall, quads + (layer + 1) * num_wall]) for layer in range(NUM_LAYERS)]
    position = np.full(num_wall, -1)
    position[roof] = np.arange(len(roof))
    patch = quads[(position[quads] >= 0).all(axis=1)]
    first = (NUM_LAYERS + 1) * num_wall
    levels = [patch + NUM_LAYERS * num_wall]
    levels += [position[patch] + first + level * len(roof) for level in range(NUM_BLOCK_LAYERS)]
    blocks = [np.hstack([low, high]) for low, high in pairwise(levels)]
    return np.concatenate([*shells, *blocks])


def _on_sphere(cube: Array) -> Array:
    """Points of the cube's surface ``[-1, 1]^3`` on the unit sphere, evenly and one to one."""
    squares = np.square(cube)
    other = np.roll(squares, -1, axis=1), np.roll(squares, -2, axis=1)
    sphere: Array = cube * np.sqrt(1 - other[0] / 2 - other[1] / 2 + other[0] * other[1] / 3)
    return sphere


def _vtk(title: str, points: Array, cells: Array, cell_type: int, declaration: str, values: Array) -> bytes:
    """Legacy ASCII file; nine digits carry every float32 exactly."""
    count, size = cells.shape
    header = f"# vtk DataFile Version 2.0\n{title}\nASCII\nDATASET UNSTRUCTURED_GRID\nPOINTS {len(points)} float\n"
    table = "LOOKUP_TABLE default\n" if declaration.startswith("SCALARS") else ""
    parts = [
        header.encode(),
        _rows(points.astype(np.float32), "%.9g"),
        f"CELLS {count} {count * (size + 1)}\n".encode(),
        _rows(np.hstack([np.full((count, 1), size), cells]), "%d"),
        f"CELL_TYPES {count}\n".encode() + f"{cell_type}\n".encode() * count,
        f"POINT_DATA {len(points)}\n{declaration}\n{table}".encode(),
        _rows(values, "%.9g"),
    ]
    return b"".join(parts)


def _rows(values: Array, form: str) -> bytes:
    buffer = BytesIO()
    np.savetxt(buffer, values, fmt=form)
    return buffer.getvalue()


def _npy(values: Array) -> bytes:
    buffer = BytesIO()
    np.save(buffer, values, allow_pickle=False)
    return buffer.getvalue()
