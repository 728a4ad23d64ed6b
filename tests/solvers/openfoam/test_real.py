"""OpenFOAM on small bodies: layout, forces, stagnation; a solution as the start; what look and the reader see."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from meshops.cli.main import main
from meshops.data.openfoam import read_case
from meshops.datasets.ahmed import AhmedML
from meshops.solvers.ahmed_body import ahmed_body
from meshops.solvers.openfoam import AhmedSettings, add_to_study, find_programs, prepare_shape, run_starts

pytestmark = [
    pytest.mark.openfoam,
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("simpleFoam") is None, reason="needs OpenFOAM: apt-get install openfoam"),
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One body of a few thousand cells, as the command line makes it."""
    out = tmp_path_factory.mktemp("real") / "bodies"
    words = f"--num 1 --cells 4000 --residual 1e-3 --volume --out {out} --range slant_angle=10:12"
    assert main(["generate", "ahmed", *words.split()]) == 0
    return out


def test_a_body_is_whole_its_drag_plausible_and_its_pressure_that_of_a_stagnation(root: Path) -> None:
    data = AhmedML(root, "all")
    surface, numbers = data[0], data.numbers_of(0)
    assert 0.2 < numbers["cd"] < 0.7  # coarse
    pressure = 2 * surface.field("pMean").numpy()
    assert 0.85 < pressure.max() < 1.1
    nose = surface.pos[int(pressure.argmax())]
    assert float(nose[0]) < 0.05
    closure = (surface.normal * surface.area[:, None]).sum(0) / surface.area.sum()
    assert closure.abs().max() < 1e-4
    drag = -(pressure * surface.normal.numpy()[:, 0] * surface.area.numpy()).sum() / data.parameters(0)["frontal-area"]
    assert 0.7 * numbers["cd"] < drag < numbers["cd"]  # the rest is friction
    air = AhmedML(root, "all", domain="volume")[0]
    assert 1.0 < float(air.field("UMean").norm(dim=1).max()) < 2.5


def test_the_same_command_does_nothing_more_and_look_reads_the_folder(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (root / "run_1" / "boundary_1.vtp").stat().st_mtime_ns
    words = f"--num 1 --cells 4000 --residual 1e-3 --volume --out {root} --range slant_angle=10:12"
    assert main(["generate", "ahmed", *words.split()]) == 0
    assert (root / "run_1" / "boundary_1.vtp").stat().st_mtime_ns == before
    capsys.readouterr()
    assert main(["look", str(root), "--out", str(tmp_path / "look"), "--no-pictures"]) == 0
    assert "pMean" in capsys.readouterr().out


def test_a_solution_as_the_start_is_worth_most_of_the_iterations(tmp_path: Path) -> None:
    programs = find_programs(("blockMesh", "snappyHexMesh", "simpleFoam", "potentialFoam"))
    body = ahmed_body(1.044, 0.389, 0.288, 0.1, 0.222, 10.0, 0.05, edge=0.05)
    settings = AhmedSettings(cells=4000, residual=1e-3)
    made = prepare_shape(tmp_path / "mesh", body, settings, programs)

    def solved(mesh: object) -> dict[str, np.ndarray]:
        inside = read_case(tmp_path / "stream").mesh.cell_data
        once = {name: np.asarray(inside[name]) for name in ("U", "p", "k", "nut")}
        return {name: np.concatenate([values, values]) for name, values in once.items()}

    stream, again, potential = run_starts(made, ["stream", "exact", "potential"], programs, {"exact": solved})
    assert stream.converged
    assert again.converged
    assert again.iterations < 0.6 * stream.iterations
    assert again.drag[-1] == pytest.approx(stream.drag[-1], rel=0.02)
    assert potential.drag[-1] == pytest.approx(stream.drag[-1], rel=0.02)
    study = add_to_study(tmp_path / "study", tmp_path / "stream", settings, area=0.389 * 0.338)
    assert study.name == "run_1"
    assert AhmedML(tmp_path / "study", "all", domain="all")[0].fields == (
        "pMean", "wallShearStressMean", "pMean_volume", "UMean"
    )  # fmt: skip
