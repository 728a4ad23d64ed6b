"""A fit that goes on from a surrogate of other data: as it is, all weights, low-rank changes, trees of the new cases.

These are compared by cross-validation over the learning cases and blended (:mod:`meshops.training.adapt`). The result
stands beside the candidates that learnt from nothing; what it sees of a case is what it saw of its own data.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meshops.errors import InputError
from meshops.selection.search import Candidate, Found, Search
from meshops.surrogate import load
from meshops.tasks.base import Context
from meshops.tasks.fields import FieldsTask
from meshops.tasks.fields_begun import begun_samples
from meshops.tasks.fields_samples import FieldsSamples
from meshops.tasks.fields_spec import FieldsSettings
from meshops.training.adapt import Choice, adapted

CONTINUED = "continued"


@dataclass(frozen=True, eq=False)
class Started:
    """What going on came to.

    Attributes:
        task: The surrogate that learnt from the new cases too.
        samples: These, as it sees them.
        choice: What cross-validation chose.
    """

    task: FieldsTask
    samples: FieldsSamples
    choice: Choice

    @property
    def errors(self) -> NDArray[np.float64]:
        """``[1, fields]`` held-out errors of the best single way."""
        best = min(self.choice.errors.values(), key=sum)
        return np.array([best])


def fields_of(path: str) -> tuple[str, ...]:
    """Fields of a checkpoint.

    Raises:
        InputError: It is of another kind.
    """
    task = load(path).task
    if not isinstance(task, FieldsTask):
        raise InputError(f"--start {path}: holds a surrogate of kind '{task.kind}'; give one of kind 'fields'")
    return task.spec.fields


def started(path: str, search: Search, learning: object) -> Started:
    """Go on from a checkpoint with the learning cases.

    Args:
        path: Checkpoint of a surrogate of fields.
        search: Where progress goes.
        learning: The cases.

    Raises:
        InputError: It is of another kind, or the cases lack its fields; there are fewer than two.
    """
    begun = load(path).task
    assert isinstance(begun, FieldsTask), "fields_of was asked first"
    context = Context(start=begun, console=search.console)
    samples = begun_samples(learning, FieldsSettings(), context)  # type: ignore[arg-type]
    search.console.print(f"going on from {path}: {', '.join(samples.notes())}")
    task, choice = adapted(begun, samples, progress=lambda line: search.console.print(f"  {line}"))
    for line in choice.lines(samples.spec.fields):
        search.console.print(f"  {line}")
    task.reference = None
    return Started(task.eval(), samples, choice)


def join(found: Found, made: Started) -> bool:
    """Put what was tried among the candidates; whether going on is better than all that learnt from nothing."""
    for (way, steps), errors in made.choice.errors.items():
        name = f"{CONTINUED}: {way}" + (f", {steps} steps" if steps else "")
        found.candidates.append(Candidate(name, np.array([errors]), []))
    found.candidates.sort(key=lambda c: (not np.isfinite(c.score), c.score))
    best = float(made.errors.mean())
    if not best < found.score:
        return False
    found.score = best
    found.blend = {
        f"{CONTINUED}: {way}" + (f", {steps} steps" if steps else ""): np.array(weights)
        for (way, steps), weights in made.choice.weights.items()
    }
    return True
