"""FNO's Navier-Stokes benchmark (Li et al. 2020, arXiv:2010.08895): vorticity in a periodic square, viscosity 1e-5.

One file, ``NavierStokes_V1e-5_N1200_T20.mat``, ``u [1200, 64, 64, 20]``: sample, x, y, time. Ten frames are given, ten
are predicted, in the usual protocol; here whole trajectories are offered.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from meshops.datasets.base import one_of
from meshops.datasets.geo_fno.files import SPLITS, check_shape, choose, find_folder, mat_shape, read_mat
from meshops.datasets.registry import register_dataset
from meshops.datasets.trajectory import GridSpec, TrajectoryDataset
from meshops.errors import InputError
from meshops.io import replacing
from meshops.solvers.vorticity import vorticity

NAME = "NavierStokes"
FILE = "NavierStokes_V1e-5_N1200_T20.mat"
FOLDERS = ("fno", "ns", "navier_stokes")
NUM_TRAIN, NUM_TEST = 1000, 200
FRAMES = 20
ADVICE = (
    "download NavierStokes_V1e-5_N1200_T20.zip from the Google Drive folder that the readme of github.com/"
    "neuraloperator/neuraloperator (FNO) names and unpack it"
)


@register_dataset("navier_stokes", layout=("NavierStokes_V1e-5_N1200_T20.mat",))
class NavierStokes(TrajectoryDataset):
    """Trajectories of one channel, the vorticity, on 64 x 64 cells: 20 frames one time unit apart. Nothing normalized.

    The split's part of the array is read at the first window and kept (0.3 GB for training).

    Args:
        root: Folder of the file.
        split: ``"train"`` (the first samples), ``"test"`` (the last) or ``"all"``.
        num_train: Number of samples to train on; None: 1000.
        num_test: Number of samples to test on; None: 200.

    Raises:
        MissingDataError: The file is missing; says what to download.
        InputError: The array has another shape, or fewer samples than the split wants.
    """

    def __init__(
        self, root: str | Path, split: str = "train", *, num_train: int | None = None, num_test: int | None = None
    ) -> None:
        one_of(f"{NAME}: split", split, SPLITS)
        self.path = find_folder(root, FOLDERS, (FILE,), NAME, ADVICE) / FILE
        shape = mat_shape(self.path, "u", NAME, ADVICE)
        check_shape(self.path, "u", shape, ("samples", "x", "y", "frames"))
        train, test = NUM_TRAIN if num_train is None else num_train, NUM_TEST if num_test is None else num_test
        what = f"{NAME} ({self.path})"
        self.samples = choose(split, shape[0], num_train=train, num_test=test, last=True, what=what)
        self.cases = tuple(f"{sample:04d}" for sample in self.samples)
        self.lengths = (shape[3],) * len(self.cases)
        self.shapes = (tuple(shape[1:3]),) * len(self.cases)
        self.spec = GridSpec(
            channels=("vorticity",), spacing=(1 / shape[1], 1 / shape[2]), periodic=(True, True), time_step=1.0,
            units=("1/s",),
        )  # fmt: skip
        self._values: np.ndarray[Any, Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Without the array: another process reads it itself."""
        return self.__dict__ | {"_values": None}

    def window(self, index: int, start: int, length: int) -> Tensor:
        """See the base class."""
        index = self.position(index)
        self.check_window(index, start, length)
        if self._values is None:
            self._values = read_mat(self.path, "u", self.samples)
        frames = self._values[index, :, :, start : start + length]
        return torch.from_numpy(np.ascontiguousarray(np.moveaxis(frames, -1, 0)))[:, None]

    def constants(self, index: int) -> Tensor:
        """See the base class: there are none."""
        return torch.zeros(0, *self.shapes[self.position(index)])

    @classmethod
    def standin(cls, root: str | Path, num: int = 4, *, resolution: int = 64) -> Path:
        """The published equation and forcing by a pseudo-spectral solver, frames half a time unit apart.

        Args:
            root: Folder to write.
            num: Number of samples.
            resolution: Cells along each axis; 64 in the published file.
        """
        import scipy.io

        if num < 1:
            raise InputError(f"{NAME}.standin: num must be at least 1, got {num}")
        folder = Path(root)
        folder.mkdir(parents=True, exist_ok=True)
        runs = [
            vorticity(seed, resolution=resolution, frames=FRAMES + 1, t_end=FRAMES / 2, viscosity=1e-5).fields
            for seed in range(num)
        ]
        start = np.stack([run["vorticity"][0].numpy() for run in runs])
        u = np.stack([run["vorticity"][1:].movedim(0, -1).numpy() for run in runs])
        arrays = {"a": start, "t": np.arange(1, FRAMES + 1, dtype=np.float32) / 2, "u": u}
        with replacing(folder / FILE) as partial:
            scipy.io.savemat(partial, arrays, appendmat=False, do_compression=True)
        return folder
