"""Shapes and a table of results, no fields: look, fit, predict, compare, and intervals that hold at twenty cases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvista as pv
import torch
from torch_geometric.data import Data

import meshops
from meshops.cli.main import main
from meshops.data.mesh_graph import MeshGraph
from meshops.data.outline import outline
from meshops.datasets.graph_list import GraphList
from meshops.errors import InputError
from meshops.selection import FitConfig
from meshops.selection.numbers import fit_numbers

COUNT = 20


def body(sides: np.ndarray, taper: float, *, nsub: int = 2) -> pv.PolyData:
    """An egg."""
    mesh = pv.Icosphere(radius=1, nsub=nsub)
    points = np.array(mesh.points, dtype=np.float64) * sides / 2
    points[:, 1] *= 1 - taper * (points[:, 0] / sides[0] + 0.5)
    mesh.points = points
    mesh.clear_data()
    return mesh


def drawn(rng: np.random.Generator) -> tuple[np.ndarray, float, float]:
    return rng.uniform([0.8, 0.3, 0.2], [1.4, 0.6, 0.5]), float(rng.uniform(0, 0.6)), float(rng.uniform(20, 60))


def drag(sides: np.ndarray, taper: float, speed: float) -> float:
    return float(0.2 + 0.3 * sides[1] * sides[2] - 0.1 * sides[0] - 0.1 * taper + 0.0005 * (speed - 40))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty bodies as STL, one more without a row, a row without a body, one damaged file, texts in a column."""
    root, rng = tmp_path_factory.mktemp("shapes"), np.random.default_rng(1)
    (root / "runs").mkdir()
    rows = ["design,speed [m/s],cd,mass [kg],same,comment"]
    for i in range(COUNT):
        sides, taper, speed = drawn(rng)
        mesh = body(sides, taper)
        mesh.save(root / "runs" / f"body_{i:02d}.stl")
        rows.append(f"body_{i:02d},{speed:.3f},{drag(sides, taper, speed):.5f},{1000 * mesh.volume:.4f},7,ok")
    body(*drawn(rng)[:2]).save(root / "runs" / "body_77.stl")
    (root / "runs" / "body_88.stl").write_bytes(b"solid nothing\n facet normal 0 0\nendsolid")
    rows += ["body_88,30,0.1,100,7,damaged", "body_99,30,0.1,100,7,no file"]
    (root / "runs" / "results.csv").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture(scope="module")
def fitted(folder: Path) -> Path:
    assert main(["fit", str(folder / "runs"), "--minutes", "1", "--out", str(folder / "fit")]) == 0
    return folder / "fit"


def test_look_says_that_results_are_learnt_from_shapes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["look", str(folder / "runs"), "--out", str(folder / "look")])
    said = capsys.readouterr().out
    assert "none in the files: the numbers below are learnt from shape and conditions" in said
    study = (folder / "look" / "study.yaml").read_text()
    assert "fields: {}" in study and "cd: {role: drag}" in study and "body_88" in study and "body_77" in study
    assert (folder / "look" / "cases.png").is_file()


def test_a_fit_beats_the_mean_and_says_what_it_left_out(fitted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads((fitted / "metrics.json").read_text())
    assert found["mean"]["cd_error"] < 0.25 * found["baselines"]["constant"]["cd_error"]
    assert set(found["cases"]) == {f"body_{i:02d}" for i in range(COUNT)}
    notes = " ".join(found["notes"])
    assert "'body_88' was left out" in notes and "'body_77' was left out" in notes
    assert (fitted / "report.html").is_file() and (fitted / "cd.png").is_file()
    assert not any(line.startswith("note: cd is worse") for line in capsys.readouterr().out.splitlines())


def test_a_new_shape_gets_numbers_with_intervals_wherever_it_lies(folder: Path, fitted: Path) -> None:
    sides, taper, speed = np.array([1.12, 0.47, 0.36]), 0.31, 38.0
    mesh, surrogate = body(sides, taper), meshops.load(fitted / "model.ckpt")
    made = surrogate.predict(mesh, conditions={"speed": speed})
    cd = made.numbers["cd"]
    assert cd.low is not None and cd.high is not None and cd.level == 0.9
    assert abs(cd.value - drag(sides, taper, speed)) < 0.02 and cd.high - cd.low < 0.08
    assert made.verdict is not None and made.verdict.level == "inside" and "cd 0.0" in made.verdict.expected
    moved = mesh.copy()
    moved.points = np.asarray(moved.points) + np.array([100.0, -3.0, 1.0])
    again = surrogate.predict(moved, conditions={"speed": speed})
    assert again.numbers["cd"].value == pytest.approx(cd.value, abs=1e-4)
    fine = surrogate.predict(body(sides, taper, nsub=4), conditions={"speed": speed})
    assert fine.numbers["cd"].value == pytest.approx(cd.value, abs=0.01), "another mesh of the same body"
    order = np.random.default_rng(0).permutation(mesh.n_cells)
    turned = pv.PolyData.from_regular_faces(np.asarray(mesh.points), mesh.regular_faces[order])
    found = surrogate.predict(turned, conditions={"speed": speed}).numbers["cd"]
    assert found.value == pytest.approx(cd.value, abs=1e-5)


def test_far_shapes_and_conditions_are_outside_with_wider_intervals(fitted: Path) -> None:
    surrogate, sides = meshops.load(fitted / "model.ckpt"), np.array([1.1, 0.45, 0.35])
    near = surrogate.predict(body(sides, 0.3), conditions={"speed": 40})
    fast = surrogate.predict(body(sides, 0.3), conditions={"speed": 150})
    flat = surrogate.predict(body(sides * np.array([1, 1, 0.1]), 0.3), conditions={"speed": 40})
    assert near.verdict is not None and near.verdict.level == "inside"
    for far in (fast, flat):
        assert far.verdict is not None and far.verdict.level == "outside"
        widths = [n.high - n.low for p in (near, far) if (n := p.numbers["cd"]).high is not None and n.low is not None]
        assert widths[1] > 1.5 * widths[0]


def test_the_command_line_predicts_and_compares(
    folder: Path, fitted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body(np.array([1.1, 0.42, 0.32]), 0.3).save(tmp_path / "thin.stl")
    body(np.array([1.1, 0.52, 0.40]), 0.3).save(tmp_path / "thick.stl")
    files, model = [str(tmp_path / f"{name}.stl") for name in ("thin", "thick")], str(fitted / "model.ckpt")
    assert main(["predict", model, *files, "--set", "speed=40", "--out", str(tmp_path / "out"), "--report"]) == 0
    told = json.loads((tmp_path / "out" / "thin.json").read_text())
    assert told["numbers"]["cd"]["low"] < told["numbers"]["cd"]["value"] and told["training_set"]["level"] == "inside"
    assert (tmp_path / "out" / "thin_report.html").is_file() and (tmp_path / "out" / "index.html").is_file()
    assert not list((tmp_path / "out").glob("*_predicted*"))
    capsys.readouterr()
    assert main(["compare", model, *files, "--set", "speed=40", "--out", str(tmp_path / "compared")]) == 0
    assert "cd, thin less thick" in (said := capsys.readouterr().out) and "thin is smaller" in said
    assert main(["evaluate", model, "--data", "study", "--root", str(fitted / "study.yaml"), "--split", "all"]) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["FILE"], "needs the condition 'speed'; give --set speed"),
        (["FILE", "--set", "speed=30", "--scale", "1000"], "is the file in millimetres? Then pass --scale 0.001"),
        (["--set", "speed=30"], "give the file of a shape"),
        (["FILE", "--set", "speed=30", "--method", "anchored"], "--method is for surrogates of fields"),
        (["FILE", "--set", "speed=30", "--truth", "cd=p"], "predicts numbers and no fields"),
        (["FILE", "--set", "speed=30", "--level", "0.99"], "intervals of 99 % need 99 held-out cases"),
    ],
)
def test_what_cannot_be_predicted_is_said(
    fitted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    body(np.array([1.1, 0.45, 0.35]), 0.3).save(tmp_path / "egg.stl")
    given = [str(tmp_path / "egg.stl") if word == "FILE" else word for word in options]
    assert main(["predict", str(fitted / "model.ckpt"), *given, "--out", str(tmp_path / "out")]) == 2
    assert message in (said := capsys.readouterr().err) and "Traceback" not in said


def test_shapes_that_are_the_same_leave_the_conditions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = ["run,load,force"]
    for i in range(12):
        (tmp_path / "runs").mkdir(exist_ok=True)
        body(np.array([1.0, 0.5, 0.4]), 0.2).save(tmp_path / "runs" / f"run_{i}.stl")
        rows.append(f"run_{i},{i + 0.5},{3 * i + 0.01 * i * i}")
    (tmp_path / "runs" / "table.csv").write_text("\n".join(rows) + "\n")
    assert main(["fit", str(tmp_path / "runs"), "--out", str(tmp_path / "fit")]) == 0
    capsys.readouterr()
    model = str(tmp_path / "fit" / "model.ckpt")
    assert main(["predict", model, "--set", "load=5.5", "--out", str(tmp_path / "out"), "--json"]) == 0
    made = json.loads(capsys.readouterr().out)["the mesh of the training"]
    assert made["numbers"]["force"]["value"] == pytest.approx(15.25, abs=0.5)


def graphs(count: int, seed: int, noise: float) -> list[Data]:
    """Clouds whose result follows from their extent and a load."""
    rng, out = np.random.default_rng(seed), []
    for i in range(count):
        sides, load = rng.uniform([1, 0.5], [2, 1.5]), float(rng.uniform(0, 4))
        pos = torch.tensor(rng.random((60, 2)) * sides, dtype=torch.float32)
        graph = Data(pos=pos, name=f"case {i}")
        graph.conditions = {"load": load}
        graph.numbers = {"strain": float(load * sides[0] / sides[1] + 0.3 * load**1.5 + noise * rng.standard_normal())}
        out.append(graph)
    return out


def test_intervals_hold_at_twenty_cases(tmp_path: Path) -> None:
    """90 % on average over draws of the training: between 84 and 96 % of 6 x 60 new cases."""
    hits: list[bool] = []
    for seed in range(6):
        data = GraphList(graphs(20, seed, 0.2))
        surrogate = fit_numbers(data, FitConfig(out=str(tmp_path / str(seed)))).surrogate
        for graph in graphs(60, 100 + seed, 0.2):
            number = surrogate.predict(graph).numbers["strain"]
            assert number.low is not None and number.high is not None and number.true is not None
            hits.append(number.low <= number.true <= number.high)
    assert 0.84 <= np.mean(hits) <= 0.96, np.mean(hits)


def test_noise_alone_is_called_no_better_than_the_mean(tmp_path: Path) -> None:
    data = graphs(16, 0, 0.0)
    for i, graph in enumerate(data):
        graph.numbers = {"luck": float(np.random.default_rng(i + 7).standard_normal())}
    lines = fit_numbers(GraphList(data), FitConfig(out=str(tmp_path))).report.lines
    share = float(lines[0].partition("R2 ")[2].split()[0]) if "R2" in lines[0] else 0.0
    assert share < 0.4, lines


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": 4}, "4 cases are too few to learn results from: at least 5"),
        ({"numbers": ("stress",)}, "no case has the number 'stress'; there are 'strain'"),
        ({"constant": True}, "no result to learn: 'strain' is left out: it is the same in all cases"),
        ({"start": "model.ckpt"}, "'start' and 'networks' are for surrogates of fields, leave them out"),
    ],
)
def test_what_cannot_be_learnt_is_said(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    data = graphs(change.get("count", 12), 0, 0.1)
    if "constant" in change:
        for graph in data:
            graph.numbers = {"strain": 1.0}
    config = FitConfig(out=str(tmp_path), numbers=change.get("numbers"), start=change.get("start", ""))
    with pytest.raises(InputError, match=message):
        fit_numbers(GraphList(data), config)
    assert not (tmp_path / "model.ckpt").exists()


def test_named_cases_judge_and_a_gap_in_the_table_leaves_out_one_case(tmp_path: Path) -> None:
    data = graphs(14, 3, 0.05)
    data[5].numbers = {}
    result = fit_numbers(GraphList(data), FitConfig(out=str(tmp_path), test=("case 1", "case 2")))
    assert set(result.report.cases) == {"case 1", "case 2"} and result.surrogate.trust is not None
    assert len(result.surrogate.trust.cases) == 11 and "case 5" in " ".join(result.notes)
    assert result.report.baselines["constant"]["strain_error"] is not None
    assert [row["strain_reported"] for row in result.report.cases.values()] == [
        data[i].numbers["strain"] for i in (1, 2)
    ]


def test_outlines_hold_extents_areas_and_the_filled_share() -> None:
    from meshops.data.convert import from_pyvista

    box = from_pyvista(pv.Box(bounds=(3, 5, -1, 0, 7, 7.5)).triangulate(), location="cell")
    assert isinstance(box, MeshGraph)
    found = outline(box)
    np.testing.assert_allclose(np.exp(found[3]), 2 * (2 * 1 + 2 * 0.5 + 1 * 0.5), rtol=1e-5)
    np.testing.assert_allclose(np.exp(found[4:7]), [0.5, 1.0, 2.0], rtol=1e-5)


def test_a_column_that_nothing_names_is_taken_for_the_result(tmp_path: Path) -> None:
    from meshops.datasets import guess_study

    rows = ["part;load;Q7;round"]
    for i in range(6):
        body(np.array([1.0 + 0.1 * i, 0.5, 0.4]), 0.2).save(tmp_path / f"part_{i}.stl")
        rows.append(f"part_{i};{i + 0.5};{3 + i * i};1")
    (tmp_path / "table.csv").write_text("\n".join(rows) + "\n")
    study = guess_study(tmp_path)
    assert [entry.name for entry in study.numbers] == ["Q7"] and "load" in [entry.name for entry in study.conditions]
    assert "since none is named as one" in study.guesses["numbers.Q7"]
    rows[0] = "part;load;angle;speed"
    (tmp_path / "table.csv").write_text("\n".join(rows) + "\n")
    with pytest.raises(InputError, match="may hold results of the cases"):
        guess_study(tmp_path)


def test_forces_are_learnt_over_the_square_of_the_speed(tmp_path: Path) -> None:
    """Beyond the speeds of the training too, and through the checkpoint; a mass is not."""
    rng, data = np.random.default_rng(0), []
    for i in range(16):
        sides, speed = rng.uniform([1, 0.5], [2, 1.5]), float(rng.uniform(10, 30))
        graph = Data(pos=torch.tensor(rng.random((80, 2)) * sides, dtype=torch.float32), name=f"case {i}")
        graph.conditions = {"speed": speed}
        graph.numbers = {"drag": 0.1 * speed**2 * float(sides[1]), "mass": float(sides.prod())}
        data.append(graph)
    fit_numbers(GraphList(data), FitConfig(out=str(tmp_path)))
    surrogate = meshops.load(tmp_path / "model.ckpt")
    assert surrogate.trust is not None
    drag, mass = surrogate.trust.numbers
    assert "per speed squared" in drag.basis() and "squared" not in mass.basis()
    slow, fast = (surrogate.predict(data[3], conditions={"speed": v}).numbers["drag"].value for v in (20.0, 60.0))
    assert fast == pytest.approx(9 * slow, rel=0.15)
