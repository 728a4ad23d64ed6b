"""Every model of points: what it claims, plain graphs, and learning fields on clouds like those of Elasticity."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch_geometric.data import Batch, Data

from meshops.data.mesh_graph import MeshGraph
from meshops.models import GINO, MSPT, Transformer, Transolver
from meshops.tasks import Draw, FieldsSettings, FieldsTask

WIDTH: dict[str, Any] = {"channels": 24, "depth": 2, "num_heads": 2}
MODELS: dict[str, Any] = {
    "mspt": lambda f, o, d: MSPT(f, o, pos_dim=d, num_patches=4, **WIDTH),
    "mspt-file": lambda f, o, d: MSPT(f, o, pos_dim=d, num_patches=5, patching="file", variant="reference", **WIDTH),
    "mspt-hilbert": lambda f, o, d: MSPT(f, o, pos_dim=d, num_patches=5, patching="hilbert", **WIDTH),
    "mspt-octree": lambda f, o, d: MSPT(f, o, pos_dim=d, patch_size=16, patching="octree", **WIDTH),
    "transolver": lambda f, o, d: Transolver(f, o, pos_dim=d, num_slices=8, init_std=None, **WIDTH),
    "transformer": lambda f, o, d: Transformer(f, o, pos_dim=d, **WIDTH),
    "gino": lambda f, o, d: GINO(f, o, pos_dim=d, channels=8, cells=8, depth=1),
}


def make(name: str, features: int, outputs: int, dim: int) -> nn.Module:
    torch.manual_seed(0)
    model: nn.Module = MODELS[name](features, outputs, dim)
    return model


def clouds(count: int, *, inputs: bool, dim: int = 2) -> list[MeshGraph]:
    """Clouds of different size; the field is smooth in place, and scaled by the input where there is one."""
    graphs = []
    for seed in range(count):
        generator = torch.Generator().manual_seed(seed)
        graph = MeshGraph(pos=torch.rand(90 + seed, dim, generator=generator) * 3)
        y = (2 * graph.pos[:, :1]).sin() + graph.pos[:, 1:2]
        if inputs:
            graph.x = torch.rand(len(y), 1, generator=generator)
            y = y * graph.x
        graph.y, graph.y_names, graph.y_sizes = y, ("stress",), (1,)
        graphs.append(graph)
    return graphs


@pytest.mark.parametrize("name", MODELS)
def test_takes_points_and_plain_graphs(name: str) -> None:
    for dim in (2, 3):
        model: Any = make(name, 0, 2, dim)
        assert "points" in model.takes
        graphs = [Data(pos=torch.rand(n, dim)) for n in (30, 20)]
        assert model(model.unpack(graphs[0])).shape == (30, 2)
        assert model(model.unpack(Batch.from_data_list(graphs))).shape == (50, 2)


@pytest.mark.parametrize("inputs", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_learns_fields(name: str, inputs: bool) -> None:
    graphs = clouds(4, inputs=inputs)
    samples = FieldsTask.samples(graphs, FieldsSettings())
    spec = samples.spec
    task = FieldsTask.fit(make(name, len(spec.inputs), spec.channels, spec.dim), samples, FieldsSettings())
    optimizer = torch.optim.AdamW(task.parameters(), lr=5e-3)
    losses = []
    for step in range(60):
        loss = task.loss(task.batch(samples, [Draw(step % 4, step), Draw((step + 1) % 4, step)]))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-8:]) / 8 < 0.5 * losses[0], f"{losses[0]:.3f} -> {losses[-1]:.3f}"
