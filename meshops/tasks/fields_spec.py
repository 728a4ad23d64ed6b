"""What a task of fields learns: settings of a run, and what goes into the checkpoint."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, Self, TypeVar

from meshops.aero.case_spec import CaseSpec
from meshops.aero.conditions import FlowConditions
from meshops.aero.features import FeatureSpec
from meshops.checks import check_amounts, check_counts, check_fractions
from meshops.errors import InputError, listing
from meshops.metrics.fields import field_metrics
from meshops.metrics.losses import get_loss
from meshops.tasks.base import Plain, Spec

T = TypeVar("T")
MOST_PASSES = 1000
GEOMETRIES = ("auto", "body", "none")


@dataclass(frozen=True, kw_only=True)
class FieldsSettings:
    """What is learnt of finished cases.

    Attributes:
        fields: Fields to predict; default: all the data have.
        nodes: Nodes per training subset, and density of prediction; 0: whole meshes. Default: 2048 for bodies, else 0.
        surface_share: Share of each subset that is drawn on the surface, for cases that hold surface and volume;
            default: as the nodes are.
        loss: Loss per field (or one for all): relative_l2, relative_l2_centered, mse, l1, huber.
        weights: Weight per field in the loss.
        passes: Interleavings averaged in a prediction from subsets.
        geometry: body: compute features of the body in its flow; none: the inputs of the data as they are. auto: body
            where 3-D cases state their flow.
        radii: Radii of the geometry averages, in body heights.
        potential_flow: Give the model the potential flow past the body.
        potential_change: And how its pressure changes along the surface, at the radii; on surfaces.
        max_sources: Panels that represent the body in the features.
        mesh_cues: Let the model see edges and folds of the surface cells (solver meshes have artefacts there).
        hide_cues: How often they are hidden in training, so that CAD triangulations can be predicted too.
        conditions: Named conditions of the cases the model is told; default: all that differ between cases.
        numbers: Named results of the cases that are learnt beside the fields, e.g. cd.
        number_weight: Weight of those in the loss.
        shape: Describe the shape of each case by numbers, for models of whole cases (components, blend).
        metrics: Further metrics of every field in reports, by name: see meshops.metrics.list_metrics("field", "area").
        start: Checkpoint to continue from, of the same fields; it decides inputs, features and normalisation.
    """

    fields: tuple[str, ...] | None = None
    nodes: int | None = None
    surface_share: float | None = None
    loss: tuple[str, ...] = ("relative_l2",)
    weights: tuple[float, ...] = (1.0,)
    passes: int = 2
    geometry: Literal["auto", "body", "none"] = "auto"
    radii: tuple[float, ...] = (0.04, 0.08, 0.16, 0.32)
    potential_flow: bool = True
    potential_change: bool = False
    max_sources: int = 2048
    mesh_cues: bool = False
    hide_cues: float = 0.3
    conditions: tuple[str, ...] | None = None
    numbers: tuple[str, ...] = ()
    number_weight: float = 0.1
    shape: bool = False
    metrics: tuple[str, ...] = ()
    start: str = ""

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        for name in self.loss:
            get_loss(name)
        field_metrics(self.metrics)
        check_counts(1, "task.", passes=self.passes, max_sources=self.max_sources)
        check_counts(0, "task.", nodes=self.nodes)
        check_fractions("task.", hide_cues=self.hide_cues)
        if self.surface_share is not None and not 0 < self.surface_share < 1:
            raise InputError(f"task.surface_share must be between 0 and 1, got {self.surface_share:g}")
        check_amounts("task.", number_weight=self.number_weight)
        if self.passes > MOST_PASSES:
            raise InputError(f"task.passes must be at most {MOST_PASSES}, got {self.passes}")
        if not self.loss:
            raise InputError("task.loss must name a loss for all fields, or one per field, got []")
        if not all(0 <= weight < math.inf for weight in self.weights) or not any(self.weights):
            raise InputError(f"task.weights must not be negative and not all 0, got {list(self.weights)}")
        if not all(0 < radius < math.inf for radius in self.radii):
            raise InputError(f"task.radii must be positive, in body heights, got {list(self.radii)}")
        if self.geometry not in GEOMETRIES:
            raise InputError(f"task.geometry must be one of {listing(GEOMETRIES)}, got '{self.geometry}'")

    def features(self, flow: FlowConditions) -> FeatureSpec:
        """Features of a body in a flow."""
        return FeatureSpec(
            radii=self.radii, potential_flow=self.potential_flow, potential_change=self.potential_change,
            max_sources=self.max_sources, mesh_cues=self.mesh_cues, reynolds=flow.viscosity > 0,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class FieldsSpec(CaseSpec, Spec):
    """What is learnt of cases. Plain values: it goes into the checkpoint as it is.

    Attributes:
        nodes: Nodes per training subset; 0: whole meshes.
        surface_share: Of each subset, where cases hold surface and volume.
        loss, weights: Of each field, or one for all.
        number_weight: Weight of the numbers in the loss.
        metrics: Further metrics of every field in reports.
        hide: How often the features of the mesh itself are hidden in training.
    """

    nodes: int = 0
    surface_share: float | None = None
    loss: tuple[str, ...] = ("relative_l2",)
    weights: tuple[float, ...] = (1.0,)
    number_weight: float = 0.1
    metrics: tuple[str, ...] = ()
    hide: float = 0.0

    def __post_init__(self) -> None:
        """Check that losses and weights fit the fields."""
        super().__post_init__()
        for what, given in (("loss", self.loss), ("weights", self.weights)):
            if len(given) not in (1, len(self.fields)):
                raise InputError(
                    f"task.{what} has {len(given)} entries for {len(self.fields)} fields ({listing(self.fields)}); "
                    "give one for all, or one per field"
                )

    def model_arguments(self) -> dict[str, Plain]:
        """What models want to know."""
        width = len(self.feature_names()) + len(self.conditions)
        return {"in_channels": width, "out_channels": self.channels, "pos_dim": self.dim, "dim": self.dim}

    def per_field(self, values: tuple[T, ...]) -> dict[str, T]:
        """One value for each field, of one per field or one for all."""
        return dict(zip(self.fields, values * (len(self.fields) if len(values) == 1 else 1), strict=True))

    @classmethod
    def from_dict(cls, values: Mapping[str, Plain]) -> Self:
        """Inverse of :meth:`to_dict`."""
        flow, features = values["flow"], values["features"]
        assert isinstance(flow, dict)
        plain = super().from_dict({key: value for key, value in values.items() if key not in ("flow", "features")})
        made = FeatureSpec.from_dict(features) if isinstance(features, dict) else None
        return replace(plain, flow=FlowConditions.from_dict(flow), features=made)
