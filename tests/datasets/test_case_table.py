"""What a run on mesh files makes of a table with a row per case."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import meshops
from meshops.cli.main import main
from meshops.data.grid import grid_graph
from meshops.data.mesh_graph import MeshGraph
from meshops.datasets import MeshFiles
from meshops.datasets.mesh_files import write_graphs
from meshops.errors import InputError


def table(folder: Path, text: str) -> Path:
    path = folder / "cases.csv"
    path.write_text(text, encoding="utf-8-sig")
    return path


def test_a_case_without_a_row_is_named(study: Path) -> None:
    lines = (study / "cases.csv").read_text().splitlines()
    (study / "cases.csv").write_text("\n".join(line for line in lines if "part_4" not in line))
    data = MeshFiles(study, conditions=["load"])
    index = data.cases.index("part_4")
    with pytest.raises(InputError, match=r"part_4: no row of a table gives 'load'; rows: 'part_0'"):
        data.conditions_of(index)
    assert [problem.case for problem in data.check()] == ["part_4"]
    with pytest.raises(InputError, match=r"no column 'weight'; columns: 'case', 'load', 'largest'"):
        MeshFiles(study, conditions=["weight"])


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A field that is the load times a shape, on one small mesh; the largest value is a number."""
    graphs, rows = [], ["case,load [kN],largest [MPa]"]
    for i, load in enumerate(np.linspace(1, 5, 9)):
        graph = grid_graph(torch.zeros(5, 4, 1))
        x = graph.pos[:, :1] / 5
        cells = [[a + 4 * b, a + 1 + 4 * b, a + 5 + 4 * b, a + 4 + 4 * b] for a in range(3) for b in range(4)]
        made = MeshGraph(
            pos=graph.pos, y=float(load) * (1 + x), y_names=("stress",), y_sizes=(1,), name=f"part_{i}",
            cell_size=torch.full((12,), 4), cell_nodes=torch.tensor(cells).flatten(), cell_type=torch.full((12,), 9),
            location="point",
        )  # fmt: skip
        graphs.append(made)
        rows.append(f"part_{i},{load},{float(made.y.max())}")
    order = [0, 2, 4, 6, 8, 1, 3, 5, 7]
    write_graphs([graphs[i] for i in order], tmp_path / "study", test=2)
    table(tmp_path / "study", "\n".join(rows) + "\n")
    return tmp_path / "study"


def test_conditions_and_numbers_of_a_table_are_learnt_and_asked_for(study: Path, tmp_path: Path) -> None:
    data = MeshFiles(study, conditions="load", numbers=["largest"])
    assert MeshFiles(study).conditions_of(0) == {}
    assert data.conditions_of(0) == {"load": 1.0} and set(data.numbers_of(0)) == {"largest"}
    command = [
        "train", "--data.name", "mesh_files", "--data.root", str(study), "--data.options",
        '{"conditions": "load", "numbers": "largest"}',
        "--task.numbers", '["largest"]',
        "--model", '{"name": "transformer", "channels": 16, "depth": 1, "num_heads": 2}',
        "--train.steps", "250", "--train.lr", "5e-3", "--train.accelerator", "cpu", "--out", str(tmp_path / "run"),
    ]  # fmt: skip
    assert main(command) == 0
    surrogate = meshops.load(tmp_path / "run" / "model.ckpt")
    assert surrogate.spec.conditions == ("load",) and surrogate.spec.named("load") == "load [kN]"
    file = next((study / "test").glob("*.vtu"))
    low, high = (surrogate.predict(file, conditions={"load": load}) for load in (2.0, 4.0))
    assert np.mean(high.fields["stress"] / low.fields["stress"]) == pytest.approx(2, rel=0.1)
    assert high.numbers["largest"].value / low.numbers["largest"].value == pytest.approx(2, rel=0.25)
    far = surrogate.predict(file, conditions={"load": 50.0})
    assert any("load [kN] = 50 is outside the 1 to 5" in note for note in far.case.notes)


def test_commands_say_what_is_wrong_with_conditions(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = ["train", "--data.name", "mesh_files", "--data.root", str(study), "--train.steps", "2",
            "--data.options", '{"conditions": "load"}',
            "--model", '{"name": "mppde", "channels": 8, "depth": 1}', "--train.accelerator", "cpu"]  # fmt: skip
    assert main([*base, "--out", str(tmp_path / "run")]) == 0
    file = str(next((study / "test").glob("*.vtu")))
    checkpoint = str(tmp_path / "run" / "model.ckpt")
    for given, says in (
        ([], "needs the condition 'load'"),
        (["--set", "speed=3"], "not trained with the condition 'speed'"),
        (["--set", "load=much"], "a condition is a number"),
    ):
        assert main(["predict", checkpoint, file, "--out", str(tmp_path / "out"), *given]) == 2
        assert says in capsys.readouterr().err
    assert main(["predict", checkpoint, file, "--out", str(tmp_path / "out"), "--set", "load=3"]) == 0
    bad = [*base, "--task.numbers", '["weight"]', "--out", str(tmp_path / "bad")]
    assert main(bad) == 2 and "no number 'weight' to learn" in capsys.readouterr().err
