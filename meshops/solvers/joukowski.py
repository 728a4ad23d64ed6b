"""Potential flow past a Joukowski airfoil in closed form, on a conformal C-grid.

A circle through 1 with centre c is mapped by ``z = zeta + 1 / zeta`` to an airfoil whose sharp trailing edge is z = 2;
the circulation lets the flow leave there smoothly (Kutta and Joukowski). See Milne-Thomson, Theoretical Hydrodynamics,
chapter 7. The C-grid is the square-root map of the plane cut from the airfoil's nose to the far wake.
"""

from __future__ import annotations

import cmath
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class JoukowskiFlow:
    """Steady, incompressible flow without friction; chord 1 from (0, 0) about to (1, 0), free-stream speed 1.

    Attributes:
        centre: Of the generating circle: ``-0.08 + 0.05j`` has a thickness of about a tenth and some camber.
        angle: Of attack, rad.
    """

    centre: complex
    angle: float = 0.0

    def circle(self, place: Array) -> Array:
        """C-grid places ``s`` -> points of the circle's plane, complex.

        Args:
            place: Complex, imaginary part >= 0: 0 on the airfoil (real part -2 to 2, trailing edge at both ends) and
                on the two sides of the cut behind it (beyond 2); lines of constant imaginary part are the C's.
        """
        s = np.asarray(place, dtype=np.complex128)
        unit = (s**2 - 2 + s * np.sqrt(s - 2) * np.sqrt(s + 2)) / 2
        return self.centre + (1 - self.centre) * unit

    def position(self, zeta: Array) -> Array:
        """Points ``[..., 2]`` of the flow's plane, in chords."""
        z = (zeta + 1 / zeta - self._nose) / (2 - self._nose)
        return np.stack([z.real, z.imag], -1)

    def velocity(self, zeta: Array) -> Array:
        """Velocity ``[..., 2]``, in free-stream speeds."""
        turn, lever = cmath.exp(-1j * self.angle), 1 - self.centre
        radius = abs(lever)
        tail = lever / radius
        vortex = -radius * (turn * tail - (turn * tail).conjugate())
        away = zeta - self.centre
        flow = turn - turn.conjugate() * radius**2 / away**2 + vortex / away
        slope = 1 - 1 / zeta**2
        at_edge = abs(slope) < 1e-7  # there both vanish: the ratio of their derivatives
        bend = 2 * turn.conjugate() * radius**2 / away**3 - vortex / away**2
        w = np.where(at_edge, bend * zeta**3 / 2, flow / np.where(at_edge, 1, slope))
        return np.stack([w.real, -w.imag], -1)

    @property
    def _nose(self) -> float:
        zeta = self.circle(np.linspace(-2, 2, 401) + 0j)
        return float((zeta + 1 / zeta).real.min())


def random_joukowski(rng: np.random.Generator, *, angle: float) -> JoukowskiFlow:
    """Airfoil of random thickness (about 7 to 15 %) and camber.

    Args:
        rng: Source of the shape.
        angle: Of attack, rad.
    """
    return JoukowskiFlow(complex(-rng.uniform(0.05, 0.11), rng.uniform(0.0, 0.08)), angle)
