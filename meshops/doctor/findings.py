"""What the doctor says: one finding, its weight, its evidence and its cure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Severity = Literal["problem", "hint"]


@dataclass(frozen=True)
class Finding:
    """One thing that is, or may be, wrong.

    Attributes:
        kind: Short name of what it is: ``duplicate``, ``turned``, ...; the how-to on ``look`` has a paragraph on each.
        severity: ``problem``: learning from it as it is would be wrong. ``hint``: worth a look.
        what: What is wrong, in a sentence.
        evidence: The numbers that say so.
        cure: What to do.
        case: Name of the case; empty: the set as a whole.
        others: Further cases concerned: the original of a copy, the partner of a swap.
        field: Field or column concerned; empty: none.
    """

    kind: str
    severity: Severity
    what: str
    evidence: str = ""
    cure: str = ""
    case: str = ""
    others: tuple[str, ...] = ()
    field: str = ""

    @property
    def cases(self) -> tuple[str, ...]:
        """All cases concerned."""
        return tuple(name for name in (self.case, *self.others) if name)

    def __str__(self) -> str:
        """One line for the terminal."""
        where = f"{self.case}: " if self.case else ""
        evidence = f" ({self.evidence})" if self.evidence else ""
        cure = f"; {self.cure}" if self.cure else ""
        return f"{where}{self.what}{evidence}{cure}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def problems(findings: Sequence[Finding]) -> list[Finding]:
    """The findings that are no mere hints."""
    return [finding for finding in findings if finding.severity == "problem"]
