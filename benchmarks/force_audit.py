"""Force audit: how well integrated and tabulated forces agree, and whether seeded faults are named.

    python benchmarks/force_audit.py [--shared ../shared/data]

Faults are put into twelve of the shipped Ahmed bodies (RANS; pressure, shear, drag and lift of the solver) and, for
reference areas, into cars (their drag is that of their pressure). A fault is named when the audit says its kind, for
single cases at the right case.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from meshops.aero.audit import audit_forces
from meshops.aero.audit_types import AuditCase, ForceAudit
from meshops.aero.conditions import FlowConditions
from meshops.aero.integrals import SurfaceIntegrals
from meshops.data.mesh_graph import MeshGraph
from meshops.datasets import AhmedMini
from meshops.doctor import faults
from meshops.doctor.faults import Edit

RUNS = (2, 3, 5, 6, 7, 9, 11, 12, 16, 17, 20, 24)  # run numbers; converged within 0.3 %
Numbers = Callable[[int, dict[str, float]], dict[str, float]]


@dataclass(frozen=True)
class Seeded:
    """A fault: cases, and what may name it."""

    name: str
    cases: list[AuditCase]
    kinds: tuple[str, ...]
    at: tuple[str, ...] = ()


class Bodies:
    """The twelve bodies, and altered copies of them."""

    def __init__(self) -> None:
        self.data = AhmedMini("all")
        self.places = [self.data.runs.index(run) for run in RUNS]
        self.sound = self.altered()

    def altered(
        self, edits: dict[int, Edit] | Edit | None = None, numbers: Numbers | None = None,
        flow: FlowConditions | None = None, given: Callable[[dict[str, float]], dict[str, float]] | None = None,
    ) -> list[AuditCase]:  # fmt: skip
        """Cases after edits of all graphs (or of some, by place) and of the table."""
        out = []
        for k, place in enumerate(self.places):
            edit = edits.get(k) if isinstance(edits, dict) else edits
            if edit is None and hasattr(self, "sound"):
                surface = self.sound[k].surface
            else:
                graph = self.data[place].clone_shallow()
                made = SurfaceIntegrals.of(edit(graph) if edit is not None else graph)
                assert made is not None
                surface = made
            row = self.data.numbers_of(place)
            row = numbers(k, row) if numbers is not None else row
            columns = self.data.parameters(place)
            columns = {n: v for n, v in columns.items() if n != "frontal-area"} if given is None else given(columns)
            out.append(AuditCase(self.data.cases[place], surface, flow or self.data.flow, row, columns))
        return out

    def area(self, k: int) -> float:
        """Silhouette of a body, m^2."""
        return float(self.sound[k].surface.shadow[0])


def scaled(factor: float) -> Numbers:
    """All numbers times a factor."""
    return lambda k, row: {name: factor * value for name, value in row.items()}


def fields(factor: float) -> Edit:
    """All fields times a factor."""

    def edit(graph: MeshGraph) -> MeshGraph:
        graph.y = graph.y * factor
        return graph

    return edit


def half(graph: MeshGraph) -> MeshGraph:
    """The cells at positive y only."""
    keep = graph.pos[:, 1] > 0
    starts = graph.cell_ptr[:-1]
    nodes = [graph.cell_nodes[s : s + n] for s, n, k in zip(starts, graph.cell_size, keep, strict=True) if k]
    out = graph.subset(keep.nonzero()[:, 0])
    out.location, out.points, out.cell_nodes = "cell", graph.points, torch.cat(nodes)
    out.cell_size, out.cell_type = graph.cell_size[keep], graph.cell_type[keep]
    return out


def chain(*edits: Edit) -> Edit:
    """One edit after the other."""

    def edit(graph: MeshGraph) -> MeshGraph:
        for one in edits:
            graph = one(graph)
        return graph

    return edit


def set_faults(bodies: Bodies) -> Iterator[Seeded]:
    """Faults that all cases share."""
    shear = faults.field_changed("wallShearStressMean", lambda v: -v)
    pressure = faults.field_changed("pMean", lambda v: -v)

    def newton(k: int, row: dict[str, float]) -> dict[str, float]:
        return {f"{name} [N]": row[c] * 0.5 * bodies.area(k) for name, c in (("drag", "cd"), ("lift", "cl"))}

    alone: Numbers = lambda k, row: {"cd": row["cd"]}  # noqa: E731
    pa = replace(bodies.data.flow, kinematic=False)
    yield Seeded("sign: shear as a force", bodies.altered(shear), ("shear sign",))
    yield Seeded("sign: shear as a force, drag alone", bodies.altered(shear, alone), ("shear sign",))
    yield Seeded("sign: pressure", bodies.altered(pressure), ("pressure sign",))

    def of_pressure(k: int, row: dict[str, float]) -> dict[str, float]:
        surface = bodies.sound[k].surface
        return {"cd": -float(surface.of_normal["pMean"][0]) / 0.5 / bodies.area(k)}

    yield Seeded("sign: shear not in the table", bodies.altered(numbers=of_pressure), ("shear sign",))
    for rho in (1.2, 1.225, 998.2, 1.184):
        yield Seeded(f"density: fields in Pa at {rho:g}", bodies.altered(fields(rho)), ("density",))
    yield Seeded("density: table with 1.2", bodies.altered(numbers=scaled(1 / 1.2)), ("density",))
    yield Seeded("density: forces in N with 1.225", bodies.altered(
        numbers=lambda k, row: {n: 1.225 * v for n, v in newton(k, row).items()}), ("density",))  # fmt: skip
    for rho, speed in ((1.2, 40.0), (1.225, 30.0), (1.2, 38.9), (1.0, 20.0)):
        what = f"unit: fields of {speed:g} m/s at {rho:g} kg/m^3"
        yield Seeded(what, bodies.altered(fields(rho * speed**2)), ("dynamic pressure",))
    yield Seeded("unit: Pa, nothing stated", bodies.altered(fields(1.2 * 30**2), flow=pa), ("dynamic pressure",))
    yield Seeded(
        "unit: coordinates in mm, forces in N", bodies.altered(faults.scaled_by(1000.0), newton), ("length unit",)
    )
    inch = bodies.altered(faults.scaled_by(1 / 0.0254), newton)
    yield Seeded("unit: coordinates in inches, forces in N", inch, ("length unit",))
    kilo = bodies.altered(fields(1e-3), newton, flow=pa)
    yield Seeded("unit: fields in kPa, forces in N", kilo, ("unit",))
    constant: Numbers = lambda k, row: {n: v * bodies.area(k) / 0.112 for n, v in row.items()}  # noqa: E731
    yield Seeded("area: constant", bodies.altered(numbers=constant), ("area",))

    def plan(columns: dict[str, float]) -> dict[str, float]:
        return {"A_ref": columns["body-length"] * columns["body-width"]}

    by_plan: Numbers = lambda k, row: {  # noqa: E731
        n: v * bodies.area(k) / plan(bodies.data.parameters(bodies.places[k]))["A_ref"] for n, v in row.items()
    }
    yield Seeded("area: column of the table", bodies.altered(numbers=by_plan, given=plan), ("area",))
    yield Seeded("area: half of it", bodies.altered(numbers=scaled(2.0)), ("half", "half model"))
    yield Seeded("area: twice", bodies.altered(numbers=scaled(0.5)), ("half", "half model"))
    halves = bodies.altered(half)

    def of_half(k: int) -> float:
        surface = halves[k].surface
        return -float(surface.of_normal["pMean"][0] + surface.of_vector["wallShearStressMean"][0])

    coefficient: Numbers = lambda k, row: {"cd": of_half(k) / 0.5 / float(halves[k].surface.shadow[0])}  # noqa: E731
    yield Seeded("half model, coefficients", bodies.altered(half, coefficient), ("half model",))
    force: Numbers = lambda k, row: {"drag": 2 * of_half(k)}  # noqa: E731
    yield Seeded("half model, drag of the whole in N", bodies.altered(half, force), ("half model",))
    for degrees in (90.0, 180.0, -90.0):
        turn = faults.turned_by(faults.quarter_turn(3, degrees))
        yield Seeded(f"axis: flow turned by {degrees:g}", bodies.altered(turn), ("axis",))
    swap = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    yield Seeded("axis: y and z exchanged", bodies.altered(faults.turned_by(swap)), ("axis",))
    down: Numbers = lambda k, row: {"cd": row["cd"], "cl": -row["cl"]}  # noqa: E731
    yield Seeded("axis: lift downward", bodies.altered(numbers=down), ("axis",))
    both = bodies.altered(chain(shear, fields(1.2)))
    yield Seeded("sign and density", both, ("shear sign", "density"))


def case_faults(bodies: Bodies, rng: np.random.Generator) -> Iterator[Seeded]:
    """Faults of a single case."""
    names = [case.name for case in bodies.sound]
    shear = faults.field_changed("wallShearStressMean", lambda v: -v)
    pressure = faults.field_changed("pMean", lambda v: -v)
    rows = [bodies.data.numbers_of(place) for place in bodies.places]
    order = np.argsort([row["cd"] for row in rows])
    for _ in range(4):
        i, j = int(order[rng.integers(3)]), int(order[-1 - rng.integers(3)])
        exchanged = {i: rows[j], j: rows[i]}
        swapped = bodies.altered(numbers=lambda k, row, e=exchanged: e.get(k, row))  # type: ignore[misc]
        yield Seeded("case: swapped", swapped, ("swapped",), (names[i], names[j]))
    for what, edit, kinds in (
        ("shear sign", shear, ("shear sign",)),
        ("no shear", faults.field_changed("wallShearStressMean", lambda v: v * 0), ("shear missing",)),
        ("density", fields(1.2), ("density",)),
        ("density", fields(1.225), ("density",)),
        ("pressure sign", chain(pressure, shear), ("pressure sign",)),
        ("twice", fields(2.0), ("half",)),
    ):
        k = int(rng.integers(len(names)))
        yield Seeded(f"case: {what}", bodies.altered({k: edit}), kinds, (names[k],))


def car_faults(shared: Path) -> Iterator[Seeded]:
    """Reference areas of cars whose drag is that of their pressure."""
    folder = shared / "plaid_cars"
    if not folder.is_dir():
        return
    from meshops.datasets import open as open_folder

    data = open_folder(folder)
    surfaces = [SurfaceIntegrals.of(graph) for graph in data]  # type: ignore[union-attr]
    flow = FlowConditions(flow=(0, 0, 1), up=(0, 1, 0), speed=20.0, density=1.2)
    name = data.fields[0]  # type: ignore[union-attr]
    for rule in ("hull", "box", "silhouette"):
        cases = []
        for k, surface in enumerate(surfaces):
            assert surface is not None
            extent = surface.high - surface.low
            areas = {"hull": surface.hull[2], "box": extent[0] * extent[1], "silhouette": surface.shadow[2]}
            cd = -surface.of_normal[name][2] / (0.5 * 1.2 * 400 * areas[rule])
            cases.append(AuditCase(f"car_{k}", surface, flow, {"cd": float(cd)}, {}))
        yield Seeded(f"cars, area: {rule}", cases, ("area",) if rule != "silhouette" else ())


def named(fault: Seeded, audit: ForceAudit | None) -> bool:
    """The audit says what was done, and nothing else."""
    if audit is None or not audit.reconciled:
        return False
    if fault.at:
        hit = [s for s in audit.suspects if s.case in fault.at]
        return len(hit) == len(audit.suspects) == 1 and hit[0].kind in fault.kinds and not audit.changes
    return {kind for kind, _ in audit.changes} == set(fault.kinds[:2] if "and" in fault.name else fault.kinds) or (
        len(audit.changes) in (1, 2) and all(kind in fault.kinds for kind, _ in audit.changes)
    )


def shared_sets(shared: Path) -> Iterator[tuple[str, list[AuditCase], bool]]:
    """All cases at hand that have a table."""
    from meshops.datasets import open_data
    from meshops.datasets.base import CaseDataset

    sets: dict[str, CaseDataset] = {"ahmed_mini": AhmedMini("all")}
    if (shared / "ahmed_rans").is_dir():
        found = open_data(root=shared / "ahmed_rans")
        assert isinstance(found, CaseDataset)
        sets["ahmed_rans"] = found
    for name, data in sets.items():
        cases = []
        for i in range(len(data)):
            surface = SurfaceIntegrals.of(data[i])
            assert surface is not None
            cases.append(AuditCase(data.cases[i], surface, data.flow_of(i), data.numbers_of(i), data.parameters(i)))
        yield name, cases, data.flow_stated
    sphere = Path(shared / "field" / "data-check" / "input" / "two_swapped")
    if sphere.is_dir():
        spheres = open_data(root=sphere)
        assert isinstance(spheres, CaseDataset)
        rows = []
        for i in range(len(spheres)):
            surface = SurfaceIntegrals.of(spheres[i])
            assert surface is not None
            rows.append(AuditCase(spheres.cases[i], surface, spheres.flow_of(i), spheres.numbers_of(i), {}))
        yield "data-check/two_swapped", rows, True


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--shared", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    args = options.parse_args(argv)
    warnings.simplefilter("ignore")
    for name, cases, stated in shared_sets(args.shared):
        audit = audit_forces(cases, stated=stated)
        sys.stdout.write(f"{name}: {audit.text if audit else 'nothing to integrate'}\n")
        sys.stdout.writelines(f"  {s.case}: {s.kind}: {s.text}\n" for s in (audit.suspects if audit else ()))
    bodies = Bodies()
    audit = audit_forces(bodies.sound, stated=True)
    sys.stdout.write(f"twelve sound bodies: {audit.text if audit else ''}\n\n")
    seeded = [*set_faults(bodies), *case_faults(bodies, np.random.default_rng(0)), *car_faults(args.shared)]
    right = 0
    for fault in seeded:
        audit = audit_forces(fault.cases, stated=True)
        good = named(fault, audit)
        right += good
        said = "" if audit is None else "; ".join(
            [*(f"{kind}: {text}" for kind, text in audit.changes), *(f"{s.case} {s.kind}" for s in audit.suspects)]
        )  # fmt: skip
        if audit is not None and not audit.reconciled:
            said = audit.text
        sys.stdout.write(f"{'named ' if good else 'MISSED'}  {fault.name:<44} {said:.170}\n")
    sys.stdout.write(f"\n{right} of {len(seeded)} named, and nothing else said of them\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
