"""Which implementation of an operation runs: decided here and nowhere else.

An operation is defined by its readable PyTorch version. Faster versions register themselves with a test of
whether they apply to the given arguments; the first that applies runs. ``MESHOPS_KERNELS=reference`` turns
all of them off, ``explain(operation, ...)`` says what would run and why.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, ParamSpec, TypeVar

from meshops.errors import InputError

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Kernel:
    """One faster implementation: ``applies(*args)`` returns an empty string or the reason why not."""

    name: str
    applies: Callable[..., str]
    function: Callable[..., Any]


class Operation(Generic[P, R]):
    """A function with a defining PyTorch version and registered faster versions."""

    def __init__(self, reference: Callable[P, R]) -> None:
        self.reference = reference
        self.kernels: list[Kernel] = []
        functools.update_wrapper(self, reference)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the first version that applies."""
        for kernel in self._enabled():
            if not kernel.applies(*args, **kwargs):
                result: R = kernel.function(*args, **kwargs)
                return result
        return self.reference(*args, **kwargs)

    def kernel(self, name: str, applies: Callable[..., str]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Decorator that registers a faster version."""

        def register(function: Callable[..., Any]) -> Callable[..., Any]:
            self.kernels.append(Kernel(name, applies, function))
            return function

        return register

    def explain(self, *args: Any, **kwargs: Any) -> str:
        """What would run for these arguments, and why the others would not."""
        lines = []
        for kernel in self.kernels:
            reason = "MESHOPS_KERNELS=reference" if not self._enabled() else kernel.applies(*args, **kwargs)
            lines.append(f"{kernel.name}: {reason or 'runs'}")
            if not reason:
                return "; ".join(lines)
        return "; ".join([*lines, "reference (PyTorch): runs"])

    def _enabled(self) -> list[Kernel]:
        choice = os.environ.get("MESHOPS_KERNELS", "auto")
        if choice not in ("auto", "reference"):
            raise InputError(f"MESHOPS_KERNELS must be 'auto' or 'reference', got '{choice}'")
        return self.kernels if choice == "auto" else []


def operation(reference: Callable[P, R]) -> Operation[P, R]:
    """Turn the defining PyTorch version into an operation that faster versions can join."""
    return Operation(reference)


def explain(op: Operation[..., Any], *args: Any, **kwargs: Any) -> str:
    """See :meth:`Operation.explain`."""
    return op.explain(*args, **kwargs)
