"""What of a case counts: its fields and their roles, inputs, conditions, the flow past it and how it is described."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from meshops.aero.conditions import FlowConditions
from meshops.aero.features import FeatureSpec
from meshops.data.mesh_graph import field_slices
from meshops.errors import InputError, listing

Domain = Literal["graph", "surface", "volume"]
ROLES = ("pressure", "shear", "velocity")
# Names under which solvers and public sets store the fields that get integrated and made free of density and speed.
ROLE_NAMES = {
    "pressure": ("pMean", "pMeanTrim", "pressure", "p", "point_scalars"),
    "shear": ("wallShearStressMean", "wallShearStressMeanTrim", "wallShearStress", "shear"),
    "velocity": ("UMean", "UMeanTrim", "velocity", "U"),
}


@dataclass(frozen=True, kw_only=True)
class CaseSpec:
    """What of a case counts. Plain values.

    Attributes:
        fields: Names of the fields, as in the files.
        sizes: Channels of each (1 scalar, d vector).
        units: Unit of each.
        dim: Space dimensions.
        inputs: Names of the input channels of the data.
        conditions: Names of the conditions the model is told.
        numbers: Names of the results that are learnt.
        quantity_units: Unit of each of these two, conditions first.
        domain: ``"graph"``: inputs as they are; ``"surface"``, ``"volume"``: of a body in a flow.
        location: ``"cell"`` or ``"point"``: where the fields live in the files.
        pressure, shear, velocity: Fields with these roles, None if there is none.
        flow: Flow of the training cases, where a prediction is not asked for another; ``flow.symmetric`` says whether
            mirror images share one half.
        flow_stated: The flow is known. Else fields keep their unit and nothing is integrated to forces.
        features: Which features of the body are computed; None: none.
        shape: Cases carry what models of whole cases compare them by, see :mod:`meshops.data.shape`.
        topology: Of the training meshes where their nodes correspond, else empty.
    """

    fields: tuple[str, ...]
    sizes: tuple[int, ...]
    units: tuple[str, ...]
    dim: int
    inputs: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    quantity_units: tuple[str, ...] = ()
    domain: Domain = "graph"
    location: Literal["cell", "point"] = "point"
    pressure: str | None = None
    shear: str | None = None
    velocity: str | None = None
    flow: FlowConditions = field(default_factory=FlowConditions)
    flow_stated: bool = False
    features: FeatureSpec | None = None
    shape: bool = False
    topology: str = ""

    def __post_init__(self) -> None:
        """Check that sizes and units fit the fields, and that roles are fields."""
        if not (self.fields or self.numbers) or not len(self.fields) == len(self.sizes) == len(self.units):
            raise InputError(
                f"give a name, a size and a unit for every field, got {listing(self.fields)} with sizes "
                f"{list(self.sizes)} and units {list(self.units)}"
            )
        for role in ROLES:
            name = getattr(self, role)
            if name is not None and name not in self.fields:
                raise InputError(f"{role} field '{name}' is not among the fields; fields: {listing(self.fields)}")

    @property
    def channels(self) -> int:
        """Channels of all fields."""
        return sum(self.sizes)

    @property
    def bodies(self) -> bool:
        """Cases are bodies in a flow: features of the body are computed."""
        return self.features is not None

    def slices(self) -> dict[str, slice]:
        """Channel range of each field."""
        return field_slices(self.fields, self.sizes)

    def feature_names(self) -> tuple[str, ...]:
        """Name of each input channel of a prepared case: features of the body, then the inputs of the data."""
        computed = () if self.features is None else self.features.names(self.domain)
        return (*computed, *self.inputs)

    def varying_names(self) -> tuple[str, ...]:
        """Those that differ between the nodes of a case and do not come from the mesh itself."""
        if self.features is None:
            return ()
        left = {*self.features.constants, *self.cues(), *self.inputs}
        return tuple(name for name in self.feature_names() if name not in left)

    def cues(self) -> tuple[str, ...]:
        """Features that come from the mesh itself."""
        return () if self.features is None else self.features.cues(self.domain)

    def named(self, quantity: str) -> str:
        """A condition or number with its unit: ``speed [m/s]``."""
        units = dict(zip((*self.conditions, *self.numbers), self.quantity_units, strict=False))
        return f"{quantity} [{units[quantity]}]" if units.get(quantity) else quantity

    def short(self, name: str) -> str:
        """Name of a field in tables: its role, else its own."""
        return next((role for role in ROLES if getattr(self, role) == name), name)

    def scaling(self, flow: FlowConditions) -> dict[str, tuple[float, float]]:
        """Shift and scale of each field: ``(value - shift) / scale`` is free of density and speed.

        Pressure and shear count in rho U^2, the shear as the force on the body; velocities in U; others stay as they
        are, and so do all when the flow is not stated.
        """
        out = dict.fromkeys(self.fields, (0.0, 1.0))
        if self.flow_stated:
            roles = {
                self.pressure: (flow.reference_pressure, flow.pressure_scale),
                self.shear: (0.0, flow.shear_sign * flow.pressure_scale),
                self.velocity: (0.0, flow.speed),
            }
            out |= {name: values for name, values in roles.items() if name is not None}
        return out

    def units_at(self, flow: FlowConditions) -> tuple[str, ...]:
        """Unit of each field in this flow: pressure and shear may be asked for in another than trained on."""
        if not self.flow_stated or flow.kinematic == self.flow.kinematic:
            return self.units
        stress = "m^2/s^2" if flow.kinematic else "Pa"
        return tuple(
            stress if name in (self.pressure, self.shear) else unit
            for name, unit in zip(self.fields, self.units, strict=True)
        )

    def at(self, flow: FlowConditions | None) -> FlowConditions:
        """Flow of a case for this task: that given, else that of the training, folded as in training.

        Raises:
            InputError: A flow is given, but that of the training is not stated.
        """
        if flow is None or flow == self.flow:
            return self.flow
        if not self.flow_stated:
            raise InputError(
                "the training data states no flow conditions, so that a prediction cannot be made for others; "
                "leave the conditions out, or train on data that states them"
            )
        return replace(flow, symmetric=self.flow.symmetric)
