"""A trained task with everything needed to use it again: what all checkpoints but those of steady fields share."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import nn

from meshops.errors import CheckpointError
from meshops.models import create_model
from meshops.tasks.checkpoint import read_checkpoint, write_checkpoint


@dataclass(eq=False)
class Trained(ABC):
    """A trained model; the checkpoint holds tensors and plain values only.

    Subclasses set ``kind`` and implement :meth:`_empty_task`.

    Attributes:
        task: Model and normalisation.
        model_name, model_arguments: How to build the model again.
        info: Where it comes from: data, run, software, held-out errors. Plain values.
    """

    task: Any
    model_name: str
    model_arguments: dict[str, Any]
    info: dict[str, Any] = field(default_factory=dict)
    kind: ClassVar[str] = ""

    @property
    def spec(self) -> Any:
        """What is predicted."""
        return self.task.spec

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        place: torch.device = next(self.task.parameters()).device
        return place

    def content(self) -> dict[str, Any]:
        """What the checkpoint holds."""
        return {
            "task": self.kind,
            "model": {"name": self.model_name, "arguments": self.model_arguments},
            "spec": self.spec.to_dict(),
            "weights": {name: value.detach().cpu() for name, value in self.task.state_dict().items()},
            "info": self.info,
        }

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the checkpoint (temporary name, then rename)."""
        return write_checkpoint(path, self.content())

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, device: str = "cpu") -> Self:
        """Read a checkpoint.

        Raises:
            CheckpointError: Not a file, damaged, pickled code in it, of another task, or another program's.
        """
        return cls.from_content(read_checkpoint(Path(path)), path, device=device)

    @classmethod
    def from_content(cls, content: Mapping[str, Any], path: str | os.PathLike[str], *, device: str = "cpu") -> Self:
        """Surrogate from the content of a checkpoint; ``path`` is for messages."""
        found = content.get("task", "steady")
        if found != cls.kind:
            raise CheckpointError(f"{path}: holds a surrogate of kind '{found}', not '{cls.kind}'; open it with "
                                  "meshops.load")  # fmt: skip
        name, arguments = content["model"]["name"], content["model"]["arguments"]
        task = cls._empty_task(cls._empty_model(content), content["spec"])
        try:
            task.load_state_dict(content["weights"])
        except RuntimeError as error:
            raise CheckpointError(f"{path}: weights do not fit the model '{name}': {error}") from None
        task.eval().to(torch.device(device))
        return cls(task, name, arguments, content["info"], **cls._more(content, path, device))

    @classmethod
    def _empty_model(cls, content: Mapping[str, Any]) -> nn.Module:
        return create_model(content["model"]["name"], **content["model"]["arguments"])

    @classmethod
    @abstractmethod
    def _empty_task(cls, model: nn.Module, spec: Mapping[str, Any]) -> nn.Module:
        """Task of the right sizes, for loading weights into."""

    @classmethod
    def _more(cls, content: Mapping[str, Any], path: str | os.PathLike[str], device: str) -> dict[str, Any]:
        """Further fields of the class."""
        del content, path, device
        return {}
