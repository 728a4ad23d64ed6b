"""meshops: neural surrogates of physics on irregular meshes.

    import meshops

    surrogate = meshops.load("runs/demo/model.ckpt")
    prediction = surrogate.predict("car.stl")
    prediction.mesh.save("car.vtp")

    meshops.fit(my_graphs, meshops.FitConfig(minutes=5, out="runs/best"))
    meshops.train(meshops.RunConfig(model={"name": "mspt"}, out="runs/mine"), data=my_graphs)

Nothing heavy is imported until it is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from meshops.version import __version__ as __version__

if TYPE_CHECKING:
    from meshops.data.mesh_graph import MeshGraph
    from meshops.data.point_frames import point_frames
    from meshops.data.readers import read
    from meshops.data.writers import write_mesh
    from meshops.models import create_model, list_models, register_model
    from meshops.partition import BallTree, Hierarchy, Partition, RefineByCriteria, TokenBudget
    from meshops.selection import FitConfig, fit
    from meshops.surrogate import Surrogate, load
    from meshops.tasks import Prediction, Report
    from meshops.training import DataConfig, RunConfig, TrainConfig, train

__all__ = [
    "BallTree",
    "DataConfig",
    "FitConfig",
    "Hierarchy",
    "MeshGraph",
    "Partition",
    "Prediction",
    "RefineByCriteria",
    "Report",
    "RunConfig",
    "Surrogate",
    "TokenBudget",
    "TrainConfig",
    "create_model",
    "fit",
    "list_models",
    "load",
    "point_frames",
    "read",
    "register_model",
    "train",
    "write_mesh",
]

_HOME = {
    "BallTree": "meshops.partition",
    "DataConfig": "meshops.training",
    "FitConfig": "meshops.selection",
    "Hierarchy": "meshops.partition",
    "MeshGraph": "meshops.data.mesh_graph",
    "Partition": "meshops.partition",
    "Prediction": "meshops.tasks",
    "RefineByCriteria": "meshops.partition",
    "Report": "meshops.tasks",
    "RunConfig": "meshops.training",
    "Surrogate": "meshops.surrogate",
    "TokenBudget": "meshops.partition",
    "TrainConfig": "meshops.training",
    "create_model": "meshops.models",
    "fit": "meshops.selection",
    "list_models": "meshops.models",
    "load": "meshops.surrogate",
    "point_frames": "meshops.data.point_frames",
    "read": "meshops.data.readers",
    "register_model": "meshops.models",
    "train": "meshops.training",
    "write_mesh": "meshops.data.writers",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'meshops' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
