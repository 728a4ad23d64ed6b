"""Every registered dataset keeps the contract; the check finds what it is there to find."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch_geometric.data import Data

from meshops import datasets
from meshops.aero import FlowConditions
from meshops.data import MeshGraph, grid_graph
from meshops.datasets import CaseDataset, GraphList, GraphTrajectories, GridTrajectories
from meshops.datasets.base import CaseProblem, GraphCache
from meshops.testing import check_dataset, check_standin

SHIPPED = ("ahmed_mini",)
SMALL: dict[str, dict[str, Any]] = {
    "airfrans": {"points": 300},
    "darcy": {"points": 29},
    "eagle": {},
    "navier_stokes": {"resolution": 16},
    "pdebench": {"resolution": 16},
    "the_well": {"resolution": 16, "frames": 6},
}


@pytest.mark.parametrize("name", [name for name in datasets.names() if name not in SHIPPED])
def test_every_stand_in_keeps_the_contract(name: str, tmp_path: Path) -> None:
    if name in ("elasticity", "mesh_files"):
        pytest.importorskip("skfem", reason="the generators need scikit-fem")
    check_standin(name, tmp_path, **SMALL.get(name, {}))


@pytest.mark.parametrize("name", SHIPPED)
def test_what_is_shipped_keeps_the_contract(name: str) -> None:
    check_dataset(datasets.create(name, split="test"))


def test_lists_of_graphs_keep_the_contract() -> None:
    check_dataset(GraphList([Data(pos=torch.rand(n, 2), y=torch.rand(n)) for n in (5, 7)]))
    ring = torch.stack([torch.arange(6), torch.arange(6).roll(1)])
    check_dataset(GraphTrajectories([Data(pos=torch.rand(6, 2), y=torch.rand(6, 4, 2), edge_index=ring)]))
    check_dataset(GridTrajectories([grid_graph(torch.rand(4, 3, 5, 2), trailing=2) for _ in range(2)]))


class Clouds(CaseDataset):
    """Two sound cases."""

    fields, units, flow, transform = ("p",), ("Pa",), FlowConditions(), None

    def __init__(self) -> None:
        self.cases, self.cache = ("a", "b"), GraphCache()

    def read(self, index: int) -> MeshGraph:
        return MeshGraph(pos=torch.ones(3 + index, 2), y=torch.ones(3 + index, 1), y_names=("p",), y_sizes=(1,))

    def files(self, index: int) -> dict[str, Path]:
        return {}

    @classmethod
    def standin(cls, root: str | Path, num: int = 4) -> Path:
        return Path(root)


def _clouds(**changes: Any) -> Clouds:
    """Sound cases but for some attributes or methods."""
    made = type("Clouds", (Clouds,), {key: value for key, value in changes.items() if callable(value)})()
    for key, value in changes.items():
        if not callable(value):
            setattr(made, key, value)
    return made


def _noise(self: Clouds, index: int) -> MeshGraph:
    return MeshGraph(pos=torch.rand(3, 2), y=torch.ones(3, 1), y_names=("p",), y_sizes=(1,))


def _other(self: Clouds, index: int) -> MeshGraph:
    return MeshGraph(pos=torch.ones(3, 2 + index), y=torch.ones(3, 1), y_names=("p",), y_sizes=(1,))


def _broken(self: Clouds, index: int) -> MeshGraph:
    graph = Clouds.read(self, index)
    graph.pos[index] = torch.nan
    return graph


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cases": ("a", "a")}, "two cases have the same name"),
        ({"cases": ()}, "0 cases with 0 names"),
        (
            {"position": lambda self, index: index % 2, "__iter__": lambda self: iter([self[0], self[1]])},
            "index 2 of 2 cases is accepted",
        ),
        ({"read": _noise, "cache": GraphCache(False)}, "another at the second read"),
        ({"read": _other}, "cases differ in dimension"),
        ({"read": _broken}, "'pos' holds 1 NaN"),
        ({"fields": ("p", "u"), "units": ("", "")}, r"case 0 has the fields \('p',\), not"),
        ({"units": ()}, "one unit per field"),
        (
            {"numbers_of": lambda self, index: {"cd": float("nan")}},
            r"numbers_of\(0\) must be names with finite",
        ),
        ({"flow_of": lambda self, index: None}, "no flow conditions"),
        ({"files": lambda self, index: {"mesh": Path("nowhere.vtu")}}, "the mesh file of case 0 is missing"),
        ({"check": lambda self: iter([CaseProblem("a", None, "odd")])}, "finds fault with sound cases"),
    ],
)
def test_a_broken_contract_is_found(changes: dict[str, Any], message: str) -> None:
    check_dataset(Clouds())
    with pytest.raises(AssertionError, match=message):
        check_dataset(_clouds(**changes))


def _moved(self: GridTrajectories, index: int, start: int, length: int) -> torch.Tensor:
    return GridTrajectories.window(self, index, 0, length)


def _anything(self: GridTrajectories, index: int, start: int, length: int) -> torch.Tensor:
    frames = self.graphs[index].y.movedim(0, -1).unflatten(-1, (4, 3)).float()
    return frames[max(start, 0) :][:length]


@pytest.mark.parametrize(
    ("window", "message"),
    [(_moved, "a window is not part of a longer one"), (_anything, "frames from .* are accepted")],
)
def test_a_broken_window_is_found(window: Callable[..., Any], message: str) -> None:
    broken = type("GridTrajectories", (GridTrajectories,), {"window": window})
    with pytest.raises(AssertionError, match=message):
        check_dataset(broken([grid_graph(torch.rand(4, 3, 5, 2), trailing=2)]))


def test_what_is_no_dataset_is_refused() -> None:
    class Numbers:
        cases = ("a",)

        def __len__(self) -> int:
            return 1

        def __getitem__(self, index: int) -> MeshGraph:
            if index not in (0, -1):
                raise IndexError("1 case")
            return MeshGraph(pos=torch.ones(3, 2))

    with pytest.raises(AssertionError, match="Numbers is none of the three kinds"):
        check_dataset(Numbers())
