"""One case of a study as a graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from meshops.data.graph_files import graph_of_mesh
from meshops.data.mesh_graph import MeshGraph
from meshops.data.reading import MeshRead
from meshops.datasets.folder.cases import CaseFile
from meshops.datasets.folder.description import Description
from meshops.datasets.folder.meshes import read_case, stored_numbers
from meshops.errors import MeshopsError, collecting


@dataclass(frozen=True)
class Loaded:
    """A case that was read.

    Attributes:
        graph: The case.
        notes: What its reader said, sentences.
        numbers: Single values stored in the file.
    """

    graph: MeshGraph
    notes: tuple[str, ...]
    numbers: dict[str, float]


def load_case(study: Description, case: CaseFile, input_sizes: Mapping[str, int] | None = None) -> Loaded:
    """One case of a study as a graph.

    Raises:
        InputError: It cannot be read, lacks an array, or holds it with another number of components.
    """
    said: list[str] = []
    label = str(case.path)
    with collecting(said):
        read = read_case(study, case)
        graph, stored = graph_of_read(study, read, label, input_sizes)
    graph.name, graph.source = case.name, label
    notes = tuple(dict.fromkeys([*read.notes.lines(), *(text.removeprefix(f"{label}: ") for text in said)]))
    return Loaded(graph, notes, stored)


def graph_of_read(
    study: Description, read: MeshRead, label: str, input_sizes: Mapping[str, int] | None = None
) -> tuple[MeshGraph, dict[str, float]]:
    """What was read as a graph with the inputs and fields of a study, and the single values beside them."""
    from meshops.data.clean import clean_mesh  # VTK

    stored = stored_numbers(read.mesh, Path(label))
    mesh = clean_mesh(read.mesh, label=label, cloud=study.place == "point").mesh
    sizes = {**(input_sizes or {}), **{entry.name: entry.size for entry in study.fields}}
    names = tuple(entry.name for entry in study.fields)
    graph = graph_of_mesh(mesh, study.inputs, names, label=label, location=study.place, sizes=sizes)
    graph.y_units = tuple(entry.unit for entry in study.fields)
    return graph, stored


def input_sizes(study: Description, cases: Sequence[CaseFile]) -> dict[str, int]:
    """Components of each input in most of a few cases, the others having to be alike."""
    from meshops.data.graph_files import numeric_arrays

    found: dict[str, Counter[int]] = {name: Counter() for name in study.inputs}
    places = sorted({round(i * (len(cases) - 1) / 4) for i in range(5)}) if study.inputs else []
    for place in places:
        try:
            with collecting([]):
                there = numeric_arrays(read_case(study, cases[place]).mesh, study.place)
        except (MeshopsError, OSError, ValueError):
            continue
        for name in study.inputs:
            if name in there:
                found[name][there[name][0]] += 1
    return {name: counts.most_common(1)[0][0] for name, counts in found.items() if counts}
