"""Settings of a fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from meshops.checks import check_counts, check_fractions
from meshops.errors import InputError, listing
from meshops.models import model_takes


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """How a surrogate is sought.

    Attributes:
        minutes: On two cores of a nominal machine; a faster one is done earlier, a much slower one learns less.
        out: Folder of the run.
        seed: Of all that is random.
        test: Share of the cases that judge the winner and choose nothing, or their names; 0: none.
        groups: Group of each case by name: cases of a group stay together; empty: each is its own.
        fields: Fields to predict; None: all.
        conditions: Named conditions the surrogate is told; None: all that differ between cases.
        numbers: Named results to find; None: all that every case has and that differ.
        geometry: ``"body"``: features of the body in its flow; ``"none"``; ``"auto"``: where the flow is stated.
        start: Checkpoint of a surrogate of other data with the same fields, to go on from; empty: none.
        networks: Names of registered models that may be tried; None: those that suit the data; (): none.
        store: For the cases of a study: auto, off, or a folder; see :class:`meshops.training.DataConfig`.
    """

    minutes: float = 20.0
    out: str = "runs/fit"
    seed: int = 0
    test: float | tuple[str, ...] = 0.2
    groups: tuple[tuple[str, str], ...] = ()
    fields: tuple[str, ...] | None = None
    conditions: tuple[str, ...] | None = None
    numbers: tuple[str, ...] | None = None
    geometry: Literal["auto", "body", "none"] = "auto"
    start: str = ""
    networks: tuple[str, ...] | None = None
    store: str = "auto"

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        if not 0 < self.minutes < float("inf"):
            raise InputError(f"minutes must be positive, got {self.minutes}")
        check_counts(0, seed=self.seed)
        if isinstance(self.test, float | int):
            check_fractions(test=self.test)
        for name in self.networks or ():
            model_takes(name)  # refuses one that is not registered, before an hour went by

    def judges(self, cases: Sequence[str]) -> float | list[int]:
        """What :func:`meshops.selection.split_cases` takes: the share, or the places of the named cases.

        Raises:
            InputError: There is no case of a name.
        """
        if isinstance(self.test, float | int):
            return float(self.test)
        unknown = [name for name in self.test if name not in cases]
        if unknown:
            raise InputError(f"no case {listing(unknown)} to test on; cases: {listing(cases)}")
        return [list(cases).index(name) for name in self.test]

    def group_of(self, cases: Sequence[str]) -> list[str]:
        """Group of each case."""
        known = dict(self.groups)
        return [known.get(case, case) for case in cases]
