"""Files of OpenFOAM: header, lists and dictionaries, text and binary, plain and compressed (``.gz``).

Layout: OpenFOAM user guide, "File format of OpenFOAM cases"; the sizes of labels and scalars stand in the header.
"""

from __future__ import annotations

import gzip
import os
import re
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from meshops.data.cells import Array
from meshops.data.text_numbers import DamagedError, numbers_of, word_starts

COMPONENTS = {"label": 1, "bool": 1, "scalar": 1, "vector": 3, "sphericalTensor": 1, "symmTensor": 6, "tensor": 9}
LARGEST_COUNT, LARGEST_REPEAT = 1_000_000_000, 10_000_000
MOST_INCLUDES, MOST_TEXT = 200, 1 << 16  # files of a dictionary, and characters of an entry with $names in it
BLANK = re.compile(rb"(?:\s+|//[^\n]*(?:\n|$)|/\*.*?\*/)*", re.DOTALL)
WORD = re.compile(rb'"[^"]*"|[^\s;{}()"\[\]]+(?:\([^\s;{}()]*\)[^\s;{}()]*)*')
ENTRY = re.compile(rb'(\w+)\s+("[^"]*"|[^;]*);')
PARENTHESES = bytes.maketrans(b"()", b"  ")


@dataclass
class FoamFile:
    """One file.

    Attributes:
        path: For messages and files it includes.
        body: What follows the header.
        kind: Class of the header: ``volScalarField``.
        binary: Whether lists are raw bytes.
        label, scalar: NumPy types of integers and numbers in them.
        includes: Files that were included so far, by it and by those it was included from.
    """

    path: Path
    body: bytes
    kind: str = ""
    binary: bool = False
    label: str = "<i4"
    scalar: str = "<f8"
    includes: list[Path] = field(default_factory=list)


@dataclass
class Values:
    """A value of a dictionary: one row for all, or a row each.

    Attributes:
        rows: ``[k]`` or ``[n, k]``.
        uniform: One row for all.
    """

    rows: Array
    uniform: bool


@dataclass
class Dictionary:
    """Entries in their order: text, :class:`Values` or another dictionary; ``patterns`` are quoted keys."""

    entries: dict[str, Any] = field(default_factory=dict)
    patterns: dict[str, Any] = field(default_factory=dict)


def find_file(path: Path) -> Path | None:
    """The file, or its compressed form; None where neither is."""
    return next((p for p in (path, path.with_name(path.name + ".gz")) if p.is_file()), None)


def read_bytes(path: Path, limit: int = -1) -> bytes:
    """Content of a file, decompressed; at most ``limit`` bytes.

    Raises:
        DamagedError: A compressed file is cut off or damaged.
        OSError: It cannot be read.
    """
    if path.suffix != ".gz":
        with path.open("rb") as file:
            return file.read(limit)
    most = limit if limit >= 0 else most_unpacked(path.stat().st_size)
    try:
        with gzip.open(path, "rb") as packed:
            raw = packed.read(most)
            if limit < 0 and len(raw) == most and packed.read(1):
                raise DamagedError(f"holds more than {most} bytes, far more than its size lets expect")
            return raw
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DamagedError(f"cannot be decompressed ({error})") from None


def most_unpacked(size: int) -> int:
    """Bytes that a packed file of ``size`` bytes may hold: fields of one value pack well, but not without end."""
    return max(256 << 20, 200 * size)


def read_foam(path: Path) -> FoamFile:
    """Read a file and its header.

    Raises:
        FileNotFoundError: Neither it nor ``.gz`` is there.
        DamagedError: It has no header.
    """
    there = find_file(path)
    if there is None:
        raise FileNotFoundError(path)
    return split_header(path, read_bytes(there))


def split_header(path: Path, raw: bytes) -> FoamFile:
    """Header and body of the content of a file."""
    begin = re.compile(rb"FoamFile\s*\{").search(raw, 0, 100_000)
    found = begin and re.compile(rb'((?:"[^"]*"|[^}"])*)\}').match(raw, begin.end(), begin.end() + 10_000)
    if not found:
        raise DamagedError("has no FoamFile header")
    entries = {key.decode(): value.decode("latin-1").strip('" \n') for key, value in ENTRY.findall(found[1])}
    arch = entries.get("arch", "")
    sizes = {name: int(bits) // 8 for name, bits in re.findall(r"(label|scalar)=(\d+)", arch)}
    order = ">" if arch.startswith("MSB") else "<"
    return FoamFile(
        path,
        raw[found.end() :],
        entries.get("class", ""),
        entries.get("format", "ascii") == "binary",
        f"{order}i{sizes.get('label', 4)}",
        f"{order}f{sizes.get('scalar', 8)}",
    )


def skip_blank(body: bytes, at: int) -> int:
    """Where the next token begins: behind blanks and comments."""
    found = BLANK.match(body, at)
    return found.end() if found else at


def read_list(file: FoamFile, at: int, kind: str) -> tuple[Array, int]:
    """A list of labels, scalars, vectors or tensors: ``[n, k]``, and where it ends.

    Raises:
        DamagedError: It is no list, or shorter than its count.
    """
    width, body = COMPONENTS[kind], file.body
    whole = kind in ("label", "bool")
    at = skip_blank(body, at)
    found = re.compile(rb"\d+").match(body, at)
    if found is None:
        raise DamagedError("holds no list where one belongs")
    count = int(found[0])
    at = skip_blank(body, found.end()) if not file.binary else found.end()
    while file.binary and body[at : at + 1].isspace():
        at += 1
    opening = body[at : at + 1]
    if count == 0:
        return np.zeros((0, width), int if whole else float), (body.find(b")", at) + 1 if opening == b"(" else at)
    if opening not in (b"(", b"{"):
        raise DamagedError("holds no list where one belongs")
    rows = count if opening == b"(" else 1
    if count > LARGEST_COUNT:
        raise DamagedError(f"announces {count} values")
    if file.binary:
        dtype = np.dtype("u1" if kind == "bool" else file.label if whole else file.scalar)
        end = at + 1 + rows * width * dtype.itemsize
        if end >= len(body):
            raise DamagedError("ends too early")
        values: Array = np.frombuffer(body, dtype, rows * width, at + 1)
        end += 1
    else:
        values, end = _text_list(body, at, width, opening)
        if values.size != rows * width:
            raise DamagedError(f"announces {count} values and holds {values.size // width}")
    table: Array = values.astype(np.int64 if whole else np.float64).reshape(rows, width)
    if rows < count and whole and count > LARGEST_REPEAT:
        raise DamagedError(f"announces {count} equal values")
    return (table if rows == count else np.broadcast_to(table, (count, width))), end  # takes no memory


def _text_list(body: bytes, at: int, width: int, opening: bytes) -> tuple[Array, int]:
    closing = b")" if opening == b"(" else b"}"
    pattern = re.compile((rb"\)\s*" if width > 1 else b"") + (rb"\)" if closing == b")" else rb"\}"))
    found = pattern.search(body, at + 1)
    if found is None:
        raise DamagedError("ends too early")
    return numbers_of(body[at + 1 : found.end() - 1].translate(PARENTHESES)), found.end()


def read_labels(path: Path) -> Array:
    """``[n]`` int64 of a file that holds one list of labels."""
    file = read_foam(path)
    return read_list(file, 0, "label")[0][:, 0]


def read_vectors(path: Path) -> Array:
    """``[n, 3]`` float64 of a file that holds one list of vectors."""
    return read_list(read_foam(path), 0, "vector")[0]


def read_faces(path: Path) -> tuple[Array, Array]:
    """Number of points ``[f]`` of each face and its points, end to end."""
    file = read_foam(path)
    if file.kind == "faceCompactList" or file.binary:
        offsets, at = read_list(file, 0, "label")
        nodes, _ = read_list(file, at, "label")
        size = np.diff(offsets[:, 0])
        if (size < 0).any() or size.sum() != len(nodes):
            raise DamagedError("holds faces of no or other sizes than it announces")
        return size, nodes[:, 0]
    at = skip_blank(file.body, 0)
    found = re.compile(rb"(\d+)\s*\(").match(file.body, at)
    if found is None:
        raise DamagedError("holds no list where one belongs")
    text = re.sub(rb"//[^\n]*|/\*.*?\*/", b"", file.body[found.end() :], flags=re.DOTALL)
    return _faces(text[: text.rfind(b")")], int(found[1]))


def _faces(text: bytes, count: int) -> tuple[Array, Array]:
    """Faces of ``4(0 1 2 3) 3(0 2 4)``."""
    flat = numbers_of(text.translate(PARENTHESES)).astype(np.int64)
    raw = np.frombuffer(text, dtype=np.uint8)
    words = word_starts(raw, b" \t\n\r\v\f()")
    opening, closing = np.flatnonzero(raw == ord("(")), np.flatnonzero(raw == ord(")"))
    if not opening.size == closing.size == count:
        raise DamagedError(f"announces {count} faces and holds {closing.size}")
    size = np.searchsorted(words, closing) - np.searchsorted(words, opening)
    start = np.cumsum(size + 1) - size - 1
    if flat.size != count + size.sum() or (size < 0).any() or (flat[start] != size).any():
        raise DamagedError("holds a face with another number of points than it announces")
    keep = np.ones(flat.size, dtype=bool)
    keep[start] = False
    return size, flat[keep]


def read_dictionary(file: FoamFile) -> Dictionary:
    """All entries of a file; ``#include`` and ``$name`` are followed.

    Raises:
        DamagedError: It ends too early, or uses what only OpenFOAM itself can work out.
    """
    out, _ = _dictionary(file, 0, [], top=True)
    return out


def _dictionary(file: FoamFile, at: int, scopes: list[Dictionary], *, top: bool = False) -> tuple[Dictionary, int]:
    out, body = Dictionary(), file.body
    scopes = [out, *scopes]
    while True:
        at = skip_blank(body, at)
        if at >= len(body):
            if top:
                return out, at
            raise DamagedError("ends too early")
        if body[at : at + 1] == b"}":
            return out, at + 1
        if body[at : at + 1] in b";":
            at += 1
            continue
        if body[at : at + 1] == b"#":
            at = _directive(file, at, out)
            continue
        found = WORD.match(body, at)
        if found is None:
            raise DamagedError(f"holds {body[at : at + 20].decode('latin-1')!r} where a name belongs")
        key = found[0].decode("latin-1")
        at = skip_blank(body, found.end())
        if key.startswith("$"):
            value = _lookup(key, scopes)
            if isinstance(value, Dictionary):
                out.entries |= value.entries
            continue
        if body[at : at + 1] == b"{":
            value, at = _dictionary(file, at + 1, scopes)
        else:
            value, at = _value(file, at, scopes)
        if key.startswith('"'):
            out.patterns[key.strip('"')] = value
        else:
            out.entries[key] = value


def _directive(file: FoamFile, at: int, out: Dictionary) -> int:
    found = re.compile(rb'#(\w+)\s*("[^"]*")?').match(file.body, at)
    if found is None or found[1] not in (b"include", b"includeIfPresent", b"inputMode") or (
        found[2] is None and found[1] != b"inputMode"
    ):  # fmt: skip
        name = "" if found is None else found[1].decode("latin-1")
        raise DamagedError(f"uses #{name}, which only OpenFOAM itself can work out (foamDictionary -expand)")
    if found[2] is not None:
        path = _included(file.path, found[2].decode("latin-1").strip('"'))
        if not path.is_file() and found[1] == b"include":
            raise DamagedError(f"includes {path.name}, which is not there")
        if path.is_file():
            file.includes.append(path)
            if len(file.includes) > MOST_INCLUDES:
                raise DamagedError(f"includes more than {MOST_INCLUDES} files, or itself")
            raw = read_bytes(path)
            inner = FoamFile(path, raw) if b"FoamFile" not in raw[:5000] else split_header(path, raw)
            inner.includes = file.includes
            more = read_dictionary(inner)
            out.entries |= more.entries
            out.patterns |= more.patterns
        return found.end()
    stop = file.body.find(b"\n", at)
    return len(file.body) if stop < 0 else stop


def _included(file: Path, name: str) -> Path:
    """The file that a dictionary includes; it lies in the case, or below the folder of the dictionary.

    Raises:
        DamagedError: It lies elsewhere, or is the dictionary itself.
    """
    here = Path(os.path.abspath(file.parent))
    case = next((folder for folder in (here, *here.parents) if (folder / "system" / "controlDict").is_file()), here)
    path = Path(os.path.abspath(here / name))
    if not path.is_relative_to(case):
        raise DamagedError(f"includes {name!r}, which lies outside of the case")
    return path


def _value(file: FoamFile, at: int, scopes: list[Dictionary]) -> tuple[Any, int]:
    """The value of an entry, up to its semicolon."""
    body = file.body
    found = re.compile(rb"nonuniform\s+(?:List<(\w+)>)?").match(body, at)
    if found is not None:
        kind = (found[1] or b"scalar").decode()
        if kind not in COMPONENTS:
            raise DamagedError(f"holds a list of {kind}")
        rows, at = read_list(file, found.end(), kind)
        return Values(rows, False), _behind(body, at)
    stop, depth = at, 0
    while True:
        byte = body[stop : stop + 1]
        if not byte:
            raise DamagedError("ends too early")
        if byte == b'"':
            stop = max(body.find(b'"', stop + 1), stop)
        depth += (byte in b"({[") - (byte in b")}]")
        if byte == b";" and depth <= 0:
            break
        stop += 1
    text = body[at:stop].decode("latin-1").strip()
    if text.startswith("$") and " " not in text:
        return _lookup(text, scopes), stop + 1
    text = _filled(text, scopes)
    uniform = re.fullmatch(r"(?:uniform|constant)\s+\(?([^()]*)\)?", text, re.DOTALL)
    if uniform is not None:
        try:
            return Values(numbers_of(uniform[1].encode("latin-1")), True), stop + 1
        except DamagedError:
            return text, stop + 1
    return text, stop + 1


def _filled(text: str, scopes: list[Dictionary]) -> str:
    """The text with what each ``$name`` in it stands for; names of names grow without end in no sound file."""
    pieces, length = re.split(r"(\$\{?[\w.:]+\}?)", text), 0
    for i, piece in enumerate(pieces):
        if i % 2:
            value = _lookup(piece, scopes)
            if isinstance(value, Dictionary):
                raise DamagedError(f"uses the dictionary {piece} as a word")
            pieces[i] = str(value)
        length += len(pieces[i])
        if length > max(MOST_TEXT, len(text)):
            raise DamagedError(f"holds an entry that grows to more than {MOST_TEXT} characters")
    return "".join(pieces)


def _behind(body: bytes, at: int) -> int:
    at = skip_blank(body, at)
    return at + 1 if body[at : at + 1] == b";" else at


def _lookup(name: str, scopes: list[Dictionary]) -> Any:
    key = name.strip(";").lstrip("$").strip("{}").lstrip(":.")
    for scope in scopes:
        if key in scope.entries:
            return scope.entries[key]
    raise DamagedError(f"names {name}, which is not there")
