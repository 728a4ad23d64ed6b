"""A store of cases: what is written is what was read, restarts, bad cases, damage, other stores."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from meshops.cli.main import main
from meshops.data.folder_lock import LOCK, writing
from meshops.data.graph_store import read_graph, read_rows, write_graph
from meshops.data.mesh_graph import MeshGraph
from meshops.data.shape import mesh_digest, topology
from meshops.datasets import AhmedML, create, detect
from meshops.datasets.store import StoredCases
from meshops.datasets.store_build import Origin, build, finished, opened_origin
from meshops.datasets.store_files import INDEX, case_path
from meshops.datasets.subset import CaseSubset
from meshops.errors import DataWarning, InputError, MissingDataError

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
    with pytest.warns(DataWarning, match="of version 99, this meshops writes 1: all cases are read again"):
        outcomes = list(build(out, Origin(str(runs), "ahmed_ml")))
    assert [o.state for o in outcomes] == ["written"] * 4 and equal(
        StoredCases(out, "all")[2], StoredCases(stored, "all")[2]
    )
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

    monkeypatch.setattr("meshops.datasets.store_build.write_graph", full)
    with pytest.raises(InputError, match=r"the disk is full.* run the same 'meshops data prepare' again"):
        list(build(tmp_path / "b", Origin(str(runs), "ahmed_ml")))
    assert not (tmp_path / "b" / INDEX).exists()


def test_a_job_list_with_missing_cases_is_told_and_the_rest_written(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = AhmedML(runs, "all").cases
    (tmp_path / "list.txt").write_text(f"{names[2]}\nrun_77\n\n{names[0]}\n")
    prepare = ["data", "prepare", str(runs), "--out", str(tmp_path / "store")]
    assert main([*prepare, "--cases", str(tmp_path / "list.txt")]) == 1
    assert f"run_77: no such case in {runs}" in capsys.readouterr().out
    assert StoredCases(tmp_path / "store", "all").cases == (names[2], names[0])
    assert main(prepare) == 0  # the others join, under numbers of their own
    assert "2 written, 2 kept" in capsys.readouterr().out
    store = StoredCases(tmp_path / "store", "all")
    assert store.cases == (names[2], names[0], names[1], names[3])
    assert StoredCases(tmp_path / "store", "train").cases == AhmedML(runs, "train").cases
    assert equal(store[2], AhmedML(runs, "all")[1])


def test_a_changed_file_is_read_again_with_its_features_and_a_lost_one_is_kept(runs: Path, tmp_path: Path) -> None:
    root, out = Path(shutil.copytree(runs, tmp_path / "runs")), tmp_path / "store"
    list(build(out, Origin(str(root), "ahmed_ml")))
    features = [out / "prepared" / "key" / case_path(out, i).name for i in range(4)]
    for folder in features:
        folder.mkdir(parents=True)
    data = AhmedML(root, "all")
    changed, lost = data.files(1)["boundary"], data.files(3)["boundary"].parent
    shutil.copy(data.files(0)["boundary"], changed)
    shutil.rmtree(lost)
    states = {o.number: o.state for o in build(out, Origin(str(root), "ahmed_ml"))}
    assert states == {0: "kept", 1: "written", 2: "kept", 3: "kept"}
    assert [folder.exists() for folder in features] == [True, False, True, True]
    store = StoredCases(out, "all")
    assert torch.equal(store[1].y, store[0].y) and len(store) == 4
    shutil.rmtree(case_path(out, 3))
    (outcome,) = [o for o in build(out, Origin(str(root), "ahmed_ml")) if o.number == 3]
    assert outcome.state == "bad" and "not among the cases of" in outcome.reason
    assert len(StoredCases(out, "all")) == 3


def test_a_store_stopped_half_way_or_of_another_version_is_finished(runs: Path, stored: Path, tmp_path: Path) -> None:
    out, said = Path(shutil.copytree(stored, tmp_path / "store")), list[str]()
    (out / INDEX).unlink()
    shutil.rmtree(case_path(out, 1))
    (out / "cases" / ".123.000001.zarr").mkdir()  # half written by one that was killed
    assert finished(out, said.append) == out and "the store is not finished" in said[0]
    assert len(StoredCases(out, "all")) == 4 and not (out / "cases" / ".123.000001.zarr").exists()
    assert finished(out, said.append) == out and len(said) == 1
    values = json.loads((out / INDEX).read_text()) | {"version": 99}
    (out / INDEX).write_text(json.dumps(values))
    finished(out, said.append)
    assert "version 99 of a store" in said[1] and len(StoredCases(out, "all")) == 4
    with pytest.raises(MissingDataError):
        finished(tmp_path, said.append)


def test_a_stale_lock_is_told_and_a_held_one_is_waited_for_or_refused(tmp_path: Path) -> None:
    known = {"pid": 4194999, "host": "node7", "since": "2026-01-01 00:00:00"}
    (tmp_path / LOCK).write_text(json.dumps(known))
    with pytest.warns(DataWarning, match=r"process 4194999 on node7 .* left its lock and is gone; going on"):
        with writing(tmp_path):
            with pytest.raises(InputError, match=rf"process {os.getpid()} on .* writes there; wait for it"):
                with writing(tmp_path):
                    raise AssertionError("two writers")
    assert (tmp_path / LOCK).read_text() == ""
    order: list[str] = []

    def second() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with writing(tmp_path, wait=True):
                order.append("second")

    thread = threading.Thread(target=second)
    with writing(tmp_path):
        thread.start()
        time.sleep(0.3)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]


def test_sizes_and_meshes_are_told_without_reading(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = StoredCases(stored, "all")
    found = [(store.nodes_of(i), store.topology_of(i), store.mesh_of(i)) for i in range(4)]
    assert found == [(len(g.pos), topology(g), mesh_digest(g)) for g in store]
    monkeypatch.setattr(StoredCases, "read", lambda *_: pytest.fail("a case was read"))
    assert found == [
        (s.nodes_of(i), s.topology_of(i), s.mesh_of(i)) for s in [StoredCases(stored, "all")] for i in range(4)
    ]
    part = CaseSubset(store, [2, 0])
    assert part.nodes_of(0) == found[2][0] and part.number_of(1) == 0 and part.keeps == store.keeps
    copy = StoredCases(stored, "all")
    assert copy.groups == copy.cases and copy.left_out == {}


def test_a_dask_cluster_writes_the_same_store(runs: Path, stored: Path, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed", reason="needs Dask")
    import joblib

    cluster = distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=False,
        dashboard_address=None,
        local_directory=str(tmp_path / "dask"),
    )
    with cluster, distributed.Client(cluster), joblib.parallel_config(backend="dask"):
        outcomes = list(build(tmp_path / "store", Origin(str(runs), "ahmed_ml"), jobs=2))
        assert any("write_case" in name for name in cluster.scheduler.task_prefixes)
    assert sorted(o.number for o in outcomes) == [0, 1, 2, 3] and {o.state for o in outcomes} == {"written"}
    one, other = StoredCases(tmp_path / "store", "all"), StoredCases(stored, "all")
    assert one.cases == other.cases and all(equal(a, b) for a, b in zip(one, other, strict=True))
