"""Group the cells of a surface into patches with the ball tree, and compare with runs of the file's order.

python examples/partition_mesh.py car.stl --patch-size 256
python examples/partition_mesh.py --smoke       # radius_tree 0.097, a third of radius_file_order

Radii are means over the patches, in metres: the smaller, the more local is attention inside a patch.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from meshops.data.convert import from_pyvista
from meshops.data.readers import read_mesh
from meshops.data.writers import write_mesh
from meshops.partition import BallTree, Partition
from meshops.solvers.ahmed_body import ahmed_body
from meshops.viz import partition_picture


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Partition a mesh, draw it, write it; returns what is printed."""
    args = arguments(argv)
    folder = Path(args.out)
    folder.mkdir(parents=True, exist_ok=True)
    if args.file is not None:
        mesh = read_mesh(args.file)
    else:
        mesh = ahmed_body(1.044, 0.389, 0.288, 0.1, 0.222, 25.0, 0.05, edge=0.04 if args.smoke else 0.015)
    graph = from_pyvista(mesh, location="cell", label=args.file or "Ahmed body")

    patches = Partition.of(BallTree(args.patch_size)(graph))
    labels = patches.node_to_patch.numpy()
    mesh.cell_data["patch"] = labels
    write_mesh(mesh, folder / "patches.vtp")
    partition_picture(mesh, labels, folder / "patches.png", num_patches=patches.num_patches)

    # The same number of equal patches without a tree: consecutive cells, as some released codes use them.
    order = torch.arange(patches.num_nodes)
    runs = Partition.from_order(graph.pos, order, patches.ptr)
    numbers = {
        "cells": patches.num_nodes,
        "patches": patches.num_patches,
        "smallest": int(patches.size.min()),
        "largest": int(patches.size.max()),
        "radius_tree": float(patches.radius.mean()),
        "radius_file_order": float(runs.radius.mean()),
    }
    sys.stdout.write("".join(f"{name:<18}{value:10.4g}\n" for name, value in numbers.items()))
    sys.stdout.write(f"written: {folder / 'patches.vtp'}, {folder / 'patches.png'}\n")
    return numbers


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Options of the example."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", help="surface meshops reads; default: an Ahmed body made here")
    parser.add_argument("--patch-size", type=int, default=64, help="cells of a patch at most (default: %(default)s)")
    parser.add_argument("--out", default="runs/partition_mesh", help="folder of the results (default: %(default)s)")
    parser.add_argument("--smoke", action="store_true", help="small and quick: does it run?")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
