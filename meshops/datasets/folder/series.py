"""Cases in time: numbered files, or files that list their times, as trajectories on meshes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import torch

from meshops.aero.prepare import input_names
from meshops.data.mesh_graph import MeshGraph, origin_of
from meshops.datasets.base import GraphCache
from meshops.datasets.folder.cases import CaseFile, list_cases
from meshops.datasets.folder.description import Description
from meshops.datasets.folder.loading import graph_of_read
from meshops.datasets.folder.matching import rows_of_cases
from meshops.datasets.folder.meshes import read_case, read_frame
from meshops.datasets.folder.split import split_cases
from meshops.datasets.mesh_trajectory import MeshSpec, MeshTrajectoryDataset, MeshWindow
from meshops.errors import InputError, MeshopsError, collecting, listing

FEWEST = 2
SAME_STEP = 0.02  # of a step: what times written with few digits leave


class SeriesCases(MeshTrajectoryDataset):
    """Trajectories of a study with ``time: all``.

    The mesh of a trajectory may move but keeps its nodes; other trajectories may have other meshes.

    Args:
        study: What the folder holds.
        split: ``"train"``, ``"test"`` or ``"all"``.

    Attributes:
        study: The same.
        rows: What the tables say of the cases.
        times: Times of each trajectory, in the unit of the files; numbered from 0 where they state none.
        remarks: What networks in time cannot know of these cases, a sentence each by its kind.

    Raises:
        InputError: A case has one time alone, or there is none.
    """

    def __init__(self, study: Description, split: str = "all") -> None:
        every = list_cases(study)
        self.study = study
        self.rows = rows_of_cases(study, every)
        self._files = split_cases(study, every, self.rows, split)
        self._stored: dict[int, dict[str, float]] = {}
        self._cache = GraphCache()
        self.cases = tuple(case.name for case in self._files)
        self.times = [_times(study, case) for case in self._files]
        self.lengths = tuple(len(times) for times in self.times)
        short = [name for name, length in zip(self.cases, self.lengths, strict=True) if length < FEWEST]
        if short:
            raise InputError(
                f"{study.root}: {len(short)} cases have one time alone ({short[0]}); "
                "take 'time: last' for finished cases"
            )
        stated = len(self._files[0].frames) < FEWEST  # numbered files only have an order
        apart = uneven(dict(zip(self.cases, self.times, strict=True)))
        said = {"uneven times": apart, "conditions in time": self._not_told()}
        self.remarks = {kind: text for kind, text in said.items() if text}
        self.spec = MeshSpec(
            fields=tuple(entry.name for entry in study.fields),
            sizes=tuple(entry.size for entry in study.fields),
            units=tuple(entry.unit for entry in study.fields),
            inputs=input_names(self.frame(0, 0)) if study.inputs else (),
            time_step=float(torch.tensor(self.times[0]).diff().median()) if stated else 0.0,
            uneven=bool(apart),
            location=study.place,
        )
        self.left_out = {name: study.guesses.get(f"left_out.{name}", "") for name in study.left_out}

    def frame(self, index: int, frame: int) -> MeshGraph:
        """One time of one trajectory as a graph; kept in memory.

        Raises:
            InputError: The file cannot be used.
        """
        case, times = self._files[index], self.times[index]
        place = sum(self.lengths[:index]) + frame

        def read(_: int) -> MeshGraph:
            with collecting([]):
                found = read_frame(self.study, case, frame, times[frame])
                graph, stored = graph_of_read(self.study, found, str(case.path))
            if frame == 0:
                self._stored[index] = stored
            graph.name = f"{case.name}, time {times[frame]:g}"
            return graph

        return self._cache.get(place, read)

    def window(self, index: int, start: int, length: int) -> MeshWindow:
        """See the base class."""
        index = self.position(index)
        self.check_window(index, start, length)
        graphs = [self.frame(index, frame) for frame in range(start, start + length)]
        first = self.frame(index, 0)
        for graph in graphs:
            if len(graph.pos) != len(first.pos):
                raise InputError(
                    f"{graph.name}: {len(graph.pos)} nodes where the first time has {len(first.pos)}; a trajectory "
                    "needs one mesh, which may move; take 'time: last' for finished cases"
                )
        none = torch.empty(0, 3, dtype=torch.int64)
        nodes = len(first.pos)
        return MeshWindow(
            pos=torch.stack([graph.pos + (origin_of(graph) - origin_of(first)).to(graph.pos) for graph in graphs]),
            state=torch.stack([graph.y for graph in graphs]),
            node_type=torch.zeros(length, nodes, dtype=torch.int64),
            triangles=(none,) * length,
            edge_index=first.edge_index,
            x=torch.stack([graph.x for graph in graphs]) if self.spec.inputs else None,
            times=torch.tensor(self.times[index][start : start + length], dtype=torch.float64)
            if self.spec.uneven
            else None,
        )

    def parameters(self, index: int) -> dict[str, float]:
        """Conditions of one trajectory, from the tables or stored in the file of its first time."""
        index = self.position(index)
        names = [entry.name for entry in self.study.conditions]
        row = self.rows.values.get(self.cases[index], {})
        out = {name: row[name] for name in names if name in row}
        if any(name not in out and name not in self.rows.columns for name in names):
            if index not in self._stored:
                self.frame(index, 0)
            out |= {
                name: self._stored[index][name] for name in names if name not in out and name in self._stored[index]
            }
        return out

    def _not_told(self) -> str:
        """Say which conditions networks that step in time cannot be told; empty: all are known of every case."""
        rows = []
        for index in range(len(self)):
            try:
                rows.append(self.parameters(index))
            except (MeshopsError, OSError, ValueError):  # a damaged file is told where it is read
                rows.append({})
        lost = {
            entry.name: [case for case, row in zip(self.cases, rows, strict=True) if entry.name not in row]
            for entry in self.study.conditions
        }
        lost = {name: cases for name, cases in lost.items() if cases}
        if not lost:
            return ""
        name, cases = next(iter(lost.items()))
        return (
            f"networks in time are not told {listing(lost, 6)}: {len(cases)} cases do not state '{name}' "
            f"({listing(cases, 3)}); complete the table, or leave those cases out ('left_out' in study.yaml)"
        )

    @classmethod
    def standin(cls, root: str | Path, num: int = 4) -> Path:
        """There is none: other sets have stand-ins of trajectories.

        Raises:
            InputError: Always.
        """
        raise InputError(f"series have no stand-in; write {num} trajectories with meshops generate into {root}")


def uneven(times: Mapping[str, Sequence[float]]) -> str:
    """Say that frames are not equally far apart in time, in a trajectory or from one to the next; empty: they are."""
    steps = {case: [b - a for a, b in pairwise(row)] for case, row in times.items()}
    low = min(steps, key=lambda case: min(steps[case]))
    high = max(steps, key=lambda case: max(steps[case]))
    least, most = min(steps[low]), max(steps[high])
    if most - least <= SAME_STEP * abs(most):
        return ""
    return (
        f"frames lie {least:.3g} ('{low}') to {most:.3g} ('{high}') apart in time; networks in time are told the "
        "length of each step, and learn more easily from equal ones"
    )


def _times(study: Description, case: CaseFile) -> list[float]:
    """Times of a case: of its files, else their count."""
    if len(case.frames) > 1:
        return [float(i) for i in range(len(case.frames))]
    with collecting([]):
        read = read_case(study, case)
    return [float(time) for time in read.notes.times] or [0.0]
