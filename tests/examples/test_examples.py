"""Every example is short, does nothing when imported, and with ``--smoke`` gives the numbers it promises."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "examples"
EXAMPLES = sorted(path.stem for path in FOLDER.glob("*.py"))
NEED_SOLVER = ("darcy_amq", "elasticity_amq")
# One of every kind in the default tests; ``make examples`` runs all.
QUICK = ("partition_mesh", "the_well_iap", "darcy_amq", "drivaernet_transolver", "cylinder_meshgraphnet")
PICTURES = {
    "airfoil_mspt": ("airfoil_mspt.png",),
    "airfrans_gino": ("airfrans_gino.png",),
    "cfdbench_amr": ("regions.png",),
    "darcy_amq": ("darcy.png", "run/case.png"),
    "eagle_graphvit": ("wake.png",),
    "elasticity_amq": ("elasticity.png",),
    "partition_mesh": ("patches.vtp", "patches.png"),
    "shapenet_car_amq": ("car_pressure.png",),
    "shock_amr": ("regions.png", "rollout.png"),
    "the_well_iap": ("tokens.png", "patches.png"),
}


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
    return {key: float(value) for key, value in re.findall(r"([a-z]\w+) (\d+\.\d+)", line.partition("#")[2])}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_short_and_says_what_to_expect(name: str) -> None:
    text = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 80
    assert text.startswith('"""')
    assert f"python examples/{name}.py" in text.partition('"""\n\n')[0]
    assert promised(name)
    if name not in ("partition_mesh", "predict_stl"):  # these take a file
        assert "--root" in text


@pytest.mark.parametrize("name", EXAMPLES)
def test_importing_an_example_does_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert callable(load(name).main)
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in EXAMPLES])
def test_an_example_gives_what_it_promises(name: str, tmp_path: Path) -> None:
    if name in NEED_SOLVER:
        pytest.importorskip("skfem")
    numbers = load(name).main(["--smoke", "--out", str(tmp_path)])
    for key, value in promised(name).items():
        assert numbers[key] == pytest.approx(value, rel=0.1 if name == "ahmed_surface" else 0.05), key
    assert numbers.get("auxiliary_share", 0) <= 0.03
    assert numbers.get("integers_differ_by", 0) < 0.2
    for picture in PICTURES.get(name, ()):
        assert (tmp_path / picture).stat().st_size > 5_000
    if name == "partition_mesh":
        assert numbers["radius_tree"] < 0.4 * numbers["radius_file_order"]
        assert numbers["largest"] - numbers["smallest"] <= 1
        assert numbers["patches"] * numbers["smallest"] <= numbers["cells"] <= numbers["patches"] * numbers["largest"]
    if name == "ahmed_surface":
        assert numbers["pressure_error"] < numbers["mean_pressure_error_of_yardstick"]
        for file in ("model.ckpt", "metrics.json", "config.yaml", "run_5_predicted.vtp", "cases/run_5/boundary_5.vtp"):
            assert (tmp_path / file).is_file(), file
    if name == "predict_stl":
        assert numbers["frontal_area"] == pytest.approx(0.36 * 0.29, rel=1e-3)  # silhouette of a box with rounded nose
        assert numbers["closure"] < 1e-6 and numbers["level"] == "inside"
        report = Path(str(numbers["report"])).read_text(encoding="utf-8")
        assert "Inside the training range" in report and "shape_predicted.vtp" in report
        known = ["--checkpoint", str(tmp_path / "run" / "model.ckpt")]
        again = load(name).main(["--smoke", "--out", str(tmp_path / "again"), *known])
        assert again["cd"] == pytest.approx(numbers["cd"], rel=1e-5)


def test_partition_mesh_reads_a_file(tmp_path: Path) -> None:
    import pyvista as pv

    pv.Sphere().save(tmp_path / "ball.stl")
    numbers = load("partition_mesh").main([str(tmp_path / "ball.stl"), "--patch-size", "120", "--out", str(tmp_path)])
    assert (numbers["cells"], numbers["patches"], numbers["largest"]) == (1680, 16, 105)


def test_every_example_is_on_its_page() -> None:
    page = (FOLDER.parent / "docs" / "start" / "examples.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"\(\.\./\.\./examples/(\w+)\.py\)", page)) == EXAMPLES
