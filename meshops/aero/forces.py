"""Forces on a body from the fields on its surface.

    F = sum_i ( -p_i n_i + tau_i ) A_i,     C_D = F . flow / (q S),  C_L = F . up / (q S),  q = rho U^2 / 2

(kinematic fields: the sum times rho is the force, q = U^2 / 2 belongs to the sum itself)

with n the outward unit normal of the body, tau the friction force per area on the body, S the reference area. On a
closed surface a constant pressure gives no force, since sum n A = 0; on an open one it does, which is reported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meshops.aero.conditions import FlowConditions
from meshops.errors import InputError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Forces:
    """Force on the body and its coefficients.

    Attributes:
        pressure: ``(x, y, z)`` force of the pressure, N.
        friction: Force of the shear stress, same unit; zeros when there is no shear field.
        cd: Drag coefficient; ``cd_pressure`` and ``cd_friction`` are its parts.
        cl: Lift coefficient. cs: side-force coefficient.
        frontal_area: Reference area S, m^2.
        closure: ``|sum n A| / sum A``: 0 for a closed surface.
    """

    pressure: tuple[float, float, float]
    friction: tuple[float, float, float]
    cd: float
    cd_pressure: float
    cd_friction: float
    cl: float
    cs: float
    frontal_area: float
    closure: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def integrate_forces(
    normal: Array,
    area: Array,
    pressure: Array,
    conditions: FlowConditions,
    *,
    frontal_area: float,
    shear: Array | None = None,
) -> Forces:
    """Integrate pressure ``[n]`` and wall shear ``[n, 3]`` over cells with outward ``normal [n, 3]``, ``area [n]``.

    Raises:
        InputError: Array shapes do not belong together, or the reference area is not positive.
    """
    normal, area, pressure = (np.asarray(a, dtype=np.float64) for a in (normal, area, pressure))
    if normal.shape != (len(area), 3) or pressure.shape != area.shape:
        raise InputError(f"forces need normal [n, 3], area [n], pressure [n]; got {normal.shape}, {area.shape}, "
                         f"{pressure.shape}")  # fmt: skip
    if not frontal_area > 0:
        raise InputError(f"the reference area must be positive, got {frontal_area} m^2")
    gauge = pressure - conditions.reference_pressure
    of_pressure = -(gauge[:, None] * normal * area[:, None]).sum(0)
    of_friction = np.zeros(3)
    if shear is not None:
        of_friction = conditions.shear_sign * (np.asarray(shear, dtype=np.float64) * area[:, None]).sum(0)
    scale = 1.0 / (conditions.dynamic_pressure * frontal_area)
    drag, side, lift = conditions.frame @ (of_pressure + of_friction) * scale
    flow = np.array(conditions.flow)
    newton = conditions.density if conditions.kinematic else 1.0
    return Forces(
        pressure=_triple(of_pressure * newton),
        friction=_triple(of_friction * newton),
        cd=float(drag),
        cd_pressure=float(of_pressure @ flow * scale),
        cd_friction=float(of_friction @ flow * scale),
        cl=float(lift),
        cs=float(side),
        frontal_area=float(frontal_area),
        closure=float(np.linalg.norm((normal * area[:, None]).sum(0)) / area.sum()),
    )


def _triple(vector: Array) -> tuple[float, float, float]:
    return (float(vector[0]), float(vector[1]), float(vector[2]))
