"""Precision and recall of the run doctor on faults seeded into sound data sets.

    python benchmarks/doctor_faults.py [--shared ../shared/data] [--seed 0]

Prints every fault with what was found, precision (share of the problems that are the fault) and recall (share of the
faults that are named, at the right case), and the problems found in sound sets, which should be none.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from meshops.data.mesh_graph import MeshGraph
from meshops.datasets import AhmedMini, GraphList, open_data
from meshops.datasets.base import CaseDataset
from meshops.doctor import Finding, Survey, diagnose, faults, problems, survey
from meshops.doctor.faults import Altered, Fault
from meshops.doctor.survey import case_facts

POSES = ("turned", "mirrored")


def joukowski_study(count: int = 24, seed: int = 0) -> GraphList:
    """Pressure and velocity past one airfoil on one mesh, at angles of attack of -4 to 10 degrees."""
    from meshops.solvers.joukowski import JoukowskiFlow

    rng = np.random.default_rng(seed)
    along, out = np.meshgrid(np.linspace(-2.5, 2.5, 81), 2.5 * np.linspace(0, 1, 24) ** 2, indexing="ij")
    graphs = []
    for k, angle in enumerate(np.sort(rng.uniform(-4, 10, count))):
        flow = JoukowskiFlow(-0.08 + 0.05j, float(np.deg2rad(angle)))
        zeta = flow.circle(along.ravel() + 1j * out.ravel())
        velocity = flow.velocity(zeta)
        pressure = 0.5 * (1 - (velocity**2).sum(-1)) * 1.2 * 40**2
        graph = MeshGraph(
            pos=torch.tensor(flow.position(zeta), dtype=torch.float32),
            y=torch.tensor(np.column_stack([pressure, 40 * velocity]), dtype=torch.float32),
            y_names=("p", "U"), y_sizes=(1, 2), y_units=("Pa", "m/s"), name=f"angle_{k:02d}", location="point",
        )  # fmt: skip
        graph.conditions = {"angle": float(angle)}
        graph.numbers = {"p_min": float(pressure.min())}
        graphs.append(graph)
    return GraphList(graphs)


def plate_study(root: Path, count: int = 24) -> CaseDataset:
    """Stretched plates with a hole of random shape (the stand-in of the elasticity set) and their largest stress."""
    from meshops.datasets import Elasticity

    base = open_data("elasticity", root=Elasticity.standin(root, count))
    assert isinstance(base, CaseDataset)
    return WithNumbers(base)


class WithNumbers(Altered):
    """The largest stress of each case as a number of its table, in no other column."""

    def numbers_of(self, index: int) -> dict[str, float]:
        """Largest stress."""
        return self._row(index, {"stress_max": float(self.base[self.order[index]].y.max())})


def heat_study(count: int = 20, seed: int = 0) -> GraphList:
    """Temperature (K) of plates between walls of random temperatures, on a mesh each."""
    rng = np.random.default_rng(seed)
    graphs = []
    for k in range(count):
        hot, cold = rng.uniform(320, 400), rng.uniform(285, 300)
        pos = rng.uniform(0, 1, (400 + 10 * k, 2)) * [1.5, 1.0]
        ripple = 0.05 * np.sin(np.pi * pos[:, 0] / 1.5) * np.sin(np.pi * pos[:, 1])
        values = cold + (hot - cold) * (1 - pos[:, 0] / 1.5 + ripple)
        graph = MeshGraph(
            pos=torch.tensor(pos, dtype=torch.float32), y=torch.tensor(values[:, None], dtype=torch.float32),
            y_names=("T",), y_sizes=(1,), y_units=("K",), name=f"plate_{k:02d}", location="free",
        )  # fmt: skip
        graph.conditions = {"hot": float(hot), "cold": float(cold)}
        graphs.append(graph)
    return GraphList(graphs)


def general_faults(base: CaseDataset, label: str, rng: np.random.Generator, field: str) -> Iterator[Fault]:
    """Faults that any set may have."""
    n, dim = len(base), base[0].pos.shape[1]

    def case() -> int:
        return int(rng.integers(n))

    def fault(what: str, edit: faults.Edit, *kinds: str) -> Fault:
        i = case()
        return Fault(f"{label}: {what}", Altered(base, edits={i: edit}), kinds, (base.cases[i],))

    i, j = (int(k) for k in rng.choice(n, 2, replace=False))
    copied = Altered(base, order=[*range(n), i])
    yield Fault(f"{label}: copy", copied, ("duplicate",), (base.cases[i], copied.cases[-1]))
    turn = faults.turned_by(faults.mirror(dim, dim - 2))
    mirrored = Altered(base, order=[*range(n), j], edits={n: turn})
    yield Fault(f"{label}: copy, mirrored", mirrored, ("duplicate",), (base.cases[j], mirrored.cases[-1]))
    if base[i].pos.shape == base[j].pos.shape:
        yield Fault(f"{label}: fields of another case", Altered(base, edits={i: faults.field_of(base[j])}),
                    ("same field", "duplicate"), (base.cases[i], base.cases[j]))  # fmt: skip
    yield fault("cut off", faults.truncated, "unreadable")
    yield fault("lacks a field", faults.without_field(field), "other arrays")
    yield fault("in millimetres", faults.scaled_by(1000.0), "other length")
    yield fault("in inches", faults.scaled_by(39.3701), "other length")
    shift = torch.zeros(dim)
    shift[0] = 2.0 * float(base[0].pos.max() - base[0].pos.min())
    yield fault("moved", faults.moved_by(shift), "moved")
    yield fault("one value 1e30", faults.field_changed(field, faults.one_value(1e30)), "single value")
    yield fault("one NaN", faults.field_changed(field, faults.one_value(float("nan"))), "not finite")
    yield fault("values times 1000", faults.field_changed(field, lambda v: v * 1000), "other unit")
    yield fault("zero everywhere", faults.field_changed(field, lambda v: v * 0), "constant field")
    yield fault("plane among others", faults.flattened, "other dimension")


def pose_faults(base: CaseDataset, label: str, rng: np.random.Generator, axis: int) -> Iterator[Fault]:
    """Poses and signs, for sets in which they can be told."""
    dim = base[0].pos.shape[1]
    for what, edit in {
        "turned by 90": faults.turned_by(faults.quarter_turn(dim)),
        "turned by 180": faults.turned_by(faults.quarter_turn(dim, 180)),
        "turned by 35": faults.turned_by(faults.quarter_turn(dim, 35)),
        "mirrored": faults.turned_by(faults.mirror(dim, axis)),
    }.items():
        i = int(rng.integers(len(base)))
        yield Fault(f"{label}: {what}", Altered(base, edits={i: edit}), POSES, (base.cases[i],))
    for name in base.fields:
        i = int(rng.integers(len(base)))
        edit = faults.field_changed(name, lambda v: -v)
        yield Fault(f"{label}: sign of {name}", Altered(base, edits={i: edit}), ("sign",), (base.cases[i],))


def table_faults(base: CaseDataset, label: str, rng: np.random.Generator, column: str) -> Iterator[Fault]:
    """Rows of two cases that differ, swapped."""
    values = [{**base.parameters(k), **base.conditions_of(k), **base.numbers_of(k)}[column] for k in range(len(base))]
    order = np.argsort(values)
    for _ in range(2):
        i, j = int(order[rng.integers(len(order) // 4)]), int(order[-1 - rng.integers(len(order) // 4)])
        cases = (base.cases[i], base.cases[j])
        yield Fault(
            f"{label}: swapped {column}", Altered(base, rows=faults.swapped(base, i, j)), ("swapped rows",), cases
        )


def special_faults(airfoils: CaseDataset, heat: CaseDataset, bodies: CaseDataset, root: Path) -> Iterator[Fault]:
    """Faults of one kind of study: radians, degrees Celsius, runs that stopped too early."""
    angles = [airfoils.conditions_of(k)["angle"] for k in range(len(airfoils))]
    for i in (int(np.argmax(angles)), int(np.argsort(angles)[-5])):
        rows = {i: {"angle": float(np.deg2rad(angles[i]))}}
        yield Fault("airfoil: radians", Altered(airfoils, rows=rows), ("other unit",), (airfoils.cases[i],))
    for i in (3, 11):
        celsius = Altered(heat, edits={i: faults.field_changed("T", lambda v: v - 273.15)})
        yield Fault("heat: Celsius", celsius, ("constant added",), (heat.cases[i],))
    for i in (2, 17):
        files = {
            k: faults.write_history(root / f"h{i}" / bodies.cases[k] / "history.csv", converged=k != i, seed=k)
            for k in range(len(bodies))
        }
        yield Fault("bodies: not converged", Altered(bodies, files=files), ("not converged",), (bodies.cases[i],))


def sound_sets(shared: Path, root: Path) -> dict[str, CaseDataset]:
    """Sets in which nothing is wrong."""
    sets: dict[str, CaseDataset] = {
        "airfoil": joukowski_study(), "airfoil of 8": joukowski_study(8, seed=1), "heat": heat_study(),
        "plates": plate_study(root / "plates"), "plates of 6": plate_study(root / "few", 6),
        "ahmed_mini": AhmedMini("all"), "ahmed_mini of 6": AhmedMini("test"),
    }  # fmt: skip
    for name in ("airfoil", "pipe", "darcy", "airfrans", "shapenet_car", "mesh_files"):
        from meshops.datasets.registry import dataset_class

        folder = dataset_class(name).standin(root / name, 12)  # type: ignore[union-attr]
        made = open_data(name, root=folder)
        assert isinstance(made, CaseDataset)
        sets[f"stand-in of {name}"] = made
    for name, folder in {"ahmed_rans": shared / "ahmed_rans", "shapenet_car": shared / "shapenet_car"}.items():
        if folder.is_dir():
            found = open_data(root=folder)
            assert isinstance(found, CaseDataset)
            sets[f"shared {name}"] = found
    return sets


def all_faults(sets: dict[str, CaseDataset], root: Path, seed: int) -> Iterator[Fault]:
    """Every fault of every set."""
    rng = np.random.default_rng(seed)
    airfoils, plates, bodies, heat = (sets[n] for n in ("airfoil", "plates", "ahmed_mini", "heat"))
    yield from general_faults(bodies, "bodies", rng, "pMean")
    yield from general_faults(plates, "plates", rng, "stress")
    yield from general_faults(airfoils, "airfoil", rng, "p")
    yield from pose_faults(bodies, "bodies", rng, 0)
    yield from pose_faults(bodies, "bodies again", rng, 2)
    yield from pose_faults(airfoils, "airfoil", rng, 1)
    yield from table_faults(bodies, "bodies", rng, "body-length")
    yield from table_faults(plates, "plates", rng, "stress_max")
    yield from table_faults(airfoils, "airfoil", rng, "angle")
    yield from special_faults(airfoils, heat, bodies, root)


def examine(data: CaseDataset, known: dict[int, Survey]) -> list[Finding]:
    """Problems of a set; cases of a base that were not altered are not read again."""
    base = data.base if type(data) is Altered else None
    if not isinstance(data, Altered) or base is None or id(base) not in known:
        made = survey(data)
        known[id(data)] = made
        return problems(diagnose(made))
    before = known[id(base)]
    cases = []
    for k, origin in enumerate(data.order):
        touched = k in data.edits or k in data.rows or k in data.new_files or data.cases[k] != base.cases[origin]
        cases.append(case_facts(data, k) if touched else before.cases[origin])
    return problems(diagnose(replace(before, cases=tuple(cases))))


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--shared", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    options.add_argument("--seed", type=int, default=0)
    args = options.parse_args(argv)
    warnings.simplefilter("ignore")
    known: dict[int, Survey] = {}
    named = seeded = right = told = false = 0
    with tempfile.TemporaryDirectory() as folder:
        sets = sound_sets(args.shared, Path(folder))
        for name, data in sets.items():
            found = examine(data, known)
            false += len(found)
            sys.stdout.write(f"sound   {name:<28} {len(data):3d} cases  {len(found)} problems\n")
            sys.stdout.writelines(f"          {finding.kind}: {finding}\n" for finding in found)
        for fault in all_faults(sets, Path(folder), args.seed):
            found = examine(fault.data, known)
            hits = [f for f in found if f.kind in fault.kinds and set(f.cases) & set(fault.cases)]
            seeded, named = seeded + 1, named + bool(hits)
            told, right = told + len(found), right + len(hits)
            mark = "named " if hits else "MISSED"
            others = "".join(f"\n          {f.kind}: {f}" for f in found if f not in hits)
            sys.stdout.write(f"{mark}  {fault.name:<40} {str(hits[0]) if hits else '':.140}{others}\n")
    sys.stdout.write(
        f"\n{seeded} faults: recall {named}/{seeded} = {named / seeded:.3f}, "
        f"precision {right}/{told} = {right / told:.3f};\n"
        f"{len(sets)} sound sets: {false} problems\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
