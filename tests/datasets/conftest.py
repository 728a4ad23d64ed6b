"""Stand-ins written once for all dataset tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshops.datasets import AhmedML, ShapeNetCar


@pytest.fixture(scope="session")
def ahmed_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four runs in the AhmedML layout."""
    return AhmedML.standin(tmp_path_factory.mktemp("ahmed"), num=4)


@pytest.fixture(scope="session")
def car_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three cars in the ShapeNet-Car layout, in param0, param1 and param2."""
    return ShapeNetCar.standin(tmp_path_factory.mktemp("cars"), num=3)
