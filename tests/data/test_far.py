"""Meshes far from the origin keep their shape on every path: reading, graphs, patches, bodies, predictions, files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import pyvista as pv
import torch
from torch_geometric.data import Data

import meshops
from meshops.aero.case_spec import CaseSpec
from meshops.aero.features import FeatureSpec, frame_of
from meshops.aero.opening import open_case
from meshops.aero.prepare import surface_of, with_body
from meshops.data.cells import cells_of, mesh_of
from meshops.data.convert import from_pyvista, to_pyvista
from meshops.data.mesh_graph import origin_of
from meshops.data.readers import read, read_mesh
from meshops.data.writers import write_mesh
from meshops.errors import DataWarning
from meshops.partition import BallTree
from meshops.training import RunConfig, TrainConfig, train

OFFSETS = [(1e6, 0, 0), (1e6, -3e5, 7e5), (0, 0, 123456.789)]
SIZE = 1e-6  # of the mesh: what may be lost


def surface() -> pv.PolyData:
    mesh = pv.Sphere(radius=0.5, theta_resolution=20, phi_resolution=16).clean()
    mesh.clear_data()
    mesh.points = np.asarray(mesh.points, dtype=np.float64) * [1, 0.6, 0.8]
    mesh.cell_data["p"] = np.arange(mesh.n_cells, dtype=np.float64)
    mesh.point_data["T"] = np.arange(mesh.n_points, dtype=np.float64)
    return mesh


def volume() -> pv.UnstructuredGrid:
    """A box with a hole."""
    grid = pv.ImageData(dimensions=(7, 6, 5), spacing=(0.15, 0.1, 0.1)).cast_to_unstructured_grid()
    grid.points = np.asarray(grid.points, dtype=np.float64)
    inside = np.all((grid.cell_centers().points > [0.3, 0.2, 0.1]) & (grid.cell_centers().points < [0.6, 0.3, 0.3]), 1)
    out = grid.extract_cells(np.flatnonzero(~inside))
    out.clear_data()
    out.cell_data["p"] = np.arange(out.n_cells, dtype=np.float64)
    out.point_data["T"] = np.arange(out.n_points, dtype=np.float64)
    return out


def plane() -> pv.UnstructuredGrid:
    r = np.random.default_rng(0)
    flat = pv.PolyData(np.c_[r.random((60, 2)), np.zeros(60)]).delaunay_2d()
    out = mesh_of(np.asarray(flat.points, dtype=np.float64), cells_of(flat), as_grid=True)
    out.point_data["T"] = np.arange(out.n_points, dtype=np.float64)
    out.cell_data["p"] = np.arange(out.n_cells, dtype=np.float64)
    return out


MESHES = {"surface": surface, "volume": volume, "plane": plane}


def moved(mesh: pv.DataSet, offset: tuple[float, float, float]) -> pv.DataSet:
    out = mesh.copy()
    out.points = np.asarray(mesh.points, dtype=np.float64) + np.array(offset)
    return out


@pytest.mark.parametrize("offset", OFFSETS, ids=str)
@pytest.mark.parametrize("location", ["cell", "point", "free"])
@pytest.mark.parametrize("name", MESHES)
def test_reading_keeps_shape_and_coordinates(
    name: str, location: str, offset: tuple[float, ...], tmp_path: Path
) -> None:
    mesh = MESHES[name]()
    far = moved(mesh, offset)
    path = tmp_path / f"far{'.vtp' if name == 'surface' else '.vtu'}"
    far.save(path)
    fields = ("p",) if location == "cell" else ("T",)
    near = from_pyvista(mesh, fields=fields, location=location)
    with pytest.warns(DataWarning, match="lies far from the origin; positions are counted from"):
        graph = read(path, fields=fields, location=location)
    size = float(np.ptp(np.asarray(mesh.points), axis=0).max())
    shape, wanted = (g.pos.double() - g.pos.double().mean(0) for g in (graph, near))
    assert float((shape - wanted).abs().max()) < SIZE * size
    # pos and origin together are the coordinates of the file.
    place = near.pos.double() + torch.tensor(offset, dtype=torch.float64)
    assert float((graph.pos.double() + origin_of(graph) - place).abs().max()) < SIZE * size
    if location != "free":
        assert torch.allclose(graph.area, near.area, rtol=1e-5, atol=1e-9)
    if graph.get("normal") is not None:
        assert torch.allclose(graph.normal, near.normal, atol=1e-5)
    assert graph.points.dtype == torch.float64 and np.array_equal(graph.points.numpy(), far.points)
    suffix = ".vtu" if location != "free" and name == "volume" else ".vtp"
    back = read_mesh(write_mesh(graph, tmp_path / f"back{suffix}"))
    assert np.array_equal(back.points, far.points)
    assert np.allclose(to_pyvista(graph, near=True).points + origin_of(graph).numpy(), far.points, rtol=1e-14)


def test_meshes_of_one_place_share_their_origin() -> None:
    """So that where they lie relative to each other stays known."""
    origins = set()
    for shift in (0.0, 0.1, 0.3):
        with pytest.warns(DataWarning, match="far from the origin"):
            origins.add(tuple(origin_of(from_pyvista(moved(surface(), (1e6 + shift, 0, 0)))).tolist()))
    assert origins == {(1e6, 0.0, 0.0)}


@pytest.mark.parametrize("offset", [(0, 0, 0), (3, 0, 0), (7, 0, -7)])
def test_meshes_near_the_origin_stay_where_they_are(offset: tuple[float, float, float]) -> None:
    graph = from_pyvista(moved(surface(), offset), location="point")
    assert "origin" not in graph and torch.equal(graph.pos, torch.from_numpy(moved(surface(), offset).points).float())


@pytest.mark.parametrize("name", MESHES)
def test_patches_do_not_depend_on_the_place(name: str) -> None:
    mesh = MESHES[name]()
    near = from_pyvista(mesh, location="point")
    with pytest.warns(DataWarning, match="far from the origin"):
        far = from_pyvista(moved(mesh, (1e6, -1e6, 0)), location="point")
    first, second = (BallTree(16)(g).patch_index for g in (near, far))
    assert torch.equal(first, second)


@pytest.mark.parametrize("domain", ["surface", "volume"])
@pytest.mark.parametrize("offset", OFFSETS[:2], ids=str)
@pytest.mark.filterwarnings("ignore::meshops.errors.DataWarning")
def test_bodies_of_cases_and_of_data_sets(domain: str, offset: tuple[float, float, float], tmp_path: Path) -> None:
    mesh = MESHES[domain]()
    spec = _body_spec(domain)
    suffix = ".vtp" if domain == "surface" else ".vtu"
    cases = []
    for label, each in (("near", mesh), ("far", moved(mesh, offset))):
        each.save(tmp_path / (label + suffix))
        cases.append(open_case(tmp_path / (label + suffix), spec))
    near, far = cases
    # The ground stays where it is: only the heights above it differ.
    frames = [frame_of(case.graph, spec.flow, domain).points(case.graph.pos).double() for case in cases]
    up = torch.tensor(spec.flow.up, dtype=torch.float64) @ torch.tensor(offset, dtype=torch.float64)
    lift = (frames[1] - frames[0]).mean(0)
    assert lift.tolist() == pytest.approx([0, 0, float(up) / frame_of(near.graph, spec.flow, domain).length], rel=1e-6)
    assert float((near.graph.pos - far.graph.pos).abs().max()) < SIZE
    sets = [from_pyvista(moved(mesh, o), fields=("p",), location="cell") for o in ((0, 0, 0), offset)]
    if domain == "volume":
        assert float((near.graph.body_pos - far.graph.body_pos).abs().max()) < SIZE
        bodies = [with_body(graph, spec) for graph in sets]
        gaps = [b.body_pos - b.pos.mean(0) for b in bodies]
        assert float((gaps[0] - gaps[1]).abs().max()) < 2 * SIZE
    else:
        assert near.body is not None and far.body is not None
        centers = [c.body.center - c.body.center.mean(0) for c in (near, far)]
        assert np.abs(centers[0] - centers[1]).max() < SIZE
        first, second = (surface_of(graph) for graph in sets)
        assert np.abs((first.center - first.center.mean(0)) - (second.center - second.center.mean(0))).max() < SIZE
        assert first.frontal_area(spec.flow) == pytest.approx(second.frontal_area(spec.flow), rel=1e-6)


def _body_spec(domain: str) -> CaseSpec:
    return CaseSpec(
        fields=("p",), sizes=(1,), units=("",), dim=3, domain=domain, location="cell", features=FeatureSpec()
    )  # fmt: skip


def test_a_prediction_of_the_plain_path(tmp_path: Path) -> None:
    g = torch.Generator().manual_seed(0)
    data = [
        Data(pos=torch.rand(40, 2, generator=g), y=torch.rand(40, 1, generator=g), y_names=("T",), y_sizes=(1,))
        for _ in range(2)
    ]
    model = {"name": "mspt", "channels": 8, "depth": 1, "num_heads": 1, "num_patches": 2}
    settings = TrainConfig(steps=3, batch_size=1, accelerator="cpu", threads=1)
    train(RunConfig(out=str(tmp_path / "run"), model=model, train=settings), data=data)
    surrogate = meshops.load(tmp_path / "run" / "model.ckpt")
    predictions = []
    for label, offset in (("near", (0, 0, 0)), ("far", (1e6, -1e6, 0))):
        each = moved(plane(), offset)
        each.save(tmp_path / f"{label}.vtu")
        predictions.append(surrogate.predict(tmp_path / f"{label}.vtu"))
    near, far = predictions
    assert np.ptp(near.fields["T"]) > 1e-3
    assert np.abs(near.fields["T"] - far.fields["T"]).max() < 1e-4 * np.ptp(near.fields["T"])
    assert any("far from the origin" in note for note in far.case.notes)
    assert np.array_equal(far.case.original().points, moved(plane(), (1e6, -1e6, 0)).points)
