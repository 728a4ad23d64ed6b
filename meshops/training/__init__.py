"""Training: settings of a run, and the run."""

from meshops.nn.optim import Lion
from meshops.training.adapt import Adaption, Choice, adapted
from meshops.training.boosting import Boosting, boosted
from meshops.training.config import DataConfig, RunConfig, StagesConfig, TrainConfig, flat
from meshops.training.run import RunResult, train
from meshops.training.stages import train_stages
from meshops.training.stream import DrawStream

__all__ = [
    "Adaption",
    "Boosting",
    "Choice",
    "DataConfig",
    "DrawStream",
    "Lion",
    "RunConfig",
    "RunResult",
    "StagesConfig",
    "TrainConfig",
    "adapted",
    "boosted",
    "flat",
    "train",
    "train_stages",
]
