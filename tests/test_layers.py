"""The order of the layers, the rules for imports and ``__all__``, and what must never stand in a file."""

from __future__ import annotations

import ast
import importlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "meshops"
LEAVES = {
    "checks", "errors", "folders", "io", "optional", "plain_yaml", "progress", "ranks", "reader_process",
    "tensor_files", "testing", "typing", "version",
}  # fmt: skip
# Lowest first; each may import what is below.
LOWER = (
    "ops", "metrics", "partition", "data", "aero", "nn", "models", "tasks", "trust", "surrogate", "training",
    "selection", "serve", "cli",
)  # fmt: skip
BESIDE = {
    "solvers": {"ops", "partition", "data", "aero"},
    "datasets": {"ops", "partition", "data", "aero", "solvers"},
    "viz": {"ops", "metrics", "partition", "data", "aero"},
    "doctor": {"metrics", "data", "aero", "datasets"},
    "bench": {"ops", "partition"},
    "testing": {"ops", "partition", "data", "aero", "solvers", "datasets"},
}
BELOW = {name: set(LOWER[:place]) for place, name in enumerate(LOWER)} | BESIDE
BELOW["metrics"] = {"ops"}
for upper in ("tasks", "trust", "surrogate", "training", "selection", "serve", "cli"):
    BELOW[upper] |= {"datasets", "viz"}
BELOW["selection"] |= {"doctor"}
BELOW["cli"] |= {"solvers", "bench", "doctor"}
BELOW |= {leaf: set() for leaf in LEAVES - {"testing"}}
MODEL_FACTORY = {"create_model", "list_models", "model_arguments", "model_takes", "register_model"}
# What tasks may know of data sets: what any of them is, none by name.
DATASET_BASES = {
    "base", "trajectory", "mesh_trajectory", "point_trajectories", "graph_list", "graph_trajectories", "told_parameters"
}  # fmt: skip
FILES = sorted(PACKAGE.rglob("*.py"))
# Spelled with character classes so that this file does not find itself.
MACHINE_PATH = re.compile(r"(?<![\w.~$}])/(?:tmp|work|root|home|Users)/\w")
REGISTRY = re.compile(r"pypi[.]org|pythonhosted[.]org|download[.]pytorch[.]org|data[.]pyg[.]org|npmjs[.]|index[-]url")


def imports_of(tree: ast.AST) -> list[tuple[str, str, int]]:
    """(module, name, line) of every import of meshops, in functions and under TYPE_CHECKING too.

    A string that is exactly a module of meshops counts: it is there to be imported by name.
    """
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, "", node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [(node.module or "", alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if re.fullmatch(r"meshops(\.\w+)+", node.value):
                found.append((node.value, "", node.lineno))
    return [item for item in found if item[0].split(".")[0] == "meshops"]


def layer_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def targets(module: str, name: str) -> tuple[str, str]:
    """Layer and dotted rest of an import; ``from meshops import data`` counts as ``meshops.data``."""
    parts = module.split(".")[1:] or ([name] if name in BELOW else [])
    return (parts[0] if parts else ""), ".".join(parts[1:])


def violations(source: str, layer: str) -> list[str]:
    """Imports that a file of a layer may not have."""
    wrong = []
    for module, name, line in imports_of(ast.parse(source)):
        target, rest = targets(module, name)
        if target in ("", layer) or target in LEAVES or target in BELOW[layer]:
            if target == "models" and layer == "tasks" and (rest not in ("", "registry") or name not in MODEL_FACTORY):
                wrong.append(f"line {line}: tasks name the model {module} {name}")
            if target == "datasets" and layer in ("tasks", "trust", "surrogate") and rest not in DATASET_BASES:
                wrong.append(f"line {line}: {layer} names the data set {module} {name}")
            continue
        wrong.append(f"line {line}: {layer} imports {module}")
    return wrong


def test_every_part_of_the_package_has_a_layer() -> None:
    assert {layer_of(path) for path in FILES} - set(BELOW) == {"__init__", "__main__"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_keep_the_order_of_the_layers(path: Path) -> None:
    layer = layer_of(path)
    if layer in ("__init__", "__main__"):  # the facade and the entry point
        return
    assert violations(path.read_text(encoding="utf-8"), layer) == []


@pytest.mark.parametrize(
    ("layer", "source"),
    [
        ("ops", "from meshops.partition import BallTree"),
        ("nn", "def f():\n    from meshops.datasets.base import CaseDataset"),
        ("models", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import meshops.training.run"),
        ("viz", "from meshops.tasks.cases import Case"),
        ("datasets", "from meshops import training"),
        ("tasks", "from meshops.models.mspt import MSPT"),
        ("tasks", "from meshops.models import MSPT"),
        ("tasks", "from meshops.datasets import Elasticity"),
        ("trust", "from meshops.surrogate import load"),
        ("metrics", "from meshops.partition import BallTree"),
        ("data", "import importlib\nimportlib.import_module('meshops.nn.mlp')"),
    ],
)
def test_a_forbidden_import_is_found(layer: str, source: str) -> None:
    assert len(violations(source, layer)) == 1


def module_name(path: Path) -> str:
    """Dotted name of a file of the package."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def test_no_import_circle() -> None:
    """No module needs, directly or through others, a module that needs it; imports inside of functions count."""
    names = {module_name(path) for path in FILES}
    needs: dict[str, set[str]] = {}
    for path in FILES:
        own = module_name(path)
        if own == "meshops":
            continue  # the facade: names everything, and everything may name its package
        found = {f"{m}.{n}" if f"{m}.{n}" in names else m for m, n, _ in imports_of(ast.parse(path.read_text("utf-8")))}
        needs[own] = (found & names) - {own, "meshops"}
    while free := {name for name, others in needs.items() if not others & set(needs)}:
        needs = {name: others for name, others in needs.items() if name not in free}
    assert sorted(needs) == [], "these need each other, or what does"


def test_no_relative_and_no_star_imports() -> None:
    for path in [*FILES, *ROOT.glob("examples/*.py"), *ROOT.glob("tests/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}:{node.lineno}: relative import"
                assert all(alias.name != "*" for alias in node.names), f"{path}:{node.lineno}: star import"


def test_cards_are_no_packages() -> None:
    found = [path for folder in ("models", "datasets") for path in (ROOT / folder).rglob("*.py")]
    assert found == []


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("__init__.py")), ids=lambda p: str(p.parent.relative_to(ROOT)))
def test_init_files_hold_docstring_imports_and_all(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), "no docstring"
    if path.parent == PACKAGE:  # the facade imports lazily and may define functions
        return
    for node in tree.body[1:]:
        is_all = isinstance(node, ast.Assign) and [ast.unparse(t) for t in node.targets] == ["__all__"]
        assert is_all or isinstance(node, ast.Import | ast.ImportFrom), f"line {node.lineno}: {ast.unparse(node)[:60]}"


def with_all() -> list[str]:
    modules = []
    for path in FILES:
        if re.search(r"^__all__", path.read_text(encoding="utf-8"), re.MULTILINE):
            parts = path.relative_to(ROOT).with_suffix("").parts
            modules.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return modules


def order(name: str) -> tuple[int, str]:
    """Ruff's order: constants, classes, functions."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


@pytest.mark.parametrize("name", with_all())
def test_all_names_exist_and_are_sorted(name: str) -> None:
    module = importlib.import_module(name)
    assert list(module.__all__) == sorted(set(module.__all__), key=order)
    missing = [item for item in module.__all__ if not hasattr(module, item)]
    assert missing == []


def repository_files() -> list[Path]:
    """Files of the checkout that git does not ignore; of an unpacked archive, all of them."""
    if shutil.which("git") and (ROOT / ".git").exists():
        command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
        listed = subprocess.run(command, capture_output=True, check=True).stdout.decode().split("\0")
        return [ROOT / name for name in listed if name and (ROOT / name).is_file()]
    folders = ("meshops", "models", "datasets", "examples", "tests", "docs")
    return [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]


def test_no_file_names_a_machine_or_a_registry() -> None:
    found = []
    for path in repository_files():
        content = path.read_bytes()
        if b"\0" in content[:4096]:
            continue
        for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), start=1):
            match = MACHINE_PATH.search(line) or REGISTRY.search(line)
            if match:
                found.append(f"{path.relative_to(ROOT)}:{number}: {match.group()}")
    assert found == []


def test_the_search_for_machine_paths_finds_them() -> None:
    for text in ("open('" + "/tm" + "p/x')", "see " + "/ho" + "me/anna", "PATH=" + "/ro" + "ot/bin"):
        assert MACHINE_PATH.search(text), text
    for text in ("runs/tmp/x", "https://example.org/home/x", "$OUT/tmp/x", "tmp_path / 'a'"):
        assert not MACHINE_PATH.search(text), text
