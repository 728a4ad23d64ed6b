"""Reasons for a constant factor between integrated and tabulated forces."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from meshops.aero.conditions import FlowConditions

DENSITIES = {
    1.2: "air",
    1.225: "air at 15 degrees Celsius",
    1.204: "air at 20 degrees Celsius",
    1.205: "air",
    1.184: "air at 25 degrees Celsius",
    1.18: "air",
    1.177: "air at 300 K",
    1.293: "air at 0 degrees Celsius",
    998.2: "water",
    1000.0: "water",
    1025.0: "sea water",
}
SPEEDS = sorted({*(float(v) for v in range(1, 121)), 5.5, 12.5, 16.67, 22.22, 27.78, 30.56, 33.33, 36.11, 38.89, 38.9,
                 41.67, 44.44, 55.56})  # fmt: skip
LENGTHS = {1e-3: "millimetres", 1e-2: "centimetres", 0.0254: "inches", 0.3048: "feet"}


@dataclass(frozen=True)
class Reason:
    """Why integrated values are ``factor`` times those of the table.

    Attributes:
        factor: Total, the stated dynamic pressure included.
        kind: ``density``, ``dynamic pressure``, ``half model``, ``length unit``, ``area``, ``pressure coefficient``;
            empty: none is needed.
        text: In words, to follow "once".
        cost: How far-fetched.
        value: Density, speed or area that goes with it.
        speed: Speed, where both are known.
    """

    factor: float
    kind: str
    text: str
    cost: float
    value: float = 0.0
    speed: float = 0.0

    def conditions(self, flow: FlowConditions) -> FlowConditions:
        """The flow with what was found."""
        if self.kind == "density":
            return replace(flow, density=self.value, kinematic=False)
        if self.kind == "dynamic pressure":
            kinematic = self.value == 0
            return replace(
                flow, density=self.value or flow.density, speed=self.speed or flow.speed, kinematic=kinematic
            )
        if self.kind == "pressure coefficient":
            return replace(flow, density=2.0, speed=1.0, kinematic=False)
        return flow


def reasons(
    rest: float,
    q: float,
    *,
    half: bool = False,
    length: float = 1.0,
    force: bool = False,
    stated: bool = True,
    kinematic: bool = True,
) -> Iterator[Reason]:
    """Reasons for integrated values that are ``rest`` times those of the table after division by ``q``.

    Args:
        rest: Factor to be explained: 1 needs no reason.
        q: Dynamic pressure (times a constant area) that values are divided by.
        half: The surfaces are halves, cut at their mirror plane.
        length: Typical size of the body: of hundreds and more, millimetres are likely.
        force: The table holds forces in N.
        stated: Speed and density were stated.
        kinematic: Fields are stated to be divided by the density.
    """
    yield Reason(q, "", "", 0.0)
    if half:
        yield Reason(0.5 * q, "half model", "the surface is half a body and the table that of the whole", 0.1)
    text = "the table holds twice what is integrated (half a model, or half the area)"
    yield Reason(0.5 * q, "half model" if half else "half", text, 0.9)
    yield Reason(2 * q, "half", "the table holds half of what is integrated (half a model, or twice the area)", 0.9)
    for value, name in LENGTHS.items():
        likely = 0.2 if length * value < 20 <= length else 1.5
        if force:
            yield Reason(q / value**2, "length unit", f"coordinates are in {name}", likely)
        else:
            yield Reason(q / value**2, "length unit", f"coordinates are in {name}, the reference area in m^2", likely)
    for density, name in DENSITIES.items():
        text = f"values are in Pa, at a density of {density:g} kg/m^3 ({name})"
        if not force:
            yield Reason(q * density, "density", text, 0.6, density)
        if force and not kinematic:
            continue
        text = f"the table was made with a density of {density:g} kg/m^3 ({name}), the fields are kinematic"
        yield Reason(q / density, "density", text, 0.6 if force else 0.9, 1.0 if not force else density)
        yield from _speeds(rest, q, density, force, stated)
    yield from _speeds(rest, q, 1.0, force, stated)
    if not force and not stated:
        yield Reason(1.0, "pressure coefficient", "the pressure is a coefficient already", 0.5)
    for power in (3, -3, 6, -6):
        yield Reason(q * 10.0**power, "unit", f"a factor 1e{power:+d} between the units of table and fields", 1.3)


def _speeds(rest: float, q: float, density: float, force: bool, stated: bool) -> Iterator[Reason]:
    """Round speeds that explain the rest together with a density."""
    if force or rest <= 0:
        return
    # q is that of the stated speed and density; with none stated it is 1/2 at unit speed and density.
    speed = math.sqrt(rest / density)
    near = min(SPEEDS, key=lambda known: abs(known / speed - 1))
    if near == 1.0:
        return
    round_cost = 0.0 if near % 10 == 0 else 0.15 if near % 5 == 0 else 0.4
    air = 0.0 if density in (1.2, 1.225, 1.0) else 0.25
    cost = (0.8 if stated else 0.4) + round_cost + air
    if density == 1.0:
        text = f"values are kinematic at a speed of {near:g} m/s (a factor {near**2:.5g})"
        yield Reason(q * near**2, "dynamic pressure", text, cost + 0.1, 0.0, near)
    else:
        text = (
            f"values are in Pa at a density of {density:g} kg/m^3 and a speed of {near:g} m/s (a factor "
            f"{density * near**2:.5g} = {density:g} x {near:g}^2)"
        )
        yield Reason(q * density * near**2, "dynamic pressure", text, cost + 0.1, density, near)
