"""Potential flow past a triaxial ellipsoid in a uniform stream along one axis, in closed form (Lamb 1932, art. 114).

With semi-axes a, b, c and the stream U along c: phi = U z (1 + gamma(lambda) / (2 - gamma(0))), where lambda is the
ellipsoidal coordinate of the point and gamma(lambda) = a b c * integral from lambda of ds / ((c^2 + s) Delta(s)),
a Carlson integral R_D. No friction, no ground, no wake: the drag is zero.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import elliprd

Array = np.ndarray[Any, Any]

NEWTON_STEPS = 60


def ellipsoid_velocity(points: Array, semi_axes: tuple[float, float, float], speed: float = 1.0) -> Array:
    """Velocity of the flow along the third axis.

    Args:
        points: ``[n, 3]`` on or outside the ellipsoid, relative to its center, m.
        semi_axes: Along x, y, z, m; the stream runs along z.
        speed: Of the free stream, m/s.

    Returns:
        ``[n, 3]`` m/s.

    Example:
        >>> float(ellipsoid_velocity(np.array([[1.0, 0.0, 0.0]]), (1.0, 1.0, 1.0))[0, 2].round(6))
        1.5
    """
    squares = np.square(np.asarray(semi_axes, dtype=np.float64))
    product = float(np.prod(semi_axes))
    coordinate = ellipsoidal_coordinate(points, semi_axes)
    shifted = squares + coordinate[:, None]
    gamma = product * 2 / 3 * elliprd(shifted[:, 0], shifted[:, 1], shifted[:, 2])
    gamma_body = product * 2 / 3 * float(elliprd(*squares))
    # Change of gamma along lambda, and the gradient of lambda.
    slope = -product / (shifted[:, 2] * np.sqrt(shifted.prod(axis=1)))
    gradient = 2 * points / shifted / np.square(points / shifted).sum(axis=1, keepdims=True)
    velocity = (points[:, 2] * slope / (2 - gamma_body))[:, None] * gradient
    velocity[:, 2] += 1 + gamma / (2 - gamma_body)
    result: Array = speed * velocity
    return result


def ellipsoidal_coordinate(points: Array, semi_axes: tuple[float, float, float]) -> Array:
    """Largest root lambda of sum x_i^2 / (a_i^2 + lambda) = 1, ``[n]`` m^2; 0 on the surface, positive outside."""
    squares = np.square(np.asarray(semi_axes, dtype=np.float64))
    coordinate = np.zeros(len(points))
    # The function is convex and falling, so Newton's steps from the left never pass the root.
    for _ in range(NEWTON_STEPS):
        ratio = np.square(points) / (squares + coordinate[:, None])
        excess = ratio.sum(axis=1) - 1
        step = excess / (ratio / (squares + coordinate[:, None])).sum(axis=1)
        coordinate = coordinate + step
        if np.abs(step).max(initial=0.0) <= 1e-14 * (1 + np.abs(coordinate).max(initial=0.0)):
            break
    return coordinate
