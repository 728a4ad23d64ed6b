"""Candidates that are trained: networks in a size that fits cases and minutes, one member per fold.

The number of steps follows from the work of a step on a nominal machine (:data:`NOMINAL`), not from a clock: the same
folder and seed give the same surrogate. Only a machine that is much slower takes fewer, a power of two of them.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from meshops.data.mesh_graph import MeshGraph
from meshops.io import replacing
from meshops.selection.folds import Split
from meshops.selection.scores import Sheet, Truth
from meshops.tasks.base import Draw, Made
from meshops.tasks.build import build_model
from meshops.tasks.fields import FieldsTask
from meshops.tasks.fields_samples import FieldsSamples
from meshops.tasks.inference import predict_nodes, some_nodes
from meshops.tasks.prepared import sizes_of, taken
from meshops.training.config import TrainConfig

NOMINAL = 2.0e10, 0.012  # floating-point operations a second of a core, and seconds a step takes beside them
CORES = 2  # of the nominal machine, each of which trains members
SLOW = 2.0  # so many times slower than nominal a machine may be before it takes fewer steps
LEAST_STEPS, MOST_STEPS = 50, 20_000
JUDGED = 2  # passes over the compared nodes


@dataclass(frozen=True)
class Network:
    """A network and how it is trained.

    Attributes:
        name: In tables.
        model: The ``model:`` block of a run file.
        train: Settings that differ from the default.
        share: Of the time for networks that a first look at it costs, when there are several.
    """

    name: str
    model: Mapping[str, object]
    train: Mapping[str, Any] = field(default_factory=dict)

    def sized(self, samples: FieldsSamples) -> Network:
        """The same for the number of nodes at hand: about 64 nodes a patch."""
        if self.model["name"] != "mspt":
            return self
        nodes = samples.spec.nodes or int(sum(sizes_of(samples.graphs)) / len(samples.graphs))
        patches = 2 ** max(2, min(7, round(nodes / 64).bit_length() - 1))
        return replace(self, model={**self.model, "num_patches": patches})


BODIES = (
    Network(
        "mspt",
        {"name": "mspt", "channels": 96, "depth": 4, "num_heads": 6, "dropout": 0.1},
        {"batch_size": 1, "lr": 2e-3},
    ),
)
GRAPHS = (
    Network("mspt", {"name": "mspt", "channels": 64, "depth": 4, "num_heads": 4}, {"batch_size": 1, "lr": 2e-3}),
    Network("mppde", {"name": "mppde"}, {"batch_size": 1, "lr": 1e-3}),
)


def named_networks(names: Sequence[str] | None, *, bodies: bool) -> tuple[Network, ...]:
    """Networks that may be tried, in the size that suits the data where one is known; None: all of these."""
    suited = {network.name: network for network in (BODIES if bodies else GRAPHS)}
    chosen = suited if names is None else names
    return tuple(suited.get(name, Network(name, {"name": name})) for name in chosen)


@dataclass(frozen=True, eq=False)
class Bench:
    """What all members share.

    Attributes:
        task: Its normalisation is that of all learning cases.
        samples: The learning cases.
        truth: Where they are compared.
        split: Folds of them.
        folder: Finished members are kept here.
        console: Where progress goes; None: nowhere.
        seed: Of the run.
    """

    task: FieldsTask
    samples: FieldsSamples
    truth: Truth
    split: Split
    folder: Path
    console: Console | None
    seed: int = 0

    def parts(self, fold: int) -> tuple[list[int], list[int]]:
        """Rows of the samples that a fold learns, and that it holds out."""
        row = {case: i for i, case in enumerate(self.split.learn)}
        return [row[i] for i in self.split.rest(fold)], [row[i] for i in self.split.folds[fold]]


@dataclass(frozen=True, eq=False)
class Member:
    """A trained network of one fold.

    Attributes:
        model: With its weights.
        made: How to build it.
        fold: That it did not see.
    """

    model: nn.Module
    made: Made
    fold: int


def usable(network: Network, samples: FieldsSamples) -> bool:
    """Whether the data give what the model takes."""
    from meshops.models import model_takes

    offers = samples.offers - ({"graph"} if samples.spec.nodes else set())
    return bool(model_takes(str(network.model["name"])) & offers)


def seconds_per_step(network: Network, bench: Bench) -> float:
    """Of a training step on the nominal machine, from the floating-point operations of one."""
    task, batch, config = _new_task(network, bench, 0), None, _config(network, 1, bench.seed)
    draws = [Draw(i % len(bench.samples), i) for i in range(config.batch_size)]
    batch = task.batch(bench.samples, draws)
    with FlopCounterMode(display=False) as counter:
        task.loss(batch)["loss"].backward()
    return float(counter.get_total_flops() / NOMINAL[0] + NOMINAL[1])


def slowness(network: Network, bench: Bench, nominal: float) -> float:
    """1, or 1/2, 1/4, ...: what share of the steps a machine takes that is slower than nominal."""
    task, config = _new_task(network, bench, 0), _config(network, 1, bench.seed)
    times = []
    for i in range(5):
        batch = task.batch(bench.samples, [Draw(j % len(bench.samples), i) for j in range(config.batch_size)])
        start = time.perf_counter()
        task.loss(batch)["loss"].backward()
        times.append(time.perf_counter() - start)
    ratio, share = min(times[1:]) / nominal, 1.0
    while ratio * share > SLOW:
        share /= 2
    return share


def train_member(
    network: Network, bench: Bench, fold: int, steps: int, *, name: str = ""
) -> tuple[Member, Sheet, Sheet]:
    """A member of a fold and its predictions of the cases it did not see, or those of an earlier run.

    The second predictions are without features of the mesh itself, empty where the model has none.

    Raises:
        Stopped: Ctrl-C or SIGTERM; what was learnt is kept, and the same call goes on.
    """
    from meshops.training.fit import fit  # Lightning takes seconds to import

    done = member_file(bench, name or network.name, fold)
    folder = done.parent
    task = _new_task(network, bench, fold)
    rest, held = bench.parts(fold)
    if done.is_file():
        kept = torch.load(done, map_location="cpu", weights_only=True)
        if kept["steps"] == steps:
            task.model.load_state_dict(kept["weights"])
            return Member(task.model, task.made, fold), kept["sheet"], kept["bare"]
    samples = replace(bench.samples, graphs=taken(bench.samples.graphs, rest), held_out=())
    folder.mkdir(parents=True, exist_ok=True)
    fit(
        task,
        samples,
        _config(network, steps, bench.seed + fold),
        folder,
        resume=True,
        console=bench.console or Console(quiet=True),
    )
    task.eval()
    sheet = [predict_at(task, bench.samples.graphs[i], bench.truth.nodes[i]) for i in held]
    bare: Sheet = []
    if task.spec.cues():
        bare = [predict_at(task, task.without_cues(bench.samples.graphs[i]), bench.truth.nodes[i]) for i in held]
    with replacing(done) as partial:
        torch.save({"steps": steps, "weights": task.model.state_dict(), "sheet": sheet, "bare": bare}, partial)
    return Member(task.model, task.made, fold), sheet, bare


def member_file(bench: Bench, name: str, fold: int) -> Path:
    """Where a finished member is kept."""
    return bench.folder / f"{name}-{fold + 1}" / "member.pt"


def predict_at(task: FieldsTask, graph: MeshGraph, nodes: Tensor) -> Tensor:
    """``[s, c]`` normalised fields at some nodes of a prepared case."""
    if not task.spec.nodes:
        return predict_nodes(task, graph)[nodes]
    return predict_nodes(task, some_nodes(graph, nodes), passes=JUDGED)


def steps_for(seconds: float, per_step: float) -> int:
    """Steps of a member that may take so many seconds."""
    return int(max(LEAST_STEPS, min(MOST_STEPS, seconds / per_step)))


def _config(network: Network, steps: int, seed: int) -> TrainConfig:
    return TrainConfig(**{**network.train, "steps": steps, "seed": seed})


def _new_task(network: Network, bench: Bench, fold: int) -> FieldsTask:
    """The shared task with a new network."""
    torch.manual_seed(bench.seed + fold)
    offers = bench.samples.offers
    model, made = build_model(network.sized(bench.samples).model, bench.samples.spec.model_arguments(), offers)
    task = FieldsTask(
        model,
        bench.samples.spec,
        input_norm=bench.task.input_norm,
        output_norm=bench.task.output_norm,
        position=bench.task.position,
        condition_norm=bench.task.condition_norm,
        number_norm=bench.task.number_norm,
    )
    task.made = made
    return task
