"""Damaged and hostile files: no crash, hang, traceback or large memory, one sentence each, and the others go on."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import pyvista as pv

from meshops.solvers.ahmed_body import ahmed_body

ROOT = Path(__file__).resolve().parents[2]
SECONDS, MEMORY = 60.0, 1500.0  # for one file; MB of the process and of those it started
Outcome = dict[str, Any]

MESHES = (
    "abort_blocks.vtu", "abort_count.vtp", "abort_length.vtp", "faces.vtu", "fpe_lz4.vtu", "hang_count.vtp",
    "hang_grid.vtk", "hang_text_grid.vtk", "hang_xml.vtp", "index.obj", "index_poly.vtk", "memory.vtp", "negative.vtk",
    "plate_refine.vtp", "segv.obj", "segv_grid.vtk", "segv_poly.vtk", "segv_xml.vtp",
)  # fmt: skip
# File of fuzz/data -> the file of the stand-in whose place it takes (a pattern, the first), or name under which it
# lies beside.
DATA = {
    "shapenet_car/press_truncated.npy": "**/press.npy",
    "shapenet_car/press_code_in_header.npy": "**/press.npy",
    "shapenet_car/press_huge.npy": "**/press.npy",
    "shapenet_car/press_object.npy": "**/press.npy",
    "elasticity/Random_UnitCell_XY_10_negative.npy": "**/Random_UnitCell_XY_10.npy",
    "elasticity/Random_UnitCell_sigma_10_huge.npy": "**/Random_UnitCell_sigma_10.npy",
    "cfdbench/case_null.json": "**/case.json",
    "cfdbench/case_text.json": "**/case.json",
    "ahmed_ml/force_mom_not_utf8.csv": "**/force_mom_[0-9]*.csv",
    "eagle/valid_not_utf8.txt": "**/valid.txt",
    "mesh_graph_nets/meta_huge.json": "**/meta.json",
    "the_well/stats_damaged.yaml": "**/stats.yaml",
    "the_well/scalar.hdf5": "**/*.hdf5",
    "the_well/bits.hdf5": "**/*.hdf5",
    "the_well/free_list.hdf5": "**/*.hdf5",
    "the_well/shape.hdf5": "**/*.hdf5",
    "the_well/no_attribute.hdf5": "**/*.hdf5",
    "pdebench/link_loop.h5": "**/*.h*5",
    "pdebench/dangling_link.h5": "**/*.h*5",
    "pdebench/group_for_dataset.hdf5": "**/*.h*5",
    "pdebench/huge_channels.h5": "**/*.h*5",
    "pdebench/huge_axis.hdf5": "**/*.h*5",
    "mesh_files/hang.vtu": "**/*.vtu",
}
STAND_INS: dict[str, dict[str, Any]] = {
    "pdebench": {"resolution": 16}, "the_well": {"resolution": 16, "frames": 6},
}  # fmt: skip
YAML = ("bomb1.yaml", "bomb2.yaml", "date.yaml", "int.yaml", "deep.yaml", "rec.yaml", "latin.yaml")
CHECKPOINTS = (
    "no_spec.ckpt", "no_version.ckpt", "text_version.ckpt", "other_task.ckpt", "huge_depth.ckpt", "passes_zero.ckpt",
    "nan_weights.ckpt", "field_path.ckpt",
)  # fmt: skip


def run(commands: dict[str, list[str]], folder: Path) -> dict[str, Outcome]:
    """Outcome of each command; one that ends the process or takes too long is named, the others go on after it."""
    found: dict[str, Outcome] = {}
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    left = dict(commands)
    while left:
        (folder / "commands.json").write_text(json.dumps(left))
        results = folder / "results.jsonl"
        results.unlink(missing_ok=True)
        helper = Path(__file__).with_name("run_commands.py")
        command = [sys.executable, str(helper), str(folder / "commands.json"), str(results)]
        try:
            ended: object = subprocess.run(command, cwd=folder, env=env, timeout=60 + SECONDS * len(left)).returncode
        except subprocess.TimeoutExpired:
            ended = "hang"
        rows = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
        found |= {row["name"]: row for row in rows}
        left = {name: command for name, command in left.items() if name not in found}
        if left:
            name = next(iter(left))
            found[name] = {"code": ended, "out": "", "err": "", "seconds": 0.0, "memory": 0.0}
            del left[name]
    return found


def check(outcome: Outcome, codes: tuple[int, ...] = (2,)) -> None:
    """One of the codes, one to three lines beside notes and progress, in time, without a traceback or much memory."""
    assert outcome["code"] in codes, outcome
    assert "Traceback" not in outcome["err"] + outcome["out"]
    assert outcome["seconds"] < SECONDS and outcome["memory"] < MEMORY
    if outcome["code"] == 2:
        lines = outcome["err"].rstrip().splitlines()
        said = [line for line in lines if not re.match(r"note: |  \w[\w ]*: \d+/\d+ ", line)]
        assert 1 <= len(said) <= 3 and len(outcome["err"]) < 2000, outcome["err"]


@pytest.fixture(scope="module")
def fuzz(shared_data: Path) -> Path:
    return shared_data / "fuzz"


@pytest.fixture(scope="module")
def body(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shape = {"length": 1.0, "width": 0.36, "height": 0.29, "front_radius": 0.1, "slant_length": 0.2,
             "slant_angle": 20.0, "ground_clearance": 0.05}  # fmt: skip
    path = tmp_path_factory.mktemp("body") / "sound.stl"
    ahmed_body(**shape).save(path)
    return path


@pytest.fixture(scope="module")
def meshes(fuzz: Path, checkpoint: Path, body: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    folder = tmp_path_factory.mktemp("meshes")
    copies = [str(shutil.copy(body, folder / f"sound_{place}.stl")) for place in ("first", "last")]
    files = {name: str(fuzz / "mesh" / name) for name in MESHES}
    options = ["--no-pictures", "--out"]
    commands = {
        name: ["predict", str(checkpoint), path, *options, str(folder / f"out {name}")] for name, path in files.items()
    }
    several = [copies[0], *files.values(), copies[1]]
    return run({**commands, "all": ["predict", str(checkpoint), *several, *options, str(folder / "all")]}, folder) | {
        "written": {"files": sorted(path.name for path in (folder / "all").iterdir())}
    }


@pytest.mark.parametrize("name", MESHES)
def test_meshes(name: str, meshes: dict[str, Outcome]) -> None:
    check(meshes[name])
    assert name in meshes[name]["err"]


def test_the_others_are_predicted(meshes: dict[str, Outcome]) -> None:
    outcome = meshes["all"]
    assert outcome["code"] == 2 and "Traceback" not in outcome["err"] and outcome["memory"] < MEMORY
    assert outcome["seconds"] < SECONDS * len(MESHES)
    failures = [line for line in outcome["err"].splitlines() if line.startswith("meshops predict: ")]
    assert len(failures) == len(MESHES)
    assert meshes["written"]["files"] == [
        f"sound_{place}{end}" for place in ("first", "last") for end in (".json", "_predicted.vtp")
    ]


@pytest.fixture(scope="module")
def data(fuzz: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    from meshops.datasets.registry import dataset_class

    folder, commands = tmp_path_factory.mktemp("data"), {}
    for kind in {name.split("/")[0] for name in DATA}:
        dataset_class(kind).standin(folder / kind, 4, **STAND_INS.get(kind, {}))
    for name, pattern in DATA.items():
        kind, file = name.split("/")
        root = folder / f"{kind} {file}"
        shutil.copytree(folder / kind, root)
        places = sorted(root.glob(pattern))
        assert places, f"the stand-in of {kind} has no {pattern}: {sorted(root.rglob('*'))[:20]}"
        place = places[0] if places[0].suffix == Path(file).suffix else places[0].with_suffix(Path(file).suffix)
        places[0].unlink()
        shutil.copy(fuzz / "data" / name, place)
        commands[name] = ["data", "check", str(root), "--name", kind]
        commands[f"guessed {name}"] = ["data", "check", str(root)]
    commands["statistics"] = [
        "call", f"meshops.datasets.create('the_well', {str(folder / 'the_well stats_damaged.yaml')!r}).statistics()"
    ]  # fmt: skip
    return run(commands, folder)


@pytest.mark.parametrize("name", [name for name in DATA if not name.endswith("stats_damaged.yaml")])
def test_data(name: str, data: dict[str, Outcome]) -> None:
    check(data[name], codes=(1, 2))
    guessed = data[f"guessed {name}"]
    check(guessed, codes=(0, 1, 2))


def test_statistics(data: dict[str, Outcome]) -> None:
    check(data["statistics"])
    assert "stats.yaml" in data["statistics"]["err"]


@pytest.fixture(scope="module")
def runs(fuzz: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    folder = tmp_path_factory.mktemp("runs")
    mesh = pv.Sphere(theta_resolution=8, phi_resolution=8)
    mesh.clear_data()
    mesh.save(folder / "ball.vtp")
    pv.ImageData(dimensions=(5, 5, 1)).cast_to_unstructured_grid().save(folder / "plane.vtu")
    commands = {name: ["train", str(fuzz / "yaml" / name), "--out", str(folder / "run")] for name in YAML}
    commands |= {f"look {name}": ["look", str(fuzz / "yaml" / name)] for name in YAML}
    commands |= {f"config {name}": ["train", "--config", str(fuzz / "yaml" / name)] for name in YAML}
    for name in CHECKPOINTS:
        for mesh_name in ("ball.vtp", "plane.vtu"):
            commands[f"{name} {mesh_name}"] = [
                "predict", str(fuzz / "checkpoint" / name), str(folder / mesh_name), "--out",
                str(folder / name / "in" / "out"),
            ]  # fmt: skip
        commands[f"load {name}"] = ["call", f"meshops.load({str(fuzz / 'checkpoint' / name)!r})"]
    outcomes = run(commands, folder)
    return outcomes | {"escaped": {"files": [str(p) for p in folder.rglob("*escaped*")]}}


@pytest.mark.parametrize("name", YAML)
def test_run_files(name: str, runs: dict[str, Outcome]) -> None:
    for key in (name, f"look {name}", f"config {name}"):
        check(runs[key])


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_checkpoints(name: str, runs: dict[str, Outcome]) -> None:
    harmless = name == "field_path.ckpt"
    for mesh in ("ball.vtp", "plane.vtu"):
        check(runs[f"{name} {mesh}"], codes=(0, 2) if harmless else (2,))
    check(runs[f"load {name}"], codes=(0, 2) if harmless else (2,))
    if runs[f"load {name}"]["code"] == 2:
        assert runs[f"load {name}"]["err"].startswith("CheckpointError: ")
    assert not [path for path in runs["escaped"]["files"] if "/in/out/" not in path]
