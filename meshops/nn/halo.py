"""Message passing on one mesh that is spread over processes: rows along the boundaries are exchanged before each round.

Each rank owns some nodes and all edges that these receive. The halo of a rank are the nodes of others that send to its
own; ``halo(x)`` appends their rows to those of the own nodes (all-to-all), and its backward pass takes their gradients
home. Messages, sums over neighbours and updates are then those of the whole mesh, for any number of rounds.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from meshops.errors import InputError
from meshops.nn.across import Across
from meshops.nn.mesh_model import MeshInputs
from meshops.ops.pointers import pointers
from meshops.typing import Float, Int


class Halo:
    """Who sends which rows to whom.

    Args:
        owner: ``[n]`` rank of every node of the mesh.
        sender: ``[e]``.
        receiver: ``[e]``.
        across: The ranks.

    Attributes:
        nodes: ``[m]`` own nodes, ascending.
        ghosts: ``[g]`` nodes of others that send to own ones, rank after rank, ascending.
        num_nodes: Of the whole mesh.

    Raises:
        InputError: A rank without nodes, or one that is not there.
    """

    def __init__(
        self, owner: Int[Tensor, " n"], sender: Int[Tensor, " e"], receiver: Int[Tensor, " e"], across: Across
    ) -> None:
        held = torch.bincount(owner, minlength=across.count)
        if len(held) != across.count or not bool(held.all()):
            raise InputError(
                f"nodes must be owned by all of {across.count} processes, got {held.tolist()} nodes of ranks 0, 1, ..."
            )
        self.across, self.num_nodes = across, len(owner)
        self.nodes = torch.nonzero(owner == across.rank)[:, 0]
        crossing = owner[sender] != owner[receiver]
        pairs = torch.stack([owner[receiver[crossing]], owner[sender[crossing]], sender[crossing]])
        taker, giver, node = torch.unique(pairs, dim=1)  # sorted: by who takes, who gives, node
        mine = taker == across.rank
        self.ghosts = node[mine]
        self.taken = torch.bincount(giver[mine], minlength=across.count).tolist()
        gives = giver == across.rank
        self.given = torch.bincount(taker[gives], minlength=across.count).tolist()
        self.rows = torch.searchsorted(self.nodes, node[gives])

    def __call__(self, x: Float[Tensor, "m c"]) -> Float[Tensor, "mg c"]:
        """Rows of own nodes and, behind them, of the halo."""
        sent = x.index_select(0, self.rows)
        ghosts = _Exchange.apply(sent, self.given, self.taken, self.across.group)  # type: ignore[no-untyped-call]
        return torch.cat([x, ghosts])

    def mean(self, x: Float[Tensor, "m c"]) -> Float[Tensor, " c"]:
        """Mean over all nodes of the mesh."""
        return self.across.sum(x.sum(0)) / self.num_nodes


def own_mesh(inputs: MeshInputs, owner: Int[Tensor, " n"], across: Across) -> MeshInputs:
    """What a rank needs of the inputs of a model on graphs, which holds its :class:`Halo`; clusters are left out.

    Args:
        inputs: Of one mesh, from ``model.unpack``.
        owner: ``[n]`` rank of every node; nodes that are near each other should have one owner, as by any partitioner:
            ``patch_of_node * ranks // num_patches``.
        across: The ranks.

    Raises:
        InputError: Several graphs, or a rank without nodes.
    """
    if len(inputs.graph_ptr) != 2:
        raise InputError(f"one mesh is spread over processes, got a batch of {len(inputs.graph_ptr) - 1}")
    halo = Halo(owner, inputs.sender, inputs.receiver, across)
    place = torch.full((len(owner),), -1, dtype=torch.int64, device=owner.device)
    place[torch.cat([halo.nodes, halo.ghosts])] = torch.arange(len(halo.nodes) + len(halo.ghosts), device=owner.device)
    kept = owner[inputs.receiver] == across.rank
    sender, receiver = place[inputs.sender[kept]], place[inputs.receiver[kept]]  # still sorted by receiver
    nodes = halo.nodes
    return MeshInputs(
        inputs.pos[nodes],
        inputs.x[nodes],
        sender,
        receiver,
        pointers(torch.bincount(receiver, minlength=len(nodes))),
        torch.tensor([0, len(nodes)], device=owner.device),
        None,
        None if inputs.counted is None else inputs.counted[nodes],
        halo,
    )


class _Exchange(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, given: list[int], taken: list[int], group: dist.ProcessGroup) -> Tensor:
        ctx.given, ctx.taken, ctx.group = given, taken, group
        return _sent(rows, given, taken, group)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:  # type: ignore[override]
        return _sent(grad, ctx.taken, ctx.given, ctx.group), None, None, None


def _sent(rows: Tensor, given: list[int], taken: list[int], group: dist.ProcessGroup) -> Tensor:
    out = rows.new_empty(sum(taken), *rows.shape[1:])
    dist.all_to_all_single(out, rows.contiguous(), taken, given, group=group)
    return out
