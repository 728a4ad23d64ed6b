"""TFRecord files and ``tf.Example`` messages, read and written without TensorFlow.

A file is a row of records: length (u64, little endian), masked CRC-32C of these 8 bytes, payload, masked CRC-32C of the
payload. The payloads here are ``tf.Example`` messages in the wire format of protocol buffers, of which only features
that are lists of bytes are read; nothing is copied but what the caller copies.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from meshops.errors import InputError
from meshops.io import replacing
from meshops.ops.kernels.compile import njit

POLYNOMIAL = 0x82F63B78  # Castagnoli, bits reversed
MASK = 0xA282EAD8
HEADER, FOOTER = 12, 4  # bytes before and after a payload
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types


def _table() -> np.ndarray[Any, Any]:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(POLYNOMIAL), table >> 1).astype(np.uint32)
    return table


TABLE = _table()


@njit(nogil=True)
def _crc(content: np.ndarray[Any, Any], table: np.ndarray[Any, Any]) -> Any:
    crc = np.uint32(0xFFFFFFFF)
    for byte in content:
        crc = table[(crc ^ byte) & np.uint32(0xFF)] ^ (crc >> np.uint32(8))
    return crc ^ np.uint32(0xFFFFFFFF)


def crc32c(content: bytes | memoryview) -> int:
    """CRC-32C (Castagnoli) of some bytes.

    Example:
        >>> hex(crc32c(b"123456789"))
        '0xe3069283'
    """
    return int(_crc(np.frombuffer(content, dtype=np.uint8), TABLE))


def masked_crc(content: bytes | memoryview) -> int:
    """CRC-32C as TFRecord files hold it: turned by 15 bits, plus a constant."""
    crc = crc32c(content)
    return (((crc >> 15) | (crc << 17)) + MASK) & 0xFFFFFFFF


class TFRecordFile:
    """Records of a file by number; the file is mapped into memory, not read.

    Args:
        path: The file.
        verify: Compare the checksum of a record the first time it is handed out. Those of the lengths always are.

    Raises:
        InputError: The file ends within a record, or a checksum is wrong.
    """

    def __init__(self, path: str | Path, *, verify: bool = True) -> None:
        self.path = Path(path)
        self.verify = verify
        self.places = self._index()
        self._sound: set[int] = set()
        self._map: mmap.mmap | None = None

    def __len__(self) -> int:
        """Number of records."""
        return len(self.places)

    def __getitem__(self, index: int) -> memoryview:
        """Payload of a record, without copying it."""
        start, length = self.places[index]
        if self._map is None:
            with self.path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        whole = memoryview(self._map)
        if len(whole) < start + length + FOOTER:
            raise InputError(f"{self.path}: is shorter than when it was opened; do not change it while it is in use")
        payload = whole[start : start + length]
        if self.verify and index not in self._sound:
            (expected,) = struct.unpack("<I", whole[start + length : start + length + FOOTER])
            if masked_crc(payload) != expected:
                raise InputError(f"{self.path}: the checksum of record {index} is wrong; download the file again")
            self._sound.add(index)
        return payload

    def __getstate__(self) -> dict[str, Any]:
        """Without the map: every process makes its own."""
        return {**self.__dict__, "_map": None}

    def _index(self) -> list[tuple[int, int]]:
        """Start and length of each payload, found by going from length to length."""
        size = self.path.stat().st_size
        places: list[tuple[int, int]] = []
        place = 0
        with self.path.open("rb") as file:
            while place < size:
                file.seek(place)
                header = file.read(HEADER)
                number = len(places)
                if len(header) == HEADER:
                    length, expected = struct.unpack("<QI", header)
                    if masked_crc(header[:8]) != expected:
                        raise InputError(
                            f"{self.path}: the checksum of the length of record {number} is wrong; it is no TFRecord "
                            "file (compressed ones are not read), or damaged: download it again"
                        )
                if len(header) < HEADER or place + HEADER + length + FOOTER > size:
                    raise InputError(f"{self.path}: ends within record {number}; it is truncated, download it again")
                places.append((place + HEADER, length))
                place += HEADER + length + FOOTER
        return places


def write_records(path: str | Path, payloads: Iterable[bytes]) -> Path:
    """Write payloads as a TFRecord file, aside and then renamed; return its path."""
    target = Path(path)
    with replacing(target) as partial, partial.open("wb") as file:
        for payload in payloads:
            header = struct.pack("<Q", len(payload))
            file.write(header + struct.pack("<I", masked_crc(header)))
            file.write(payload)
            file.write(struct.pack("<I", masked_crc(payload)))
    return target


def parse_example(payload: bytes | memoryview, where: str) -> dict[str, list[memoryview]]:
    """Features of a ``tf.Example`` that are lists of bytes, by name; the bytes are views of ``payload``.

    Args:
        payload: The message.
        where: File and record, for the error message.

    Raises:
        InputError: It is no such message.
    """
    found: dict[str, list[memoryview]] = {}
    try:
        for features in _parts(memoryview(payload), 1):
            for entry in _parts(features, 1):
                name = b"".join(bytes(part) for part in _parts(entry, 1)).decode()
                lists = [values for feature in _parts(entry, 2) for values in _parts(feature, 1)]
                if lists:
                    found[name] = [value for values in lists for value in _parts(values, 1)]
    except (IndexError, UnicodeDecodeError, struct.error):
        raise InputError(f"{where} is no tf.Example message; is it a file of this dataset?") from None
    return found


def encode_example(features: Mapping[str, bytes]) -> bytes:
    """``tf.Example`` whose features are each one string of bytes."""
    entries = (_field(1, name.encode()) + _field(2, _field(1, _field(1, value))) for name, value in features.items())
    return _field(1, b"".join(_field(1, entry) for entry in entries))


def _field(number: int, content: bytes) -> bytes:
    return _encode_varint(number << 3 | BYTES) + _encode_varint(len(content)) + content


def _encode_varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _varint(content: memoryview, place: int) -> tuple[int, int]:
    """Number at ``place`` and the place after it."""
    value = shift = 0
    while True:
        byte = content[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place
        if shift > 63:
            raise IndexError("a varint of more than ten bytes")


def _parts(content: memoryview, wanted: int) -> Iterator[memoryview]:
    """Fields of one number that hold bytes, in order; others are passed over.

    Raises:
        IndexError: A field is cut off or of an unknown kind.
    """
    place = 0
    while place < len(content):
        key, place = _varint(content, place)
        kind = key & 7
        if kind == VARINT:
            _, place = _varint(content, place)
            continue
        if kind == BYTES:
            length, place = _varint(content, place)
        elif kind in (FIXED64, FIXED32):
            length = 8 if kind == FIXED64 else 4
        else:
            raise IndexError(f"wire type {kind}")
        if place + length > len(content):
            raise IndexError("a field is cut off")
        if kind == BYTES and key >> 3 == wanted:
            yield content[place : place + length]
        place += length
