"""What is learnt and how it is judged: a class per kind of task, see :mod:`meshops.tasks.base`."""

from meshops.tasks.rollout import RolloutSettings, RolloutTask
from meshops.tasks.rollout_grid import GridRollout
from meshops.tasks.rollout_mesh import MeshRollout

__all__ = ["GridRollout", "MeshRollout", "RolloutSettings", "RolloutTask"]
