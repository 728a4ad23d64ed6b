"""What a task asks of a model: what it takes, its tensors of a graph, and the values it makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor, nn


@runtime_checkable
class Model(Protocol):
    """The contract of every registered model: ``model(model.unpack(graph)) -> [n, out_channels]``.

    A task asks for a capability, never for a base class: any module with these three will do.
    :func:`meshops.testing.check_model` tests one.

    Attributes:
        takes: What the model can be given: ``"points"`` (positions and features), ``"graph"`` (edges too, found by
            neighbours where a graph has none), ``"grid"`` (values on a regular grid).
    """

    takes: ClassVar[frozenset[str]]

    def unpack(self, graph: Any) -> Any:
        """Tensors of a graph or of a batch of graphs, as one object that :meth:`forward` takes."""

    def forward(self, inputs: Any) -> Tensor:
        """``[n, out_channels]`` from what :meth:`unpack` returned."""


@contextmanager
def judging(module: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients inside; afterwards the mode there was."""
    training = module.training
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        module.train(training)
