"""Checkpoint files: tensors and plain values only, so that opening one from a stranger runs no code."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from meshops.errors import CheckpointError
from meshops.io import missing_checkpoint, replacing

FORMAT = "meshops-surrogate"
VERSION = 2


def write_checkpoint(path: str | os.PathLike[str], content: Mapping[str, Any]) -> Path:
    """Write ``content`` with format and version (temporary name, then rename)."""
    with replacing(path) as partial:
        torch.save({"format": FORMAT, "version": VERSION, **content}, partial)
    return Path(path)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Content of a checkpoint.

    Raises:
        CheckpointError: Not a file, damaged, pickled code in it, another program's, or written by a newer meshops.
    """
    problem = missing_checkpoint(path)
    if problem:
        raise CheckpointError(problem)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
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
