"""Trajectories in the layout of EAGLE: written, split, and an analytic stand-in."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.spatial import Delaunay
from torch import Tensor

from meshops.errors import InputError
from meshops.io import replacing

FAMILIES = ("Spl", "Cre", "Tri")
DISABLED, INFLOW, OUTFLOW, WALL = 2, 4, 5, 6
WIDTH, HEIGHT = 4.0, 2.0  # of the stand-in, m
CORE_TIME, VISCOSITY, CIRCULATION = 1.0, 0.01, 1.5  # s, m2/s, m2/s


def write_eagle_case(
    folder: str | Path,
    pos: Tensor,
    velocity: Tensor,
    pressure: Tensor,
    node_type: Tensor,
    triangles: Sequence[Tensor],
) -> Path:
    """Write ``sim.npz`` and ``triangles.npy`` of one trajectory; return ``folder``.

    Lists of triangles that are shorter than the longest are filled up with copies of their last triangle, since the
    layout has one array for all frames; the reader takes them away again.

    Args:
        folder: ``<root>/<family>/<geometry>/<flight>``; is made.
        pos: ``[t, n, 2]`` node positions, m.
        velocity: ``[t, n, 2]``, m/s.
        pressure: ``[t, n]`` (PS; PG is 0 then) or ``[t, n, 2]`` (PS, PG).
        node_type: ``[t, n]`` kinds of nodes: 0 normal, 2 disabled, 4 inflow, 5 outflow, 6 wall.
        triangles: Per frame ``[f, 3]`` int64.

    Raises:
        InputError: There is such a trajectory already, or the arrays do not fit together.
    """
    folder = Path(folder)
    if (folder / "sim.npz").exists():
        raise InputError(f"{folder}: holds a trajectory already; choose another folder or remove it")
    t, n = node_type.shape
    both = torch.stack([pressure, torch.zeros_like(pressure)], -1) if pressure.dim() == 2 else pressure
    shapes = [tuple(values.shape) for values in (pos, velocity, both)]
    if any(shape != (t, n, 2) for shape in shapes) or len(triangles) != t or not all(len(each) for each in triangles):
        raise InputError(
            f"pos, velocity, pressure {shapes} and {len(triangles)} lists of triangles do not fit the node types "
            f"{[t, n]}; expected [t, n, 2] and one list of triangles per frame, none empty"
        )
    most = max(len(each) for each in triangles)
    cells = torch.stack([torch.cat([each, each[-1:].expand(most - len(each), 3)]) for each in triangles])
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {
        "pointcloud": pos, "VX": velocity[..., 0], "VY": velocity[..., 1], "PS": both[..., 0], "PG": both[..., 1],
    }  # fmt: skip
    content: dict[str, Any] = {name: values.float().contiguous().numpy() for name, values in arrays.items()}
    with replacing(folder / "triangles.npy") as partial, partial.open("wb") as file:
        np.save(file, cells.int().numpy(), allow_pickle=False)
    with replacing(folder / "sim.npz") as partial, partial.open("wb") as file:  # last: with it the trajectory exists
        np.savez(file, mask=node_type.int().numpy(), **content)
    return folder


def split_of(cases: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Our split, where there are no published lists: whole geometries in the order of their numbers, 80/10/10.

    Args:
        cases: Names such as ``Spl/184/2``.
    """
    ordered = sorted(cases, key=_number)
    geometries = list(dict.fromkeys(case.rpartition("/")[0] for case in ordered))
    few = max(1, len(geometries) // 10) if len(geometries) > 2 else 0
    first, second = len(geometries) - 2 * few, len(geometries) - few
    chosen = {"train": geometries[:first], "valid": geometries[first:second], "test": geometries[second:]}
    return {
        name: tuple(case for case in ordered if case.rpartition("/")[0] in set(part)) for name, part in chosen.items()
    }


def _number(case: str) -> tuple[Any, ...]:
    family, geometry, flight = case.split("/")
    return (int(geometry) if geometry.isdigit() else math.inf, geometry, family, flight)


def jet_case(seed: int, *, frames: int = 12, nodes: int = 300) -> dict[str, Any]:
    """Two Lamb-Oseen vortices below a source that flies over a hill, by formula: looks like EAGLE, solves no equation.

    The vortices turn against each other, spread with the viscosity and move with the source; mirror images below the
    ground keep the flow from passing it where it is flat. Velocities on walls are 0. PS is ``-|v|^2 / 2``; PG is PS
    less its mean, since what it is in EAGLE is not known.

    Args:
        seed: Of hill, path and mesh.
        frames: t.
        nodes: About n.

    Returns:
        Arguments of :func:`write_eagle_case` after its folder.
    """
    generator = torch.Generator().manual_seed(seed)
    low, middle, wide = torch.rand(3, generator=generator).tolist()
    reference, edge = _reference_points(nodes, generator)
    pos, velocity, kinds, cells = [], [], [], []
    for time in torch.arange(frames).div(30).tolist():
        moved = reference + 0.015 * torch.sin(2 * math.pi * (reference.flip(1) + 2 * time)) * ~edge[:, None]
        hill = (0.2 + 0.3 * low) * torch.exp(-((WIDTH * moved[:, 0] - 1 - 2 * middle) ** 2) / (0.1 + 0.3 * wide))
        here = torch.stack([WIDTH * moved[:, 0], hill + (HEIGHT - hill) * moved[:, 1]], 1)
        source = torch.tensor([1.0 + 2.0 * time, 1.5 - 0.2 * low])
        kind = torch.where(edge & (moved[:, 1] > 0), OUTFLOW, 0)
        kind[(here - source).norm(dim=1) < 0.2] = INFLOW
        kind[moved[:, 1] == 0] = WALL
        pos.append(here)
        velocity.append(_vortex_pair(here, source, time) * (kind != WALL)[:, None])
        kinds.append(kind)
        cells.append(torch.from_numpy(Delaunay(moved.numpy()).simplices.astype(np.int64)))
    flow = torch.stack(velocity)
    static = -flow.square().sum(-1) / 2
    pressure = torch.stack([static, static - static.mean(1, keepdim=True)], -1)
    return {
        "pos": torch.stack(pos), "velocity": flow, "pressure": pressure, "node_type": torch.stack(kinds),
        "triangles": cells,
    }  # fmt: skip


def _reference_points(nodes: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A grid of the unit square whose inner points are shaken, and which of them lie on its sides."""
    rows = max(4, round(math.sqrt(nodes / 2)))
    columns = max(4, round(nodes / rows))
    axes = torch.linspace(0, 1, columns, dtype=torch.float64), torch.linspace(0, 1, rows, dtype=torch.float64)
    points = torch.cartesian_prod(*axes)
    edge = ((points == 0) | (points == 1)).any(1)
    shake = (torch.rand(points.shape, generator=generator, dtype=torch.float64) - 0.5) * 0.5
    return points + shake / torch.tensor([columns, rows]) * ~edge[:, None], edge


def _vortex_pair(pos: Tensor, source: Tensor, time: float) -> Tensor:
    """``[n, 2]`` velocity of two vortices below the source and of their images below the ground."""
    spread = 4 * VISCOSITY * (time + CORE_TIME)
    velocity = torch.zeros_like(pos)
    for side in (-1, 1):
        for mirrored in (1, -1):
            center = torch.stack([source[0] + 0.4 * side, mirrored * (source[1] - 0.5 * (1 + time))])
            away = pos - center
            square = away.square().sum(1, keepdim=True).clamp(min=1e-9)
            strength = -side * mirrored * CIRCULATION / (2 * math.pi)
            velocity += strength * away.flip(1) * torch.tensor([-1, 1]) * -torch.expm1(-square / spread) / square
    return velocity
