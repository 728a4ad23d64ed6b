"""Generators by name: ``generate("riemann_2d", seed=3, resolution=64)``."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from meshops.errors import InputError, did_you_mean, listing
from meshops.solvers.cavity import lid_driven_cavity
from meshops.solvers.gray_scott import gray_scott
from meshops.solvers.rayleigh_benard import rayleigh_benard
from meshops.solvers.riemann import blast, kelvin_helmholtz, riemann_2d
from meshops.solvers.shallow_water import radial_dam_break
from meshops.solvers.simulation import Simulation
from meshops.solvers.taylor_green import taylor_green
from meshops.solvers.vorticity import vorticity

GENERATORS: dict[str, Callable[..., Simulation]] = {
    "blast_2d": partial(blast, dim=2),
    "blast_3d": partial(blast, dim=3),
    "cavity": lid_driven_cavity,
    "gray_scott": gray_scott,
    "kelvin_helmholtz": kelvin_helmholtz,
    "rayleigh_benard": rayleigh_benard,
    "riemann_2d": riemann_2d,
    "shallow_water": radial_dam_break,
    "taylor_green": taylor_green,
    "vorticity": vorticity,
}


def generate(name: str, seed: int = 0, **options: Any) -> Simulation:
    """One simulation.

    Args:
        name: One of :data:`GENERATORS`.
        seed: Of everything random in it.
        **options: ``resolution``, ``frames``, ``t_end`` and what else the solver takes.

    Raises:
        InputError: Unknown name or option; lists those allowed.
    """
    if name not in GENERATORS:
        hint = did_you_mean(name, GENERATORS)
        raise InputError(f"no generator '{name}'; {hint}there are: {listing(sorted(GENERATORS))}")
    maker = GENERATORS[name]
    fixed = maker.keywords if isinstance(maker, partial) else {}
    allowed = [key for key in inspect.signature(maker).parameters if key != "seed" and key not in fixed]
    unknown = sorted(set(options) - set(allowed))
    if unknown:
        raise InputError(f"{name}: unknown option {listing(unknown)}; allowed: {listing(allowed)}")
    return maker(seed, **options)


def drawn(ranges: Mapping[str, tuple[float, float]], seed: int) -> dict[str, float]:
    """A value from every range, a function of the seed; ranges of more than tenfold evenly in the logarithm."""
    draw = random.Random(f"vary {seed}")
    out = {}
    for key, (low, high) in sorted(ranges.items()):
        part = draw.random()
        out[key] = low * (high / low) ** part if low > 0 and high > 10 * low else low + (high - low) * part
    return out
