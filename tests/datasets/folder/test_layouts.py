"""Folders in every layout come out as what lies in them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import pyvista as pv

from meshops import datasets
from meshops.datasets import FolderCases, MeshTrajectoryDataset, Study, guess_study
from meshops.datasets.trajectory import varying_parameters
from meshops.errors import DataWarning, InputError, MissingDataError
from meshops.testing import check_dataset

Write = Callable[..., Path]


def plate(n: int = 5, *, axis: int = 2, stretch: float = 1.0) -> pv.UnstructuredGrid:
    grid = pv.ImageData(dimensions=(n, n, 1), spacing=(stretch / (n - 1), 1 / (n - 1), 1)).cast_to_unstructured_grid()
    mesh = grid.triangulate()
    points = np.asarray(mesh.points, dtype=np.float64)
    mesh.points = points[:, [[2, 0, 1], [0, 2, 1], [0, 1, 2]][axis]]
    mesh.clear_data()
    return mesh


def solved(value: float, mesh: pv.DataSet | None = None, name: str = "pressure") -> pv.DataSet:
    mesh = plate() if mesh is None else mesh
    mesh.point_data[name] = 100 * value * (1 + mesh.points.sum(1))
    return mesh


def ball(value: float) -> pv.PolyData:
    mesh = pv.Icosphere(radius=1 + value / 10, nsub=1)
    mesh.clear_data()
    mesh.cell_data["p"] = value * mesh.cell_centers().points[:, 0]
    return mesh


def opened(folder: Path) -> FolderCases:
    data = datasets.open(folder)
    assert isinstance(data, FolderCases)
    return data


def test_files_with_a_table_matched_by_number(flat: Path) -> None:
    study = guess_study(flat)
    assert study.layout == "files" and study.files == "run_*.vtu" and study.tables == ("table.csv",)
    data = opened(flat)
    assert data.cases == ("run_1", "run_2", "run_10", "run_11", "run_12", "run_20")  # as a person counts
    assert data.conditions_of(2) == {"speed": 20.0, "density": 1.2} and data.numbers_of(2) == {"drag": 35.0}
    assert data.quantity_units == {"speed": "m/s", "density": "kg/m^3", "drag": "N"}
    assert "constant" in study.guesses["conditions.density"]
    assert {match.how for match in study.matching} == {"number"}
    assert [match.row for match in study.matching if match.case == "run_10"] == ["10"]
    assert data.flow_stated is False and data.fields == ("pressure",) and study.fields[0].unit == "Pa"
    check_dataset(data)


def test_a_folder_per_case_with_tables_beside_it(write: Write) -> None:
    meshes = {f"car_{i}/surface.vtp": ball(i) for i in (1, 2, 3, 12)}
    meshes |= {f"car_{i}/shape.stl": pv.Icosphere(nsub=1) for i in (1, 2, 3, 12)}
    folder = write(meshes)
    for i in (1, 2, 3, 12):
        (folder / f"car_{i}" / "coefficients.csv").write_text(f"Cd, Cl\n{i / 10}, {-i / 100}\n")
        (folder / f"car_{i}" / "residuals.csv").write_text("iteration,p\n1,0.1\n2,0.01\n")
    study, data = guess_study(folder), opened(folder)
    assert study.layout == "folders" and study.files == "car_*/surface.vtp" and data.cases[-1] == "car_12"
    assert data.numbers_of(3) == {"Cd": 1.2, "Cl": -0.12} and data.location == "cell"
    assert study.tables == ("car_*/coefficients.csv",) and "history" in study.guesses["tables"]
    assert {match.how for match in study.matching} == {"own table"}
    check_dataset(data)


def test_named_cases_in_named_folders(write: Write) -> None:
    folder = write({f"{name}/{name}.vtp": ball(i) for i, name in enumerate(("coupe", "sedan", "suv"), 1)},
                   params="car,ride height [mm],c_d\nsuv,200,0.4\ncoupe,110,0.2\nsedan,140,0.3\n")  # fmt: skip
    data = opened(folder)
    assert data.cases == ("coupe", "sedan", "suv")
    assert [data.numbers_of(i)["c_d"] for i in range(3)] == [0.2, 0.3, 0.4]
    assert data.conditions_of(2) == {"ride height": 200.0} and data.quantity_units["ride height"] == "mm"


def test_a_surface_is_preferred_to_a_volume_and_files_say_which(write: Write) -> None:
    box = pv.ImageData(dimensions=(3, 3, 3)).cast_to_unstructured_grid()
    meshes: dict[str, pv.DataSet] = {}
    for i in (1, 2, 3):
        meshes[f"run_{i}/volume_{i}.vtu"] = solved(i, box.copy(), "p")
        meshes[f"run_{i}/boundary_{i}.vtp"] = ball(i)
    folder = write(meshes)
    study = guess_study(folder)
    assert study.files == "run_*/boundary_*.vtp" and "run_*/volume_*.vtu" in study.guesses["files"]
    study.save(folder)
    text = (folder / "study.yaml").read_text()
    (folder / "study.yaml").write_text(
        text.replace("run_*/boundary_*.vtp\n", "run_*/volume_*.vtu\n").replace("place: cell", "place: point")
    )
    assert opened(folder)[0].num_cells == 8


@pytest.mark.parametrize("nested", [("train", "test"), ("data/train", "data/test"), ("training", "testing")])
def test_train_and_test_folders_are_the_split(write: Write, nested: tuple[str, str]) -> None:
    names = [f"{nested[0]}/case_{i}.vtu" for i in range(4)] + [f"{nested[1]}/case_{i}.vtu" for i in (4, 5)]
    study = guess_study(write({name: solved(i + 1) for i, name in enumerate(names)}))
    assert study.open("test").cases == ("case_4", "case_5")
    assert study.open("train").cases == tuple(f"case_{i}" for i in range(4))


def test_the_split_is_drawn_with_groups_kept_together(write: Write) -> None:
    rows = ["case,design,angle"] + [f"c_{i},{'abcde'[i % 5]},{i}" for i in range(20)]
    folder = write({f"c_{i}.vtu": solved(i + 1) for i in range(20)}, cases="\n".join(rows))
    study = guess_study(folder)
    assert study.groups == "design"
    train, test = study.open("train"), study.open("test")
    assert isinstance(train, FolderCases) and isinstance(test, FolderCases)
    assert len(set(test.groups)) == 1 and not set(test.groups) & set(train.groups) and len(test) == 4
    assert study.open("test").cases == test.cases
    from dataclasses import replace

    others = {replace(study, seed=seed).open("test").cases for seed in range(8)}
    assert len(others) > 1


def test_series_are_trajectories_and_their_last_times_cases(write: Write) -> None:
    meshes = {f"case_{c}/step_{t:04d}.vtu": solved(c + t, plate()) for c in (1, 2, 3) for t in range(5)}
    study = guess_study(write(meshes))
    assert study.layout == "series" and study.time == "all"
    data = study.open()
    assert isinstance(data, MeshTrajectoryDataset) and data.cases == ("case_1", "case_2", "case_3")
    assert data.lengths == (5, 5, 5)
    window = data.window(1, 2, 3)
    expected = 100 * (2 + 3) * (1 + plate().points.sum(1))
    np.testing.assert_allclose(window.state[1, :, 0], expected, rtol=1e-6)
    check_dataset(data)
    from dataclasses import replace

    last = replace(study, time="last").open()
    assert isinstance(last, FolderCases)
    np.testing.assert_allclose(last[0].y[:, 0], 100 * 5 * (1 + plate().points.sum(1)), rtol=1e-6)


def test_numbered_files_with_a_row_each_are_cases(write: Write) -> None:
    folder = write({f"snapshot_{t:03d}.vtu": solved(t + 1) for t in range(6)},
                   design="load,drag\n" + "\n".join(f"{t},{t * t}" for t in range(6)))  # fmt: skip
    data = opened(folder)
    assert len(data) == 6 and data.conditions_of(4) == {"load": 4.0} and data.numbers_of(4) == {"drag": 16.0}
    assert "check that the order is right" in guess_study(folder).guesses["tables"]


def test_series_that_lie_in_one_folder(write: Write) -> None:
    study = guess_study(write({f"out_t{t:03d}.vtu": solved(t + 1) for t in range(6)}))
    assert study.layout == "series" and study.open().lengths == (6,)  # type: ignore[union-attr]
    with pytest.raises(InputError, match="have one time alone"):
        from dataclasses import replace

        replace(study, files="out_t000.vtu").open()


def test_files_that_list_their_times(write: Write) -> None:
    folder = write({f"wave_{c}/wave_{c}_{t}.vtu": solved(c + t) for c in (1, 2) for t in range(4)})
    for c in (1, 2):
        sets = "".join(f'<DataSet timestep="{t / 10}" file="wave_{c}/wave_{c}_{t}.vtu"/>' for t in range(4))
        text = f'<?xml version="1.0"?><VTKFile type="Collection"><Collection>{sets}</Collection></VTKFile>'
        (folder / f"wave_{c}.pvd").write_text(text)
    study = guess_study(folder)
    assert study.files == "wave_*.pvd" and study.time == "last"  # four times: a finished case with a few states
    from dataclasses import replace

    data = replace(study, layout="series", time="all").open()
    assert isinstance(data, MeshTrajectoryDataset)
    assert data.lengths == (4, 4) and data.spec.time_step == pytest.approx(0.1)
    np.testing.assert_allclose(data.window(0, 3, 1).state[0, :, 0], 400 * (1 + plate().points.sum(1)), rtol=1e-6)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_planes_across_any_axis_are_plane(write: Write, axis: int) -> None:
    data = opened(write({f"c_{i}.vtu": solved(i, plate(axis=axis)) for i in (1, 2, 3)}))
    graph = data[0]
    assert graph.pos.shape == (25, 2) and guess_study(data.study.root).guesses
    kept = [i for i in range(3) if i != axis]
    np.testing.assert_allclose(graph.pos, plate(axis=axis).points[:, kept], atol=1e-7)
    from meshops.data.convert import to_pyvista

    np.testing.assert_allclose(to_pyvista(graph).points, plate(axis=axis).points, atol=1e-7)


def test_the_larger_family_of_two_solvers_is_taken_and_the_rest_named(write: Write) -> None:
    meshes = {f"foam_{i}.vtu": solved(i, name="p") for i in range(1, 6)}
    meshes |= {f"su2_{i}.vtu": solved(i, name="Pressure_Coefficient") for i in range(1, 4)}
    study = guess_study(write(meshes))
    assert study.files == "foam_*.vtu" and [entry.name for entry in study.fields] == ["p"]
    assert "su2_*.vtu (3)" in study.guesses["files"]


def test_odd_cases_are_left_out_with_the_reason(write: Write) -> None:
    box = pv.ImageData(dimensions=(3, 3, 3)).cast_to_unstructured_grid()
    meshes = {f"c_{i}.vtu": solved(i) for i in range(1, 7)}
    meshes["c_7.vtu"] = solved(7, box)  # 3-D among 2-D
    meshes["c_8.vtu"] = solved(8, name="other")
    meshes["c_9.vtu"] = solved(float("nan"))
    folder = write(meshes)
    (folder / "c_10.vtu").write_bytes((folder / "c_1.vtu").read_bytes()[:900])
    study = guess_study(folder)
    assert set(study.left_out) == {"c_7", "c_8", "c_9", "c_10"}
    reasons = {name: study.guesses[f"left_out.{name}"] for name in study.left_out}
    assert "volume mesh" in reasons["c_7"] and "another solver" in reasons["c_8"] and "NaN" in reasons["c_9"]
    data = study.open()
    assert len(data) == 6 and len(list(data.check())) == 4


def test_a_case_that_breaks_later_is_left_out_on_opening(flat: Path) -> None:
    study = guess_study(flat)
    (flat / "run_11.vtu").write_text("no mesh")
    with pytest.warns(DataWarning, match="'run_11' is left out"):
        data = study.open()
    assert isinstance(data, FolderCases) and len(data) == 5 and "run_11" in data.left_out
    assert data.conditions_of(data.cases.index("run_12"))["speed"] == 22.0
    lazy = study.open(check=False)
    with pytest.raises(InputError, match="run_11"):
        lazy[3]


def test_folders_that_hold_nothing(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no simulations; found no files"):
        datasets.open(tmp_path)
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "shape.stl").write_bytes(b"")
    pv.Icosphere(nsub=1).save(tmp_path / "shape.stl")
    with pytest.raises(InputError, match=r"but no fields to learn.\n1 files 'shape.stl' hold no field"):
        datasets.open(tmp_path)
    with pytest.raises(MissingDataError, match="no folder"):
        datasets.open(tmp_path / "absent")
    with pytest.raises(InputError, match="is one file"):
        datasets.open(tmp_path / "notes.txt")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_no_right_to_read(flat: Path) -> None:
    flat.chmod(0)
    try:
        with pytest.raises(InputError, match="check the permissions"):
            datasets.open(flat)
    finally:
        flat.chmod(0o755)


def test_exotic_names_links_and_hidden_files(write: Write) -> None:
    names = ["Fall ä 1", "Fall ä 2", "case [3]", "*4*", "a'b\"5", "x#6"]
    folder = write({f"{name}.vtu": solved(i + 1) for i, name in enumerate(names)})
    (folder / ".DS_Store").write_bytes(b"\x00\x01")
    (folder / "._x#6.vtu").write_bytes(b"\x00")
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    (folder / "gone.vtu").symlink_to(folder / "nowhere.vtu")
    data = opened(folder)
    assert set(data.cases) == set(names)
    again = Study.load(guess_study(folder).save(folder.parent / "elsewhere.yaml"))
    assert set(again.open().cases) == set(names)


def test_thousands_of_files_are_listed_and_few_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = []
    for i in (0, 1):
        solved(i + 1).save(tmp_path / f"run_{i}.vtu")
        contents.append((tmp_path / f"run_{i}.vtu").read_bytes())
    for i in range(2, 1500):
        (tmp_path / f"run_{i}.vtu").write_bytes(contents[i % 2])
    from meshops.datasets.folder import looking

    opened_files = []
    original = looking.read_case
    monkeypatch.setattr(looking, "read_case", lambda s, c: opened_files.append(c.name) or original(s, c))
    study = guess_study(tmp_path)
    assert len(opened_files) == looking.LOOKED_AT and "looked at" in study.guesses["fields"]


def test_values_stored_in_the_files_are_conditions(write: Write) -> None:
    meshes = {}
    for i in (1, 2, 3):
        meshes[f"c_{i}.vtu"] = solved(i)
        meshes[f"c_{i}.vtu"].field_data["angle"] = [2.5 * i]
        meshes[f"c_{i}.vtu"].field_data["max_stress"] = [9.0 * i]
    data = opened(write(meshes))
    assert data.conditions_of(1) == {"angle": 5.0} and data.numbers_of(2) == {"max_stress": 27.0}


def test_what_arrays_are(write: Write) -> None:
    meshes = {}
    for i in range(1, 6):
        mesh = solved(i)
        mesh.point_data["material"] = np.arange(25) % 3
        mesh.point_data["Normals"] = np.ones((25, 3)) * i
        mesh.point_data["same"] = np.linspace(0, 1, 25)
        mesh.point_data["dead"] = np.zeros(25)
        mesh.point_data["stress"] = np.ones((25, 6)) * i
        mesh.point_data["conductivity"] = np.ones(25) * i + mesh.points[:, 0]
        mesh.cell_data["error"] = np.ones(32) * i
        if i == 1:
            mesh.point_data["once"] = np.ones(25)
        meshes[f"c_{i}.vtu"] = mesh
    study = guess_study(write(meshes))
    assert {entry.name: entry.size for entry in study.fields} == {"pressure": 1, "stress": 6}
    assert study.inputs == ("conductivity",)
    said = study.guesses["inputs"]
    for text in ("'material' (points): whole numbers", "'Normals' (points): describes the mesh",
                 "'same' (points): is the same in all cases", "'dead' (points): is 0 everywhere",
                 "'once' (points): 4 of 5 cases lack it"):  # fmt: skip
        assert text in said
    assert "'error' at the cells" in study.guesses["fields"]
    from dataclasses import replace

    asked = replace(study, inputs=("material", "conductivity"))
    graph = asked.open()[0]
    assert graph.x_names == ("material", "conductivity") and graph.x[:4, 0].tolist() == [0, 1, 2, 0]


def test_parameters_beside_the_cases_are_conditions(write: Write) -> None:
    """JSON in each folder; what is not read is said."""
    folder = write({f"sim {i}/out.vtu": solved(i) for i in (1, 2, 3, 4)})
    for i in (1, 2, 3, 4):
        (folder / f"sim {i}" / "in.json").write_text(
            f'{{"bc": {{"load": {{"value": {i / 2}, "unit": "kN"}}}}, "by": "me"}}'
        )
    (folder / "old.xls").write_bytes(b"x")
    study = guess_study(folder)
    data = opened(folder)
    assert study.tables == ("sim */in.json",) and data.conditions_of(2) == {"load": 1.5}
    assert data.quantity_units == {"load": "kN"} and "not read: 1 .xls ('old.xls')" in study.guesses["data"]


def test_texts_that_are_no_tables_are_left_alone(write: Write) -> None:
    folder = write({f"sim_{i}.vtu": solved(i) for i in (1, 2, 3)})
    (folder / "README.txt").write_text("1 2 3\n4 5 6\n7 8 9\n")
    (folder / "log.txt").write_text("Iter 1\nIter 2\n")
    (folder / "settings.yaml").write_text("solver: {tolerance: 1e-6}\n")
    (folder / "odd.json").write_text("[1, 2")
    study = guess_study(folder)
    assert study.tables == () and study.conditions == () and "tables" not in study.guesses
    assert "1 .yaml ('settings.yaml')" in study.guesses["data"]


def test_files_that_the_pattern_takes_are_not_called_unused(write: Write) -> None:
    folder = write({f"Case {i}.vtu": solved(i) for i in (1, 2, 3)} | {"Case 2 - Copy.vtu": solved(2)})
    assert "also with fields" not in guess_study(folder).guesses["files"]


def test_texts_of_tecplot_are_cases_and_histories_are_not(tmp_path: Path) -> None:
    zone = "ZONE NODES=4, ELEMENTS=2, DATAPACKING=POINT, ZONETYPE=FETRIANGLE\n"
    points = ((0, 0), (1, 0), (1, 1), (0, 1))
    for angle in (-2.5, 0.0, 5.0):
        rows = "".join(f"{x} {y} {angle + x}\n" for x, y in points)
        text = f'TITLE = "f"\nVARIABLES = "x", "y", "Cp"\n{zone}{rows}1 2 3\n1 3 4\n'
        (tmp_path / f"flow_AOA{angle:+.1f}.dat").write_text(text)
        (tmp_path / f"history_{angle:+.1f}.dat").write_text('VARIABLES = "Iteration", "CL"\nZONE T="h"\n1 0.2\n2 0.3\n')
    study = guess_study(tmp_path)
    assert study.files == "flow_AOA*.dat" and [entry.name for entry in study.fields] == ["Cp"]
    assert opened(tmp_path).conditions_of(0) == {"AOA": 0.0} and len(opened(tmp_path)) == 3


def test_meshes_without_fields_are_learnt_with_results_and_refused_with_values_by_node(tmp_path: Path) -> None:
    """Values by node in a table for each mesh, and a table of numbers beside shapes."""
    for i in (1, 2, 3):
        plate(stretch=1 + i).extract_surface(algorithm=None).save(tmp_path / f"body-{i}.stl")
    with pytest.raises(InputError, match=r"found 3 \.stl, but no fields to learn"):
        guess_study(tmp_path)
    (tmp_path / "results.csv").write_text("file,drag\nbody-1.stl,1\nbody-2.stl,2\nbody-3.stl,3\n")
    study = guess_study(tmp_path)
    assert (study.fields, [entry.name for entry in study.numbers], study.files) == ((), ["drag"], "body-*.stl")
    assert [study.open("all").numbers_of(i) for i in range(3)] == [{"drag": float(i)} for i in (1, 2, 3)]  # type: ignore[union-attr]
    for i in (1, 2, 3):
        (tmp_path / f"body-{i}_nodes.csv").write_text("Node Label,U1\n1,0.5\n2,0.7\n")
    with pytest.raises(InputError, match=r"'body-1_nodes.csv' belongs to one of the meshes: .* columns x, y and z"):
        guess_study(tmp_path)


@pytest.mark.parametrize(
    ("numbers", "layout"),
    [(range(5), "series"), (range(0, 60, 10), "series"), (range(1, 4), "files"), ((1, 2, 4, 7, 9), "files")],
)
def test_bare_numbers_alike_in_several_folders_are_times(write: Write, numbers: range, layout: str) -> None:
    study = guess_study(write({f"run_{c}/{k}.vtu": solved(c + k) for c in (1, 2, 3) for k in numbers}))
    assert study.layout == layout


def test_networks_in_time_are_told_the_conditions_of_the_table(write: Write) -> None:
    frames = {f"run_{c}/step_{k}.vtu": solved(c + k) for c in (1, 2, 3) for k in range(5)}
    study = guess_study(write(frames, table="run,speed\n1,10\n2,20\n3,30\n"))
    data = replace(study, time="all").open("all")
    assert isinstance(data, MeshTrajectoryDataset)
    assert [data.parameters(i) for i in range(3)] == [{"speed": v} for v in (10.0, 20.0, 30.0)]
    assert varying_parameters(data) == ("speed",) and "conditions in time" not in data.remarks  # type: ignore[attr-defined]


def test_what_networks_in_time_are_not_told_is_a_finding(write: Write) -> None:
    from meshops.doctor.look import time_findings

    frames = {f"run_{c}/{k}.vtu": solved(c + k) for c in (1, 2, 3) for k in range(5)}
    folder = write(frames, table="run,speed,load\n1,10,1.2\n2,20,1.3\n3,30,\n")
    for c, last in ((1, 0.4), (2, 0.4), (3, 0.9)):
        times = [0.0, 0.1, 0.2, 0.3, last]
        sets = "".join(f'<DataSet timestep="{t}" file="{k}.vtu"/>' for k, t in enumerate(times))
        (folder / f"run_{c}" / "run.pvd").write_text(
            f'<VTKFile type="Collection"><Collection>{sets}</Collection></VTKFile>'
        )
    study = guess_study(folder)
    found = {f.kind: f.what for f in time_findings(study)}
    assert set(found) == {"uneven times", "conditions in time"}
    assert "are not told 'load': 1 cases do not state 'load' ('run_3')" in found["conditions in time"]
    assert "0.1 ('run_1') to 0.6 ('run_3') apart" in found["uneven times"]
    assert time_findings(replace(study, time="last")) == []


def test_a_column_that_cannot_be_read_as_numbers_is_told(write: Write) -> None:
    folder = write({f"run_{i}.vtu": solved(i) for i in (1, 2, 3)}, t="run,fins,q\n1,3x4,1.5\n2,3x5,2\n3,4x4,3\n")
    study = guess_study(folder)
    assert [entry.name for entry in study.conditions] == ["q"]
    assert "'fins' cannot be read as numbers ('3x4', '3x5' (and 1 more))" in study.guesses["conditions"]
