"""Bits of nodes, edges and clusters within a budget that is kept exactly (AMQ-style; the rule is ours).

Every graph may spend what uniform bits u would cost it. Nodes are sorted by score; the first get more bits until the
next step would exceed the budget, so that less than one step of one node is left over. An edge has the bits of its
receiver, which makes the cost of a node ``macs_node + deg macs_edge`` and the sum additive. Clusters have a budget of
their own, spent in the same way on the mean score of their members. Nodes whose output is not used come last.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from meshops.errors import InputError, some
from meshops.nn.costs import RowCosts
from meshops.nn.mesh_model import MeshInputs
from meshops.nn.quantized import MeshBits
from meshops.ops.quantize import check_bits
from meshops.ops.segment import segment_mean, segment_sum


def unit_cost(bits: float | Tensor, weight_bits: int | None) -> float | Tensor:
    """Bit operations of one multiply-accumulate: b^2, or b times fixed bits of the weights."""
    return bits * bits if weight_bits is None else bits * weight_bits


def node_costs(inputs: MeshInputs, costs: RowCosts) -> Tensor:
    """``[n]`` float64 multiply-accumulates of each node and of the edges it receives."""
    return costs.node + inputs.ptr.diff().double() * costs.edge


def cluster_costs(inputs: MeshInputs, costs: RowCosts) -> Tensor:
    """``[c]`` float64 multiply-accumulates of each cluster, with those once per member."""
    if inputs.clusters is None:
        return inputs.ptr.new_zeros(0, dtype=torch.float64)
    return costs.cluster + inputs.clusters.size.double() * costs.member


def assign_bits(
    scores: Tensor,
    cost: Tensor,
    ptr: Tensor,
    *,
    widths: Sequence[int],
    budget: float,
    weight_bits: int | None = None,
    spent: Tensor | None = None,
) -> Tensor:
    """Bits of each row, highest scores first, within the budget of each graph.

    With two widths the order is that of the scores. With more, a step from b to b' bits is worth
    ``exp(score) (4^-b - 4^-b')`` (each bit quarters the power of the rounding noise) over its cost per
    multiply-accumulate; scores are then logarithms of errors.

    Args:
        scores: ``[r]``; equal ones: the row that comes first.
        cost: ``[r]`` multiply-accumulates of each row.
        ptr: ``[b + 1]`` graph i owns rows ``ptr[i]:ptr[i + 1]``.
        widths: Bits that rows may have.
        budget: Uniform bits that would cost as much; need not be whole or one of ``widths``.
        weight_bits: Bits of all weights; None: those of the rows.
        spent: ``[b]`` bit operations of each graph already used for something else.

    Returns:
        ``[r]`` int64.

    Raises:
        InputError: Widths out of range, or a budget below all rows at the lowest.
    """
    ladder = sorted({int(width) for width in widths})
    for width in ladder:
        check_bits(width)
    cost = cost.double()
    left = segment_sum((cost * unit_cost(budget, weight_bits)).unsqueeze(1), ptr)[:, 0]
    left = left - segment_sum((cost * unit_cost(ladder[0], weight_bits)).unsqueeze(1), ptr)[:, 0]
    left = left if spent is None else left - spent.double()
    tolerance = 1e-9 * left.abs().max().clamp(min=1) if len(left) else left
    if bool((left < -tolerance).any()):
        raise InputError(
            f"a budget of uniform {budget:g} bits is below the cost of the lowest bits ({ladder[0]}"
            f"{' and the auxiliary predictor' if spent is not None else ''}); raise the budget or allow fewer bits "
            f"(bits={some(ladder)})"
        )
    graph = torch.repeat_interleave(ptr.diff(), output_size=len(scores))
    key, extra = [], []
    for low, high in pairwise(ladder):
        step = float(unit_cost(high, weight_bits)) - float(unit_cost(low, weight_bits))
        worth = torch.tensor((4.0**-low - 4.0**-high) / step, dtype=torch.float64).log()
        key.append(scores.double() + worth.to(scores.device))
        extra.append(cost * step)
    bits = torch.full((len(scores),), ladder[0], dtype=torch.int64, device=scores.device)
    if not key or not len(scores):
        return bits
    order = torch.argsort(torch.cat(key), descending=True, stable=True)
    order = order[torch.argsort(graph.repeat(len(key))[order], stable=True)]
    price, row = torch.cat(extra)[order], order % len(scores)
    total = price.cumsum(0)
    owner = graph[row]
    first = torch.searchsorted(owner, torch.arange(len(ptr) - 1, device=owner.device))
    before = torch.where(first > 0, total[(first - 1).clamp(min=0)], 0.0)
    taken = total - before[owner] <= (left + tolerance)[owner]
    steps = torch.zeros_like(bits).index_add_(0, row[taken], torch.ones_like(row[taken]))
    return torch.tensor(ladder, device=bits.device)[steps]


def mesh_bits(
    scores: Tensor,
    inputs: MeshInputs,
    costs: RowCosts,
    *,
    widths: Sequence[int],
    budget: float,
    spent: Tensor | None = None,
) -> MeshBits:
    """Bits of nodes, edges (those of the receiver) and clusters (by mean score of the members that count).

    Args:
        scores: ``[n]``; those of nodes that do not count (``inputs.counted``) are not looked at.
        inputs: A batch of graphs.
        costs: Of the network, :func:`~meshops.nn.costs.row_costs`; they say what the weights cost, too.
        widths: See :func:`assign_bits`.
        budget: See there.
        spent: See there.
    """
    settings = {"widths": widths, "budget": budget, "weight_bits": costs.weight_bits}
    counted = inputs.counted
    ranked = scores if counted is None else scores.masked_fill(~counted, -torch.inf)
    node = assign_bits(ranked, node_costs(inputs, costs), inputs.graph_ptr, spent=spent, **settings)  # type: ignore[arg-type]
    cluster = None
    if inputs.clusters is not None:
        mean = counted_mean(scores, counted, inputs.clusters.ptr, inputs.clusters.perm)
        cluster = assign_bits(mean, cluster_costs(inputs, costs), inputs.clusters.graph_ptr, **settings)  # type: ignore[arg-type]
    return MeshBits(node, node[inputs.receiver], cluster)


def counted_mean(values: Tensor, counted: Tensor | None, ptr: Tensor, perm: Tensor | None = None) -> Tensor:
    """``[s]`` mean over the rows of each segment that count; minus infinity where none does."""
    if counted is None:
        return segment_mean(values.unsqueeze(1), ptr, perm)[:, 0]
    weight = counted.to(values.dtype)
    both = segment_sum(torch.stack([torch.where(counted, values, 0.0), weight], 1), ptr, perm)
    return torch.where(both[:, 1] > 0, both[:, 0] / both[:, 1].clamp(min=1), -torch.inf)


def bit_operations(bits: MeshBits, inputs: MeshInputs, costs: RowCosts) -> Tensor:
    """``[b]`` float64 bit operations of each graph at its assigned bits, layers at fixed bits included."""

    def spent(plan: Tensor, cost: Tensor, ptr: Tensor) -> Tensor:
        return segment_sum((cost * unit_cost(plan.double(), costs.weight_bits)).unsqueeze(1), ptr)[:, 0]

    total = spent(bits.plans["node"].bits, node_costs(inputs, costs), inputs.graph_ptr)
    if inputs.clusters is not None:
        total = total + spent(bits.plans["cluster"].bits, cluster_costs(inputs, costs), inputs.clusters.graph_ptr)
    return total + fixed_operations(inputs, costs)


def fixed_operations(inputs: MeshInputs, costs: RowCosts) -> Tensor:
    """``[b]`` float64 bit operations of the layers at fixed bits."""
    per_node, per_edge, per_cluster = costs.fixed
    each = (per_node + inputs.ptr.diff().double() * per_edge).unsqueeze(1)
    total = segment_sum(each, inputs.graph_ptr)[:, 0]
    if inputs.clusters is not None:
        total = total + inputs.clusters.graph_ptr.diff().double() * per_cluster
    return total
