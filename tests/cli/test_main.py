"""The verbs that are not predict, and the settings of train."""

from __future__ import annotations

import json

import pytest
import pyvista as pv

from meshops.cli.main import main
from meshops.cli.train import parse
from meshops.errors import InputError


def test_info_as_text_and_json(capsys):
    assert main(["info"]) == 0
    assert "ball tree" in capsys.readouterr().out
    assert main(["info", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert "mspt" in content["models"] and content["integers"].split("; ")[-1].split(":")[1].startswith(" runs")


def test_settings_come_from_recipe_and_options():
    config = parse(["demo", "--train.steps", "7", "--model.depth", "3", "--data.options.fields", '["pMean"]'])
    assert config.train.steps == 7 and config.model["depth"] == 3 and config.model["name"] == "mspt"
    assert config.data.options == {"fields": ["pMean"]}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing.yaml"], "no such file or recipe"),
        (["demo", "--train.stepz", "7"], "train.stepz"),
        (["demo", "--train.steps", "many"], "train.steps"),
        (["demo", "--train.optimizer", "sgd"], "adamw"),
    ],
)
def test_settings_that_are_refused(arguments, words):
    with pytest.raises(InputError, match=words):
        parse(arguments)


def test_broken_yaml_is_refused(tmp_path, capsys):
    (tmp_path / "run.yaml").write_text("train: {steps: [}")
    assert main(["train", str(tmp_path / "run.yaml")]) == 2
    assert "run.yaml" in capsys.readouterr().err


def test_partition_writes_patches_and_a_picture(tmp_path, capsys):
    pv.Icosphere(nsub=3).save(tmp_path / "ball.stl")
    out, picture = tmp_path / "p.vtp", tmp_path / "p.png"
    arguments = [str(tmp_path / "ball.stl"), "--patch-size", "100", "--out", str(out), "--picture", str(picture)]
    assert main(["partition", *arguments, "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["patches"] == 16 and summary["largest"] == summary["smallest"] == 80
    assert len(set(pv.read(out)["patch"])) == 16 and picture.stat().st_size > 10_000
    assert main(["partition", str(tmp_path / "ball.stl"), "--num-patches", "12"]) == 2
    assert "power of two" in capsys.readouterr().err


@pytest.mark.parametrize("method", ["ball_tree", "kd_tree", "octree", "hilbert", "morton", "kmeans", "metis"])
def test_every_method_of_partition(method, tmp_path, capsys):
    if method == "metis":
        pytest.importorskip("pymetis")
    pv.Icosphere(nsub=2).save(tmp_path / "ball.stl")
    command = ["partition", str(tmp_path / "ball.stl"), "--method", method, "--patch-size", "40", "--json"]
    assert main([*command, "--out", str(tmp_path / "p.vtp")]) == 0
    summary = json.loads(capsys.readouterr().out)
    labels = pv.read(tmp_path / "p.vtp")["patch"]
    assert summary["nodes"] == len(labels) == 320 and summary["patches"] == len(set(labels)) >= 8
    assert summary["largest"] <= (44 if method == "metis" else 40)


def test_an_octree_has_no_fixed_number_of_patches(tmp_path, capsys):
    pv.Icosphere(nsub=1).save(tmp_path / "ball.stl")
    assert main(["partition", str(tmp_path / "ball.stl"), "--method", "octree", "--num-patches", "8"]) == 2
    assert "as many leaves as it needs: give patch_size" in capsys.readouterr().err


def test_data_check(tmp_path, capsys):
    from meshops.datasets import AhmedML

    AhmedML.standin(tmp_path, num=2)
    assert main(["data", "check", str(tmp_path)]) == 0
    broken = next(tmp_path.glob("run_*/boundary_*.vtp"))
    broken.write_bytes(broken.read_bytes()[:500])
    assert main(["data", "check", str(tmp_path), "--json"]) == 1
    problems = json.loads(capsys.readouterr().out.split("problems\n")[-1])["problems"]
    assert len(problems) == 1 and problems[0]["case"] == broken.parent.name


def test_evaluate(checkpoint, capsys):
    assert main(["evaluate", str(checkpoint), "--data", "ahmed_mini", "--json"]) == 0
    metrics = json.loads(capsys.readouterr().out)
    assert len(metrics["cases"]) == 6 and 0 < metrics["mean"]["pressure_rel_l2"] < 3
    assert set(metrics["baselines"]) == {"mean", "  as for an STL"}
    assert main(["evaluate", str(checkpoint), "--data", "/nowhere"]) == 2
