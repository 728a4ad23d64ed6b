"""What everybody meets first: ``import meshops``, ``meshops --help``, and the answer to a slip of the pen."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

import meshops
from meshops.cli.main import VERBS, main

ROOT = Path(__file__).resolve().parents[1]
HEAVY = (
    "lightning",
    "numba",
    "pandas",
    "plotly",
    "pyvista",
    "scipy",
    "torch",
    "torch_geometric",
    "trimesh",
    "vtkmodules",
)


def python(code: str) -> str:
    """Output of a fresh interpreter in the checkout."""
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return result.stdout


def test_import_takes_less_than_half_a_second_and_loads_nothing_heavy() -> None:
    code = (
        "import json, sys, time; start = time.perf_counter(); import meshops; spent = time.perf_counter() - start;"
        f"print(json.dumps([spent, [name for name in {HEAVY} if name in sys.modules]]))"
    )
    runs = [json.loads(python(code)) for _ in range(3)]
    assert runs[0][1] == []
    assert min(spent for spent, _ in runs) < 0.5


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from meshops.cli.main import main; code = main(['--help']);"
        f"print(code, [name for name in {HEAVY} if name in sys.modules])"
    )
    assert python(code).splitlines()[-1] == "0 []"


def test_every_public_name_is_there() -> None:
    for name in meshops.__all__:
        assert getattr(meshops, name) is not None, name
        assert name in dir(meshops)


@pytest.mark.parametrize(
    ("package", "names"),
    [
        ("meshops.nn", "ContinuousConv MLP MeshBits PatchAttention SupernodePool quantize to_integers"),
        ("meshops.partition", "BallTree Cover Octree Partition create_partitioner register_partitioner"),
        ("meshops.metrics", "crps field_errors register_metric relative_l2 vrmse"),
        ("meshops.data", "KNNGraph LatentGrid MeshGraph Normalizer RadiusGraph grid_graph read write_mesh"),
        ("meshops.ops", "explain integer_linear knn_search radius_search segment_mean"),
        ("meshops.aero", "FlowConditions Forces Frame integrate_forces node_features"),
        ("meshops.solvers", "Simulation ahmed_body generate generate_mesh"),
        ("meshops.trust", "Novelty Yardsticks"),
        ("meshops.tasks", "FieldsSettings FieldsTask Prediction Report RolloutSettings Task get_task list_tasks"),
        ("meshops.training", "DataConfig RunConfig TrainConfig train train_stages"),
        ("meshops.datasets", "AhmedMini CaseDataset GraphList create detect names register_dataset"),
        ("meshops.viz", "graph_picture scene_html surface_picture write_report"),
        ("meshops.surrogate", "Surrogate load write_prediction"),
        ("meshops.models", "MSPT create_model list_models register_model"),
    ],
)
def test_packages_show_what_users_need(package: str, names: str) -> None:
    module = importlib.import_module(package)
    assert set(names.split()) <= set(module.__all__)


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = meshops.nothing


def test_the_version_stands_in_one_place() -> None:
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {meshops.__version__}\n" in citation
    assert 'dynamic = ["version"]' in (ROOT / "pyproject.toml").read_text()


def test_python_dash_m_prints_the_version() -> None:
    result = subprocess.run([sys.executable, "-m", "meshops", "--version"], cwd=ROOT, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, f"meshops {meshops.__version__}\n")


def test_help_lists_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == main([]) == 0
    text = capsys.readouterr().out
    assert all(f"  {verb} " in text for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith(f"usage: meshops {verb}")
    assert captured.err == ""
    assert max(map(len, captured.out.splitlines())) < 160


def test_an_unknown_verb_is_one_line_and_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predikt"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "unknown verb 'predikt'" in captured.err
    assert all(verb in captured.err for verb in VERBS)


MINIMAL = {"evaluate": ["a.ckpt", "--data", "ahmed_mini"], "predict": ["a.ckpt", "a.stl"], "partition": ["a.stl"],
           "data": ["check", "folder"], "solve": ["a.ckpt", "a.stl"]}  # fmt: skip


@pytest.mark.parametrize("verb", VERBS)
def test_an_unknown_option_is_one_line_and_code_2(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, *MINIMAL.get(verb, []), "--no-such-option", "1"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1, captured.err
    assert captured.err.startswith(f"meshops {verb}: ")
    assert "no-such-option" in captured.err
    assert f"meshops {verb} --help" in captured.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "no_such.yaml"], "no such file or recipe"),
        (["train", "demo", "--train.optimizer", "sgd"], "sgd"),
        (["predict", "no_such.ckpt", "a.stl"], "no such checkpoint file"),
        (["partition", "no_such.stl"], "no such file"),
        (["evaluate", "no_such.ckpt", "--data", "ahmed_mini"], "no such checkpoint file"),
        (["data", "check", "no_such_folder"], "no folder"),
        (["partition"], "file"),
    ],
)
def test_user_errors_are_short_and_code_2(
    arguments: list[str],
    words: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert words in captured.err
    assert 1 <= captured.err.count("\n") <= 3
    assert "Traceback" not in captured.err
