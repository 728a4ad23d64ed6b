"""``meshops serve`` as it is started: refusals before, Ctrl-C after, many uploads and garbage between."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import meshops.surrogate
from meshops.cli.main import main
from meshops.errors import InputError
from meshops.serve.worker import loaded

pytest.importorskip("uvicorn", reason="needs the extra serve")
UPLOADS = 20


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["serve", *arguments]) == 2
    message = capsys.readouterr().err
    assert "Traceback" not in message and len(message.strip().splitlines()) <= 3
    return message


def test_what_cannot_be_served_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = tmp_path / "model.ckpt"
    assert "no such checkpoint file" in refused(capsys, str(checkpoint))
    checkpoint.write_bytes(b"no checkpoint")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        message = refused(capsys, str(checkpoint), "--port", str(port))
    assert f"port {port} (Address already in use); choose another --port" in message
    assert "--port must be 0 to 65535" in refused(capsys, str(checkpoint), "--port", "70000")
    assert "a size is a number" in refused(capsys, str(checkpoint), "--max-size", "huge")
    assert "waiting must be positive" in refused(capsys, str(checkpoint), "--max-waiting", "0")


def test_other_kinds_are_refused_with_what_to_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meshops.surrogate, "load", lambda *_, **__: SimpleNamespace(kind="rollout"))
    with pytest.raises(InputError, match=r"of kind 'rollout'; the page serves those of kind 'fields'"):
        loaded({"checkpoint": "model.ckpt", "device": "cpu", "modules": [], "memory": 1})


def memory_of(pid: int) -> float:
    """Resident memory of a process and all it started, MB."""
    total = 0.0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            own = int(path.parent.name)
            if own == pid:
                total += int((path.parent / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
            elif parent == pid:
                total += memory_of(own)
        except (OSError, ValueError):
            continue
    return total


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_twenty_uploads_at_once_garbage_and_ctrl_c(started: Any, wide_file: bytes, sheet_file: bytes) -> None:
    """None is lost, memory stays, nothing is left. With ``-s`` it prints the figures of the documentation."""
    import httpx

    address, begun = f"http://127.0.0.1:{started.port}", time.monotonic()
    with httpx.Client(base_url=address, timeout=120) as client:

        def one(number: int) -> dict[str, Any]:
            files = {"file": (f"{number}.vtu", (sheet_file, wide_file)[number % 2])}
            answer = client.post("/predictions", files=files, data={"condition": f"angle={number / 40}"})
            assert answer.status_code == 202, answer.text
            state: dict[str, Any] = answer.json()
            while state["state"] in ("waiting", "running"):
                time.sleep(0.3)
                state = client.get(f"/predictions/{state['id']}").json()
            return state

        first = one(0)
        before, most = memory_of(started.process.pid), 0.0
        with ThreadPoolExecutor(UPLOADS) as pool:
            waiting = [pool.submit(one, number) for number in range(UPLOADS)]
            slowest = 0.0
            while not all(future.done() for future in waiting):
                asked = time.monotonic()
                assert client.get("/").status_code == 200
                slowest = max(slowest, time.monotonic() - asked)
                most = max(most, memory_of(started.process.pid))
                time.sleep(0.1)
            states = [future.result() for future in waiting]
        spent = time.monotonic() - begun
        assert [state["state"] for state in states] == ["done"] * UPLOADS and first["state"] == "done"
        assert len({state["id"] for state in states}) == UPLOADS
        assert most < before + 300, "memory grows with the number of uploads"
        garbage(started.port)
        assert one(1)["state"] == "done"
    sys.stdout.write(f"\n{UPLOADS} uploads: {spent:.0f} s, memory {before:.0f} MB, at most {most:.0f} MB; the page "
                     f"answers in {slowest:.2f} s at most\n")  # fmt: skip
    started.process.send_signal(signal.SIGINT)
    said = started.process.stderr.read()
    assert started.process.wait(20) == 0 and said.strip() == "stopped; uploads and results are removed", said
    assert [path for path in started.folder.rglob("*") if "meshops-serve" in str(path)] == []


def garbage(port: int) -> None:
    """Two hundred requests no client would send, byte by byte what they are; answers are errors without a traceback."""
    draw = random.Random(2)
    heads = [
        b"POST /predictions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=x\r\n",
        b"GET /predictions/../../etc/passwd HTTP/1.1\r\nHost: 127.0.0.1\r\n",
        b"POST /comparisons HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n",
        b"DELETE /predictions/%2e%2e HTTP/1.1\r\nHost: 127.0.0.1\r\n",
        b"\x16\x03\x01\x02\x00",
        b"BREW /pot HTTP/9.9\r\n",
    ]
    lengths = [b"Content-Length: 99999999999\r\n", b"Content-Length: -5\r\n", b"Content-Length: 10\r\n", b"",
               b"Transfer-Encoding: chunked\r\n"]  # fmt: skip
    for _ in range(200):
        content = draw.choice(heads) + draw.choice(lengths) + b"\r\n" + draw.randbytes(draw.randrange(200))
        with socket.create_connection(("127.0.0.1", port), timeout=10) as wire:
            wire.settimeout(0.05)
            wire.sendall(content)
            answer = b""
            try:
                while part := wire.recv(65536):
                    answer += part
            except (TimeoutError, ConnectionError):
                pass
        assert b"Traceback" not in answer and b" 500 " not in answer.split(b"\r\n")[0], (content, answer)
        if answer.startswith(b"HTTP/1.1 2"):
            raise AssertionError(json.dumps([repr(content), repr(answer)]))
