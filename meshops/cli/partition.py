"""``meshops partition FILE --out X.vtp --picture X.png``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from meshops.cli.options import parser, print_json
from meshops.errors import InputError
from meshops.reader_process import start_for


def run(argv: Sequence[str]) -> int:
    """Group the cells of a mesh into patches."""
    options = parser(
        "partition",
        "Group the cells (or points) of a mesh into patches and look at them.",
        "example:\n  meshops partition car.stl --patch-size 256 --out patches.vtp --picture patches.png\n",
    )
    options.add_argument("file", help="any mesh meshops reads")
    options.add_argument("--method", default="ball_tree",
                         help="ball_tree (default), kd_tree, octree, hilbert, morton, kmeans, metis, or any other "
                         "registered partitioner")  # fmt: skip
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
    if not Path(args.file).exists():
        raise InputError(f"{args.file}: no such file; check the path")
    if args.picture and args.location != "cell":
        raise InputError("--picture colours cells; use --location cell")

    start_for([args.file])

    from meshops.data.clean import clean_mesh
    from meshops.data.convert import from_pyvista
    from meshops.data.edges import KNNGraph
    from meshops.data.readers import read_mesh
    from meshops.data.writers import write_mesh
    from meshops.partition import Partition, create_partitioner, partitioner_needs

    mesh = clean_mesh(read_mesh(args.file, region=args.region), label=args.file).mesh
    graph = from_pyvista(mesh, location=args.location, label=args.file)
    cut = create_partitioner(args.method, patch_size=args.patch_size, num_patches=args.num_patches)
    if partitioner_needs(args.method) == "edges":
        graph = KNNGraph(min(8, len(graph.pos) - 1))(graph)
    patches = Partition.of(cut(graph))
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
        from meshops.viz.pictures import partition_picture

        partition_picture(mesh, labels, args.picture, num_patches=patches.num_patches)
    if args.json:
        print_json(summary)
    else:
        sys.stdout.write("{nodes:,} nodes in {patches:,} patches of {smallest} to {largest} nodes, "
                         "mean radius {mean_radius_m:.4g} m\n".format(**summary))  # fmt: skip
    return 0
