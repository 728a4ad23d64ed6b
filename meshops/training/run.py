"""A training run from its settings to its folder: config.yaml, model.ckpt, metrics.json, checkpoints/, logs/."""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from rich.console import Console

from meshops.data.features import FeatureSpec
from meshops.data.mesh_graph import MeshGraph
from meshops.datasets import CaseDataset
from meshops.datasets import create as create_dataset
from meshops.errors import CheckpointError, InputError
from meshops.models import create_model
from meshops.tasks.steady import SteadySpec, SteadyTask
from meshops.tasks.surrogate import Surrogate, software
from meshops.training.config import RunConfig, TaskConfig
from meshops.training.evaluate import evaluate
from meshops.training.prepare import ROLES, Prepared, prepare_cases


@dataclass(frozen=True, eq=False)
class RunResult:
    """What a run leaves.

    Attributes:
        folder: The run's folder.
        surrogate: The trained surrogate, also in ``folder / "model.ckpt"``.
        metrics: Content of ``metrics.json``.
    """

    folder: Path
    surrogate: Surrogate
    metrics: dict[str, Any]


def train(config: RunConfig, *, resume: bool = False, console: Console | None = None) -> RunResult:
    """Train a surrogate, judge it on the test split, write the run folder.

    Args:
        config: Settings.
        resume: Continue the run in ``config.out`` exactly where it stopped.
        console: Where progress goes; None: silent.

    Raises:
        InputError: A setting, a file or a folder cannot be used.
    """
    out = console or Console(quiet=True)
    folder = _open_folder(config, resume)
    torch.manual_seed(config.train.seed)
    start = time.perf_counter()
    data = _dataset(config, config.data.train)
    spec = make_spec(data, config.task)
    out.print(f"data: {len(data)} training cases of {config.data.name}, fields {', '.join(spec.fields)}")
    prepared = prepare_cases(data, spec, out)
    seconds = {"prepare": time.perf_counter() - start}
    model, arguments = _build(config, spec)
    num_weights = sum(p.numel() for p in model.parameters())
    out.print(f"model: {config.model['name']}, {num_weights / 1e6:.2f} M weights")
    held_out = config.train.validation
    if not 0 <= held_out < len(prepared.graphs):
        raise InputError(f"train.validation must be in 0..{len(prepared.graphs) - 1}, got {held_out}")
    fitted = prepared.graphs[: len(prepared.graphs) - held_out]
    task = SteadyTask.fit(model, spec, fitted)
    start = time.perf_counter()
    with _threads(config.train.threads):
        fit(task, config, folder, fitted, prepared.graphs[len(fitted) :], resume, out)
    seconds["train"] = time.perf_counter() - start
    surrogate = Surrogate(
        task.cpu().eval(),
        config.model["name"],
        arguments,
        prepared.envelope,
        prepared.cell_size,
        prepared.cell_points,
        _info(config, data, num_weights, seconds),
    )
    metrics = _judge(surrogate, config, prepared, data, seconds, out)
    surrogate.info["held_out"] = _numbers(metrics)
    surrogate.info["held_out_without_cues"] = _numbers(metrics.get("without_mesh_cues", {}))
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
        features=FeatureSpec(
            radii=task.radii,
            potential_flow=task.potential_flow,
            max_sources=task.max_sources,
            mesh_cues=task.mesh_cues,
        ),
        nodes=task.nodes,
        loss=task.loss,
        weights=task.weights,
        passes=task.passes,
    )


def fit(
    task: SteadyTask,
    config: RunConfig,
    folder: Path,
    training: list[MeshGraph],
    validation: list[MeshGraph],
    resume: bool,
    console: Console,
) -> None:
    """Run Lightning; afterwards the task holds the averaged weights (of the best checkpoint with validation)."""
    import lightning.pytorch as pl
    from lightning.pytorch.callbacks import ModelCheckpoint
    from torch.utils.data import DataLoader

    from meshops.training.callbacks import AveragedWeights, RandomState, StepProgress
    from meshops.training.module import SteadyModule
    from meshops.training.stream import StepStream

    c = config.train
    every = min(c.val_every or max(1, c.steps // 10), c.steps)
    module = SteadyModule(task, c, validation)
    average = AveragedWeights(c.ema)
    best = ModelCheckpoint(
        folder / "checkpoints",
        filename="best",
        monitor="val/rel_l2" if validation else "train/loss",
        every_n_train_steps=None if validation else every,
        save_on_train_epoch_end=False,
        enable_version_counter=False,
    )
    last = ModelCheckpoint(
        folder / "checkpoints", filename="last", every_n_train_steps=every, save_top_k=1, enable_version_counter=False
    )
    _quiet_lightning()
    trainer = pl.Trainer(
        max_steps=c.steps,
        max_epochs=-1,
        accelerator=c.accelerator,
        devices=c.devices,
        precision=c.precision,
        gradient_clip_val=c.clip or None,
        callbacks=[average, RandomState(), StepProgress(c.steps, console), best, last],
        logger=_loggers(folder),
        val_check_interval=every if validation else None,
        check_val_every_n_epoch=None if validation else 1,
        num_sanity_val_steps=0,
        log_every_n_steps=10,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    stream = StepStream(
        training,
        nodes=task.spec.nodes,
        batch_size=c.batch_size,
        steps=c.steps,
        seed=c.seed,
        first_step=lambda: int(trainer.global_step),
        rank=trainer.global_rank,
        world_size=trainer.world_size,
        hide=(len(task.spec.features.cues(task.spec.domain)), config.task.hide_cues),
    )
    loader = DataLoader(stream, batch_size=None)
    numbers: Any = range(len(validation))
    cases: Any = DataLoader(numbers, batch_size=None) if validation else None
    path = folder / "checkpoints" / "last.ckpt" if resume else None
    trainer.fit(module, loader, cases, ckpt_path=path, weights_only=True)
    average.copy_to(module)
    if validation and best.best_model_path:
        state = torch.load(best.best_model_path, map_location="cpu", weights_only=True)
        average.load_state_dict(state["callbacks"]["AveragedWeights"])
        average.copy_to(module)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON under a temporary name, then rename."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(content, indent=2) + "\n")
    os.replace(temporary, path)


def _open_folder(config: RunConfig, resume: bool) -> Path:
    folder = Path(config.out)
    try:
        (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
        (folder / ".writable").touch()
        (folder / ".writable").unlink()
    except OSError as error:
        raise InputError(f"{folder}: cannot write the run there ({error.strerror}); choose another --out") from None
    if resume and not (folder / "checkpoints" / "last.ckpt").is_file():
        raise CheckpointError(f"{folder}: nothing to resume, checkpoints/last.ckpt is missing; start without --resume")
    settings = folder / "config.yaml"
    current = asdict(config)
    if resume and settings.is_file():
        _check_same(yaml.safe_load(settings.read_text()), _plain(current), folder)
    settings.write_text(yaml.safe_dump(_plain(current), sort_keys=False))
    return folder


def _check_same(before: Any, now: Any, folder: Path) -> None:
    """A resumed run must be the same run; only the folder's name and the hardware may differ."""
    free = {"out", "train.accelerator", "train.devices", "train.threads"}
    changed = [key for key, value in _flat(now).items() if key not in free and _flat(before).get(key) != value]
    if changed:
        raise InputError(
            f"{folder}: --resume continues the run as it was, but {changed[0]} changed from "
            f"{_flat(before).get(changed[0])} to {_flat(now)[changed[0]]}; use another --out for a new run"
        )


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


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """CPU threads of torch while training; 0: as they are."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {key: value for key, value in metrics.items() if isinstance(value, (float, int))}


def _info(config: RunConfig, data: CaseDataset, num_weights: int, seconds: Mapping[str, float]) -> dict[str, Any]:
    return {
        "data": {"name": config.data.name, "training cases": ", ".join(data.cases)},
        "model": {"weights": num_weights},
        "run": {
            "date": time.strftime("%Y-%m-%d"),
            "steps": config.train.steps,
            "minutes": round(seconds["train"] / 60, 1),
            "threads": config.train.threads or torch.get_num_threads(),
        },
        "software": software(),
    }


def _loggers(folder: Path) -> list[Any]:
    from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

    from meshops.optional import available

    loggers: list[Any] = [CSVLogger(folder, name="logs", version="csv")]
    if available("tensorboard"):
        loggers.append(TensorBoardLogger(folder, name="logs", version="tensorboard"))
    return loggers


def _quiet_lightning() -> None:
    """Lightning's hints about workers and hardware are not for our users."""
    import logging

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    for text in (".*does not have many workers.*", ".*`IterableDataset` has `__len__`.*", ".*isinstance.treespec.*"):
        warnings.filterwarnings("ignore", text)
    warnings.filterwarnings("ignore", module="lightning")


def _plain(values: Any) -> Any:
    if isinstance(values, dict):
        return {key: _plain(value) for key, value in values.items()}
    return [_plain(v) for v in values] if isinstance(values, (list, tuple)) else values


def _flat(values: Any, prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            out |= _flat(value, f"{prefix}{key}.")
        else:
            out[f"{prefix}{key}"] = value
    return out
