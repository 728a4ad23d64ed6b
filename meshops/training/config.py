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


@dataclass(frozen=True, kw_only=True)
class AutoencodeTaskConfig:
    """What is learnt of trajectories on points.

    Attributes:
        fields: Fields to compress; default: all the dataset has.
        frames: Frames compressed at a time, 1 + f m for a model that compresses f-fold in time.
        learn_frames: Frames of a training example, 1 + f j; 0: all of them. Short ones give more steps, less alike.
        stride: Frames of the data from one of them to the next.
        points: Part of the points the encoder sees in training, least and most.
        most_points: Points of every graph that are read at most; 0: all.
        targets: Points the loss looks at; 0: all that are read.
        kl: Weight of the KL term, for models with kl: true.
        noise: On the latents in training.
        start: Checkpoint to continue from: an auto-encoder that was trained before.
        refine: Learn single frames instead (stage 2): convolutions in time stay as they are, trajectories are replayed.
        replay: Share of the steps with trajectories when refining.
        test_points: Parts of the points it is judged with.
    """

    fields: tuple[str, ...] | None = None
    frames: int = 21
    learn_frames: int = 0
    stride: int = 1
    points: tuple[float, float] = (0.5, 1.0)
    most_points: int = 0
    targets: int = 0
    kl: float = 1e-4
    noise: float = 0.01
    start: str = ""
    refine: bool = False
    replay: float = 0.5
    test_points: tuple[float, ...] = (1.0, 0.5, 0.2)


@dataclass(frozen=True, kw_only=True)
class AutoencodeRunConfig:
    """A run that compresses.

    Attributes:
        kind: autoencode: trajectories on points to small latents and back (stages 1 and 2 of ECHO).
        out: Folder of the run; made if missing.
        model: Name of a registered model and its arguments: {name: echoautoencoder, cells: 32, ...}.
        data: Which trajectories, on grids or meshes; name: the_well, eagle, mesh_graph_nets, ...
        task: What is learnt.
        train: How.
    """

    kind: Literal["autoencode"] = "autoencode"
    out: str = "runs/autoencode"
    model: dict[str, Any] = field(default_factory=lambda: {"name": "echoautoencoder"})
    data: DataConfig = field(default_factory=DataConfig)
    task: AutoencodeTaskConfig = field(default_factory=AutoencodeTaskConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


@dataclass(frozen=True, kw_only=True)
class GenerateTaskConfig:
    """What is learnt of latents.

    Attributes:
        start: Checkpoint of the auto-encoder.
        stride: Frames of the data from one frame to the next.
        every: Frames from one segment to the next one that is learnt; default: half a segment.
        tasks: How often forward, inverse, interpolation and generation are trained.
        dropout: How often the parameters of the equation are hidden.
        law: Of the time on the path: uniform or logit_normal.
        deterministic: One evaluation instead of a flow.
        identify: Parameters of the equation can be generated too.
        given: Frames that forecasts of the test start from, 1 + f j; default 1 + f.
        steps: Frames they predict; default: to twice the end of a segment, where trajectories are that long.
        samples: Size of their ensembles.
        cases: Test trajectories at most; 0: all.
    """

    start: str = ""
    stride: int = 1
    every: int | None = None
    tasks: tuple[float, float, float, float] = (0.45, 0.15, 0.2, 0.2)
    dropout: float = 0.1
    law: Literal["uniform", "logit_normal"] = "uniform"
    deterministic: bool = False
    identify: bool = False
    given: int | None = None
    steps: int | None = None
    samples: int = 8
    cases: int = 0


@dataclass(frozen=True, kw_only=True)
class GenerateRunConfig:
    """A run that generates.

    Attributes:
        kind: generate: whole futures from what is known, as ensembles (stage 3 of ECHO).
        out: Folder of the run; made if missing.
        model: Name of a registered model and its arguments: {name: echogenerator, channels: 256, ...}.
        data: Which trajectories, on grids or meshes.
        task: What is learnt.
        train: How.
    """

    kind: Literal["generate"] = "generate"
    out: str = "runs/generate"
    model: dict[str, Any] = field(default_factory=lambda: {"name": "echogenerator"})
    data: DataConfig = field(default_factory=DataConfig)
    task: GenerateTaskConfig = field(default_factory=GenerateTaskConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


@dataclass(frozen=True, kw_only=True)
class StagesRunConfig:
    """Runs that follow each other.

    Attributes:
        kind: stages: each run starts from the checkpoint of the one before.
        stages: Run files, beside this one.
        out: Folder of the runs, one folder each: 1_<name of the file>, ...
    """

    kind: Literal["stages"] = "stages"
    stages: tuple[str, ...] = ()
    out: str = "runs/stages"
