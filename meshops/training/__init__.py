"""Training: settings of a run, and the run."""

from meshops.nn.optim import Lion
from meshops.training.config import DataConfig, RunConfig, StagesConfig, TrainConfig, flat
from meshops.training.run import RunResult, train
from meshops.training.stages import train_stages
from meshops.training.stream import DrawStream

__all__ = [
    "DataConfig",
    "DrawStream",
    "Lion",
    "RunConfig",
    "RunResult",
    "StagesConfig",
    "TrainConfig",
    "flat",
    "train",
    "train_stages",
]
