"""Fixtures shared by all tests."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import torch

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # started in the background of a shell: Ctrl-C is tested here
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with real cases beside the checkout; the test is skipped where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("needs the folder ../shared/data with real cases")
    return SHARED_DATA


@pytest.fixture(autouse=True)
def _seed() -> None:
    """Every test starts from the same random state, alone or among others."""
    torch.manual_seed(0)


@pytest.fixture(params=["avx2", "int_mm", "reference"])
def integer_backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each version of the integer layers in turn, whichever this machine would choose."""
    from meshops.ops.integer_backend import VARIABLE, _cpu_features

    name: str = request.param
    if name == "avx2" and not _cpu_features()[1]:
        pytest.skip("needs a CPU with AVX2")
    monkeypatch.setenv(VARIABLE, name)
    return name


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``model.ckpt`` of a run of six steps on AhmedMini with cheap features."""
    from meshops.cli.main import main

    folder = tmp_path_factory.mktemp("run")
    settings = "--train.steps 6 --model.channels 12 --model.depth 2 --task.potential_flow false --task.radii [0.2]"
    settings += " --task.passes 1 --task.max_sources 256"
    assert main(["train", "demo", "--out", str(folder), "--data.test", "", *settings.split()]) == 0
    return folder / "model.ckpt"


@pytest.fixture(scope="session")
def sheets_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``model.ckpt`` of a fit to 24 sheets whose width and angle tell their fields and their mass."""
    from meshops.selection import FitConfig, fit
    from tests.trust.sheets import sheets

    folder = tmp_path_factory.mktemp("sheets")
    fit(sheets(24), FitConfig(minutes=2, out=str(folder / "fit"), networks=(), test=0.0))
    return folder / "fit" / "model.ckpt"
