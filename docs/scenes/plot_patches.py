"""
Patches of a body
=================

A partitioner groups the cells of a mesh into patches, whatever their order in the file. Attention inside of a
patch, bits, tokens and the shares of processes all rest on such groups.
"""

# %%
# Three ways to cut the surface of an Ahmed body, a simplified car, into 64 patches. The smaller
# the mean radius of a patch, the more local is what happens inside of it.

from meshops import BallTree, Partition
from meshops.data.convert import from_pyvista
from meshops.partition import CurvePatches, SameSizeKMeans
from meshops.solvers.ahmed_body import ahmed_body

mesh = ahmed_body(1.044, 0.389, 0.288, 0.1, 0.222, 25.0, 0.05, edge=0.02)
graph = from_pyvista(mesh, location="cell", label="Ahmed body")
found = {}
for name, way in {
    "ball tree": BallTree(num_patches=64),
    "Hilbert curve": CurvePatches(num_patches=64),
    "k-means of equal sizes": SameSizeKMeans(num_patches=64),
}.items():
    patches = found[name] = Partition.of(way(graph.clone()))
    print(f"{name:<24}{patches.num_patches:4} patches, mean radius {float(patches.radius.mean()):.3f} m")

# %%
# Patches are numbered along the tree or the curve. In the scene the numbers are shuffled, so that neighbours differ
# in color.

import torch

from meshops.viz import Scene

shuffled = torch.randperm(64, generator=torch.Generator().manual_seed(0))
fields = {f"patch, {name}": shuffled[patches.node_to_patch].double().numpy() for name, patches in found.items()}
fields["order of the ball tree"] = found["ball tree"].node_to_patch.double().numpy()
scene = Scene(mesh=mesh, fields=fields)
scene
