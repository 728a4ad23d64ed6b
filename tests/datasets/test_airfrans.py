"""AirfRANS in PyG's form: columns, tasks, PyG's own reader as the oracle, refusal of code, messages."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.datasets import AirfRANS as PeerAirfRANS

from meshops.datasets import AirfRANS, detect
from meshops.errors import InputError, MissingDataError
from meshops.solvers.joukowski import JoukowskiFlow


def entry(number: int, rows: int = 5) -> dict[str, torch.Tensor]:
    """Column c of node n holds 1000 number + 10 n + c."""

    def columns(count: int) -> torch.Tensor:
        return 1000.0 * number + 10 * torch.arange(rows)[:, None] + torch.arange(count)

    return {"pos": columns(2), "x": columns(5), "y": columns(4), "surf": torch.arange(rows) % 2 == 0}


def write(folder: Path, entries: Any, **lists: list[str]) -> Path:
    torch.save(entries, folder / "AirfRANS.pt")
    manifest = {"full_train": ["c", "a", "d"], "full_test": ["b"], "scarce_train": ["d"], **lists}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.mark.parametrize("container", [dict, lambda values: Data(**values)], ids=["dict", "Data"])
def test_columns_and_order(tmp_path: Path, container: Any) -> None:
    write(tmp_path, [container(entry(number)) for number in range(4)])
    data = AirfRANS(tmp_path)
    assert data.cases == ("c", "a", "d")
    graph = data[2]
    assert graph.y_names == ("velocity", "pressure", "turbulent_viscosity") and graph.y_sizes == (2, 1, 1)
    assert graph.field("pressure").tolist() == [2002 + 10 * n for n in range(5)]
    assert graph.field("turbulent_viscosity")[1] == 2013
    assert graph.x[0].tolist() == [2000, 2001, 2002, 2003, 2004] and len(graph.x_names) == 5
    assert graph.pos[1].tolist() == [2010, 2011] and graph.node_type.tolist() == [1, 0, 1, 0, 1]
    assert graph.get("edge_index") is None and graph.name == "d"
    assert AirfRANS(tmp_path, "test")[0].pos[0, 0] == 3000
    assert AirfRANS(tmp_path, task="scarce").cases == ("d",)
    assert AirfRANS(tmp_path, "test", task="scarce").cases == ("b",)
    assert AirfRANS(tmp_path, "all").cases == ("c", "a", "d", "b")
    assert AirfRANS(tmp_path, num_train=2).cases == ("c", "a")
    assert torch.equal(pickle.loads(pickle.dumps(data))[2].y, graph.y)


@pytest.mark.parametrize("task", ["full", "scarce", "reynolds", "aoa"])
def test_pyg_reads_the_same_from_the_standin(tmp_path: Path, task: str) -> None:
    AirfRANS.standin(tmp_path / "raw", 8, points=300)
    for split in ("train", "test"):
        ours, theirs = AirfRANS(tmp_path, split, task=task), PeerAirfRANS(str(tmp_path), task, train=split == "train")
        assert len(ours) == len(theirs) and list(ours.check()) == []
        for graph, data in zip(ours, theirs, strict=True):
            assert torch.equal(graph.pos, data.pos) and torch.equal(graph.x, data.x) and torch.equal(graph.y, data.y)
            assert torch.equal(graph.node_type == 1, data.surf)


def test_standin_is_a_flow(tmp_path: Path) -> None:
    root = AirfRANS.standin(tmp_path, 4)
    assert detect(root) == "airfrans"
    data = AirfRANS(root, "all")
    assert len(data) == 4 and len(AirfRANS(root, "test")) == 1
    for index, graph in enumerate(data):
        wall = graph.node_type == 1
        inlet, known = graph.x[0, :2], data.parameters(index)
        assert float(inlet.norm()) == pytest.approx(known["speed"], abs=1e-3)
        angle = np.degrees(np.arctan2(float(inlet[1]), float(inlet[0])))
        assert angle == pytest.approx(known["angle_of_attack"], abs=1e-2)
        assert float(graph.field("pressure").max()) <= 0.5 * known["speed"] ** 2 * 1.001
        assert bool((graph.x[wall, 2] == 0).all()) and bool((graph.x[~wall, 2] > 0).all())
        assert bool((graph.x[~wall, 3:] == 0).all())
        assert float((graph.x[wall, 3:].norm(dim=1) - 1).abs().max()) < 1e-4
        # Into the body: the closed outline has no net normal and a negative flux of its positions.
        assert float((graph.pos[wall] * graph.x[wall, 3:]).sum()) < 0


def test_joukowski_flow_follows_the_wall_and_leaves_the_tail() -> None:
    flow = JoukowskiFlow(-0.08 + 0.05j, 0.1)
    s = np.linspace(-2, 2, 401)
    zeta = flow.circle(s + 0j)
    along = np.gradient(flow.position(zeta), axis=0)[1:-1]
    velocity = flow.velocity(zeta)
    cross = along[:, 0] * velocity[1:-1, 1] - along[:, 1] * velocity[1:-1, 0]
    assert np.abs(cross).max() < 2e-2 * np.linalg.norm(along, axis=1).max() * np.linalg.norm(velocity, axis=1).max()
    assert velocity[0] == pytest.approx(velocity[-1]) and np.isfinite(velocity).all()  # Kutta condition
    far = flow.velocity(flow.circle(np.array([300 + 300j])))
    assert far[0] == pytest.approx([np.cos(0.1), np.sin(0.1)], abs=1e-3)
    # A thin flat plate has the lift of theory, 2 pi sin(angle): from the jump of the speeds squared.
    plate = JoukowskiFlow(0j, 0.05)
    middle = np.sqrt(2) * np.array([-1, 1]) + 0j  # mid-chord, below and above
    below, above = (plate.velocity(plate.circle(middle)) ** 2).sum(-1)
    assert above - below == pytest.approx(4 * np.sin(0.05) * np.cos(0.05), rel=1e-6)


class Harmful:
    """What a pickle could do."""

    def __reduce__(self) -> Any:
        return os.mkdir, (f"{os.environ['HARM']}",)


def test_code_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARM", str(tmp_path / "harm"))
    write(tmp_path, [Harmful()])
    with pytest.raises(InputError, match="holds more than tensors and was not loaded"):
        AirfRANS(tmp_path)[0]
    assert not (tmp_path / "harm").exists()


def test_messages(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"no file AirfRANS.pt or manifest.json .*AirfRANS.zip"):
        AirfRANS(tmp_path)
    write(tmp_path, [entry(number) for number in range(3)])
    with pytest.raises(InputError, match=r"expected a list of the 4 cases of manifest\.json, got 3 cases"):
        AirfRANS(tmp_path)[0]
    with pytest.raises(InputError, match="no list 'aoa_train', 'aoa_test'; it holds 'full_train'"):
        AirfRANS(tmp_path, task="aoa")
    with pytest.raises(InputError, match="task must be one of 'full', 'scarce', 'reynolds', 'aoa', got 'half'"):
        AirfRANS(tmp_path, task="half")
    with pytest.raises(InputError, match="num_train must be 1 to 3, the cases of the task, got 9"):
        AirfRANS(tmp_path, num_train=9)
    write(tmp_path, [entry(0) | {"x": torch.zeros(5, 7)}, entry(1), {"pos": torch.zeros(2, 2)}, entry(3)])
    with pytest.raises(InputError, match=r"case 0 \(c\): 'x' must be \[5, 5\], got \(5, 7\)"):
        AirfRANS(tmp_path)[0]
    problems = [str(problem) for problem in AirfRANS(tmp_path).check()]
    assert len(problems) == 2 and "no tensor 'x', 'y', 'surf'; it holds 'pos'" in problems[1]
    path = tmp_path / "AirfRANS.pt"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match="the file is damaged, download it again"):
        AirfRANS(tmp_path)[0]
    write(tmp_path, [], scarce_train=["z"])
    with pytest.raises(InputError, match="task 'scarce' names 'z', which are not in full_train"):
        AirfRANS(tmp_path, task="scarce")
    (tmp_path / "manifest.json").write_text("no json")
    with pytest.raises(InputError, match="is no JSON file"):
        AirfRANS(tmp_path)
