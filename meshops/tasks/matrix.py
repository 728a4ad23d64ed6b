"""Which model works for which task: what a model takes against what the cases of a task give.

No list is kept by hand: a model registered tomorrow is in the table, and the tests train it wherever the table says.
"""

from __future__ import annotations

from collections.abc import Mapping

from meshops.models import list_models, model_takes
from meshops.tasks.rollout_grid import GridRollout
from meshops.tasks.rollout_mesh import MeshRollout
from meshops.tasks.segments import GenerateSamples
from meshops.tasks.windows import AutoencodeSamples

POINTS_AND_EDGES = frozenset({"points", "graph"})
GIVES: Mapping[str, frozenset[str]] = {
    "fields of bodies": POINTS_AND_EDGES,
    "fields on graphs": POINTS_AND_EDGES,
    "fields on grids": POINTS_AND_EDGES | {"grid"},
    "rollout on grids": GridRollout.offers,
    "rollout on meshes": MeshRollout.offers,
    "autoencode": AutoencodeSamples.offers,
    "generate": GenerateSamples.offers,
}
"""What the samples of each task, on each sort of cases, offer to a model."""


def tasks_of(model: str) -> list[str]:
    """Rows of :data:`GIVES` that a registered model works for.

    Raises:
        InputError: Unknown name.
    """
    return [task for task, given in GIVES.items() if model_takes(model) & given]


def matrix_table() -> str:
    """Architectures against tasks as a table in Markdown, without those that ``meshops fit`` makes in closed form."""
    lines = ["| model | takes | " + " | ".join(GIVES) + " |", "| --- " * (len(GIVES) + 2) + "|"]
    for model in (name for name in list_models(published=False) if tasks_of(name)):
        works = tasks_of(model)
        marks = ("yes" if task in works else "" for task in GIVES)
        lines.append(f"| {' | '.join([f'`{model}`', ', '.join(sorted(model_takes(model))), *marks])} |")
    return "\n".join(lines) + "\n"
