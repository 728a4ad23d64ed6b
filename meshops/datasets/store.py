"""A store of cases: read once from whatever a solver wrote, then streamed in bounded memory, by many processes.

store.json             what the cases share, their names and splits; written last
begun.json             where they come from; written first
cases/000012.zarr      a case, see meshops.data.graph_store
prepared/KEY/...       what models see of each, for one set of features, see meshops.tasks.prepared

:mod:`meshops.datasets.store_build` writes one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from meshops.aero.conditions import FlowConditions
from meshops.data.graph_store import opened, read_graph
from meshops.data.mesh_graph import MeshGraph
from meshops.datasets.base import CaseDataset, GraphCache, Transform
from meshops.datasets.registry import register_dataset
from meshops.datasets.store_build import Origin, build
from meshops.datasets.store_files import INDEX, NAME, case_path, read_index
from meshops.errors import InputError, listing


@register_dataset("store", layout=(INDEX,))
class StoredCases(CaseDataset):
    """Cases of a folder that ``meshops data prepare`` wrote.

    Args:
        root: The store.
        split: ``"train"``, ``"val"``, ``"test"`` as the data set had them, or ``"all"``.
        transform: Applied to each graph that is handed out.
        cache: Keep read cases in memory.

    Attributes:
        groups: Label of each case; cases with the same belong together.
        left_out: Case that cannot be read -> why.

    Raises:
        MissingDataError: There is no store, or it is not finished.
        InputError: It is of another version, damaged, or has no such split.
    """

    def __init__(
        self, root: str | Path, split: str = "train", *, transform: Transform | None = None, cache: bool = False
    ) -> None:
        self.root = Path(root)
        known = read_index(self.root)
        self.names: list[str] = known["cases"]
        splits: dict[str, list[int]] = known["splits"]
        if split != "all" and split not in splits:
            raise InputError(f"{self.root}: no split '{split}'; it has {listing([*splits, 'all'])}")
        self.index = list(range(len(self.names))) if split == "all" else list(splits[split])
        self.left_out = {self.names[int(i)]: reason for i, reason in known["bad"].items()}
        self.index = [i for i in self.index if str(i) not in known["bad"]]
        if not self.index:
            raise InputError(f"{self.root}: no sound case in split '{split}'; see 'bad' in {INDEX}")
        self.cases = tuple(self.names[i] for i in self.index)
        groups = known.get("groups", self.names)
        self.groups = tuple(groups[i] for i in self.index)
        self.fields, self.units = tuple(known["fields"]), tuple(known["units"])
        self.roles, self.quantity_units = known["roles"], known["quantity_units"]
        self.flow, self.flow_stated = FlowConditions.from_dict(known["flow"]), bool(known["flow_stated"])
        self.transform, self.cache = transform, GraphCache(cache)
        self.keeps = self.root / "prepared"
        self._told: dict[int, dict[str, Any]] = {}

    def path(self, index: int) -> Path:
        """Group of a case."""
        return case_path(self.root, self.index[self.position(index)])

    def number_of(self, index: int) -> int:
        """Number of a case in the store, whatever the split."""
        return self.index[self.position(index)]

    def read(self, index: int) -> MeshGraph:
        """One case as it was read from its files."""
        graph, self._told[index] = read_graph(self.path(index))
        return graph

    def files(self, index: int) -> dict[str, Path]:
        """The group."""
        return {"case": self.path(index) / "zarr.json"}

    def flow_of(self, index: int) -> FlowConditions:
        """Of the case."""
        flow = self.told(index)["flow"]
        return self.flow if flow is None else FlowConditions.from_dict(flow)

    def parameters(self, index: int) -> dict[str, float]:
        """Of the case."""
        return dict(self.told(index)["parameters"])

    def conditions_of(self, index: int) -> dict[str, float]:
        """Of the case."""
        return dict(self.told(index)["conditions"])

    def numbers_of(self, index: int) -> dict[str, float]:
        """Of the case."""
        return dict(self.told(index)["numbers"])

    def nodes_of(self, index: int) -> int:
        """Of the case, without reading it where the store knows."""
        known = self.told(index).get("nodes")
        return super().nodes_of(index) if known is None else int(known)

    def topology_of(self, index: int) -> str:
        """Of the case, without reading it where the store knows."""
        known = self.told(index).get("topology")
        return super().topology_of(index) if known is None else str(known)

    def mesh_of(self, index: int) -> str:
        """Of the case, without reading it where the store knows."""
        known = self.told(index).get("mesh")
        return super().mesh_of(index) if known is None else str(known)

    def notes_of(self, index: int) -> tuple[str, ...]:
        """Of the case, without reading it."""
        return tuple(self.told(index)["notes"])

    def extra_problems(self, index: int, graph: MeshGraph) -> Iterator[tuple[Path | None, str]]:
        """Also compares what is there with what was written."""
        yield from super().extra_problems(index, graph)
        try:
            read_graph(self.path(index), check=True)
        except InputError as error:
            yield self.path(index), str(error)

    def told(self, index: int) -> dict[str, Any]:
        """What is kept beside the arrays of a case."""
        index = self.position(index)
        if index not in self._told:
            self._told[index] = dict(opened(self.path(index))[1]["more"])
        return self._told[index]

    @classmethod
    def standin(cls, root: str | Path, num: int = 4) -> Path:
        """A store of the first cases of AhmedMini."""
        from meshops.datasets.ahmed.mini import AhmedMini

        if not 1 <= num <= len(AhmedMini("all")):
            raise InputError(f"{NAME}.standin: num must be 1..{len(AhmedMini('all'))}, got {num}")
        list(build(Path(root), Origin(None, "ahmed_mini"), limit=num))
        return Path(root)
