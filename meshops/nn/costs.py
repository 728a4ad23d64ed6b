"""What a node, an edge and a cluster cost in a network, and what every layer costs for given inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from meshops.errors import InputError, some
from meshops.nn.integer_linear import IntegerLinear
from meshops.nn.mesh_model import MeshInputs
from meshops.nn.quantized import MeshBits, QuantLinear
from meshops.nn.row_linear import RowLinear


class RowCosts(NamedTuple):
    """Multiply-accumulates at the bits that are assigned, per row; ``fixed`` at their own bits (see there).

    Attributes:
        node: Per node, at its bits.
        edge: Per edge, at its bits.
        cluster: Per cluster, at its bits.
        member: Per member of a cluster, at the bits of the cluster.
        fixed: Bit operations per node, edge and cluster of the layers at fixed bits.
        weight_bits: Bits of the weights whatever the bits of the rows (cost ~ b); None: those of the row (cost ~ b^2).
    """

    node: float
    edge: float
    cluster: float
    member: float
    fixed: tuple[float, float, float]
    weight_bits: int | None = None


def row_layers(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """Names and linear layers, plain, quantised or on integers, whose rows are known to be nodes, edges or clusters."""
    for name, layer in model.named_modules():
        if isinstance(layer, (RowLinear, QuantLinear, IntegerLinear)) and layer.rows is not None:
            yield name, layer


def row_costs(model: nn.Module) -> RowCosts:
    """Cost of a node, an edge and a cluster, from the layers; of a plain network as if it were quantised.

    Raises:
        InputError: No layer knows its rows, or layers differ in the bits of their weights.
    """
    assigned = {"node": 0.0, "edge": 0.0, "cluster": 0.0, "member": 0.0}
    fixed = {"node": 0.0, "edge": 0.0, "cluster": 0.0}
    weight_bits: set[int | None] = set()
    for _, layer in row_layers(model):
        macs = float(layer.in_features * layer.out_features)
        weight_bits.add(None if _matched(layer) else layer.weight_bits)
        if layer.fixed is None:
            assigned["member" if layer.per_member else layer.rows] += macs
        else:
            fixed[layer.rows] += macs * layer.fixed * (layer.fixed if _matched(layer) else layer.weight_bits)
    if not weight_bits:
        raise InputError("the model has no layers whose rows are known to be nodes, edges or clusters")
    if len(weight_bits) > 1:
        raise InputError(f"layers differ in the bits of their weights ({some(weight_bits)}); quantise all alike")
    return RowCosts(**assigned, fixed=(fixed["node"], fixed["edge"], fixed["cluster"]), weight_bits=weight_bits.pop())


@dataclass(frozen=True)
class LayerCost:
    """One line of :func:`cost_report`.

    Attributes:
        name: Place of the layer in the model.
        rows: What a row is.
        macs: Multiply-accumulates of one forward pass.
        bit_operations: Those times the bits of both factors; float32 counts 32 x 32.
        weight_bytes: Of all copies of the weights that are kept.
        activation_bytes: Of the rows that go in.
    """

    name: str
    rows: str
    macs: float
    bit_operations: float
    weight_bytes: float
    activation_bytes: float


def cost_report(model: nn.Module, inputs: MeshInputs, bits: MeshBits | None = None) -> list[LayerCost]:
    """What every layer of a model costs for these inputs; layer norms, sums and activations are left out.

    Args:
        model: On graphs, plain or quantised; layers whose rows are unknown are left out too.
        inputs: From ``model.unpack``.
        bits: Bits of the rows; None: everything in float32.

    Raises:
        InputError: Bits for a network that is not quantised.
    """
    counts = inputs.counts()
    rows: Mapping[str, int] = {"node": counts["nodes"], "edge": counts["edges"], "cluster": counts["clusters"]}
    lines = []
    for name, layer in row_layers(model):
        if bits is not None and isinstance(layer, RowLinear):
            raise InputError(
                f"layer '{name}' is not quantised and runs in float32; call quantize(model), or give no bits"
            )
        macs = float(layer.in_features * layer.out_features)
        size = torch.ones(rows[layer.rows])
        if layer.per_member and inputs.clusters is not None:
            size = inputs.clusters.size.float()
        widths = _widths(layer, bits, rows[layer.rows]).to(size.device)
        other = widths if _matched(layer) or bits is None else torch.full_like(widths, layer.weight_bits)
        kept: float = sum(layer.bits if _matched(layer) else (layer.weight_bits,)) if bits is not None else 32
        lines.append(
            LayerCost(
                name,
                layer.rows,
                macs * float(size.sum()),
                macs * float((size * widths * other).sum()),
                macs * kept / 8 + 4 * layer.out_features,
                layer.in_features * float((size * widths).sum()) / 8,
            )
        )
    extra: Any = getattr(model, "other_macs", None)
    for name, macs in ({} if extra is None else extra(inputs)).items():
        lines.append(LayerCost(name, "float32", macs, macs * 32 * 32, 0.0, 0.0))
    return lines


def _widths(layer: Any, bits: MeshBits | None, count: int) -> Tensor:
    if bits is None:
        return torch.full((count,), 32.0)
    return bits.plan(layer.rows, layer.fixed, count).bits.float()


def _matched(layer: Any) -> bool:
    return getattr(layer, "mode", "matched") == "matched"
