"""What a surrogate says of one case: fields on its own nodes or cells, forces, numbers, errors, a verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from meshops.aero.cases import Case
from meshops.aero.forces import Forces
from meshops.tasks.report import Row, shown

if TYPE_CHECKING:
    from meshops.data.cells import Mesh

Level = Literal["inside", "edge", "outside"]


@dataclass(frozen=True)
class Verdict:
    """Where a case lies beside the training set.

    Attributes:
        level: ``"inside"``, ``"edge"`` or ``"outside"`` the training set.
        sentence: The same in words.
        distance: To the nearest training case, in units of the largest such distance within the training set.
        nearest: Name of that case.
        rows: (descriptor, unit, value, training minimum, training maximum, inside).
    """

    level: Level
    sentence: str
    distance: float
    nearest: str
    rows: tuple[tuple[str, str, float, float, float, bool], ...]

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        names = ("descriptor", "unit", "value", "min", "max", "inside")
        table = [dict(zip(names, row, strict=True)) for row in self.rows]
        return {"level": self.level, "sentence": self.sentence, "distance": self.distance,
                "nearest": self.nearest, "descriptors": table}  # fmt: skip


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
        numbers: Learnt results of the case.
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
    numbers: dict[str, float] | None = None
    verdict: Verdict | None = None
    cues: bool = False
    seconds: float = 0.0

    @property
    def mesh(self) -> Mesh:
        """PyVista mesh with the original arrays, ``<field>_predicted`` and, where known, ``<field>_error``."""
        from meshops.data.writers import with_predictions  # importing VTK takes a second

        return with_predictions(self.case.original(), self.fields, association=self.case.location)

    def called(self, number: str) -> str:
        """A number of the tables; told apart from a coefficient of the same name that was integrated."""
        twice = self.forces is not None and number.replace("_", "").casefold() in ("cd", "cl")
        return f"{number} as in the table" if twice else number

    def line(self) -> str:
        """The same in one line, for the terminal."""
        parts = [f"{self.case.rows:,} values a field", f"{self.seconds:.1f} s"]
        if self.forces is not None:
            parts.append(f"Cd {self.forces.cd:.4f}  Cl {self.forces.cl:.4f}")
        parts += [f"{self.called(name)} {value:.4g}" for name, value in (self.numbers or {}).items()]
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
            "numbers": self.numbers or {},
            "true_numbers": self.case.numbers,
            "conditions": self.case.conditions,
            "errors": self.errors,
            "training_set": None if self.verdict is None else self.verdict.to_dict(),
            "notes": list(self.case.notes),
            "mesh_cues": self.cues,
            "seconds": round(self.seconds, 3),
        }
