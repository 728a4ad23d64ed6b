"""Metrics by name: register one, get one, list them.

    @register_metric("p95", unit="field", needs="field")
    def p95(prediction: Tensor, truth: Tensor) -> float: ...

A task of fields computes registered ones beside its own when asked: ``task: {metrics: [p95]}`` adds ``<field>_p95`` to
the report.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args

from meshops.errors import InputError, did_you_mean, listing

Better = Literal["lower", "higher"]
Needs = Literal["field", "area", "grid", "ensemble", "series", "cases", "features"]
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Metric:
    """A metric by name.

    Attributes:
        name: As in reports.
        function: What computes it; its arguments follow from ``needs``.
        unit: ``""`` for a pure number, ``"field"`` for the unit of the field.
        better: Which values are better.
        needs: ``"field"``: ``(prediction, truth)``, both ``[n]`` or ``[n, k]``, gives a float, NaN where it is not
            defined. ``"area"``: ``(prediction, truth, area [n])`` likewise. ``"grid"``: ``(prediction, truth, dim=)``.
            ``"ensemble"``: ``(samples [k, ...], truth)``. ``"series"``: ``(prediction, truth, axes=)``. ``"cases"``:
            two sequences of numbers, one per case. ``"features"``: two sets ``[m, f]``.
    """

    name: str
    function: Callable[..., Any]
    unit: str = ""
    better: Better = "lower"
    needs: Needs = "field"

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """What :attr:`function` returns."""
        return self.function(*arguments, **options)


_METRICS: dict[str, Metric] = {}


def register_metric(name: str, *, unit: str = "", better: Better = "lower", needs: Needs = "field") -> Callable[[F], F]:
    """Decorator: make a function available as a metric; see :class:`Metric` for the arguments.

    Raises:
        InputError: An unknown direction or need.
    """
    for what, value, allowed in (("better", better, get_args(Better)), ("needs", needs, get_args(Needs))):
        if value not in allowed:
            raise InputError(f"{what} of the metric '{name}' must be one of {listing(allowed)}, got '{value}'")

    def register(function: F) -> F:
        _METRICS[name] = Metric(name, function, unit, better, needs)
        return function

    return register


def list_metrics(*needs: Needs) -> list[str]:
    """Registered names, sorted; those with one of the given needs where any is given."""
    return sorted(name for name, metric in _METRICS.items() if not needs or metric.needs in needs)


def get_metric(name: str) -> Metric:
    """Metric by name.

    Raises:
        InputError: Unknown name; lists those there are.
    """
    if name not in _METRICS:
        raise InputError(
            f"unknown metric '{name}'; {did_you_mean(name, _METRICS)}registered: {listing(list_metrics(), 40)}"
        )
    return _METRICS[name]
