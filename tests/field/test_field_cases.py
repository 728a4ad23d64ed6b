"""Files of others on which this library failed: each comes out as its ``expected.md`` says, through the front door."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvista as pv

import meshops
from meshops.cli.main import main
from meshops.data.readers import open_mesh, read_mesh
from meshops.data.surface import outward_geometry, volume_geometry
from meshops.data.volume_body import extract_body
from meshops.errors import DataWarning, InputError

AREA, VOLUME, FRONT = 0.496834, 0.032737, 0.12509  # of the sphere of most files
Told = Callable[..., tuple[dict[str, Any], str]]


@pytest.fixture
def field(shared_data: Path) -> Path:
    return shared_data / "field"


@pytest.fixture
def predicted(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Told:
    """Predict a file; the numbers and what was said. The JSON is valid: no NaN."""

    def refuse(text: str) -> float:
        raise AssertionError(f"{text} is no JSON")

    def run(file: Path, *options: str) -> tuple[dict[str, Any], str]:
        capsys.readouterr()
        out = tmp_path / "out"
        command = ["predict", str(checkpoint), str(file), "--out", str(out), "--no-pictures", "--overwrite", "--json"]
        assert main([*command, *options]) == 0
        said = capsys.readouterr()
        json.loads((out / f"{file.stem}.json").read_text(), parse_constant=refuse)
        numbers: dict[str, Any] = json.loads(said.out, parse_constant=refuse)[str(file)]
        return numbers, said.err

    return run


def drag(file: Path, region: str | None = None) -> float:
    """Integral of ``pMean = -(x - 0.5)``, or of the file's own, over the surface, with a flow of speed 1 along x."""
    mesh = read_mesh(file, region=region)
    center, normal, area = outward_geometry(mesh)
    pressure = mesh.cell_data["pMean"] if "pMean" in mesh.cell_data else -(center[:, 0] - 0.5)
    return -float((np.asarray(pressure) * normal[:, 0] * area).sum())


def geometry(file: Path) -> tuple[float, float, float]:
    """Area, enclosed volume and closure of a surface."""
    center, normal, area = outward_geometry(read_mesh(file))
    vectors = normal * area[:, None]
    return float(area.sum()), float((center * vectors).sum() / 3), float(np.linalg.norm(vectors.sum(0)))


# doubled-faces, inside-out


@pytest.mark.parametrize(
    ("name", "cells", "twice"),
    [("every_face_twice", 1440, 720), ("some_faces_twice", 920, 200), ("two_sided", 1440, 720)],
)
def test_doubled_faces_count_once(field: Path, predicted: Told, tmp_path: Path, name: str, cells: int, twice: int):
    file = field / "doubled-faces" / "input" / f"{name}.stl"
    assert geometry(file)[:2] == pytest.approx((AREA, VOLUME), rel=1e-4)
    assert drag(file) == pytest.approx(VOLUME, rel=1e-3)
    graph = meshops.read(file)
    assert any(f"{twice} faces are there more than once" in note for note in graph.notes)
    numbers, said = predicted(file)
    assert f"{twice} faces are there more than once" in said and "more than two cells" not in said
    assert numbers["nodes"] == cells and numbers["forces"]["closure"] < 1e-6
    written = pv.read(tmp_path / "out" / f"{name}_predicted.vtp")
    assert written.n_cells == cells
    center = np.round(written.cell_centers().points, 6)
    _, face = np.unique(center, axis=0, return_inverse=True)
    pressure = written.cell_data["pMean_predicted"]
    first = np.full(face.max() + 1, np.nan)
    first[face.ravel()] = pressure
    assert face.max() + 1 == 720 and np.array_equal(first[face.ravel()], pressure)


def test_an_inward_surface_is_turned_and_told(field: Path, predicted: Told):
    file = field / "inside-out" / "input" / "inside_out.stl"
    assert geometry(file)[:2] == pytest.approx((AREA, VOLUME), rel=1e-4)
    assert "720 of 720 normals were turned" in predicted(file)[1]


def test_a_cavity_is_kept(field: Path, predicted: Told):
    file = field / "inside-out" / "input" / "hollow.stl"
    assert geometry(file)[1] == pytest.approx(0.028818, rel=1e-3) and drag(file) == pytest.approx(0.028818, rel=1e-3)
    said = predicted(file)[1]
    assert "240 cells face into a body they lie in and were kept as walls of a cavity" in said and "turned" not in said


# stl-dialects

DIALECTS = {
    "binary_with_count_minus_one": "count", "binary_with_trailing_bytes": "37 bytes",
    "byte_order_mark": "byte order mark", "comment_after_the_end": "behind the last", "end_loop_in_two_words": "'end'",
    "end_solid_in_two_words": "'end'", "long_name": "name of a solid", "upper_case": "", "plain": "",
}  # fmt: skip


@pytest.mark.parametrize("name", DIALECTS)
def test_dialects_of_stl(field: Path, predicted: Told, name: str):
    file = field / "stl-dialects" / "input" / f"{name}.stl"
    mesh = read_mesh(file)
    area, volume, closure = geometry(file)
    assert mesh.n_cells == 96 and len(np.unique(mesh.points, axis=0)) == 50 and closure < 1e-6
    assert (area, volume) == pytest.approx((0.465411, 0.028676), abs=2e-6)
    assert DIALECTS[name] in predicted(file)[1]


@pytest.mark.parametrize("share", [0.05, 0.4, 0.6, 0.9, 0.999])
def test_a_cut_stl_is_refused(field: Path, tmp_path: Path, share: float):
    for name in ("plain", "upper_case", "binary_with_trailing_bytes"):
        content = (field / "stl-dialects" / "input" / f"{name}.stl").read_bytes()
        if name.startswith("binary"):
            content = content[:-37]
        cut = tmp_path / f"{name}.stl"
        cut.write_bytes(content[: int(share * len(content))])
        with pytest.raises(InputError, match=rf"{name}.stl"):
            read_mesh(cut)


# gmsh-physical, su2-line-ends, other-msh


@pytest.mark.parametrize("name", ["all_named", "some_named"])
def test_gmsh_with_physical_groups(field: Path, name: str):
    file = field / "gmsh-physical" / "input" / f"{name}.msh"
    graph = meshops.read(file, location="cell")
    assert graph.num_nodes == 4 and graph.num_cells == 4 and float(graph.area.sum()) == pytest.approx(1.0)
    mesh = read_mesh(file)
    assert mesh.n_points == 5
    for array in mesh.cell_data.values():
        assert len(array) == 4
    with pytest.raises(InputError, match=r"no part 'nothing'.*domain"):
        read_mesh(file, region="nothing")


def test_su2_with_windows_line_ends(field: Path):
    folder = field / "su2-line-ends" / "input"
    reference = read_mesh(folder / "bare_unix.su2")
    for name in ("bare_unix", "bare_windows", "commented_unix", "commented_windows"):
        mesh = read_mesh(folder / f"{name}.su2")
        assert (mesh.n_cells, mesh.n_points) == (576, 625)
        assert np.array_equal(mesh.points, reference.points) and mesh.points.dtype == reference.points.dtype
        assert float(meshops.read(folder / f"{name}.su2", location="cell").area.sum()) == pytest.approx(0.25)


def test_other_files_under_a_known_ending(field: Path, checkpoint: Path, tmp_path: Path, capsys: Any):
    folder = field / "other-msh" / "input"
    graph = meshops.read(folder / "two_triangles_fluent.msh", location="cell")
    assert graph.num_nodes == 2 and float(graph.area.sum()) == pytest.approx(1)
    capsys.readouterr()
    file = str(folder / "multiblock_named.vtp")
    assert main(["predict", str(checkpoint), file, "--out", str(tmp_path / "out")]) == 2
    assert "the content is not '.vtp' but a multi-block index (.vtm)" in capsys.readouterr().err


# openfoam-decomposed, openfoam-patches


@pytest.mark.parametrize("name", ["not_reconstructed", "older_reconstructed"])
def test_the_newest_time_of_a_parallel_run(field: Path, predicted: Told, name: str):
    case = field / "openfoam-decomposed" / "input" / name
    volume = meshops.read(case)
    assert volume.num_nodes == 68
    x, z = volume.pos[:, 0], volume.pos[:, 2]
    assert float((volume.field("pMean").ravel() - (-x + 0.1 * z)).abs().max()) < 1e-6
    with pytest.warns(DataWarning, match="open"):  # the body stands on the ground
        body = meshops.read(case, region="body", location="cell")
    assert body.num_nodes == 12
    x, y, z = body.pos.T
    assert float((body.field("pMean").ravel() - (-x + 0.1 * z)).abs().max()) < 1e-6
    shear = np.stack([np.full(12, -1e-3), np.zeros(12), 1e-4 * y.numpy()], 1)
    assert np.allclose(body.field("wallShearStressMean").numpy(), shear, atol=1e-8)
    numbers, said = predicted(case, "--region", "body")
    assert numbers["nodes"] == 12 and numbers["errors"]["pMean"]["rel_l2"] is not None
    assert "time 100 was read from processor*/" in said


def test_collated_files_are_read_or_refused_by_name(field: Path, tmp_path: Path):
    shutil.copytree(field / "openfoam-decomposed" / "input" / "older_reconstructed", tmp_path / "case")
    for folder in (tmp_path / "case").glob("processor*"):
        shutil.rmtree(folder)
    collated = tmp_path / "case" / "processors2" / "100"
    collated.mkdir(parents=True)
    (collated / "pMean").write_text("FoamFile { version 2.0; format ascii; class decomposedBlockData; }\n")
    with pytest.raises(InputError, match=r"(?s)processors2.*reconstructPar"):
        read_mesh(tmp_path / "case", region="body")


@pytest.mark.parametrize(
    "region", [["bodyGroup"], ["body_front,body_rear"], ["body_front", "body_rear"], ["body.*"]], ids=str
)
def test_one_body_of_several_patches(field: Path, predicted: Told, region: list[str]):
    case = field / "openfoam-patches" / "input" / "case"
    mesh = read_mesh(case, region=",".join(region))
    assert mesh.n_cells == 12 and mesh.n_points == 17
    assert float(mesh.compute_cell_sizes()["Area"].sum()) == pytest.approx(1.66667, abs=1e-5)
    assert {"pMean", "wallShearStressMean"} <= set(mesh.cell_data)
    numbers, _ = predicted(case, *(word for name in region for word in ("--region", name)))
    assert numbers["nodes"] == 12 and numbers["forces"]["cd"] is not None
    assert numbers["forces_of_true_fields"]["cd"] is not None


def test_no_such_patch(field: Path):
    with pytest.raises(InputError, match=r"no part 'wing'.*body_front.*body_rear.*bodyGroup"):
        read_mesh(field / "openfoam-patches" / "input" / "case", region="wing")


# vtk-collections


@pytest.mark.parametrize("name", ["car.vtm", "car.pvtp", "car.pvd"])
def test_surfaces_in_several_files(field: Path, predicted: Told, name: str):
    file = field / "vtk-collections" / "input" / name
    area, _, closure = geometry(file)
    mesh = read_mesh(file)
    assert mesh.n_cells == 720 and area == pytest.approx(AREA, rel=1e-5) and closure < 1e-6
    assert len(np.unique(mesh.points, axis=0)) == mesh.n_points
    assert {"pMean", "wallShearStressMean"} <= set(mesh.cell_data)
    numbers, _ = predicted(file)
    assert numbers["forces_of_true_fields"]["cd"] == pytest.approx(0.5234, abs=0.002)
    assert numbers["errors"]["wallShearStressMean"]["rel_l2"] is None  # 1e-12 everywhere
    assert numbers["errors"]["pMean"]["rel_l2"] > 0
    parts = open_mesh(file).notes.parts
    if name.endswith((".vtm", ".pvd")):
        assert len(parts) == 2
        halves = [read_mesh(file, region=part).n_cells for part in parts]
        assert sum(halves) == 720 and min(halves) > 0


@pytest.mark.parametrize("name", ["box.vti", "box.vts", "box.vtr"])
def test_structured_grids_in_xml(field: Path, name: str):
    mesh = read_mesh(field / "vtk-collections" / "input" / name)
    _, volume = volume_geometry(mesh)
    assert mesh.n_cells == 24 and volume.sum() == pytest.approx(1.0)
    assert np.array_equal(np.asarray(mesh.cell_data["T"]), np.arange(24))


# volume-body


def test_the_body_below_a_roof_that_is_not_flat(field: Path):
    mesh = read_mesh(field / "volume-body" / "input" / "curved_roof.vtu")
    with pytest.warns(DataWarning, match="12 faces .* were taken for the body"):
        body = extract_body(mesh)
    assert body.n_cells == 12
    assert float(body.compute_cell_sizes()["Area"].sum()) == pytest.approx(1.66667, abs=1e-5)


def test_the_body_in_a_turned_tunnel(field: Path, predicted: Told):
    case = field / "volume-body" / "input" / "turned_tunnel"
    opened = open_mesh(case)
    with pytest.warns(DataWarning, match="12 faces .* were taken for the body"):
        body = extract_body(opened.mesh, walls=opened.walls)
    assert body.n_cells == 12
    assert float(body.compute_cell_sizes()["Area"].sum()) == pytest.approx(1.66667, abs=1e-5)
    numbers, said = predicted(case)
    assert numbers["nodes"] == 12 and "the body is 'body'" in said


# write-back


def test_a_plane_file_is_written_as_it_was(field: Path, tmp_path: Path):
    file = field / "write-back" / "input" / "plane.vtu"
    graph = meshops.read(file, location="point")
    meshops.write_mesh(graph, tmp_path / "copy.vtu")
    copy, before = pv.read(tmp_path / "copy.vtu"), pv.read(file)
    assert isinstance(copy, pv.UnstructuredGrid)
    assert copy.n_cells == 98 and set(copy.celltypes) == {5} and copy.n_points == 64
    assert np.allclose(copy.points, before.points, atol=1e-7) and np.array_equal(copy.cells, before.cells)
    for name in before.point_data:
        assert np.allclose(copy.point_data[name], before.point_data[name], atol=1e-6), name
    meshops.write_mesh(graph, tmp_path / "copy.vtp")
    assert pv.read(tmp_path / "copy.vtp").n_cells == 98


# vector-inputs, cell-fields-folder, components-differ


def train(folder: Path, out: Path, **options: Any) -> int:
    return main([
        "train", "--kind", "fields", "--data.name", "mesh_files", "--data.root", str(folder), "--data.options",
        json.dumps(options), "--model", '{"name": "mppde", "channels": 8, "depth": 1}', "--train.steps", "5",
        "--train.accelerator", "cpu", "--out", str(out),
    ])  # fmt: skip


def test_an_input_with_three_components(field: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder, options = field / "vector-inputs" / "input", {"inputs": ["coefficient", "force"], "fields": ["u"]}
    assert train(folder, tmp_path / "run", **options) == 0
    file, model = str(folder / "test" / "case_4.vtu"), tmp_path / "run" / "model.ckpt"
    capsys.readouterr()
    assert main(["predict", str(model), file, "--out", str(tmp_path / "out"), "--no-pictures", "--json"]) == 0
    error = json.loads(capsys.readouterr().out)[file]["errors"]["u"]["rel_l2"]
    report = meshops.load(model).evaluate(meshops.datasets.MeshFiles(folder, "test", **options))
    assert error == pytest.approx(report.cases["case_4"]["u_rel_l2"], rel=1e-4)


@pytest.mark.parametrize("name", ["flat", "legacy", "cells"])
def test_folders_that_are_recognised(field: Path, name: str, capsys: pytest.CaptureFixture[str]):
    assert main(["data", "check", str(field / "cell-fields-folder" / "input" / name)]) == 0
    assert "6 cases, 0 problems" in capsys.readouterr().out


def test_fields_at_the_cells(field: Path, tmp_path: Path):
    folder, options = field / "cell-fields-folder" / "input" / "cells", {"inputs": ["conductivity"], "fields": ["T"]}
    data = meshops.datasets.MeshFiles(folder, "train", **options)
    assert all(g.num_nodes == 49 and g.edge_index.shape == (2, 168) for g in (data[i] for i in range(len(data))))
    assert train(folder, tmp_path / "run", **options) == 0
    file, model = str(folder / "test" / "case_4.vtu"), str(tmp_path / "run" / "model.ckpt")
    assert main(["predict", model, file, "--out", str(tmp_path / "out"), "--no-pictures"]) == 0
    written = pv.read(tmp_path / "out" / "case_4_predicted.vtu")
    assert len(written.cell_data["T_predicted"]) == len(written.cell_data["T_error"]) == 49
    error = written.cell_data["T_predicted"] - written.cell_data["T"]
    assert np.allclose(written.cell_data["T_error"], error, atol=1e-5)


def test_components_that_differ(field: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = field / "components-differ" / "input"
    assert main(["data", "check", str(folder), "--name", "mesh_files"]) == 1
    found = capsys.readouterr().out
    assert "case_1.vtu): the array 'force' has 2 components, in the other cases 3" in found
    assert "case_2.vtu): the array 'u' has 1 components, in the other cases 3" in found
    for options, words in (({"inputs": ["force"]}, ("case_1.vtu", "'force'")), ({"fields": ["u"]}, ("case_2.vtu",))):
        assert train(folder, tmp_path / "run", **options) == 2
        said = capsys.readouterr().err
        assert all(word in said for word in words) and "Traceback" not in said


# data-check

FOUND = {
    "sound_without_optional_files": (0, ["0 problems"]),
    "pascal_at_40_m_per_s": (
        1, [r"run_1: integrated cd 567 .*0.2953", "run_2: integrated cd 66", "run_3: integrated cd 756",
            "run_4: integrated cd 85", r"factor 1920 = 1.2 x 40\^2"],
    ),
    "one_in_millimetres": (1, ["run_3: .*about 1000 times as large as the others"]),
    "two_swapped": (1, ["run_2.*run_4"]),
    "one_value_1e30": (1, [r"run_2: pMean has a value 1e\+30"]),
}  # fmt: skip


@pytest.mark.parametrize("name", FOUND)
def test_checks_of_cases(field: Path, name: str, capsys: pytest.CaptureFixture[str]):
    import re

    code, sentences = FOUND[name]
    assert main(["data", "check", str(field / "data-check" / "input" / name)]) == code
    found = capsys.readouterr().out
    for sentence in sentences:
        assert re.search(sentence, found), (sentence, found)
    named = set(re.findall(r"^(run_\d)", found, re.M))
    assert named == {
        "sound_without_optional_files": set(), "pascal_at_40_m_per_s": {"run_1", "run_2", "run_3", "run_4"},
        "one_in_millimetres": {"run_3"}, "two_swapped": {"run_2"}, "one_value_1e30": {"run_2"},
    }[name]  # fmt: skip


# origin-shift


@pytest.mark.parametrize("shift", [(-1.044, 0), (2, 0), (1000, 0), (0, 0.2), (0, 1), (-3, 7)], ids=str)
def test_the_place_of_a_body_does_not_matter(field: Path, predicted: Told, tmp_path: Path, shift: tuple[float, float]):
    file = field / "origin-shift" / "input" / "body.stl"
    before, told = predicted(file)
    assert "it was moved" not in told
    fields = pv.read(tmp_path / "out" / "body_predicted.vtp").cell_data
    moved = pv.read(file)
    moved.points = np.asarray(moved.points, dtype=np.float64) + np.array([*shift, 0])
    meshops.write_mesh(moved, tmp_path / "other.vtp")
    after, said = predicted(tmp_path / "other.vtp")
    found = pv.read(tmp_path / "out" / "other_predicted.vtp").cell_data
    for name in ("pMean_predicted", "wallShearStressMean_predicted"):
        assert np.linalg.norm(found[name] - fields[name]) < 0.01 * np.linalg.norm(fields[name])
    for name in ("cd", "cl"):
        assert after["forces"][name] == pytest.approx(before["forces"][name], abs=0.005)
    assert after["training_set"]["level"] == before["training_set"]["level"]
    assert "it was moved to their place" in said


# zero-truth


def test_a_true_field_that_is_zero(field: Path, predicted: Told):
    numbers, _ = predicted(field / "zero-truth" / "input" / "inviscid.vtp")
    shear, pressure = numbers["errors"]["wallShearStressMean"], numbers["errors"]["pMean"]
    assert shear["rel_l2"] is None and shear["r2"] is None and shear["mae"] > 0
    assert pressure["rel_l2"] > 0 and pressure["mae"] > 0
    assert numbers["forces_of_true_fields"]["cd"] == pytest.approx(0.5234, abs=0.002)


def test_initial_fields_only(field: Path, predicted: Told):
    numbers, said = predicted(field / "zero-truth" / "input" / "initial_fields_only", "--region", "body")
    assert "'pMean', 'wallShearStressMean' are zero everywhere (an initial state?)" in said
    for name in ("pMean", "wallShearStressMean"):
        assert numbers["errors"][name]["rel_l2"] is None and numbers["errors"][name]["mae"] >= 0
