"""Boosted trees of a task: fitted to the nodes of its training cases in seconds, see :mod:`meshops.models.trees`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from meshops.checks import check_counts
from meshops.data.mesh_graph import MeshGraph
from meshops.errors import InputError
from meshops.models import create_model
from meshops.models.trees import Trees
from meshops.tasks.base import Made
from meshops.tasks.fields import FieldsTask

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Boosting:
    """How trees are fitted; the defaults were chosen on cars and Ahmed bodies, see docs/benchmarks.md.

    Attributes:
        rounds: Trees per channel and member.
        rate: How much of its own fit each tree adds.
        leaves: Of a tree.
        leaf_rows: Fewest rows of a leaf.
        smoothing: Rows of value zero that every leaf is averaged with.
        columns: Share of the features that each split may choose from.
        members: Boostings of other random numbers that are averaged.
        most_rows: Nodes of all cases that are learnt from; drawn at random, as many of each case.
    """

    rounds: int = 300
    rate: float = 0.06
    leaves: int = 31
    leaf_rows: int = 20
    smoothing: float = 20.0
    columns: float = 0.3
    members: int = 2
    most_rows: int = 400_000

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        check_counts(1, rounds=self.rounds, members=self.members, leaf_rows=self.leaf_rows, most_rows=self.most_rows)
        if not (0 < self.rate <= 1 and 0 < self.columns <= 1):
            raise InputError(f"rate and columns must be in (0, 1], got {self.rate} and {self.columns}")


def boosted(
    task: FieldsTask, graphs: Sequence[MeshGraph], config: Boosting | None = None, *, seed: int = 0
) -> tuple[Trees, Made]:
    """Trees for a task, fitted to prepared cases, and how to build them again.

    Args:
        task: Its normalisation is used; its model is not.
        graphs: Prepared cases with fields, see :class:`~meshops.tasks.fields_samples.FieldsSamples`.
        config: How.
        seed: Of everything random; the same numbers come again.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor  # takes a second to import

    config = config or Boosting()
    rows, wanted = _rows(task, graphs, config, seed)
    base = wanted.mean(0)
    parts: list[tuple[int, Any]] = []
    for channel in range(wanted.shape[1]):
        for member in range(config.members):
            model = HistGradientBoostingRegressor(
                max_iter=config.rounds, learning_rate=config.rate, max_leaf_nodes=config.leaves,
                min_samples_leaf=config.leaf_rows, l2_regularization=config.smoothing, max_features=config.columns,
                early_stopping=False, random_state=1000 * seed + member,
            )  # fmt: skip
            model.fit(rows, wanted[:, channel] - base[channel])
            parts.append((channel, model))
    table = _table(parts, config.members)
    return _model(task, table, base, parts)


def _rows(task: FieldsTask, graphs: Sequence[MeshGraph], config: Boosting, seed: int) -> tuple[Array, Array]:
    """Normalised inputs ``[r, f]`` and fields ``[r, c]`` of nodes, as many of each case where there are enough."""
    generator = torch.Generator().manual_seed(seed)
    share = max(1, config.most_rows // len(graphs))
    inputs, fields = [], []
    for graph in graphs:
        chosen = torch.randperm(len(graph.pos), generator=generator)[:share]
        given = task.inputs(_hidden(task, graph, generator))
        inputs.append(torch.cat([given.pos, given.x], 1)[chosen])
        fields.append(task.output_norm(graph.y)[chosen])
    return torch.cat(inputs).numpy(), torch.cat(fields).double().numpy()


def _hidden(task: FieldsTask, graph: MeshGraph, generator: torch.Generator) -> MeshGraph:
    """Features of the mesh itself hidden at some of the nodes, so that the trees can do without."""
    if not task.spec.cues() or not task.spec.hide:
        return graph
    bare = task.without_cues(graph)
    rows = torch.rand(len(graph.pos), 1, generator=generator) < task.spec.hide
    bare.x = torch.where(rows, bare.x, graph.x)
    return bare


def _table(parts: Sequence[tuple[int, Any]], members: int) -> dict[str, Array]:
    """The trees of fitted models as arrays, with the names of :class:`~meshops.ops.trees.TreeTable`."""
    found: dict[str, list[Array]] = {name: [] for name in ("feature", "threshold", "child", "value")}
    root, channels, count, depth = [], [], 0, 1
    for channel, model in parts:
        for (predictor,) in model._predictors:
            nodes = predictor.nodes
            leaf = nodes["is_leaf"].astype(bool)
            own = np.arange(len(nodes))
            child = np.stack([np.where(leaf, own, nodes[side]) for side in ("left", "right")], 1)
            found["feature"].append(np.where(leaf, 0, nodes["feature_idx"]))
            found["threshold"].append(_rounded_down(np.where(leaf, 0.0, nodes["num_threshold"])))
            found["child"].append(child + count)
            found["value"].append(nodes["value"] / members)
            depth = max(depth, int(nodes["depth"].max()))
            root.append(count)
            channels.append(channel)
            count += len(nodes)
    out: dict[str, Array] = {name: np.concatenate(arrays) for name, arrays in found.items()}
    return out | {"root": np.array(root), "channel": np.array(channels), "depth": np.array(depth)}


def _rounded_down(threshold: Array) -> Array:
    """The largest float32 that is not above: a float32 value is on the same side of both."""
    near = threshold.astype(np.float32)
    return np.where(near > threshold, np.nextafter(near, np.float32(-np.inf)), near)


def _model(
    task: FieldsTask, table: Mapping[str, Array], base: Array, parts: Sequence[tuple[int, Any]]
) -> tuple[Trees, Made]:
    known = task.spec.model_arguments()
    arguments: dict[str, Any] = {key: known[key] for key in ("in_channels", "out_channels", "pos_dim")}
    arguments |= {"nodes": len(table["value"]), "trees": len(table["root"]), "depth": int(table["depth"])}
    model = create_model("trees", **arguments)
    assert isinstance(model, Trees)
    offsets = np.array(base, dtype=np.float64)
    members = len(parts) // len(base)
    for channel, part in parts:
        offsets[channel] += float(np.ravel(part._baseline_prediction)[0]) / members
    state = {"base": offsets, **{name: array for name, array in table.items() if name != "depth"}}
    buffers: dict[str, Tensor] = {
        name: torch.as_tensor(np.ascontiguousarray(array)).to(getattr(model, name).dtype)
        for name, array in state.items()
    }
    model.load_state_dict(buffers)
    return model.eval(), Made("trees", arguments)
