"""Who may ask, and what every answer says to the browser.

The server has no passwords: pages of other sites must not reach it through the user's browser. Names in ``Host`` that
are not its own are refused (a foreign name that was made to point here), and so are requests that change something and
come from another origin. Addresses in figures cannot be such names.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from meshops.serve.limits import FORM, SMALL_BODY, Limits
from meshops.serve.names import clean_name
from meshops.serve.uploads import bounded

SAFE = ("GET", "HEAD", "OPTIONS")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "frame-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)


class Guard:
    """Wraps the application.

    Args:
        app: What is guarded.
        limits: Of bodies.
        names: Host names beside those of this machine.
    """

    def __init__(self, app: ASGIApp, limits: Limits, names: Iterable[str] = ()) -> None:
        self.app, self.limits = app, limits
        self.names = {"localhost", socket.gethostname().lower(), *(name.lower() for name in names)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on with bounded bodies and with the headers."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        problem = self.problem(scope["method"], headers)
        if problem:
            await JSONResponse({"error": problem}, 403, headers={"connection": "close"})(scope, receive, send)
            return
        most = self.limits.upload + FORM if scope["path"] == "/predictions" else SMALL_BODY
        declared = headers.get("content-length", "0")
        if declared.isdigit() and int(declared) > most:
            text = f"the request of {int(declared):,} bytes is larger than {most:,}, the most this server takes"
            await JSONResponse({"error": text}, 413, headers={"connection": "close"})(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                answered = MutableHeaders(raw=message["headers"])
                answered.setdefault("content-security-policy", POLICY)
                answered.setdefault("cache-control", "no-store")
                answered["x-content-type-options"] = "nosniff"
                answered["referrer-policy"] = "no-referrer"
                answered.setdefault("cross-origin-resource-policy", "same-origin")
                message["headers"] = answered.raw
            await send(message)

        await self.app(scope, bounded(receive, most, self.limits.stall), with_headers)

    def problem(self, method: str, headers: Headers) -> str:
        """Why a request is refused; empty: it is not."""
        host = headers.get("host", "")
        if not self.known(host):
            return (
                f"this server does not answer to the name '{clean_name(host)}'; use its address, or start it with "
                "--allow-host NAME"
            )
        if method in SAFE:
            return ""
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2].lower() != host.lower():
            return f"the request comes from a page of '{clean_name(origin)}'; open this server's own page"
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return "the request comes from a page of another site; open this server's own page"
        return ""

    def known(self, host: str) -> bool:
        """Whether a ``Host`` is an address or a name of this server."""
        found = re.fullmatch(r"(?:\[([0-9a-f:.]+)\]|([\w.-]+))(?::\d{1,5})?", host.lower(), re.ASCII)
        if found is None:
            return False
        name = found[1] or found[2]
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name in self.names
        return True
