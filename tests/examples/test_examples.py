"""Every example runs in smoke mode and gives the numbers its first lines promise."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "examples"
EXAMPLES = sorted(FOLDER.glob("*.py"))


def load(name: str) -> Any:
    """An example as a module; importing it must do nothing."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", FOLDER / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def promised(name: str) -> dict[str, float]:
    """Numbers in the line of the docstring that ends the command with ``--smoke``."""
    line = next(row for row in (FOLDER / f"{name}.py").read_text().splitlines() if "--smoke" in row and "#" in row)
    return {key: float(value) for key, value in re.findall(r"([a-z_]+) (\d+\.\d+)", line.partition("#")[2])}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short_and_says_what_to_expect(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 120
    assert text.startswith('"""')
    assert f"python examples/{path.name}" in text.partition('"""\n\n')[0]
    assert promised(path.stem)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_importing_an_example_does_nothing(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert callable(load(path.stem).main)
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().out == ""


def test_partition_mesh(tmp_path: Path) -> None:
    numbers = load("partition_mesh").main(["--smoke", "--out", str(tmp_path)])
    for name, value in promised("partition_mesh").items():
        assert numbers[name] == pytest.approx(value, rel=0.05)
    assert numbers["radius_tree"] < 0.4 * numbers["radius_file_order"]
    assert numbers["largest"] - numbers["smallest"] <= 1
    assert numbers["patches"] * numbers["smallest"] <= numbers["cells"] <= numbers["patches"] * numbers["largest"]
    assert (tmp_path / "patches.vtp").stat().st_size > 10_000
    assert (tmp_path / "patches.png").stat().st_size > 10_000


def test_partition_mesh_reads_a_file(tmp_path: Path) -> None:
    import pyvista as pv

    pv.Sphere().save(tmp_path / "ball.stl")
    numbers = load("partition_mesh").main([str(tmp_path / "ball.stl"), "--patch-size", "120", "--out", str(tmp_path)])
    assert (numbers["cells"], numbers["patches"], numbers["largest"]) == (1680, 16, 105)


@pytest.mark.slow
def test_ahmed_surface(tmp_path: Path) -> None:
    numbers = load("ahmed_surface").main(["--smoke", "--out", str(tmp_path)])
    assert numbers["pressure_error"] == pytest.approx(promised("ahmed_surface")["pressure_error"], rel=0.1)
    assert numbers["pressure_error"] < numbers["mean_pressure_error_of_yardstick"]
    assert numbers["true_cd"] == pytest.approx(0.3095, abs=2e-3)
    for name in ("model.ckpt", "metrics.json", "config.yaml", "run_5_predicted.vtp", "cases/run_5/boundary_5.vtp"):
        assert (tmp_path / name).is_file(), name


@pytest.mark.slow
def test_predict_stl(tmp_path: Path) -> None:
    numbers = load("predict_stl").main(["--smoke", "--out", str(tmp_path)])
    assert numbers["frontal_area"] == pytest.approx(promised("predict_stl")["frontal_area"], rel=1e-3)
    assert numbers["frontal_area"] == pytest.approx(0.36 * 0.29, rel=1e-3)  # the silhouette of a box with rounded nose
    assert numbers["closure"] < 1e-6
    assert numbers["level"] == "inside"
    report = Path(str(numbers["report"])).read_text(encoding="utf-8")
    assert "Inside the training range" in report and "shape_predicted.vtp" in report
    again = load("predict_stl").main(
        ["--smoke", "--out", str(tmp_path / "again"), "--checkpoint", str(tmp_path / "run" / "model.ckpt")]
    )
    assert again["cd"] == pytest.approx(numbers["cd"], rel=1e-5)


@pytest.mark.parametrize(
    ("name", "figure", "pictures"),
    [
        ("shock_amr", "keep_last_frame_vrmse", ("regions.png", "rollout.png")),
        ("the_well_iap", "keep_last_frame_vrmse", ("tokens.png", "patches.png")),
        pytest.param("cfdbench_amr", "nmse_keep_last_frame", ("regions.png",), marks=pytest.mark.slow),
    ],
)
def test_adaptive_grids(name: str, figure: str, pictures: tuple[str, ...], tmp_path: Path) -> None:
    numbers = load(name).main(["--smoke", "--out", str(tmp_path / "run")])
    assert numbers[figure] == pytest.approx(promised(name)[figure], rel=0.01)
    for picture in pictures:
        assert (tmp_path / "run_smoke" / picture).stat().st_size > 5_000


@pytest.mark.parametrize(
    ("name", "figure", "pictures"),
    [
        ("darcy_amq", "cost_over_uniform", ("darcy.png", "run/case.png")),
        pytest.param("elasticity_amq", "cost_over_uniform", ("elasticity.png",), marks=pytest.mark.slow),
        ("eagle_graphvit", "first_frame_kept", ("wake.png",)),
        ("shapenet_car_amq", "size_over_float", ("car_pressure.png",)),
    ],
)
def test_bits(name: str, figure: str, pictures: tuple[str, ...], tmp_path: Path) -> None:
    if name in ("darcy_amq", "elasticity_amq"):
        pytest.importorskip("skfem")
    numbers = load(name).main(["--smoke", "--out", str(tmp_path)])
    assert numbers[figure] == pytest.approx(promised(name)[figure], rel=0.03)
    assert numbers.get("auxiliary_share", 0) <= 0.03
    assert numbers.get("integers_differ_by", 0) < 0.2
    for picture in pictures:
        assert (tmp_path / picture).stat().st_size > 5_000
