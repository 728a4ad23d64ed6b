"""Geo-FNO's benchmarks (Li et al. 2022, arXiv:2207.05209) and FNO's Darcy flow (Li et al. 2020, arXiv:2010.08895).

Elasticity, Plasticity, Airfoil, Pipe and Darcy in their published files, with the splits of the Neural-Solver-Library,
which most papers use. Nothing is normalized.

Reference code: the axis orders and splits are those of ``data_provider/data_loader.py`` of that library. Departure:
edges and quads of structured grids are added here; positions are not rescaled.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np

from meshops.datasets.base import Transform
from meshops.datasets.geo_fno import standin
from meshops.datasets.geo_fno.base import CurvedGrid, GeoFNODataset, unit_grid
from meshops.datasets.geo_fno.files import Array, check_shape, choose, mat_shape, open_npy
from meshops.datasets.registry import register_dataset
from meshops.errors import InputError


@register_dataset("darcy", layout=("piececonst_r421_N1024_smooth*.mat",))
class Darcy(GeoFNODataset):
    """Darcy flow through a medium of two permeabilities: 421 x 421 points in the unit square, coefficient -> solution.

    Train samples are the first of ``piececonst_r421_N1024_smooth1.mat``, test samples the first of ``..._smooth2.mat``.
    ``x`` is the coefficient, ``y`` the solution, both without unit. As in the reference code the first axis of the
    arrays is the second coordinate: node (i, j) stands at (j, i) / (points - 1). Arrays are read at the first case and
    kept (58 MB for the training split with ``subsample=5``).

    Args:
        root: Folder of the two files.
        split: ``"train"``, ``"test"`` or ``"all"`` (both files).
        num_train: Number of samples of the first file; None: 1000.
        num_test: Number of samples of the second file; None: 200.
        cache: Keep read cases in memory.
        transform: Applied to each graph that is handed out.
        subsample: Keep every so many points along each axis: 5 gives the published 85 x 85.

    Raises:
        MissingDataError: A file is missing; says what to download.
        InputError: Unknown split, an array of another shape, fewer samples than the split wants, or a bad subsample.

    Example:
        >>> Darcy("data/darcy")[0].x.shape  # doctest: +SKIP
        torch.Size([7225, 1])
    """

    title = "Darcy"
    names: ClassVar[dict[str, str]] = {
        "smooth1": "piececonst_r421_N1024_smooth1.mat",
        "smooth2": "piececonst_r421_N1024_smooth2.mat",
    }
    folders = ("darcy", "Darcy_421", "fno")
    fields = ("solution",)
    x_names = ("coefficient",)

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        num_train: int | None = None,
        num_test: int | None = None,
        cache: bool = True,
        transform: Transform | None = None,
        subsample: int = 5,
    ) -> None:
        self._begin(root, split, cache, transform)
        self.subsample = subsample
        self._points: dict[Path, tuple[int, ...]] = {}
        train, test = self.numbers(num_train, num_test)
        roles = {"train": ("smooth1",), "test": ("smooth2",), "all": ("smooth1", "smooth2")}[split]
        self._parts = {
            role: choose(
                split, self._count(self.paths[role]), num_train=train, num_test=test, last=False,
                what=f"{self.title} ({self.paths[role]})", apart=True,
            )
            for role in roles
        }  # fmt: skip
        self.cases = tuple(f"{role}/{sample:04d}" for role, part in self._parts.items() for sample in part)

    def files(self, index: int) -> dict[str, Path]:
        """The file of the case."""
        role = self.cases[self.position(index)].partition("/")[0]
        return {role: self.paths[role]}

    @classmethod
    def standin(cls, root: str | Path, num: int = 4, *, points: int = 141) -> Path:
        """Finite-volume solutions for thresholded random fields: the last quarter in the second file.

        Args:
            root: Folder to write.
            num: Samples of both files together, at least 2.
            points: Points along each axis; 421 in the published files.
        """
        return standin.write_darcy(Path(root), num, points)

    @property
    def _advice(self) -> str:
        return (
            "download Darcy_421.zip from the Google Drive folder that the readme of github.com/neuraloperator/"
            "neuraloperator (FNO) names and unpack it"
        )

    def _open(self) -> int:
        return sum(self._count(path) for path in self.paths.values())

    def _count(self, path: Path) -> int:
        shape = mat_shape(path, "coeff", self.title, self._advice)
        check_shape(path, "coeff", shape, ("samples", "points", "points"))
        check_shape(path, "sol", mat_shape(path, "sol", self.title, self._advice), shape)
        if not 1 <= self.subsample <= min(shape[1:]) // 2:
            raise InputError(
                f"{self.title}: subsample must be 1 to {min(shape[1:]) // 2} for {shape[1]} x {shape[2]} points, got "
                f"{self.subsample}"
            )
        self._points[path] = shape[1:]
        return shape[0]

    def _sample(self, index: int) -> tuple[Array, Array, Array | None]:
        role, _, number = self.cases[index].partition("/")
        part, path = self._parts[role], self.paths[role]
        x, y = (
            self._mat(path, key, part, self.subsample)[int(number) - part.start][..., None] for key in ("coeff", "sol")
        )
        return unit_grid(self._points[path], self.subsample), y, x


@register_dataset("elasticity", layout=("Random_UnitCell_XY_10.npy", "elasticity/Meshes/Random_UnitCell_XY_10.npy"))
class Elasticity(GeoFNODataset):
    """A unit cell with a hole, pulled: a cloud of 972 points and the stress there. Train: first 1000, test: last 200.

    Files ``elasticity/Meshes/Random_UnitCell_XY_10.npy [972, 2, n]`` and ``Random_UnitCell_sigma_10.npy [972, n]``.
    ``y`` is the stress in the unit of the file [unknown]; there is no ``x`` and there are no edges. Where
    ``Random_UnitCell_rr_10.npy [42, n]`` is present, ``parameters`` are the radii of the hole.

    For arguments and errors see :class:`GeoFNODataset`.

    Example:
        >>> Elasticity("data")[0].pos.shape  # doctest: +SKIP
        torch.Size([972, 2])
    """

    title = "Elasticity"
    names: ClassVar[dict[str, str]] = {
        "points": "Random_UnitCell_XY_10.npy",
        "stress": "Random_UnitCell_sigma_10.npy",
    }
    folders = ("elasticity/Meshes", "Meshes")
    last = True
    fields = ("stress",)

    def parameters(self, index: int) -> dict[str, float]:
        """Radius of the hole in each of 42 directions, where the file is present (unit of the positions)."""
        sample = self.samples[self.position(index)]
        path = self.root / "Random_UnitCell_rr_10.npy"
        if not path.is_file():
            return {}
        radii = open_npy(path, self.title, self._advice)
        check_shape(path, "rr", radii.shape, ("radii", self._npy("points").shape[2]))
        return {f"radius_{number:02d}": float(value) for number, value in enumerate(radii[:, sample])}

    @classmethod
    def standin(cls, root: str | Path, num: int = 4) -> Path:
        """Plane-stress linear elasticity by finite elements (needs scikit-fem); the published material is another."""
        return standin.write_elasticity(Path(root), num)

    def _open(self) -> int:
        points, stress = self._npy("points"), self._npy("stress")
        check_shape(self.paths["points"], "XY", points.shape, ("points", 2, "samples"))
        check_shape(self.paths["stress"], "sigma", stress.shape, points.shape[::2])
        return int(points.shape[2])

    def _sample(self, index: int) -> tuple[Array, Array, Array | None]:
        sample = self.samples[index]
        return self._npy("points")[:, :, sample], self._npy("stress")[:, sample, None], None


@register_dataset("plasticity", layout=("plas_N987_T20.mat",))
class Plasticity(GeoFNODataset):
    """A block of 101 x 31 points forged by a die of any shape, 20 time steps. Train: first 900, test: last 80.

    File ``plas_N987_T20.mat``: ``input [n, 101]``, ``output [n, 101, 31, 20, 4]``. A case is a sample: ``x`` is the
    height of the die, the same along the second axis; ``y`` is the one field "deformation" of 20 x 4 channels, step
    after step: positions (2) and displacements (2), units [unknown]. As in the reference code ``pos`` is the reference
    grid in the unit square, node (i, j) at (j / 30, i / 100). The split's part of the file is read at the first case
    and kept (0.9 GB for training).

    For arguments and errors see :class:`GeoFNODataset`.

    Example:
        >>> Plasticity("data")[0].y.shape  # doctest: +SKIP
        torch.Size([3131, 80])
    """

    title = "Plasticity"
    names: ClassVar[dict[str, str]] = {"data": "plas_N987_T20.mat"}
    folders = ("plasticity",)
    published = (900, 80)
    last = True
    fields = ("deformation",)
    x_names = ("die_height",)

    @classmethod
    def standin(cls, root: str | Path, num: int = 4) -> Path:
        """Layout only: a made-up deformation below a random die, no mechanics."""
        return standin.write_plasticity(Path(root), num)

    def _open(self) -> int:
        path = self.paths["data"]
        shape = mat_shape(path, "output", self.title, self._advice)
        check_shape(path, "output", shape, ("samples", "points", "points", "steps", 4))
        check_shape(path, "input", mat_shape(path, "input", self.title, self._advice), shape[:2])
        self._shape, self.sizes = shape[1:3], (shape[3] * 4,)
        return shape[0]

    def _sample(self, index: int) -> tuple[Array, Array, Array | None]:
        die, output = (self._mat(self.paths["data"], key, self.samples)[index] for key in ("input", "output"))
        x = np.repeat(die[:, None, None], self._shape[1], 1)
        return unit_grid(self._shape), output.reshape(*self._shape, -1), x


@register_dataset("airfoil", layout=("NACA_Cylinder_X.npy", "airfoil/naca/NACA_Cylinder_X.npy"))
class Airfoil(CurvedGrid):
    """Transonic flow past deformed NACA 0012 outlines on C-grids of 221 x 51 points. Train: first 1000, test: next 200.

    Files ``airfoil/naca/NACA_Cylinder_{X,Y} [n, 221, 51]`` and ``NACA_Cylinder_Q [n, >= 5, 221, 51]`` (.npy). ``y`` is
    the Mach number, channel 4 of Q; there is no ``x``. The two sides of the cut behind the trailing edge are not joined
    by edges: their points coincide.

    For arguments and errors see :class:`GeoFNODataset`.

    Example:
        >>> Airfoil("data")[0].pos.shape  # doctest: +SKIP
        torch.Size([11271, 2])
    """

    title = "Airfoil"
    names: ClassVar[dict[str, str]] = {
        "x": "NACA_Cylinder_X.npy",
        "y": "NACA_Cylinder_Y.npy",
        "fields": "NACA_Cylinder_Q.npy",
    }
    folders = ("airfoil/naca", "naca", "airfoil")
    fields = ("mach",)
    channel = 4

    @classmethod
    def standin(cls, root: str | Path, num: int = 4) -> Path:
        """Incompressible potential flow past Joukowski airfoils, Mach number by the energy equation: no shocks."""
        return standin.write_airfoil(Path(root), num)


@register_dataset("pipe", layout=("Pipe_X.npy", "pipe/Pipe_X.npy"))
class Pipe(CurvedGrid):
    """Laminar flow through bent pipes on grids of 129 x 129 points. Train: first 1000, test: next 200.

    Files ``pipe/Pipe_{X,Y} [n, 129, 129]`` and ``Pipe_Q [n, channels, 129, 129]`` (.npy). ``y`` is the horizontal
    velocity, channel 0 of Q, unit [unknown]; there is no ``x``.

    For arguments and errors see :class:`GeoFNODataset`.

    Example:
        >>> Pipe("data")[0].pos.shape  # doctest: +SKIP
        torch.Size([16641, 2])
    """

    title = "Pipe"
    names: ClassVar[dict[str, str]] = {"x": "Pipe_X.npy", "y": "Pipe_Y.npy", "fields": "Pipe_Q.npy"}
    folders = ("pipe",)
    fields = ("velocity_x",)
    channel = 0

    @classmethod
    def standin(cls, root: str | Path, num: int = 4) -> Path:
        """Lubrication theory: a parabola across a pipe that bends and narrows slowly."""
        return standin.write_pipe(Path(root), num)
