"""Which surrogates can start a solver, and what they say of the air."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import pyvista as pv

from meshops.cli.main import main
from meshops.datasets.ahmed import AhmedMini, AhmedML
from meshops.solvers.openfoam.mirror import mirrored
from meshops.surrogate import load
from meshops.surrogate.air import air_at_cells, air_fields


def test_a_surrogate_of_surfaces_is_refused_with_what_to_train(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shape = tmp_path / "shape.stl"
    pv.Cube(center=(0.5, 0, 0.3), x_length=1, y_length=0.3, z_length=0.3).triangulate().save(shape)
    assert main(["solve", str(checkpoint), str(shape), "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert "fields on the surface alone ('pMean', 'wallShearStressMean')" in told
    assert "meshops generate ahmed --volume" in told
    assert not (tmp_path / "out").exists()
    assert main(["solve", str(checkpoint), "no.stl", "--out", str(tmp_path / "out")]) == 2
    assert "no such shape or case" in capsys.readouterr().err


@pytest.fixture(scope="module")
def joint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A joint surrogate of surface and air, two steps on a body in a box of hexahedra with made fields."""
    root = AhmedMini("all").to_case_folder(tmp_path_factory.mktemp("joint") / "cases", [0])
    volume = air_box()
    center = np.asarray(volume.cell_centers().points)
    volume.cell_data["pMean"] = center[:, 0].astype(np.float32)
    volume.cell_data["UMean"] = np.c_[np.ones(len(center)), center[:, 1:]].astype(np.float32)
    volume.save(root / "run_1" / "volume_1.vtu")
    options = '{"domain": "all", "split_method": {"train": "1"}}'
    words = f"--model.depth 1 --model.channels 8 --model.num_heads 1 --model.num_patches 2 --out {root.parent / 'run'}"
    words += f" --task.nodes 200 --train.steps 2 --data.root {root}"
    file = Path(__file__).resolve().parents[2] / "models" / "mspt" / "ahmed_start_cpu.yaml"
    assert main(["train", str(file), *words.split(), "--data.options", options]) == 0
    return root.parent / "run" / "model.ckpt"


def air_box() -> pv.UnstructuredGrid:
    """A box of cells with a block cut out."""
    axes = np.linspace(-2, 3, 11), np.linspace(0, 1, 4), np.linspace(0, 1.5, 6)
    box = pv.StructuredGrid(*np.meshgrid(*axes, indexing="ij")).cast_to_unstructured_grid()
    center = np.asarray(box.cell_centers().points)
    inside = (np.abs(center[:, 0] - 0.5) < 0.8) & (center[:, 1] < 0.35) & (np.abs(center[:, 2] - 0.6) < 0.35)
    return mirrored(box.extract_cells(np.flatnonzero(~inside)))  # type: ignore[return-value]


def test_a_joint_surrogate_answers_at_the_cells_and_names_its_fields(joint: Path) -> None:
    surrogate, mesh = load(joint), air_box()
    fields = air_fields(surrogate)
    assert fields == {"U": "UMean", "p": "pMean_volume"}
    told = air_at_cells(surrogate, mesh, fields=fields)
    assert told["U"].shape == (mesh.n_cells, 3)
    assert told["p"].shape == (mesh.n_cells,)
    assert all(np.isfinite(values).all() for values in told.values())
    with pytest.raises(ValueError, match="'pMean' has 1 channels, U has 3"):
        air_fields(surrogate, velocity="pMean")
    with pytest.raises(ValueError, match=r"'nothing' is not among them.*--pressure NAME"):
        air_fields(surrogate, pressure="nothing")


def test_the_points_of_a_prediction_are_those_of_the_training(joint: Path) -> None:
    from meshops.aero.around import points_around

    case = AhmedML(joint.parents[1] / "cases", "all", domain="all")[0]
    air = int((case.node_type == 2).sum())
    surface = AhmedML(joint.parents[1] / "cases", "all")[0]
    made = points_around(case.pos[:air], surface.pos, surface.normal)
    assert made.x.equal(case.x)
    assert made.pos.equal(case.pos)
    assert made.node_type.equal(case.node_type)
