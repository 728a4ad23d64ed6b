"""Tensors that take long to make, kept in a file that is bound to all they were made of."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from meshops.errors import CheckpointError, first_line
from meshops.io import replacing
from meshops.tensor_files import load_tensors

FORMAT = "meshops-tensors"


def cached_tensors(
    path: Path,
    made_of: Mapping[str, str],
    make: Callable[[], dict[str, Tensor]],
    *,
    what: str,
    reuse: bool = True,
) -> dict[str, Tensor]:
    """Tensors by name, read from ``path`` or made and written there.

    Args:
        path: The file.
        made_of: Ingredient, as in "of another mesh" -> what tells it from others, such as a hash.
        make: Makes the tensors.
        what: Their name in messages.
        reuse: Read the file if it is there; else it is written anew.

    Raises:
        CheckpointError: The file is damaged, no cache, or was made of something else.
    """
    if reuse and path.exists():
        return _read(path, made_of, what)
    tensors = make()
    with replacing(path) as partial:
        torch.save({"format": FORMAT, "made_of": dict(made_of), "tensors": tensors}, partial)
    return tensors


def fingerprint(words: object, tensors: Iterable[tuple[str, Tensor]]) -> str:
    """Hash of what is printed of ``words`` and of the bits of tensors with their names."""
    digest = hashlib.sha256(repr(words).encode())
    for name, value in tensors:
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _read(path: Path, made_of: Mapping[str, str], what: str) -> dict[str, Tensor]:
    try:
        content = load_tensors(path)
    except Exception as error:  # torch raises many kinds here, none of them documented
        raise CheckpointError(f"{path}: not a readable cache of {what} ({first_line(error)})") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{path}: not a cache of {what}; remove it to make them anew")
    for name, value in made_of.items():
        if content["made_of"].get(name) != value:
            raise CheckpointError(
                f"{path}: holds {what} of {name} and cannot be used here; remove it to make them anew"
            )
    tensors: dict[str, Tensor] = content["tensors"]
    return tensors
