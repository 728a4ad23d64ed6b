"""Cases in time: numbered files, or files that list their times, as trajectories on meshes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import torch

from meshops.data.mesh_graph import MeshGraph, origin_of
from meshops.datasets.base import GraphCache
from meshops.datasets.folder.cases import CaseFile, list_cases
from meshops.datasets.folder.description import Description
from meshops.datasets.folder.loading import graph_of_read
from meshops.datasets.folder.matching import CaseRows, rows_of_cases
from meshops.datasets.folder.meshes import read_case, read_frame
from meshops.datasets.folder.split import split_cases
from meshops.datasets.mesh_trajectory import MeshSpec, MeshTrajectoryDataset, MeshWindow
from meshops.errors import InputError, collecting, listing

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
        times: Times of each trajectory, in the unit of the files; numbered from 0 where they state none.
        remarks: What networks in time cannot know of these cases, a sentence each by its kind.

    Raises:
        InputError: A case has one time alone, or there is none.
    """

    def __init__(self, study: Description, split: str = "all") -> None:
        every = list_cases(study)
        self.study = study
        rows = rows_of_cases(study, every)
        self._files = split_cases(study, every, rows, split)
        self.cases = tuple(case.name for case in self._files)
        self.times = [_times(study, case) for case in self._files]
        self.lengths = tuple(len(times) for times in self.times)
        short = [name for name, length in zip(self.cases, self.lengths, strict=True) if length < FEWEST]
        if short:
            raise InputError(
                f"{study.root}: {len(short)} cases have one time alone ({short[0]}); "
                "take 'time: last' for finished cases"
            )
        steps = torch.tensor(self.times[0]).diff()
        said = {
            "uneven times": uneven(dict(zip(self.cases, self.times, strict=True))),
            "conditions in time": not_given(study, rows),
        }
        self.remarks = {kind: text for kind, text in said.items() if text}
        self.spec = MeshSpec(
            fields=tuple(entry.name for entry in study.fields),
            sizes=tuple(entry.size for entry in study.fields),
            units=tuple(entry.unit for entry in study.fields),
            time_step=float(steps.median()),
        )
        self.left_out = {name: study.guesses.get(f"left_out.{name}", "") for name in study.left_out}
        self._cache = GraphCache()

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
                graph = graph_of_read(self.study, found, str(case.path))[0]
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
        f"frames lie {least:.3g} ('{low}') to {most:.3g} ('{high}') apart in time, and a network takes all steps for "
        "equal ones; write them at equal times, or take 'time: last' for finished cases"
    )


def not_given(study: Description, rows: CaseRows) -> str:
    """Say which conditions networks that step in time are not told; empty: none that differ."""
    known = {entry.name: {row[entry.name] for row in rows.values.values() if entry.name in row}
             for entry in study.conditions}  # fmt: skip
    names = [name for name, values in known.items() if len(values) > 1]
    if not names:
        return ""
    return (
        f"networks step from the fields alone and are not told {listing(names, 6)}: what only these change cannot be "
        "learnt; take 'time: last' for finished cases, which are learnt with them"
    )


def _times(study: Description, case: CaseFile) -> list[float]:
    """Times of a case: of its files, else their count."""
    if len(case.frames) > 1:
        return [float(i) for i in range(len(case.frames))]
    with collecting([]):
        read = read_case(study, case)
    return [float(time) for time in read.notes.times] or [0.0]
