from __future__ import annotations

from pathlib import Path

import pytest
import torch

from meshops.aero.conditions import FlowConditions
from meshops.data.mesh_graph import MeshGraph
from meshops.datasets.base import CaseDataset, CaseProblem, GraphCache, num_bytes, read_number_table, select
from meshops.errors import InputError


class Numbers(CaseDataset):
    """Case i is i + 1 points with the field 'p' equal to i."""

    def __init__(self, num: int, *, cache: bool = True, transform=None) -> None:
        self.cases = tuple(f"case_{i}" for i in range(num))
        self.flow, self.fields, self.units = FlowConditions(), ("p",), ("Pa",)
        self.transform, self.cache = transform, GraphCache(cache)
        self.num_reads = 0

    def read(self, index: int) -> MeshGraph:
        self.num_reads += 1
        return MeshGraph(
            pos=torch.zeros(index + 1, 3), y=torch.full((index + 1, 1), float(index)), y_names=("p",), y_sizes=(1,)
        )

    def files(self, index: int) -> dict[str, Path]:
        return {}

    @classmethod
    def standin(cls, root: str | Path, num: int = 4) -> Path:
        return Path(root)


def test_cases_are_read_once_and_handed_out_as_copies():
    data = Numbers(3)
    first = data[1]
    first.extra = torch.zeros(1)
    assert "extra" not in data[1]
    assert data.num_reads == 1
    assert data[-1].num_nodes == 3
    assert [graph.num_nodes for graph in data] == [1, 2, 3]


def test_no_cache_reads_again():
    data = Numbers(2, cache=False)
    data[0], data[0]
    assert data.num_reads == 2 and len(data.cache) == 0


def test_index_out_of_range():
    with pytest.raises(IndexError, match="has 2 cases, got index 2"):
        Numbers(2)[2]
    with pytest.raises(IndexError, match="got index -3"):
        Numbers(2).parameters(-3)


def test_transform_sees_each_case_and_leaves_the_cache_alone():
    def double(graph: MeshGraph) -> MeshGraph:
        graph.y = graph.y * 2
        return graph

    data = Numbers(3, transform=double)
    assert float(data[2].y[0, 0]) == 4.0
    assert float(data[2].y[0, 0]) == 4.0


def test_cache_drops_the_oldest_beyond_its_bytes():
    one = num_bytes(Numbers(1).read(0))
    assert one == (3 + 1) * 4
    cache = GraphCache(max_bytes=6 * one)
    reads: list[int] = []

    def read(index: int) -> MeshGraph:
        reads.append(index)
        return Numbers(4).read(index)

    for index in (0, 1, 2, 0, 3):  # sizes 1, 2, 3 units; 3 (4 units) drives out 1 and 2
        cache.get(index, read)
    assert reads == [0, 1, 2, 3]
    assert cache.num_bytes == 5 * one
    cache.get(0, read)
    cache.get(1, read)
    assert reads == [0, 1, 2, 3, 1]


def test_check_reports_a_field_of_zeros():
    problems = list(Numbers(2).check())
    assert [str(problem) for problem in problems] == ["case_0: field 'p' is zero everywhere; check the export"]


def test_a_problem_is_one_line():
    assert str(CaseProblem("run_1", Path("a/b.vtp"), "is empty")) == "run_1 (b.vtp): is empty"


def test_number_table(tmp_path: Path):
    path = tmp_path / "t.csv"
    path.write_text("run, cd , cl\n1, 0.5, -1e-3\n\n")
    assert read_number_table(path) == [{"run": 1.0, "cd": 0.5, "cl": -0.001}]


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "got 0 lines"), ("a,b\n", "got 1 lines"), ("a,b\n1\n", "line 2: 1 values for 2"), ("a\nx\n", "'x' is not")],
)
def test_bad_number_table(tmp_path: Path, text: str, message: str):
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_number_table(path)


def test_select():
    splits = {"train": (1, 2), "val": (), "test": (3,)}
    assert select(splits, "all", "X") == (1, 2, 3)
    with pytest.raises(InputError, match=r"X: split must be one of 'train', 'val', 'test', 'all', got 'tes'"):
        select(splits, "tes", "X")
    with pytest.raises(InputError, match=r"the split 'val' has no case \(train 2, val 0, test 1\)"):
        select(splits, "val", "X")
