"""meshops predict for plain fields: every option works or is refused, files come back in their own format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvista as pv

import meshops
from meshops.cli.main import main
from meshops.data.writers import as_surface

TRAIN = ["--model.name", "mspt", "--model.channels", "8", "--model.depth", "1", "--model.num_heads", "1",
         "--model.num_patches", "1", "--train.steps", "4", "--train.batch_size", "1", "--train.threads", "1",
         "--train.accelerator", "cpu"]  # fmt: skip


def plate(seed: int, aoa: float) -> pv.UnstructuredGrid:
    """A jittered plane of triangles with a scalar and a vector at the points."""
    rng = np.random.default_rng(seed)
    mesh = pv.Plane(i_resolution=6, j_resolution=6).triangulate()
    mesh.clear_data()
    points = np.array(mesh.points, dtype=np.float64)
    points[:, :2] += 0.02 * rng.standard_normal((len(points), 2))
    grid = pv.UnstructuredGrid(
        np.hstack([np.full((mesh.n_cells, 1), 3), mesh.regular_faces]).ravel(), np.full(mesh.n_cells, 5), points
    )
    grid.point_data["p"] = (aoa * points[:, 0] + points[:, 1]).astype(np.float32)
    grid.point_data["u"] = np.pad(points[:, :2] * aoa, ((0, 0), (0, 1))).astype(np.float32)
    return grid


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with ``data`` and ``run`` of a surrogate that knows the condition aoa."""
    root = tmp_path_factory.mktemp("plain")
    rows = ["case,aoa [deg]"]
    for case in range(5):
        folder = root / "data" / ("test" if case == 4 else "train")
        folder.mkdir(parents=True, exist_ok=True)
        plate(case, 1.0 + case).save(folder / f"case_{case}.vtu")
        rows.append(f"case_{case},{1.0 + case}")
    (root / "data" / "cases.csv").write_text("\n".join(rows) + "\n")
    options = json.dumps({"conditions": ["aoa"], "fields": ["p", "u"]})
    command = ["train", "--data.name", "mesh_files", "--data.root", str(root / "data"), "--data.options", options]
    assert main([*command, *TRAIN, "--out", str(root / "run")]) == 0
    return root


def predict(trained: Path, file: Path | None, out: Path, *options: str) -> int:
    files = [] if file is None else [str(file)]
    return main(["predict", str(trained / "run" / "model.ckpt"), *files, "--out", str(out), *options])


@pytest.mark.parametrize("suffix", [".vtu", ".vtp", ".vtk"])
def test_a_file_comes_back_in_its_format_with_fields_at_the_points(
    trained: Path, tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    mesh = plate(7, 2.0)
    source: Any = mesh if suffix != ".vtp" else as_surface(mesh)
    source.save(tmp_path / f"in{suffix}")
    assert predict(trained, tmp_path / f"in{suffix}", tmp_path / "out", "--set", "aoa=2", "--report", "--json") == 0
    numbers = json.loads(capsys.readouterr().out)[str(tmp_path / f"in{suffix}")]
    back = pv.read(tmp_path / "out" / f"in_predicted{suffix}")
    assert type(back) is type(pv.read(tmp_path / f"in{suffix}")) and back.n_cells == mesh.n_cells
    assert not any(name.endswith("_predicted") for name in back.cell_data)
    assert back.point_data["p_predicted"].shape == (mesh.n_points,)
    assert back.point_data["u_predicted"].shape == (mesh.n_points, 3)
    np.testing.assert_array_equal(back.point_data["p"], source.point_data["p"])
    error = np.asarray(back["p_predicted"], dtype=np.float64) - source["p"]
    relative = np.linalg.norm(error) / np.linalg.norm(source["p"])
    assert numbers["errors"]["p"]["rel_l2"] == pytest.approx(relative, rel=1e-4)
    assert numbers["conditions"] == {"aoa": 2.0} and numbers["forces"] is None  # no flow was stated
    page = (tmp_path / "out" / "in_report.html").read_text()
    assert f"in_predicted{suffix}" in page and "p: error against the file" in page
    assert "drag" not in page.lower()


def test_grids_with_points_stay_grids(trained: Path, tmp_path: Path) -> None:
    image = pv.ImageData(dimensions=(7, 7, 1), spacing=(1 / 6, 1 / 6, 1), origin=(-0.5, -0.5, 0.0))
    image.save(tmp_path / "grid.vtk")
    assert predict(trained, tmp_path / "grid.vtk", tmp_path / "out", "--set", "aoa=2", "--no-pictures") == 0
    back = pv.read(tmp_path / "out" / "grid_predicted.vtk")
    assert isinstance(back, pv.ImageData) and back.point_data["p_predicted"].shape == (49,)


def test_conditions_change_the_answer_and_those_outside_are_said(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plate(7, 2.0).save(tmp_path / "in.vtu")
    fields = {}
    for aoa in ("1.5", "3.5", "40"):
        assert predict(trained, tmp_path / "in.vtu", tmp_path / aoa, "--set", f"aoa={aoa}", "--no-pictures") == 0
        fields[aoa] = pv.read(tmp_path / aoa / "in_predicted.vtu")["p_predicted"]
        told = capsys.readouterr().err
        assert ("outside the 1 to 4 of the training" in told) == (aoa == "40")
    assert not np.allclose(fields["1.5"], fields["3.5"])


def test_without_a_file_the_mesh_of_the_training_is_used(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert predict(trained, None, tmp_path / "out", "--set", "aoa=2") == 2
    assert "the training cases do not share one; give the file" in capsys.readouterr().err
    assert not (tmp_path / "out").exists() or not any((tmp_path / "out").iterdir())
    surrogate = meshops.load(trained / "run" / "model.ckpt")
    surrogate.task.reference = meshops.read(trained / "data" / "train" / "case_0.vtu", location="point", fields=())
    surrogate.task.reference.pos = surrogate.task.reference.pos[:, :2].contiguous()
    monkeypatch.setattr("meshops.surrogate.load", lambda *_, **__: surrogate)
    assert predict(trained, None, tmp_path / "out", "--set", "aoa=2.5", "--report", "--json") == 0
    numbers = json.loads(capsys.readouterr().out)["the mesh of the training"]
    assert numbers["conditions"] == {"aoa": 2.5} and numbers["errors"] == {}
    mesh = pv.read(tmp_path / "out" / "prediction_predicted.vtu")
    assert isinstance(mesh, pv.UnstructuredGrid) and mesh["p_predicted"].shape == (49,)
    same = surrogate.predict(trained / "data" / "train" / "case_0.vtu", conditions={"aoa": 2.5})
    np.testing.assert_allclose(mesh["p_predicted"], same.fields["p"], rtol=1e-5, atol=1e-6)
    for option, name in ((["--scale", "2"], "scale"), (["--region", "a"], "region"), (["--truth", "p=q"], "names")):
        assert predict(trained, None, tmp_path / "x", "--set", "aoa=2", *option) == 2
        assert f"'{name}' is for files" in capsys.readouterr().err
    assert predict(trained, None, tmp_path / "x") == 2
    assert "the condition 'aoa' is missing; give it (--set aoa=VALUE)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--truth", "q=p"], "no field 'q' to compare with a true one; the model predicts 'p', 'u'"),
        (["--truth", "p=nothing"], "no array 'nothing' to compare 'p' with; arrays: 'p', 'u'"),
        (["--no-refine"], "--no-refine is for surfaces of bodies"),
        (["--region", "body"], "leave it out"),
        (["--set", "speed=3"], "the model was not trained with the condition 'speed'; it takes 'aoa'"),
        (["--set", "aoa=fast"], "a condition is a number"),
        (["--set", "aoa"], "is not of the form key=value"),
        (["--passes", "0"], "--passes must be at least 1"),
        (["--passes", "3"], "--passes is for surrogates that learnt from subsets"),
        (["--method", "anchored"], "--method is for surrogates that learnt from subsets"),
        (["--chunk-size", "0"], "--chunk-size must be at least 1"),
        (["--scale", "0"], "--scale must be a positive number"),
        (["--device", "gpu"], "device must be cpu, cuda"),
    ],
)
def test_options_that_would_be_ignored_are_refused(
    trained: Path, tmp_path: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    plate(7, 2.0).save(tmp_path / "in.vtu")
    given = [] if options[0] == "--set" else ["--set", "aoa=2"]
    assert predict(trained, tmp_path / "in.vtu", tmp_path / "out", *given, *options) == 2
    error = capsys.readouterr().err
    assert message in error and 1 <= len(error.strip().splitlines()) <= 3
    assert not (tmp_path / "out").exists() or not any((tmp_path / "out").iterdir())


def test_scale_and_other_names_of_the_truth(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mesh = plate(7, 2.0)
    mesh.save(tmp_path / "m.vtu")
    mesh.points = np.asarray(mesh.points) * 1000
    mesh.point_data["pressure_gauge"] = mesh.point_data["p"]
    del mesh.point_data["p"]
    mesh.save(tmp_path / "mm.vtu")
    common = ("--set", "aoa=2", "--no-pictures", "--json")
    assert predict(trained, tmp_path / "m.vtu", tmp_path / "out", *common) == 0
    one = json.loads(capsys.readouterr().out)[str(tmp_path / "m.vtu")]
    options = ("--scale", "0.001", "--truth", "p=pressure_gauge")
    assert predict(trained, tmp_path / "mm.vtu", tmp_path / "out", *common, *options) == 0
    other = json.loads(capsys.readouterr().out)[str(tmp_path / "mm.vtu")]
    assert other["errors"]["p"]["rel_l2"] == pytest.approx(one["errors"]["p"]["rel_l2"], rel=1e-3)
    assert any("multiplied by 0.001" in note for note in other["notes"])


def test_results_of_another_file_are_not_overwritten(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        plate(3, 2.0).save(tmp_path / folder / "run.vtu")
    common = ("--set", "aoa=2", "--no-pictures")
    assert predict(trained, tmp_path / "a" / "run.vtu", tmp_path / "out", *common) == 0
    before = (tmp_path / "out" / "run.json").read_bytes()
    assert predict(trained, tmp_path / "b" / "run.vtu", tmp_path / "out", *common) == 2
    assert f"results of {tmp_path / 'a' / 'run.vtu'} would be overwritten" in capsys.readouterr().err
    assert (tmp_path / "out" / "run.json").read_bytes() == before
    assert predict(trained, tmp_path / "a" / "run.vtu", tmp_path / "out", *common) == 0  # its own
    assert predict(trained, tmp_path / "b" / "run.vtu", tmp_path / "out", *common, "--overwrite") == 0
    (tmp_path / "out" / "mine.json").write_text("[1, 2]")
    plate(3, 2.0).save(tmp_path / "mine.vtu")
    assert predict(trained, tmp_path / "mine.vtu", tmp_path / "out", *common) == 2
    assert "a file of yours would be overwritten" in capsys.readouterr().err


def test_a_surrogate_behind_a_yardstick_says_so(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Four steps learn nothing; the test case is like the nearest training case."""
    metrics = json.loads((trained / "run" / "metrics.json").read_text())
    assert set(metrics["baselines"]) == {"mean", "nearest", "average"}
    best = min(row["p_rel_l2"] for row in metrics["baselines"].values())
    assert best < metrics["mean"]["p_rel_l2"]
    plate(7, 2.0).save(tmp_path / "in.vtu")
    assert predict(trained, tmp_path / "in.vtu", tmp_path / "out", "--set", "aoa=2", "--no-pictures") == 0
    assert "warning: on held-out cases this surrogate is worse than" in capsys.readouterr().err
    command = ["evaluate", str(trained / "run" / "model.ckpt"), "--data", str(trained / "data"), "--yardsticks"]
    assert main([*command, "--option", 'conditions=["aoa"]']) == 0
    out = capsys.readouterr().out
    assert "nearest" in out and "average" in out and "no skill there" in out


def test_ctrl_c_between_files_says_what_is_done(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from meshops.surrogate import Surrogate

    files = []
    for name in ("a", "b", "c"):
        plate(3, 2.0).save(tmp_path / f"{name}.vtu")
        files.append(str(tmp_path / f"{name}.vtu"))
    original = Surrogate.predict

    def stopped(self: Surrogate, source: Any = None, **options: Any) -> Any:
        if str(source).endswith("b.vtu"):
            raise KeyboardInterrupt
        return original(self, source, **options)

    monkeypatch.setattr(Surrogate, "predict", stopped)
    command = ["predict", str(trained / "run" / "model.ckpt"), *files, "--out", str(tmp_path / "out"), "--set", "aoa=2"]
    assert main([*command, "--no-pictures"]) == 130
    assert f"stopped; 1 predicted in {tmp_path / 'out'}, 2 left" in capsys.readouterr().err
    assert (tmp_path / "out" / "a_predicted.vtu").is_file()


@pytest.mark.parametrize(
    "arguments",
    [
        ["predict", "nosuch.ckpt", "x.stl"],
        ["predict", "nosuch.ckpt", "--set", "a=1"],
        ["evaluate", "nosuch.ckpt", "--data", "x"],
        ["compress", "nosuch.ckpt", "--out", "x.ckpt"],
        ["train", "nosuch.yaml"],
        ["data", "check", "nosuch"],
        ["partition", "nosuch.vtu"],
        ["demo", "--nosuch"],
    ],
    ids=" ".join,
)
def test_what_is_not_there_is_said_before_anything_heavy_is_loaded(arguments: list[str], tmp_path: Path) -> None:
    import subprocess
    import sys

    code = (
        f"import sys\nfrom meshops.cli.main import main\ncode = main({arguments!r})\n"
        "heavy = [name for name in ('torch', 'vtkmodules', 'lightning', 'pyvista') if name in sys.modules]\n"
        "print(code, heavy)\n"
    )
    root = str(Path(__file__).resolve().parents[2])
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": root, "PATH": "", "HOME": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.stdout.strip() == "2 []", found.stdout + found.stderr
    assert found.stderr.count("\n") <= 3 and "nosuch" in found.stderr


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with the fields at the cells."""
    root = tmp_path_factory.mktemp("cells")
    for case in range(3):
        folder = root / "data" / ("test" if case == 2 else "train")
        folder.mkdir(parents=True, exist_ok=True)
        at_cells(plate(case, 1.0 + case)).save(folder / f"case_{case}.vtu")
    options = json.dumps({"fields": ["p", "u"]})
    command = ["train", "--data.name", "mesh_files", "--data.root", str(root / "data"), "--data.options", options]
    assert main([*command, *TRAIN, "--out", str(root / "run")]) == 0
    return root


def at_cells(mesh: pv.UnstructuredGrid) -> pv.UnstructuredGrid:
    out = mesh.copy()
    moved = mesh.point_data_to_cell_data()
    out.clear_data()
    for name in ("p", "u"):
        out.cell_data[name] = moved.cell_data[name]
    return out


def test_cells_stay_cells_and_parts_stay_parts(cells: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = at_cells(plate(9, 2.0))
    side = whole.cell_centers().points[:, 0] > 0
    blocks = pv.MultiBlock({"left": whole.extract_cells(~side), "right": whole.extract_cells(side)})
    for block in blocks:
        for name in ("vtkOriginalCellIds", "vtkOriginalPointIds"):
            for data in (block.cell_data, block.point_data):
                if name in data:
                    del data[name]
    blocks.save(tmp_path / "two.vtm")
    whole.save(tmp_path / "one.vtu")
    out = tmp_path / "out"
    assert predict(cells, tmp_path / "one.vtu", out, "--no-pictures") == 0
    back = pv.read(out / "one_predicted.vtu")
    assert back.cell_data["u_predicted"].shape == (whole.n_cells, 3) and "p_predicted" not in back.point_data
    assert predict(cells, tmp_path / "two.vtm", out, "--no-pictures", "--report") == 0
    parts = pv.read(out / "two_predicted.vtm")
    assert parts.keys() == ["left", "right"]
    for name in parts.keys():
        part, before = parts[name], blocks[name]
        assert part.n_cells == before.n_cells and part.n_points == before.n_points
        np.testing.assert_array_equal(part.cell_data["p"], before.cell_data["p"])
        np.testing.assert_allclose(
            part.cell_data["p_error"], part.cell_data["p_predicted"] - part.cell_data["p"], atol=1e-6
        )
    capsys.readouterr()
    assert predict(cells, tmp_path / "two.vtm", tmp_path / "right", "--region", "right", "--no-pictures") == 0
    alone = pv.read(tmp_path / "right" / "two_predicted.vtm")
    assert alone.keys() == ["right"] and alone["right"].n_cells == int(side.sum())
    assert predict(cells, tmp_path / "two.vtm", tmp_path / "no", "--region", "middle") == 2
    assert "there is no part 'middle'" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["grid.vti", "grid.vtr", "grid.vts", "grid.vtk"])
def test_structured_grids_with_cell_fields(cells: Path, tmp_path: Path, name: str) -> None:
    image = pv.ImageData(dimensions=(7, 6, 1), spacing=(1 / 6, 0.2, 1), origin=(-0.5, -0.5, 0.0))
    rectilinear = pv.RectilinearGrid(np.linspace(-0.5, 0.5, 7), np.linspace(-0.5, 0.5, 6), [0.0])
    grid = {".vtr": rectilinear, ".vts": image.cast_to_structured_grid()}.get(Path(name).suffix, image)
    grid.cell_data["p"] = np.linspace(0, 1, grid.n_cells)
    grid.save(tmp_path / name)
    assert predict(cells, tmp_path / name, tmp_path / "out", "--no-pictures", "--scale", "2") == 0
    back = pv.read(tmp_path / "out" / f"grid_predicted{Path(name).suffix}")
    assert type(back) is type(grid) and back.dimensions == grid.dimensions
    assert back.cell_data["u_predicted"].shape == (30, 3)
    np.testing.assert_allclose(back.bounds, 2 * np.array(grid.bounds), atol=1e-4)  # text of six digits
    np.testing.assert_allclose(
        back.cell_data["p_error"], back.cell_data["p_predicted"] - grid.cell_data["p"], atol=1e-5
    )
