"""Every registered model, published sizes as published, passes the shared check of what it takes and gives.

Auto-encoders and generators take no single graph: ``test_matrix.py`` runs them in their tasks.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from meshops import optional
from meshops.data import MeshGraph, grid_graph
from meshops.models import create_model, list_models, model_arguments, model_takes
from meshops.testing import check_model, random_graphs

# What an architecture needs to be tried on few nodes.
NEEDED: dict[str, dict[str, Any]] = {
    # Bits by the auxiliary network are learnt by a loss of its own, see LearnsWithTruth.
    "amq": {"arguments": {"channels": 96, "depth": 1}, "assignment": "uniform", "bits": [8], "budget": 8},
    "amrmesh": {"channels": 32, "hidden": 32, "num_heads": 4},
    "amrtransformer": {"velocity": [0, 1], "max_size": 4},
    "iap": {"budget": 16, "p_min": 1, "p_max": 4},
    "iapmesh": {"channels": 32, "budget": 20},
    "iap_2d": {"budget": 10},
    "iap_3d": {"budget": 10},
    "mp_pde_e1": {"out_channels": 25},  # the frames of a bundle
}
STRUCTURED = [name for name in list_models("transolver_*") if getattr(create_model(name), "structured", None)]


def arguments(name: str) -> dict[str, Any]:
    """Two inputs and three outputs in two dimensions, where the model lets one choose; else as published."""
    wanted = {"in_channels": 2, "out_channels": 3, "pos_dim": 2, "dim": 2, "velocity": [0, 1]}
    made = {key: wanted[key] for key in model_arguments(name) if key in wanted} | NEEDED.get(name, {})
    if name in list_models("mspt_*"):
        made["num_patches"] = 8  # theirs are for thousands of nodes
    if name in STRUCTURED:
        made["structured"] = [6, 7]
    return made


def cases(model: Any, name: str, channels: int) -> list[MeshGraph]:
    """Two graphs a model takes: with a time, on a grid of its own, or clouds."""
    shape = getattr(model, "structured", None) or ((8, 8) if model_takes(name) == {"grid"} else None)
    if shape is None:
        # The released code of MSPT lets padding attend, so graphs must fill their patches to the same size.
        sizes = [70, 43] if getattr(model, "mask_padding", True) else [64, 64]
        graphs = random_graphs(sizes, num_features=channels, dim=2)
    else:
        pos = grid_graph(torch.zeros(*shape, 1)).pos / max(shape)
        graphs = [MeshGraph(pos=pos, x=torch.randn(math.prod(shape), channels)) for _ in range(2)]
        for graph in graphs:
            graph.grid_shape = torch.tensor([shape])
    for number, graph in enumerate(graphs):
        graph.time = torch.tensor([0.3 + number])
    return graphs


GRAPHS_AND_GRIDS = [name for name in list_models() if model_takes(name) & {"points", "graph", "grid"}]


@pytest.mark.parametrize("name", GRAPHS_AND_GRIDS)
def test_every_model_keeps_the_contract(name: str) -> None:
    if name == "fno" and not optional.available("neuralop"):
        pytest.skip("needs the package neuraloperator")
    torch.manual_seed(0)
    given = arguments(name)
    model: Any = create_model(name, **given)
    in_order = getattr(model, "patching", "") == "file" or getattr(model, "structured", None) is not None
    in_order |= name in ("graphvit", "graph_vit_eagle")  # reads the members of a cluster one after the other
    tolerance = 1e-2 if name == "amq" else 1e-3  # roundings flip
    graphs = cases(model, name, given["in_channels"])
    check_model(model, graphs, any_order=not in_order, rtol=tolerance, atol=tolerance)
