"""A shape in a few numbers, and where its nodes are in it: what cases on different meshes are compared by.

The numbers of nodes x_i with weights w_i (areas or volumes, else equal ones), with middle m and half extents h of their
bounding box:

    [ log h_a,  m_a,  mean_w(u_a),  mean_w(u_a u_b),  mean_w(u_a u_b u_c) ],      u = (x - m) / h,   a <= b <= c

They hardly depend on the mesh. :func:`places` gives nodes of other cases a counterpart: positions in the bounding box
and, on surfaces, which way the node faces.
"""

from __future__ import annotations

import hashlib
from itertools import combinations_with_replacement

import torch
from torch import Tensor

from meshops.data.mesh_graph import MeshGraph
from meshops.ops.neighbors import knn_search
from meshops.typing import Float

NEIGHBORS = 4  # of another shape that a node is compared with
FACING = 0.3  # of the box: how far apart two nodes count that look in opposite directions, halved


def shape_numbers(pos: Float[Tensor, "n d"], weight: Float[Tensor, " n"] | None = None) -> Float[Tensor, " s"]:
    """Moments of a shape up to the third order, see above; 5 numbers for d = 1, 13 for d = 2, 25 for d = 3.

    Example:
        >>> shape_numbers(torch.rand(100, 2)).shape
        torch.Size([13])
    """
    middle, half = _box(pos)
    u = (pos.double() - middle) / half
    w = torch.ones(len(pos), dtype=torch.float64) if weight is None else weight.double()
    w = w / w.sum() if float(w.sum()) > 0 else torch.full_like(w, 1 / len(w))
    parts = [half.log(), middle]
    for order in (1, 2, 3):
        for axes in combinations_with_replacement(range(pos.shape[1]), order):
            parts.append((w * u[:, list(axes)].prod(1)).sum().view(1))
    return torch.cat(parts).float()


def places(pos: Float[Tensor, "n d"], normal: Float[Tensor, "n d"] | None = None) -> Float[Tensor, "n k"]:
    """Place of each node in its shape: in the bounding box, each axis from -1 to 1, and the normal times ``FACING``."""
    middle, half = _box(pos)
    inside = ((pos.double() - middle) / half).float()
    return inside if normal is None else torch.cat([inside, FACING * normal], 1)


def between(sources: Float[Tensor, "s k"], targets: Float[Tensor, "t k"]) -> tuple[Tensor, Tensor]:
    """Nearest sources ``[t, w]`` of each target, and weights by inverse squared distance."""
    found = knn_search(sources, min(NEIGHBORS, len(sources)), targets)
    weight = 1 / found.distance.view(len(targets), -1).square().clamp(min=1e-12)
    return found.index.view(len(targets), -1), weight / weight.sum(1, keepdim=True)


def topology(graph: MeshGraph) -> str:
    """Names how nodes are connected: equal for meshes whose nodes correspond, wherever they are; empty without cells.

    A cloud of points has no topology: nothing says that its nodes come in the same order.
    """
    if not graph.num_cells:
        return ""
    digest = hashlib.sha256(f"{len(graph.pos)} {graph.get('location')}".encode())
    for key in ("cell_type", "cell_size", "cell_nodes", "face_size", "face_nodes"):
        if graph.get(key) is not None:
            digest.update(graph[key].to(torch.int64).numpy().tobytes())
    return digest.hexdigest()[:16]


def mesh_digest(graph: MeshGraph) -> str:
    """Names places, inputs and cells of the nodes: equal for graphs that differ in their fields alone."""
    digest = hashlib.sha256()
    for key in ("pos", "x", "cell_nodes", "cell_size"):
        if graph.get(key) is not None:
            array = graph[key].contiguous().numpy()
            digest.update(f"{key} {array.dtype.str} {array.shape}".encode() + array.tobytes())
    return digest.hexdigest()[:16]


def _box(pos: Tensor) -> tuple[Tensor, Tensor]:
    low, high = pos.double().amin(0), pos.double().amax(0)
    half = (high - low) / 2
    return (low + high) / 2, torch.where(half > 1e-9 * half.max(), half, half.max().clamp(min=1e-30))
