"""Settings of a run: what a YAML file may say, with defaults. Every field is also ``--group.field value``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which cases.

    Attributes:
        name: Dataset: ahmed_mini (shipped with meshops), ahmed_ml, shapenet_car.
        root: Folder of the dataset; not needed for ahmed_mini.
        train: Name of the training split.
        test: Name of the split the run is judged on at the end; empty: none.
        options: Further arguments of the dataset, such as split_method or protocol.
    """

    name: str = "ahmed_mini"
    root: str | None = None
    train: str = "train"
    test: str = "test"
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TaskConfig:
    """What is learnt.

    Attributes:
        fields: Fields to predict; default: all the dataset has.
        nodes: Nodes per training subset, and density of prediction.
        loss: Loss per field (or one for all): relative_l2, relative_l2_centered, mse, l1, huber.
        weights: Weight per field in the loss.
        passes: Interleavings averaged in a prediction.
        radii: Radii of the geometry averages, in body heights.
        potential_flow: Give the model the potential flow past the body.
        max_sources: Panels that represent the body in the features.
        mesh_cues: Let the model see edges and folds of the surface cells (solver meshes have artefacts there).
        hide_cues: How often they are hidden in training, so that CAD triangulations can be predicted too.
    """

    fields: tuple[str, ...] | None = None
    nodes: int = 2048
    loss: tuple[str, ...] = ("relative_l2",)
    weights: tuple[float, ...] = (1.0,)
    passes: int = 2
    radii: tuple[float, ...] = (0.04, 0.08, 0.16, 0.32)
    potential_flow: bool = True
    max_sources: int = 2048
    mesh_cues: bool = False
    hide_cues: float = 0.3


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How it is learnt.

    Attributes:
        steps: Optimiser steps.
        batch_size: Subsets (of different cases) per step.
        optimizer: adamw or lion.
        lr: Peak learning rate.
        weight_decay: Decoupled weight decay.
        betas: Of the optimiser.
        schedule: cosine (to zero), noam (falls as 1 / sqrt(step)) or step_decay (5 % less every 5,000 steps).
        warmup: Fraction of the steps with rising learning rate.
        ema: Decay of the averaged weights that are evaluated and saved; 0: off.
        clip: Largest gradient norm; 0: off.
        precision: 32-true, bf16-mixed or 16-mixed.
        seed: Of everything random.
        validation: Number of training cases held out to choose the best checkpoint; 0: the last one is kept.
        val_every: Steps between validations and checkpoints; default a tenth of the run.
        accelerator: cpu, gpu or auto.
        devices: Number of devices.
        threads: CPU threads of torch; 0: its default.
    """

    steps: int = 1000
    batch_size: int = 2
    optimizer: Literal["adamw", "lion"] = "adamw"
    lr: float = 2e-3
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.98)
    schedule: Literal["cosine", "noam", "step_decay"] = "cosine"
    warmup: float = 0.05
    ema: float = 0.99
    clip: float = 1.0
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    seed: int = 0
    validation: int = 0
    val_every: int | None = None
    accelerator: str = "auto"
    devices: int = 1
    threads: int = 0


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """A run.

    Attributes:
        kind: steady: fields of finished cases on meshes.
        out: Folder of the run; made if missing.
        model: Name of a registered model and its arguments: {name: mspt, depth: 4, ...}.
        data: Which cases.
        task: What is learnt.
        train: How.
    """

    kind: Literal["steady"] = "steady"
    out: str = "runs/run"
    model: dict[str, Any] = field(default_factory=lambda: {"name": "mspt"})
    data: DataConfig = field(default_factory=DataConfig)
    task: TaskConfig = field(default_factory=TaskConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


@dataclass(frozen=True, kw_only=True)
class RolloutTaskConfig:
    """What is learnt of trajectories.

    Attributes:
        history: Frames the model sees.
        loss: mse, nmse (per sample, over the mean square) or mae of normalised values.
        residual: Predict the change from the newest frame.
        stride: Frames from one step of the model to the next.
        steps: Steps of the rollouts the run is judged on.
        cases: Trajectories it is judged on at most; 0: all of the split.
    """

    history: int = 1
    loss: Literal["mse", "nmse", "mae"] = "mse"
    residual: bool = False
    stride: int = 1
    steps: int = 20
    cases: int = 0


@dataclass(frozen=True, kw_only=True)
class RolloutRunConfig:
    """A run on trajectories.

    Attributes:
        kind: rollout: the next frame of fields on regular grids, and whole futures.
        out: Folder of the run; made if missing.
        model: Name of a registered model and its arguments: {name: iap, budget: 1024, ...}.
        data: Which trajectories; name: the_well, pdebench or cfdbench.
        task: What is learnt.
        train: How.
    """

    kind: Literal["rollout"] = "rollout"
    out: str = "runs/rollout"
    model: dict[str, Any] = field(default_factory=lambda: {"name": "iap"})
    data: DataConfig = field(default_factory=DataConfig)
    task: RolloutTaskConfig = field(default_factory=RolloutTaskConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


@dataclass(frozen=True, kw_only=True)
class FieldsTaskConfig:
    """What is learnt of graphs.

    Attributes:
        fields: Fields to predict; default: all the dataset has.
    """

    fields: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class FieldsRunConfig:
    """A run on graphs.

    Attributes:
        kind: fields: fields on the nodes of graphs from inputs on them.
        out: Folder of the run; made if missing.
        model: Name of a registered model and its arguments: {name: amq, backbone: mppde, budget: 5, ...}.
        data: Which cases; name: darcy, elasticity, plasticity, airfoil, pipe, airfrans.
        task: What is learnt.
        train: How.
    """

    kind: Literal["fields"] = "fields"
    out: str = "runs/fields"
    model: dict[str, Any] = field(default_factory=lambda: {"name": "mppde"})
    data: DataConfig = field(default_factory=DataConfig)
    task: FieldsTaskConfig = field(default_factory=FieldsTaskConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


@dataclass(frozen=True, kw_only=True)
class MeshRolloutTaskConfig:
    """What is learnt of trajectories on meshes.

    Attributes:
        horizon: Steps of a training window; gradients go through all of them.
        pushforward: Learn one step after up to so many without gradients instead; 0: off.
        steps: Steps of the rollouts the run is judged on.
    """

    horizon: int = 5
    pushforward: int = 0
    steps: int = 50


@dataclass(frozen=True, kw_only=True)
class MeshRolloutRunConfig:
    """A run on moving meshes.

    Attributes:
        kind: mesh_rollout: the next state on meshes that may move, and whole futures.
        out: Folder of the run; made if missing.
        model: Name of a registered model and its arguments: {name: graphvit, cluster_size: 20, ...}.
        data: Which trajectories; name: eagle or mesh_graph_nets.
        task: What is learnt.
        train: How.
    """

    kind: Literal["mesh_rollout"] = "mesh_rollout"
    out: str = "runs/mesh_rollout"
    model: dict[str, Any] = field(default_factory=lambda: {"name": "graphvit"})
    data: DataConfig = field(default_factory=DataConfig)
    task: MeshRolloutTaskConfig = field(default_factory=MeshRolloutTaskConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
