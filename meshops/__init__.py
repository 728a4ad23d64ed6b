"""meshops: neural surrogates of physics on irregular meshes.

    import meshops

    surrogate = meshops.load("runs/demo/model.ckpt")
    prediction = surrogate.predict("car.stl")
    prediction.mesh.save("car.vtp")

Nothing heavy is imported until it is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from meshops.data.mesh_graph import MeshGraph
    from meshops.data.readers import read
    from meshops.data.writers import write_mesh
    from meshops.models.registry import create_model, list_models
    from meshops.partition import BallTree, Hierarchy, Partition, RefineByCriteria, TokenBudget
    from meshops.tasks.generative_surrogate import AutoencodeSurrogate, GenerateSurrogate, point_frames
    from meshops.tasks.graph_surrogate import FieldsSurrogate, MeshRolloutSurrogate
    from meshops.tasks.rollout_surrogate import RolloutSurrogate
    from meshops.tasks.surrogate import Prediction, Surrogate

__version__ = "0.1.0"

__all__ = [
    "AutoencodeSurrogate",
    "BallTree",
    "FieldsSurrogate",
    "GenerateSurrogate",
    "Hierarchy",
    "MeshGraph",
    "MeshRolloutSurrogate",
    "Partition",
    "Prediction",
    "RefineByCriteria",
    "RolloutSurrogate",
    "Surrogate",
    "TokenBudget",
    "create_model",
    "list_models",
    "load",
    "point_frames",
    "read",
    "write_mesh",
]

_HOME = {
    "AutoencodeSurrogate": "meshops.tasks.generative_surrogate",
    "GenerateSurrogate": "meshops.tasks.generative_surrogate",
    "point_frames": "meshops.tasks.generative_surrogate",
    "BallTree": "meshops.partition",
    "FieldsSurrogate": "meshops.tasks.graph_surrogate",
    "Hierarchy": "meshops.partition",
    "MeshGraph": "meshops.data.mesh_graph",
    "MeshRolloutSurrogate": "meshops.tasks.graph_surrogate",
    "Partition": "meshops.partition",
    "Prediction": "meshops.tasks.surrogate",
    "RolloutSurrogate": "meshops.tasks.rollout_surrogate",
    "Surrogate": "meshops.tasks.surrogate",
    "TokenBudget": "meshops.partition",
    "RefineByCriteria": "meshops.partition",
    "create_model": "meshops.models.registry",
    "list_models": "meshops.models.registry",
    "read": "meshops.data.readers",
    "write_mesh": "meshops.data.writers",
}


def load(path: str, *, device: str = "cpu") -> Any:
    """Open a trained surrogate of any kind.

    Returns a ``Surrogate`` of steady fields on bodies, a ``RolloutSurrogate`` of trajectories on grids, a
    ``FieldsSurrogate`` of fields on graphs, a ``MeshRolloutSurrogate`` of trajectories on meshes, an
    ``AutoencodeSurrogate`` that compresses trajectories or a ``GenerateSurrogate`` that generates them.

    Args:
        path: Checkpoint, e.g. ``"runs/demo/model.ckpt"``.
        device: Where to put it.

    Raises:
        CheckpointError: Not a checkpoint of meshops, damaged, or holding code (refused).
    """
    from pathlib import Path

    from meshops.tasks.checkpoint import read_checkpoint
    from meshops.tasks.generative_surrogate import AutoencodeSurrogate, GenerateSurrogate
    from meshops.tasks.graph_surrogate import FieldsSurrogate, MeshRolloutSurrogate
    from meshops.tasks.rollout_surrogate import RolloutSurrogate
    from meshops.tasks.surrogate import Surrogate

    content = read_checkpoint(Path(path))
    makers: dict[str, Any] = {
        "rollout": RolloutSurrogate, "fields": FieldsSurrogate, "mesh_rollout": MeshRolloutSurrogate,
        "autoencode": AutoencodeSurrogate, "generate": GenerateSurrogate,
    }  # fmt: skip
    maker = makers.get(content.get("task", "steady"), Surrogate)
    return maker.from_content(content, path, device=device)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'meshops' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
