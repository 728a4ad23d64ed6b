"""Generators on irregular triangle meshes by name: ``generate_mesh("darcy", seed=3, num_points=900)``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from meshops.data.mesh_graph import MeshGraph
from meshops.errors import InputError, did_you_mean, listing
from meshops.solvers.darcy import darcy, poisson
from meshops.solvers.hyperelastic import hyperelastic
from meshops.solvers.wake import WakeSimulation, wake

MESH_GENERATORS: dict[str, Callable[..., MeshGraph | WakeSimulation]] = {
    "darcy": darcy,
    "hyperelastic": hyperelastic,
    "poisson": poisson,
    "wake": wake,
}


def generate_mesh(name: str, seed: int = 0, **options: Any) -> MeshGraph | WakeSimulation:
    """One case: a graph, or a trajectory for ``"wake"``.

    Args:
        name: One of :data:`MESH_GENERATORS`.
        seed: Of everything random in it.
        **options: ``num_points`` and what else the generator takes.

    Raises:
        InputError: Unknown name or option; lists those allowed.
    """
    if name not in MESH_GENERATORS:
        hint = did_you_mean(name, MESH_GENERATORS)
        raise InputError(f"no generator '{name}' on meshes; {hint}there are: {listing(sorted(MESH_GENERATORS))}")
    maker = MESH_GENERATORS[name]
    allowed = [key for key in inspect.signature(maker).parameters if key != "seed"]
    unknown = sorted(set(options) - set(allowed))
    if unknown:
        raise InputError(f"{name}: unknown option {listing(unknown)}; allowed: {listing(allowed)}")
    return maker(seed, **options)
