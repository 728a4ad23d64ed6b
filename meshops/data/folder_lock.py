"""One writer of a folder at a time; what a writer that is gone left behind is no obstacle.

The lock is the system's: it ends with the process that held it, however that ended. The file says who holds it.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import platform
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from meshops.errors import InputError, warn

LOCK = "store.lock"
BUSY = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
PAUSE = 0.2  # seconds between looks at a lock that is held


@contextmanager
def writing(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold a folder for writing.

    Args:
        folder: Of a store, or of prepared cases.
        wait: For another process that writes there.

    Raises:
        InputError: Another process does, and is not waited for.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a+", encoding="utf-8") as lock:
        told = False
        while not _taken(lock.fileno()):
            if not wait:
                raise InputError(f"{folder}: {_who(lock)} writes there; wait for it, or choose another folder")
            if not told:
                warn(f"{folder}: waiting for {_who(lock)}, who writes there")
                told = True
            time.sleep(PAUSE)
        if (left := _who(lock)) and not told:
            warn(f"{folder}: {left} left its lock and is gone; going on")
        _say(lock, {"pid": os.getpid(), "host": platform.node(), "since": time.strftime("%Y-%m-%d %H:%M:%S")})
        _sweep(folder)
        try:
            yield
        finally:
            _say(lock, None)


def _taken(handle: int) -> bool:
    """Whether the lock is ours now; where a file system has no locks, it is."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in BUSY
    return True


def _who(lock: Any) -> str:
    """Who holds, or held, a lock; empty: it was given back."""
    lock.seek(0)
    text = lock.read()
    try:
        known = json.loads(text)
        return f"process {known['pid']} on {known['host']} (since {known['since']})"
    except (ValueError, KeyError, TypeError):
        return "another process" if text else ""


def _say(lock: Any, content: dict[str, Any] | None) -> None:
    lock.seek(0)
    lock.truncate()
    lock.write("" if content is None else json.dumps(content))
    lock.flush()


def _sweep(folder: Path) -> None:
    """Remove what a writer that is gone had half written."""
    for partial in (*folder.glob(".[0-9]*.*.zarr"), *folder.glob("cases/.[0-9]*.*.zarr")):
        shutil.rmtree(partial, ignore_errors=True)
