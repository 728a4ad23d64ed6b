"""FNO's Navier-Stokes file: axis order, splits, both kinds of .mat files, stand-in, messages."""

from __future__ import annotations

import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import torch

from meshops.datasets import NavierStokes, create, detect
from meshops.datasets.geo_fno.navier_stokes import FILE
from meshops.errors import InputError, MissingDataError


def coded() -> np.ndarray:
    n, x, y, t = np.meshgrid(*(np.arange(k) for k in (5, 4, 3, 6)), indexing="ij")
    return (n + 10 * x + 100 * y + 1000 * t).astype(np.float32)


@pytest.mark.parametrize("v73", [False, True])
def test_axes_and_splits(tmp_path: Path, v73: bool) -> None:
    if v73:
        with h5py.File(tmp_path / FILE, "w", userblock_size=512) as file:
            file.create_dataset("u", data=coded().T)
    else:
        scipy.io.savemat(tmp_path / FILE, {"u": coded()})
    data = NavierStokes(tmp_path, "test", num_train=2, num_test=2)
    assert data.cases == ("0003", "0004") and data.lengths == (6, 6) and data.shapes == ((4, 3),) * 2
    window = data.window(1, 2, 3)
    assert window.shape == (3, 1, 4, 3) and window.dtype == torch.float32
    assert float(window[1, 0, 2, 1]) == 4 + 20 + 100 + 3000
    assert data.spec.channels == ("vorticity",) and data.spec.periodic == (True, True)
    assert data.spec.spacing == (1 / 4, 1 / 3)
    assert data[0].y.shape == (12, 6, 1) and data.constants(0).shape == (0, 4, 3)
    assert float(data[0].y[5, 4, 0]) == 3 + 10 + 200 + 4000
    assert NavierStokes(tmp_path, num_train=2).cases == ("0000", "0001")
    assert torch.equal(pickle.loads(pickle.dumps(data)).window(0, 0, 1), data.window(0, 0, 1))
    with pytest.raises(InputError, match="do not exist"):
        data.window(0, 5, 2)


def test_standin(tmp_path: Path) -> None:
    root = NavierStokes.standin(tmp_path, 2)
    assert detect(root) == "navier_stokes"
    data = create("navier_stokes", root, "all")
    assert len(data) == 2 and data.shapes[0] == (64, 64) and data.lengths[0] == 20 and list(data.check()) == []
    held = scipy.io.loadmat(root / FILE)
    assert held["u"].shape == (2, 64, 64, 20) and held["a"].shape == (2, 64, 64)
    window = data.window(0, 0, 20)
    # No mean vorticity in a periodic square, and frames that follow each other smoothly.
    assert float(window.mean((2, 3)).abs().max()) < 1e-5
    assert float((window[1:] - window[:-1]).abs().max()) < float(window.abs().max())


def test_messages(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"no file NavierStokes_V1e-5_N1200_T20.mat in .*; download"):
        NavierStokes(tmp_path)
    scipy.io.savemat(tmp_path / FILE, {"u": coded()[0]})
    with pytest.raises(InputError, match=r"'u' must be \[samples, x, y, frames\], got \(4, 3, 6\)"):
        NavierStokes(tmp_path)
    scipy.io.savemat(tmp_path / FILE, {"u": coded()})
    with pytest.raises(InputError, match="wants 1000 samples, the file holds 5"):
        NavierStokes(tmp_path)
    scipy.io.savemat(tmp_path / FILE, {"v": coded()})
    with pytest.raises(InputError, match="no array 'u'; it holds 'v'"):
        NavierStokes(tmp_path)
