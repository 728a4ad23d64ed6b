"""Simulations of our solvers, written in a public layout; every function returns what it wrote, in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from meshops.data.mesh_graph import MeshGraph
from meshops.datasets.cfdbench.files import write_case
from meshops.datasets.eagle.files import write_eagle_case
from meshops.datasets.mesh_files import write_graphs
from meshops.datasets.pdebench.files import write_flat, write_grouped
from meshops.datasets.the_well.files import write_well
from meshops.errors import InputError
from meshops.solvers.simulation import Simulation
from meshops.solvers.wake import WakeSimulation

LAYOUTS = ("well", "pdebench", "pdebench-flat", "cfdbench")
T = TypeVar("T")


class Split(NamedTuple):
    """How many simulations are for training, validation and test, in this order."""

    train: int
    valid: int
    test: int

    @classmethod
    def of(cls, num: int, train: int | None = None, test: int | None = None) -> Split:
        """By default 80 % to train on and 10 % to test on, at least 1 each; the rest is for validation.

        Raises:
            InputError: Train and test are more than there are.
        """
        test = test if test is not None else (max(1, num // 10) if num > 1 else 0)
        train = train if train is not None else min(num - test, max(1, round(0.8 * num)))
        if min(train, test) < 0 or train + test > num:
            raise InputError(f"--train {train} and --test {test} are more than --num {num}")
        return cls(train, num - train - test, test)

    def parts(self, items: Sequence[T]) -> dict[str, Sequence[T]]:
        """The items of each split."""
        first, last = self.train, self.train + self.valid
        return {"train": items[:first], "valid": items[first:last], "test": items[last:]}


def write_grids(runs: Sequence[Simulation], out: Path, name: str, *, layout: str, split: Split) -> str:
    """Write simulations on grids in one of :data:`LAYOUTS`."""
    path = out
    if layout == "well":
        path = write_well({key: list(part) for key, part in split.parts(runs).items()}, out, name=name)
    elif layout == "cfdbench":
        for number, simulation in enumerate(runs):
            write_case(simulation, out / "cavity" / "bc" / f"case{number:04d}")
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        path = (write_grouped if layout == "pdebench" else write_flat)(list(runs), out)
    first = runs[0]
    grid = " x ".join(map(str, first.grid_shape))
    return (
        f"{path}: {len(runs)} simulations of {name}, {len(first.time)} frames of {grid} cells, "
        f"fields {', '.join(first.fields)}"
    )


def write_meshes(cases: Iterable[MeshGraph | WakeSimulation], out: Path, name: str, *, split: Split) -> str:
    """Write steady fields on irregular meshes as ``.vtu`` files, wakes in the layout of EAGLE as they come."""
    graphs: list[MeshGraph] = []
    wakes: list[str] = []
    told = ""
    for case in cases:
        if isinstance(case, MeshGraph):
            graphs.append(case)
            continue
        wakes.append(f"Cre/{len(wakes) + 1}/1")
        write_eagle_case(out / wakes[-1], case.pos, case.velocity, case.pressure, case.node_type, case.triangles)
        told = f"{len(case.time)} frames of {case.pos.shape[1]} nodes, in the layout of EAGLE"
    if graphs:
        write_graphs(graphs, out, test=split.test)
        told = f"{len(graphs[0].pos)} nodes, fields {', '.join(graphs[0].fields)}"
        train, what = len(graphs) - split.test, f"{len(graphs)} cases"
    else:
        (out / "splits").mkdir()
        for part, names in split.parts(wakes).items():
            (out / "splits" / f"{part}.txt").write_text("".join(f"{case}\n" for case in names))
        train, what = split.train, f"{len(wakes)} trajectories"
    return f"{out}: {what} of {name}, {told}; {train} to train on, {split.test} to test on"
