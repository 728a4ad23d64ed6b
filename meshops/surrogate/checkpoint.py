"""Checkpoint files: tensors and plain values only, so that opening one from a stranger runs no code."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from meshops.errors import CheckpointError
from meshops.io import missing_checkpoint, replacing
from meshops.tensor_files import UnsoundError, load_tensors

FORMAT = "meshops-surrogate"
VERSION = 2


def write_checkpoint(path: str | os.PathLike[str], content: Mapping[str, Any]) -> Path:
    """Write ``content`` with format, version and digest (temporary name, then rename)."""
    with replacing(path) as partial:
        torch.save({"format": FORMAT, "version": VERSION, "digest": digest_of(content), **content}, partial)
    return Path(path)


def as_written(content: Mapping[str, Any]) -> bool:
    """Whether the content of a checkpoint is what was written; older ones do not say."""
    told = content.get("digest")
    rest = {key: value for key, value in content.items() if key not in ("format", "version", "digest")}
    return told is None or told == digest_of(rest)


def digest_of(content: Any) -> str:
    """Hash of a tree of plain values and tensors, in its order."""
    digest = hashlib.sha256()
    waiting = [content]
    while waiting:
        value = waiting.pop()
        if isinstance(value, torch.Tensor):
            array = value.detach().cpu().contiguous().reshape(-1)
            digest.update(f"{value.dtype}{tuple(value.shape)}".encode())
            digest.update(array.view(torch.uint8).numpy().data if array.numel() else b"")
        elif isinstance(value, Mapping):
            digest.update(f"{{{len(value)}".encode())
            waiting += [part for pair in value.items() for part in pair]
        elif isinstance(value, list | tuple):
            digest.update(f"[{len(value)}".encode())
            waiting += value
        else:
            digest.update(f"{type(value).__name__}:{value!r};".encode())
    return digest.hexdigest()


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Content of a checkpoint.

    Raises:
        CheckpointError: Not a file, damaged, pickled code in it, another program's, or written by a newer meshops.
    """
    problem = missing_checkpoint(path)
    if problem:
        raise CheckpointError(problem)
    try:
        content = load_tensors(path)
    except UnsoundError as error:
        raise CheckpointError(f"{path}: not a readable checkpoint, it {error}; copy or train it again") from None
    except Exception as error:  # torch raises many kinds here, none of them documented
        reason = str(error).strip().splitlines()
        if any("Unsupported" in line or "WeightsUnpickler" in line or "weights_only" in line for line in reason):
            raise CheckpointError(
                f"{path}: refused, it holds pickled Python objects and could run code when loaded; "
                "meshops checkpoints hold tensors and plain values only (written by 'meshops train')"
            ) from None
        raise CheckpointError(f"{path}: not a readable checkpoint ({reason[0] if reason else error})") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{path}: not a meshops checkpoint; 'meshops train' writes one as <run>/model.ckpt")
    if not isinstance(content.get("version"), int):
        raise CheckpointError(f"{path}: damaged, it does not say its version; train again")
    if content["version"] > VERSION:
        raise CheckpointError(
            f"{path}: written by a newer meshops (format {content['version']}, this one reads up to {VERSION}); "
            "upgrade with pip install -U meshops"
        )
    return content
