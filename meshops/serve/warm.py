"""A first prediction at start: kernels are compiled and drawing is loaded before anyone waits."""

from __future__ import annotations

import contextlib
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from meshops.errors import MeshopsError

if TYPE_CHECKING:
    from meshops.surrogate import Surrogate
    from meshops.tasks.fields import FieldsTask


def warm(surrogate: Surrogate) -> bool:
    """Predict the mesh of the training cases, else a box of the length of the training bodies; whether one could be."""
    from meshops.tasks.fields import FieldsTask

    _read_and_draw()
    task = surrogate.task
    if not isinstance(task, FieldsTask):
        return True  # regressions need no warming
    with warnings.catch_warnings(), contextlib.suppress(MeshopsError):
        warnings.simplefilter("ignore")
        middle = {name: (low + high) / 2 for name, (low, high) in task.condition_range.items()}
        if getattr(task, "reference", None) is not None:
            surrogate.predict(None, conditions=middle)
            return True
        if task.spec.domain == "surface":
            surrogate.predict(_box(surrogate, task), conditions=middle)  # type: ignore[arg-type]
            return True
    return False


def _read_and_draw() -> None:
    """Start the process that reads foreign formats, and load what draws."""
    import numpy as np
    import pyvista as pv

    from meshops.data.readers import read_mesh
    from meshops.viz.pictures import surface_picture
    from meshops.viz.scene import scene_html

    plane = pv.Plane(i_resolution=2, j_resolution=2).triangulate()
    values = np.arange(plane.n_cells, dtype=np.float32)
    with tempfile.TemporaryDirectory(prefix="meshops-serve-") as folder:
        plane.save(Path(folder) / "plane.vtp")
        mesh = read_mesh(Path(folder) / "plane.vtp")
        surface_picture(mesh, values, Path(folder) / "plane.png", title="")
    scene_html(plane, {"values": values}, include_plotly=False)


def _box(surrogate: Surrogate, task: FieldsTask) -> object:
    """A box about as long as the training bodies, above their ground, in the axes of the flow."""
    import numpy as np
    import pyvista as pv

    novelty = surrogate.novelty
    length = 1.0 if novelty is None else float(np.median(novelty.values[:, 0]))
    flow = task.spec.flow
    box = pv.Box((0, length, -0.2 * length, 0.2 * length, 0.05 * length, 0.35 * length), level=8).triangulate()
    points = np.asarray(box.points, dtype=np.float64) @ flow.frame
    box.points = points + (flow.ground or 0.0) * np.asarray(flow.up)
    box.clear_data()
    return box
