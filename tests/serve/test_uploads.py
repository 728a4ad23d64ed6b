"""Uploads that end early or stall, names, sizes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from meshops.errors import InputError
from meshops.serve.limits import Limits, bytes_of, size_text
from meshops.serve.names import clean_name, ending, for_page, labels, stem_of
from tests.serve.conftest import Served

START = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.vtu"\r\n\r\n'
Receive = Callable[[], Awaitable[dict[str, Any]]]


def posted(served: Served, receive: Receive) -> list[dict[str, Any]]:
    """What the application sends for an upload that comes from ``receive``."""
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    headers = [(b"host", b"127.0.0.1"), (b"content-type", b"multipart/form-data; boundary=x")]
    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
             "path": "/predictions", "raw_path": b"/predictions", "query_string": b"", "headers": headers,
             "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8000)}  # fmt: skip
    served.client.portal.call(served.client.app, scope, receive, send)
    return sent


def test_an_upload_the_client_cancels_leaves_nothing(served: Served) -> None:
    before, steps = served.left(), iter([START, b"half a file"])

    async def receive() -> dict[str, Any]:
        body = next(steps, None)
        if body is None:
            assert served.service._uploading == 1
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": body, "more_body": True}

    posted(served, receive)
    assert served.left() == before and served.service._uploading == 0


def test_an_upload_that_stalls_is_given_up(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    before = served.left()

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(60)
        return {}

    limits = replace(served.service.limits, stall=0.05)
    layer: Any = served.client.app.middleware_stack
    while not hasattr(layer, "limits"):
        layer = layer.app
    monkeypatch.setattr(layer, "limits", limits)
    sent = posted(served, receive)
    assert sent[0]["status"] == 408 and b"nothing came for 0.05 s" in sent[1]["body"]
    assert served.left() == before and served.service._uploading == 0


def test_an_upload_without_a_length_ends_where_it_is_too_large(served: Served) -> None:
    before, given = served.left(), 0

    async def receive() -> dict[str, Any]:
        nonlocal given
        body = START if given == 0 else bytes(100_000)
        given += len(body)
        assert given < 2_000_000, "the server went on reading"
        return {"type": "http.request", "body": body, "more_body": True}

    sent = posted(served, receive)
    assert sent[0]["status"] == 413 and b"larger than 1.3 MB" in sent[1]["body"]
    assert served.left() == before and served.service._uploading == 0


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("car.stl", "car.stl"),
        ("../../etc/passwd.stl", "passwd.stl"),
        ("C:\\cars\\new one.stl", "new one.stl"),
        ("a\0b\n\u202ec.stl", "abc.stl"),
        ("..", "unnamed"),
        ("x" * 300 + ".stl", "x" * 60 + "…" + "x" * 15 + ".stl"),
        (None, "unnamed"),
    ],
)
def test_names_are_cleaned(given: str | None, shown: str) -> None:
    assert clean_name(given) == shown


def test_names_of_results_and_designs() -> None:
    assert stem_of("../my car (2).stl") == "my_car_2" and stem_of("….stl") == "prediction"
    assert labels(["a", "b", "a", "a"]) == ["a", "b", "a (2)", "a (3)"]
    assert (
        ending("CAR.STL", [".stl"]) == ".stl" and ending(".stl", [".stl"]) is None and ending("stl", [".stl"]) is None
    )
    assert for_page("x1.stl: then pass --scale 0.001", {"x1.stl": "car.stl"}) == "car.stl: then pass the scale 0.001"


@pytest.mark.parametrize(("text", "count"), [("200MB", 200e6), ("1.5 GB", 1.5e9), ("10k", 10e3), ("7", 7)])
def test_sizes(text: str, count: float) -> None:
    assert bytes_of(text) == count


@pytest.mark.parametrize("text", ["", "big", "-1MB", "0", "1TB"])
def test_sizes_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="a size is a number with kB, MB or GB"):
        bytes_of(text)


def test_bounds_that_let_nothing_through_are_refused() -> None:
    with pytest.raises(InputError, match="keep-seconds must be positive, got 0"):
        Limits(keep_seconds=0)
    assert size_text(200_000_000) == "200 MB" and size_text(999) == "999 bytes"
