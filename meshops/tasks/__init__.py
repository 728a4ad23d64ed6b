"""What is learnt and how it is judged: one contract, four kinds."""

from meshops.tasks.base import Context, Draw, Samples, Task, get_task, list_tasks
from meshops.tasks.cases import Case
from meshops.tasks.fields import FieldsTask
from meshops.tasks.fields_spec import FieldsSettings, FieldsSpec
from meshops.tasks.prediction import Prediction, Verdict
from meshops.tasks.report import Report

__all__ = [
    "Case",
    "Context",
    "Draw",
    "FieldsSettings",
    "FieldsSpec",
    "FieldsTask",
    "Prediction",
    "Report",
    "Samples",
    "Task",
    "Verdict",
    "get_task",
    "list_tasks",
]
