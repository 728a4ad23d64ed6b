"""Drag and lift of a held-out shape that was moved, mirrored, scaled, triangulated, coarsened: within their intervals.

    python benchmarks/copies.py runs/demo/model.ckpt --cases 0 3

A copy is within where its numbers lie in the intervals of the shape as it is.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator

import numpy as np
import pyvista as pv

import meshops
from meshops.data.convert import to_pyvista
from meshops.datasets import AhmedMini


def copies(mesh: pv.PolyData) -> Iterator[tuple[str, pv.PolyData, float | None]]:
    """Name, mesh and ``--scale`` of each copy."""
    for name, factor, shift, scale in (
        ("as it is", (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), None),
        ("moved", (1.0, 1.0, 1.0), (3.0, -1.0, 0.0), None),
        ("in millimetres", (1e3, 1e3, 1e3), (0.0, 0.0, 0.0), 1e-3),
        ("1.7 times as large", (1.7, 1.7, 1.7), (0.0, 0.0, 0.0), None),
        ("mirrored", (1.0, -1.0, 1.0), (0.0, 0.0, 0.0), None),
    ):
        copy = mesh.copy()
        copy.points = copy.points * np.array(factor) + np.array(shift)
        if np.prod(factor) < 0:
            copy.flip_faces(inplace=True)
        yield name, copy, scale
    triangles = mesh.triangulate()
    yield "triangulated", triangles, None
    yield "subdivided", triangles.subdivide(1), None
    yield "coarsened to 30 %", triangles.decimate(0.7), None
    yield "coarsened to 10 %", triangles.decimate(0.9), None


def main() -> None:
    """Print numbers and seconds of every copy."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("checkpoint")
    options.add_argument("--cases", type=int, nargs="+", default=[0, 3], help="of the six test shapes of AhmedMini")
    args = options.parse_args()
    surrogate, test = meshops.load(args.checkpoint), AhmedMini("test")
    for case in args.cases:
        whole = to_pyvista(test[case])
        assert isinstance(whole, pv.PolyData)
        mesh, first = pv.PolyData(whole.points, whole.faces), None
        for name, copy, scale in copies(mesh):
            start = time.perf_counter()
            made = surrogate.predict(copy, scale=scale)
            first = first or made.numbers
            inside = all((n.low or 0) <= made.numbers[key].value <= (n.high or 0) for key, n in first.items())
            told = ", ".join(f"{key} {number}" for key, number in made.numbers.items())
            sys.stdout.write(
                f"{test.cases[case]} {name}: {told}; {'within' if inside else 'OUTSIDE'} the intervals of the shape as "
                f"it is; {copy.n_cells} cells, {time.perf_counter() - start:.1f} s\n"
            )


if __name__ == "__main__":
    main()
