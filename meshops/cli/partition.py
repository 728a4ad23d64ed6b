"""``meshops partition FILE --out X.vtp --picture X.png``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from meshops.cli.options import parser, print_json
from meshops.errors import InputError

METHODS = ("ball_tree", "kd_tree", "octree", "hilbert", "morton", "kmeans", "metis")


def run(argv: Sequence[str]) -> int:
    """Group the cells of a mesh into patches."""
    options = parser(
        "partition",
        "Group the cells (or points) of a mesh into patches and look at them.",
        "example:\n  meshops partition car.stl --patch-size 256 --out patches.vtp --picture patches.png\n",
    )
    options.add_argument("file", help="any mesh meshops reads")
    options.add_argument("--method", default="ball_tree", choices=METHODS)
    options.add_argument("--patch-size", type=int, help="largest number of nodes in a patch (default: 256)")
    options.add_argument("--num-patches", type=int, help="number of patches; for trees a power of two, not for octree")
    options.add_argument("--location", default="cell", choices=("cell", "point"))
    options.add_argument("--region", help="boundary patch of an OpenFOAM case")
    options.add_argument("--out", help="VTP or VTU with the array 'patch'")
    options.add_argument("--picture", help="PNG to draw")
    options.add_argument("--json", action="store_true")
    args = options.parse_args(argv)
    if args.num_patches is None and args.patch_size is None:
        args.patch_size = 256

    from meshops.data.clean import clean_mesh
    from meshops.data.convert import from_pyvista
    from meshops.data.edges import KNNGraph
    from meshops.data.readers import read_mesh
    from meshops.data.writers import write_mesh
    from meshops.partition import Partition

    mesh = clean_mesh(read_mesh(args.file, region=args.region), label=args.file).mesh
    graph = from_pyvista(mesh, location=args.location, label=args.file)
    if args.method == "metis":
        graph = KNNGraph(min(8, len(graph.pos) - 1))(graph)
    patches = Partition.of(partitioner(args.method, args.patch_size, args.num_patches)(graph))
    labels = patches.node_to_patch.numpy()
    (mesh.cell_data if args.location == "cell" else mesh.point_data)["patch"] = labels
    summary = {
        "method": args.method,
        "nodes": patches.num_nodes,
        "patches": patches.num_patches,
        "smallest": int(patches.size.min()),
        "largest": int(patches.size.max()),
        "mean_radius_m": float(patches.radius.mean()),
    }
    if args.out:
        write_mesh(mesh, Path(args.out))
    if args.picture:
        if args.location != "cell":
            raise InputError("--picture colours cells; use --location cell")
        from meshops.viz.pictures import partition_picture

        partition_picture(mesh, labels, args.picture, num_patches=patches.num_patches)
    if args.json:
        print_json(summary)
    else:
        sys.stdout.write("{nodes:,} nodes in {patches:,} patches of {smallest} to {largest} nodes, "
                         "mean radius {mean_radius_m:.4g} m\n".format(**summary))  # fmt: skip
    return 0


def partitioner(method: str, patch_size: int | None, num_patches: int | None) -> Any:
    """The partitioner of that name; raises ``InputError`` for settings it does not have."""
    from meshops.partition import BallTree, CurvePatches, Metis, Octree, SameSizeKMeans

    if method == "octree":
        if num_patches is not None:
            raise InputError("an octree has as many leaves as it needs; give --patch-size, the capacity of a leaf")
        return Octree(capacity=patch_size or 256)
    if method in ("hilbert", "morton"):
        curve: Any = method
        return CurvePatches(patch_size, num_patches=num_patches, curve=curve)
    if method in ("ball_tree", "kd_tree"):
        return BallTree(patch_size, num_patches=num_patches, axes="cyclic" if method == "kd_tree" else "widest")
    return {"kmeans": SameSizeKMeans, "metis": Metis}[method](patch_size, num_patches=num_patches)
