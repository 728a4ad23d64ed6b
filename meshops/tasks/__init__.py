"""What is learnt and how it is judged: one contract, four kinds."""

from meshops.tasks.autoencode import AutoencodeTask
from meshops.tasks.base import Context, Draw, Samples, Task, get_task, list_tasks
from meshops.tasks.cases import Case
from meshops.tasks.fields import FieldsTask
from meshops.tasks.fields_spec import FieldsSettings, FieldsSpec
from meshops.tasks.generate import GenerateSettings, GenerateTask
from meshops.tasks.prediction import Prediction, Verdict
from meshops.tasks.report import Report
from meshops.tasks.segments import GenerateSpec
from meshops.tasks.windows import AutoencodeSettings, AutoencodeSpec

__all__ = [
    "AutoencodeSettings",
    "AutoencodeSpec",
    "AutoencodeTask",
    "Case",
    "Context",
    "Draw",
    "FieldsSettings",
    "FieldsSpec",
    "FieldsTask",
    "GenerateSettings",
    "GenerateSpec",
    "GenerateTask",
    "Prediction",
    "Report",
    "Samples",
    "Task",
    "Verdict",
    "get_task",
    "list_tasks",
]
