"""Sheets whose width and angle tell their fields and their mass, and a surrogate of them."""

from __future__ import annotations

from pathlib import Path

import pytest

import meshops
from meshops.selection import FitConfig, fit
from meshops.surrogate import Surrogate
from tests.trust.sheets import sheets


@pytest.fixture(scope="session")
def sheets_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``model.ckpt`` of a fit to 24 sheets."""
    folder = tmp_path_factory.mktemp("sheets")
    fit(sheets(24), FitConfig(minutes=2, out=str(folder / "fit"), networks=(), test=0.0))
    return folder / "fit" / "model.ckpt"


@pytest.fixture
def surrogate(sheets_checkpoint: Path) -> Surrogate:
    """The same, opened."""
    return meshops.load(sheets_checkpoint)
