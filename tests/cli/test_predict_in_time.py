"""A folder of series in time: look, fit, and what follows the state in a file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import pyvista as pv

from meshops.cli.main import main

CASES, FRAMES = 8, 8


def state(rate: float, time: float, phase: float, material: float = 0.0) -> pv.UnstructuredGrid:
    """A hump on a plate that decays at a rate, twice as fast where the material is 1."""
    grid = pv.ImageData(dimensions=(8, 6, 1), spacing=(1 / 7, 0.1, 1)).cast_to_unstructured_grid()
    x, y = grid.points[:, 0], grid.points[:, 1]
    there = (x > phase).astype(float) * material
    grid.point_data["temperature"] = 20 + 10 * np.exp(-rate * time * (1 + there)) * (
        1 + np.sin(3 * x + phase) * (1 + y)
    )
    grid.point_data["material"] = there
    return grid


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Through the command line, as a user would."""
    root = tmp_path_factory.mktemp("series")
    rows = ["case,rate"]
    for c in range(CASES):
        rate = 0.5 + c / CASES
        rows.append(f"run_{c},{rate}")
        (root / "study" / f"run_{c}").mkdir(parents=True)
        for k in range(FRAMES):
            state(rate, 0.2 * k, c / CASES, 1.0).save(root / "study" / f"run_{c}" / f"step_{k:03d}.vtu")
    (root / "study" / "rates.csv").write_text("\n".join(rows) + "\n")
    assert main(["fit", str(root / "study"), "--minutes", "0.05", "--out", str(root / "fit")]) == 0
    return root


def test_what_follows_a_state_is_written_as_a_series(fitted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state(0.8, 0.0, 0.3, 1.0).save(fitted / "start.vtu")
    model, out = str(fitted / "fit" / "model.ckpt"), fitted / "out"
    given = ["predict", model, str(fitted / "start.vtu"), "--set", "rate=0.8", "--steps", "3", "--out", str(out)]
    assert main([*given, "--json"]) == 0
    said = capsys.readouterr()
    numbers = json.loads(said.out)[str(fitted / "start.vtu")]
    assert numbers["conditions"] == {"rate": 0.8} and numbers["times"] == [0, 1, 2, 3] and numbers["time_step"] is None
    assert "3 steps on 48 points" in said.err and "on held-out trajectories the N-RMSE" in said.err
    reader = pv.get_reader(out / "start_predicted.pvd")
    assert reader.time_values == [0.0, 1.0, 2.0, 3.0]
    first, last = (pv.read(out / "start_predicted" / f"step_000{k}.vtu") for k in (0, 3))
    start = pv.read(fitted / "start.vtu")
    np.testing.assert_allclose(first["temperature"], start["temperature"], rtol=1e-6)
    np.testing.assert_array_equal(last.points, start.points)
    assert last["temperature"].max() == pytest.approx(numbers["fields"]["temperature"]["max"][3])
    assert (out / "start_temperature.gif").is_file()
    assert main([*given, "--no-pictures"]) == 0, "the same file again replaces its own"
    assert sorted(file.name for file in (out / "start_predicted").iterdir()) == [f"step_000{k}.vtu" for k in range(4)]


def test_a_rate_beyond_the_training_and_many_steps_are_warned_of(
    fitted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mesh = state(0.8, 0.0, 0.3, 1.0)
    mesh.field_data["rate"] = [9.0]  # stored in the file, not given
    mesh.save(fitted / "fast.vtu")
    given = ["predict", str(fitted / "fit" / "model.ckpt"), str(fitted / "fast.vtu"), "--out", str(fitted / "far")]
    assert main([*given, "--steps", "9", "--no-pictures"]) == 0
    said = capsys.readouterr().err
    assert "warning: rate 9 lies outside of what was learnt from, 0.5" in said
    assert "warning: it was judged over 7 steps" in said


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ("no rate", [], "needs the condition 'rate'; give --set rate"),
        ("no field", ["--set", "rate=1"], "no field 'temperature' to start from at the points; arrays: 'material'"),
        ("no input", ["--set", "rate=1"], "'material'"),
        ("gap", ["--set", "rate=1"], "field 'temperature' holds NaN or infinite values at 1 of 48 points"),
        ("", ["--set", "rate=1", "--set", "load=2"], "not trained with the condition 'load'; it takes 'rate'"),
        ("", ["--set", "rate=1", "--steps", "0"], "--steps must be at least 1, got 0"),
        ("", ["--set", "rate=1", "--level", "0.9"], "--level is for surrogates of finished cases"),
        ("nothing", ["--set", "rate=1"], "give the file to start from"),
    ],
)
def test_a_start_that_cannot_be_used_is_named(
    fitted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str, options: list[str], message: str
) -> None:
    mesh = state(0.8, 0.0, 0.3, 1.0)
    if change == "no field":
        del mesh.point_data["temperature"]
    elif change == "no input":
        del mesh.point_data["material"]
    elif change == "gap":
        mesh.point_data["temperature"][3] = np.nan
    mesh.save(tmp_path / "start.vtu")
    files = [] if change == "nothing" else [str(tmp_path / "start.vtu")]
    out = tmp_path / "out"
    assert main(["predict", str(fitted / "fit" / "model.ckpt"), *files, "--out", str(out), *options]) == 2
    said = capsys.readouterr().err
    assert message in said and "Traceback" not in said
    assert not out.exists() or not any(out.iterdir()), "nothing is left behind"


def test_states_of_another_program_are_kept(fitted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state(0.8, 0.0, 0.3, 1.0).save(tmp_path / "start.vtu")
    mine = tmp_path / "out" / "start_predicted" / "notes.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("kept")
    given = ["predict", str(fitted / "fit" / "model.ckpt"), str(tmp_path / "start.vtu"), "--set", "rate=1"]
    assert main([*given, "--out", str(tmp_path / "out")]) == 2
    assert "holds other files than states of a prediction" in capsys.readouterr().err and mine.read_text() == "kept"
