"""Studies the doctor is tested on, and the benchmark that seeds faults into them."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from meshops.datasets import AhmedMini, GraphList
from meshops.doctor import Survey, survey

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def load(name: str) -> ModuleType:
    """A benchmark as a module."""
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def bench() -> ModuleType:
    """``benchmarks/doctor_faults.py``."""
    return load("doctor_faults")


@pytest.fixture(scope="session")
def airfoils(bench: ModuleType) -> GraphList:
    """One airfoil at 24 angles of attack, on one mesh."""
    return bench.joukowski_study()


@pytest.fixture(scope="session")
def bodies() -> AhmedMini:
    """Thirty Ahmed bodies."""
    return AhmedMini("all")


@pytest.fixture(scope="session")
def airfoil_survey(airfoils: GraphList) -> Survey:
    return survey(airfoils)


@pytest.fixture(scope="session")
def body_survey(bodies: AhmedMini) -> Survey:
    return survey(bodies)
