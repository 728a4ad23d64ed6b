"""Training runs on graphs: fields from inputs on the nodes, and trajectories on meshes that may move."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor
from torch_geometric.data import Batch

from meshops.data.mesh_graph import MeshGraph
from meshops.datasets import create as create_dataset
from meshops.datasets import create_mesh_trajectories
from meshops.datasets.mesh_trajectory import MeshTrajectoryDataset
from meshops.errors import InputError
from meshops.models import create_model
from meshops.models.registry import model_arguments
from meshops.nn.mesh_model import MeshModel
from meshops.tasks.fields import FieldsSpec, FieldsTask, relative_errors
from meshops.tasks.graph_surrogate import FieldsSurrogate, GraphSurrogate, MeshRolloutSurrogate
from meshops.tasks.mesh_rollout import Frames, MeshRolloutSpec, MeshRolloutTask, frames_of, n_rmse
from meshops.training.config import FieldsRunConfig, MeshRolloutRunConfig
from meshops.training.draws import count_weights, finish, fit_draws, run_info, training_count
from meshops.training.folder import open_folder
from meshops.training.results import RunResult

MOST_WINDOWS = 32  # what the statistics of trajectories are taken from
KEPT = ("pos", "x", "y", "edge_index", "x_names", "y_names", "y_sizes", "y_units", "name")


def train_fields(
    config: FieldsRunConfig, *, resume: bool = False, console: Console | None = None
) -> RunResult[FieldsSurrogate]:
    """Train a model of fields on graphs, judge it on the test split, write the run folder.

    Args:
        config: Settings.
        resume: Continue the run in ``config.out`` exactly where it stopped.
        console: Where progress goes; None: silent.

    Raises:
        InputError: A setting, a file or a folder cannot be used.
    """
    out = console or Console(quiet=True)
    folder = open_folder(config, resume)
    torch.manual_seed(config.train.seed)
    graphs = _graphs(config, config.data.train)
    spec = FieldsSpec.of(graphs[0], config.task.fields)
    model, arguments = build(config.model, spec.model_arguments())
    _announce(out, f"{len(graphs)} training cases of {config.data.name}", spec.fields, config.model, model)
    kept = graphs[: training_count(len(graphs), config.train.validation)]
    task = FieldsTask.fit(model, spec, kept)

    def batch(chosen: list[int]) -> Any:
        return Batch.from_data_list([kept[i] for i in chosen])

    def judge(task: FieldsTask, graph: MeshGraph) -> dict[str, float]:
        errors = relative_errors(task.predict(graph.clone()), graph)
        return errors | {"error": sum(errors.values()) / len(errors)}

    seconds = fit_draws(task, config, folder, len(kept), batch, graphs[len(kept) :], judge, resume, out)
    surrogate = FieldsSurrogate(task.cpu().eval(), config.model["name"], arguments, run_info(config, len(kept), model))
    metrics: dict[str, Any] = {}
    if config.data.test:
        test = _graphs(config, config.data.test)
        metrics = evaluate_fields(surrogate, test)
        _draw_case(surrogate, config, folder)
        shown = ", ".join(f"{name} {value:.4f}" for name, value in metrics["mean"].items())
        out.print(f"test: {len(test)} cases, relative L2 error {shown}")
    return finish(surrogate, metrics, folder, seconds, out)


def train_mesh_rollout(
    config: MeshRolloutRunConfig, *, resume: bool = False, console: Console | None = None
) -> RunResult[MeshRolloutSurrogate]:
    """Train a model of one step on moving meshes, judge its rollouts on the test split, write the run folder.

    Args:
        config: Settings.
        resume: Continue the run in ``config.out`` exactly where it stopped.
        console: Where progress goes; None: silent.

    Raises:
        InputError: A setting, a file or a folder cannot be used.
    """
    out = console or Console(quiet=True)
    folder = open_folder(config, resume)
    torch.manual_seed(config.train.seed)
    data = _trajectories(config, config.data.train)
    given = data.spec
    spec = MeshRolloutSpec(
        fields=given.fields, sizes=given.sizes, units=given.units, weights=given.weights, forced=given.forced,
        time_step=given.time_step, dim=data[0].pos.shape[1], pushforward=config.task.pushforward,
    )  # fmt: skip
    model, arguments = build(config.model, spec.model_arguments())
    _announce(out, f"{len(data)} trajectories of {config.data.name}", spec.fields, config.model, model)
    kept, length = training_count(len(data), config.train.validation), config.task.horizon + 1
    windows = [(i, s) for i in range(kept) for s in range(data.lengths[i] - length + 1)]
    if not windows:
        raise InputError(
            f"no trajectory is long enough: a window takes {length} frames, the longest has {max(data.lengths)}; lower "
            "task.horizon"
        )
    size = model.cluster_size if getattr(model, "clustering", "") == "kmeans" else 0
    some = windows[:: max(1, len(windows) // MOST_WINDOWS)]
    task = MeshRolloutTask.fit(model, spec, (read_frames(data, i, s, length) for i, s in some))

    def batch(chosen: list[int]) -> list[Frames]:
        return [read_frames(data, *windows[i], length, size) for i in chosen]

    def judge(task: MeshRolloutTask, index: int) -> dict[str, float]:
        frames = read_frames(data, index, 0, min(data.lengths[index], config.task.steps + 1), size)
        device = task.position.device
        frames = Frames(
            {k: [p.to(device) for p in v] if isinstance(v, list) else v.to(device) for k, v in frames.items()}
        )
        return {"error": float(n_rmse(task.rollout(frames), frames["state"][1:], spec, task.norm.scale)[-1])}

    seconds = fit_draws(task, config, folder, len(windows), batch, range(kept, len(data)), judge, resume, out)
    surrogate = MeshRolloutSurrogate(task.cpu().eval(), config.model["name"], arguments, run_info(config, kept, model))
    metrics: dict[str, Any] = {}
    if config.data.test:
        metrics = evaluate_mesh_rollout(task, _trajectories(config, config.data.test), config.task.steps, size)
        shown = ", ".join(f"+{step} {value:.4f}" for step, value in metrics["n_rmse"].items())
        out.print(f"test: {len(metrics['cases'])} trajectories, N-RMSE {shown}")
    return finish(surrogate, metrics, folder, seconds, out)


def evaluate_fields(surrogate: FieldsSurrogate, graphs: Iterable[MeshGraph]) -> dict[str, Any]:
    """Relative L2 error of each field of each graph, and the means."""
    cases = {
        str(graph.get("name", i)): relative_errors(surrogate.predict(graph.clone()), graph)
        for i, graph in enumerate(graphs)
    }
    return {"cases": cases, "mean": {n: sum(c[n] for c in cases.values()) / len(cases) for n in surrogate.spec.fields}}


def evaluate_mesh_rollout(
    task: MeshRolloutTask, data: MeshTrajectoryDataset, steps: int, cluster_size: int = 0
) -> dict[str, Any]:
    """N-RMSE of rollouts from the first frame of every trajectory, after 1, 10, 50, ... and all steps."""
    wanted = [s for s in (1, 10, 50, 100, 250) if s < steps] + [steps]
    cases: dict[str, dict[str, float]] = {}
    for index, case in enumerate(data.cases):
        frames = read_frames(data, index, 0, min(data.lengths[index], steps + 1), cluster_size)
        curve = n_rmse(task.rollout(frames), frames["state"][1:], task.spec, task.norm.scale)
        still = n_rmse(frames["state"][:1].expand_as(frames["state"][1:]), frames["state"][1:], task.spec,
                       task.norm.scale)  # fmt: skip
        cases[case] = {str(s): float(curve[min(s, len(curve)) - 1]) for s in wanted}
        cases[case]["first frame kept"] = float(still[-1])
    mean = {key: sum(c[key] for c in cases.values()) / len(cases) for key in next(iter(cases.values()))}
    still_mean = mean.pop("first frame kept")
    return {"cases": cases, "n_rmse": mean, "first_frame_kept": still_mean}


def read_frames(data: MeshTrajectoryDataset, index: int, start: int, length: int, cluster_size: int = 0) -> Frames:
    """Frames of a trajectory for the task, with the clusters the set keeps where ``cluster_size`` is not 0."""
    clusters: list[Tensor] | None = None
    if cluster_size:
        found = [data.clusters(index, frame, cluster_size) for frame in range(start, start + length)]
        clusters = [labels for labels in found if labels is not None]
        clusters = clusters if len(clusters) == length else None
    return frames_of(data.window(index, start, length), clusters)


def build(settings: dict[str, Any], known: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Model from ``{name: ..., argument: ...}`` with the sizes the data have.

    Raises:
        InputError: No name, no such model or argument, or a model that is not for graphs.
    """
    given = dict(settings)
    name = given.pop("name", None)
    if name is None:
        raise InputError("model.name is missing; e.g. model: {name: graphvit, cluster_size: 20}")
    arguments = {key: value for key, value in known.items() if key in model_arguments(name)} | given
    model = create_model(name, **arguments)
    if not isinstance(model, MeshModel) and "points" not in getattr(model, "takes", ()):
        raise InputError(
            f"model '{name}' is not made for graphs; use mppde, graphvit, meshgraphnet, amq, gino, mspt, transolver or "
            "transformer"
        )
    return model, arguments


def _graphs(config: FieldsRunConfig, split: str) -> list[MeshGraph]:
    data = create_dataset(config.data.name, root=config.data.root, split=split, **config.data.options)
    return [MeshGraph(**{k: graph[k] for k in KEPT if graph.get(k) is not None}) for graph in data]


def _trajectories(config: MeshRolloutRunConfig, split: str) -> MeshTrajectoryDataset:
    return create_mesh_trajectories(config.data.name, root=config.data.root, split=split, **config.data.options)


def _announce(out: Console, what: str, fields: Sequence[str], settings: dict[str, Any], model: MeshModel) -> None:
    out.print(f"data: {what}, fields {', '.join(fields)}")
    out.print(f"model: {settings['name']}, {count_weights(model) / 1e6:.2f} M weights")


def _draw_case(surrogate: GraphSurrogate, config: FieldsRunConfig, folder: Path) -> None:
    """Truth, prediction, error and bits of the first test case, where the mesh is plane."""
    data = create_dataset(config.data.name, root=config.data.root, split=config.data.test, **config.data.options)
    graph = data[0]
    if graph.pos.shape[1] != 2:
        return
    from meshops.viz.plane import graph_picture

    predicted = surrogate.predict(graph.clone())  # type: ignore[attr-defined]
    bits = None
    model = surrogate.task.model
    if hasattr(model, "assign"):
        inputs = model.unpack(surrogate.task.inputs(graph.clone()))
        bits = model.assign(inputs).plans["node"].bits
    graph_picture(graph, predicted, folder / "case.png", bits=bits)
