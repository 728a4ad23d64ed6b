"""Reading in another process, so that a file that crashes a library, never ends or takes all memory is an error.

Meshes of other libraries' formats are read there; HDF5 files of arrays, which are read in part and often, are looked
through there once and then read here.

One process (:mod:`meshops.reader_process`) serves all reads of a program. ``MESHOPS_READ=inprocess`` reads in the
calling process instead.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import signal
from pathlib import Path
from typing import Any

from meshops import errors, reader_process
from meshops.data import hdf5_files, mesh_bytes, wire
from meshops.data.formats import find_format, read_here
from meshops.data.reading import MeshRead, Region, Time
from meshops.data.vtk_formats import read_head
from meshops.errors import InputError, warn

MEGABYTE = 1 << 20
# Limits: a fixed part, and one in proportion to the bytes that may be read.
MEMORY = (768 * MEGABYTE, 64)
# A grid becomes a list of cells: bytes for each, and how much a file may ask for by saying how many there are.
BYTES_PER_CELL, MOST_FOR_GRID = 400, 4096 * MEGABYTE
CPU_SECONDS = (5.0, 4e-6)
CPU_PER_CELL = 1e-6
WALL_SECONDS = (120.0, 2e-5)
# Endings of files that name others.
INDEXES = {
    ".vtm", ".vtmb", ".vtpc", ".vtpd", ".pvd",
    ".series", ".pvtu", ".pvtp", ".pvti", ".pvts", ".pvtr", ".case", ".encas",
    ".cas", ".h5", ".xdmf", ".xmf", ".gltf", ".foam", ".openfoam", ".vtkhdf", ".cgns",
}  # fmt: skip
# What a file does to a process, always: too much time, crashes. (Killed, it may have been someone else.)
ENDS = {-getattr(signal, f"SIG{name}", 0) for name in ("XCPU", "SEGV", "ABRT", "FPE", "BUS", "ILL")} - {0}
State = tuple[str, int, int, int]
MOST_FILES = 20_000  # of a case of many files; beyond that no limit is set

_sound: set[State] = set()  # HDF5 files that were looked at
_harmful: dict[State, dict[str, Any]] = {}  # files that ended the process, and how


def read_contained(path: Path, *, region: Region = None, time: Time = "last") -> MeshRead:
    """As :func:`meshops.data.formats.read_here`, in another process where the format's reader could end this one.

    Raises:
        InputError: The file cannot be used, or reading it crashed, took too much memory or did not end.
    """
    kind = find_format(path)
    if kind.safe or reader_process.here():
        return read_here(path, region=region, time=time)
    answer = _answer("mesh", path, region=region, time=time)
    for message in answer.get("warnings", ()):
        warn(_as_given(message, path))
    return mesh_bytes.unpack(answer["read"])


def check_hdf5(path: Path) -> None:
    """See, in another process, that an HDF5 file can be read without harm; once for each file that stays as it is.

    Raises:
        InputError: See :func:`meshops.data.hdf5_files.inspect_hdf5`; or looking at it crashed or did not end.
    """
    key = _state(path)
    if key in _sound:
        return
    if reader_process.here():
        hdf5_files.inspect_hdf5(path)
    else:
        _answer("hdf5", path)
    _sound.add(key)


def _answer(what: str, path: Path, **more: Any) -> dict[str, Any]:
    """What the other process says of a file.

    Raises:
        InputError: The file cannot be used, or ended the process.
    """
    key = _state(path)
    if key in _harmful:  # nobody waits twice for the same file
        raise _error(_harmful[key], path)
    answer = reader_process.the_worker().ask(
        {"what": what, "path": os.path.abspath(path), "limits": limits_for(path), **more}, wire
    )
    if "read" in answer or "sound" in answer:
        return answer
    if answer.get("error") == "memory" or answer.get("died") in ENDS:
        _harmful[key] = answer
    raise _error(answer, path)


def _state(path: Path) -> State:
    """What tells a file from another one, and from itself when it was written anew."""
    state = os.stat(path)
    return os.path.abspath(path), state.st_ino, state.st_size, state.st_mtime_ns


def limits_for(path: Path) -> dict[str, float | int]:
    """Memory (bytes), processor time and time (s) that reading may take: more for larger files."""
    size, cells = _size(path), min(_grid_cells(path), MOST_FOR_GRID // BYTES_PER_CELL)
    return {
        "memory": int(MEMORY[0] + MEMORY[1] * size + BYTES_PER_CELL * cells),
        "cpu_seconds": int(CPU_SECONDS[0] + CPU_SECONDS[1] * size + CPU_PER_CELL * cells),
        "seconds": WALL_SECONDS[0] + WALL_SECONDS[1] * size,
    }


def _grid_cells(path: Path) -> int:
    """Cells of a grid whose points are not in the file, by its head: such files may be small."""
    if path.is_dir():
        return 0
    head = read_head(path, 4096).decode("latin-1")
    extent = re.search(r'WholeExtent="\s*(-?\d+)\s+(-?\d+)\s+(-?\d+)\s+(-?\d+)\s+(-?\d+)\s+(-?\d+)', head)
    if extent:
        ends = [int(text[:12]) for text in extent.groups()]
        return math.prod(max(high - low, 1) for low, high in zip(ends[::2], ends[1::2], strict=True))
    counts = re.search(r"DIMENSIONS\s+(\d+)\s+(\d+)\s+(\d+)", head)
    return math.prod(max(int(text[:12]) - 1, 1) for text in counts.groups()) if counts else 0


def _size(path: Path) -> int:
    """Bytes that may be read: of the file and, for one that may name others, of what lies beside and below it."""
    own = 0 if path.is_dir() else path.stat().st_size
    if not path.is_dir() and path.suffix.lower() not in INDEXES:
        return own
    total, count = own, 0
    for folder, _, names in os.walk(path if path.is_dir() else path.parent):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.stat(os.path.join(folder, name)).st_size
            count += 1
            if count > MOST_FILES:
                return max(total, 1 << 34)
    return total


def _error(answer: dict[str, Any], path: Path) -> Exception:
    if "died" not in answer and answer["error"] != "memory":
        kind = getattr(errors, answer["error"], None)
        message = _as_given(answer["message"], path)
        if isinstance(kind, type) and issubclass(kind, errors.MeshopsError) and kind is not errors.Stopped:
            return kind(message)
        reason = " ".join(f"{answer['error']} {message}".split())[:150]
        return InputError(f"{path}: cannot be read ({reason}); the file is damaged or not of its kind; export it again")
    limits = limits_for(path)
    if answer.get("stuck") or answer.get("died") == -24:  # SIGXCPU
        what = f"reading it did not end within {limits['cpu_seconds']:.0f} s"
    elif answer.get("error") == "memory":
        what = f"reading it takes more than {limits['memory'] / MEGABYTE:.0f} MB of memory"
    else:
        what = f"reading it crashed or ran out of memory (exit code {answer['died']})"
    return InputError(
        f"{path}: {what}, far more than sound files of its size take; it is damaged: export it again, or read it "
        f"without limits ({reader_process.SWITCH}=inprocess)"
    )


def _as_given(message: str, path: Path) -> str:
    """The message with the path as the caller wrote it."""
    return message.replace(os.path.abspath(path), str(path))
