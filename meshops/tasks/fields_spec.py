"""What a task of fields learns: settings of a run, and what goes into the checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Literal, Self

from meshops.aero.conditions import FlowConditions
from meshops.aero.features import FeatureSpec
from meshops.data.mesh_graph import field_slices
from meshops.errors import InputError, listing
from meshops.metrics.fields import field_metrics
from meshops.metrics.losses import get_loss
from meshops.tasks.base import Plain, Spec
from meshops.tasks.checks import at_least

Domain = Literal["graph", "surface", "volume"]
ROLES = ("pressure", "shear", "velocity")
# Names under which solvers and public sets store the fields that get integrated and made free of density and speed.
ROLE_NAMES = {
    "pressure": ("pMean", "pMeanTrim", "pressure", "p", "point_scalars"),
    "shear": ("wallShearStressMean", "wallShearStressMeanTrim", "wallShearStress", "shear"),
    "velocity": ("UMean", "UMeanTrim", "velocity", "U"),
}


@dataclass(frozen=True, kw_only=True)
class FieldsSettings:
    """What is learnt of finished cases.

    Attributes:
        fields: Fields to predict; default: all the data have.
        nodes: Nodes per training subset, and density of prediction; 0: whole meshes. Default: 2048 for bodies, else 0.
        loss: Loss per field (or one for all): relative_l2, relative_l2_centered, mse, l1, huber.
        weights: Weight per field in the loss.
        passes: Interleavings averaged in a prediction from subsets.
        geometry: body: compute features of the body in its flow; none: the inputs of the data as they are. auto: body
            where 3-D cases state their flow.
        radii: Radii of the geometry averages, in body heights.
        potential_flow: Give the model the potential flow past the body.
        max_sources: Panels that represent the body in the features.
        mesh_cues: Let the model see edges and folds of the surface cells (solver meshes have artefacts there).
        hide_cues: How often they are hidden in training, so that CAD triangulations can be predicted too.
        conditions: Named conditions of the cases the model is told; default: all that differ between cases.
        numbers: Named results of the cases that are learnt beside the fields, e.g. cd.
        number_weight: Weight of those in the loss.
        metrics: Further metrics of every field in reports, by name: see meshops.metrics.list_metrics("field", "area").
    """

    fields: tuple[str, ...] | None = None
    nodes: int | None = None
    loss: tuple[str, ...] = ("relative_l2",)
    weights: tuple[float, ...] = (1.0,)
    passes: int = 2
    geometry: Literal["auto", "body", "none"] = "auto"
    radii: tuple[float, ...] = (0.04, 0.08, 0.16, 0.32)
    potential_flow: bool = True
    max_sources: int = 2048
    mesh_cues: bool = False
    hide_cues: float = 0.3
    conditions: tuple[str, ...] | None = None
    numbers: tuple[str, ...] = ()
    number_weight: float = 0.1
    metrics: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        for name in self.loss:
            get_loss(name)
        field_metrics(self.metrics)
        at_least("task.passes", self.passes, 1)
        at_least("task.max_sources", self.max_sources, 1)
        if self.nodes is not None and self.nodes < 0:
            raise InputError(f"task.nodes must be positive, or 0 for whole meshes, got {self.nodes}")
        if not self.weights or min(self.weights) < 0 or sum(self.weights) <= 0:
            raise InputError(f"task.weights must not be negative and not all 0, got {list(self.weights)}")
        if self.radii and min(self.radii) <= 0:
            raise InputError(f"task.radii must be positive, in body heights, got {list(self.radii)}")
        if not 0 <= self.hide_cues <= 1:
            raise InputError(f"task.hide_cues is a share of the steps in [0, 1], got {self.hide_cues}")
        if self.number_weight < 0:
            raise InputError(f"task.number_weight must not be negative, got {self.number_weight}")

    def features(self, flow: FlowConditions) -> FeatureSpec:
        """Features of a body in a flow."""
        return FeatureSpec(
            radii=self.radii, potential_flow=self.potential_flow, max_sources=self.max_sources,
            mesh_cues=self.mesh_cues, reynolds=flow.viscosity > 0,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class FieldsSpec(Spec):
    """What is learnt. Plain values: it goes into the checkpoint as it is.

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
        nodes: Nodes per training subset; 0: whole meshes.
        loss, weights: Of each field, or one for all.
        number_weight: Weight of the numbers in the loss.
        metrics: Further metrics of every field in reports.
        hide: How often the features of the mesh itself are hidden in training.
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
    nodes: int = 0
    loss: tuple[str, ...] = ("relative_l2",)
    weights: tuple[float, ...] = (1.0,)
    number_weight: float = 0.1
    metrics: tuple[str, ...] = ()
    hide: float = 0.0

    def __post_init__(self) -> None:
        """Check that roles, losses and weights fit the fields."""
        for role in ROLES:
            name = getattr(self, role)
            if name is not None and name not in self.fields:
                raise InputError(f"{role} field '{name}' is not among the fields; fields: {listing(self.fields)}")
        for what, given in (("loss", self.loss), ("weights", self.weights)):
            if len(given) not in (1, len(self.fields)):
                raise InputError(
                    f"task.{what} has {len(given)} entries for {len(self.fields)} fields ({listing(self.fields)}); "
                    "give one for all, or one per field"
                )

    @property
    def channels(self) -> int:
        """Output channels of the model."""
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

    def model_arguments(self) -> dict[str, Plain]:
        """What models want to know."""
        width = len(self.feature_names()) + len(self.conditions)
        return {"in_channels": width, "out_channels": self.channels, "pos_dim": self.dim, "dim": self.dim}

    def named(self, quantity: str) -> str:
        """A condition or number with its unit: ``speed [m/s]``."""
        units = dict(zip((*self.conditions, *self.numbers), self.quantity_units, strict=False))
        return f"{quantity} [{units[quantity]}]" if units.get(quantity) else quantity

    def short(self, name: str) -> str:
        """Name of a field in tables: its role, else its own."""
        return next((role for role in ROLES if getattr(self, role) == name), name)

    def per_field(self, values: tuple[Plain, ...]) -> dict[str, Plain]:
        """One value for each field, of one per field or one for all."""
        given = values * (len(self.fields) if len(values) == 1 else 1)
        return dict(zip(self.fields, given, strict=True))

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

    def to_dict(self) -> dict[str, Plain]:
        """Plain values for a checkpoint."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Plain]) -> Self:
        """Inverse of :meth:`to_dict`."""
        flow, features = values["flow"], values["features"]
        assert isinstance(flow, dict)
        made: dict[str, object] = {"flow": FlowConditions.from_dict(flow), "features": None}
        if isinstance(features, dict):
            made["features"] = FeatureSpec.from_dict(features)
        plain = super().from_dict({key: value for key, value in values.items() if key not in made})
        return replace(plain, **made)  # type: ignore[arg-type]
