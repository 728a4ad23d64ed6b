"""What a run leaves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

S = TypeVar("S")


@dataclass(frozen=True, eq=False)
class RunResult(Generic[S]):
    """What a run leaves.

    Attributes:
        folder: The run's folder.
        surrogate: The trained surrogate, also in ``folder / "model.ckpt"``.
        metrics: Content of ``metrics.json``.
    """

    folder: Path
    surrogate: S
    metrics: dict[str, Any]
