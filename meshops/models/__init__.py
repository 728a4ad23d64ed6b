"""Published systems and baselines, by name: ``create_model("mspt", in_channels=7, out_channels=4)``."""

from meshops.models.mspt import MSPT
from meshops.models.registry import create_model, list_models, register_model

__all__ = ["MSPT", "create_model", "list_models", "register_model"]
