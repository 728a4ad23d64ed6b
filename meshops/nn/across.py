"""One mesh on several processes: sums and gathers that gradients go through, along one dimension of a device mesh.

    sum:      y = sum_r x_r,           dL/dx_r = sum_s (dL_s / dy)
    gather:   y = [x_0 ; x_1 ; ...],   dL/dx_r = sum_s (dL_s / dy)[rows of r]

L = sum_s L_s is the loss: every rank calls ``backward`` on its own share L_s, such as the errors at its own nodes over
the number of all nodes; a loss that all ranks compute alike is divided by their number. Weights are the same on all
ranks; their gradients are then added by :meth:`Across.add_gradients`.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh

from meshops.errors import InputError


class Across:
    """Processes that each hold a part of one mesh.

    Args:
        mesh: Device mesh, such as ``init_device_mesh("cpu", (4,))``.
        dim: Its dimension along which meshes are cut; None: it has one only. Along others are batches, say.

    Raises:
        InputError: The device mesh has no such dimension, or several and none was named.
    """

    def __init__(self, mesh: DeviceMesh, dim: str | None = None) -> None:
        names = mesh.mesh_dim_names or ()
        if (dim is None and mesh.ndim != 1) or (dim is not None and dim not in names):
            raise InputError(
                f"name the dimension of the device mesh along which meshes are cut, one of {names}; got {dim}"
            )
        self.group: dist.ProcessGroup = mesh.get_group(dim)
        self.rank = dist.get_rank(self.group)
        self.count = dist.get_world_size(self.group)

    def range(self, num_patches: int) -> range:
        """The patches of this rank: a contiguous range, ranges as equal as they can be.

        Raises:
            InputError: There are fewer patches than ranks.
        """
        if num_patches < self.count:
            raise InputError(
                f"{num_patches} patches cannot be shared out among {self.count} processes: give at least as many "
                "patches (num_patches, or a smaller patch_size), or start fewer processes"
            )
        return range(num_patches * self.rank // self.count, num_patches * (self.rank + 1) // self.count)

    def sum(self, x: Tensor) -> Tensor:
        """Sum over ranks of tensors of one shape, the same on all."""
        out: Tensor = _Sum.apply(x, self.group)  # type: ignore[no-untyped-call]
        return out

    def gather(self, x: Tensor, dim: int = 0) -> Tensor:
        """The tensors of all ranks, one after the other along ``dim``, which may differ in length."""
        counts = self.counts(x.shape[dim])
        out: Tensor = _Gather.apply(x.movedim(dim, 0), counts, self.rank, self.group)  # type: ignore[no-untyped-call]
        return out.movedim(0, dim)

    def counts(self, own: int) -> list[int]:
        """A number of every rank."""
        found = [torch.zeros(1, dtype=torch.int64) for _ in range(self.count)]
        dist.all_gather(found, torch.tensor([own]), group=self.group)
        return [int(number) for number in found]

    def add_gradients(self, model: nn.Module) -> None:
        """After ``backward``: gradients of the weights, summed over ranks, of those that only some used too."""
        used = torch.tensor([int(p.grad is not None) for p in model.parameters()])
        dist.all_reduce(used, dist.ReduceOp.MAX, group=self.group)
        for parameter, anywhere in zip(model.parameters(), used.tolist(), strict=True):
            if anywhere:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                dist.all_reduce(parameter.grad, group=self.group)

    def everywhere(self, rows: Tensor, nodes: Tensor, num_nodes: int) -> Tensor:
        """Rows of the nodes of each rank, put together on all ranks: a prediction of the whole mesh.

        Args:
            rows: ``[m, c]`` of the nodes of this rank.
            nodes: ``[m]`` their numbers in the mesh.
            num_nodes: Of the mesh.
        """
        out = rows.new_zeros(num_nodes, *rows.shape[1:])
        return self.sum(out.index_copy(0, nodes, rows))


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup) -> Tensor:
        ctx.group = group
        out = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(out, group=group)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        total = grad.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total, group=ctx.group)
        return total, None


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, counts: list[int], rank: int, group: dist.ProcessGroup) -> Tensor:
        ctx.group, ctx.rows = group, slice(sum(counts[:rank]), sum(counts[: rank + 1]))
        padded = x.new_zeros(max(counts), *x.shape[1:])  # gloo gathers tensors of one size
        padded[: len(x)] = x
        found = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(found, padded, group=group)
        return torch.cat([part[:count] for part, count in zip(found, counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:  # type: ignore[override]
        total = grad.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total, group=ctx.group)
        return total[ctx.rows], None, None, None
