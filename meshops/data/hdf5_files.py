"""What an HDF5 file must be before its values are read: whole, no larger than it says, and without other files in it.

The library crashes or reads foreign files on what strangers write: links to other files, datasets whose values lie in
any file of the machine (external storage, virtual datasets), sizes of terabytes that are nowhere stored.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from meshops.errors import InputError, MeshopsError

MOST_UNSTORED, MOST_PACKED = 1 << 26, 2000  # bytes of fill values, and times that compression makes arrays smaller
MOST_READ = 8 << 20  # bytes of values that are read on trial
MOST_OBJECTS = 200_000  # groups and datasets that are looked at; files of more are looked at so far
SIGNATURE = b"\x89HDF\r\n\x1a\n"


def is_hdf5(path: Path) -> bool:
    """Whether a file says it is HDF5, at its beginning or behind a block of the user (MATLAB: 512 bytes)."""
    with path.open("rb") as file:
        head = file.read(2048 + 8)
    return any(head[at : at + 8] == SIGNATURE for at in (0, 512, 1024, 2048))


def inspect_hdf5(path: Path) -> None:
    """Walk through a file as reading would, and refuse what no sound file of one piece has.

    What the library merely cannot read is left to the one who reads it. A damaged file may end the process: call it
    through :func:`meshops.data.contained.check_hdf5`.

    Raises:
        InputError: Not HDF5, or it names other files, or declares far more than it stores.
    """
    import h5py  # takes a tenth of a second

    try:
        with h5py.File(path, "r") as file:
            _walk(file, path, h5py)
    except MeshopsError:
        raise
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise InputError(
            f"{path}: cannot be read as HDF5 ({reason}); the file is truncated or damaged, download or export it again"
        ) from None


def check_declared(item: Any, path: Path) -> None:
    """Refuse a dataset that declares far more bytes than it stores.

    Raises:
        InputError: It does.
    """
    stored = getattr(getattr(item, "id", None), "get_storage_size", int)()
    declared = getattr(item, "nbytes", 0)
    chunk = 1
    for length in getattr(item, "chunks", None) or (0,):
        chunk *= length
    declared = max(declared, chunk * getattr(getattr(item, "dtype", None), "itemsize", 0))
    if declared > MOST_UNSTORED + MOST_PACKED * stored:
        raise InputError(
            f"{path}: '{item.name}' declares {declared:.1e} bytes and stores {stored}; the file is damaged, download "
            "or export it again"
        )


def _walk(file: Any, path: Path, h5py: Any) -> None:
    seen: set[int] = set()
    waiting, left, size = [file["/"]], MOST_READ, path.stat().st_size
    while waiting and len(seen) < MOST_OBJECTS:
        item = waiting.pop()
        try:
            address = int(h5py.h5o.get_info(item.id).addr)
            if address in seen:
                continue
            seen.add(address)
            for name in item.attrs:
                _tried(lambda item=item, name=name: item.attrs[name])
            if isinstance(item, h5py.Dataset):
                left -= _dataset(item, path, size, left)
            elif isinstance(item, h5py.Group):
                waiting += _members(item, path, h5py)
        except MeshopsError:
            raise
        except Exception:  # whoever reads it is told
            continue


def _members(group: Any, path: Path, h5py: Any) -> list[Any]:
    out = []
    for name in group:
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            raise InputError(
                f"{path}: '{name}' is a link to another file ({str(link.filename)[:80]!r}), which is not followed; "
                "copy all into one file"
            )
        if isinstance(link, h5py.HardLink):
            member = _tried(lambda name=name: group[name])
            if member is not None:
                out.append(member)
    return out


def _dataset(item: Any, path: Path, size: int, left: int) -> int:
    """Check one; returns the bytes that were read of it."""
    if item.external or item.is_virtual:
        raise InputError(
            f"{path}: the values of '{item.name}' lie in other files, which are not read; copy all into one file"
        )
    check_declared(item, path)
    if item.chunks is not None and item.id.get_storage_size():
        far = [0]

        def chunk(info: Any) -> None:
            far[0] = max(far[0], int(info.byte_offset) + int(info.size))

        item.id.chunk_iter(chunk)
        if far[0] > size:
            raise InputError(f"{path}: '{item.name}' lies beyond the end of the file, which is cut off; copy it again")
    if item.nbytes > left:
        return 0
    _tried(lambda: item[()])
    return int(item.nbytes)


def _tried(read: Any) -> Any:
    try:
        return read()
    except Exception:
        return None
