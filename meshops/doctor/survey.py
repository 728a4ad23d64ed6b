"""One pass over the cases of a data set: each is read, looked at and let go, whatever happens to the others."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from meshops.aero.conditions import FlowConditions
from meshops.datasets.base import CaseDataset
from meshops.doctor.facts import CaseFacts, facts_of
from meshops.errors import DataWarning, MeshopsError, first_line

Progress = Callable[[int, int], None]
SameMesh = Literal["same", "corresponding", "different"]


@dataclass(frozen=True, eq=False)
class Survey:
    """Facts of all cases of a data set.

    Attributes:
        name: Of the data set, for headings.
        cases: In the order of the data set, the unreadable ones too.
        fields, units: Names and stated units of the fields.
        quantity_units: Stated units of conditions and numbers.
        flow: Free stream of the set.
        flow_stated: It is known.
        test: Names of the cases to test on, as far as they are known.
    """

    name: str
    cases: tuple[CaseFacts, ...]
    fields: tuple[str, ...]
    units: tuple[str, ...]
    quantity_units: Mapping[str, str]
    flow: FlowConditions
    flow_stated: bool
    test: tuple[str, ...] = ()

    @property
    def good(self) -> tuple[CaseFacts, ...]:
        """Cases that were read."""
        return tuple(case for case in self.cases if not case.error)

    @property
    def meshes(self) -> SameMesh:
        """Whether the cases share one mesh, one numbering, or nothing."""
        good = self.good
        cells = {(case.cells_key, case.nodes) for case in good}
        if len(cells) > 1 or (good and not good[0].cells_key and len({c.points_key for c in good}) > 1):
            return "different"
        return "same" if len({case.points_key for case in good}) <= 1 else "corresponding"

    def field_unit(self, name: str) -> str:
        """Stated unit of a field; empty: none."""
        return dict(zip(self.fields, self.units, strict=False)).get(name, "")


def survey(
    data: CaseDataset, *, name: str = "", test: tuple[str, ...] = (), progress: Progress | None = None
) -> Survey:
    """Read every case once and keep what can be said of it.

    Args:
        data: Any data set of finished cases.
        name: For headings; default: that of the class.
        test: Names of the cases to test on.
        progress: Called with the number of cases that are done and of all cases.

    Example:
        >>> from meshops.datasets import AhmedMini
        >>> survey(AhmedMini("test")).meshes
        'different'
    """
    cases = []
    for index in range(len(data)):
        cases.append(case_facts(data, index))
        if progress is not None:
            progress(index + 1, len(data))
    return Survey(
        name or type(data).__name__,
        tuple(cases),
        tuple(data.fields),
        tuple(data.units),
        dict(data.quantity_units),
        data.flow,
        bool(data.flow_stated),
        test,
    )


def case_facts(data: CaseDataset, index: int) -> CaseFacts:
    """Facts of one case; what goes wrong is its ``error``, never raised."""
    name = str(data.cases[index])
    facts = CaseFacts(index, name)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            facts = replace(facts, files={role: str(path) for role, path in data.files(index).items()})
            flow = data.flow_of(index)
            graph = data[index]
            if int(graph.num_nodes or 0) == 0:
                return replace(facts, error="the mesh is empty (0 nodes)")
            facts = replace(facts_of(graph, index, name, flow), files=facts.files)
        except (MeshopsError, OSError, ValueError) as error:
            return replace(facts, error=str(error) or type(error).__name__)
        except Exception as error:  # one bad case never ends a study
            return replace(facts, error=f"{type(error).__name__}: {error}")
        facts = _with_table(data, index, facts)
        rest = {n: v for n, v in facts.parameters.items() if n not in facts.numbers and n not in facts.conditions}
        facts = replace(facts, parameters=rest)
    remarks = [str(w.message) for w in caught if issubclass(w.category, DataWarning)]
    notes_of = getattr(data, "notes_of", None)
    try:
        stated = tuple(str(note) for note in notes_of(index)) if callable(notes_of) else ()
    except Exception as error:  # a file that was read once need not be read again: tables, links, other disks
        return replace(facts, error=first_line(error))
    return replace(facts, notes=tuple(dict.fromkeys([*stated, *remarks])))


def _with_table(data: CaseDataset, index: int, facts: CaseFacts) -> CaseFacts:
    """The same with the numbers of the tables; a table that cannot be read leaves a remark behind."""
    for key, read in (
        ("conditions", data.conditions_of),
        ("numbers", data.numbers_of),
        ("parameters", data.parameters),
    ):
        try:
            facts = replace(facts, **{key: read(index)})  # type: ignore[arg-type]
        except Exception as error:  # one bad table never ends a study
            warnings.warn(str(error) or type(error).__name__, DataWarning, stacklevel=2)
    return facts
