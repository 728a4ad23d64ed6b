"""Serve until Ctrl-C: the socket first, then the model, then the page."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

from meshops.errors import InputError
from meshops.optional import require
from meshops.serve.limits import Limits
from meshops.serve.service import Service

MOST_CONNECTIONS = 200


def serve(
    checkpoint: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    limits: Limits | None = None,
    device: str = "cpu",
    names: Sequence[str] = (),
    modules: Sequence[str] = (),
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve a surrogate; returns after Ctrl-C or SIGTERM, when everything is removed.

    Args:
        checkpoint: Of kind ``fields`` or ``numbers``.
        host: Address to listen at; the default is reached from this machine alone.
        port: 0: any free one.
        limits: Bounds.
        device: Where the worker predicts.
        names: Host names to answer to beside those of this machine.
        modules: The worker imports before it loads the model.
        say: Called with lines for the person who started it.

    Raises:
        InputError: The address cannot be listened at, or the checkpoint cannot be served.
        MissingPackageError: The extra ``serve`` is not installed.
    """
    for package in ("fastapi", "uvicorn", "python_multipart"):
        require(package, extra="serve", purpose="meshops serve")
    service = Service(checkpoint, limits, device=device, modules=tuple(modules))
    with listening(host, port) as door:
        asyncio.run(_run(service, door, names, say))


async def _run(service: Service, door: socket.socket, names: Sequence[str], say: Callable[[str], None]) -> None:
    import uvicorn

    from meshops.serve.app import create_app

    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # what strangers send is their affair
    say("loading and warming the model")
    await service.start()
    try:
        address, port = door.getsockname()[:2]
        shown = f"[{address}]" if ":" in address else address
        if not ipaddress.ip_address(address).is_loopback:
            say("warning: everyone who reaches this machine over the network can use the page; there is no password")
        config = uvicorn.Config(
            create_app(service, names), log_level="error", access_log=False, server_header=False, ws="none",
            limit_concurrency=MOST_CONNECTIONS, timeout_keep_alive=10, timeout_graceful_shutdown=2,
        )  # fmt: skip
        name = service.card["name"]
        say(f"{name}: open http://{shown}:{port}/  (Ctrl-C stops, results are removed)")
        await uvicorn.Server(config).serve(sockets=[door])
    finally:
        await service.close()


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        InputError: It cannot; the message says why.
    """
    if not 0 <= port < 65536:
        raise InputError(f"--port must be 0 to 65535, got {port}")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        door = socket.socket(family, kind, protocol)
    except OSError as error:
        raise InputError(f"--host {host}: {error.strerror or error}; give an address of this machine") from None
    try:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind(address)
        door.listen(128)
    except OSError as error:
        door.close()
        raise InputError(
            f"cannot listen at {host}, port {port} ({error.strerror}); choose another --port, or 0 for any free one"
        ) from None
    door.set_inheritable(False)
    return door
