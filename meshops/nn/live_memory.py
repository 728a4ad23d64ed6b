"""How much memory the tensors of a computation take at once, counted operation by operation: the same on any machine.

Counted are the storages that operations give back, from the first one on until they are freed; what an operation needs
within itself is not seen.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """Inside of it, the bytes of tensors that were made inside and are alive.

    Attributes:
        peak: Most bytes that were alive at once.
        made: Bytes of all that was made: what had to be written, and mostly read again.
        calls: Operations that were called.

    Example:
        >>> with LiveBytes() as live:
        ...     y = torch.zeros(1000).exp().sum()
        >>> live.peak
        8000
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = self.made = self.calls = 0
        self._alive: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count what an operation makes; what it is given from outside is not counted."""
        del types
        given = {_key(leaf) for leaf in tree_leaves((args, kwargs or {})) if isinstance(leaf, Tensor)}
        self.calls += 1
        out = func(*args, **(kwargs or {}))
        self._alive = {key: one for key, one in self._alive.items() if not one[0].expired()}
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor) and (key := _key(leaf)) not in given and key not in self._alive:
                storage = leaf.untyped_storage()
                self._alive[key] = StorageWeakRef(storage), storage.nbytes()
                self.made += storage.nbytes()
        self.peak = max(self.peak, sum(size for _, size in self._alive.values()))
        return out


def _key(value: Tensor) -> int:
    return int(value.untyped_storage()._cdata)
