"""meshops predict: what it writes, and what it says about files it cannot use."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import pyvista as pv
import torch

from meshops.cli.main import main
from meshops.solvers.ahmed_body import ahmed_body

SHAPE = {"length": 1.0, "width": 0.36, "height": 0.29, "front_radius": 0.1, "slant_length": 0.2, "slant_angle": 20.0,
         "ground_clearance": 0.05}  # fmt: skip


@pytest.fixture(scope="module")
def body() -> pv.PolyData:
    return ahmed_body(**SHAPE)


def predict(checkpoint: Path, file: Path, out: Path, *options: str) -> int:
    return main(["predict", str(checkpoint), str(file), "--out", str(out), *options])


def refused(capsys, checkpoint: Path, file: Path, out: Path, *options: str) -> str:
    """Exit code 2, one to three lines, nothing left behind; returns the message."""
    capsys.readouterr()
    assert predict(checkpoint, file, out, *options) == 2
    message = capsys.readouterr().err
    assert 1 <= len(message.strip().splitlines()) <= 3 and "Traceback" not in message
    assert not out.exists() or not any(out.iterdir())
    return message


def test_an_stl_gets_fields_forces_pictures_and_report(checkpoint, body, tmp_path, capsys):
    body.save(tmp_path / "car.stl")
    assert predict(checkpoint, tmp_path / "car.stl", tmp_path / "out", "--report", "--json") == 0
    numbers = json.loads(capsys.readouterr().out)[str(tmp_path / "car.stl")]
    written = pv.read(tmp_path / "out" / "car_predicted.vtp")
    assert written.n_cells == body.n_cells == numbers["nodes"]
    assert np.isfinite(written.cell_data["pMean_predicted"]).all()
    assert written.cell_data["wallShearStressMean_predicted"].shape == (body.n_cells, 3)
    assert numbers["training_set"]["level"] == "inside" and not numbers["mesh_cues"]
    assert numbers["forces"]["frontal_area"] == pytest.approx(0.36 * 0.29, rel=5e-3)
    assert numbers["forces"] == json.loads((tmp_path / "out" / "car.json").read_text())["forces"]
    names = {p.name for p in (tmp_path / "out").iterdir()}
    assert names == {"car_predicted.vtp", "car.json", "car_pMean.png", "car_wallShearStressMean.png", "car_report.html"}
    page = (tmp_path / "out" / "car_report.html").read_text()
    assert f"{abs(numbers['forces']['cd']):.3f}" in page and numbers["training_set"]["nearest"] in page


def test_files_may_stand_behind_the_options(checkpoint, body, tmp_path):
    for name in ("a.stl", "b.stl"):
        body.save(tmp_path / name)
    first, second, out = str(tmp_path / "a.stl"), str(tmp_path / "b.stl"), str(tmp_path / "out")
    assert main(["predict", str(checkpoint), "--no-pictures", first, "--out", out, second]) == 0
    assert main(["predict", "--no-pictures", "--out", out, str(checkpoint), first, second]) == 0
    assert {p.name for p in (tmp_path / "out").glob("*.vtp")} == {"a_predicted.vtp", "b_predicted.vtp"}


def test_coarse_bodies_are_told_of_with_the_numbers_of_the_file(checkpoint, tmp_path, capsys):
    """Notes count the cells of the file, not those it was split to; true fields are integrated on the former."""
    box = pv.Box((0, 1.0, -0.18, 0.18, 0.05, 0.34)).triangulate()
    box.flip_faces(inplace=True)
    box.cell_data["pMean"] = -box.cell_centers().points[:, 0]
    box = box.remove_cells([0])
    box.save(tmp_path / "box.vtp")
    assert predict(checkpoint, tmp_path / "box.vtp", tmp_path / "out", "--no-pictures", "--json") == 0
    said = capsys.readouterr()
    numbers = json.loads(said.out)[str(tmp_path / "box.vtp")]
    notes = "\n".join(numbers["notes"])
    assert "split to" in notes and "11 of 11 normals were turned" in notes
    assert notes.count("free edges") == 1 and "(3 free edges in 1 parts)" in notes
    closed = pv.Box((0, 1.0, -0.18, 0.18, 0.05, 0.34)).triangulate()
    closed.cell_data["pMean"] = -closed.cell_centers().points[:, 0]
    closed.save(tmp_path / "closed.vtp")
    assert predict(checkpoint, tmp_path / "closed.vtp", tmp_path / "out", "--no-pictures", "--json") == 0
    numbers = json.loads(capsys.readouterr().out)[str(tmp_path / "closed.vtp")]
    # At the ends 0 and 1 along the flow: force = frontal area, Cd = 2.
    assert numbers["forces_of_true_fields"]["cd"] == pytest.approx(2, rel=1e-3)


def test_mirror_images_get_mirrored_fields(checkpoint, body, tmp_path):
    import meshops

    surrogate = meshops.load(checkpoint)
    mirrored = body.copy()
    mirrored.points = np.asarray(body.points) * [1, -1, 1]
    mirrored.flip_faces(inplace=True)
    first, second = surrogate.predict(body), surrogate.predict(mirrored)
    shear = first.fields["wallShearStressMean"] * [1, -1, 1]
    pairs = [(first.fields["pMean"], second.fields["pMean"]), (shear, second.fields["wallShearStressMean"])]
    for one, other in pairs:  # equal but for the grouping of cells into panels, which knows no left and right
        assert np.linalg.norm(one - other) < 0.02 * np.linalg.norm(one)


def test_the_same_file_twice_gives_the_same_numbers(checkpoint, body):
    import meshops

    first, second = (meshops.load(checkpoint).predict(body) for _ in range(2))
    assert np.array_equal(first.fields["pMean"], second.fields["pMean"])


def test_known_fields_give_errors_and_stay(checkpoint, tmp_path, capsys):
    from meshops.data.convert import to_pyvista
    from meshops.datasets import create

    mesh = to_pyvista(create("ahmed_mini", split="test")[0])
    mesh.cell_data["mine"] = np.arange(mesh.n_cells)
    mesh.save(tmp_path / "run.vtp")
    assert predict(checkpoint, tmp_path / "run.vtp", tmp_path / "out", "--no-pictures", "--json") == 0
    numbers = json.loads(capsys.readouterr().out)[str(tmp_path / "run.vtp")]
    written = pv.read(tmp_path / "out" / "run_predicted.vtp")
    assert np.array_equal(written["mine"], mesh["mine"]) and np.array_equal(written["pMean"], mesh["pMean"])
    error = written["pMean_predicted"] - written["pMean"]
    assert np.allclose(written["pMean_error"], error, atol=1e-6)
    relative = np.linalg.norm(error) / np.linalg.norm(mesh["pMean"])
    assert numbers["errors"]["pMean"]["rel_l2"] == pytest.approx(relative, rel=1e-4)
    assert numbers["mesh_cues"] and numbers["forces_of_true_fields"]["cd"] == pytest.approx(0.2855, rel=0.03)


def test_coarse_triangles_are_split_and_averaged_back(checkpoint, tmp_path, capsys):
    box = pv.Box((0, 1.0, -0.18, 0.18, 0.05, 0.34)).triangulate()
    box.save(tmp_path / "box.stl")
    assert predict(checkpoint, tmp_path / "box.stl", tmp_path / "out", "--no-pictures", "--json") == 0
    out = capsys.readouterr()
    assert "split to" in out.err
    written = pv.read(tmp_path / "out" / "box_predicted.vtp")
    assert written.n_cells == 12 and np.isfinite(written["pMean_predicted"]).all()
    assert predict(checkpoint, tmp_path / "box.stl", tmp_path / "raw", "--no-pictures", "--no-refine") == 0
    assert "split to" not in capsys.readouterr().err


def test_millimetres_are_noticed_and_scaled(checkpoint, body, tmp_path, capsys):
    large = body.copy()
    large.points = np.asarray(body.points) * 1000
    large.save(tmp_path / "mm.stl")
    message = refused(capsys, checkpoint, tmp_path / "mm.stl", tmp_path / "a")
    assert "in millimetres? Then pass --scale 0.001" in message
    assert predict(checkpoint, tmp_path / "mm.stl", tmp_path / "c", "--no-pictures", "--scale", "1") == 0
    assert "is it in millimetres" in capsys.readouterr().err
    assert predict(checkpoint, tmp_path / "mm.stl", tmp_path / "b", "--no-pictures", "--scale", "0.001", "--json") == 0
    out = capsys.readouterr()
    assert "is it in millimetres" not in out.err
    assert json.loads(out.out)[str(tmp_path / "mm.stl")]["training_set"]["level"] == "inside"


def test_inward_normals_change_nothing(checkpoint, body):
    import meshops

    flipped = body.copy()
    flipped.flip_faces(inplace=True)
    surrogate = meshops.load(checkpoint)
    assert np.allclose(surrogate.predict(body).fields["pMean"], surrogate.predict(flipped).fields["pMean"], atol=1e-5)


def test_several_files_get_an_index_and_one_bad_one_does_not_stop_the_others(checkpoint, body, tmp_path, capsys):
    for name in ("a", "b"):
        body.save(tmp_path / f"{name}.stl")
    (tmp_path / "bad.stl").write_bytes(b"solid nothing")
    files = [str(tmp_path / f"{n}.stl") for n in ("a", "bad", "b")]
    assert main(["predict", str(checkpoint), *files, "--out", str(tmp_path / "out"), "--report"]) == 2
    assert "bad.stl" in capsys.readouterr().err
    assert {"a_report.html", "b_report.html", "index.html"} <= {p.name for p in (tmp_path / "out").iterdir()}


def test_bad_files(checkpoint, body, tmp_path, capsys):
    out = tmp_path / "out"
    assert "no such file" in refused(capsys, checkpoint, tmp_path / "none.stl", out).lower()
    body.save(tmp_path / "whole.stl")
    content = (tmp_path / "whole.stl").read_bytes()
    (tmp_path / "cut.stl").write_bytes(content[: len(content) // 2])
    assert "cut.stl" in refused(capsys, checkpoint, tmp_path / "cut.stl", out)
    (tmp_path / "car.docx").write_bytes(content)
    assert ".vtp" in refused(capsys, checkpoint, tmp_path / "car.docx", out)
    pv.PolyData().save(tmp_path / "empty.vtp")
    assert "empty" in refused(capsys, checkpoint, tmp_path / "empty.vtp", out)
    volume = pv.ImageData(dimensions=(4, 4, 4)).cast_to_unstructured_grid()
    volume.save(tmp_path / "volume.vtu")
    pv.Plane().triangulate().save(tmp_path / "plane.vtp")
    message = refused(capsys, checkpoint, tmp_path / "plane.vtp", out)
    assert "plane.vtp" in message and "2-D" in message
    assert "volume mesh" in refused(capsys, checkpoint, tmp_path / "volume.vtu", out)


def test_bad_values(checkpoint, body, tmp_path, capsys):
    broken = body.copy()
    points = np.asarray(broken.points).copy()
    points[7, 1] = np.nan
    broken.points = points
    broken.save(tmp_path / "nan.vtp")
    message = refused(capsys, checkpoint, tmp_path / "nan.vtp", tmp_path / "out")
    assert "nan.vtp" in message and "7" in message
    field = body.copy()
    field.cell_data["pMean"] = np.full(body.n_cells, np.inf, dtype=np.float32)
    field.cell_data["wallShearStressMean"] = np.zeros((body.n_cells, 3), dtype=np.float32)
    field.save(tmp_path / "inf.vtp")
    assert predict(checkpoint, tmp_path / "inf.vtp", tmp_path / "out", "--no-pictures", "--json") == 0
    out = capsys.readouterr()  # the shape is sound: it is predicted, and what is not compared is said
    assert "the field 'pMean' holds NaN or infinite values; it is not compared with" in out.err
    numbers = json.loads(out.out)[str(tmp_path / "inf.vtp")]
    assert set(numbers["errors"]) == {"wallShearStressMean"} and numbers["forces"]["cd"] is not None
    assert numbers["errors"]["wallShearStressMean"]["rel_l2"] is None  # a true field that is zero


def test_a_truth_that_is_known_in_part_is_compared_there(checkpoint, body, tmp_path, capsys):
    field = body.copy()
    truth = np.linspace(-1, 1, body.n_cells, dtype=np.float32)
    truth[::5] = np.nan
    field.cell_data["pMean"] = truth
    field.save(tmp_path / "part.vtp")
    assert predict(checkpoint, tmp_path / "part.vtp", tmp_path / "out", "--report", "--json") == 0
    out = capsys.readouterr()
    assert (
        f"'pMean' holds {len(truth[::5])} NaN or infinite values of {body.n_cells}; it is compared on the rest"
        in out.err
    )
    numbers = json.loads(out.out)[str(tmp_path / "part.vtp")]
    written = pv.read(tmp_path / "out" / "part_predicted.vtp")
    known = np.isfinite(truth)
    error = np.linalg.norm((written["pMean_predicted"] - truth)[known]) / np.linalg.norm(truth[known])
    assert numbers["errors"]["pMean"]["rel_l2"] == pytest.approx(error, rel=1e-4)
    assert numbers["forces"]["cd"] is not None and numbers["forces_of_true_fields"] is None
    assert (np.isfinite(written["pMean_error"]) == known).all()


def test_half_a_body_is_noticed(checkpoint, body, tmp_path, capsys):
    half = body.clip("y", origin=(0, 0, 0), invert=False).extract_surface(algorithm="dataset_surface")
    for name, mesh in (("half", half), ("whole", body)):
        mesh.clear_data()
        mesh.triangulate().save(tmp_path / f"{name}.stl")
        assert predict(checkpoint, tmp_path / f"{name}.stl", tmp_path / "out", "--no-pictures") == 0
        assert ("looks like half a body (its open rim lies in one plane across y)" in capsys.readouterr().err) == (
            name == "half"
        )


def test_wrong_number_of_channels(checkpoint, body, tmp_path, capsys):
    field = body.copy()
    field.cell_data["pMean"] = np.ones((body.n_cells, 2), dtype=np.float32)
    field.cell_data["wallShearStressMean"] = np.zeros((body.n_cells, 3), dtype=np.float32)
    field.save(tmp_path / "two.vtp")
    assert "2 channels" in refused(capsys, checkpoint, tmp_path / "two.vtp", tmp_path / "out")


def test_zero_area_cells_are_dropped_with_a_count(checkpoint, body, tmp_path, capsys):
    faces = np.concatenate([body.faces, [3, 0, 0, 1], [3, 2, 2, 2]])
    pv.PolyData(np.asarray(body.points), faces).save(tmp_path / "flat.vtp")
    assert predict(checkpoint, tmp_path / "flat.vtp", tmp_path / "out", "--no-pictures") == 0
    assert "2 " in (message := capsys.readouterr().err) and "zero" in message
    assert pv.read(tmp_path / "out" / "flat_predicted.vtp").n_cells == body.n_cells


@pytest.mark.skipif(os.geteuid() == 0 and not Path("/proc/self").exists(), reason="needs a folder it cannot write")
def test_unwritable_folder(checkpoint, body, tmp_path, capsys):
    body.save(tmp_path / "car.stl")
    (tmp_path / "file").write_text("")
    assert predict(checkpoint, tmp_path / "car.stl", tmp_path / "file" / "out") == 2
    assert "cannot write" in capsys.readouterr().err


def test_unknown_option(checkpoint, capsys):
    assert main(["predict", str(checkpoint), "x.stl", "--raport"]) == 2
    assert "--raport" in capsys.readouterr().err


class Payload:
    """What a hostile checkpoint would hold."""

    def __reduce__(self):
        return (os.system, ("false",))


def test_checkpoints_of_others_are_refused(checkpoint, body, tmp_path, capsys):
    body.save(tmp_path / "car.stl")
    torch.save({"format": "meshops-surrogate", "payload": Payload()}, tmp_path / "code.ckpt")
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    (tmp_path / "text.ckpt").write_text("hello")
    (tmp_path / "cut.ckpt").write_bytes(checkpoint.read_bytes()[:5000])
    expected = {"code.ckpt": "pickled", "other.ckpt": "not a meshops checkpoint", "text.ckpt": "not a readable",
                "cut.ckpt": "not a readable", "none.ckpt": "no such checkpoint"}  # fmt: skip
    for name, words in expected.items():
        assert words in refused(capsys, tmp_path / name, tmp_path / "car.stl", tmp_path / "out"), name
    assert "model.ckpt" in refused(capsys, checkpoint.parent, tmp_path / "car.stl", tmp_path / "out")


def test_every_chunk_size_gives_the_same_answer(checkpoint, body):
    import meshops

    surrogate = meshops.load(checkpoint)
    for method in ("interleaved", "anchored"):
        few, many = (surrogate.predict(body, method=method, chunk_size=c) for c in (700, 100_000))
        scale = np.abs(many.fields["pMean"]).max()
        assert np.abs(few.fields["pMean"] - many.fields["pMean"]).max() < 1e-5 * max(scale, 1)


def test_patches_of_a_case_come_back_as_parts(checkpoint, tmp_path, capsys):
    from meshops.datasets.studies import write_study

    write_study("foam", tmp_path / "foam", cases=1, seed=3, resolution=6, layers=4)
    case, out = tmp_path / "foam" / "case_0000", tmp_path / "out"
    assert predict(checkpoint, case, out, "--region", "body", "--no-pictures", "--json") == 0
    numbers = json.loads(capsys.readouterr().out)[str(case)]
    body = pv.read(out / "case_0000_predicted.vtu")
    assert body.n_cells == 108 == numbers["nodes"]
    assert body.cell_data["pMean_predicted"].shape == (108,) and body.cell_data["U"].shape == (108, 3)
    both = tmp_path / "both"
    assert (
        predict(checkpoint, case, both, "--region", "body", "--region", "grou.d", "--no-pictures", "--no-refine") == 0
    )
    parts = pv.read(both / "case_0000_predicted.vtm")
    assert parts.keys() == ["body", "ground"] and parts["body"].n_cells == 108
    assert all("pMean_predicted" in part.cell_data for part in parts)
    assert "'body'" in refused(capsys, checkpoint, case, tmp_path / "no", "--region", "bonnet")
