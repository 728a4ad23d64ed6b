"""Samples of PLAID: CGNS meshes in numbered folders, scalars, and splits in ``problem_definitions``.

<root>/data/train/sample_000000007/meshes/mesh_000000000.cgns     or dataset/samples/sample_*/meshes/*.cgns
<root>/data/train/sample_000000007/scalars.csv                    one row
<root>/problem_definitions/regression_1.yaml                      train_split, test_split
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

from meshops.datasets.folder.description import Description
from meshops.datasets.folder.patterns import pattern_of
from meshops.datasets.folder.study_file import read_yaml
from meshops.datasets.folder.walk import Listing, numbers_in
from meshops.errors import InputError


def guess_plaid(found: Listing) -> Description | None:
    """A study of PLAID samples; None where the folder holds none."""
    meshes = [path for path in found.with_suffix((".cgns",)) if sample_of(path) is not None]
    if not meshes:
        return None
    study = Description(root=found.root, layout="plaid", files=pattern_of(meshes))
    samples = {sample_of(path) for path in meshes}
    study = study.note("files", f"{len(samples)} samples of PLAID")
    for path in found.files:
        if path.parts[0] == "problem_definitions" and path.suffix == ".yaml":
            why = _split_said(found.root / path)
            if why:
                study = study.note("test", f"{path}: {why}")
    return study


def sample_of(path: PurePosixPath) -> PurePosixPath | None:
    """The folder of the sample that a file belongs to."""
    for depth in range(len(path.parts) - 1, 0, -1):
        name = path.parts[depth - 1]
        if name.startswith("sample_") and numbers_in(name):
            return PurePosixPath(*path.parts[:depth])
    return None


def tested_samples(found: Listing, samples: list[PurePosixPath]) -> tuple[str, ...]:
    """Names of the samples that the first problem definition tests on; empty: none, or all lie in one split."""
    for path in found.files:
        if path.parts[0] != "problem_definitions" or path.suffix not in (".yaml", ".csv"):
            continue
        numbers = _tested(found.root / path) if path.suffix == ".yaml" else set()
        named = [sample.name for sample in samples if numbers_in(sample.name)[-1] in numbers]
        if named and len(named) < len(samples):
            return tuple(named)
    return ()


def _tested(path: Path) -> set[int]:
    """Numbers of the samples of the test split."""
    try:
        content = read_yaml(path)
    except InputError:
        return set()
    given: Any = content.get("test_split") or (content.get("split") or {}).get("test")
    lists = given.values() if isinstance(given, dict) else [given]
    return {int(n) for one in lists if isinstance(one, list) for n in one if isinstance(n, int)}


def _split_said(path: Path) -> str:
    try:
        content = read_yaml(path)
    except InputError:
        return ""
    return ", ".join(f"{key} {content[key]}"[:80] for key in ("train_split", "test_split") if key in content)
