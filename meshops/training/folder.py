"""The folder of a run: settings, checkpoints, metrics; a resumed run must be the same run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from meshops.errors import CheckpointError, InputError


def open_folder(config: Any, resume: bool) -> Path:
    """Make the folder ``config.out`` and write the settings there.

    Raises:
        InputError: It cannot be written, or a resumed run has other settings.
        CheckpointError: There is nothing to resume.
    """
    folder = Path(config.out)
    try:
        (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
        (folder / ".writable").touch()
        (folder / ".writable").unlink()
    except OSError as error:
        raise InputError(f"{folder}: cannot write the run there ({error.strerror}); choose another --out") from None
    if resume and not (folder / "checkpoints" / "last.ckpt").is_file():
        raise CheckpointError(f"{folder}: nothing to resume, checkpoints/last.ckpt is missing; start without --resume")
    settings = folder / "config.yaml"
    current = asdict(config)
    if resume and settings.is_file():
        _check_same(yaml.safe_load(settings.read_text()), plain(current), folder)
    settings.write_text(yaml.safe_dump(plain(current), sort_keys=False))
    return folder


def plain(values: Any) -> Any:
    """The same with lists for tuples."""
    if isinstance(values, dict):
        return {key: plain(value) for key, value in values.items()}
    return [plain(v) for v in values] if isinstance(values, (list, tuple)) else values


def numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The entries that are numbers."""
    return {key: value for key, value in metrics.items() if isinstance(value, (float, int))}


def _check_same(before: Any, now: Any, folder: Path) -> None:
    """Only the folder's name and the hardware may differ."""
    free = {"out", "train.accelerator", "train.devices", "train.threads"}
    changed = [key for key, value in _flat(now).items() if key not in free and _flat(before).get(key) != value]
    if changed:
        raise InputError(
            f"{folder}: --resume continues the run as it was, but {changed[0]} changed from "
            f"{_flat(before).get(changed[0])} to {_flat(now)[changed[0]]}; use another --out for a new run"
        )


def _flat(values: Any, prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            out |= _flat(value, f"{prefix}{key}.")
        else:
            out[f"{prefix}{key}"] = value
    return out
