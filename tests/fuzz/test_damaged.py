"""A little fuzzing of every reader in the default tests; ``python -m tests.fuzz`` does much of it."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshops import tensor_files
from meshops.data import formats
from meshops.datasets.folder.array_files import shapes_in, take
from meshops.datasets.folder.tables import read_table
from meshops.errors import CheckpointError, InputError
from meshops.plain_yaml import load_yaml
from meshops.surrogate import read_checkpoint, write_checkpoint
from tests.fuzz import mutate, seeds

FEW = settings(
    max_examples=20, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
NAMES = [
    "stl: binary.stl", "stl: text.stl", "stl: utf-16.stl", "obj: plain.obj", "obj: parts.obj", "ply: binary.ply",
    "ply: text.ply", "su2: plane.su2", "su2: zones.su2", "gmsh: 2.2 text.msh", "gmsh: 2.2 binary.msh",
    "gmsh: 4.0 text.msh", "gmsh: 4.0 binary.msh", "gmsh: 4.1 text.msh", "gmsh: 4.1 binary.msh", "gmsh: 1.msh",
    "openfoam: text", "openfoam: binary", "openfoam: text packed", "calculix: a.frd", "points: blanks.txt",
    "points: commas.csv",
]  # fmt: skip


@pytest.fixture(scope="module")
def writers() -> dict[str, Callable[[Path], object]]:
    return dict(seeds.meshes())


def test_every_own_reader_is_here(writers: dict[str, Callable[[Path], object]]) -> None:
    own = {"stl", "obj", "ply", "gmsh", "su2", "openfoam", "calculix", "points"}
    assert {name for name in writers if name.partition(":")[0] in own} == set(NAMES)
    safe = {kind.name for kind in formats.FORMATS.values() if kind.safe}
    assert safe == {"STL", "Wavefront OBJ", "PLY", "gmsh", "SU2", "OpenFOAM", "CalculiX", "table of points"}


@pytest.mark.filterwarnings("ignore::meshops.errors.DataWarning")
@pytest.mark.parametrize("name", NAMES)
def test_own_readers_read_or_refuse(
    name: str, writers: dict[str, Callable[[Path], object]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("seed")
    path = root / name.partition(": ")[2]
    writers[name](path)
    files = sorted(file for file in root.rglob("*") if file.is_file())
    whole = {file: file.read_bytes() for file in files}
    assert formats.read_here(path).mesh.n_points > 0

    @FEW
    @given(seed=st.integers(0, 2**32))
    def damaged(seed: int) -> None:
        draw = random.Random(seed)
        file = draw.choice(files)
        file.write_bytes(mutate.damaged(whole[file], draw, whole[files[0]]))
        try:
            formats.read_here(path)
        except InputError as error:
            assert str(path.name) in str(error) and len(str(error)) < 1000
        finally:
            file.write_bytes(whole[file])

    damaged()


@pytest.mark.parametrize("kind", ["npy", "npz", "h5", "mat", "csv"])
def test_arrays_read_or_refuse(kind: str, tmp_path: Path) -> None:
    seeds.snapshots(kind)(tmp_path)
    path = tmp_path / f"p.{kind}"
    raw = path.read_bytes()

    @FEW
    @given(seed=st.integers(0, 2**32))
    def damaged(seed: int) -> None:
        draw = random.Random(seed)
        path.write_bytes(mutate.damaged(raw, draw, raw))
        try:
            for key in shapes_in(path):
                take(path, key, 0, 1)
        except InputError as error:
            assert path.name in str(error)
        except IndexError:
            pass  # row 1 of a shape that has none: callers know the shape

    damaged()


TABLE = "case,speed [m/s],drag [N]\na,1.5,2\nb,2.5,3\nc,3.5,4\n"
SETTINGS = {
    "a.json": '{"cases": [{"id": "a", "L": {"value": 1.5, "unit": "mm"}, "v": [1, 2]}, {"id": "b", "L": 2}]}',
    "a.toml": "[a]\nx = 1.0\n[b]\nx = 2.0\n",
    "a.txt": "speed = 30 m/s  # inlet\nangle: 2.5\n",
}
STUDY = "data: .\nfiles: run_*.vtu\nfields:\n  p: {unit: Pa, role: pressure}\ntest: 0.2\ntables: [a.csv]\n"


@FEW
@given(seed=st.integers(0, 2**32))
def test_tables_and_settings_read_or_refuse(seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    draw, folder = random.Random(seed), tmp_path_factory.mktemp("text")
    texts = [("a.csv", TABLE, read_table), ("a.yaml", STUDY, load_yaml), ("b.yaml", STUDY, read_table)]
    for name, text, read in texts + [(name, text, read_table) for name, text in SETTINGS.items()]:
        path = folder / name
        path.write_bytes(mutate.damaged(text.encode(), draw, TABLE.encode()))
        try:
            read(path)
        except InputError as error:
            assert name in str(error)


def test_checkpoints_read_or_refuse(tmp_path: Path) -> None:
    weights = {"a": torch.arange(40.0), "b": torch.ones(3, 3)}
    path = write_checkpoint(tmp_path / "a.ckpt", {"weights": weights, "spec": {"n": 1, "names": ["p", "U"]}})
    raw = path.read_bytes()

    @settings(FEW, max_examples=60)
    @given(seed=st.integers(0, 2**32))
    def damaged(seed: int) -> None:
        draw = random.Random(seed)
        path.write_bytes(mutate.damaged(raw, draw, raw))
        try:
            content = read_checkpoint(path)
        except CheckpointError as error:
            assert "a.ckpt" in str(error) and len(str(error)) < 1000
        else:
            tensor_files._measure(content, len(raw), {}, 0)

    damaged()
