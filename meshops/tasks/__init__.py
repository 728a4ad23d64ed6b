"""What is learnt and how it is judged: one contract, four kinds."""

from meshops.aero.cases import Case
from meshops.tasks.autoencode import AutoencodeTask
from meshops.tasks.base import CaseSource, Context, Draw, Made, Samples, Spec, Task, get_task, list_tasks, register_task
from meshops.tasks.fields import FieldsTask
from meshops.tasks.fields_spec import FieldsSettings, FieldsSpec
from meshops.tasks.generate import GenerateTask
from meshops.tasks.graph_samples import GraphSamples
from meshops.tasks.matrix import matrix_table, tasks_of
from meshops.tasks.numbers import NumbersSpec, NumbersTask
from meshops.tasks.prediction import Prediction, Verdict
from meshops.tasks.report import Report, means
from meshops.tasks.rollout import RolloutSettings, RolloutTask
from meshops.tasks.rollout_grid import GridRollout
from meshops.tasks.rollout_mesh import MeshRollout
from meshops.tasks.segments import GenerateSettings
from meshops.tasks.windows import AutoencodeSettings

__all__ = [
    "AutoencodeSettings",
    "AutoencodeTask",
    "Case",
    "CaseSource",
    "Context",
    "Draw",
    "FieldsSettings",
    "FieldsSpec",
    "FieldsTask",
    "GenerateSettings",
    "GenerateTask",
    "GraphSamples",
    "GridRollout",
    "Made",
    "MeshRollout",
    "NumbersSpec",
    "NumbersTask",
    "Prediction",
    "Report",
    "RolloutSettings",
    "RolloutTask",
    "Samples",
    "Spec",
    "Task",
    "Verdict",
    "get_task",
    "list_tasks",
    "matrix_table",
    "means",
    "register_task",
    "tasks_of",
]
