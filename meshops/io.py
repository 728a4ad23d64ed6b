"""Files that no reader ever sees half of: written under a temporary name beside the target, then renamed."""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from meshops.errors import InputError

FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
MOST_JSON = 64 << 20
WRITER = ("PytorchStreamWriter", "iostream error", "unexpected pos")  # how torch.save ends on a full disk


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary name in the folder of ``path``, with its ending; rename on success, remove on failure.

    Missing folders are made. What was there before stays until the new file is whole.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{os.getpid()}.{target.name}")
    try:
        yield partial
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def no_room(path: str | os.PathLike[str], advice: str = "go on with --resume") -> Iterator[None]:
    """Say in a sentence that a file could not be written.

    Args:
        path: What is written.
        advice: What to do once there is room.

    Raises:
        InputError: The disk, or what one may use of it, is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise InputError(_full(path, error.strerror or "no space left", advice)) from None
    except RuntimeError as error:  # the writer of PyTorch does not say why it failed
        if not any(sign in str(error) for sign in WRITER):
            raise
        raise InputError(_full(path, "writing failed", advice)) from None


def _full(path: str | os.PathLike[str], reason: str, advice: str) -> str:
    return (
        f"{path}: cannot be written ({reason}): the disk is full, or the file larger than is allowed; what was there "
        f"before is kept; make room and {advice}"
    )


@contextmanager
def replacing_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Like :func:`replacing` for a folder or a file that is not there yet, or is an empty folder.

    Whatever stands under the temporary name at the end is renamed; on failure all of it is removed.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{os.getpid()}.{target.name}")
    try:
        yield partial
        if target.is_dir():
            target.rmdir()
        os.replace(partial, target)
    finally:
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        partial.unlink(missing_ok=True)


def write_bytes(path: str | os.PathLike[str], content: bytes) -> Path:
    """Write a whole file; returns its path."""
    with replacing(path) as partial:
        partial.write_bytes(content)
    return Path(path)


def write_text(path: str | os.PathLike[str], content: str) -> Path:
    """Write a whole file in UTF-8; returns its path."""
    return write_bytes(path, content.encode("utf-8"))


def write_json(path: str | os.PathLike[str], content: Any) -> Path:
    """Write JSON; numbers that JSON does not have (NaN, infinity) become null. Returns the path."""
    return write_text(path, json_text(content))


def read_json(path: str | os.PathLike[str], advice: str = "copy or make it again") -> Any:
    """What a file of JSON holds.

    Args:
        path: The file.
        advice: What to do about one that is damaged, for the message.

    Raises:
        InputError: It cannot be read, or is no JSON of sound depth and size.
    """
    file = Path(path)
    try:
        if file.stat().st_size > MOST_JSON:
            raise InputError(f"{file}: larger than {MOST_JSON >> 20} MB, which no such file is; {advice}")
        return json.loads(file.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror or error}); check the permissions") from error
    except (ValueError, RecursionError) as error:  # no UTF-8, no JSON, numbers of thousands of digits, nested too deep
        if isinstance(error, InputError):
            raise
        reason = " ".join(str(error).split())[:150]
        raise InputError(f"{file}: is no JSON file, it is damaged ({reason}); {advice}") from None


def json_text(content: Any) -> str:
    """JSON with null for NaN and infinity, and lists for tuples."""
    return json.dumps(plain(content), indent=2, allow_nan=False) + "\n"


def plain(values: Any) -> Any:
    """The same values as JSON has them."""
    if isinstance(values, dict):
        return {str(key): plain(value) for key, value in values.items()}
    if isinstance(values, (list, tuple)):
        return [plain(value) for value in values]
    if isinstance(values, os.PathLike):
        return str(values)
    return None if isinstance(values, float) and not math.isfinite(values) else values


def missing_checkpoint(path: Path) -> str:
    """What to say where there is no checkpoint file; nothing where there is one."""
    if path.is_file():
        return ""
    folder = path / "model.ckpt"
    return f"{path}: no such checkpoint file" + (f"; did you mean {folder}?" if folder.is_file() else "")
