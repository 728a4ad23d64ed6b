"""Some of the cases of a data set, as a data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from meshops.aero.conditions import FlowConditions
from meshops.data.mesh_graph import MeshGraph
from meshops.datasets.base import CaseDataset
from meshops.errors import InputError


class CaseSubset(CaseDataset):
    """Cases of another data set, in a given order; they stay in its cache.

    Args:
        whole: The data set.
        index: Positions in it.

    Raises:
        InputError: No case is left.
    """

    def __init__(self, whole: CaseDataset, index: Sequence[int]) -> None:
        if not len(index):
            raise InputError(f"no case is left of the {len(whole)} of the data set; choose at least one")
        self.whole, self.index = whole, tuple(whole.position(i) for i in index)
        self.cases = tuple(whole.cases[i] for i in self.index)
        self.roles = whole.roles
        self.flow, self.flow_stated, self.quantity_units = whole.flow, whole.flow_stated, whole.quantity_units
        self.fields, self.units, self.transform, self.cache = whole.fields, whole.units, None, whole.cache
        self.keeps = whole.keeps

    def __getitem__(self, index: int) -> MeshGraph:
        """Case ``index`` of the subset."""
        return self.whole[self.index[self.position(index)]]

    def number_of(self, index: int) -> int:
        """Of the case in the other data set."""
        return self.whole.number_of(self.index[self.position(index)])

    def topology_of(self, index: int) -> str:
        """Of the case."""
        return self.whole.topology_of(self.index[self.position(index)])

    def nodes_of(self, index: int) -> int:
        """Of the case."""
        return self.whole.nodes_of(self.index[self.position(index)])

    def mesh_of(self, index: int) -> str:
        """Of the case."""
        return self.whole.mesh_of(self.index[self.position(index)])

    def read(self, index: int) -> MeshGraph:
        """From disk."""
        return self.whole.read(self.index[index])

    def files(self, index: int) -> dict[str, Path]:
        """Of the case."""
        return self.whole.files(self.index[index])

    def flow_of(self, index: int) -> FlowConditions:
        """Of the case."""
        return self.whole.flow_of(self.index[index])

    def parameters(self, index: int) -> dict[str, float]:
        """Of the case."""
        return self.whole.parameters(self.index[index])

    def conditions_of(self, index: int) -> dict[str, float]:
        """Of the case."""
        return self.whole.conditions_of(self.index[index])

    def numbers_of(self, index: int) -> dict[str, float]:
        """Of the case."""
        return self.whole.numbers_of(self.index[index])

    @classmethod
    def standin(cls, root: str | Path, num: int = 4) -> Path:
        """A subset has no files of its own."""
        raise InputError(f"a subset has no files of its own to write to {root}")
