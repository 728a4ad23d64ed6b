"""Results of whole cases, such as a drag or a mass, from shape and conditions alone: no fields are known.

Nothing is trained step by step: ``meshops fit`` chooses regressions by cross-validation, and what they are lies with
the errors they were chosen by (:class:`meshops.trust.Trust`). This task says what a case is made of and opens files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NoReturn, Self, cast

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from meshops.aero.case_spec import CaseSpec
from meshops.aero.cases import Case, Source, check_conditions, graph_case
from meshops.aero.conditions import FlowConditions
from meshops.aero.frame import Frame
from meshops.aero.opening import open_case
from meshops.data.mesh_graph import MeshGraph
from meshops.datasets.base import CaseDataset
from meshops.datasets.graph_list import GraphList, named_numbers
from meshops.errors import InputError
from meshops.tasks.base import ALONE, CaseSource, Context, Plain, Spec, Task, register_task
from meshops.tasks.prediction import Prediction
from meshops.tasks.report import Report, Row, means

Predict = Callable[[Case], Prediction]


@dataclass(frozen=True, kw_only=True)
class NumbersSpec(CaseSpec, Spec):
    """Which results, from which conditions, of which meshes. Plain values."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Plain]) -> Self:
        """Inverse of :meth:`to_dict`."""
        flow = values["flow"]
        assert isinstance(flow, dict)
        plain = super().from_dict({key: value for key, value in values.items() if key != "flow"})
        return replace(plain, flow=FlowConditions.from_dict(flow))


@dataclass(frozen=True, kw_only=True)
class NumbersSettings:
    """There are none: ``meshops fit`` decides."""


@register_task("numbers", trained=False)
class NumbersTask(Task[Any, Any]):
    """Opens cases of which results are predicted, and judges the predictions.

    Args:
        model: Not used; :class:`torch.nn.Identity`.
        spec: Conditions, results and kind of mesh.
    """

    Settings = NumbersSettings
    usage: ClassVar[str] = "surrogate.predict(file)"
    spec: NumbersSpec

    def __init__(self, model: nn.Module, spec: NumbersSpec) -> None:
        super().__init__(model, spec)
        self.register_buffer("place", torch.zeros(0))  # that says on which device it is

    @classmethod
    def empty(cls, model: nn.Module, spec: Mapping[str, Plain]) -> Self:
        """Of a checkpoint."""
        return cls(model, NumbersSpec.from_dict(spec))

    # ---- cases

    def open(
        self, source: Source | Data | Case, *, scale: float | None = None, region: str | None = None,
        conditions: Mapping[str, float] | None = None, names: Mapping[str, str] | None = None,
    ) -> Case:  # fmt: skip
        """A file, a PyVista mesh, a graph or an opened case, as a case; see :func:`meshops.aero.opening.open_case`.

        Raises:
            InputError: It cannot be used, or lacks a condition.
        """
        check_conditions(conditions or {}, self.spec)
        if names:
            raise InputError("this surrogate predicts numbers and no fields to compare arrays of a file with")
        if isinstance(source, Case):
            if conditions:
                source.conditions = {**source.conditions, **conditions}
            return source
        if isinstance(source, Data):
            graph = source if isinstance(source, MeshGraph) else GraphList([source])[0]
            stated, known = (named_numbers(graph, key, graph.label) for key in ("conditions", "numbers"))
            return graph_case(graph, self.spec, conditions={**stated, **(conditions or {})}, numbers=known)
        return open_case(source, self.spec, scale=scale, region=region, conditions=conditions)

    def prepared(self, case: Case) -> tuple[MeshGraph, Frame | None]:
        """The graph of a case as it is."""
        return case.graph, None

    def evaluate(  # type: ignore[override]
        self, data: CaseSource, *, context: Context = ALONE, predict: Predict | None = None, **asked: Plain
    ) -> Report:
        """Absolute error of each result on every case, and how often its interval held the truth.

        Raises:
            InputError: There is no case, or one states none of the results.
        """
        self.asking(asked)
        if predict is None:
            raise InputError("numbers are told by a whole surrogate; use surrogate.evaluate(data)")
        cases = data if isinstance(data, CaseDataset) else GraphList(cast("Sequence[Data]", data))
        rows: dict[str, Row] = {}
        for index, name in zip(context.track(len(cases)), cases.cases, strict=True):
            known = cases.numbers_of(index)
            if not set(known) & set(self.spec.numbers):
                raise InputError(f"{name}: states none of the results {', '.join(self.spec.numbers)}")
            graph = cases[index]
            case = graph_case(graph, self.spec, conditions=self._conditions(cases, index), numbers=known)
            rows[name] = errors_of(predict(case), self.spec.numbers)
        return Report(
            kind=self.kind,
            title=f"absolute error, mean of {len(rows)} cases",
            mean=means(rows),
            cases=rows,
            columns={f"{name}_error": self.spec.named(name) for name in self.spec.numbers},
        )

    def _conditions(self, cases: CaseDataset, index: int) -> dict[str, float]:
        known = cases.conditions_of(index)
        lost = [name for name in self.spec.conditions if name not in known]
        if lost:
            raise InputError(f"{cases.cases[index]}: lacks the condition {', '.join(lost)}")
        return {name: known[name] for name in self.spec.conditions}

    # ---- what is not done by steps

    @classmethod
    def samples(cls, data: CaseSource, settings: object, context: Context = ALONE) -> NoReturn:
        """Never.

        Raises:
            InputError: Always.
        """
        raise InputError("results without fields are not trained by steps; use 'meshops fit FOLDER'")

    def batch(self, samples: Any, draws: Sequence[Any]) -> NoReturn:
        """Never, as :meth:`samples`."""
        raise NotImplementedError

    def loss(self, batch: Any) -> dict[str, Tensor]:
        """Never, as :meth:`samples`."""
        raise NotImplementedError

    def judge(self, samples: Any, case: object) -> dict[str, float]:
        """Never, as :meth:`samples`."""
        raise NotImplementedError


def errors_of(made: Prediction, numbers: Sequence[str]) -> Row:
    """Error, truth and prediction of each result of a case; None where the truth is not known."""
    out: Row = {}
    for name in numbers:
        told, true = made.numbers[name], made.case.numbers.get(name)
        out[f"{name}_error"] = None if true is None else abs(told.value - true)
        out[f"{name}_reported"], out[name] = true, told.value
        if told.low is not None and told.high is not None:
            out[f"{name}_covered"] = None if true is None else int(told.low <= true <= told.high)
    return out
