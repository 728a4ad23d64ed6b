"""Trajectories in the layout of MeshGraphNets: written, and an analytic stand-in for ``cylinder_flow``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from scipy.spatial import Delaunay
from torch import Tensor

from meshops.datasets.formats.tfrecord import encode_example, write_records
from meshops.errors import InputError
from meshops.io import write_json

SPLITS = ("train", "valid", "test")
INFLOW, OUTFLOW, WALL = 4, 5, 6
LENGTH, HEIGHT = 1.6, 0.41  # of the channel of the stand-in, m
VISCOSITY = 1e-3  # m2/s
STATIC = {"cells": ("int32", 3), "mesh_pos": ("float32", 2), "node_type": ("int32", 1)}


def write_mesh_graph_nets(
    splits: Mapping[str, Sequence[Mapping[str, Tensor]]], root: str | Path, *, time_step: float = 0.01
) -> Path:
    """Write ``meta.json`` and one ``.tfrecord`` per split; return the folder.

    Args:
        splits: Trajectories of ``train``, ``valid`` and ``test``. Each holds ``cells`` ``[f, 3]``, ``mesh_pos``
            ``[n, 2]`` (m), ``node_type`` ``[n]``, and fields such as ``velocity`` ``[t, n, c]``.
        root: Folder to make, or one without ``meta.json``.
        time_step: Time between frames, s.

    Raises:
        InputError: The folder holds a set already, or the trajectories differ in fields or number of frames.
    """
    root = Path(root)
    if (root / "meta.json").exists():
        raise InputError(f"{root}: holds a set already; choose another folder or remove it")
    every = [run for runs in splits.values() for run in runs]
    if not every:
        raise InputError("nothing to write: no trajectory in any split")
    fields = [name for name in every[0] if name not in STATIC]
    kinds = {tuple((name, len(run[name]), run[name].shape[-1]) for name in run if name not in STATIC) for run in every}
    steps = {entry[1] for kind in kinds for entry in kind}
    if len(kinds) != 1 or len(steps) != 1:
        raise InputError("the trajectories of one set must agree in fields and number of frames")
    described: dict[str, Any] = {
        name: {"type": "static", "shape": [1, -1, size], "dtype": dtype} for name, (dtype, size) in STATIC.items()
    }
    for name, count, size in kinds.pop():
        described[name] = {"type": "dynamic", "shape": [count, -1, size], "dtype": "float32"}
    meta = {
        "simulator": "meshops", "dt": time_step, "collision_radius": None, "features": described,
        "field_names": list(described), "trajectory_length": steps.pop(),
    }  # fmt: skip
    root.mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        write_records(root / f"{split}.tfrecord", (_encoded(run, fields) for run in splits.get(split, ())))
    write_json(root / "meta.json", meta)  # last: with it the set exists
    return root


def _encoded(run: Mapping[str, Tensor], fields: Sequence[str]) -> bytes:
    kinds = {name: dtype for name, (dtype, _) in STATIC.items()} | dict.fromkeys(fields, "float32")
    content = {name: run[name].cpu().numpy().astype(f"<{dtype[0]}4").tobytes() for name, dtype in kinds.items()}
    return encode_example(content)


def cylinder_case(seed: int, *, frames: int = 12, spacing: float = 0.04, time_step: float = 0.01) -> dict[str, Tensor]:
    """Potential flow past a cylinder and a street of vortices behind it, by formula: no solution of an equation.

    Uniform flow and doublet, plus Lamb-Oseen vortices of both signs in turn that start behind the cylinder, grow and
    move downstream. Velocities on walls and cylinder are 0, those of the inflow are the undisturbed ones. The pressure
    is that of Bernoulli per density, ``(U^2 - |v|^2) / 2``, m2/s2.

    Args:
        seed: Of cylinder, speed and mesh.
        frames: t.
        spacing: Between nodes far from the cylinder, m; near it half of that.
        time_step: Time between frames, s.

    Returns:
        A trajectory for :func:`write_mesh_graph_nets`.
    """
    generator = torch.Generator().manual_seed(seed)
    draw = torch.rand(4, generator=generator).tolist()
    center = torch.tensor([0.3 + 0.1 * draw[0], HEIGHT * (0.45 + 0.1 * draw[1])])
    radius, speed = 0.04 + 0.03 * draw[2], 0.8 + 0.8 * draw[3]
    pos, cells, kind = _channel_mesh(center, radius, spacing, generator)
    flow = []
    for frame in range(frames):
        velocity = _wake(pos, center, radius, speed, frame * time_step)
        velocity[kind == INFLOW] = torch.tensor([speed, 0.0])
        velocity[kind == WALL] = 0.0
        flow.append(velocity)
    velocity = torch.stack(flow)
    pressure = (speed**2 - velocity.square().sum(-1, keepdim=True)) / 2
    return {"cells": cells, "mesh_pos": pos, "node_type": kind, "velocity": velocity, "pressure": pressure}


def _wake(pos: Tensor, center: Tensor, radius: float, speed: float, time: float) -> Tensor:
    """``[n, 2]`` velocity at a time, m/s."""
    x, y = (pos - center).unbind(1)
    square = (x.square() + y.square()).clamp(min=radius**2)
    velocity = torch.stack([1 - radius**2 * (x * x - y * y) / square**2, -2 * radius**2 * x * y / square**2], 1) * speed
    period = 2 * radius / (0.2 * speed)  # of two vortices: Strouhal number 0.2
    drift = 0.85 * speed
    newest = math.floor(2 * time / period)
    for number in range(newest - 12, newest + 1):
        age = time - number * period / 2
        side = 1 if number % 2 else -1
        core = torch.stack([center[0] + 1.5 * radius + drift * age, center[1] + 0.6 * radius * side])
        away = pos - core
        distance = away.square().sum(1, keepdim=True).clamp(min=1e-9)
        spread = (0.6 * radius) ** 2 + 4 * VISCOSITY * age
        growth = 1 - math.exp(-age / period)
        strength = -side * 1.5 * speed * radius * growth
        velocity += strength * away.flip(1) * torch.tensor([-1.0, 1.0]) * -torch.expm1(-distance / spread) / distance
    return velocity


def _channel_mesh(
    center: Tensor, radius: float, spacing: float, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Positions ``[n, 2]``, triangles ``[f, 3]`` and node types ``[n]`` of a channel with a round hole."""
    rings = []
    for ring in range(3):
        count = max(12, round(2 * math.pi * radius * (1 + 0.35 * ring) / (spacing / 2)))
        angle = (torch.arange(count, dtype=torch.float64) + 0.5 * ring) * (2 * math.pi / count)
        rings.append(center + radius * (1 + 0.35 * ring) * torch.stack([angle.cos(), angle.sin()], 1))
    columns, rows = round(LENGTH / spacing) + 1, round(HEIGHT / spacing) + 1
    grid = torch.cartesian_prod(
        torch.linspace(0, LENGTH, columns, dtype=torch.float64), torch.linspace(0, HEIGHT, rows, dtype=torch.float64)
    )
    side = (grid == torch.tensor([0.0, 0.0])) | (grid == torch.tensor([LENGTH, HEIGHT], dtype=torch.float64))
    shake = (torch.rand(grid.shape, generator=generator, dtype=torch.float64) - 0.5) * 0.4 * spacing
    grid = grid + shake * ~side.any(1, keepdim=True)
    free = (grid - center).norm(dim=1) > radius * 1.7 + spacing / 4
    kind = torch.zeros(len(grid), dtype=torch.long)
    kind[side[:, 0] & (grid[:, 0] > 0)] = OUTFLOW
    kind[grid[:, 0] == 0] = INFLOW
    kind[side[:, 1]] = WALL
    points = torch.cat([*rings, grid[free]])
    kinds = torch.cat(
        [torch.full((len(rings[0]),), WALL), torch.zeros(len(rings[1]) + len(rings[2])).long(), kind[free]]
    )
    cells = torch.from_numpy(Delaunay(points.numpy()).simplices).long()
    outside = (cells >= len(rings[0])).any(1)  # a triangle between nodes of the cylinder alone lies in it
    return points.float(), cells[outside], kinds
