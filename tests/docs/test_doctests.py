"""Every ``>>>`` line of a docstring does what it shows, and the Python of pages runs."""

from __future__ import annotations

import doctest
import importlib
import json
import re
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import meshops
from meshops.errors import MeshopsError

PACKAGE = Path(meshops.__file__).parent
PUBLIC = ("ops", "partition", "data", "aero", "nn", "models", "metrics", "datasets", "tasks", "training", "selection")
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if ">>> " in path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    """What a reader of the reference would have imported."""
    found: dict[str, Any] = {"meshops": meshops, "torch": torch, "np": np}
    for package in PUBLIC:
        module = importlib.import_module(f"meshops.{package}")
        found |= {name: getattr(module, name) for name in module.__all__}
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_examples_of_docstrings(
    path: Path, names: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(".".join(["meshops", *path.relative_to(PACKAGE).with_suffix("").parts]))
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    told: list[str] = []
    runner = doctest.DocTestRunner(optionflags=flags, verbose=False)
    for case in doctest.DocTestFinder().find(module, extraglobs=names | vars(module)):
        torch.manual_seed(0)
        runner.run(case, out=told.append)
    assert not runner.failures, "".join(told)


ROOT = PACKAGE.parent
PAGES = sorted(
    page
    for pattern in ("README.md", "docs/**/*.md", "models/*/README.md", "datasets/*/README.md")
    for page in ROOT.glob(pattern)
    if "_build" not in page.parts and "\n```python\n" in page.read_text(encoding="utf-8")
)
# What a reader has and these tests have not: a checkpoint, a mesh, a folder of data.
THEIRS = re.compile(
    r"no such checkpoint file|no such file; check|no (?:folder|file) \S+; (?:download|get it)|^kind must be"
)
ELSEWHERE = ("docs/howto/many_processes.md",)  # under torchrun, see tests/nn/test_across.py
LONG = ("docs/howto/shapenet_car.md", "docs/howto/graphs.md", "docs/howto/own_data.md")  # they train


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=pytest.mark.slow) if n in LONG else n
        for n in (str(p.relative_to(ROOT)) for p in PAGES)
        if n not in ELSEWHERE
    ],
)
def test_python_blocks_of_pages_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From top to bottom, as a reader would, up to the first file that only the reader has."""
    monkeypatch.chdir(tmp_path)
    page, known = ROOT / name, dict[str, Any]()
    for block in re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        try:
            exec(compile(block, str(page), "exec"), known)
        except MeshopsError as error:
            assert THEIRS.search(str(error)), error
            break


@pytest.mark.slow
def test_the_notebook_of_the_first_hour_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All its code, with few steps and without IPython, whose pictures are only shown."""
    shown: list[str] = []
    display = types.ModuleType("IPython.display")
    display.display = shown.append  # type: ignore[attr-defined]
    display.Image = lambda name, width: name  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    monkeypatch.chdir(tmp_path)
    known: dict[str, Any] = {}
    notebook = json.loads((ROOT / "docs" / "start" / "first_hour.ipynb").read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        assert cell["cell_type"] == "markdown" or cell["outputs"] == []
        if cell["cell_type"] == "code":
            code = (
                "".join(cell["source"]).replace("STEPS = 300", "STEPS = 3").replace("MINUTES = 2.0", "MINUTES = 0.05")
            )
            exec(compile(code, "first_hour.ipynb", "exec"), known)
    assert shown == ["patches.png"] and Path("patches.png").stat().st_size > 10_000
    assert known["prediction"].verdict.level == "inside" and known["again"].numbers["cd"].low is not None
