"""What a surface mesh does not say: flow direction, speed, density, and which way is up."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from meshops.errors import InputError, listing

Vector = tuple[float, float, float]
SPEED = re.compile(r"(?i)^(speed|velocity|u_?inf.*|v_?inf.*|u_?ref|u0|u|v|magu.*|wind_?speed|inlet_?velocity)$")
DENSITY = re.compile(r"(?i)^(density|rho.*)$")


@dataclass(frozen=True, kw_only=True)
class FlowConditions:
    """Free stream and reference values of a case.

    Attributes:
        flow: Unit vector of the free stream.
        up: Unit vector of lift; the lateral axis is ``cross(up, flow)``.
        speed: Free-stream speed, m/s.
        density: kg/m^3.
        viscosity: Dynamic viscosity, Pa s; 0: unknown. Where it is known, models are told the Reynolds number.
        kinematic: Pressure and shear are divided by the density, m^2/s^2, as incompressible solvers write them.
        reference_pressure: Pressure of the free stream, in the unit of the pressure field.
        ground: Height of the ground along ``up`` (m); None in free air.
        frontal_area: Fixed reference area, m^2; None: the silhouette of each shape along ``flow``.
        area_rule: How a silhouette is measured: ``"silhouette"`` or ``"hull"`` (convex hull of the projection).
        symmetric: Mirrored flow past a mirrored body is the mirrored solution (plane of ``flow`` and ``up``). Training
            uses it only where its shapes and fields agree.
        shear_sign: +1 when the shear array is the force on the body, -1 for OpenFOAM's ``wallShearStress``.
    """

    flow: Vector = (1.0, 0.0, 0.0)
    up: Vector = (0.0, 0.0, 1.0)
    speed: float = 1.0
    density: float = 1.0
    viscosity: float = 0.0
    kinematic: bool = False
    reference_pressure: float = 0.0
    ground: float | None = 0.0
    frontal_area: float | None = None
    area_rule: Literal["silhouette", "hull"] = "silhouette"
    symmetric: bool = True
    shear_sign: int = 1

    def __post_init__(self) -> None:
        """Refuse axes that are none, and numbers that nothing can be divided by."""
        for name in ("speed", "density"):
            if not 0 < getattr(self, name) < np.inf:
                raise InputError(f"{name} must be positive, got {getattr(self, name)}")
        for name in ("flow", "up"):
            length = float(np.linalg.norm(getattr(self, name)))
            if not abs(length - 1) < 1e-6:
                raise InputError(
                    f"{name} must be a vector of length 1, got {getattr(self, name)} of length {length:.6g}"
                )
        if not abs(float(np.dot(self.flow, self.up))) < 1e-6:
            raise InputError(f"flow and up must be at right angles, got {self.flow} and {self.up}")

    @property
    def pressure_scale(self) -> float:
        """Density times speed squared, in the unit of the pressure field: Pa, or m^2/s^2 when kinematic."""
        return (1.0 if self.kinematic else self.density) * self.speed**2

    @property
    def dynamic_pressure(self) -> float:
        """Half of :attr:`pressure_scale`: what coefficients divide by."""
        return 0.5 * self.pressure_scale

    def reynolds(self, length: float) -> float:
        """Reynolds number ``rho U L / mu`` of a body of that length (m).

        Raises:
            InputError: The viscosity is unknown.
        """
        if not self.viscosity > 0:
            raise InputError("the Reynolds number needs the viscosity; state it in the conditions (Pa s)")
        return self.density * self.speed * length / self.viscosity

    @property
    def lateral(self) -> Vector:
        """Unit vector across the flow, ``cross(up, flow)``."""
        side = np.cross(self.up, self.flow)
        return (float(side[0]), float(side[1]), float(side[2]))

    @property
    def frame(self) -> np.ndarray:
        """``[3, 3]`` rows flow, lateral, up: ``frame @ v`` are the components of v along them."""
        return np.array([self.flow, self.lateral, self.up], dtype=np.float64)

    @staticmethod
    def settable() -> tuple[str, ...]:
        """Names that :meth:`changed` takes."""
        return ("speed", "density", "viscosity", "reference_pressure", "ground", "frontal_area", "yaw", "pitch")

    def changed(self, values: Mapping[str, float]) -> FlowConditions:
        """The same with other numbers; ``yaw`` and ``pitch`` turn the free stream, degrees.

        A positive yaw turns it about ``up`` towards the lateral axis, a positive pitch towards ``up`` (angle of attack;
        lift stays perpendicular to the stream).

        Raises:
            InputError: An unknown name, or a number nothing can be divided by.
        """
        unknown = [name for name in values if name not in self.settable()]
        if unknown:
            raise InputError(f"a flow has no {listing(unknown)}; it takes {listing(self.settable())}")
        numbers: dict[str, Any] = {name: float(v) for name, v in values.items() if name not in ("yaw", "pitch")}
        yaw, pitch = (np.deg2rad(values.get(name, 0.0)) for name in ("yaw", "pitch"))
        flow, side, up = self.frame
        turned = np.cos(yaw) * flow + np.sin(yaw) * side
        stream = np.cos(pitch) * turned + np.sin(pitch) * up
        lift = np.cos(pitch) * up - np.sin(pitch) * turned
        if yaw or pitch:
            numbers |= {"flow": tuple(map(float, stream)), "up": tuple(map(float, lift))}
        return replace(self, **numbers)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> FlowConditions:
        """Inverse of :meth:`to_dict`."""
        vectors: dict[str, Any] = {key: tuple(float(v) for v in values[key]) for key in ("flow", "up") if key in values}
        return cls(**(values | vectors))


def named_stream(conditions: Mapping[str, float]) -> dict[str, float]:
    """Speed and density among the conditions of a case, by their usual names: ``U_inf``, ``rho``."""
    found = {}
    for key, pattern in (("speed", SPEED), ("density", DENSITY)):
        values = [v for name, v in conditions.items() if pattern.match(name) and np.isfinite(v) and v > 0]
        if len(values) == 1:
            found[key] = float(values[0])
    return found


def stream_of(flow: FlowConditions, conditions: Mapping[str, float]) -> FlowConditions:
    """A stated flow at the speed and density that a case names among its conditions."""
    found = named_stream(conditions)
    return replace(flow, **found) if found else flow  # type: ignore[arg-type]
