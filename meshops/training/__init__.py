"""Training: settings of a run, and the run."""

from meshops.training.config import DataConfig, RunConfig, StagesConfig, TrainConfig
from meshops.training.run import RunResult, train
from meshops.training.stages import train_stages

__all__ = ["DataConfig", "RunConfig", "RunResult", "StagesConfig", "TrainConfig", "train", "train_stages"]
