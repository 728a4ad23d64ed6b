"""Incompressible Navier-Stokes equations on triangles that may move; Taylor-Hood elements, pressure correction.

    du/dt + ((u - w) . grad) u = - grad p + nu lap u,     div u = 0,     d/dt along the nodes, which move with w

(arbitrary Lagrangian-Eulerian form; pressure over density). Velocity quadratic, pressure linear; in time the
incremental pressure correction in rotational form with the second backward difference D (Guermond, Minev and Shen 2006,
section 3.4, and section 10 for the open outlet). With ``u*`` the velocity extrapolated from the last two steps, each
step solves

    1. D u . v + ((u* - w) . grad) u . v + nu grad u : grad v = (p + 4/3 f - 1/3 f_before) div v
    2. grad f . grad q = - 3 / (2 dt) div u q,     f = 0 at the outlet
    3. p <- p + f - nu div u,     p = 0 at the outlet

integrated over the mesh at the new time, for all v that are 0 where the velocity is given and all q that are 0 at the
outlet. Without a condition at the outlet, ``nu du/dn = p n`` holds there. An even flow stays even whatever the mesh
does, because only gradients of u appear.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse.linalg import splu

from meshops.errors import InputError
from meshops.optional import require

Array = np.ndarray[Any, Any]

BLOW_UP = 50.0  # speed in units of the largest given or first one


class AleFlow:
    """A flow that is advanced step by step with its mesh.

    Args:
        points: ``[n, 2]`` at the start, m.
        triangles: ``[f, 3]``, counter-clockwise; they stay the same.
        velocity: ``[n, 2]`` at the start, m/s.
        outlet: ``[n]`` bool: points of the open boundary. On all other sides the velocity is given. Without any such
            point, the pressure is known up to a constant.
        viscosity: nu, kinematic, m^2/s.
        time_step: dt, s.

    Attributes:
        points: ``[n, 2]`` now.
        pressure: ``[n]``, over density, m^2/s^2.
    """

    def __init__(
        self, points: Array, triangles: Array, velocity: Array, *, outlet: Array, viscosity: float, time_step: float
    ) -> None:
        self.fem = require("skfem", extra="fem", purpose="flows on triangle meshes")
        self.triangles, self.viscosity, self.time_step = np.ascontiguousarray(triangles.T), viscosity, time_step
        self.points, self.points_before = points, points
        mesh = self.fem.MeshTri(np.ascontiguousarray(points.T), self.triangles)
        self.sides = mesh.facets  # [2, s]: the middle of side s carries degree of freedom n + s
        border = mesh.boundary_facets()
        closed = border[~outlet[self.sides[:, border]].all(0)]
        self.given = np.unique(np.concatenate([self.sides[:, closed].ravel(), len(points) + closed]))
        self.free = np.setdiff1d(np.arange(len(points) + self.sides.shape[1]), self.given)
        self.inner = np.flatnonzero(~outlet)[0 if outlet.any() else 1 :]  # where f is unknown
        self._u = self._u_before = self._at_all(velocity)  # [dofs, 2]
        self.pressure = self._f = self._f_before = np.zeros(len(points))
        self._limit = BLOW_UP * max(1e-9, float(np.abs(velocity).max()))

    @property
    def velocity(self) -> Array:
        """``[n, 2]`` at the points, m/s."""
        value: Array = self._u[: len(self.points)]
        return value

    def mesh_velocity(self, points: Array) -> Array:
        """``[n, 2]`` w of the step that takes the mesh to ``points``: the backward difference of the places."""
        change: Array = 1.5 * (points - self.points) - 0.5 * (self.points - self.points_before)
        return change / self.time_step

    def step(self, points: Array, given: Array) -> None:
        """Advance by one time step.

        Args:
            points: ``[n, 2]`` places at the new time.
            given: ``[n, 2]`` velocity at the new time; only the rows of points with given velocity are read.

        Raises:
            InputError: A triangle turned over, or the flow blew up.
        """
        along, across = points[self.triangles[1:]] - points[self.triangles[0]]
        if not bool((along[:, 0] * across[:, 1] > along[:, 1] * across[:, 0]).all()):
            raise InputError("the motion of the mesh turned a triangle over; use a smaller amplitude")
        mesh = self.fem.MeshTri(np.ascontiguousarray(points.T), self.triangles)
        quadratic = self.fem.Basis(mesh, self.fem.ElementTriP2(), intorder=4)
        linear = quadratic.with_element(self.fem.ElementTriP1())
        u = self._momentum(quadratic, linear, self._at_all(self.mesh_velocity(points)), self._at_all(given))
        if not float(np.abs(u).max()) < self._limit:
            raise InputError("the flow blew up; use more points, a smaller time step or a smaller Reynolds number")
        f, source = self._correction(quadratic, linear, u)
        self.pressure = self.pressure + f
        self.pressure[self.inner] -= self.viscosity * source[self.inner]
        self._u, self._u_before = u, self._u
        self._f, self._f_before = f, self._f
        self.points, self.points_before = points, self.points

    def _momentum(self, quadratic: Any, linear: Any, mesh_velocity: Array, given: Array) -> Array:
        """Step 1: ``[dofs, 2]``; both components have the same matrix."""
        dt, nu = self.time_step, self.viscosity
        carrier = 2 * self._u - self._u_before
        at_points = [np.asarray(quadratic.interpolate(carrier[:, k] - mesh_velocity[:, k])) for k in range(2)]
        past = (2 * self._u - 0.5 * self._u_before) / dt
        push = np.asarray(linear.interpolate(self.pressure + 4 / 3 * self._f - 1 / 3 * self._f_before))

        @self.fem.BilinearForm  # type: ignore[untyped-decorator]
        def change(u: Any, v: Any, _: Any) -> Any:
            carried = at_points[0] * u.grad[0] + at_points[1] * u.grad[1]
            return (1.5 / dt * u + carried) * v + nu * (u.grad[0] * v.grad[0] + u.grad[1] * v.grad[1])

        matrix = change.assemble(quadratic)
        right = np.empty_like(past)
        for k in range(2):
            old = np.asarray(quadratic.interpolate(past[:, k].copy()))
            load = self.fem.LinearForm(lambda v, _, old=old, k=k: old * v + push * v.grad[k])
            right[:, k] = load.assemble(quadratic)
        out = given.copy()
        rows = matrix[self.free]
        right = right[self.free] - rows[:, self.given] @ given[self.given]
        out[self.free] = _solve(rows[:, self.free], right)
        return out

    def _correction(self, quadratic: Any, linear: Any, u: Array) -> tuple[Array, Array]:
        """Step 2: f ``[n]``, and the divergence of u ``[n]`` averaged around each point."""
        source = sum(np.asarray(quadratic.interpolate(u[:, k].copy()).grad[k]) for k in range(2))
        divergence = self.fem.LinearForm(lambda q, _: source * q).assemble(linear)
        area = self.fem.LinearForm(lambda q, _: 1.0 * q).assemble(linear)
        laplacian = self.fem.BilinearForm(lambda p, q, _: p.grad[0] * q.grad[0] + p.grad[1] * q.grad[1])
        rows = laplacian.assemble(linear)[self.inner][:, self.inner]
        f = np.zeros(len(area))
        f[self.inner] = _solve(rows, -1.5 / self.time_step * divergence[self.inner])
        return f, divergence / area

    def _at_all(self, values: Array) -> Array:
        """Values at points ``[n, 2]`` and, as their means, in the middle of the sides: ``[dofs, 2]``."""
        return np.concatenate([values, 0.5 * (values[self.sides[0]] + values[self.sides[1]])])


def _solve(matrix: Any, right: Array) -> Array:
    """Direct solution; this order of elimination, for symmetric patterns, fills in less than the default."""
    factors = splu(matrix.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.01, options={"SymmetricMode": True})
    value: Array = factors.solve(right)
    return value
