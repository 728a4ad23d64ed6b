"""What is done with a damaged input: every way a file of a stranger gets in. Only documented errors may come out."""

from __future__ import annotations

import contextlib
import io
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

from meshops.errors import MeshopsError, Stopped


def mesh(path: Path, data: str) -> str:
    """Read a mesh as a graph, as ``predict`` and data sets do."""
    del data
    from meshops.data import readers

    graph = readers.read(path)
    return f"{graph.num_nodes} nodes"


def command(*arguments: str) -> str:
    """A verb: done, findings, or an error in words."""
    from meshops.cli.main import main

    told = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(told):
        code = main(list(arguments))
    if code not in (0, 1, 2) or len(told.getvalue()) > 4000 or "Traceback" in told.getvalue():
        raise AssertionError(f"exit code {code}: {told.getvalue()[-2000:]}")
    if code == 2:
        raise MeshopsError(told.getvalue())
    return f"exit code {code}"


def check(path: Path, data: str) -> str:
    """``meshops data check``; the whole output is part of what is checked."""
    return command("data", "check", str(path), *(["--name", data] if data else []))


def load(path: Path, data: str) -> str:
    """Open a checkpoint and predict with it."""
    del data
    from meshops import load as load_surrogate
    from tests.fuzz.seeds import ball

    surrogate = load_surrogate(path)
    bare = ball(8)
    if surrogate.kind == "fields" and not getattr(surrogate.spec, "bodies", True):
        bare.clear_data()
    surrogate.predict(bare)
    return "predicted"


def run(path: Path, data: str) -> str:
    """Continue a run: settings, checkpoints and logs of the folder."""
    del data
    from meshops.cli.train import parse

    config = path / "config.yaml"
    parse([str(config)])
    out = path.with_name("resumed")
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(path, out)
    return command("train", "--config", str(config), "--out", str(out), "--resume")


ACTIONS: dict[str, Callable[[Path, str], str]] = {"mesh": mesh, "check": check, "load": load, "run": run}


def outcome(action: str, path: Path, data: str) -> tuple[str, str]:
    """``read``, ``refused`` (a documented error) or ``wrong``, and what was said."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return "read", ACTIONS[action](path, data)
        except Stopped:
            raise
        except MeshopsError as error:
            return "refused", str(error)
