"""What a surrogate says of one case: fields on its own nodes or cells, forces, numbers, errors, a verdict."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from meshops.aero.cases import Case
from meshops.aero.forces import Forces
from meshops.aero.frame import Frame
from meshops.data.mesh_graph import MeshGraph
from meshops.tasks.report import Row, shown

if TYPE_CHECKING:
    from meshops.data.cells import Mesh

Level = Literal["inside", "edge", "outside"]


@dataclass(frozen=True)
class Estimate:
    """A number of a case with its interval.

    Attributes:
        value: Best estimate.
        low, high: Ends of the interval; None: the surrogate is not calibrated for it.
        level: Share of new cases whose true number lies in such an interval; None without one.
        unit: Of all three.
        basis: What it rests on, in words.
        constant: The mean of the training, which any estimate has to beat; None: not known.
        place: Where a largest or smallest value lies, in coordinates of the file; None for others.
        within: The true place lies this near with the same level, in the unit of the file.
        true: The number as the file has it, where it does.
    """

    value: float
    low: float | None = None
    high: float | None = None
    level: float | None = None
    unit: str = ""
    basis: str = ""
    constant: float | None = None
    place: tuple[float, ...] | None = None
    within: float | None = None
    true: float | None = None

    def __str__(self) -> str:
        """Value and interval, as many digits as the interval is worth."""
        if self.low is None or self.high is None:
            return f"{self.value:.4g}"
        half = (self.high - self.low) / 2
        if not half > 0:
            return f"{self.value:.4g}"
        values = self.value, self.low, self.high
        digits = 1 - math.floor(math.log10(half))  # behind the point: two of the half width
        power = math.floor(math.log10(max(map(abs, values))))
        if power < 6 and digits <= 6:
            shown = [f"{round(x, digits):.{max(0, digits)}f}" for x in values]
        else:
            shown = [f"{x / 10.0**power:.{max(0, power + digits)}f}e{power}" for x in values]
        return "{} ({} to {})".format(*shown)

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON; what does not apply is left out."""
        out = {key: getattr(self, key) for key in ("value", "low", "high", "level", "unit")}
        more = {key: getattr(self, key) for key in ("basis", "constant", "place", "within", "true")}
        return out | {key: value for key, value in more.items() if value not in (None, "")}


@dataclass(frozen=True)
class Verdict:
    """Where a case lies beside the training set.

    Attributes:
        level: ``"inside"``, ``"edge"`` or ``"outside"`` the training set.
        sentence: The same in words.
        distance: To the nearest training case, in units of the largest such distance within the training set.
        nearest: Name of that case.
        rows: (descriptor, unit, value, training minimum, training maximum, inside).
        expected: The error that cases so placed had, in words; empty: not known.
        reach: The distance, and how far numbers lie out of range: what errors are expected to grow with.
    """

    level: Level
    sentence: str
    distance: float
    nearest: str
    rows: tuple[tuple[str, str, float, float, float, bool], ...]
    expected: str = ""
    reach: float = 0.0

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        names = ("descriptor", "unit", "value", "min", "max", "inside")
        table = [dict(zip(names, row, strict=True)) for row in self.rows]
        return {"level": self.level, "sentence": self.sentence, "distance": self.distance,
                "nearest": self.nearest, "expected": self.expected, "descriptors": table}  # fmt: skip


@dataclass(frozen=True, eq=False)
class RawFields:
    """What a model says of one case, before units and axes of the file.

    Attributes:
        case: As opened.
        prepared: What the model saw.
        frame: Of the body; None for others.
        values: ``[n, c]`` normalised fields at the nodes.
        spread: ``[n, c]`` standard deviation of the members of a blend; zeros for other models.
        cues: Features of the mesh itself were used.
        seconds: Time it took.
    """

    case: Case
    prepared: MeshGraph
    frame: Frame | None
    values: Tensor
    spread: Tensor
    cues: bool
    seconds: float


@dataclass(frozen=True, eq=False)
class Prediction:
    """Fields on the original nodes or cells of one case, and what follows from them.

    Attributes:
        case: The case as it was opened: mesh, arrays, geometry.
        fields: Predicted values per cell or point of ``case.mesh`` (node of ``case.graph`` without one), physical
            units, axes of the file.
        truth: True values where the case has them.
        errors: Relative L2, MAE and R2 per field, where the truth is known.
        forces: Integrated prediction (surface with pressure in a stated flow), else None.
        true_forces: The same for the truth.
        numbers: Results of the case, coefficients of its forces among them.
        peaks: Largest and smallest values of its fields: ``max <field>``, ``min <field>``, ``max |<field>|``.
        widths: Half width of the interval of each field, as ``fields``: the true value (of a vector: its tip) is so
            near at the share ``level`` of the nodes; empty: not calibrated.
        level: Of the intervals; None: not calibrated.
        verdict: Place of the case relative to the training set; None where that is not known.
        cues: Features of the mesh itself were used.
        seconds: Time of reading, features and network.
    """

    case: Case
    fields: dict[str, NDArray[np.float32]]
    truth: dict[str, NDArray[np.float32]]
    errors: dict[str, Row]
    forces: Forces | None = None
    true_forces: Forces | None = None
    numbers: dict[str, Estimate] = field(default_factory=dict)
    peaks: dict[str, Estimate] = field(default_factory=dict)
    widths: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    level: float | None = None
    verdict: Verdict | None = None
    cues: bool = False
    seconds: float = 0.0

    @property
    def mesh(self) -> Mesh:
        """PyVista mesh with the original arrays, ``<field>_predicted`` and, where known, ``_error`` and ``_width``."""
        from meshops.data.writers import with_predictions  # importing VTK takes a second

        out = with_predictions(self.case.original(), self.fields, association=self.case.location)
        there = out.cell_data if self.case.location == "cell" else out.point_data
        for name, width in self.widths.items():
            there[f"{name}_width"] = width
        return out

    def line(self) -> str:
        """The same in one line, for the terminal."""
        parts = [f"{self.case.rows:,} values a field", f"{self.seconds:.1f} s"] if self.fields else []
        parts += [f"{name} {number}" for name, number in self.numbers.items()]
        if self.level is not None:
            parts.append(f"intervals of {100 * self.level:.0f} %")
        if self.verdict is not None:
            level = self.verdict.level
            parts.append("edge of the training set" if level == "edge" else f"{level} the training set")
        for name, errors in self.errors.items():
            error = errors["rel_l2"]
            known = f"MAE {shown(errors['mae'])}" if error is None else f"error {100 * error:.1f} %"
            parts.append(f"{name} {known}")
        return ", ".join(parts)

    def to_dict(self) -> dict[str, object]:
        """Numbers for JSON: forces, errors, place in the training set."""
        return {
            "file": self.case.label,
            "nodes": self.case.rows,
            "forces": None if self.forces is None else self.forces.to_dict(),
            "forces_of_true_fields": None if self.true_forces is None else self.true_forces.to_dict(),
            "numbers": {name: number.to_dict() for name, number in self.numbers.items()},
            "peaks": {name: peak.to_dict() for name, peak in self.peaks.items()},
            "level": self.level,
            "true_numbers": self.case.numbers,
            "conditions": self.case.conditions,
            "errors": self.errors,
            "training_set": None if self.verdict is None else self.verdict.to_dict(),
            "notes": list(self.case.notes),
            "mesh_cues": self.cues,
            "seconds": round(self.seconds, 3),
        }
