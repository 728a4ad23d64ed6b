"""Files that a mesh file names: they must lie beside it or below its folder, and XML must not make text of its own.

A file of a stranger could else have any file of the machine read as a field, or grow without end in memory.
"""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from meshops.errors import InputError

HEAD = 1 << 16  # bytes in which the first element of a sound XML file begins
# What XDMF files begin with; a list of declarations that is empty declares nothing.
EMPTY_TYPE = re.compile(rb"<!DOCTYPE\s+\w+(?:\s+SYSTEM\s+\"[\w.-]*\")?\s*(?:\[\s*\])?\s*>")
COMMENT = re.compile(rb"<!--.*?-->|<\?.*?\?>", re.DOTALL)
# Lines of an EnSight case that name a file with their last word.
ENSIGHT = re.compile(r"^\s*(?:model|measured|match|boundary|rigid_body|filename|[\w ]+ per [\w ]+)\s*:\s*(.+)$", re.I)


def named(index: Path, name: str) -> Path:
    """The file that ``index`` names.

    Raises:
        InputError: It lies outside of the folder of the index.
    """
    plain = name.strip().replace("\\", "/")
    path = PurePosixPath(plain)
    depth, lowest = 0, 0
    for part in path.parts:
        depth += -1 if part == ".." else 1
        lowest = min(lowest, depth)
    if path.is_absolute() or PureWindowsPath(plain).drive or lowest < 0 or "\x00" in plain or "://" in plain:
        raise InputError(
            f"{index}: names the file {name[:120]!r}, outside of its own folder; put all files that belong together "
            "into one folder and name them from there"
        )
    return index.parent / plain


def check_xml(path: Path) -> None:
    """Refuse XML that declares a document type: entities repeat text without end, or read other files.

    Raises:
        InputError: It does, or is written in UTF-16, or has no element near its beginning.
    """
    with path.open("rb") as file:
        head = file.read(HEAD)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\x00" in head[:64]:
        raise InputError(f"{path}: is XML in UTF-16, which is not read; write it in UTF-8")
    bare = EMPTY_TYPE.sub(b"", COMMENT.sub(b"", head), count=1)
    root = re.search(rb"<[A-Za-z_]", bare)
    if b"<!DOCTYPE" in bare[: root.start() if root else None] or b"<!ENTITY" in bare:
        raise InputError(f"{path}: declares entities, which no mesh file needs; write it again without <!DOCTYPE ...>")
    if root is None:
        raise InputError(f"{path}: no element of XML in its first {HEAD} bytes; it is damaged, export it again")


def tree(path: Path) -> ElementTree.Element:
    """The elements of an index; appended data have no place in one.

    Raises:
        InputError: It is damaged, or declares entities.
    """
    check_xml(path)
    try:
        return ElementTree.fromstring(path.read_bytes())
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # and a coding that nobody knows
        raise InputError(f"{path}: the index is damaged or cut off ({error}); export or copy it again") from error


def check_vtk_index(path: Path) -> None:
    """Check what an index of VTK (``.vtm``, ``.pvti``, ...) names before VTK opens it.

    Raises:
        InputError: A file lies elsewhere, or the index is damaged.
    """
    for element in tree(path).iter():
        for key in ("file", "Source"):
            if key in element.attrib:
                named(path, element.attrib[key])


def check_xdmf(path: Path) -> list[Path]:
    """Check what an XDMF file names; returns the HDF5 files.

    Raises:
        InputError: A file lies elsewhere, the file is damaged, or includes others by XInclude.
    """
    out: list[Path] = []
    for element in tree(path).iter():
        if "XInclude" in element.tag or element.get("href"):
            raise InputError(f"{path}: includes other files (xi:include), which are not read; put all into one file")
        kind, text = element.get("Format", ""), (element.text or "").strip()
        if element.tag.rpartition("}")[2] == "DataItem" and kind.upper() in ("HDF", "BINARY", "TIFF"):
            name = text.rpartition(":/")[0] or text.partition(":")[0] if kind.upper() == "HDF" else text
            file = named(path, name)
            if kind.upper() == "HDF" and file not in out:
                out.append(file)
    return out


def check_ensight(path: Path) -> None:
    """Check what an EnSight case names.

    Raises:
        InputError: A file lies elsewhere.
    """
    for line in path.read_bytes()[: 1 << 22].decode("latin-1").splitlines():
        if found := ENSIGHT.match(line):
            for word in found[1].split():
                named(path, word.strip('"'))


def check_gltf(path: Path) -> None:
    """Check what a glTF file names; pictures are not read.

    Raises:
        InputError: A file lies elsewhere.
    """
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return  # binary or damaged: the reader says so
    for name in _uris(content):
        if not name.startswith("data:"):
            named(path, name)


def _uris(content: Any) -> Iterator[str]:
    waiting = [content]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if isinstance(value.get("uri"), str):
                yield value["uri"]
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
