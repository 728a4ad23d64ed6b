"""A surrogate of sheets whose width and angle tell their fields and their mass."""

from __future__ import annotations

from pathlib import Path

import pytest

import meshops
from meshops.surrogate import Surrogate


@pytest.fixture
def surrogate(sheets_checkpoint: Path) -> Surrogate:
    """The same, opened."""
    return meshops.load(sheets_checkpoint)
