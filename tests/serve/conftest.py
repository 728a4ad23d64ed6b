"""A server of a surrogate of sheets, and what tests ask of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.trust.sheets import sheet

pytest.importorskip("fastapi", reason="needs the extra serve")


@dataclass
class Served:
    """A client of a running service."""

    client: Any
    service: Any

    def post(self, content: bytes, name: str = "sheet.vtu", **form: Any) -> Any:
        return self.client.post("/predictions", files={"file": (name, content)}, data={"condition": "angle=0.2"} | form)

    def wait(self, answer: Any, seconds: float = 120) -> dict[str, Any]:
        assert answer.status_code == 202, answer.text
        state, end = answer.json(), time.monotonic() + seconds
        while state["state"] in ("waiting", "running"):
            assert time.monotonic() < end, "the server did not answer in time"
            time.sleep(0.05)
            state = self.client.get(f"/{state['kind']}s/{state['id']}").json()
        return state

    def left(self) -> set[str]:
        """Everything on disk."""
        folder = self.service.folder
        return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


@pytest.fixture(scope="session")
def served(sheets_checkpoint: Path) -> Iterator[Served]:
    from fastapi.testclient import TestClient

    from meshops.serve import Limits, Service
    from meshops.serve.app import create_app

    service = Service(sheets_checkpoint, Limits(upload=300_000, waiting=8))
    with TestClient(create_app(service), base_url="http://127.0.0.1:8000", raise_server_exceptions=False) as client:
        yield Served(client, service)
    assert not service.folder.exists() and service.worker is None


@pytest.fixture(scope="session")
def sheet_file(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return file_of(tmp_path_factory.mktemp("sheet"), 1.2)


@pytest.fixture(scope="session")
def wide_file(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return file_of(tmp_path_factory.mktemp("wide"), 1.5)


def file_of(folder: Path, width: float) -> bytes:
    """A sheet as a file, without its field and condition."""
    mesh = sheet(width)
    mesh.clear_data()
    mesh.save(folder / "sheet.vtu")
    return (folder / "sheet.vtu").read_bytes()


@pytest.fixture
def started(sheets_checkpoint: Path, tmp_path: Path) -> Iterator[Any]:
    """A server process with its own temporary folder."""
    (tmp_path / "temporary").mkdir()
    environment = {**os.environ, "TMPDIR": str(tmp_path / "temporary"), "PYTHONPATH": os.getcwd()}
    command = [sys.executable, "-m", "meshops", "serve", str(sheets_checkpoint), "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stderr is not None
    lines = []
    while not (found := re.search(r"http://127\.0\.0\.1:(\d+)/", lines[-1] if lines else "")):
        lines.append(process.stderr.readline())
        assert lines[-1], "".join(lines)
    yield SimpleNamespace(process=process, port=int(found[1]), folder=tmp_path / "temporary")
    process.kill()
    process.wait()
