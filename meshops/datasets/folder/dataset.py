"""Cases of a study as a dataset: every layout, nodes at the points or at the cells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from meshops.aero.conditions import FlowConditions, stream_of
from meshops.data.mesh_graph import MeshGraph
from meshops.datasets.base import CaseDataset, CaseProblem, GraphCache, Transform, unreadable
from meshops.datasets.folder.cases import list_cases
from meshops.datasets.folder.description import Description
from meshops.datasets.folder.find import description_of
from meshops.datasets.folder.loading import input_sizes, load_case
from meshops.datasets.folder.matching import CaseRows, rows_of_cases
from meshops.datasets.folder.split import split_cases
from meshops.errors import InputError, MeshopsError, listing, warn


class FolderCases(CaseDataset):
    """The cases of a study.

    Args:
        root: The study, its ``study.yaml``, or the folder: guessed where it has no ``study.yaml``.
        split: ``"train"``, ``"test"`` or ``"all"``.
        check: Read every case once and leave those out that cannot be used, with a warning. False: a bad case raises
            when it is asked for. None: only where ``root`` is a path.
        cache: Keep read cases in memory.
        transform: Applied to each graph that is handed out.

    Attributes:
        study: The same.
        groups: Label of each case; cases with the same belong together.
        left_out: Case that was not used -> why.
        sizes: Number of components of each field.
        location: Where the nodes are: ``"cell"`` or ``"point"``.

    Raises:
        InputError: No case, no field, or a table that matches none.
    """

    def __init__(
        self,
        root: Description | str | Path,
        split: str = "all",
        *,
        check: bool | None = None,
        cache: bool = True,
        transform: Transform | None = None,
    ) -> None:
        study = root if isinstance(root, Description) else description_of(root)
        if study.published or study.time == "all":
            what = f"the layout '{study.layout}'" if study.published else "trajectories"
            raise InputError(f"{study.root}: holds {what}; open it with meshops.datasets.open")
        every = list_cases(study)
        if not study.fields and not study.numbers:
            raise InputError(
                f"{study.root}: the study names no fields and no numbers to learn; give fields: "
                "{name: {place: point}}"
            )
        self.study = study
        self.rows: CaseRows = rows_of_cases(study, every)
        self._case_files = split_cases(study, every, self.rows, split)
        self.cases = tuple(case.name for case in self._case_files)
        self.groups = tuple(self._group(name) for name in self.cases)
        self.left_out = {
            name: study.guesses.get(f"left_out.{name}", "the study leaves it out") for name in study.left_out
        }
        self.fields = tuple(entry.name for entry in study.fields)
        self.sizes = tuple(entry.size for entry in study.fields)
        self.units = tuple(entry.unit for entry in study.fields)
        self.roles = {entry.role: entry.name for entry in reversed(study.fields) if entry.role}
        self.location = study.place
        self.flow = study.flow or FlowConditions(ground=None)
        self.flow_stated = study.flow is not None and study.flow_stated
        self.quantity_units = {entry.name: entry.unit for entry in (*study.conditions, *study.numbers) if entry.unit}
        self.transform, self.cache = transform, GraphCache(cache)
        self._notes: dict[int, tuple[str, ...]] = {}
        self._stored: dict[int, dict[str, float]] = {}
        self._input_sizes: dict[str, int] | None = None
        self._check_columns()
        if check or (check is None and not isinstance(root, Description)):
            self._leave_out(self._unusable())

    def _group(self, case: str) -> str:
        column = self.study.groups
        return self.rows.texts.get(case, {}).get(column, case) if column else case

    def _check_columns(self) -> None:
        if self.study.groups and not any(self.study.groups in row for row in self.rows.texts.values()):
            raise InputError(f"{self.study.root}: groups: no table has a column '{self.study.groups}'")
        known = set(self.rows.columns)
        missing = [entry.name for entry in (*self.study.conditions, *self.study.numbers) if entry.name not in known]
        if missing and self.cases:
            stored = self._stored_of(0)
            lost = [name for name in missing if name not in stored]
            if lost:
                raise InputError(
                    f"{self.study.root}: no table has a column {listing(lost)}, nor do the files store it; columns: "
                    f"{listing(known)}"
                )

    def _unusable(self) -> dict[str, str]:
        """Read every case; those that cannot be used and why."""
        bad: dict[str, str] = {}
        for index, name in enumerate(self.cases):
            try:
                self.cache.get(index, self.read)
                lost = self.missing_conditions(index)
                if lost:
                    bad[name] = self._no_row(index, lost)
            except Exception as error:  # one bad case never ends a study
                bad[name] = unreadable(error)
        return bad

    def _leave_out(self, bad: Mapping[str, str]) -> None:
        """Drop cases, with a warning.

        Raises:
            InputError: None is left.
        """
        if len(bad) == len(self.cases):
            first = next(iter(bad.values()))
            raise InputError(f"{self.study.root}: none of {len(bad)} cases can be used; the first:\n{first}")
        for name, why in bad.items():
            warn(f"case '{name}' is left out: {why}")
        kept = [index for index, name in enumerate(self.cases) if name not in bad]
        cache = GraphCache(self.cache.enabled)
        for place, index in enumerate(kept):
            graph = self.cache.held(index)
            if graph is not None:
                cache.put(place, graph)
        self.cache = cache
        self._notes = {place: self._notes[i] for place, i in enumerate(kept) if i in self._notes}
        self._stored = {place: self._stored[i] for place, i in enumerate(kept) if i in self._stored}
        self._case_files = tuple(self._case_files[i] for i in kept)
        self.cases, self.groups = tuple(self.cases[i] for i in kept), tuple(self.groups[i] for i in kept)
        self.left_out |= bad

    def read(self, index: int) -> MeshGraph:
        """Read a case from disk: ``pos``, ``x``, ``y``, edges and cells."""
        if self._input_sizes is None:
            self._input_sizes = input_sizes(self.study, self._case_files)
        loaded = load_case(self.study, self._case_files[index], self._input_sizes)
        self._notes[index], self._stored[index] = loaded.notes, loaded.numbers
        return loaded.graph

    def notes_of(self, index: int) -> tuple[str, ...]:
        """What was read and what was changed or assumed, sentences."""
        index = self.position(index)
        if index not in self._notes:
            self.cache.get(index, self.read)
        return self._notes[index]

    def files(self, index: int) -> dict[str, Path]:
        """The mesh of a case (a folder for OpenFOAM), and for snapshots the files of its arrays."""
        case = self._case_files[self.position(index)]
        arrays = {entry.name: self.study.root / entry.file for entry in self.study.snapshots}
        return {"mesh": case.root / (case.frames[-1] if case.frames else case.relative), **arrays}

    def required_files(self, index: int) -> dict[str, Path]:
        """None that must be checked beforehand: what is missing is said on reading."""
        self.position(index)
        return {}

    def flow_of(self, index: int) -> FlowConditions:
        """The stated flow, at the speed and density that the row of the case gives."""
        if not self.flow_stated:
            return self.flow
        return stream_of(self.flow, self._quantities(index, [entry.name for entry in self.study.conditions]))

    def conditions_of(self, index: int) -> dict[str, float]:
        """What was set, from the tables or stored in the file.

        Raises:
            InputError: One is missing.
        """
        lost = self.missing_conditions(index)
        if lost:
            raise InputError(self._no_row(index, lost))
        return self._quantities(index, [entry.name for entry in self.study.conditions])

    def numbers_of(self, index: int) -> dict[str, float]:
        """What came out, from the tables or stored in the file."""
        return self._quantities(index, [entry.name for entry in self.study.numbers])

    def parameters(self, index: int) -> dict[str, float]:
        """All numbers that tables hold of a case, used or not."""
        return dict(self.rows.values.get(self.cases[self.position(index)], {}))

    def _quantities(self, index: int, names: Sequence[str]) -> dict[str, float]:
        row = self.rows.values.get(self.cases[self.position(index)], {})
        out = {name: row[name] for name in names if name in row}
        if len(out) < len(names) and not all(name in self.rows.columns for name in names):
            stored = self._stored_of(index)
            out |= {name: stored[name] for name in names if name not in out and name in stored}
        return {name: out[name] for name in names if name in out}

    def _stored_of(self, index: int) -> dict[str, float]:
        """Single values stored in the file of a case."""
        index = self.position(index)
        if index not in self._stored:
            try:
                self.cache.get(index, self.read)
            except MeshopsError:
                return {}
        return self._stored.get(index, {})

    def check(self) -> Iterator[CaseProblem]:
        """Read every case and report what is wrong, and what was left out; nothing is raised."""
        for name, why in self.left_out.items():
            yield CaseProblem(name, None, why)
        for index in range(len(self)):
            yield from self._check_case(index)

    def _check_case(self, index: int) -> Iterator[CaseProblem]:
        file = self.files(index)["mesh"]
        for problem in super()._check_case(index):
            message = problem.message.removeprefix(f"{file}: ")
            yield CaseProblem(problem.case, problem.file or file, message)
        lost = self.missing_conditions(index)
        if lost:
            yield CaseProblem(self.cases[index], None, self._no_row(index, lost).removeprefix(f"{self.cases[index]}: "))

    def missing_conditions(self, index: int) -> list[str]:
        """Conditions that a case does not state."""
        names = [entry.name for entry in self.study.conditions]
        known = self._quantities(index, names)
        return [name for name in names if name not in known]

    def _no_row(self, index: int, lost: Sequence[str]) -> str:
        case = self.cases[self.position(index)]
        rows = [match.row for match in self.rows.matches if match.row]
        return f"{case}: no row of a table gives {listing(lost)}; rows: {listing(dict.fromkeys(rows), 4)}"

    @classmethod
    def standin(cls, root: str | Path, num: int = 4) -> Path:
        """Ellipsoids in a uniform potential flow, one ``.vtp`` each, and a table with their speeds."""
        from meshops.datasets.folder.standin import write_standin

        return write_standin(root, num)
