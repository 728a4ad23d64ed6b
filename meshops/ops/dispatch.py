"""Which implementation of an operation runs: decided here and nowhere else.

An operation is defined by its readable PyTorch version. Faster versions register themselves with a test of
whether they apply to the given arguments; the first that applies runs. ``MESHOPS_KERNELS=reference`` turns
all of them off, ``explain(operation, ...)`` says what would run and why.

An operation with a ``schema`` is also an operator of ``torch.library`` (``torch.ops.meshops.<name>``): opaque to
``torch.compile``, which therefore does not break the graph, whatever runs inside.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, ParamSpec, TypeVar, overload

import torch

from meshops.errors import InputError

P = ParamSpec("P")
R = TypeVar("R")
_plain = False


@contextmanager
def definitions() -> Iterator[None]:
    """Operations are their definitions and no operators: what is traced meanwhile holds operators of PyTorch alone.

    For the whole process, so that traces see a plain value.
    """
    global _plain
    before, _plain = _plain, True
    try:
        yield
    finally:
        _plain = before


@dataclass(frozen=True)
class Kernel:
    """One faster implementation: ``applies(*args)`` returns an empty string or the reason why not."""

    name: str
    applies: Callable[..., str]
    function: Callable[..., Any]


class Operation(Generic[P, R]):
    """A function with a defining PyTorch version and registered faster versions.

    Args:
        reference: The definition.
        schema: Arguments and results in the language of ``torch.library``, e.g. ``(Tensor x) -> Tensor``; makes the
            operation an operator of PyTorch.
        fake: Same arguments; returns empty results of the right shape, for tracing. Needed with ``schema``.
        check: Same arguments; raises ``InputError`` for what no version may be given.
    """

    def __init__(
        self,
        reference: Callable[P, R],
        *,
        schema: str = "",
        fake: Callable[..., Any] | None = None,
        check: Callable[..., None] | None = None,
    ) -> None:
        self.reference = reference
        self.kernels: list[Kernel] = []
        self.check = check
        self.operator: Any = None
        functools.update_wrapper(self, reference)
        if schema:
            assert fake is not None, "an operator needs a fake version"
            name = f"meshops::{reference.__name__.lstrip('_')}"
            self.operator = torch.library.custom_op(name, self.run, mutates_args=(), schema=schema)
            self.operator.register_fake(fake)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the first version that applies."""
        if _plain:
            return self.reference(*args, **kwargs)
        result: R = (self.operator or self.run)(*args, **kwargs)
        return result

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Check the arguments and run the first version that applies, without autograd and tracing."""
        if self.check is not None:
            self.check(*args, **kwargs)
        for kernel in self._enabled():
            if not kernel.applies(*args, **kwargs):
                return kernel.function(*args, **kwargs)
        return self.reference(*args, **kwargs)

    def kernel(self, name: str, applies: Callable[..., str]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Decorator that registers a faster version."""

        def register(function: Callable[..., Any]) -> Callable[..., Any]:
            self.kernels.append(Kernel(name, applies, function))
            return function

        return register

    def autograd(self, setup_context: Callable[..., None], backward: Callable[..., Any]) -> None:
        """Gradient of an operator, as in ``torch.library.register_autograd``."""
        self.operator.register_autograd(backward, setup_context=setup_context)

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


@overload
def operation(reference: Callable[P, R]) -> Operation[P, R]: ...


@overload
def operation(
    *, schema: str = "", fake: Callable[..., Any] | None = None, check: Callable[..., None] | None = None
) -> Callable[[Callable[P, R]], Operation[P, R]]: ...


def operation(reference: Callable[P, R] | None = None, **settings: Any) -> Any:
    """Turn the defining PyTorch version into an operation that faster versions can join, see :class:`Operation`."""
    if reference is not None:
        return Operation(reference)
    return functools.partial(Operation, **settings)


def front(op: Operation[..., Any]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Mark the public function in front of an operation, so that :func:`explain` takes it."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        function.operation = op  # type: ignore[attr-defined]
        return function

    return decorate


def explain(op: Any, *args: Any, **kwargs: Any) -> str:
    """What would run for these arguments, and why the others would not.

    Args:
        op: A function of :mod:`meshops.ops`.
        *args: Arguments of the call; the first tensor decides.
        **kwargs: Arguments of the call.

    Example:
        >>> explain(segment_sum, torch.rand(4, 2), torch.tensor([0, 4]))
        'numba: runs'
    """
    answer: str = getattr(op, "operation", op).explain(*args, **kwargs)
    return answer
