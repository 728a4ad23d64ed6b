"""A model from the ``model:`` block of a run, told the sizes of the data, if it takes what they offer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from meshops.errors import InputError, listing
from meshops.models import create_model, list_models, model_arguments, model_takes
from meshops.tasks.base import Made, Plain


def check_takes(name: str, offers: frozenset[str]) -> None:
    """Refuse a model that cannot work on what the data offer.

    Raises:
        InputError: No such model, or one that takes something else; the message lists those that fit.
    """
    takes = model_takes(name)
    if not takes & offers:
        able = [other for other in list_models() if model_takes(other) & offers]
        raise InputError(
            f"model '{name}' takes {' or '.join(sorted(takes))}, and these data give {' or '.join(sorted(offers))}; "
            f"use one of {listing(able, 40)}"
        )


def build_model(
    settings: Mapping[str, object], known: Mapping[str, Plain], offers: frozenset[str]
) -> tuple[nn.Module, Made]:
    """Model from ``{name: ..., argument: ...}`` with the sizes the data have.

    Args:
        settings: The ``model:`` block.
        known: What models may want to know, by the names of their arguments; ``settings`` come first.
        offers: What the data can give to a model.

    Raises:
        InputError: No name, no such model or argument, or a model that takes something else.
    """
    given = dict(settings)
    name = given.pop("name", None)
    if not isinstance(name, str):
        raise InputError("model.name is missing; e.g. model: {name: mspt, depth: 4}")
    check_takes(name, offers)
    allowed = model_arguments(name)
    arguments: dict[str, Any] = {**{key: value for key, value in known.items() if key in allowed}, **given}
    return create_model(name, **arguments), Made(name, arguments)
