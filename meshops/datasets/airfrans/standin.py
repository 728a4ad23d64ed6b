"""Stand-in of AirfRANS: the two files of PyG's form with potential flow past Joukowski airfoils, which is no RANS.

Velocity and pressure (Bernoulli) are exact for that flow, with the velocity set to zero on the airfoil as a viscous
flow has it; the turbulent viscosity is a made-up bump behind the trailing edge.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

from meshops.errors import InputError
from meshops.io import replacing, write_bytes
from meshops.solvers.joukowski import random_joukowski

Array = np.ndarray[Any, Any]

LOW, HIGH = np.array([-2.0, -1.5]), np.array([4.0, 1.5])
NUM_SURFACE = 200


def write_airfrans(root: Path, num: int, points: int) -> Path:
    """``AirfRANS.pt`` and ``manifest.json``; the last quarter of the cases, at least one, is ``full_test``.

    Args:
        root: Folder, made when missing.
        num: Cases, at least 2.
        points: Points of a case, more than 200, of which 200 are on the airfoil.

    Returns:
        ``root``.
    """
    if num < 2 or points <= NUM_SURFACE:
        raise InputError(
            f"AirfRANS.standin: num must be at least 2 and points more than {NUM_SURFACE}, got {num} and {points}"
        )
    cases = [airfoil_case(seed, points) for seed in range(num)]
    names = [name for name, _ in cases]
    test = max(1, num // 4)
    by_speed = sorted(names, key=lambda name: float(name.split("_")[2]))
    by_angle = sorted(names, key=lambda name: float(name.split("_")[3]))
    manifest = {
        "full_train": names[:-test],
        "full_test": names[-test:],
        "scarce_train": names[: max(1, (num - test) // 4)],
        "reynolds_train": by_speed[:-test],
        "reynolds_test": by_speed[-test:],
        "aoa_train": by_angle[:-test],
        "aoa_test": by_angle[-test:],
    }
    root.mkdir(parents=True, exist_ok=True)
    with replacing(root / "AirfRANS.pt") as partial:
        torch.save([values for _, values in cases], partial)
    write_bytes(root / "manifest.json", json.dumps(manifest, indent=1).encode())
    return root


def airfoil_case(seed: int, points: int) -> tuple[str, dict[str, torch.Tensor]]:
    """Name and tensors of one case: speed 31 to 93 m/s, angle of attack -5 to 15 degrees, box as published."""
    from scipy.spatial import cKDTree

    rng = np.random.default_rng(seed)
    speed, degrees = float(rng.uniform(31, 93)), float(rng.uniform(-5, 15))
    flow = random_joukowski(rng, angle=math.radians(degrees))
    on = flow.circle(np.linspace(-2, 2, NUM_SURFACE, endpoint=False) + 0j)
    # Away from the airfoil, denser close to it.
    s = rng.uniform(-4, 4, 20 * points) + 1j * 3 * rng.uniform(0, 1, 20 * points) ** 2 + 1e-4j
    off = flow.circle(s)
    place = flow.position(off)
    off = off[((place >= LOW) & (place <= HIGH)).all(1)][: points - NUM_SURFACE]
    if len(off) < points - NUM_SURFACE:
        raise InputError(f"AirfRANS.standin: only {len(off) + NUM_SURFACE} of {points} points found; ask for fewer")
    zeta = np.concatenate([on, off])
    position, velocity = flow.position(zeta), speed * flow.velocity(zeta)
    surface = np.arange(points) < NUM_SURFACE
    pressure = 0.5 * (speed**2 - (velocity**2).sum(1))
    velocity[surface] = 0
    eddy = 1e-3 * np.exp(-((position[:, 1] / 0.1) ** 2)) * np.clip(position[:, 0], 0, 1) * ~surface
    outline = flow.position(flow.circle(np.linspace(-2, 2, 2001) + 0j))
    inlet = speed * np.array([math.cos(flow.angle), math.sin(flow.angle)])
    x = np.zeros((points, 5))
    x[:, :2] = inlet
    x[:, 2] = np.where(surface, 0, cKDTree(outline).query(position)[0])
    x[surface, 3:] = _normals(position[surface])
    arrays = {"x": x, "pos": position, "y": np.column_stack([velocity, pressure, eddy])}
    tensors = {key: torch.from_numpy(np.asarray(values, dtype=np.float32)) for key, values in arrays.items()}
    tensors["surf"] = torch.from_numpy(surface)
    return f"airFoil2D_SST_{speed:.3f}_{degrees:.3f}_{seed}.0_4.0_1.0_12.0", tensors


def _normals(outline: Array) -> Array:
    """Unit normals ``[n, 2]`` into the body, of a closed outline that runs below from tail to nose and back above."""
    along = np.roll(outline, -1, 0) - np.roll(outline, 1, 0)
    normal = np.stack([along[:, 1], -along[:, 0]], 1)
    unit: Array = normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    return unit
