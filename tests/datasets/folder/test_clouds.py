"""A folder of point clouds: looked at, fitted and predicted like meshes, from tables and from arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import meshops
from meshops.datasets.study import guess_study
from meshops.errors import InputError
from meshops.selection import FitConfig, fit


def clouds(root: Path, ending: str, count: int = 9) -> Path:
    root.mkdir()
    rng = np.random.default_rng(0)
    rows = ["case,angle"]
    for k in range(count):
        angle = float(rng.uniform(0, 3))
        places = rng.random((150 + k, 2))
        p = np.sin(3 * places[:, 0] + angle)
        rows.append(f"case_{k},{angle}")
        if ending == ".csv":
            table = np.column_stack([places, p])
            np.savetxt(root / f"case_{k}.csv", table, delimiter=",", header="x,y,p", comments="")
        else:
            np.savez(root / f"case_{k}.npz", pos=places, p=p)
    (root / "angles.csv").write_text("\n".join(rows))
    return root


@pytest.mark.parametrize("ending", [".csv", ".npz"])
def test_clouds_are_a_study_with_its_table(ending: str, tmp_path: Path) -> None:
    study = guess_study(clouds(tmp_path / "runs", ending))
    assert [entry.name for entry in study.fields] == ["p"] and [entry.name for entry in study.conditions] == ["angle"]
    assert study.tables == ("angles.csv",) and study.files.endswith(ending)
    data = study.open()
    assert len(data) == 9 and data[0].pos.shape == (150, 2) and data[0].get("edge_index") is None
    result = fit(data, FitConfig(minutes=0.05, out=str(tmp_path / "fit"), networks=()))
    file = tmp_path / "runs" / f"case_3{ending}"
    made = meshops.load(result.folder / "model.ckpt").predict(file, conditions=data.conditions_of(3))
    assert made.fields["p"].shape == (153,) and 0 < made.errors["p"]["rel_l2"] < 0.5
    assert made.mesh.n_points == 153 and "p_predicted" in made.mesh.point_data


def test_one_table_with_places_is_no_study(tmp_path: Path) -> None:
    (tmp_path / "probes.csv").write_text("x,y,p\n0,1,2\n1,0,3\n2,2,4\n")
    with pytest.raises(InputError, match=r"tables \(with columns x, y, z\) or arrays of points, a file per case"):
        guess_study(tmp_path)
