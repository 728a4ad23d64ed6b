"""Files of PyTorch from strangers: tensors and plain values, no larger in memory than on disk.

``torch.load(weights_only=True)`` runs no code, but believes what a file says of its sizes: packed members, tensors that
reach beyond their values, lists that hold each other a million times.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

MOST_DEPTH = 64
MOST_VALUES = 5_000_000  # those that stand at several places counted at each


class UnsoundError(Exception):
    """A file is not what it says; the message is the rest of a sentence about it."""


def load_tensors(path: Path, *, mapped: bool = False) -> Any:
    """Content of a file that ``torch.save`` wrote, on the CPU.

    Args:
        path: The file; the form of PyTorch 1.6 and later, an archive.
        mapped: Leave the values of tensors on disk until they are used.

    Raises:
        UnsoundError: Its sizes do not fit it.
        Exception: What ``torch.load`` raises on damage and on code, of many undocumented kinds.
    """
    _check_archive(path)
    # Mapped, no tensor can reach beyond the file: otherwise PyTorch believes the size a tensor claims.
    content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    return _checked(content, path.stat().st_size, mapped)


def _check_archive(path: Path) -> None:
    """See that nothing in the archive is packed or larger than the file."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise UnsoundError(f"is no whole archive ({error})") from None
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise UnsoundError("holds packed members, which PyTorch does not write")
    if sum(member.file_size for member in members) > path.stat().st_size:
        raise UnsoundError("declares members larger than itself")
    if len({member.filename for member in members}) < len(members):
        raise UnsoundError("holds a member twice")


def _checked(content: Any, size: int, mapped: bool) -> Any:
    """The content with tensors of its own, if it stays within what the file may hold."""
    copies: dict[int, Any] = {}
    _measure(content, size, {}, 0)
    return content if mapped else _copied(content, copies)


def _measure(value: Any, size: int, known: dict[int, int], depth: int) -> int:
    """Number of values below one, those that stand there several times counted each time."""
    if depth > MOST_DEPTH:
        raise UnsoundError(f"is nested more than {MOST_DEPTH} deep, or holds itself")
    if isinstance(value, Tensor):
        if value.layout != torch.strided or value.device.type != "cpu":
            raise UnsoundError(f"holds a tensor of layout {value.layout} on '{value.device.type}'")
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise UnsoundError(f"holds a tensor of shape {tuple(value.shape)} whose values are not there")
        return 1
    if isinstance(value, bytes | bytearray | str) and len(value) > size:
        raise UnsoundError("declares a text longer than itself")
    if not isinstance(value, Mapping | list | tuple | set | frozenset) or id(value) in known:
        return known.get(id(value), 1)
    parts = [*value.keys(), *value.values()] if isinstance(value, Mapping) else value
    total = 1 + sum(_measure(part, size, known, depth + 1) for part in parts)
    if total > MOST_VALUES:
        raise UnsoundError(f"repeats more than {MOST_VALUES:,} values")
    known[id(value)] = total
    return total


def _copied(value: Any, copies: dict[int, Any]) -> Any:
    """The same with tensors that are no part of the file on disk; what stands at two places stays one."""
    if isinstance(value, Tensor):
        if id(value) not in copies:
            copies[id(value)] = (value, value.detach().clone(memory_format=torch.preserve_format))
        return copies[id(value)][1]
    if isinstance(value, dict):
        for key, part in value.items():
            value[key] = _copied(part, copies)
    elif isinstance(value, list):
        value[:] = [_copied(part, copies) for part in value]
    elif type(value) is tuple:
        return tuple(_copied(part, copies) for part in value)
    return value
