"""A surface of a million cells through a surrogate: time, memory, and whether the chunk size changes the answer.

    python benchmarks/million.py runs/demo/model.ckpt --cells 1000000

Prints one JSON object. The memory is the peak of the process, features and mesh included.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Sequence

import numpy as np


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Predict with two chunk sizes per method."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint")
    parser.add_argument("--cells", type=int, default=1_000_000)
    parser.add_argument("--methods", nargs="+", default=["anchored", "interleaved"])
    parser.add_argument("--chunks", nargs=2, type=int, default=[50_000, 500_000])
    args = parser.parse_args(argv)

    import meshops
    from meshops.aero.opening import open_case
    from meshops.data.surface import refine
    from meshops.solvers.ahmed_body import ahmed_body

    body = ahmed_body(1.044, 0.36, 0.29, 0.1, 0.2, 20.0, 0.05)
    area = float(body.compute_cell_sizes(length=False, volume=False)["Area"].sum())
    edge = 2.2 * (area / args.cells) ** 0.5
    mesh, _ = refine(body, edge)
    while mesh.n_cells < args.cells:
        edge *= 0.97
        mesh, _ = refine(body, edge)
    surrogate = meshops.load(args.checkpoint)
    start = time.perf_counter()
    case = open_case(mesh, surrogate.spec)
    result: dict[str, float] = {"cells": mesh.n_cells, "open_s": time.perf_counter() - start}
    start = time.perf_counter()
    surrogate.task.prepared(case)
    result["features_s"] = time.perf_counter() - start
    for method in args.methods:
        fields = []
        for chunk in args.chunks:
            start = time.perf_counter()
            prediction = surrogate.predict(case, method=method, chunk_size=chunk)
            result[f"{method}_{chunk}_s"] = time.perf_counter() - start
            fields.append(prediction.fields)
        for name in fields[0]:
            scale = np.abs(fields[0][name]).max()
            result[f"{method}_{name}_difference"] = float(np.abs(fields[0][name] - fields[1][name]).max() / scale)
        result[f"{method}_peak_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {key: round(value, 9) for key, value in result.items()}


if __name__ == "__main__":
    print(json.dumps(main(), indent=2))
