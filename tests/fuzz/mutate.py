"""Damage as transfers, programs and strangers make it: mutations of bytes, of packed content, and of what a file means.

Every function takes a ``random.Random``, so that a case is repeated by its seed.
"""

from __future__ import annotations

import base64
import gzip
import io
import random
import re
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

NUMBERS = (
    b"0", b"-1", b"1", b"2", b"255", b"65536", b"2147483647", b"-2147483648", b"4294967296", b"1000000000000",
    b"9223372036854775807", b"18446744073709551616", b"1" + b"0" * 400, b"1e308", b"-1e-320", b"1e999", b"nan", b"-inf",
    b"0x10", b"1.5.2", b"1,5", b"", b"x", b"1_0", b"\xd9\xa1",
)  # fmt: skip
WHOLE = (
    0,
    1,
    2,
    3,
    7,
    127,
    255,
    32767,
    65535,
    2**24,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**40,
    2**62,
    2**63 - 1,
    -1,
    -(2**31),
)
DIGITS = re.compile(rb"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
Draw = random.Random


def _span(raw: bytes, draw: Draw, most: int = 64) -> tuple[int, int]:
    start = draw.randrange(len(raw) + 1)
    return start, min(len(raw), start + 1 + int(draw.random() ** 3 * most))


def flip_bits(raw: bytes, draw: Draw, other: bytes) -> bytes:
    """Some bits are wrong."""
    out = bytearray(raw)
    for _ in range(draw.choice((1, 1, 2, 4, 16))):
        out[draw.randrange(len(out))] ^= 1 << draw.randrange(8)
    return bytes(out)


def flip_in_head(raw: bytes, draw: Draw, other: bytes) -> bytes:
    """A byte near the beginning, where counts stand."""
    out = bytearray(raw)
    out[draw.randrange(min(len(out), 256))] = draw.randrange(256)
    return bytes(out)


def truncate(raw: bytes, draw: Draw, other: bytes) -> bytes:
    """The file ends early."""
    return raw[: draw.randrange(len(raw) + 1)]


def cut_out(raw: bytes, draw: Draw, other: bytes) -> bytes:
    """A piece is missing."""
    start, stop = _span(raw, draw, 400)
    return raw[:start] + raw[stop:]


def repeat(raw: bytes, draw: Draw, other: bytes) -> bytes:
    """A piece stands there twice."""
    start, stop = _span(raw, draw, 400)
    return raw[:stop] + raw[start:stop] * draw.choice((1, 1, 3)) + raw[stop:]


def swap_blocks(raw: bytes, draw: Draw, other: bytes) -> bytes:
    """Two pieces changed places."""
    a, b, c, d = sorted(draw.randrange(len(raw) + 1) for _ in range(4))
    return raw[:a] + raw[c:d] + raw[b:c] + raw[a:b] + raw[d:]


def splice(raw: bytes, draw: Draw, other: bytes) -> bytes:
    """The rest is that of another file."""
    return raw[: draw.randrange(len(raw) + 1)] + other[draw.randrange(len(other) + 1) :]


def fill(raw: bytes, draw: Draw, other: bytes) -> bytes:
    """A block was never written: zeros, or ones."""
    start, stop = _span(raw, draw, 600)
    return raw[:start] + bytes([draw.choice((0, 255, 32, 10))]) * (stop - start) + raw[stop:]


def length_field(raw: bytes, draw: Draw, other: bytes) -> bytes:
    """A binary count or offset is wrong."""
    size = draw.choice((1, 2, 4, 4, 8, 8))
    if len(raw) < size:
        return raw
    start = draw.randrange(len(raw) - size + 1)
    if draw.random() < 0.7:
        start -= start % min(size, 4)
    value = draw.choice(WHOLE) & ((1 << 8 * size) - 1)
    order = draw.choice(("little", "little", "big"))
    return raw[:start] + value.to_bytes(size, order) + raw[start + size :]  # type: ignore[arg-type]


def double_field(raw: bytes, draw: Draw, other: bytes) -> bytes:
    """A binary number is not finite, or huge."""
    if len(raw) < 8:
        return raw
    start = draw.randrange(len(raw) - 7) // 4 * 4
    value = draw.choice((float("nan"), float("inf"), -1e308, 1e-320, 0.0))
    packed = struct.pack(draw.choice("<>") + "d", value) if draw.random() < 0.5 else struct.pack("<f", value % 3e38)
    return raw[:start] + packed + raw[start + len(packed) :]


def number(raw: bytes, draw: Draw, other: bytes) -> bytes:
    """A number in text is another one, or none."""
    found = list(DIGITS.finditer(raw, 0, 40_000))
    if not found:
        return length_field(raw, draw, other)
    spot = found[int(draw.random() ** 2 * len(found))] if draw.random() < 0.7 else draw.choice(found)
    return raw[: spot.start()] + draw.choice(NUMBERS) + raw[spot.end() :]


def lines(raw: bytes, draw: Draw, other: bytes) -> bytes:
    """A line is lost, stands twice, or changed its place."""
    all_lines = raw.split(b"\n")
    if len(all_lines) < 3:
        return cut_out(raw, draw, other)
    place = int(draw.random() ** 2 * len(all_lines))
    what = draw.randrange(3)
    line = all_lines[place] if what == 1 else all_lines.pop(place)
    if what:
        all_lines.insert(draw.randrange(len(all_lines) + 1), line)
    return b"\n".join(all_lines)


def word(raw: bytes, draw: Draw, other: bytes) -> bytes:
    """A word of the format takes the place of another, or a mark is lost."""
    found = list(re.finditer(rb"[A-Za-z_]{2,}|[\"'<>{}()\[\];:=/,]", raw[:40_000]))
    if len(found) < 2:
        return flip_bits(raw, draw, other)
    spot, new = draw.choice(found), draw.choice(found)
    return raw[: spot.start()] + draw.choice((new[0], new[0], b"", b"\x00", "ß".encode())) + raw[spot.end() :]


def in_base64(raw: bytes, draw: Draw, other: bytes) -> bytes:
    """A value or a count of an array that XML holds in base64."""
    found = list(re.finditer(rb"[A-Za-z0-9+/]{12,}={0,2}", raw))
    if not found:
        return number(raw, draw, other)
    spot = draw.choice(found)
    packed = spot[0][: len(spot[0]) // 4 * 4]
    inner = draw.choice((flip_bits, flip_in_head, length_field, length_field, truncate, double_field))
    new = base64.b64encode(inner(base64.b64decode(packed), draw, other))
    return raw[: spot.start()] + new + raw[spot.start() + len(packed) :]


BYTES: tuple[Callable[[bytes, Draw, bytes], bytes], ...] = (
    flip_bits, flip_in_head, truncate, cut_out, repeat, swap_blocks, splice, fill, length_field, length_field,
    double_field, number, number, number, lines, word,
)  # fmt: skip

MARKED = (in_base64, in_base64, number, number, double_field)


def damaged(raw: bytes, draw: Draw, other: bytes) -> bytes:
    """One to four mutations; of the packed content too, with sums and sizes made right again."""
    packed = PACKED.get(raw[:2])
    if packed is not None and draw.random() < 0.7:
        return packed(raw, draw, other)
    # Most damage ends in the parser of XML: half of it is done to what stands in the marks.
    ways = MARKED if raw.lstrip().startswith(b"<") and draw.random() < 0.5 else BYTES
    out = raw
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        out = draw.choice(ways)(out, draw, other) if out else out
    return out


def in_gzip(raw: bytes, draw: Draw, other: bytes) -> bytes:
    """The content of a gzip file."""
    return gzip.compress(damaged(gzip.decompress(raw), draw, other), 1)


def in_zip(raw: bytes, draw: Draw, other: bytes) -> bytes:
    """A member of a ZIP archive (``.npz``, checkpoints); now and then one that is missing, twice, or packed."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(raw)) as old, zipfile.ZipFile(out, "w") as new:
        names = old.namelist()
        spoilt = draw.choice(names)
        how = draw.random()
        for name in names:
            body = old.read(name)
            if name == spoilt and how < 0.1:
                continue
            if name == spoilt and how < 0.85:
                body = damaged(body, draw, other)
            kind = zipfile.ZIP_DEFLATED if how > 0.95 else old.getinfo(name).compress_type
            new.writestr(zipfile.ZipInfo(name), body, kind)
    return out.getvalue()


PACKED: dict[bytes, Callable[[bytes, Draw, bytes], bytes]] = {b"\x1f\x8b": in_gzip, b"PK": in_zip}

ODD: tuple[Any, ...] = (
    None, True, -1, 0, 1, 10**9, 10**30, -(2**63), 1e308, float("nan"), float("inf"), "", "../../escaped",
    "/etc/passwd", "<script>alert(1)</script>", "x" * 5000, "\x00", b"\xff", [], {}, [[]], (), [0] * 1000, {"a": None},
)  # fmt: skip


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where values stand in nested dictionaries and lists."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [path, *(each for key, value in items for each in places(value, (*path, key)))]


def in_tree(tree: Any, draw: Draw) -> Any:
    """One value of a tree of plain values and tensors is another one, missing, or of a neighbour."""
    import torch

    spots = [spot for spot in places(tree) if spot]
    spot = draw.choice(spots)
    parent = tree
    for key in spot[:-1]:
        parent = parent[key]
    value, how = parent[spot[-1]], draw.random()
    if how < 0.15:
        del parent[spot[-1]]
    elif how < 0.25:
        other: Any = tree
        for key in draw.choice(spots):
            other = other[key]
        parent[spot[-1]] = other
    elif isinstance(value, torch.Tensor):
        parent[spot[-1]] = draw.choice((
            value.double(), value.reshape(-1)[:-1], value[None], value * float("nan"), value.to(torch.int8), None,
            torch.zeros(1).expand(10**6, 10**6), torch.zeros(0), value.to_sparse() if value.dim() else value,
            torch.empty(3, device="meta"), value.to(torch.complex64),
        ))  # fmt: skip
    elif isinstance(value, bool | str) or value is None or how > 0.7:
        parent[spot[-1]] = draw.choice(ODD)
    elif isinstance(value, int | float):
        parent[spot[-1]] = draw.choice((0, -1, value * 10**6, value + 1, -value, 2**31, 2**63, 0.5, 1e30, float("nan")))
    elif isinstance(value, list):
        parent[spot[-1]] = draw.choice(
            (value[1:], value * 2, value * 10_000, [value], value[::-1], [None] * len(value))
        )
    else:
        parent[spot[-1]] = draw.choice(ODD)
    return tree


def in_checkpoint(path: Path, draw: Draw) -> None:
    """Rewrite a file of PyTorch with one to three other values."""
    import torch

    content = torch.load(path, weights_only=True)
    for _ in range(draw.choice((1, 1, 2, 3))):
        content = in_tree(content, draw)
    torch.save(content, path)


def in_hdf5(path: Path, draw: Draw) -> None:
    """Change what an HDF5 file means: entries, links, shapes, types, where values are stored."""
    import h5py
    import numpy as np

    with h5py.File(path, "r+") as file:
        names: list[str] = []
        file.visit(names.append)
        name = draw.choice(names)
        parent, _, last = name.rpartition("/")
        group, item = file[parent or "/"], file[name]
        if draw.random() < 0.3 and len(item.attrs or file.attrs):
            holder = item if len(item.attrs) else file
            key = draw.choice(list(holder.attrs))
            del holder.attrs[key]
            if draw.random() < 0.7:
                holder.attrs[key] = draw.choice(
                    (0, -1, 1e300, "", "../x", np.zeros(0), np.zeros((3, 3)), b"\xff", 2**62)
                )
            return
        is_set = isinstance(item, h5py.Dataset)
        shape, dtype = (item.shape, item.dtype) if is_set else ((3,), np.dtype("f4"))
        del group[last]
        shape = shape or ()
        makers: tuple[Callable[[], Any], ...] = (
            lambda: None,
            lambda: group.create_group(last),
            lambda: group.__setitem__(last, h5py.SoftLink(name)),
            lambda: group.__setitem__(last, h5py.SoftLink("/nowhere")),
            lambda: group.__setitem__(last, h5py.SoftLink("/")),
            lambda: group.__setitem__(last, h5py.HardLink("/")) if False else group.__setitem__(last, file["/"]),
            lambda: group.__setitem__(last, h5py.ExternalLink("/etc/passwd", "/x")),
            lambda: group.create_dataset(last, data=np.float32(1.0)),
            lambda: group.create_dataset(last, data="text"),
            lambda: group.create_dataset(last, data=h5py.Empty("f4")),
            lambda: group.create_dataset(last, shape, dtype="S8"),
            lambda: group.create_dataset(last, shape, dtype=[("a", "f4"), ("b", "i8")]),
            lambda: group.create_dataset(last, shape, dtype=h5py.vlen_dtype(np.dtype("f4"))),
            lambda: group.create_dataset(last, shape, dtype="c16"),
            lambda: group.create_dataset(last, (0, *shape[1:]), dtype=dtype),
            lambda: group.create_dataset(last, (*shape, 1), dtype=dtype),
            lambda: group.create_dataset(last, [n + 1 for n in shape], dtype=dtype),
            lambda: group.create_dataset(last, [max(1, n - 1) for n in shape], dtype=dtype),
            lambda: group.create_dataset(last, (2**40, *shape[1:]), dtype=dtype, chunks=True),
            lambda: group.create_dataset(last, (*shape[:-1], 10**9), dtype=dtype, chunks=True),
            lambda: group.create_dataset(last, shape, dtype=dtype, fillvalue=np.zeros((), dtype)[()]),
            lambda: group.create_dataset(last, shape or (1,), dtype=dtype, external=[("/etc/passwd", 0, 2**30)]),
            lambda: group.create_dataset(last, data=np.full(shape, np.nan)),
            lambda: group.create_dataset(last, data=np.full(shape, 2**62)),
            lambda: group.create_virtual_dataset(
                last, _virtual(h5py, shape or (1,), dtype), fillvalue=0
            ),
        )  # fmt: skip
        try:
            draw.choice(makers)()
        except (ValueError, TypeError, RuntimeError, OSError):
            pass  # not of this type or shape: the entry is missing


def _virtual(h5py: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    layout = h5py.VirtualLayout(shape, dtype)
    layout[...] = h5py.VirtualSource("/etc/passwd", "x", shape)
    return layout
