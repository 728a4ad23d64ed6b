"""A small dataset of generated bodies in a registered dataset, so that runs need no files."""

from __future__ import annotations

import numpy as np
import pytest
import pyvista as pv

from meshops.aero.conditions import FlowConditions
from meshops.data.convert import from_pyvista
from meshops.data.mesh_graph import MeshGraph
from meshops.datasets import base, registry


class Ellipsoids(base.CaseDataset):
    """Ellipsoids with a made-up, smooth pressure and shear."""

    fields = ("p", "shear")
    units = ("Pa", "Pa")
    flow = FlowConditions(ground=None)
    transform = None

    def __init__(self, split: str = "train") -> None:
        self.cases = tuple(f"{split}_{i}" for i in range({"train": 4, "test": 2}[split]))
        self.split = split
        self.cache = base.GraphCache(2**28)

    def read(self, index: int) -> MeshGraph:
        rng = np.random.default_rng(index + 10 * (self.split == "test"))
        mesh = pv.Icosphere(radius=1.0, nsub=3)
        mesh.points = np.asarray(mesh.points) * rng.uniform([0.8, 0.3, 0.2], [1.2, 0.4, 0.3])
        center = mesh.cell_centers().points
        mesh.cell_data["p"] = (1 - 2 * center[:, 0] ** 2).astype(np.float32)
        mesh.cell_data["shear"] = np.stack([1 - center[:, 0] ** 2, center[:, 1], 0 * center[:, 0]], 1).astype(
            np.float32
        )
        return from_pyvista(mesh, fields=self.fields, location="cell", label=self.cases[index], units=self.units)

    @classmethod
    def standin(cls, root: str | base.Path, num: int = 4) -> Ellipsoids:
        return cls()

    def files(self, index: int) -> dict[str, base.Path]:
        return {}


@pytest.fixture
def ellipsoids(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(registry._DATASETS, "ellipsoids", registry.Registered(Ellipsoids))
    return "ellipsoids"
