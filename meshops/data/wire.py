"""Messages between a process and the one that reads files for it; without libraries, so that this starts at once."""

from __future__ import annotations

import pickle
import struct
from typing import Any, BinaryIO

HEAD = struct.Struct("<q")


def send(stream: BinaryIO, message: Any) -> None:
    """Write a message; arrays go without a copy."""
    buffers: list[pickle.PickleBuffer] = []
    body = pickle.dumps(message, protocol=5, buffer_callback=buffers.append)
    raws = [buffer.raw() for buffer in buffers]
    stream.write(HEAD.pack(len(raws)) + b"".join(HEAD.pack(raw.nbytes) for raw in raws) + HEAD.pack(len(body)) + body)
    for raw in raws:
        stream.write(raw)
    stream.flush()


def receive(stream: BinaryIO) -> Any:
    """Read a message.

    Raises:
        EOFError: The other side is gone.
    """
    count = HEAD.unpack(_exactly(stream, HEAD.size))[0]
    sizes = [HEAD.unpack(_exactly(stream, HEAD.size))[0] for _ in range(count)]
    body = _exactly(stream, HEAD.unpack(_exactly(stream, HEAD.size))[0])
    return pickle.loads(body, buffers=[_exactly(stream, size) for size in sizes])


def _exactly(stream: BinaryIO, size: int) -> bytearray:
    out = bytearray(size)
    view, done = memoryview(out), 0
    while done < size:
        got = stream.readinto(view[done:])  # type: ignore[attr-defined]
        if not got:
            raise EOFError("the other side is gone")
        done += got
    return out
