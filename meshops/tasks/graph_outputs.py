"""What a prediction of fields on a graph leaves on disk: the mesh with the fields, numbers, a picture."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from meshops.data.graph_files import arrays_of, read_graph
from meshops.errors import InputError, listing
from meshops.io import write_json
from meshops.tasks.fields import relative_errors
from meshops.tasks.graph_surrogate import FieldsSurrogate


def predict_file(
    surrogate: FieldsSurrogate, path: str | Path, folder: Path, stem: str, *, pictures: bool = True
) -> dict[str, Any]:
    """Predict the fields of a mesh file, write ``<stem>_predicted.vtu``, ``<stem>.json`` and ``<stem>.png``.

    Args:
        surrogate: Trained on graphs.
        path: Mesh file with the inputs of the model as arrays at its points.
        folder: Existing folder.
        stem: Start of the file names.
        pictures: Draw plane meshes.

    Returns:
        Numbers: nodes, seconds, and the relative L2 error of each field the file has the truth of.

    Raises:
        InputError: The file lacks an input of the model, or is of another dimension.
    """
    from meshops.data.readers import read_mesh
    from meshops.data.writers import with_predictions, write_mesh

    start = time.perf_counter()
    spec = surrogate.spec
    present = arrays_of(Path(path))
    inputs = [name for name in spec.inputs if name in present]
    missing = [name for name in spec.inputs if name not in present]
    if missing:
        raise InputError(f"{path}: no array {listing(missing)} at the points, which the model takes; there are "
                         f"{listing(present)}")  # fmt: skip
    known = [name for name in spec.fields if name in present]
    graph = read_graph(path, inputs, known)
    fields = surrogate.predict(graph.clone())
    mesh = with_predictions(
        read_mesh(path), {name: np.asarray(values) for name, values in fields.items()}, association="point"
    )
    written = write_mesh(mesh, folder / f"{stem}_predicted{'.vtp' if type(mesh).__name__ == 'PolyData' else '.vtu'}")
    numbers: dict[str, Any] = {
        "file": str(path),
        "nodes": len(graph.pos),
        "errors": relative_errors({name: fields[name] for name in known}, graph),
        "seconds": round(time.perf_counter() - start, 3),
        "integers": surrogate.integers,
        "written": str(written),
    }
    if pictures and graph.pos.shape[1] == 2:
        from meshops.viz.plane import graph_picture, plane_picture, triangles_of

        if known:
            graph_picture(graph, {name: fields[name] for name in known}, folder / f"{stem}.png")
        else:
            shown = {n: v if v.dim() == 1 else v.norm(dim=1) for n, v in fields.items()}
            plane_picture(graph.pos, triangles_of(graph), shown, folder / f"{stem}.png")
    write_json(folder / f"{stem}.json", numbers)
    return numbers
