"""A surrogate that was trained for a few steps, for everything that happens after training."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshops.cli.main import main


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``model.ckpt`` of a run on AhmedMini with cheap features."""
    folder = tmp_path_factory.mktemp("run")
    code = main(
        ["train", "demo", "--out", str(folder), "--train.steps", "6", "--data.test", "", "--model.channels", "16"]
        + ["--model.depth", "2", "--task.potential_flow", "false", "--task.radii", "[0.2]", "--task.passes", "1"]
        + ["--task.max_sources", "256"]
    )
    assert code == 0
    return folder / "model.ckpt"
