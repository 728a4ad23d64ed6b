"""Flow past a cylinder or an aerofoil that may heave and pitch, with its wake, on a mesh that moves with the body.

Units: length of the body (diameter or chord) 1 m, speed of the inflow 1 m/s, density 1 kg/m^3. The mesh near the body
moves as the body does, that of the far field stays; between them the motion fades. Solver: ``ale_flow``.

The free stream is given at the inflow and at the upper and lower side, 3 m from the body: the stream past it is faster
by 6 / 5, and so are the vortices of the fixed cylinder: Strouhal number 0.20 at Reynolds number 100 (900
points, time step 0.1 s, ``tests/datasets/generators/test_wake.py``) instead of 0.164 in an unbounded stream.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from meshops.errors import InputError, listing
from meshops.solvers.ale_flow import AleFlow
from meshops.solvers.unstructured import Size, region_mesh

Array = np.ndarray[Any, Any]

LOW, HIGH = (-3.0, -3.0), (7.0, 3.0)  # corners of the domain, m
NORMAL, INFLOW, OUTFLOW, WALL = 0, 4, 5, 6  # kinds of nodes, as in MeshGraphNets; inflow: the free stream is given
SHAPES = ("aerofoil", "cylinder")
MOTIONS = ("fixed", "heave", "pitch", "heave_pitch")
REYNOLDS = {"cylinder": (80.0, 160.0), "aerofoil": (150.0, 300.0)}
NEAR, FAR = 0.6, 2.5  # distances from the centre of the body: the mesh moves as the body does, and not at all; m
THICKNESS = 0.15  # of the aerofoil


@dataclass(frozen=True, eq=False)
class WakeSimulation:
    """One trajectory.

    Attributes:
        pos: ``[t, n, 2]`` float32 node positions, m.
        velocity: ``[t, n, 2]`` float32, m/s.
        pressure: ``[t, n]`` float32, Pa, 0 at the outlet.
        node_type: ``[t, n]`` int64: 0 inside, 4 free stream given (inflow, top and bottom), 5 outflow, 6 body.
        triangles: ``[f, 3]`` int64 for each frame, the same tensor.
        time: ``[t]`` float64, s, from 0 after the spin-up.
        parameters: Numbers that define the case.
    """

    pos: Tensor
    velocity: Tensor
    pressure: Tensor
    node_type: Tensor
    triangles: tuple[Tensor, ...]
    time: Tensor
    parameters: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Motion:
    """Heave ``heave sin(2 pi frequency t)`` (m) and pitch ``mean + pitch sin(2 pi frequency t + phase)`` (rad).

    Both come up smoothly from 0 in the first two seconds.
    """

    heave: float = 0.0
    pitch: float = 0.0
    frequency: float = 0.2
    phase: float = 0.0
    mean: float = 0.0

    def place(self, time: float) -> tuple[float, float]:
        """Height and angle of the body at a time."""
        ramp = 1 - math.exp(-(time**2))
        turn = 2 * math.pi * self.frequency * time
        return ramp * self.heave * math.sin(turn), ramp * (self.mean + self.pitch * math.sin(turn + self.phase))

    def moved(self, points: Array, time: float) -> Array:
        """Places ``[n, 2]`` of the mesh at a time; the rest positions are given. Positive angles turn the nose up."""
        height, angle = self.place(time)
        fade = np.clip((FAR - np.hypot(*points.T)) / (FAR - NEAR), 0, 1)
        fade = fade**2 * (3 - 2 * fade)
        cos, sin = np.cos(fade * angle), np.sin(fade * angle)
        x, y = points.T
        moved: Array = np.stack([cos * x + sin * y, cos * y - sin * x + fade * height], 1)
        return moved


def wake(
    seed: int = 0, *, num_points: int = 900, frames: int = 40, shape: str = "cylinder", motion: str | None = None,
    reynolds: float | None = None, interval: float = 0.2, spin_up: float = 16.0, substeps: int = 2,
) -> WakeSimulation:  # fmt: skip
    """Flow past one body.

    Args:
        seed: Of the mesh, the Reynolds number, the motion and the moment of the first frame.
        num_points: n.
        frames: t.
        shape: ``"cylinder"`` of diameter 1 or ``"aerofoil"`` of chord 1.
        motion: ``"fixed"``, ``"heave"``, ``"pitch"`` or ``"heave_pitch"``; None: drawn, never fixed for the
            aerofoil, whose wake is then steady.
        reynolds: Speed times length over viscosity; None: 80 to 160 for the cylinder, 150 to 300 for the aerofoil.
        interval: Time between frames, s.
        spin_up: Least time before the first frame, s; up to 6 s are added at random.
        substeps: Time steps between frames.

    Raises:
        InputError: Unknown shape or motion, numbers that make no sense, or a flow that blows up.
    """
    _check(shape, motion, num_points, frames, substeps, interval, spin_up, reynolds)
    generator = torch.Generator().manual_seed(seed)
    draw = torch.rand(8, generator=generator, dtype=torch.float64).tolist()
    low, high = REYNOLDS[shape]
    number = low + (high - low) * draw[0] if reynolds is None else reynolds
    choices = MOTIONS if shape == "cylinder" else MOTIONS[1:]
    law = _motion(shape, choices[int(len(choices) * draw[1])] if motion is None else motion, draw[2:7])
    rest, triangles = wake_mesh(num_points, generator, shape=shape)
    dt = interval / substeps
    flow, advance = start(rest, triangles, law, reynolds=number, time_step=dt, side=1 if draw[7] < 0.5 else -1)
    for _ in range(math.ceil((spin_up + 6 * draw[7]) / dt)):
        advance()
    record = []
    for frame in range(frames):
        for _ in range(substeps if frame else 0):
            advance()
        record.append([torch.from_numpy(a.astype(np.float32)) for a in (flow.points, flow.velocity, flow.pressure)])
    pos, velocity, pressure = (torch.stack(values) for values in zip(*record, strict=True))
    kinds, cells = torch.from_numpy(node_types(rest, triangles)), torch.from_numpy(triangles)
    parameters = {"reynolds": number, **{name: float(value) for name, value in vars(law).items()}}
    time = torch.arange(frames, dtype=torch.float64) * interval
    return WakeSimulation(pos, velocity, pressure, kinds.repeat(frames, 1), (cells,) * frames, time, parameters)


def start(
    rest: Array, triangles: Array, law: Motion, *, reynolds: float, time_step: float, side: int = 1
) -> tuple[AleFlow, Callable[[], None]]:
    """Free stream with a sideways gust behind the body (which brings on the vortices), and what advances it.

    Args:
        rest: ``[n, 2]`` points of the mesh.
        triangles: ``[f, 3]``.
        law: How the body moves.
        reynolds: 1 / viscosity.
        time_step: s.
        side: Direction of the gust, 1 or -1.
    """
    kinds = node_types(rest, triangles)
    stream = np.tile([1.0, 0.0], (len(rest), 1))
    gust = stream.copy()
    gust[kinds == NORMAL, 1] += 0.6 * side * np.exp(-4 * ((rest[:, 0] - 1.2) ** 2 + rest[:, 1] ** 2))[kinds == NORMAL]
    flow = AleFlow(
        rest, triangles, gust, outlet=rest[:, 0] == HIGH[0], viscosity=1 / reynolds, time_step=time_step
    )  # fmt: skip
    steps = 0

    def advance() -> None:
        nonlocal steps
        steps += 1
        points = law.moved(rest, steps * time_step)
        flow.step(points, np.where((kinds == WALL)[:, None], flow.mesh_velocity(points), stream))

    return flow, advance


def wake_mesh(num_points: int, generator: torch.Generator, *, shape: str) -> tuple[Array, Array]:
    """Points ``[n, 2]`` and triangles ``[f, 3]`` around a body at the origin, fine near it and in its wake."""
    (x0, y0), (x1, y1) = LOW, HIGH
    corners = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
    return region_mesh(corners, _outline(shape), num_points, generator, size=_sizes(shape))


def node_types(rest: Array, triangles: Array) -> Array:
    """``[n]`` int64 kinds of the points of a mesh at rest: by place on the box, else body where a side is free."""
    sides = np.sort(np.vstack([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), 1)
    unique, count = np.unique(sides, axis=0, return_counts=True)
    border = np.zeros(len(rest), dtype=bool)
    border[unique[count == 1]] = True
    stream = (rest[:, 0] == LOW[0]) | (rest[:, 1] == LOW[1]) | (rest[:, 1] == HIGH[1])
    kinds: Array = np.full(len(rest), NORMAL, dtype=np.int64)
    kinds[border] = WALL
    kinds[rest[:, 0] == HIGH[0]] = OUTFLOW
    kinds[stream] = INFLOW
    return kinds


def _outline(shape: str) -> list[Array]:
    """Curves around the body: a circle, or both sides of a NACA four-digit section with a closed trailing edge."""
    if shape == "cylinder":
        angle = np.linspace(0, 2 * np.pi, 2000, endpoint=False)
        return [0.5 * np.stack([np.cos(angle), np.sin(angle)], 1)]
    s = (1 + np.cos(np.linspace(0, np.pi, 2001)[:-1])) / 2  # from the trailing edge to the nose
    depth = THICKNESS / 0.2 * (0.2969 * np.sqrt(s) - 0.126 * s - 0.3516 * s**2 + 0.2843 * s**3 - 0.1036 * s**4)
    upper = np.stack([s - 0.5, depth], 1)
    lower = np.vstack([[[-0.5, 0.0]], upper[:0:-1] * [1, -1]])
    return [upper, lower]


def _sizes(shape: str) -> Size:
    """Relative edge lengths: 1 at the body, up to 2 in the wake, up to 5 elsewhere."""
    half = 0.5 if shape == "aerofoil" else 0.0  # of the chord

    def size(at: Array) -> Array:
        x, y = at.T
        distance = np.hypot(np.maximum(np.abs(x) - half, 0), y) - (0.0 if half else 0.5)
        near = 1 + 2.2 * np.maximum(distance, 0)
        wake = 2.0 + 0.12 * np.maximum(x, 0) + 4 * np.maximum(np.abs(y) - 0.8, 0) + 6 * np.maximum(-x, 0)
        relative: Array = np.minimum(np.minimum(near, wake), 5.0)
        return relative

    return size


def _motion(shape: str, motion: str, draw: list[float]) -> Motion:
    """Random numbers in [0, 1] -> law of motion; frequencies about that of the free wake."""
    top = 0.25 if shape == "cylinder" else 0.2
    return Motion(
        heave=top * (0.3 + 0.7 * draw[0]) if "heave" in motion else 0.0,
        pitch=math.radians(6 + 12 * draw[1]) if "pitch" in motion else 0.0,
        frequency=0.12 + 0.18 * draw[2],
        phase=2 * math.pi * draw[3],
        mean=math.radians(20 * draw[4] - 10) if shape == "aerofoil" else 0.0,
    )


def _check(
    shape: str, motion: str | None, num_points: int, frames: int, substeps: int, interval: float, spin_up: float,
    reynolds: float | None,
) -> None:  # fmt: skip
    if shape not in SHAPES:
        raise InputError(f"no shape '{shape}'; there are: {listing(SHAPES)}")
    if motion is not None and motion not in MOTIONS:
        raise InputError(f"no motion '{motion}'; there are: {listing(MOTIONS)}")
    for name, count in (("num_points", num_points), ("frames", frames), ("substeps", substeps)):
        if not isinstance(count, int) or count < 1:
            raise InputError(f"{name} must be a whole number of at least 1, got {count!r}")
    if not (interval > 0 and spin_up >= 0 and (reynolds is None or reynolds > 0)):
        raise InputError(
            f"interval and reynolds must be positive and spin_up not negative, got {interval}, {reynolds}, {spin_up}"
        )
