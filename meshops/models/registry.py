"""Models by name: published sizes are small functions that say which table they come from."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from fnmatch import fnmatch
from typing import Any, TypeVar

from torch import nn

from meshops.errors import InputError, did_you_mean, listing

F = TypeVar("F", bound=Callable[..., nn.Module])
_MODELS: dict[str, Callable[..., nn.Module]] = {}


def register_model(function: F) -> F:
    """Decorator: make a function (or a class) that returns a module available by its name in lower case."""
    _MODELS[function.__name__.lower()] = function
    return function


def list_models(pattern: str = "*", *, published: bool | None = None) -> list[str]:
    """Registered names that match a pattern such as ``"mspt_*"``, sorted.

    Args:
        pattern: With ``*`` and ``?``.
        published: True: only published sizes of an architecture; False: only the architectures; None: both.
    """
    chosen = (name for name, maker in _MODELS.items() if published in (None, _is_size(name, maker)))
    return sorted(name for name in chosen if fnmatch(name, pattern))


def create_model(name: str, **arguments: Any) -> nn.Module:
    """Build a registered model.

    Args:
        name: See :func:`list_models`.
        **arguments: Constructor arguments of the architecture; for a published size, changes to it.

    Raises:
        InputError: Unknown name or unknown argument; the message lists the allowed ones.
    """
    maker = _registered(name)
    allowed = _arguments(maker)
    unknown = [key for key in arguments if key not in allowed]
    if unknown:
        hint = did_you_mean(unknown[0], allowed)
        raise InputError(f"model '{name}' has no argument {listing(unknown)}; {hint}allowed: {listing(allowed, 40)}")
    return maker(**arguments)


def model_arguments(name: str) -> list[str]:
    """Names of the arguments a registered model takes.

    Raises:
        InputError: Unknown name.
    """
    return _arguments(_registered(name))


def model_takes(name: str) -> frozenset[str]:
    """What a registered model can work on: ``"points"``, ``"graph"``, ``"grid"``, ...

    Raises:
        InputError: Unknown name.
    """
    maker: Any = _registered(name)
    if not inspect.isclass(maker):
        maker = inspect.signature(maker, eval_str=True).return_annotation
    takes: frozenset[str] = getattr(maker, "takes", frozenset())
    return takes


def _is_size(name: str, maker: Callable[..., nn.Module]) -> bool:
    """A function that is not just another way to make the architecture it returns."""
    if inspect.isclass(maker):
        return False
    returned: type = inspect.signature(maker, eval_str=True).return_annotation
    return returned.__name__.lower() != name


def _registered(name: str) -> Callable[..., nn.Module]:
    if name not in _MODELS:
        hint = did_you_mean(name, _MODELS)
        raise InputError(f"unknown model '{name}'; {hint}registered: {listing(list_models())}")
    return _MODELS[name]


def _arguments(function: Callable[..., nn.Module]) -> list[str]:
    """Names a model accepts; a published size passes its changes on to the class it returns."""
    parameters = inspect.signature(function).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        returned = inspect.signature(function, eval_str=True).return_annotation
        return _arguments(returned)
    return [p.name for p in parameters if p.name != "self"]
