"""What a node costs a task in memory, time and operations: measured by a quick probe at small sizes, then extrapolated.

A probe runs random nodes through the model at a size and at twice that size. Memory is counted tensor by tensor
(:class:`meshops.nn.live_memory.LiveBytes`; on a GPU its allocator says), so that it is the same on any machine; time is
that of the processor, the least of three runs on this one, which other programs hardly change.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from copy import copy, deepcopy
from dataclasses import asdict, dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torch_geometric.data import Batch

from meshops.data.mesh_graph import MeshGraph
from meshops.data.shape import places, shape_numbers
from meshops.errors import InputError
from meshops.folders import available_memory
from meshops.nn.live_memory import LiveBytes
from meshops.nn.model import judging
from meshops.ops.neighbors import knn_search
from meshops.tasks.base import Task

WHOLE = 2048  # nodes of a probe of a model that sees whole meshes
EDGES = 6  # neighbours of a node, for models on graphs
SHARE = 0.5  # of the free memory for the tensors of a chunk: operations need room within, allocators keep some
FEW = 20_000  # nodes that are worked on without a look at the memory
CHUNK = 50_000  # nodes worked on at a time where memory allows: larger chunks are not faster
MADE = 3.0  # copies of the features while they are made
_laws: WeakKeyDictionary[nn.Module, dict[tuple[str, int], Law]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Law:
    """A quantity that was measured at two sizes: ``value (n / nodes)^power``.

    Attributes:
        nodes: The larger size.
        value: There.
        power: Of the growth, 1 at least.
    """

    nodes: int
    value: float
    power: float = 1.0

    @classmethod
    def through(cls, nodes: int, half: float, whole: float) -> Law:
        """From the values at half of the nodes and at all of them."""
        return cls(nodes, whole, max(1.0, math.log2(whole / half)) if half > 0 and whole > 0 else 1.0)

    def at(self, nodes: float) -> float:
        """The quantity at another size."""
        return float(self.value * (nodes / self.nodes) ** self.power)

    def most(self, value: float) -> int:
        """Most nodes that stay within a value."""
        return int(self.nodes * (value / self.value) ** (1 / self.power)) if self.value > 0 else 2**62


@dataclass(frozen=True)
class NodeCost:
    """What nodes cost, of a prediction or of a training step (forward and backward).

    Attributes:
        bytes: Of tensors alive at once.
        seconds: Of the processors of this machine: with t threads at best a t-th of it passes.
        flops: Floating-point operations of matrix products.
        made: Bytes of all tensors that are made on the way: what goes through the memory.
        calls: Operations, however many nodes they work on.
    """

    bytes: Law
    seconds: Law
    flops: Law
    made: Law
    calls: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def prediction_cost(task: Any) -> NodeCost:
    """Of a forward pass of a task of fields.

    Raises:
        InputError: Its model takes neither points nor graphs, so that no random nodes can be made for it.
    """
    with judging(task.model):
        return _cost(task, lambda batch: task(batch))


@dataclass(frozen=True)
class Part:
    """Members of a blend that were made alike.

    Attributes:
        name: Of the model.
        count: How many there are.
        cost: Of a prediction of one.
        task: With one of them as its model.
    """

    name: str
    count: int
    cost: NodeCost
    task: Any


def parts_of(task: Any) -> list[Part]:
    """What a blend is made of, members without weight left out; nothing for another model."""
    members = getattr(task.model, "members", None)
    if members is None:
        return []
    alike: dict[str, list[int]] = {}
    for i, told in enumerate(task.made.arguments["members"]):
        if bool((task.model.weights[i] != 0).any()):
            key = f"{told['name']} {sorted(told['arguments'].items(), key=str)}"
            alike.setdefault(key, []).append(i)
    out = []
    for rows in alike.values():
        part = copy(task)
        part._modules = {**task._modules, "model": members[rows[0]]}  # the task itself stays as it is
        name = str(task.made.arguments["members"][rows[0]]["name"])
        out.append(Part(name, len(rows), prediction_cost(part), part))
    return out


def training_cost(task: Any, *, checkpoint: bool = False) -> NodeCost | None:
    """Of a training step; with ``checkpoint`` activations are computed again on the way back.

    None where a model cannot do that, or is fitted in closed form.

    Raises:
        InputError: As :func:`prediction_cost`.
    """
    if not {"points", "graph"} & _takes(task) and "case" in _takes(task):
        return None
    learner = deepcopy(task).train()
    if checkpoint and not hasattr(learner.model, "checkpoint"):
        return None
    if hasattr(learner.model, "checkpoint"):
        learner.model.checkpoint = checkpoint
    return _cost(learner, lambda batch: learner.loss(batch)["loss"].backward())


def fitting_chunk(task: Any, nodes: int, most: int = CHUNK) -> int:
    """Nodes to work on at a time, so that a prediction stays within the free memory: ``most`` where that fits.

    Raises:
        InputError: Not even one subset of the training density fits, or a model of whole meshes would not.
    """
    least = task.spec.nodes or nodes
    if min(nodes, max(most, least)) <= FEW or not {"points", "graph"} & _takes(task):
        return most
    free = free_memory(task)
    law = _prediction_bytes(task)
    fits = law.most(SHARE * free)
    if fits >= max(least, min(most, nodes)):
        return most
    if fits < min(least, nodes):
        raise InputError(_too_little(task, min(least, nodes), law, free))
    return max(least, fits // least * least)


def check_features(task: Any, nodes: int, label: str) -> None:
    """See that the features of all nodes of a case fit into the free memory.

    Raises:
        InputError: They do not.
    """
    need, free = MADE * 4 * nodes * len(task.spec.feature_names()), available_memory()
    if nodes > FEW and need > free:
        raise InputError(
            f"{label}: the features of its {nodes:,} nodes take about {need / 1e9:.1f} GB while they are made, and "
            f"{free / 1e9:.1f} GB of memory are free; use a machine with more, or predict parts of it (--region)"
        )


def free_memory(task: Task[Any, Any]) -> float:
    """Bytes that are free where the model is."""
    if task.device.type == "cuda":
        return float(torch.cuda.mem_get_info(task.device)[0])
    return available_memory()


def _too_little(task: Any, nodes: int, law: Law, free: float) -> str:
    need = law.at(nodes) / SHARE
    what = f"one subset of {nodes:,} nodes, the density it learnt at," if task.spec.nodes else f"all {nodes:,} nodes"
    cure = "train with fewer task.nodes" if task.spec.nodes else "train on subsets (task.nodes 16384)"
    where = "of the GPU" if task.device.type == "cuda" else "of memory"
    return (
        f"too little memory: {what} need about {need / 1e9:.2g} GB, and {free / 1e9:.2g} GB {where} are free; end "
        f"other programs, use a machine (or --memory) with more, or {cure}"
    )


def _cost(task: Any, run: Callable[[Any], object]) -> NodeCost:
    size = task.spec.nodes or WHOLE
    half, whole = (random_batch(task, size, count) for count in (1, 2))
    run(half)  # what is made once and kept: compiled code, gradients of weights
    found = [_measured(task, run, batch) for batch in (half, whole)]
    laws = [Law.through(2 * size, one, two) for one, two in zip(*found, strict=True)]
    return NodeCost(laws[0], laws[1], laws[2], laws[3], int(found[1][4]))


def _prediction_bytes(task: Any) -> Law:
    """Memory of a forward pass; measured once for each model and place, since every case asks."""
    known = _laws.setdefault(task.model, {})
    key = (str(task.device), task.spec.nodes)
    if key not in known:
        size = task.spec.nodes or WHOLE
        half, whole = (random_batch(task, size, count) for count in (1, 2))
        with judging(task.model):
            task(half)  # what is made once and kept
            known[key] = Law.through(2 * size, *(_peak(task, task, batch)[0] for batch in (half, whole)))
    return known[key]


def _measured(task: Any, run: Callable[[Any], object], batch: Any) -> tuple[float, ...]:
    times = []
    for _ in range(3):
        start = time.process_time()
        run(batch)
        if task.device.type == "cuda":
            torch.cuda.synchronize(task.device)
        times.append(time.process_time() - start)
    with FlopCounterMode(display=False) as counter:
        run(batch)
    peak, live = _peak(task, run, batch)
    return peak, min(times), float(counter.get_total_flops()), float(live.made), float(live.calls)


def _peak(task: Any, run: Callable[[Any], object], batch: Any) -> tuple[float, LiveBytes]:
    """Bytes of tensors that are alive at once, and what was counted."""
    with LiveBytes() as live:
        run(batch)
    peak = float(live.peak)
    if task.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(task.device)
        before = torch.cuda.memory_allocated(task.device)
        run(batch)
        peak = float(torch.cuda.max_memory_allocated(task.device) - before)
    return peak, live


def _takes(task: Any) -> set[str]:
    return set(getattr(task.model, "takes", ()))


def random_batch(task: Any, size: int, count: int) -> Any:
    """Random nodes: ``count`` subsets, or one mesh ``count`` times as large for a model of whole meshes."""
    if not ({"points", "graph"} | ({"case"} if task.spec.shape else set())) & _takes(task):
        name = getattr(task.made, "name", type(task.model).__name__)
        raise InputError(
            f"plans are made for models of points, graphs or whole cases, this model is '{name}'; give model.ckpt of a "
            "'meshops train' or 'meshops fit' of such a model, or a run file"
        )
    parts, nodes = (count, size) if task.spec.nodes else (1, count * size)
    return Batch.from_data_list([_graph(task, nodes, seed) for seed in range(parts)]).to(task.device)


def _graph(task: Any, nodes: int, seed: int) -> MeshGraph:
    spec, random = task.spec, torch.Generator().manual_seed(seed)

    def normal(norm: Any, rows: int) -> torch.Tensor:
        made: torch.Tensor = torch.randn(rows, len(norm.shift), generator=random)
        return made * norm.scale.cpu() + norm.shift.cpu()  # type: ignore[no-any-return]

    place = task.position.cpu()
    unit = 2 * torch.rand(nodes, spec.dim, generator=random) - 1
    out = MeshGraph(pos=place[:-1] + unit * place[-1].clamp(min=1e-6), x=normal(task.input_norm, nodes))
    out.y = normal(task.output_norm, nodes)
    if spec.conditions:
        out.conditions = normal(task.condition_norm, 1)
    if spec.numbers:
        out.numbers = normal(task.number_norm, 1)
    if spec.shape:
        out.case_shape, out.place = shape_numbers(out.pos).view(1, -1), _place(out, spec)
    if not spec.nodes:
        near = knn_search(out.pos, EDGES + 1, out.pos).index.view(nodes, -1)[:, 1:]
        out.edge_index = torch.stack([near.flatten(), torch.arange(nodes).repeat_interleave(EDGES)])
    return out


def _place(graph: MeshGraph, spec: Any) -> torch.Tensor:
    names = spec.feature_names()
    facing = [names.index(f"normal_{axis}") for axis in "xyz" if f"normal_{axis}" in names]
    normal = graph.x[:, facing] if len(facing) == 3 and spec.domain == "surface" else None
    return places(graph.pos, normal)
