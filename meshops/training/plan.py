"""A plan for a mesh of any size: chunk, nodes a step, checkpointing, offload, time, and what all of it rests on.

Measured on this machine by a probe (:mod:`meshops.tasks.node_cost`): bytes, seconds and operations of a node. Stated:
what a GPU has, its published peak, and which share of it is expected to be reached; that is not measured here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from meshops.datasets import detect, open_data
from meshops.datasets.base import CaseDataset
from meshops.datasets.registry import options as options_of
from meshops.datasets.subset import CaseSubset
from meshops.errors import InputError
from meshops.tasks.build import build_model
from meshops.tasks.fields import FieldsTask
from meshops.tasks.fields_samples import make_spec
from meshops.tasks.fields_spec import FieldsSettings
from meshops.tasks.node_cost import CHUNK, SHARE, NodeCost, Part, parts_of, prediction_cost, training_cost
from meshops.training.config import RunConfig

EFFICIENCY = 0.2  # of the published peak: assumed
LAUNCH = 5e-6  # seconds to start an operation on a GPU: assumed
TRAFFIC = 3.0  # times that what an operation makes goes through the memory, what it reads included: assumed
GPU_SHARE = 0.8  # of its memory for tensors
STATE = 20  # bytes a weight in training: itself, its gradient, two moments, its average
HOST_BASE, HOST_NODE = 0.6e9, 1000.0  # bytes of a process, and of a node from file to file: measured, docs/scaling.md


@dataclass(frozen=True)
class Chip:
    """A GPU as its maker states it.

    Attributes:
        name: Of it.
        memory: Bytes.
        peak: Operations a second of matrix products in bfloat16, dense.
        link: Bytes a second to the others.
        stream: Bytes a second of its memory.
    """

    name: str
    memory: float
    peak: float
    link: float
    stream: float

    def seconds(self, cost: NodeCost, nodes: float, efficiency: float) -> float:
        """Of a call: starts of operations, then what takes longer, computing or the memory."""
        work = max(cost.flops.at(nodes) / (efficiency * self.peak), TRAFFIC * cost.made.at(nodes) / self.stream)
        return LAUNCH * cost.calls + work


CHIPS = {
    "a100": Chip("NVIDIA A100 SXM 80 GB", 80e9, 312e12, 600e9, 2.04e12),
    "h100": Chip("NVIDIA H100 SXM", 80e9, 989e12, 900e9, 3.35e12),
    "h200": Chip("NVIDIA H200 SXM", 141e9, 989e12, 900e9, 4.8e12),
    "l40s": Chip("NVIDIA L40S", 48e9, 362e12, 64e9, 0.864e12),
}
"""Data sheets of the maker (published)."""


@dataclass(frozen=True)
class Measured:
    """What a plan rests on, of one surrogate.

    Attributes:
        weights: Number of weights.
        subset: Nodes of a subset; 0: whole meshes.
        batch: Subsets a training step takes.
        passes: Of a prediction.
        features: Input channels that are kept of every node.
        predict: Cost of a pass.
        train: Cost of a training step, of a blend that of its dearest network; None: what is fitted in closed form.
            ``again``: with activations computed again, None where the model cannot.
        prepare: Seconds a node of reading and of its features on this machine; None: not measured.
        again: See ``train``.
        host: Bytes a node on the way from file to file.
        threads: That work side by side on this machine.
        parts: Of a blend.
        trained: Name of the network that ``train`` is of, in a blend.
    """

    weights: int
    subset: int
    batch: int
    passes: int
    features: int
    predict: NodeCost
    train: NodeCost | None
    prepare: float | None
    again: NodeCost | None = None
    host: float = HOST_NODE
    threads: int = 1
    parts: tuple[Part, ...] = ()
    trained: str = ""

    @classmethod
    def of(cls, task: FieldsTask, *, batch: int = 1, prepare: float | None = None) -> Measured:
        """Of a task, by probes that take seconds.

        Args:
            task: Trained, or of random weights.
            batch: Subsets of a training step.
            prepare: See there.
        """
        parts = parts_of(task)
        networks = [(cost, part) for part in parts if (cost := training_cost(part.task)) is not None]
        dearest = max(networks, key=lambda pair: pair[0].bytes.value, default=None)
        learner = task if dearest is None else dearest[1].task
        return cls(
            weights=sum(p.numel() for p in learner.parameters()),
            subset=task.spec.nodes,
            batch=batch,
            passes=int(str(task.asked.get("passes", 1))),
            features=len(task.spec.feature_names()),
            predict=prediction_cost(task),
            train=training_cost(task) if dearest is None else dearest[0],
            prepare=prepare,
            again=training_cost(learner, checkpoint=True),
            threads=torch.get_num_threads(),
            parts=tuple(parts),
            trained="" if dearest is None else dearest[1].name,
        )


@dataclass(frozen=True)
class Plan:
    """What to do on one kind of machine.

    Attributes:
        gpus: How many; 0: this machine.
        chunk: Nodes a device works on at a time in a prediction.
        host_gb: Memory of the host.
        offload: Where the features lie while the network works.
        passes: Predictions that are averaged.
        prepare_s: Reading and features, on one host as fast as this one; None: not measured.
        network_s: Of all passes.
        nodes_a_step: Of a training step, over all devices.
        most_a_step: Nodes that would fit on each device: as planned, and with checkpointing.
        checkpointing: Activations are computed again.
        train_gb: Memory of each device in training.
        step_s: Of a training step, exchange of gradients included.
        steps: That fit into the time; None: no time was given.
        trouble: What does not fit, and what to do.
    """

    gpus: int
    chunk: int
    host_gb: float
    offload: str
    passes: int
    prepare_s: float | None
    network_s: float
    nodes_a_step: int
    most_a_step: tuple[int, int]
    checkpointing: bool
    train_gb: float
    step_s: float
    steps: int | None
    trouble: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def make_plan(
    known: Measured, nodes: int, *, gpus: int = 0, chip: Chip, memory: float, seconds: float | None = None,
    efficiency: float = EFFICIENCY,
) -> Plan:  # fmt: skip
    """Plan the prediction of a mesh and a training on such meshes.

    Args:
        known: Measured constants.
        nodes: Of the mesh.
        gpus: Number of GPUs; 0: the CPU of this machine.
        chip: Of each.
        memory: Of the host, bytes.
        seconds: That a prediction, and a training, may take; None: any.
        efficiency: Share of the peak of the GPU that is reached.

    Raises:
        InputError: A number makes no sense.
    """
    if nodes < 1 or gpus < 0 or not 0 < efficiency <= 1 or (seconds is not None and not seconds > 0):
        raise InputError(
            f"a plan needs nodes >= 1, gpus >= 0, an efficiency in (0, 1] and a positive time, got {nodes}, {gpus}, "
            f"{efficiency:g}, {seconds}"
        )
    trouble: list[str] = []
    device = GPU_SHARE * chip.memory if gpus else SHARE * memory
    chunk = _chunk(known, nodes, -(-nodes // gpus) if gpus else CHUNK, device, trouble)
    host = HOST_BASE + known.host * nodes
    if host > memory:
        trouble.append(
            f"the host needs {host / 1e9:.0f} GB and has {memory / 1e9:.0f}: take one with more, or cut the mesh into "
            f"{-(-int(host) // int(memory))} parts"
        )
    spent = known.predict.seconds.at(chunk) / known.threads
    each = chip.seconds(known.predict, chunk, efficiency) / chunk / gpus if gpus else spent / chunk
    ready = None if known.prepare is None else known.prepare * nodes
    passes = known.passes
    if seconds is not None:
        passes = max(1, min(passes, int((seconds - (ready or 0.0)) / (each * nodes))))
        if (one := (ready or 0.0) + each * nodes) > seconds:
            trouble.append(f"one pass takes {one:.0f} s, more than the {seconds:.0f} s asked for")
    table = 4.0 * known.features * nodes
    where = "in the memory of the host" if not gpus else (
        "on the device" if table / gpus + known.predict.bytes.at(chunk) < device else
        "in the memory of the host, chunk by chunk to the device")  # fmt: skip
    learnt = _training(known, gpus, chip, device, efficiency, seconds, trouble)
    network = each * nodes * passes
    return Plan(gpus, chunk, host / 1e9, where, passes, ready, network, **learnt, trouble=tuple(trouble))


def _chunk(known: Measured, nodes: int, most: int, room: float, trouble: list[str]) -> int:
    """Nodes a device works on at a time: whole subsets, at least one."""
    least, fits = known.subset or nodes, known.predict.bytes.most(room)
    if fits < least:
        what = f"a subset of {least:,} nodes" if known.subset else f"the whole mesh of {least:,} nodes"
        cure = "fewer task.nodes" if known.subset else "subsets (task.nodes 16384)"
        trouble.append(
            f"too little memory for {what} ({known.predict.bytes.at(least) / 1e9:.3g} GB): train with {cure}"
        )
    return max(least, min(most, fits) // least * least)


def _training(
    known: Measured, gpus: int, chip: Chip, device: float, efficiency: float, seconds: float | None, trouble: list[str]
) -> dict[str, Any]:
    """Nodes a step: as the run asks, with activations computed again where they do not fit, else fewer."""
    if known.train is None:
        return {"nodes_a_step": 0, "checkpointing": False, "most_a_step": (0, 0), "train_gb": 0.0, "step_s": 0.0,
                "steps": None}  # fmt: skip
    room = device - STATE * known.weights
    each = (known.subset or known.train.bytes.nodes) * known.batch
    cost, again = known.train, False
    if cost.bytes.at(each) > room and known.again is not None:
        cost, again = known.again, True
    if cost.bytes.at(each) > room:
        fewer = cost.bytes.most(max(0.0, room))
        trouble.append(
            f"training on {each:,} nodes a step does not fit: {fewer:,} nodes do (task.nodes, train.batch_size)"
        )
        each = max(1, fewer)
    step = chip.seconds(cost, each, efficiency) if gpus else cost.seconds.at(each) / known.threads
    if gpus > 1:  # a ring: every gradient is sent twice
        step += 2 * 4 * known.weights * (gpus - 1) / gpus / chip.link
    return {
        "nodes_a_step": each * max(1, gpus), "checkpointing": again,
        "most_a_step": (cost.bytes.most(max(0.0, room)), (known.again or cost).bytes.most(max(0.0, room))),
        "train_gb": (cost.bytes.at(each) + STATE * known.weights) / 1e9, "step_s": step,
        "steps": None if seconds is None else int(seconds / step),
    }  # fmt: skip


def reasons(known: Measured, chip: Chip, gpus: bool, efficiency: float) -> list[str]:
    """What plans rest on, a sentence each."""
    size = known.predict.bytes.nodes
    per: Mapping[str, NodeCost | None] = {"prediction": known.predict, "training": known.train,
                                          "training, checkpointing": known.again}  # fmt: skip
    lines = [
        f"measured here by probes of {size // 2:,} and {size:,} nodes (time of the processor, {known.threads} threads):"
    ]
    for what, cost in per.items():
        if cost is not None:
            lines.append(
                f"  {what}: {cost.bytes.at(size) / size / 1e3:.2f} kB (growing as n^{cost.bytes.power:.2f}), "
                f"{1e6 * cost.seconds.at(size) / size:.2f} us and {cost.flops.at(size) / size / 1e6:.2f} MFLOP a node, "
                f"{cost.calls:,} operations that make {cost.made.at(size) / size / 1e3:.1f} kB a node"
            )
    for part in known.parts:
        lines.append(
            f"  of the prediction: {part.count} x {part.name}, {1e6 * part.cost.seconds.at(size) / size:.2f} us and "
            f"{part.cost.bytes.at(size) / size / 1e3:.2f} kB a node each (times add up, the largest memory counts)"
        )
    if known.trained:
        lines.append(f"  a step trains one {known.trained}; the other members are trained or fitted by themselves")
    elif known.train is None:
        lines.append("  nothing is trained step by step: the models are fitted in closed form")
    if known.prepare is not None:
        lines.append(f"  reading and features: {1e6 * known.prepare:.1f} us a node, a body of some 10,000 cells")
    lines.append(
        f"  host: {known.host / 1e3:.2f} kB a node from file to file (docs/scaling.md); {known.weights:,} weights"
    )
    if gpus:
        lines.append(
            f"stated, not measured here: {chip.name}, {chip.memory / 1e9:.0f} GB, {chip.link / 1e9:.0f} GB/s between "
            f"them, {chip.peak / 1e12:.0f} TFLOP/s (published), of which {100 * efficiency:g} % are assumed to be "
            f"reached, {chip.stream / 1e12:.3g} TB/s of its memory (published), {1e6 * LAUNCH:g} us to start an "
            "operation (assumed); memory as in single precision"
        )
    return lines


def new_task(config: RunConfig) -> FieldsTask:
    """An untrained task of a run, of the sizes its first case has.

    Raises:
        InputError: The data cannot be opened, or the model does not suit them.
    """
    settings, data = config.task, config.data
    assert isinstance(settings, FieldsSettings)
    name = data.name or detect(str(data.root))
    once = {key: False for key in ("check", "cache") if key in options_of(name)}
    cases = open_data(name, root=data.root, split=data.train, **(once | data.options))
    if not isinstance(cases, CaseDataset):
        raise InputError(f"{data.root}: holds trajectories; plans are made for finished cases")
    spec = make_spec(CaseSubset(cases, [0]), settings)
    model, made = build_model(config.model, spec.model_arguments(), frozenset({"points", "graph"}))
    task = FieldsTask.empty(model, spec.to_dict())
    task.position[-1] = 1.0
    task.made, task.asked["passes"] = made, settings.passes
    return task
