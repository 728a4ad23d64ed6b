"""What the machine offers: a folder for what is kept between calls (compiled code, lists of fonts), free memory."""

from __future__ import annotations

import functools
import os
import stat
import sys
import tempfile
from pathlib import Path

from meshops.errors import InputError


@functools.cache
def private_folder() -> Path | None:
    """Folder among the temporary files that nobody else can write to; None where there is none.

    Code is loaded from it: one that another user made in advance, or may write to, is not trusted.
    """
    user = os.getuid() if hasattr(os, "getuid") else 0
    try:
        folder = Path(tempfile.gettempdir()) / f"meshops-{user}"
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return None
    private = stat.S_ISDIR(found.st_mode) and found.st_uid == user and not stat.S_IMODE(found.st_mode) & 0o077
    return folder if private and os.access(folder, os.W_OK | os.X_OK) else None


def check_temporary_folder() -> None:
    """Raise ``InputError`` where there is no folder for temporary files: PyTorch cannot be imported without."""
    try:
        tempfile.gettempdir()
    except OSError as error:
        raise InputError(
            f"no folder for temporary files can be written ({error.strerror}); set the environment variable TMPDIR to "
            f"a folder that can"
        ) from None


def place_matplotlib() -> None:
    """Give matplotlib a folder for its list of fonts where it cannot write to the user's; before it is imported.

    It would make a new one and say so at every start.
    """
    if "MPLCONFIGDIR" in os.environ or "matplotlib" in sys.modules:
        return
    homes = (("XDG_CONFIG_HOME", "~/.config"), ("XDG_CACHE_HOME", "~/.cache"))
    if all(writable(os.environ.get(variable) or os.path.expanduser(usual)) for variable, usual in homes):
        return
    folder = private_folder()
    if folder is not None:
        os.environ["MPLCONFIGDIR"] = str(folder / "matplotlib")


def writable(folder: str) -> bool:
    """Whether a folder can be written to, or made and written to where it does not exist yet; False for ``~/...``."""
    if not os.path.isabs(folder):  # a user without a home
        return False
    path = Path(folder)
    there = next(place for place in (path, *path.parents) if os.path.exists(place))
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


CGROUP = Path("/sys/fs/cgroup")
_budget: float | None = None  # bytes this process may take in all


def limit_memory(most: float | None) -> None:
    """Let :func:`available_memory` count as if this process might take no more than so many bytes; None: no limit."""
    global _budget
    _budget = most


def check_limit() -> None:
    """See that the limit of :func:`limit_memory` leaves something.

    Raises:
        InputError: The process holds that much already.
    """
    held = _of_lines(Path("/proc/self/status"), "VmRSS:") or 0.0
    if _budget is not None and held >= _budget:
        raise InputError(
            f"--memory {_budget / 1e9:.2g} GB: the process holds {held / 1e9:.2g} GB already, its libraries and the "
            f"surrogate, before a mesh is read; give more, {2 * held / 1e9:.2g} GB at least for a small mesh"
        )


def available_memory() -> float:
    """Bytes that can be taken without swapping; 4 GB where the system does not say.

    The least of what is free on the machine, in the control group (containers, Slurm jobs), and of a limit that is set.
    """
    found = [_of_lines(Path("/proc/meminfo"), "MemAvailable:"), _of_group()]
    if _budget is not None:
        found.append(max(0.0, _budget - (_of_lines(Path("/proc/self/status"), "VmRSS:") or 0.0)))
    known = [value for value in found if value is not None]
    return min(known) if known else 4e9


def _of_lines(path: Path, key: str) -> float | None:
    """A number of kB in a file of the system, as bytes."""
    try:
        for line in path.read_text().splitlines():
            if line.startswith(key):
                return float(line.split()[1]) * 1024
    except OSError:
        pass
    return None


def _of_group() -> float | None:
    """What the control group leaves free: its cache of files can be given back."""
    try:
        most = (CGROUP / "memory.max").read_text().strip()
        if most == "max":
            return None
        told = dict(line.split()[:2] for line in (CGROUP / "memory.stat").read_text().splitlines())
        used = float((CGROUP / "memory.current").read_text()) - float(told.get("inactive_file", 0))
        return max(0.0, float(most) - used)
    except (OSError, ValueError):
        return None
