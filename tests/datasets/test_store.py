"""A store of cases: what is written is what was read, restarts, bad cases, damage, other stores."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from meshops.cli.main import main
from meshops.data.graph_store import read_graph, read_rows, write_graph
from meshops.data.mesh_graph import MeshGraph
from meshops.datasets import AhmedML, create, detect
from meshops.datasets.store import INDEX, Origin, StoredCases, build, case_path, opened_origin
from meshops.errors import InputError, MissingDataError

pytest.importorskip("zarr", reason="the extra 'store' is not installed")
pytestmark = pytest.mark.filterwarnings("ignore::meshops.errors.DataWarning")  # few runs: not the published split


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four real runs in the layout of AhmedML."""
    return AhmedML.standin(tmp_path_factory.mktemp("runs"), num=4)


@pytest.fixture(scope="module")
def stored(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("store") / "store"
    outcomes = list(build(out, Origin(str(runs), "ahmed_ml")))
    assert [o.state for o in outcomes] == ["written"] * 4
    return out


def equal(one: MeshGraph, other: MeshGraph) -> bool:
    first, second = one.to_dict(), other.to_dict()
    assert {k for k, v in first.items() if v is not None} == {k for k, v in second.items() if v is not None}
    return all(torch.equal(v, second[k]) if isinstance(v, Tensor) else v == second[k] for k, v in first.items())


def test_what_is_stored_is_what_was_read(runs: Path, stored: Path) -> None:
    files, store = AhmedML(runs, "all"), StoredCases(stored, "all")
    assert store.cases == files.cases and store.fields == files.fields and store.units == files.units
    assert store.flow == files.flow and store.flow_stated == files.flow_stated
    for i in range(4):
        assert equal(files[i], store[i])
        for name in ("flow_of", "parameters", "conditions_of", "numbers_of"):
            assert getattr(store, name)(i) == getattr(files, name)(i), name
    assert list(store.check()) == []


def test_a_store_is_known_by_its_files_and_keeps_the_splits(runs: Path, stored: Path) -> None:
    assert detect(stored) == "store"
    for split in ("train", "test"):
        assert create("store", stored, split).cases == AhmedML(runs, split).cases  # type: ignore[union-attr]
    with pytest.raises(InputError, match="no split 'val'; it has 'train', 'test', 'all'"):
        StoredCases(stored, "val")


def test_what_is_there_is_kept_and_what_lacks_is_written(runs: Path, stored: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(stored, tmp_path / "store"))
    (out / INDEX).unlink()
    shutil.rmtree(case_path(out, 2))
    with pytest.raises(MissingDataError, match="the store is not finished; run the same 'meshops data prepare' again"):
        StoredCases(out)
    before = {i: (case_path(out, i) / "zarr.json").stat().st_mtime_ns for i in (0, 1, 3)}
    outcomes = {o.number: o.state for o in build(out, Origin(str(runs), "ahmed_ml"), jobs=2)}
    assert outcomes == {0: "kept", 1: "kept", 2: "written", 3: "kept"}
    assert before == {i: (case_path(out, i) / "zarr.json").stat().st_mtime_ns for i in (0, 1, 3)}
    assert equal(StoredCases(out, "all")[2], AhmedML(runs, "all")[2])


def test_a_bad_case_is_told_and_left_out(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = Path(shutil.copytree(runs, tmp_path / "runs"))
    path = AhmedML(root, "all").files(1)["boundary"]
    path.write_bytes(path.read_bytes()[:5000])
    opened_origin.cache_clear()
    name = AhmedML(root, "all").cases[1]
    assert main(["data", "prepare", str(root), "--out", str(tmp_path / "store"), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["written"], told["kept"], told["bad"]) == (3, 0, 1) and told["problems"][0]["name"] == name
    store = StoredCases(tmp_path / "store", "all")
    assert name not in store.cases and len(store) == 3 and equal(store[1], AhmedML(root, "all")[2])
    assert not case_path(tmp_path / "store", 1).exists()


def test_damage_is_found(stored: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(stored, tmp_path / "store"))
    chunk = max((p for p in (case_path(out, 0) / "pos").rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    content = bytearray(chunk.read_bytes())
    content[len(content) // 3] ^= 0xFF
    chunk.write_bytes(bytes(content))
    problems = [str(problem) for problem in StoredCases(out, "all").check()]
    assert any("not what was written" in text or "missing or damaged" in text for text in problems)
    shutil.rmtree(case_path(out, 1) / "y")
    with pytest.raises(
        InputError, match=r"missing or damaged .* remove it and prepare the store again, the rest is kept"
    ):
        StoredCases(out, "all")[1]
    (out / INDEX).write_text("{")
    with pytest.raises(InputError, match=r"store\.json: damaged"):
        StoredCases(out)


def test_another_store_is_not_overwritten(runs: Path, stored: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the store of other cases"):
        list(build(stored, Origin(None, "ahmed_mini")))
    out = Path(shutil.copytree(stored, tmp_path / "store"))
    for file in ("begun.json", INDEX):
        values = json.loads((out / file).read_text()) | {"version": 99}
        (out / file).write_text(json.dumps(values))
    with pytest.raises(InputError, match="version 99 of a store, this meshops reads 1; prepare it again"):
        StoredCases(out)
    with pytest.raises(InputError, match="of version 99, this meshops writes 1; choose another --out"):
        list(build(out, Origin(str(runs), "ahmed_ml")))
    with pytest.raises(MissingDataError, match="make one with 'meshops data prepare ROOT --out STORE'"):
        StoredCases(tmp_path)


@pytest.mark.parametrize("nodes", [1, 5, 16_384, 40_000])
def test_a_graph_comes_back_and_its_rows_alone_too(tmp_path: Path, nodes: int) -> None:
    pos = torch.rand(nodes, 3)
    graph = MeshGraph(
        pos=pos, y=torch.rand(nodes, 2), y_names=("a", "b"), y_sizes=(1, 1), node_type=torch.arange(nodes),
        origin=torch.zeros(1, 3, dtype=torch.float64), edge_index=torch.zeros(2, 0, dtype=torch.int64),
        name="../../escape", notes=("n",),
    )  # fmt: skip
    write_graph(tmp_path / "g", graph, {"more": [1, None]})
    found, more = read_graph(tmp_path / "g", check=True)
    assert equal(graph, found) and more == {"more": [1, None]}
    rows = slice(nodes // 2, nodes // 2 + 3)
    part = read_rows(tmp_path / "g", ("pos", "y", "missing"), rows)
    assert set(part) == {"pos", "y"} and torch.equal(part["pos"], pos[rows])
    graph.pos = pos + 1
    write_graph(tmp_path / "g", graph)
    assert np.array_equal(read_graph(tmp_path / "g")[0].pos, pos + 1) and [p.name for p in tmp_path.iterdir()] == ["g"]


def test_a_file_one_may_not_read_is_a_bad_case_and_a_full_disk_is_not(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = AhmedML.read

    def locked(self: AhmedML, index: int) -> MeshGraph:
        if index == 1:
            raise PermissionError(13, "Permission denied")
        return original(self, index)

    opened_origin.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(AhmedML, "read", locked)
        states = [o.state for o in build(tmp_path / "a", Origin(str(runs), "ahmed_ml"))]
    assert states == ["written", "bad", "written", "written"]

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("meshops.datasets.store.write_graph", full)
    with pytest.raises(InputError, match=r"the disk is full.* run the same 'meshops data prepare' again"):
        list(build(tmp_path / "b", Origin(str(runs), "ahmed_ml")))
    assert not (tmp_path / "b" / INDEX).exists()
