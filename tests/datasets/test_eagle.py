"""EAGLE: round trip through the published layout, laziness, splits, clusters, damaged files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from meshops.datasets import Eagle, create, detect
from meshops.datasets.eagle.dataset import PRESSURE_MEAN, PRESSURE_STD, VELOCITY_MEAN, VELOCITY_STD
from meshops.datasets.eagle.files import jet_case, split_of, write_eagle_case
from meshops.datasets.formats import npy_rows as rows
from meshops.errors import DataWarning, InputError, MissingDataError

T, N = 6, 5


def coded() -> dict[str, Any]:
    """Numbers that say where they stand: 1000 frame + 10 node + channel."""
    t, n, c = torch.meshgrid(torch.arange(T), torch.arange(N), torch.arange(4), indexing="ij")
    values = (1000 * t + 10 * n + c).float()
    return {
        "pos": -values[..., :2],
        "velocity": values[..., :2],
        "pressure": values[..., 2:],
        "node_type": (t + n)[..., 0] % 7,
        "triangles": [
            torch.tensor([[0, 1, 2], [1, 2, 3 + frame % 2], [2, 3, 4]])[: 2 + frame % 2] for frame in range(T)
        ],
    }


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_eagle_case(tmp_path / "Cre" / "7" / "2", **coded())
    return tmp_path


def case(root: Path) -> Path:
    return root / "Cre" / "7" / "2"


def change(root: Path, *, compressed: bool = False, **changes: Any) -> None:
    """``sim.npz`` with other arrays; None takes one away."""
    with np.load(case(root) / "sim.npz") as data:
        arrays = {**data, **changes}
    save = np.savez_compressed if compressed else np.savez
    save(case(root) / "sim.npz", **{name: value for name, value in arrays.items() if value is not None})


def test_the_published_layout_is_written(root: Path) -> None:
    with np.load(case(root) / "sim.npz", allow_pickle=False) as data:
        shapes = {name: data[name].shape for name in data.files}
    assert shapes == {"pointcloud": (T, N, 2), **dict.fromkeys(("VX", "VY", "PS", "PG", "mask"), (T, N))}
    assert np.load(case(root) / "triangles.npy", allow_pickle=False).shape == (T, 3, 3)


@pytest.mark.parametrize("compressed", [False, True])
def test_frames_nodes_and_channels_keep_their_places(root: Path, compressed: bool) -> None:
    truth = coded()
    change(root, compressed=compressed)
    data = Eagle(root, "all")
    assert data.cases == ("Cre/7/2",) and data.lengths == (T,)
    window = data.window(0, 2, 3)
    assert torch.equal(window.state, torch.cat([truth["velocity"], truth["pressure"]], -1)[2:5])
    assert torch.equal(window.pos, truth["pos"][2:5]) and torch.equal(window.node_type, truth["node_type"][2:5])
    for ours, theirs in zip(window.triangles, truth["triangles"][2:5], strict=True):
        assert torch.equal(ours, theirs) and ours.dtype == torch.int64
    assert window.state.dtype == window.pos.dtype == torch.float32


def test_other_published_and_possible_forms_give_the_same(root: Path) -> None:
    before = Eagle(root, "all").window(0, 1, 4)
    with np.load(case(root) / "sim.npz") as data:
        arrays = dict(data)
    change(
        root, mask=arrays["mask"][..., None].astype(np.float64), VX=np.asfortranarray(arrays["VX"].astype(np.float64))
    )
    cells = np.load(case(root) / "triangles.npy")
    np.save(case(root) / "triangles.npy", cells.astype(np.int64))
    after = Eagle(root, "all").window(0, 1, 4)
    for name in ("pos", "state", "node_type"):
        assert torch.equal(getattr(before, name), getattr(after, name)), name
        assert getattr(before, name).dtype == getattr(after, name).dtype
    np.save(case(root) / "triangles.npy", cells[1])
    still = Eagle(root, "all").window(0, 1, 4).triangles
    assert (
        len(still) == 4 and all(each is still[0] for each in still) and torch.equal(still[0], coded()["triangles"][1])
    )


def test_each_frame_has_its_own_edges(root: Path) -> None:
    window = Eagle(root, "all").window(0, 0, 2)
    assert [1, 4] not in window.edges(0).T.tolist() and [1, 4] in window.edges(1).T.tolist()


def test_meaning_of_the_channels_and_published_constants(root: Path) -> None:
    data = Eagle(root, "all")
    assert (data.spec.fields, data.spec.sizes, data.spec.units) == (("velocity", "pressure"), (2, 2), ("m/s", ""))
    assert data.spec.forced == (2, 4, 6) and data.spec.weights == (1.0, 0.1) and data.spec.time_step == 1 / 30
    assert (VELOCITY_MEAN, VELOCITY_STD) == ((-0.0015, 0.2211), (1.7970, 2.0258))  # Dataloader/eagle.py
    assert (PRESSURE_MEAN, PRESSURE_STD) == ((-0.8322, 4.6050), (7.4013, 9.7232))
    graph = data[0]
    assert graph.name == "Cre/7/2" and graph.y.shape == (N, 4) and graph.y_names == ("velocity", "pressure")


@pytest.mark.parametrize("compressed", [False, True])
def test_only_the_rows_asked_for_are_kept(tmp_path: Path, compressed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).random((64, 500))
    path = tmp_path / "a.npz"
    (np.savez_compressed if compressed else np.savez)(path, x=values)
    taken: list[int] = []
    monkeypatch.setattr(rows, "PIECE", 10_000)
    some = rows._some
    monkeypatch.setattr(rows, "_some", lambda file, size: taken.append(size) or some(file, size))
    with rows.NpzRows(path) as data:
        got = data.rows("x", 3, 2)
    assert np.array_equal(got, values[3:5]) and got.flags.owndata | (got.base is not None) and got.nbytes == 8000
    assert sum(taken) == ((3 + 2) * 4000 + 128 if compressed else 0) and all(size <= 10_000 for size in taken)


def test_our_split_is_by_geometry_in_the_order_of_numbers() -> None:
    cases = [f"{family}/{number}/{flight}" for family in ("Tri", "Cre", "Spl") for number in range(1, 201)
             for flight in (2, 1)]  # fmt: skip
    split = split_of(cases)
    assert {name: len(part) for name, part in split.items()} == {"train": 960, "valid": 120, "test": 120}
    numbers = {name: {int(each.split("/")[1]) for each in part} for name, part in split.items()}
    assert numbers["valid"] == set(range(161, 181)) and numbers["test"] == set(range(181, 201))  # as published
    assert split_of(reversed(cases)) == split
    assert split_of(["Spl/1/1", "Spl/1/2"]) == {"train": ("Spl/1/1", "Spl/1/2"), "valid": (), "test": ()}


def test_lists_of_splits(tmp_path: Path) -> None:
    root = Eagle.standin(tmp_path / "e", 5, frames=2, nodes=40)
    parts = {name: Eagle(root, name).cases for name in ("train", "valid", "val", "test", "all")}
    assert parts["val"] == parts["valid"] and parts["all"] == parts["train"] + parts["valid"] + parts["test"]
    assert [len(parts[name]) for name in ("train", "valid", "test")] == [3, 1, 1]
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "test.txt").write_text("Spl/1/1\n\nCre/1/2\n")
    assert Eagle(root, "test", splits=lists).cases == ("Spl/1/1", "Cre/1/2")
    with pytest.raises(MissingDataError, match=r"no file .*valid\.txt; the lists are in the folder splits"):
        Eagle(root, "valid", splits=lists)
    (lists / "test.txt").write_text("Spl/1/1\nSpl/184/2\n")
    with pytest.raises(
        MissingDataError, match=r"1 of 2 trajectories of test\.txt are not in .*: 'Spl/184/2'; download"
    ):
        Eagle(root, "test", splits=lists)
    (root / "Cre").rename(tmp_path / "Cre")
    (lists / "test.txt").write_text("Spl/1/1\nCre/1/2\n")
    with pytest.warns(DataWarning, match="no trajectory of 'Cre' in .*; they are left out of the split"):
        assert Eagle(root, "test", splits=lists).cases == ("Spl/1/1",)
    (root / "splits" / "test.txt").write_text("\n")
    with pytest.raises(InputError, match=r"the split 'test' of .* has no trajectory; choose another split"):
        Eagle(root, "test")
    with pytest.raises(InputError, match="split must be one of"):
        Eagle(root, "dev")


def test_published_clusters(root: Path) -> None:
    members = np.stack([np.array([[0, 2], [1, 4], [3, -1]]), *[np.array([[1, 0], [2, 3], [-1, 4]])] * (T - 1)])
    np.save(case(root) / "constrained_kmeans_2.npy", members.astype(np.int32))
    data = Eagle(root, "all")
    assert _list(data.clusters(0, 0, 2)) == [0, 1, 0, 2, 1] and _list(data.clusters(0, 3, 2)) == [0, 0, 1, 1, 2]
    elsewhere = root / "Eagle_cluster" / "Cre" / "7" / "2"
    elsewhere.mkdir(parents=True)
    (case(root) / "constrained_kmeans_2.npy").rename(elsewhere / "constrained_kmeans_2.npy")
    other = Eagle(root, "all", cluster_root=root / "Eagle_cluster")
    assert _list(other.clusters(0, 0, 2)) == [0, 1, 0, 2, 1]
    np.save(case(root) / "constrained_kmeans_2.npy", np.where(members == 4, 3, members))
    with pytest.raises(InputError, match="frame 1 does not hold each of the 5 nodes once; does it belong to this"):
        data.clusters(0, 1, 2)
    np.save(case(root) / "constrained_kmeans_2.npy", members[:3])
    with pytest.raises(InputError, match=r"has shape \[3, 3, 2\], expected \[6, clusters, nodes of a cluster\]"):
        data.clusters(0, 1, 2)


def _list(label: Tensor | None) -> list[int]:
    assert label is not None and label.dtype == torch.int64
    return [int(each) for each in label]


def test_our_clusters_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from meshops.datasets.eagle import dataset as eagle

    root = Eagle.standin(tmp_path / "e", 3, frames=3, nodes=60)
    data = Eagle(root)
    first = {frame: _list(data.clusters(0, frame, 10)) for frame in (2, 0)}
    kept = root / data.cases[0] / "meshops_clusters_10.npz"
    assert kept.is_file() and not list(kept.parent.glob(".*")) and np.load(kept)["frames"].tolist() == [2, 0]
    assert max(np.bincount(first[0])) <= 10

    def never(*_: Any) -> None:
        raise AssertionError("computed again")

    with monkeypatch.context() as patched:
        patched.setattr(eagle, "SameSizeKMeans", never)
        assert {frame: _list(Eagle(root).clusters(0, frame, 10)) for frame in (2, 0)} == first
        with pytest.raises(AssertionError, match="computed again"):
            Eagle(root, cluster_cache=False).clusters(0, 0, 10)
    np.savez(kept, frames=np.array([2]), labels=np.zeros((1, 7), np.int32))  # of another mesh: written anew
    assert _list(data.clusters(0, 2, 10)) == first[2] and np.load(kept)["labels"].shape == (1, len(first[2]))
    kept.write_bytes(b"damaged")  # written anew
    assert _list(data.clusters(0, 2, 10)) == first[2] and np.load(kept)["frames"].tolist() == [2]
    assert (
        _list(Eagle(root, cluster_cache=False).clusters(0, 1, 7))
        and not (kept.parent / "meshops_clusters_7.npz").exists()
    )
    with pytest.raises(InputError, match="size must be at least 1"):
        data.clusters(0, 0, 0)
    with pytest.raises(InputError, match="frames 3 to 3 do not exist"):
        data.clusters(0, 3, 10)


def test_clusters_beside_data_that_cannot_be_written(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from meshops.datasets.eagle import dataset as eagle

    def refuse(*_: Any) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr(eagle, "replacing", refuse)
    data = Eagle(root, "all")
    assert _list(data.clusters(0, 0, 2)) == _list(data.clusters(0, 0, 2))
    assert not list(case(root).glob("meshops_*"))


def test_missing_and_unequal_arrays_are_named(root: Path) -> None:
    zero = np.zeros((T, N), np.float32)
    for changes, message in (
        ({"VX": zero[:4]}, rf"sim\.npz: VX has 4 steps, pointcloud {T}; it is damaged, download it again"),
        ({"VX": zero, "PG": zero[:, :3]}, "PG has 3 nodes, pointcloud 5"),
        ({"PG": zero, "mask": zero[:2]}, "mask has 2 steps, pointcloud 6"),
        ({"mask": np.zeros((T, N, 2))}, r"'mask' has shape \[6, 5, 2\], expected \[frames, nodes\]"),
        ({"mask": zero + 9}, "'mask' holds node types from 9 to 9, allowed are 0 to 8"),
        ({"mask": zero, "PS": None}, r"no array 'PS'; it holds 'PG', 'VX', 'VY', 'mask', 'pointcloud'\. Download it"),
    ):
        change(root, **changes)
        with pytest.raises(InputError, match=message):
            Eagle(root, "all").window(0, 0, 1)
    change(root, PS=zero, pointcloud=np.zeros((T, N, 3)))
    with pytest.raises(InputError, match=r"'pointcloud' has shape \[6, 5, 3\], expected \[frames, nodes, 2\]"):
        Eagle(root, "all").window(0, 0, 1)
    change(root, pointcloud=None)
    with pytest.raises(InputError, match="no array 'pointcloud'"):
        Eagle(root, "all")


def test_wrong_triangles_are_named(root: Path) -> None:
    path = case(root) / "triangles.npy"
    cells = np.load(path)
    for values, message in (
        (
            np.where(cells == 4, 5, cells),
            r"triangles name nodes from 0 to 5, the mesh has 5 \(0 to 4\); does it belong",
        ),
        (cells - 1, "triangles name nodes from -1"),
        (cells[:4], r"has shape \[4, 3, 3\], expected \[6, triangles, 3\] or \[triangles, 3\]"),
        (cells[..., :2], r"has shape \[6, 3, 2\]"),
        (np.array([{"a": 1}], dtype=object), "holds pickled Python objects, which could run code; they are not read"),
    ):
        np.save(path, values, allow_pickle=True)
        with pytest.raises(InputError, match=message):
            Eagle(root, "all").window(0, 0, T)
    np.save(path, cells)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(InputError, match=r"triangles\.npy: has \d+ bytes, its array needs \d+; download it again"):
        Eagle(root, "all").window(0, 0, 1)
    path.unlink()
    with pytest.raises(MissingDataError, match=r"no file .*triangles\.npy; download the archives"):
        Eagle(root, "all").window(0, 0, 1)


@pytest.mark.parametrize("compressed", [False, True])
def test_damaged_archives_are_named(root: Path, compressed: bool) -> None:
    change(root, compressed=compressed)
    path = case(root) / "sim.npz"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"sim\.npz: cannot be read .* it is truncated or damaged, download it again"):
        Eagle(root, "all")
    change_objects = {"VX": np.array([{"a": 1}], dtype=object)}
    path.write_bytes(whole)
    change(root, compressed=compressed, **change_objects)
    with pytest.raises(InputError, match="'VX' holds pickled Python objects"):
        Eagle(root, "all").window(0, 0, 1)


def test_folders_without_data_are_named(tmp_path: Path) -> None:
    with pytest.raises(
        MissingDataError, match=r"EAGLE: no folder .* download the archives spline, step and triangular"
    ):
        Eagle(tmp_path / "nothing")
    with pytest.raises(MissingDataError, match=r"EAGLE: no \{Spl,Cre,Tri\}/\*/\*/sim\.npz in"):
        Eagle(tmp_path)


def test_a_nan_is_found(root: Path) -> None:
    assert not list(Eagle(root, "all").check())
    values = np.zeros((T, N), np.float32)
    values[4, 2] = np.nan
    change(root, PG=values)
    assert [str(each) for each in Eagle(root, "all").check()] == [
        "Cre/7/2: NaN or infinite values, first in frame 4; drop the case"
    ]


def test_the_stand_in_is_found_and_sound(tmp_path: Path) -> None:
    root = Eagle.standin(tmp_path / "e")
    assert detect(root) == "eagle"
    data = create("eagle", root, "all")
    assert len(data) == 4 and data.lengths == (12,) * 4 and not list(data.check())
    window = data.window(1, 0, 12)
    assert 250 <= window.pos.shape[1] <= 350 and (window.pos[1] != window.pos[0]).any()
    assert set(window.node_type.unique().tolist()) == {0, 4, 5, 6}
    assert not window.state[..., :2][window.node_type == 6].any() and window.state.std((0, 1)).min() > 0.01
    for frame in range(12):
        corners = window.pos[frame][window.triangles[frame]]
        a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
        area = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
        assert bool((area > 0).all()) or bool((area < 0).all())
        assert torch.equal(window.triangles[frame].unique(), torch.arange(window.pos.shape[1]))
    with pytest.raises(InputError, match="holds a trajectory already"):
        write_eagle_case(root / data.cases[0], **jet_case(0, frames=2, nodes=40))


def test_cases_that_do_not_fit_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"do not fit the node types \[6, 5\]; expected \[t, n, 2\] and one list"):
        write_eagle_case(tmp_path / "a", **{**coded(), "pos": torch.zeros(T, N, 3)})
    assert not (tmp_path / "a").exists()
    write_eagle_case(tmp_path / "b", **{**coded(), "pressure": coded()["pressure"][..., 0]})
    with np.load(tmp_path / "b" / "sim.npz") as data:
        assert not data["PG"].any() and data["PS"][1, 2] == 1022


def test_names_and_options_are_checked(root: Path) -> None:
    with pytest.raises(InputError, match=r"no dataset 'mgn'; known: .*'eagle', .*'mesh_graph_nets'"):
        create("mgn", root)
    with pytest.raises(InputError, match="unknown option 'color'; allowed: 'splits', 'cluster_cache', 'cluster_root'"):
        create("eagle", root, color=1)
    with pytest.raises(InputError, match="eagle: the folder of the data is needed"):
        create("eagle")
