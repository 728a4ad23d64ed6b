"""The Well, PDEBench and CFDBench: round trips through the published layouts, splits, windows, and damaged files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch.testing import assert_close

from meshops.data.grid import grid_graph, grid_shape, grid_values
from meshops.data.mesh_graph import MeshGraph
from meshops.datasets import CFDBench, PDEBench, TheWell, create, detect
from meshops.datasets.cfdbench.files import write_case
from meshops.datasets.pdebench.files import write_flat, write_grouped
from meshops.datasets.the_well.files import write_well
from meshops.errors import InputError, MissingDataError
from meshops.solvers.riemann import riemann_2d
from meshops.solvers.shallow_water import radial_dam_break
from meshops.solvers.simulation import Simulation
from meshops.tasks import RolloutSettings, RolloutTask
from meshops.tasks.build import build_model


def simulation(seed: int = 0, *, boundary: tuple[str, str] = ("periodic", "open")) -> Simulation:
    """Numbers that tell places apart, on a grid that is no square."""
    generator = torch.Generator().manual_seed(seed)
    fields = {
        "velocity": torch.randn(5, 64, 64, 2, generator=generator) if seed < 0 else
        torch.randn(5, 6, 4, 2, generator=generator),
        "p": torch.randn(5, *((64, 64) if seed < 0 else (6, 4)), generator=generator),
        "stress": torch.randn(5, *((64, 64) if seed < 0 else (6, 4)), 2, 2, generator=generator),
    }  # fmt: skip
    time = torch.linspace(0, 1, 5, dtype=torch.float64)
    parameters = {"viscosity": 0.1 + seed}
    return Simulation(fields, time, (0.0, -1.0), (3.0, 2.0), boundary, parameters, velocity="velocity")


@pytest.fixture
def well(tmp_path: Path) -> Path:
    return write_well({"train": [simulation(0), simulation(1)], "test": [simulation(2)]}, tmp_path / "w", name="toy")


def test_the_well_round_trip(well: Path) -> None:
    data = TheWell(well)
    assert len(data) == 2 and data.lengths == (5, 5) and data.shapes == ((6, 4),) * 2
    names = ("p", "velocity_x", "velocity_y", "stress_xx", "stress_xy", "stress_yx", "stress_yy")
    assert data.spec.channels == names and data.spec.velocity == (1, 2)
    assert data.spec.periodic == (True, False) and data.spec.time_step == pytest.approx(0.25)
    assert data.spec.spacing == pytest.approx((0.5, 0.5))
    truth = simulation(1)
    window = data.window(1, 2, 2)
    assert torch.equal(window[:, 0], truth.fields["p"][2:4])
    assert torch.equal(window[:, 1:3], truth.fields["velocity"][2:4].movedim(-1, 1))
    assert torch.equal(window[:, 4], truth.fields["stress"][2:4, ..., 0, 1])
    assert data.parameters(1)["viscosity"] == pytest.approx(1.1)
    assert data.constants(0).shape == (0, 6, 4)
    assert_close(torch.tensor(data.statistics()["mean"]["p"]),
                 torch.stack([simulation(i).fields["p"] for i in (0, 1)]).double().mean().float())  # fmt: skip
    assert TheWell(well, "all").cases == ("train/toy/0", "train/toy/1", "test/toy/0")
    only = TheWell(well, "test", fields=["velocity"])
    assert only.spec.channels == ("velocity_x", "velocity_y") and only.spec.velocity == (0, 1)


def test_a_trajectory_is_a_grid_graph(well: Path) -> None:
    data = TheWell(well)
    graph = data[0]
    assert isinstance(graph, MeshGraph) and graph.y.shape == (24, 5, 7) and grid_shape(graph) == (6, 4)
    assert torch.equal(grid_values(graph)[0], data.window(0, 0, 5))
    assert_close(graph.pos[5], torch.tensor([0.75, 0.75]))
    with pytest.raises(InputError, match="no regular grid"):
        grid_shape(MeshGraph(pos=torch.rand(3, 2)))
    with pytest.raises(InputError, match="one entry per axis"):
        grid_graph(torch.zeros(3, 3, 1), spacing=(1.0,))


def test_constant_and_lower_dimensional_fields_are_repeated(well: Path) -> None:
    path = next(well.glob("data/train/*.hdf5"))
    with h5py.File(path, "a") as file:
        speed = file["t0_fields"].create_dataset("speed", data=np.arange(6, dtype=np.float32))
        speed.attrs["dim_varying"] = [True, False]
        speed.attrs["sample_varying"] = speed.attrs["time_varying"] = False
        file["t0_fields"].attrs["field_names"] = ["p", "speed"]
    data = TheWell(well)
    assert data.spec.constants == ("speed",) and "speed" not in data.spec.channels
    assert torch.equal(data.constants(0)[0], torch.arange(6.0).view(6, 1).expand(6, 4))
    assert "speed" not in data[0].y_names and data[0].x.shape == (24, 1)


def test_the_wells_own_package_reads_the_same_numbers(well: Path) -> None:
    peer = pytest.importorskip("the_well.data", reason="needs the package the_well")
    theirs = peer.WellDataset(
        path=str(well), well_split_name="train", n_steps_input=1, n_steps_output=1, use_normalization=False
    )
    ours = TheWell(well).window(0, 2, 1)[0]
    assert_close(theirs[2]["input_fields"][0].movedim(-1, 0), ours)


@pytest.fixture(params=["grouped", "flat"])
def pde(request: Any, tmp_path: Path) -> Iterator[tuple[Path, list[Simulation], str]]:
    if request.param == "grouped":
        runs = [radial_dam_break(seed, resolution=12, frames=4) for seed in range(10)]
        yield write_grouped(runs, tmp_path / "2D_rdb_NA_NA.h5", fields=("h",)), runs, "grouped"
    else:
        runs = [riemann_2d(seed, resolution=12, frames=4) for seed in range(10)]
        yield write_flat(runs, tmp_path / "2D_CFD_periodic_Train.hdf5"), runs, "flat"


def test_pdebench_round_trip_and_splits(pde: tuple[Path, list[Simulation], str]) -> None:
    path, runs, layout = pde
    train, test = PDEBench(path), PDEBench(path, "test")
    assert (len(train), len(test)) == (9, 1) and not set(train.cases) & set(test.cases)
    assert test.cases == (("0009",) if layout == "grouped" else ("0000",))
    first = runs[int(train.cases[0])]
    window = train.window(0, 1, 3)
    if layout == "grouped":
        assert train.spec.channels == ("h",) and train.spec.velocity == () and train.spec.periodic == (False, False)
        assert torch.equal(window[:, 0], first.fields["h"][1:])
    else:
        assert train.spec.channels == ("density", "pressure", "Vx", "Vy") and train.spec.velocity == (2, 3)
        assert train.spec.periodic == (True, True)
        assert torch.equal(window[:, 2:], first.fields["velocity"][1:].movedim(-1, 1))
    assert train.spec.spacing == pytest.approx(first.spacing)
    assert train.spec.time_step == pytest.approx(float(first.time[1]))
    assert not list(train.check())


def test_velocity_channels_are_never_guessed(tmp_path: Path) -> None:
    run = radial_dam_break(0, resolution=8, frames=3)
    path = write_grouped([run, run], tmp_path / "a.h5", fields=("h",))
    with pytest.raises(InputError, match="velocity must be among the channels 'h'"):
        PDEBench(path, velocity=["u"])
    samples: Any = RolloutTask.samples(PDEBench(path, "all"), RolloutSettings())
    with pytest.raises(InputError, match="The first channels are not assumed to be it"):
        build_model({"name": "amrtransformer"}, samples.spec.model_arguments(), samples.offers)


@pytest.fixture
def cfd(tmp_path: Path) -> Path:
    for number in range(10):
        write_case(
            simulation(-1 - number), tmp_path / "cavity" / ("bc" if number % 2 else "prop") / f"case{number:04d}"
        )
    for path in tmp_path.glob("cavity/*/case*/case.json"):
        path.write_text(
            json.dumps({"vel_top": 10.0, "density": 5.0, "viscosity": 0.00238, "height": 1.0, "width": 2.0})
        )
    return tmp_path


def test_cfdbench_round_trip_and_splits(cfd: Path) -> None:
    splits = {name: CFDBench(cfd, name) for name in ("train", "val", "test", "all")}
    assert [len(data) for data in splits.values()] == [8, 1, 1, 10]
    named = [set(splits[name].cases) for name in ("train", "val", "test")]
    assert set.union(*named) == set(splits["all"].cases) and sum(map(len, named)) == 10
    data = splits["all"]
    number = int(data.cases[0][-4:])
    assert data.cases[0].startswith("prop/")  # the published order: prop, bc, geo
    truth = simulation(-1 - number).fields["velocity"].movedim(-1, 1)
    assert torch.equal(data.window(0, 1, 2), truth[1:3])
    assert_close(data.constants(0)[:, 0, 0], torch.tensor([0.0, 0.0, -0.3, 1.0]))
    assert data.spec.spacing == (2 / 64, 1 / 64) and data.spec.velocity == (0, 1)
    assert CFDBench(cfd, "all", subsets=["bc"]).cases[0].startswith("bc/")


def test_cfdbench_cuts_added_borders_and_masks_obstacles(cfd: Path) -> None:
    folder = cfd / "cavity" / "prop" / "case0000"
    u, v = (np.load(folder / f"{name}.npy") for name in ("u", "v"))
    before = CFDBench(cfd, "all").window(0, 0, 5)
    for name, values in (("u", u), ("v", v)):
        np.save(folder / f"{name}.npy", np.pad(values, ((0, 0), (1, 1), (1, 0))))
    assert torch.equal(CFDBench(cfd, "all").window(0, 0, 5), before)
    shutil.copytree(cfd / "cavity" / "prop", cfd / "cylinder" / "prop")
    shutil.copytree(cfd / "cavity" / "prop", cfd / "dam" / "prop")
    for path in cfd.glob("cylinder/prop/*/case.json"):
        path.write_text(json.dumps({"vel_in": 1.0, "density": 1.0, "viscosity": 1.0, "radius": 0.5,
                                    "x_min": -1.0, "x_max": 3.0, "y_min": -2.0, "y_max": 2.0}))  # fmt: skip
    fluid = CFDBench(cfd, "all", problem="cylinder").fluid(0)
    assert abs(int((~fluid).sum()) - np.pi * 0.25 / (4 / 64) ** 2) < 8
    assert not fluid[16, 32] and fluid[32, 32]
    for path in cfd.glob("dam/prop/*/case.json"):
        path.write_text(json.dumps({"velocity": 1.0, "density": 1.0, "viscosity": 1.0, "barrier_height": 0.1,
                                    "barrier_width": 0.05, "height": 0.4, "width": 1.5}))  # fmt: skip
    fluid = CFDBench(cfd, "all", problem="dam").fluid(0)
    assert (~fluid).nonzero()[:, 0].unique().tolist() == [21, 22] and int((~fluid)[21].sum()) == 16


def test_frames_after_convergence_are_dropped(cfd: Path) -> None:
    folder = cfd / "cavity" / "prop" / "case0000"
    u = np.load(folder / "u.npy")
    np.save(folder / "u.npy", np.concatenate([u[:3], u[2:3], u[2:3]]))
    assert CFDBench(cfd, "all").lengths[0] == 3
    assert CFDBench(cfd, "all", converged=False).lengths[0] == 5


@pytest.mark.parametrize("name", ["the_well", "pdebench", "cfdbench"])
def test_stand_ins_are_found_and_sound(name: str, tmp_path: Path) -> None:
    maker: Any = {"the_well": TheWell, "pdebench": PDEBench, "cfdbench": CFDBench}[name]
    root = maker.standin(tmp_path / "set", 4)
    folder = root.parent if root.is_file() else root
    assert detect(folder) == name
    data = create(name, root=root, split="all")
    assert len(data) >= 3 and not list(data.check())


def test_missing_and_damaged_files_are_named(tmp_path: Path, well: Path) -> None:
    with pytest.raises(MissingDataError, match="the-well-download"):
        TheWell(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    for maker, hint in ((TheWell, "the-well-download"), (PDEBench, "darus"), (CFDBench, "huggingface")):
        with pytest.raises(MissingDataError, match=hint):
            maker(tmp_path / "empty")
    path = next(well.glob("data/train/*.hdf5"))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"toy\.hdf5: cannot be read as HDF5 .* download or export it again"):
        TheWell(well)
    path.write_bytes(whole)
    with h5py.File(path, "a") as file:
        del file["dimensions"]
    with pytest.raises(InputError, match="no entry 'dimensions' in '/'; it holds 'boundary_conditions'"):
        TheWell(well)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file.create_dataset("labels", data=np.zeros(3))
    with pytest.raises(InputError, match=r"expected arrays \[n, t, \*grid\] named .* the file holds labels \(3,\)"):
        PDEBench(tmp_path / "other.h5")


def test_a_nan_is_found_and_named(well: Path) -> None:
    with h5py.File(next(well.glob("data/train/*.hdf5")), "a") as file:
        file["t1_fields/velocity"][1, 3, 0, 0, 1] = np.nan
    problems = [str(problem) for problem in TheWell(well).check()]
    assert problems == [
        "train/toy/1: channel 'velocity_y' holds NaN or infinite values, first in frame 3; repair or drop the case"
    ]


def test_arrays_with_code_are_refused(cfd: Path) -> None:
    np.save(cfd / "cavity" / "prop" / "case0000" / "u.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="not a readable array"):
        CFDBench(cfd, "all")
    (cfd / "cavity" / "prop" / "case0002" / "case.json").write_text("{")
    with pytest.raises(InputError, match="no JSON file"):
        CFDBench(cfd, "all")


def test_windows_and_names_are_checked(well: Path, tmp_path: Path) -> None:
    data = TheWell(well)
    with pytest.raises(InputError, match="frames 3 to 6 do not exist, it has 5"):
        data.window(0, 3, 4)
    with pytest.raises(IndexError, match="has 2 trajectories, got index 2"):
        data.window(2, 0, 1)
    with pytest.raises(InputError, match="no dataset 'well'"):
        create("well", root=well)
    with pytest.raises(InputError, match="unknown option 'color'"):
        create("the_well", root=well, color=1)
    with pytest.raises(InputError, match="is not empty"):
        write_well({"train": [simulation()]}, well, name="toy")
    with pytest.raises(InputError, match="must agree in grid"):
        write_well({"train": [simulation(), simulation(boundary=("open", "open"))]}, tmp_path / "x", name="toy")
    assert not (tmp_path / "x").exists() and not list(tmp_path.glob(".x*"))
