"""A training run from its settings to its folder: config.yaml, model.ckpt, metrics.json, checkpoints/, logs/."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from meshops.aero.features import FeatureSpec
from meshops.data.mesh_graph import MeshGraph
from meshops.datasets import CaseDataset
from meshops.datasets import create as create_dataset
from meshops.errors import InputError
from meshops.io import write_json
from meshops.metrics.fields import relative_l2
from meshops.models import create_model
from meshops.tasks.inference import predict_nodes
from meshops.tasks.steady import SteadySpec, SteadyTask
from meshops.tasks.surrogate import Surrogate, software
from meshops.training.config import RunConfig, TaskConfig
from meshops.training.draws import count_weights, training_count
from meshops.training.evaluate import evaluate
from meshops.training.folder import numbers, open_folder
from meshops.training.prepare import ROLES, Prepared, decide_symmetry, prepare_cases
from meshops.training.results import RunResult


def train(config: RunConfig, *, resume: bool = False, console: Console | None = None) -> RunResult[Surrogate]:
    """Train a surrogate, judge it on the test split, write the run folder.

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
    start = time.perf_counter()
    data = _dataset(config, config.data.train)
    spec, symmetry = decide_symmetry(data, make_spec(data, config.task))
    out.print(f"data: {len(data)} training cases of {config.data.name}, fields {', '.join(spec.fields)}")
    out.print(symmetry)
    prepared = prepare_cases(data, spec, out)
    seconds = {"prepare": time.perf_counter() - start}
    model, arguments = _build(config, spec)
    num_weights = count_weights(model)
    out.print(f"model: {config.model['name']}, {num_weights / 1e6:.2f} M weights")
    fitted = prepared.graphs[: training_count(len(prepared.graphs), config.train.validation)]
    task = SteadyTask.fit(model, spec, fitted)
    start = time.perf_counter()
    _fit(task, config, folder, fitted, prepared.graphs[len(fitted) :], resume, out)
    seconds["train"] = time.perf_counter() - start
    surrogate = Surrogate(
        task.cpu().eval(),
        config.model["name"],
        arguments,
        prepared.envelope,
        prepared.cell_size,
        prepared.cell_points,
        _info(config, data, symmetry, num_weights, seconds),
    )
    metrics = _judge(surrogate, config, prepared, data, seconds, out)
    surrogate.info["held_out"] = numbers(metrics)
    surrogate.info["held_out_without_cues"] = numbers(metrics.get("without_mesh_cues", {}))
    surrogate.save(folder / "model.ckpt")
    write_json(folder / "metrics.json", metrics)
    out.print(f"written: {folder / 'model.ckpt'}, {folder / 'metrics.json'}")
    return RunResult(folder, surrogate, metrics)


def make_spec(data: CaseDataset, task: TaskConfig) -> SteadySpec:
    """What a dataset offers, as a task.

    Raises:
        InputError: A wanted field is not in the data.
    """
    graph = data[0]
    kinds = graph.get("node_type")
    if kinds is not None and bool((kinds > 1).any()):
        raise InputError(
            f"{graph.label}: the cases hold surface and volume nodes and a model learns one of them; "
            "choose with --data.options.domain surface"
        )
    sizes = {name: s.stop - s.start for name, s in graph.field_slices().items()}
    chosen = tuple(task.fields or data.fields)
    for name in chosen:
        graph.field(name)  # says which fields there are
    units = dict(zip(data.fields, data.units, strict=True))
    roles = {role: next((n for n in names if n in chosen), None) for role, names in ROLES.items()}
    volume = int(graph.cell_type[0]) >= 10 if graph.num_cells else False
    return SteadySpec(
        fields=chosen,
        sizes=tuple(sizes[name] for name in chosen),
        units=tuple(units[name] for name in chosen),
        domain="volume" if volume else "surface",
        location="point" if graph.get("location") == "point" else "cell",
        pressure=roles["pressure"],
        shear=roles["shear"],
        velocity=roles["velocity"],
        conditions=data.conditions,
        conditions_stated=data.conditions_stated,
        features=FeatureSpec(
            radii=task.radii,
            potential_flow=task.potential_flow,
            max_sources=task.max_sources,
            mesh_cues=task.mesh_cues,
            reynolds=data.conditions_stated and data.conditions.viscosity > 0,
        ),
        nodes=task.nodes,
        loss=task.loss,
        weights=task.weights,
        passes=task.passes,
    )


def _fit(
    task: SteadyTask, config: RunConfig, folder: Path, training: list[MeshGraph], validation: list[MeshGraph],
    resume: bool, console: Console,
) -> None:  # fmt: skip
    from meshops.training.fit import fit  # Lightning takes seconds to import
    from meshops.training.stream import StepStream

    def stream(trainer: Any) -> StepStream:
        return StepStream(
            training,
            nodes=task.spec.nodes,
            batch_size=config.train.batch_size,
            steps=config.train.steps,
            seed=config.train.seed,
            first_step=lambda: int(trainer.global_step),
            rank=trainer.global_rank,
            world_size=trainer.world_size,
            hide=(len(task.spec.features.cues(task.spec.domain)), config.task.hide_cues),
        )

    fit(
        task, config.train, folder, stream=stream, validation=validation, judge=_whole_mesh, resume=resume,
        console=console,
    )  # fmt: skip


def _whole_mesh(task: SteadyTask, case: MeshGraph) -> dict[str, float]:
    """Relative L2 of each field of one case and their mean."""
    device = task.position.device
    values = task.output_norm.inverse(predict_nodes(task, case, passes=1).to(device)).cpu()
    errors = {
        name: relative_l2(values[:, channels], case.y[:, channels]) for name, channels in task.spec.slices().items()
    }
    return errors | {"error": sum(errors.values()) / len(errors)}


def _dataset(config: RunConfig, split: str) -> CaseDataset:
    return create_dataset(config.data.name, root=config.data.root, split=split, **config.data.options)


def _build(config: RunConfig, spec: SteadySpec) -> tuple[torch.nn.Module, dict[str, Any]]:
    arguments = dict(config.model)
    name = arguments.pop("name", None)
    if name is None:
        raise InputError("model.name is missing; e.g. model: {name: mspt, depth: 4}")
    arguments |= {"in_channels": len(spec.features.names(spec.domain)), "out_channels": spec.channels}
    return create_model(name, **arguments), arguments


def _judge(
    surrogate: Surrogate,
    config: RunConfig,
    prepared: Prepared,
    data: CaseDataset,
    seconds: dict[str, float],
    console: Console,
) -> dict[str, Any]:
    if not config.data.test:
        return {"cases": {}, "seconds": seconds}
    test = _dataset(config, config.data.test)
    console.print(f"test: {len(test)} held-out cases")
    start = time.perf_counter()
    metrics = evaluate(surrogate, test, training=data, console=console)
    seconds["test"] = time.perf_counter() - start
    return metrics | {"seconds": {key: round(value, 1) for key, value in seconds.items()}}


def _info(
    config: RunConfig, data: CaseDataset, symmetry: str, num_weights: int, seconds: Mapping[str, float]
) -> dict[str, Any]:
    cases = ", ".join(data.cases)
    return {
        "data": {"name": config.data.name, "training cases": cases, "symmetry": symmetry},
        "model": {"weights": num_weights},
        "run": {
            "date": time.strftime("%Y-%m-%d"),
            "steps": config.train.steps,
            "minutes": round(seconds["train"] / 60, 1),
            "threads": config.train.threads or torch.get_num_threads(),
        },
        "software": software(),
    }
