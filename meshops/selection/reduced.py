"""Candidates in closed form: average, nearest, principal components with a regression; by cross-validation, in seconds.

All fields are carried to the nodes of one reference case once (as they are, where nodes correspond). Each fold then
decomposes its training cases, and one set of coefficients serves every number of components: they are truncated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from meshops.data.mesh_graph import MeshGraph
from meshops.data.shape import between
from meshops.models import create_model
from meshops.nn.case_inputs import case_inputs
from meshops.nn.case_regression import CaseRegression
from meshops.selection.folds import Split
from meshops.selection.scores import Sheet, Truth
from meshops.tasks.base import Made
from meshops.tasks.fields import FieldsTask
from meshops.tasks.prepared import have

Array = NDArray[np.float64]
CARRIED = 2**28  # bytes of all fields on the reference: folds and their components take seven times as much
RANKS = (1, 2, 3, 5, 8, 12, 20, 30, 40, 60, 80, 120, 200)
FAMILIES = {
    "average": "mean",
    "nearest": "nearest",
    "components + linear": "linear",
    "components + thin-plate splines": "rbf_thin_plate_spline",
    "components + cubic radial basis": "rbf_cubic",
    "components + Gaussian process": "gp",
}


@dataclass(frozen=True)
class Variant:
    """A closed form.

    Attributes:
        family: Name, a key of :data:`FAMILIES`.
        rank: Components; 0: the mean of the cases.
    """

    family: str
    rank: int

    @property
    def name(self) -> str:
        """For tables."""
        return self.family if self.family in ("average", "nearest") else f"{self.rank} {self.family}"


@dataclass(frozen=True, eq=False)
class Carried:
    """Training cases on the nodes of one of them.

    Attributes:
        where: ``[r, k]`` places of the reference.
        values: ``[m, r, c]`` normalised fields of each case there.
        vectors: ``[m, v]`` conditions, then numbers of the shape.
        num_conditions: Of these.
        shape: Shapes differ, so that their numbers count.
        ways: Reference nodes ``[s, w]`` and weights of the compared nodes of each case.
        same: Nodes of the cases correspond, and all are carried.
    """

    where: Tensor
    values: Tensor
    vectors: Array
    num_conditions: int
    shape: bool
    ways: list[tuple[Tensor, Tensor]]
    same: bool

    @classmethod
    def of(cls, task: FieldsTask, graphs: Sequence[MeshGraph], truth: Truth) -> Carried:
        """Carry prepared cases to the most central of them: to as many of its nodes as memory allows."""
        same = all(have(graphs, "node_number"))
        shape = task.reference is None
        vectors = torch.cat([case_inputs(graph, shape=shape).vector for graph in graphs]).double().numpy()
        told = len(task.spec.conditions)
        reference = graphs[0 if same else central(vectors[:, told:])]
        where = reference.place
        most = max(1024, CARRIED // (4 * task.spec.channels * len(graphs)))
        if len(where) > most:
            chosen = torch.randperm(len(where), generator=torch.Generator().manual_seed(0))[:most].sort().values
            where, same = where[chosen], False
        values, ways = [], []
        for graph, nodes in zip(graphs, truth.nodes, strict=True):
            y = task.output_norm(graph.y)
            if same:
                values.append(y)
                ways.append((nodes.unsqueeze(1), torch.ones(len(nodes), 1)))
            else:
                index, weight = between(graph.place, where)
                values.append((y[index] * weight.unsqueeze(-1)).sum(1))
                ways.append(between(where, graph.place[nodes]))
        return cls(where, torch.stack(values), vectors, told, shape, ways, same)

    def families(self) -> tuple[str, ...]:
        """Those that have something to go by: without conditions and with one shape all cases are alike."""
        if len(self.vectors) < 2 or not self.vectors.shape[1] or not np.ptp(self.vectors, axis=0).any():
            return ("average",)
        return tuple(FAMILIES) if len(self.vectors) >= 4 else ("average", "nearest")


def central(vectors: Array) -> int:
    """The row nearest to all others, each column counted in its standard deviation."""
    scaled = vectors / np.where(vectors.std(0) > 0, vectors.std(0), np.inf)
    return int(np.linalg.norm(scaled - np.median(scaled, axis=0), axis=1).argmin()) if vectors.size else 0


@dataclass(frozen=True, eq=False)
class Decomposition:
    """Principal components of some cases.

    Attributes:
        mean: ``[r, c]``.
        modes: ``[k, r, c]``, of unit length, strongest first.
        coefficients: ``[m, k]``.
    """

    mean: Tensor
    modes: Tensor
    coefficients: Array

    @classmethod
    def of(cls, values: Tensor, most: int) -> Decomposition:
        """Of fields ``[m, r, c]``, by the eigenvectors of their Gram matrix (method of snapshots)."""
        mean = values.mean(0)
        rows = (values - mean).flatten(1)
        gram = torch.zeros(len(rows), len(rows), dtype=torch.float64)
        for part in rows.split(65536, 1):
            gram += part.double() @ part.double().T
        strength, vectors = torch.linalg.eigh(gram)
        strength, vectors = strength.flip(0).clamp(min=0), vectors.flip(1)
        rank = min(most, int((strength > 1e-12 * strength[0].clamp(min=1e-30)).sum()), len(rows) - 1)
        size = strength[:rank].sqrt()
        turn = (vectors[:, :rank] / size).to(rows.dtype)
        modes = (turn.T @ rows).view(rank, *values.shape[1:])
        return cls(mean, modes, (vectors[:, :rank] * size).numpy())


def cross_validated(
    carried: Carried,
    truth: Truth,
    split: Split,
    *,
    families: Sequence[str] | None = None,
    allowed: Callable[[], bool] = lambda: True,
) -> Iterator[tuple[Variant, Sheet]]:
    """Held-out predictions of every family at every number of components, family by family.

    Args:
        carried: The learning cases, in the order of ``split.learn``.
        truth: What they are compared with.
        split: Folds.
        families: That are tried; None: all that have something to go by.
        allowed: Asked before each family but the first two: no more are tried when it says no.
    """
    position = {case: i for i, case in enumerate(split.learn)}
    parts = [([position[i] for i in split.rest(k)], [position[i] for i in fold]) for k, fold in enumerate(split.folds)]
    made = [Decomposition.of(carried.values[rest], len(rest)) for rest, _ in parts]
    for family in families or carried.families():
        if family not in ("average", "nearest") and not allowed():
            return
        ranks = ranks_of(family, min(len(d.coefficients[0]) for d in made))
        sheets: dict[int, Sheet] = {rank: [torch.empty(0)] * len(split.learn) for rank in ranks}
        for (rest, held), parts_of in zip(parts, made, strict=True):
            for case, by_rank in _fold(carried, parts_of, FAMILIES[family], rest, held, ranks):
                for rank, rows in by_rank.items():
                    sheets[rank][case] = rows
        yield from ((Variant(family, rank), sheet) for rank, sheet in sheets.items())


def ranks_of(family: str, most: int) -> tuple[int, ...]:
    """Numbers of components that are tried."""
    if family == "average":
        return (0,)
    if family == "nearest":
        return (most,)
    return tuple(rank for rank in RANKS if rank < most) + ((most,) if most else ())


def _fold(
    carried: Carried, made: Decomposition, regression: str, rest: Sequence[int], held: Sequence[int],
    ranks: Sequence[int],
) -> Iterator[tuple[int, dict[int, Tensor]]]:  # fmt: skip
    """Predictions of the held-out cases of a fold, by number of components."""
    found = CaseRegression.fitted(
        regression, carried.vectors[rest], made.coefficients, num_conditions=carried.num_conditions
    )
    asked = found(torch.as_tensor(carried.vectors[held])).to(made.mean.dtype)
    for row, case in enumerate(held):
        index, weight = carried.ways[case]
        used, place = torch.unique(index, return_inverse=True)
        total, done, out = made.mean[used], 0, {}
        for rank in ranks:
            total = total + torch.einsum("r,rnc->nc", asked[row, done:rank], made.modes[done:rank, used])
            done = rank
            out[rank] = (total[place] * weight.unsqueeze(-1)).sum(1)
        yield case, out


def fitted(carried: Carried, variant: Variant) -> tuple[torch.nn.Module, Made]:
    """The closed form of all learning cases, as a model and how to build it again."""
    made = Decomposition.of(carried.values, len(carried.values))
    rank = len(made.modes) if variant.family == "nearest" else min(variant.rank, len(made.modes))
    regression = CaseRegression.fitted(
        FAMILIES[variant.family], carried.vectors, made.coefficients[:, :rank], num_conditions=carried.num_conditions
    )
    arguments: dict[str, Any] = {
        "nodes": len(carried.where), "places": carried.where.shape[1], "out_channels": made.mean.shape[1],
        "rank": rank, "shape": carried.shape, "regression": regression.arguments(),
        "corresponding": carried.same,
    }  # fmt: skip
    model = create_model("components", **arguments)
    buffers = {"where": carried.where, "mean": made.mean, "modes": made.modes[:rank]}
    learnt = {f"regression.{name}": value for name, value in regression.state_dict().items()}
    model.load_state_dict({**buffers, **learnt})
    return model, Made("components", arguments)
