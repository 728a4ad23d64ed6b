"""Whatever a study holds is trained on and predicts on its own files, at the place of its fields."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvista as pv

import meshops
from meshops.cli.main import main
from meshops.datasets import FolderCases, guess_study
from meshops.training import DataConfig, RunConfig, TrainConfig, train

MODELS: dict[str, dict[str, Any]] = {
    "mppde": {"name": "mppde", "channels": 8, "depth": 1},
    "mspt": {"name": "mspt", "channels": 16, "depth": 1, "num_heads": 2, "num_patches": 4},
}


def flat_mesh(i: int, axis: int) -> pv.DataSet:
    mesh = pv.ImageData(dimensions=(6, 5, 1), spacing=(1 + i / 10, 1, 1)).cast_to_unstructured_grid()
    points = np.asarray(mesh.points)
    mesh.points = points[:, [[2, 0, 1], [0, 2, 1], [0, 1, 2]][axis]]
    return mesh


MESHES: dict[str, Callable[[int], pv.DataSet]] = {
    "plane": lambda i: flat_mesh(i, 2),
    "plane across x": lambda i: flat_mesh(i, 0),
    "surface": lambda i: pv.Icosphere(radius=1 + i / 10, nsub=1),
    "volume": lambda i: pv.ImageData(dimensions=(4, 3, 3), spacing=(1 + i / 10, 1, 1)).cast_to_unstructured_grid(),
}


def write_study(folder: Path, kind: str, place: str) -> Path:
    """Six cases with a vector and a whole number as inputs, a scalar and a vector as fields, a table."""
    folder.mkdir(parents=True)
    rows = ["case,load [kN],max_u"]
    for i in range(6):
        mesh = MESHES[kind](i)
        where = mesh.cell_centers().points if place == "cell" else np.asarray(mesh.points)
        data = mesh.cell_data if place == "cell" else mesh.point_data
        mesh.clear_data()
        data["force"] = where * (i + 1)
        data["material"] = (np.arange(len(where)) % 2).astype(np.int32)
        data["u"] = i + where.sum(1)
        data["flux"] = where * (i + 2)
        mesh.save(folder / f"part_{i}{'.vtp' if kind == 'surface' else '.vtu'}")
        rows.append(f"part_{i},{i + 0.5},{float(data['u'].max())}")
    (folder / "cases.csv").write_text("\n".join(rows))
    return folder


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("place", ["point", "cell"])
@pytest.mark.parametrize("kind", MESHES)
def test_own_files_are_predicted(tmp_path: Path, kind: str, place: str, model: str) -> None:
    from dataclasses import replace

    folder = write_study(tmp_path / "data", kind, place)
    study = guess_study(folder)
    fields = tuple(entry for entry in study.fields if entry.name in ("u", "flux"))
    study = replace(study, inputs=("force", "material"), fields=fields)
    assert study.place == place and [c.name for c in study.conditions] == ["load"]
    path = study.save(folder)
    config = RunConfig(
        model=MODELS[model], data=DataConfig(name="study", root=str(path)), out=str(tmp_path / "run"),
        train=TrainConfig(steps=2, accelerator="cpu"),
    )  # fmt: skip
    result = train(config)
    spec = result.surrogate.spec
    assert spec.inputs == ("force_0", "force_1", "force_2", "material") and spec.conditions == ("load",)
    test = study.open("test")
    assert isinstance(test, FolderCases)
    file = test.files(0)["mesh"]
    loaded = meshops.load(tmp_path / "run" / "model.ckpt")
    prediction = loaded.predict(file, conditions=test.conditions_of(0))
    of_graph = loaded.evaluate(test).cases[test.cases[0]]
    rows = pv.read(file).n_cells if place == "cell" else pv.read(file).n_points
    assert prediction.fields["u"].shape == (rows,) and prediction.fields["flux"].shape == (rows, 3)
    errors = prediction.errors
    assert errors["u"]["rel_l2"] == pytest.approx(of_graph["u_rel_l2"], rel=1e-4)
    mesh = prediction.mesh
    data = mesh.cell_data if place == "cell" else mesh.point_data
    assert data["u_predicted"].shape == (rows,)


def test_the_cases_of_others(shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Vectors as inputs, and fields at the cells: the figures of the files."""
    for name, options, inner, edges in (
        ("vector-inputs/input", {"inputs": ["coefficient", "force"], "fields": ["u"]}, "test/case_4.vtu", 322),
        ("cell-fields-folder/input/cells", {"inputs": ["conductivity"], "fields": ["T"]}, "test/case_4.vtu", 168),
    ):
        folder, run = shared_data / "field" / name, tmp_path / name.split("/")[0]
        command = [
            "train", "--kind", "fields", "--data.name", "mesh_files", "--data.root", str(folder), "--data.options",
            json.dumps(options), "--model", json.dumps(MODELS["mppde"]), "--train.steps", "2",
            "--train.accelerator", "cpu", "--out", str(run),
        ]  # fmt: skip
        assert main(command) == 0
        capsys.readouterr()
        file = str(folder / inner)
        assert main(["predict", str(run / "model.ckpt"), file, "--out", str(run / "out"), "--json"]) == 0
        found = json.loads(capsys.readouterr().out)[file]
        wanted = meshops.datasets.MeshFiles(folder, "test", **options)  # type: ignore[arg-type]
        assert wanted[0].edge_index.shape == (2, edges)
        report = meshops.load(run / "model.ckpt").evaluate(wanted)
        key = options["fields"][0]
        assert found["errors"][key]["rel_l2"] == pytest.approx(report.cases["case_4"][f"{key}_rel_l2"], rel=1e-4)
    mesh = pv.read(tmp_path / "cell-fields-folder" / "out" / "case_4_predicted.vtu")
    assert len(mesh.cell_data["T_predicted"]) == 49 and len(mesh.cell_data["T_error"]) == 49


@pytest.mark.parametrize(("name", "cases"), [("flat", 6), ("legacy", 6), ("cells", 6)])
def test_a_sound_folder_has_no_problem(
    shared_data: Path, name: str, cases: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "check", str(shared_data / "field" / "cell-fields-folder" / "input" / name)]) == 0
    assert f"{cases} cases, 0 problems" in capsys.readouterr().out


def test_other_components_are_listed_and_stop_a_run(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(shared_data / "field" / "components-differ" / "input")
    assert main(["data", "check", folder, "--name", "mesh_files"]) == 1
    found = capsys.readouterr().out
    assert "case_1 (case_1.vtu): the array 'force' has 2 components, in the other cases 3" in found
    assert "case_2 (case_2.vtu): the array 'u' has 1 components, in the other cases 3" in found
    command = ["train", "--kind", "fields", "--data.name", "mesh_files", "--data.root", folder,
               "--data.options", '{"inputs": ["force"]}', "--model", json.dumps(MODELS["mppde"]),
               "--out", str(tmp_path / "run")]  # fmt: skip
    assert main(command) == 2
    assert "case_1.vtu: the array 'force' has 2 components" in capsys.readouterr().err
