from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import pyvista as pv
import torch

from meshops.data import readers
from meshops.datasets import AhmedMini
from meshops.datasets.ahmed.mini import PACK, load_pack, main, pack_arrays
from meshops.errors import InputError, MissingDataError


def test_splits_fields_and_size_on_disk():
    train, test = AhmedMini(), AhmedMini("test")
    assert train.cases == tuple(f"run_{run}" for run in range(1, 25))
    assert test.cases == tuple(f"run_{run}" for run in range(25, 31))
    assert train.fields == ("pMean", "wallShearStressMean") and train.units == ("m^2/s^2", "m^2/s^2")
    assert train.flow.shear_sign == -1 and train.flow.speed == 1.0
    assert PACK.stat().st_size < 8e6


def test_all_cases_load_in_seconds():
    load_pack.cache_clear()
    start = time.process_time()
    data = AhmedMini("all")
    nodes = sum(int(graph.num_nodes) for graph in data)
    assert nodes == 271_979
    assert time.process_time() - start < 6  # about 1 s on one free core


def test_graphs_are_sound_and_closed():
    data = AhmedMini("test")
    for graph in data:
        graph.validate()
        flux = (graph.normal * graph.area[:, None]).double().sum(0)
        assert float(flux.abs().max()) < 1e-3 * float(graph.area.sum())
        volume = float((graph.pos * graph.normal).double().sum(1) @ graph.area.double()) / 3
        assert 0.05 < volume < 0.2  # positive: normals point out of the body


def test_forces_agree_with_the_fields():
    data = AhmedMini("all")
    errors = []
    for i, graph in enumerate(data):
        force = -(graph.field("pMean")[:, None] * graph.normal + graph.field("wallShearStressMean"))
        drag = float((force * graph.area[:, None]).sum(0)[0]) * 2 / data.parameters(i)["frontal-area"]
        errors.append(abs(drag / data.numbers_of(i)["cd"] - 1))
    assert np.mean(errors) < 0.01 and max(errors) < 0.03


def test_parameters():
    parameters = AhmedMini().parameters(0)
    assert parameters["body-length"] == 1.0756677 and parameters["slant-angle-degrees"] == 13.809932
    assert parameters["frontal-area"] == pytest.approx(parameters["body-width"] * parameters["body-height"], rel=1e-6)
    assert AhmedMini().numbers_of(0) == {"cd": 0.27753067, "cl": 0.083507884}


def test_equal_to_reading_the_original_files(shared_data: Path):
    data = AhmedMini("all")
    for i in (0, 12, 29):
        path = shared_data / "ahmed_rans" / data.cases[i] / f"boundary_{data.runs[i]}.vtp"
        expected, graph = readers.read(path, fields=data.fields, location="cell", units=data.units), data[i]
        mesh, original = data.mesh(i), pv.read(path)
        assert np.array_equal(mesh.points, original.points) and np.array_equal(mesh.faces, original.faces)
        for key in set(expected.keys()) - {"name", "source", "notes"}:
            same = torch.equal(graph[key], expected[key]) if torch.is_tensor(expected[key]) else None
            assert same if same is not None else graph[key] == expected[key], key


def test_the_shipped_file_can_be_made_again(shared_data: Path):
    made, shipped = pack_arrays(shared_data / "ahmed_rans"), load_pack()
    assert made.keys() == shipped.keys()
    assert all(np.array_equal(made[name], shipped[name]) for name in made)


def test_pack_round_trip(ahmed_root: Path, tmp_path: Path):
    main([str(ahmed_root), str(tmp_path / "pack.npz.xz")])
    assert [path.name for path in tmp_path.iterdir()] == ["pack.npz.xz"]
    made = load_pack.__wrapped__(tmp_path / "pack.npz.xz")
    assert made["run"].tolist() == [1, 2, 3, 4]
    shipped = load_pack()
    end = int(made["num_points"].sum())
    assert np.array_equal(made["points"], shipped["points"][:, :, :end])
    assert np.array_equal(made["cell_nodes"], shipped["cell_nodes"][: len(made["cell_nodes"])])


def test_bad_input(tmp_path: Path):
    with pytest.raises(InputError, match="split must be one of 'train', 'test', 'all', got 'val'"):
        AhmedMini("val")
    with pytest.raises(InputError, match="field must be one of 'pMean', 'wallShearStressMean', got 'p'"):
        AhmedMini(fields=("p",))
    with pytest.raises(MissingDataError, match="installation is incomplete"):
        load_pack.__wrapped__(tmp_path / "no.xz")
    damaged = tmp_path / "pack.npz.xz"
    damaged.write_bytes(PACK.read_bytes()[:1000])
    with pytest.raises(InputError, match="is damaged"):
        load_pack.__wrapped__(damaged)
    with pytest.raises(InputError, match="usage"):
        main([])
    with pytest.raises(InputError, match=r"num must be 1..30"):
        AhmedMini.standin(tmp_path, num=0)


def test_one_field():
    graph = AhmedMini("test", fields=("pMean",))[0]
    assert graph.fields == ("pMean",) and graph.y.shape[1] == 1
