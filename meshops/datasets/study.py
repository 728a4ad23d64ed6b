"""A study: a folder of finished simulations and what each part of it means.

Everything the library needs to know of a folder stands here and in its file, ``study.yaml``: which files are cases,
which arrays are fields and which are inputs, which columns of which tables were set and which came out, the flow, and
which cases are tested on. :func:`guess_study` fills it in; a person corrects the file; nothing is guessed later.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

from meshops.datasets.base import CaseDataset
from meshops.datasets.folder.dataset import FolderCases
from meshops.datasets.folder.description import FILE, Description, Match
from meshops.datasets.folder.find import description_of
from meshops.datasets.folder.guess import guess_description
from meshops.datasets.folder.matching import rows_of_cases
from meshops.datasets.folder.series import SeriesCases
from meshops.datasets.folder.study_file import read_study, write_study
from meshops.datasets.mesh_trajectory import MeshTrajectoryDataset
from meshops.datasets.registry import create, options, register_dataset
from meshops.errors import InputError, listing


@dataclass(frozen=True, kw_only=True)
class Study(Description):
    """A folder and what it holds; the attributes are those of :class:`Description`."""

    @classmethod
    def of(cls, values: Description) -> Self:
        """A study with the values of a description."""
        return cls(**{entry.name: getattr(values, entry.name) for entry in fields(Description)})

    @property
    def matching(self) -> tuple[Match, ...]:
        """Which row of which table belongs to each case, and rows without a case; reads the tables again."""
        return () if self.published else rows_of_cases(self).matches

    def save(self, path: str | Path = FILE) -> Path:
        """Write ``study.yaml`` with a comment for everything that was guessed; a folder gets it inside.

        The folder of the data is written relative to the file.
        """
        return write_study(self, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read ``study.yaml``.

        Raises:
            InputError: No such file, not YAML, or an entry that is unknown or makes no sense.
        """
        return cls.of(read_study(Path(path)))

    def open(
        self, split: str = "all", *, check: bool = True, cache: bool = True
    ) -> CaseDataset | MeshTrajectoryDataset:
        """The cases as a dataset: finished ones, or with ``time: all`` trajectories.

        Args:
            split: ``"train"``, ``"test"`` or ``"all"``.
            check: Read every case once and leave those out that cannot be used, with a warning and the reason in
                ``dataset.left_out``. False: a bad case raises when it is asked for.
            cache: Keep read cases in memory.

        Raises:
            InputError: No case is left; lists what is wrong.
        """
        if self.published:
            return _published(self, split)
        if self.time == "all":
            return SeriesCases(self, split)
        return FolderCases(self, split, check=check, cache=cache)


def guess_study(folder: str | Path) -> Study:
    """The study of a folder: a published layout, or whatever lies there.

    Every guess has its reason in ``study.guesses``; :meth:`Study.save` writes them as comments.

    Args:
        folder: That holds the simulations.

    Raises:
        MissingDataError: No folder.
        InputError: Nothing to learn from; says what was found and what to give.

    Example:
        >>> study = guess_study("runs")  # doctest: +SKIP
        >>> study.files, study.numbers  # doctest: +SKIP
        ('run_*/boundary_*.vtp', (Quantity(name='cd', unit='', role='drag'),))
    """
    return Study.of(guess_description(folder))


def open_folder(path: str | Path, split: str = "all") -> CaseDataset | MeshTrajectoryDataset:
    """Any folder of finished simulations, or a ``study.yaml``, as a dataset.

    Args:
        path: Folder or file. A folder that holds a ``study.yaml`` is read as that says; else everything is guessed.
        split: ``"train"``, ``"test"`` or ``"all"``.

    Raises:
        InputError: There is nothing to learn from; says what was found and what to give.

    Example:
        >>> data = open_folder("runs")  # doctest: +SKIP
        >>> data.fields  # doctest: +SKIP
        ('pressure', 'wallShearStress')
    """
    return Study.of(description_of(path)).open(split)


def _published(study: Study, split: str) -> CaseDataset | MeshTrajectoryDataset:
    """The dataset of a published layout, with the fields and the flow of the study where they were changed.

    Raises:
        InputError: It holds trajectories on grids, or fields were asked for that cannot be chosen.
    """
    data = create(study.layout, study.root, split)
    if not isinstance(data, CaseDataset | MeshTrajectoryDataset):
        raise InputError(
            f"{study.root}: the layout '{study.layout}' holds trajectories on grids; use meshops train with "
            f"data: {{name: {study.layout}, root: ...}} and kind: rollout"
        )
    if not isinstance(data, CaseDataset):
        return data
    wanted = tuple(entry.name for entry in study.fields)
    if wanted and wanted != data.fields:
        if "fields" not in options(study.layout):
            raise InputError(
                f"{study.root}: the layout '{study.layout}' has the fields {listing(data.fields)}, the study "
                f"{listing(wanted)}; give layout: folders (or files) and files: to choose others"
            )
        data = create(study.layout, study.root, split, fields=wanted)
        assert isinstance(data, CaseDataset)
    if study.flow is not None:
        data.flow, data.flow_stated = study.flow, study.flow_stated
    return data


def open_registered(
    root: str | Path, split: str = "train", *, check: bool = True, cache: bool = True
) -> CaseDataset | MeshTrajectoryDataset:
    """What a run file calls ``{name: study, root: study.yaml}``: see :meth:`Study.open`."""
    return Study.of(description_of(root)).open(split, check=check, cache=cache)


register_dataset("study", opener=open_registered)(FolderCases)
