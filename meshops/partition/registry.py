"""Partitioners by name: register one, make one, list them.

    @register_partitioner("my_cells")
    class MyCells(BaseTransform): ...

The command line (``meshops partition --method``), MSPT (``patching``) and GraphViT (``clustering``) choose by these
names.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from meshops.errors import InputError, did_you_mean, listing

Needs = Literal["positions", "edges"]
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Registered:
    """A partitioner by name.

    Attributes:
        maker: Class or function that takes ``patch_size``, ``num_patches`` and options, and returns a transform.
        needs: ``"positions"``: its method ``partition(pos, ptr)`` cuts by positions alone; ``"edges"``: the graph needs
            edges.
    """

    maker: Callable[..., Any]
    needs: Needs = "positions"


_PARTITIONERS: dict[str, Registered] = {}


def register_partitioner(name: str, *, needs: Needs = "positions") -> Callable[[F], F]:
    """Decorator: make a partitioner available by its name.

    Args:
        name: In lower case with ``_``.
        needs: See :class:`Registered`.
    """

    def register(maker: F) -> F:
        _PARTITIONERS[name] = Registered(maker, needs)
        return maker

    return register


def list_partitioners(needs: Needs | None = None) -> list[str]:
    """Registered names, sorted; those that need just this where it is given."""
    return sorted(name for name, known in _PARTITIONERS.items() if needs in (None, known.needs))


def partitioner_needs(name: str) -> Needs:
    """What a partitioner needs of a graph.

    Raises:
        InputError: Unknown name.
    """
    return _registered(name).needs


def create_partitioner(
    name: str, *, patch_size: int | None = None, num_patches: int | None = None, **options: Any
) -> Any:
    """Partitioner by name, a PyG transform.

    Args:
        name: One of :func:`list_partitioners`.
        patch_size: Largest number of nodes in a patch.
        num_patches: Number of patches per graph, instead.
        **options: Further arguments of the partitioner.

    Raises:
        InputError: Unknown name or option, or numbers it cannot make; says what is allowed.

    Example:
        >>> create_partitioner("hilbert", patch_size=64)
        CurvePatches(patch_size=64, curve='hilbert')
    """
    maker = _registered(name).maker
    allowed = [key for key in inspect.signature(maker).parameters if key not in ("patch_size", "num_patches")]
    unknown = [key for key in options if key not in allowed]
    if unknown:
        raise InputError(f"partitioner '{name}' has no option {listing(unknown)}; it takes {listing(allowed)}")
    return maker(patch_size=patch_size, num_patches=num_patches, **options)


def create_positional(
    name: str, *, patch_size: int | None = None, num_patches: int | None = None, **options: Any
) -> Any:
    """:func:`create_partitioner` for models, which have positions alone: ``partition(pos, ptr)`` works.

    Raises:
        InputError: Also where the partitioner needs edges.
    """
    if partitioner_needs(name) != "positions":
        able = listing(list_partitioners("positions"), 40)
        raise InputError(f"partitioner '{name}' needs edges, and models cut by positions alone; use one of {able}")
    return create_partitioner(name, patch_size=patch_size, num_patches=num_patches, **options)


def _registered(name: str) -> Registered:
    if name not in _PARTITIONERS:
        hint = did_you_mean(name, _PARTITIONERS)
        raise InputError(f"unknown partitioner '{name}'; {hint}registered: {listing(list_partitioners(), 40)}")
    return _PARTITIONERS[name]
