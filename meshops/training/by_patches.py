"""``train.strategy patches``: every step is one mesh on all processes, each with its range of patches.

Each process computes its own nodes and the outputs are put together again, so that all see the loss of the whole mesh.
With that loss on all P of them the gradients which arrive at the weights of one are P times its part of the gradient,
and their average over processes, which DDP makes, is the gradient of the mesh (see :mod:`meshops.nn.across`).
"""

from __future__ import annotations

from typing import Any

from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.utils.hooks import RemovableHandle

from meshops import ranks
from meshops.errors import InputError
from meshops.nn.across import Across
from meshops.nn.patch_parallel import own_inputs, spread


class ByPatches(Callback):  # type: ignore[misc]
    """Spreads the model over the processes while a step runs; cases are judged whole, each by one process."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self._hooks: list[RemovableHandle] = []
        self._nodes: list[tuple[Tensor, int]] = []

    def on_fit_start(self, trainer: Any, module: Any) -> None:
        """Know the others.

        Raises:
            InputError: The model cannot be spread.
        """
        device = "cuda" if module.device.type == "cuda" else "cpu"
        self.across = Across(init_device_mesh(device, (ranks.count(),)))
        spread(spread(self.model, self.across), None)
        if not hasattr(self.model, "across"):
            name = type(self.model).__name__
            raise InputError(f"{name} holds a model that could be spread by patches, but cannot itself; use ddp")

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        """From here on the model takes a whole mesh, computes a part and gives the whole, backwards too."""
        spread(self.model, self.across)
        self._hooks = [
            self.model.register_forward_pre_hook(self._own),
            self.model.register_forward_hook(self._whole),
        ]

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Whole meshes again."""
        spread(self.model, None)
        for hook in self._hooks:
            hook.remove()

    def _own(self, model: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        (inputs,) = args
        part, nodes = own_inputs(inputs, self.across)
        self._nodes.append((nodes, len(inputs.pos)))
        return (part,)

    def _whole(self, model: nn.Module, args: tuple[Any, ...], rows: Tensor) -> Tensor:
        nodes, count = self._nodes.pop()
        return self.across.everywhere(rows, nodes, count)
