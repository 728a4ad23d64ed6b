"""MeshGraphNets: round trip through TFRecord files, laziness, other kinds of features, damaged files."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from meshops.datasets import MeshGraphNets, create, detect
from meshops.datasets.formats.tfrecord import encode_example, write_records
from meshops.datasets.mesh_graph_nets.files import cylinder_case, write_mesh_graph_nets
from meshops.errors import InputError, MissingDataError

T, N = 5, 4


def coded(seed: int = 0) -> dict[str, Tensor]:
    """Numbers that say where they stand: 1000 frame + 10 node + channel, plus 100000 per trajectory."""
    t, n, c = torch.meshgrid(torch.arange(T), torch.arange(N), torch.arange(2), indexing="ij")
    values = (1000 * t + 10 * n + c + 100_000 * seed).float()
    return {
        "cells": torch.tensor([[0, 1, 2], [1, 3, 2]]),
        "mesh_pos": torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0], [1.0, 2.0]]),
        "node_type": torch.tensor([4, 5, 0, 6]),
        "velocity": values,
        "pressure": -values[..., :1] - 1,
    }


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_mesh_graph_nets(
        {"train": [coded(0), coded(1)], "valid": [coded(2)], "test": [coded(3)]}, tmp_path / "s"
    )


def rewrite(root: Path, split: str = "train", **changes: Any) -> None:
    """One record with other features; None takes one away, arrays and bytes replace."""
    run = coded()
    features = {name: run[name].numpy().astype("<f4" if run[name].is_floating_point() else "<i4").tobytes()
                for name in run}  # fmt: skip
    features |= changes
    kept = {name: value if isinstance(value, bytes) else value.tobytes()
            for name, value in features.items() if value is not None}  # fmt: skip
    write_records(root / f"{split}.tfrecord", [encode_example(kept)])


def edit(root: Path, **changes: Any) -> None:
    """Entries of features in ``meta.json``; None takes one away."""
    meta = json.loads((root / "meta.json").read_text())
    meta["features"] = {k: v for k, v in {**meta["features"], **changes}.items() if v is not None}
    (root / "meta.json").write_text(json.dumps(meta))


def test_frames_nodes_and_channels_keep_their_places(root: Path) -> None:
    data = MeshGraphNets(root)
    assert data.cases == ("train/0", "train/1") and data.lengths == (T, T)
    window = data.window(1, 2, 3)
    assert torch.equal(window.state[..., :2], coded(1)["velocity"][2:])
    assert torch.equal(window.state[..., 2:], coded(1)["pressure"][2:])
    assert torch.equal(window.pos, coded()["mesh_pos"].expand(3, N, 2))
    assert window.node_type.tolist() == [[4, 5, 0, 6]] * 3 and window.node_type.dtype == torch.int64
    assert len(window.triangles) == 3 and all(cells is window.triangles[0] for cells in window.triangles)
    assert torch.equal(window.triangles[0], coded()["cells"])
    assert window.edges(0).T.tolist()[:2] == [[1, 0], [2, 0]]
    assert torch.equal(data.window(-1, 4, 1).state[0], window.state[2])


def test_meaning_of_the_channels(root: Path) -> None:
    spec = MeshGraphNets(root).spec
    assert (spec.fields, spec.sizes, spec.units, spec.time_step) == (
        ("velocity", "pressure"),
        (2, 1),
        ("m/s", ""),
        0.01,
    )
    assert spec.forced == (1, 2, 3, 4, 6) and spec.weights == (1.0, 1.0)  # all but normal and outflow nodes
    other = MeshGraphNets(root, fields=["pressure"], forced=(4, 6))
    assert other.window(0, 0, 1).state.shape == (1, N, 1) and other.spec.forced == (4, 6)
    graph = MeshGraphNets(root)[0]
    assert graph.name == "train/0" and graph.y.shape == (N, 3) and graph.node_type.tolist() == [4, 5, 0, 6]


def test_density_is_last(tmp_path: Path) -> None:
    run = coded()
    run["density"] = run["pressure"] * 2
    data = MeshGraphNets(write_mesh_graph_nets({"test": [run]}, tmp_path / "airfoil"), "test")
    assert data.spec.fields == ("velocity", "pressure", "density")
    assert torch.equal(data.window(0, 1, 1).state[0, :, 3:], run["density"][1])


def test_splits(root: Path) -> None:
    assert MeshGraphNets(root, "val").cases == MeshGraphNets(root, "valid").cases == ("valid/0",)
    assert MeshGraphNets(root, "all").cases == ("train/0", "train/1", "valid/0", "test/0")
    (root / "valid.tfrecord").unlink()
    assert MeshGraphNets(root, "all").cases == ("train/0", "train/1", "test/0")
    with pytest.raises(MissingDataError, match=r"no file .*valid\.tfrecord; get it with .*download_dataset"):
        MeshGraphNets(root, "valid")
    with pytest.raises(InputError, match="split must be one of 'train', 'valid', 'test', 'val', 'all', got 'dev'"):
        MeshGraphNets(root, "dev")


def test_only_the_frames_asked_for_are_copied(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from meshops.datasets.mesh_graph_nets import dataset as mesh_graph_nets

    copied = []
    stack = np.stack
    monkeypatch.setattr(mesh_graph_nets.np, "stack", lambda arrays: copied.append(len(arrays)) or stack(arrays))
    window = MeshGraphNets(root).window(0, 3, 2)
    assert set(copied) == {2} and window.state.untyped_storage().nbytes() == 2 * N * 3 * 4
    window.state.add_(1)  # a copy: the file stays as it is
    assert torch.equal(MeshGraphNets(root).window(0, 3, 2).state + 1, window.state)


def test_it_goes_to_worker_processes(root: Path) -> None:
    data = MeshGraphNets(root)
    before = data.window(0, 0, 2).state
    assert torch.equal(pickle.loads(pickle.dumps(data)).window(0, 0, 2).state, before)


def test_arrays_of_changing_size(root: Path) -> None:
    cells = coded()["cells"].numpy().astype("<i4")
    lengths = np.array([2, 1, 2, 1, 2], dtype="<i4")
    rows = np.concatenate([cells[:count] for count in lengths])
    edit(root, cells={"type": "dynamic_varlen", "shape": [-1, 3], "dtype": "<dtype: 'int32'>"})
    rewrite(root, cells=rows, length_cells=lengths)
    window = MeshGraphNets(root).window(0, 1, 3)
    assert [len(each) for each in window.triangles] == [1, 2, 1]
    assert torch.equal(window.triangles[1], coded()["cells"])
    rewrite(root, cells=rows, length_cells=lengths[:4])
    with pytest.raises(InputError, match="'length_cells' has 4 entries for 6 rows, expected 5 for 8"):
        MeshGraphNets(root).window(0, 1, 3)
    edit(root, mesh_pos={"type": "dynamic_varlen", "shape": [-1, 2], "dtype": "float32"})
    rewrite(root, cells=rows, length_cells=lengths, mesh_pos=np.zeros((18, 2), "<f4"),
            length_mesh_pos=np.array([4, 4, 3, 3, 4], "<i4"))  # fmt: skip
    with pytest.raises(InputError, match="'mesh_pos' has 3 to 4 nodes; meshes whose nodes change are not read"):
        MeshGraphNets(root).window(0, 1, 3)


def test_damage_is_named(root: Path) -> None:
    path = root / "train.tfrecord"
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    with pytest.raises(InputError, match=r"train\.tfrecord: ends within record 1; it is truncated"):
        MeshGraphNets(root)
    path.write_bytes(whole[:-20] + bytes([whole[-20] ^ 1]) + whole[-19:])
    with pytest.raises(InputError, match="the checksum of record 1 is wrong"):
        MeshGraphNets(root).window(1, 0, 1)
    unverified = MeshGraphNets(root, verify=False)
    unverified.window(1, 0, 1)
    assert ["checksum of record 1" in str(problem) for problem in unverified.check()] == [True]
    rewrite(root, pressure=None)
    with pytest.raises(InputError, match="record 0: no feature 'pressure'; it holds 'cells', 'mesh_pos', 'node_type'"):
        MeshGraphNets(root).window(0, 0, 1)
    rewrite(root, velocity=np.zeros((T - 1, N, 2), "<f4"))
    with pytest.raises(InputError, match=r"'velocity' has 32 values, which do not make the shape \[5, -1, 2\] of meta"):
        MeshGraphNets(root).window(0, 0, 1)
    rewrite(root, velocity=np.zeros((T, N + 1, 2), "<f4"))
    with pytest.raises(InputError, match="'velocity' has 5 nodes, 'mesh_pos' has 4; the record is damaged"):
        MeshGraphNets(root).window(0, 0, 1)
    rewrite(root, velocity=b"abc")
    with pytest.raises(InputError, match="'velocity' has 3 bytes, which are no whole number of float32"):
        MeshGraphNets(root).window(0, 0, 1)
    rewrite(root, cells=np.array([[0, 1, 4]], "<i4"))
    with pytest.raises(InputError, match=r"'cells' name nodes from 0 to 4, the mesh has 4 \(0 to 3\)"):
        MeshGraphNets(root).window(0, 0, 1)
    rewrite(root, node_type=np.array([0, 0, 0, 9], "<i4"))
    with pytest.raises(InputError, match="'node_type' holds 0 to 9, allowed are 0 to 8"):
        MeshGraphNets(root).window(0, 0, 1)
    write_records(path, [b"\x0a\x05ab"])
    with pytest.raises(InputError, match=r"train\.tfrecord: record 0 is no tf\.Example message"):
        MeshGraphNets(root).window(0, 0, 1)


def test_descriptions_that_do_not_fit_are_named(root: Path) -> None:
    with pytest.raises(InputError, match="2 weights for the fields 'velocity'; give fields among 'cells'"):
        MeshGraphNets(root, fields=["velocity"], weights=(1.0, 1.0))
    with pytest.raises(InputError, match="no feature 'stress'; it has 'cells'"):
        MeshGraphNets(root, fields=["stress"])
    edit(root, velocity={"type": "dynamic", "shape": [T, -1, 2], "dtype": "bfloat"})
    with pytest.raises(
        InputError, match=r"'velocity' is .*bfloat.*; expected a type static, dynamic or dynamic_varlen"
    ):
        MeshGraphNets(root)
    edit(root, velocity=None, cells={"type": "static", "shape": [1, -1, 4], "dtype": "int32"})
    with pytest.raises(InputError, match="'cells' has 4 columns, expected 3; only sets of triangles in the plane"):
        MeshGraphNets(root)
    (root / "meta.json").write_text("{}")
    with pytest.raises(InputError, match=r"meta\.json: is no description of a set \(KeyError: 'features'\)"):
        MeshGraphNets(root)
    (root / "meta.json").unlink()
    with pytest.raises(MissingDataError, match="download_dataset"):
        MeshGraphNets(root)


def test_windows_are_checked(root: Path) -> None:
    data = MeshGraphNets(root)
    with pytest.raises(InputError, match="train/0: frames 3 to 5 do not exist, it has 5; use a shorter window"):
        data.window(0, 3, 3)
    with pytest.raises(IndexError, match="has 2 trajectories, got index 2"):
        data.window(2, 0, 1)
    assert data.clusters(0, 0, 10) is None


def test_a_nan_is_found(root: Path) -> None:
    values = coded()["velocity"].numpy().copy()
    values[3, 1, 0] = np.nan
    rewrite(root, velocity=values)
    found = [str(problem) for problem in MeshGraphNets(root).check()]
    assert found == ["train/0: NaN or infinite values, first in frame 3; drop the case"]


def test_the_stand_in_is_found_and_sound(tmp_path: Path) -> None:
    root = MeshGraphNets.standin(tmp_path / "set")
    assert detect(root) == "mesh_graph_nets"
    data = create("mesh-graph-nets", root, "all")
    assert len(data) == 4 and not list(data.check())
    meta = json.loads((root / "meta.json").read_text())
    assert meta["trajectory_length"] == 12 and meta["features"]["velocity"]["shape"] == [12, -1, 2]
    assert meta["field_names"] == ["cells", "mesh_pos", "node_type", "velocity", "pressure"]
    window = data.window(0, 0, 12)
    kind, flow = window.node_type[0], window.state[..., :2]
    assert set(kind.tolist()) == {0, 4, 5, 6} and not flow[:, kind == 6].any()
    assert (flow[:, kind == 4] == flow[0, kind == 4][0]).all() and (flow[-1] != flow[0]).any()
    used = window.triangles[0].unique()
    assert torch.equal(used, torch.arange(len(kind)))
    with pytest.raises(InputError, match="holds a set already"):
        MeshGraphNets.standin(root)


def test_the_mesh_of_the_stand_in_leaves_the_cylinder_out() -> None:
    run = cylinder_case(3)
    corners = run["mesh_pos"].double()[run["cells"]]
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = float((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).abs().sum() / 2)
    ring = run["mesh_pos"][(run["node_type"] == 6) & (run["mesh_pos"][:, 1] > 1e-6) & (run["mesh_pos"][:, 1] < 0.409)]
    radius = float((ring - ring.mean(0)).norm(dim=1).mean())
    hole = 0.5 * len(ring) * np.sin(2 * np.pi / len(ring)) * radius**2
    assert area == pytest.approx(1.6 * 0.41 - hole, rel=1e-4)


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to write"):
        write_mesh_graph_nets({}, tmp_path / "a")
    short = {name: value[:3] if name in ("velocity", "pressure") else value for name, value in coded().items()}
    with pytest.raises(InputError, match="must agree in fields and number of frames"):
        write_mesh_graph_nets({"train": [coded(), short]}, tmp_path / "a")
