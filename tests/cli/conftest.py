"""A surrogate that was trained for a few steps, for everything that happens after training."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshops.cli.main import main


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``model.ckpt`` of a run on AhmedMini with cheap features."""
    folder = tmp_path_factory.mktemp("run")
    settings = "--train.steps 6 --model.channels 12 --model.depth 2 --task.potential_flow false --task.radii [0.2]"
    settings += " --task.passes 1 --task.max_sources 256"
    assert main(["train", "demo", "--out", str(folder), "--data.test", "", *settings.split()]) == 0
    return folder / "model.ckpt"
