"""Fields of a whole prepared case from a model that saw subsets of nodes: interleaved subsets, or frozen anchors.

Interleaved: the nodes are dealt into random subsets of the training density, each predicted by itself; several deals
are averaged. Anchored: one subset (the anchors) freezes keys and values of patches and supernodes, all nodes then query
them in chunks. Neither depends on how many nodes are worked on at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn
from torch_geometric.data import Batch, Data

from meshops.checks import check_counts
from meshops.data.mesh_graph import MeshGraph
from meshops.data.sampling import interleave, interleave_kinds, random_subset
from meshops.errors import InputError, listing
from meshops.nn.model import judging
from meshops.ops.tree import locate, median_split
from meshops.partition.dense import assign
from meshops.tasks.fields_spec import MOST_PASSES, FieldsSpec

Method = Literal["interleaved", "anchored"]
CACHED = 16_384  # nodes at a time on a CPU: what a layer makes of more leaves the caches
METHODS: tuple[str, ...] = ("interleaved", "anchored")
Parts = Iterator[tuple[float, tuple[Tensor, Tensor]]]


class NodePredictor(Protocol):
    """What is needed of a task: its model, its spec, normalised inputs, and normalised fields of a batch."""

    model: nn.Module
    spec: FieldsSpec

    @property
    def device(self) -> torch.device:
        """Where the model is."""

    def inputs(self, graph: Data) -> MeshGraph:
        """Normalised positions and inputs."""

    def __call__(self, graph: Data) -> Tensor:
        """Normalised fields ``[n, c]``."""


class WithSpread:
    """A task whose model is a blend, asked for its fields and for how far its members are apart.

    Args:
        task: Of a model with ``moments``, as :class:`meshops.models.blend.Blend` has them.
    """

    def __init__(self, task: Any) -> None:
        self.task, self.model, self.spec, self.device = task, task.model, task.spec, task.device

    def inputs(self, graph: Data) -> MeshGraph:
        """Normalised positions and inputs."""
        out: MeshGraph = self.task.inputs(graph)
        return out

    def __call__(self, graph: Data) -> Tensor:
        """Fields and mean squares side by side ``[n, 2 c]``."""
        return torch.cat(self.model.moments(self.model.unpack(self.inputs(graph))), 1)  # type: ignore[operator]


def predict_spread(task: Any, graph: MeshGraph, **asked: Any) -> tuple[Tensor, Tensor]:
    """Normalised fields ``[n, c]`` of :func:`predict_nodes`, and the standard deviation of the members of a blend.

    Zero for a model that is none, and where anchors are asked for.
    """
    if not hasattr(task.model, "moments") or asked.get("method") == "anchored":
        values = predict_nodes(task, graph, **asked)
        return values, torch.zeros_like(values)
    values, square = predict_nodes(WithSpread(task), graph, **asked).chunk(2, 1)
    return values, (square - values.square()).clamp(min=0).sqrt()


def predict_nodes(
    task: NodePredictor,
    graph: MeshGraph,
    *,
    method: str = "interleaved",
    passes: int = 2,
    chunk_size: int = 50_000,
    progress: Callable[[float], None] | None = None,
) -> Tensor:
    """Normalised fields ``[n, c]`` of a prepared graph.

    Args:
        task: Model and normalisation.
        graph: From ``FieldsTask.prepare``.
        method: See the module text. ``"anchored"`` needs a model with ``encode`` and ``decode``.
        passes: Number of different interleavings (or anchor sets) averaged.
        chunk_size: Nodes worked on at a time, on a CPU at most ``CACHED``: memory and speed, not the result (to
            rounding).
        progress: Called with the fraction done.

    Raises:
        InputError: Unknown method, or a model that cannot decode.
    """
    if method not in METHODS:
        raise InputError(f"method must be one of {listing(METHODS)}, got '{method}'")
    check_counts(1, chunk_size=chunk_size, passes=passes)
    if passes > MOST_PASSES:
        raise InputError(f"passes must be at most {MOST_PASSES}, got {passes}")
    with judging(task.model):
        if not task.spec.nodes:
            return task(copy(graph).to(task.device)).cpu()  # .to works in place
        if task.device.type == "cpu":
            chunk_size = min(chunk_size, CACHED)
        run = _interleaved if method == "interleaved" else _anchored
        total = torch.zeros(0)
        for i in range(passes):
            generator = torch.Generator().manual_seed(i)
            for done, (index, values) in run(task, graph, chunk_size, generator):
                if not len(total):
                    total = torch.zeros(len(graph.pos), values.shape[1])
                total.index_add_(0, index, values.cpu() / passes)
                if progress is not None:
                    progress((i + done) / passes)
        return total


def _interleaved(task: NodePredictor, graph: MeshGraph, chunk_size: int, generator: torch.Generator) -> Parts:
    kinds, share, times = graph.get("in_volume"), task.spec.surface_share, None
    if kinds is None or share is None:
        subsets = interleave(len(graph.pos), task.spec.nodes, generator)
    else:
        subsets, times = interleave_kinds(kinds, task.spec.nodes, share, generator)
    together = max(1, chunk_size // task.spec.nodes)
    for start in range(0, len(subsets), together):
        chosen = subsets[start : start + together]
        batch = Batch.from_data_list([some_nodes(graph, index) for index in chosen]).to(task.device)
        index, values = torch.cat(chosen), task(batch)
        if times is not None:  # a node that is in several subsets is their mean
            values = values / times[index].unsqueeze(1).to(values)
        yield min(1.0, (start + together) / len(subsets)), (index, values)


def _anchored(task: NodePredictor, graph: MeshGraph, chunk_size: int, generator: torch.Generator) -> Parts:
    model: Any = task.model
    if not hasattr(model, "decode"):
        raise InputError(f"{type(model).__name__} cannot decode frozen anchors; use method='interleaved'")
    if model.patching != "ball_tree":
        raise InputError("anchored prediction needs patches from a tree: build the model with patching='ball_tree'")
    n, device = len(graph.pos), task.device
    anchors = random_subset(n, min(task.spec.nodes, n), generator)
    chosen = task.inputs(some_nodes(graph, anchors).to(device))
    inputs = model.unpack(chosen)
    memories = model.encode(inputs)
    split = median_split(chosen.pos.cpu(), torch.tensor([0, len(anchors)]), model.partitioner.levels(len(anchors)))
    axis, value = (planes.to(device) for planes in split.planes())
    num_patches = inputs.index.shape[1]
    for start in range(0, n, chunk_size):
        index = torch.arange(start, min(start + chunk_size, n))
        asked = task.inputs(some_nodes(graph, index).to(device))
        slots = assign(locate(asked.pos, axis, value) // model.num_supernodes, num_patches)
        queries = inputs._replace(pos=asked.pos, x=asked.x, index=slots.index, mask=slots.mask)
        yield float(index[-1] + 1) / n, (index, model.decode(memories, queries))


def some_nodes(graph: MeshGraph, index: Tensor) -> MeshGraph:
    """Some of the nodes of a prepared case as free points, with what holds for the whole case."""
    out = MeshGraph(pos=graph.pos[index], x=graph.x[index])
    for key in ("y", "y_use", "in_volume", "place", "node_number"):
        if graph.get(key) is not None:
            out[key] = graph[key][index]
    for key in ("conditions", "numbers", "time", "case_shape"):
        if graph.get(key) is not None:
            out[key] = graph[key]
    return out
