"""
Tokens of a wake
================

A transformer need not look equally hard everywhere. IAP splits the cells of an octree (here a quadtree) where a
field changes most, up to a number of tokens that is given; AMR-Transformer refines regions where criteria of the
flow ask for it.
"""

# %%
# The flow past a cylinder from the solver that comes with the package (``pip install meshops[fem]``), and the
# tokens of its last frame.

import torch
from torch_geometric.data import Data
from torch_geometric.transforms import FaceToEdge

from meshops.partition.mesh_tokens import BudgetTokens, CriteriaTokens
from meshops.solvers.wake import wake

flow = wake(0, num_points=1500, frames=1, motion="fixed", reynolds=120.0, spin_up=12.0)
pos, velocity = flow.pos[-1], flow.velocity[-1]
graph = FaceToEdge()(Data(pos=pos, face=flow.triangles[-1].T))

iap = BudgetTokens(256).tokens(graph, velocity)
amr = CriteriaTokens(velocity=(0, 1)).tokens(graph, velocity)
print(f"{len(pos)} nodes, IAP {iap.num_tokens} tokens, AMR {amr.num_tokens} tokens")
for depth in range(int(iap.depth.max()) + 1):
    print(f"depth {depth}: IAP {int((iap.depth == depth).sum()):4}, AMR {int((amr.depth == depth).sum()):4}")

# %%
# ``home`` is the finest token that holds a node. Fine tokens follow the shear layers and the vortices, the free
# stream has few.

import pyvista as pv

from meshops.viz import Scene

points = torch.cat([pos, torch.zeros(len(pos), 1)], 1).numpy()
mesh = pv.PolyData.from_regular_faces(points, flow.triangles[-1].numpy())
fields = {
    "depth of IAP's tokens": iap.depth[iap.home].double().numpy(),
    "depth of AMR's tokens": amr.depth[amr.home].double().numpy(),
    "speed": velocity.norm(dim=1).double().numpy(),
    "pressure": flow.pressure[-1].double().numpy(),
}
scene = Scene(mesh=mesh, fields=fields, units={"speed": "m/s", "pressure": "Pa"})
scene
