"""``meshops look``: files that are written, exit codes, bad cases, folders that cannot be written."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

from meshops.cli.main import main
from meshops.datasets import FolderCases, Study


@pytest.fixture
def folder(tmp_path):
    """Six ellipsoids in a potential flow, one file each, with a table of speeds."""
    return FolderCases.standin(tmp_path / "shapes", 6)


def meshes(folder):
    return sorted(path for path in folder.rglob("*.vtp"))


def test_it_says_what_is_there_and_writes_three_files(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert main(["look", "shapes"]) == 0
    out, err = capsys.readouterr()
    assert err.startswith("reading shapes ...")
    assert "cases      6" in out and "speed" in out and "condition" in out
    written = tmp_path / "shapes_look"
    assert sorted(path.name for path in written.iterdir()) == ["cases.png", "look.html", "study.yaml"]
    assert len(Study.load(written / "study.yaml").open("all").cases) == 6
    assert "data:image/png;base64" in (written / "look.html").read_text()
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_one_bad_case_is_left_out_and_listed(folder, tmp_path, capsys):
    bad = meshes(folder)[2]
    bad.write_bytes(bad.read_bytes()[:700])
    arguments = ["look", str(folder), "--out", str(tmp_path / "out"), "--no-pictures"]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert f"problem: {bad.stem}: " in out and "6 cases, 1 problem" in out
    study = Study.load(tmp_path / "out" / "study.yaml")
    assert study.left_out == (bad.stem,) and len(study.open("all").cases) == 5
    assert main([*arguments, "--overwrite", "--strict"]) == 1


def test_json(folder, tmp_path, capsys):
    assert main(["look", str(folder), "--json", "--no-pictures", "--out", str(tmp_path / "out")]) == 0
    told = json.loads(capsys.readouterr().out)
    assert len(told["cases"]) == 6 and told["meshes"] in ("same", "corresponding", "different")
    assert told["findings"] == [] and np.isfinite(told["cases"][0]["high"]).all()


def test_a_study_that_may_have_been_corrected_is_kept(folder, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "study.yaml").write_text("# mine\n")
    assert main(["look", str(folder), "--out", str(out), "--no-pictures"]) == 0
    assert (out / "study.yaml").read_text() == "# mine\n" and (out / "study_new.yaml").is_file()
    assert "is kept" in capsys.readouterr().err
    assert main(["look", str(folder), "--out", str(out), "--no-pictures", "--overwrite"]) == 0
    assert "files:" in (out / "study.yaml").read_text()


def test_a_corrected_study_is_looked_at_as_it_says(folder, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["look", str(folder), "--out", str(out), "--no-pictures"]) == 0
    study = out / "study.yaml"
    first = meshes(folder)[0].stem
    study.write_text(study.read_text().replace("left_out: []", f"left_out: [{first}]"))
    assert main(["look", str(study), "--out", str(tmp_path / "again"), "--no-pictures"]) == 0
    assert Study.load(tmp_path / "again" / "study.yaml").left_out == (first,)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_without_right_to_write(folder, tmp_path, capsys):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    assert main(["look", str(folder), "--out", str(closed)]) == 2
    assert "cannot write there" in capsys.readouterr().err


def test_an_out_that_is_a_file_is_named_before_the_work(folder, tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    assert main(["look", str(folder), "--out", str(tmp_path / "file")]) == 2
    err = capsys.readouterr().err
    assert "cannot write there" in err and "reading" not in err


def test_no_folder_and_an_empty_one(tmp_path, capsys):
    assert main(["look", str(tmp_path / "nothing"), "--out", str(tmp_path / "o")]) == 2
    (tmp_path / "empty").mkdir()
    assert main(["look", str(tmp_path / "empty"), "--out", str(tmp_path / "o")]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_data_check_names_what_differs_between_cases(folder, capsys):
    import pyvista as pv

    path = meshes(folder)[1]
    mesh = pv.read(path)
    mesh.points = mesh.points * 1000
    mesh.save(path)
    assert main(["data", "check", str(folder)]) == 1
    out = capsys.readouterr().out
    assert f"{path.stem}: the mesh is about 1000 times as large as the others" in out
    assert "6 cases, 1 problems" in out
