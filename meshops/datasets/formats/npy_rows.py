"""Some rows of arrays in ``.npz`` and ``.npy`` files, without reading the rest; pickled objects are refused.

Members that are stored as they are get mapped into memory. Compressed ones are unpacked from their start, a piece at a
time, so that only the rows asked for are kept.
"""

from __future__ import annotations

import math
import struct
import tokenize
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from meshops.errors import InputError, listing

PIECE = 1 << 22  # bytes unpacked at a time
MOST_PACKED = (256 << 20, 200)  # bytes that an array may unpack to: always, and as a multiple of what is stored
DAMAGE = (
    RuntimeError, OSError, EOFError, ValueError, OverflowError, SyntaxError, MemoryError, TypeError, LookupError,
    tokenize.TokenError, zipfile.BadZipFile, zlib.error, struct.error,
)  # fmt: skip
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Member:
    """An array in a file.

    Attributes:
        shape: Its shape.
        dtype: Of its entries.
        fortran: First axis fastest; such arrays are read as a whole.
        header: Bytes before the values.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    header: int


class NpzRows:
    """An open ``.npz`` file.

    Args:
        path: The file; must exist.

    Raises:
        InputError: It is no such file, or damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except DAMAGE as error:
            raise damaged(path, error) from None

    def __enter__(self) -> NpzRows:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    @property
    def names(self) -> list[str]:
        """Names of the arrays, sorted."""
        return sorted(name.removesuffix(".npy") for name in self._zip.namelist())

    def member(self, name: str) -> Member:
        """Shape and kind of an array; its values are not read.

        Raises:
            InputError: There is no such array, it holds objects, or the file is damaged.
        """
        if name not in self.names:
            raise InputError(f"{self.path}: no array '{name}'; it holds {listing(self.names)}. Download it again")
        try:
            info = self._zip.getinfo(f"{name}.npy")
            with self._zip.open(info) as file:
                member = _header(file, f"{self.path}: '{name}'")
            check_packed(member, info, f"{self.path}: '{name}'")
            return member
        except DAMAGE as error:
            raise _passed(error) or damaged(self.path, error) from None

    def rows(self, name: str, start: int, length: int) -> Array:
        """Rows ``start .. start + length - 1`` of an array, a copy.

        Raises:
            InputError: As :meth:`member`.
        """
        member = self.member(name)
        info = self._zip.getinfo(f"{name}.npy")
        try:
            if member.fortran or len(member.shape) == 0:
                with self._zip.open(info) as file:
                    return np.asarray(npy.read_array(file, allow_pickle=False))[start : start + length].copy()
            if info.compress_type == zipfile.ZIP_STORED:
                return _mapped(self.path, member, self._place(info) + member.header, start, length)
            with self._zip.open(info) as file:
                return _unpacked(file, member, start, length)
        except DAMAGE as error:
            raise damaged(self.path, error) from None

    def whole(self, name: str) -> Array:
        """An array of any shape, a copy.

        Raises:
            InputError: As :meth:`member`.
        """
        self.member(name)
        try:
            with self._zip.open(f"{name}.npy") as file:
                return np.array(npy.read_array(file, allow_pickle=False))
        except DAMAGE as error:
            raise damaged(self.path, error) from None

    def _place(self, info: zipfile.ZipInfo) -> int:
        """Where the bytes of a stored member begin: its local header may be longer than the one in the directory."""
        with self.path.open("rb") as file:
            file.seek(info.header_offset)
            local = file.read(30)
        name, extra = struct.unpack("<HH", local[26:30])
        return info.header_offset + 30 + int(name) + int(extra)


def check_packed(member: Member, info: zipfile.ZipInfo, what: str) -> None:
    """Refuse an array that is larger than its member, or packed beyond all measure, before anything is unpacked.

    Raises:
        InputError: It is.
    """
    wanted = member.header + math.prod(member.shape) * member.dtype.itemsize
    if wanted > info.file_size:
        raise InputError(f"{what} declares {wanted} bytes and holds {info.file_size}; it is damaged, get it again")
    if info.file_size > max(MOST_PACKED[0], MOST_PACKED[1] * info.compress_size):
        raise InputError(
            f"{what} unpacks from {info.compress_size} to {info.file_size} bytes, which no file of computed numbers "
            "does; write it unpacked if it is sound"
        )


def npy_member(path: Path) -> Member:
    """Shape and kind of the array of a ``.npy`` file.

    Raises:
        InputError: It is no such file, holds objects, or is shorter than it says.
    """
    try:
        with path.open("rb") as file:
            member = _header(file, f"{path}:")
    except DAMAGE as error:
        raise _passed(error) or damaged(path, error) from None
    wanted = member.header + math.prod(member.shape) * member.dtype.itemsize
    if path.stat().st_size < wanted:
        raise InputError(f"{path}: has {path.stat().st_size} bytes, its array needs {wanted}; download it again")
    return member


def npy_rows(path: Path, start: int, length: int) -> Array:
    """Rows ``start .. start + length - 1`` of the array of a ``.npy`` file, a copy.

    Raises:
        InputError: As :func:`npy_member`.
    """
    member = npy_member(path)
    if member.fortran or len(member.shape) == 0:
        return np.array(np.load(path, allow_pickle=False)[start : start + length])
    return _mapped(path, member, member.header, start, length)


def check_mat(path: Path) -> None:
    """Refuse a MATLAB file (not HDF5) whose arrays would unpack beyond all measure.

    Raises:
        InputError: One does.
    """
    from scipy.io import whosmat

    size = path.stat().st_size
    for name, shape, _ in whosmat(str(path), appendmat=False):
        if 8 * math.prod(shape) > max(MOST_PACKED[0], MOST_PACKED[1] * size):
            raise InputError(f"{path}: '{name}' declares the shape {shape} in a file of {size} bytes; it is damaged")


def damaged(path: Path, error: BaseException) -> InputError:
    """The error for a file that cannot be read."""
    return InputError(f"{path}: cannot be read ({error}); it is truncated or damaged, download it again")


def _passed(error: BaseException) -> InputError | None:
    return error if isinstance(error, InputError) else None


def _header(file: IO[bytes], what: str) -> Member:
    version = npy.read_magic(file)
    reader: Any = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = reader(file)
    if dtype.hasobject:
        raise InputError(f"{what} holds pickled Python objects, which could run code; they are not read")
    if any(length < 0 for length in shape):
        raise InputError(f"{what} declares the shape {tuple(shape)}; it is damaged, get it again")
    return Member(tuple(shape), dtype, bool(fortran), file.tell())


def _mapped(path: Path, member: Member, place: int, start: int, length: int) -> Array:
    row = math.prod(member.shape[1:]) * member.dtype.itemsize
    shape = (max(0, min(length, member.shape[0] - start)), *member.shape[1:])
    if not math.prod(shape):
        return np.zeros(shape, member.dtype)
    return np.array(np.memmap(path, member.dtype, "r", place + start * row, shape))


def _unpacked(file: IO[bytes], member: Member, start: int, length: int) -> Array:
    row = math.prod(member.shape[1:]) * member.dtype.itemsize
    shape = (max(0, min(length, member.shape[0] - start)), *member.shape[1:])
    skip, wanted = member.header + start * row, math.prod(shape) * member.dtype.itemsize
    while skip:
        skip -= _some(file, min(skip, PIECE))[1]
    out, filled = bytearray(wanted), 0
    while filled < wanted:
        piece, size = _some(file, min(wanted - filled, PIECE))
        out[filled : filled + size] = piece
        filled += size
    return np.frombuffer(out, member.dtype).reshape(shape)


def _some(file: IO[bytes], size: int) -> tuple[bytes, int]:
    piece = file.read(size)
    if not piece:
        raise EOFError("the array ends early")
    return piece, len(piece)
