"""Fields on every node of a mesh of any size, from a model that was trained on subsets.

``interleaved``: the nodes are dealt into disjoint random subsets of the training density, each is one ordinary forward
pass. ``anchored``: one pass over a random subset (the anchors) freezes keys and values of patches and supernodes, all
nodes then query them in chunks. Neither depends on how many nodes are worked on at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

import torch
from torch import Tensor
from torch_geometric.data import Batch

from meshops.data.mesh_graph import MeshGraph
from meshops.data.sampling import interleave, random_subset
from meshops.errors import InputError
from meshops.ops.tree import locate, median_split
from meshops.partition.dense import assign
from meshops.tasks.steady import SteadyTask

Method = Literal["interleaved", "anchored"]
METHODS: tuple[str, ...] = ("interleaved", "anchored")


@torch.no_grad()
def predict_nodes(
    task: SteadyTask,
    graph: MeshGraph,
    *,
    method: Method = "interleaved",
    passes: int | None = None,
    chunk_size: int = 50_000,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
) -> Tensor:
    """Normalised canonical fields ``[n, c]`` of a prepared graph.

    Args:
        task: Model and normalisation; put into evaluation mode.
        graph: From ``SteadyTask.prepare``.
        method: See the module text. ``"anchored"`` needs a model with ``encode`` and ``decode``.
        passes: Number of different interleavings (or anchor sets) averaged; default from the spec.
        chunk_size: Nodes worked on at a time: memory and speed, not the result (to rounding).
        seed: Of the random choice of subsets.
        progress: Called with the fraction done.

    Raises:
        InputError: Unknown method, or a model that cannot decode.
    """
    if method not in METHODS:
        raise InputError(f"method must be 'interleaved' or 'anchored', got '{method}'")
    if chunk_size < 1:
        raise InputError(f"chunk_size must be at least 1, got {chunk_size}")
    was_training = task.training
    task.eval()
    count = task.spec.passes if passes is None else passes
    run = _interleaved if method == "interleaved" else _anchored
    total = torch.zeros(len(graph.pos), task.spec.channels)
    try:
        for i in range(count):
            generator = torch.Generator().manual_seed(seed + i)
            for done, (index, values) in run(task, graph, chunk_size, generator):
                total[index] += values.cpu() / count
                if progress is not None:
                    progress((i + done) / count)
    finally:
        task.train(was_training)
    return total


def _interleaved(
    task: SteadyTask, graph: MeshGraph, chunk_size: int, generator: torch.Generator
) -> Iterator[tuple[float, tuple[Tensor, Tensor]]]:
    subsets = interleave(len(graph.pos), task.spec.nodes, generator)
    together = max(1, chunk_size // task.spec.nodes)
    for start in range(0, len(subsets), together):
        chosen = subsets[start : start + together]
        batch = Batch.from_data_list([_nodes(graph, index) for index in chosen]).to(task.position.device)
        yield min(1.0, (start + together) / len(subsets)), (torch.cat(chosen), task(batch))


def _anchored(
    task: SteadyTask, graph: MeshGraph, chunk_size: int, generator: torch.Generator
) -> Iterator[tuple[float, tuple[Tensor, Tensor]]]:
    model: Any = task.model
    if not hasattr(model, "decode"):
        raise InputError(f"{type(model).__name__} cannot decode frozen anchors; use method='interleaved'")
    n = len(graph.pos)
    anchors = random_subset(n, min(task.spec.nodes, n), generator)
    device = task.position.device
    if model.patching != "tree":
        raise InputError("anchored prediction needs patches from a tree: build the model with patching='tree'")
    chosen = _nodes(graph, anchors).to(device)
    chosen.pos, chosen.x = task.inputs(chosen)
    inputs = model.unpack(chosen)
    memories = model.encode(inputs)
    split = median_split(chosen.pos.cpu(), torch.tensor([0, len(anchors)]), model.partitioner.levels(len(anchors)))
    axis, value = (planes.to(device) for planes in split.planes())
    num_patches = inputs.index.shape[1]
    for start in range(0, n, chunk_size):
        index = torch.arange(start, min(start + chunk_size, n))
        pos, x = task.inputs(_nodes(graph, index).to(device))
        slots = assign(locate(pos, axis, value) // model.num_supernodes, num_patches)
        queries = inputs._replace(pos=pos, x=x, index=slots.index, mask=slots.mask)
        yield float(index[-1] + 1) / n, (index, model.decode(memories, queries))


def _nodes(graph: MeshGraph, index: Tensor) -> MeshGraph:
    return MeshGraph(pos=graph.pos[index], x=graph.x[index])
