"""The page of a surrogate of results: no fields, a shape or none, a verdict between two."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import pyvista as pv
from torch_geometric.data import Data

from meshops.data.convert import from_pyvista
from meshops.datasets.graph_list import GraphList
from meshops.selection import FitConfig
from meshops.selection.numbers import fit_numbers
from tests.serve.conftest import Served


def egg(sides: np.ndarray) -> pv.PolyData:
    mesh = pv.Icosphere(radius=0.5, nsub=2)
    mesh.points = np.array(mesh.points, dtype=np.float64) * sides
    mesh.clear_data()
    return mesh


@pytest.fixture(scope="module")
def eggs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    from fastapi.testclient import TestClient

    from meshops.serve import Limits, Service
    from meshops.serve.app import create_app

    rng, graphs = np.random.default_rng(0), list[Data]()
    for i in range(16):
        sides, load = rng.uniform([1, 0.4, 0.3], [1.6, 0.8, 0.6]), float(rng.uniform(1, 5))
        graph = from_pyvista(egg(sides), location="cell")
        graph.name, graph.conditions = f"egg {i}", {"load": load}
        graph.numbers = {"sag": load * float(sides[0] / sides[2])}
        graphs.append(graph)
    folder = tmp_path_factory.mktemp("eggs")
    fit_numbers(GraphList(graphs), FitConfig(out=str(folder / "fit")))
    service = Service(folder / "fit" / "model.ckpt", Limits(upload=300_000, waiting=8))
    with TestClient(create_app(service), base_url="http://127.0.0.1:8000", raise_server_exceptions=False) as client:
        yield Served(client, service)


def stl(sides: list[float], folder: Path) -> bytes:
    egg(np.array(sides)).save(folder / "egg.stl")
    return (folder / "egg.stl").read_bytes()


def test_shapes_are_uploaded_and_compared(eggs: Served, tmp_path: Path) -> None:
    page = eggs.client.get("/").text
    assert "Predicts sag" in page and "regressions" in page and "load" in page
    done = [
        eggs.wait(eggs.post(stl(sides, tmp_path), f"{name}.stl", condition="load=3"))
        for name, sides in (("tall", [1.3, 0.6, 0.55]), ("flat", [1.3, 0.6, 0.35]))
    ]
    assert [state["state"] for state in done] == ["done", "done"], done
    assert [link.rsplit("/", 1)[1] for link in done[0]["files"]] == ["tall.json", "tall_report.html", "tall.zip"]
    numbers = eggs.client.get(f"/predictions/{done[0]['id']}/result").json()["numbers"]["sag"]
    assert numbers["low"] < numbers["value"] < numbers["high"]
    view = eggs.client.get(f"/predictions/{done[0]['id']}/view").json()
    assert not view["scene"] and view["verdict"] is not None and view["tables"][0]["title"] == "Numbers"
    state = eggs.wait(eggs.client.post("/comparisons", json={"predictions": [one["id"] for one in done]}))
    assert state["state"] == "done", state
    (pair,) = eggs.client.get(f"/comparisons/{state['id']}/result").json()["pairs"]
    assert pair["call"] == "smaller" and pair["a"] == "tall.stl"


def test_a_shape_without_its_condition_is_refused_in_a_sentence(eggs: Served, tmp_path: Path) -> None:
    state = eggs.wait(eggs.post(stl([1.3, 0.6, 0.5], tmp_path), "egg.stl", condition=[]))
    assert state["state"] == "failed" and "needs the condition 'load'" in state["error"]
