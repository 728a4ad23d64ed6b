"""Samples of PLAID: CGNS meshes in numbered folders, scalars, and problems that say what is learnt from what.

<root>/data/train/sample_000000007/meshes/mesh_000000000.cgns     or dataset/samples/sample_*/meshes/*.cgns
<root>/data/train/sample_000000007/scalars.csv                    one row; or a base "Global" inside of the CGNS
<root>/problem_definitions/NAME.yaml                              or NAME/problem_infos.yaml and NAME/split.csv
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from meshops.data.contained import check_hdf5
from meshops.datasets.folder.description import Description, FieldEntry, Quantity
from meshops.datasets.folder.patterns import pattern_of
from meshops.datasets.folder.study_file import read_yaml
from meshops.datasets.folder.walk import Listing, numbers_in
from meshops.errors import InputError
from meshops.io import read_json

FOLDER = "problem_definitions"
LEARNT = ("output_features", "output_scalars", "output_fields", "out_scalars_names", "out_fields_names", "out_features")
TOLD = ("input_features", "input_scalars", "input_fields", "in_scalars_names", "in_fields_names", "in_features")


@dataclass
class Problem:
    """A problem definition.

    Attributes:
        file: Where it stands.
        told: Names of scalars and fields that are inputs.
        learnt: Names of scalars and fields that are outputs.
        tested: Numbers of the samples that are tested on.
    """

    file: str
    told: set[str] = field(default_factory=set)
    learnt: set[str] = field(default_factory=set)
    tested: set[int] = field(default_factory=set)


def guess_plaid(found: Listing) -> Description | None:
    """A study of PLAID samples, without fields; None where the folder holds none."""
    meshes = [path for path in found.with_suffix((".cgns",)) if sample_of(path) is not None]
    if not meshes:
        return None
    study = Description(root=found.root, layout="plaid", files=pattern_of(meshes))
    samples = {sample_of(path) for path in meshes}
    return study.note("files", f"{len(samples)} samples of PLAID")


def sample_of(path: PurePosixPath) -> PurePosixPath | None:
    """The folder of the sample that a file belongs to."""
    for depth in range(len(path.parts) - 1, 0, -1):
        name = path.parts[depth - 1]
        if name.startswith("sample_") and numbers_in(name):
            return PurePosixPath(*path.parts[:depth])
    return None


def first_problem(found: Listing) -> Problem | None:
    """The first problem definition that says anything; None: there is none."""
    files = [path for path in found.files if FOLDER in path.parts[:-1]]
    for place in dict.fromkeys(path if path.parent.name == FOLDER else path.parent for path in files):
        own = [path for path in files if path == place or path.parent == place]
        out = Problem(str(place))
        for path in own:
            _read(found.root / path, out)
        if out.told or out.learnt or out.tested:
            return out
    return None


def _read(path: Path, out: Problem) -> None:
    try:
        if path.suffix in (".yaml", ".yml"):
            content: dict[str, Any] = read_yaml(path)
        elif path.suffix == ".json":
            loaded = read_json(path)
            content = (
                {"test_split": {k: v for k, v in loaded.items() if "test" in k}} if isinstance(loaded, dict) else {}
            )
        elif path.suffix == ".csv":
            rows = [line.split(",") for line in path.read_text(encoding="utf-8").splitlines()]
            content = {
                "test_split": {row[0]: [int(n) for n in row[1:] if n.strip()] for row in rows if "test" in row[0]}
            }
        else:
            return
    except (InputError, OSError, ValueError):
        return
    out.learnt |= {name for key in LEARNT for name in _names(content.get(key))}
    out.told |= {name for key in TOLD for name in _names(content.get(key))}
    given = content.get("test_split") or (content.get("split") or {}).get("test")
    lists: Iterable[Any] = given.values() if isinstance(given, dict) else [given]
    out.tested |= {int(n) for one in lists if isinstance(one, list) for n in one if isinstance(n, int)}


def _names(value: Any) -> list[str]:
    """Last parts of feature paths such as ``Base_2_2/Zone/VertexFields/mach``."""
    return [str(name).rpartition("/")[2] for name in value] if isinstance(value, list) else []


def as_problem(study: Description, found: Listing, samples: Sequence[str]) -> Description:
    """The study as its problem definition says: fields, inputs, conditions, numbers and the split."""
    problem = first_problem(found)
    if problem is None:
        return study
    why = f"by {problem.file}"
    fields: tuple[FieldEntry, ...] = tuple(entry for entry in study.fields if entry.name in problem.learnt)
    told = tuple(
        entry.name for entry in study.fields if entry.name in problem.told and entry.name not in problem.learnt
    )
    if fields:
        study = replace(study, fields=fields, inputs=tuple(dict.fromkeys([*study.inputs, *told]))).note("fields", why)
    quantities: tuple[Quantity, ...] = (*study.conditions, *study.numbers)
    named = problem.told | problem.learnt
    if any(entry.name in named for entry in quantities):
        study = replace(
            study,
            conditions=tuple(entry for entry in quantities if entry.name in problem.told),
            numbers=tuple(entry for entry in quantities if entry.name in problem.learnt),
        )
        study = study.note("conditions", why).note("numbers", why)
    tested = tuple(name for name in samples if numbers_in(name) and numbers_in(name)[-1] in problem.tested)
    if tested and len(tested) < len(samples) and not isinstance(study.test, tuple):
        study = replace(study, test=tested, guesses={**study.guesses, "test": f"the test split of {problem.file}"})
    return study


def global_scalars(path: Path) -> dict[str, float]:
    """Single numbers in the base ``Global`` of a CGNS file; empty: it has none or is no HDF5."""
    import h5py

    out: dict[str, float] = {}
    try:
        check_hdf5(path)
        with h5py.File(path, "r") as file:
            base = file.get("Global")
            for name, node in base.items() if isinstance(base, h5py.Group) else ():
                if not isinstance(node, h5py.Group) or " data" not in node:
                    continue
                data = node[" data"]
                if isinstance(data, h5py.Dataset) and data.size == 1 and data.dtype.kind in "fiu":
                    out[str(name)] = float(data[()].reshape(-1)[0])
    except (OSError, RuntimeError, KeyError, ValueError):
        return {}
    return out
