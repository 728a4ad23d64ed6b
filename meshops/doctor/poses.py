"""Cases in another pose or unit of length: moved, turned, mirrored, in millimetres; fields with the other sign.

A case is compared with the others through moments of its mesh, first moments of its fields, forces of its scalars and
quantiles. Where it differs, each way to turn, mirror or flip is tried; the one that makes it like the others names
what happened to it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from meshops.doctor.facts import CaseFacts
from meshops.doctor.findings import Finding
from meshops.doctor.robust import center, left_out, spread
from meshops.doctor.survey import Survey
from meshops.doctor.values import table_features

Array = NDArray[np.float64]
LENGTHS = {
    1000.0: "millimetres and metres", 100.0: "centimetres and metres", 10.0: "a factor ten",
    25.4: "inches and millimetres",
    39.3701: "inches and metres", 3.28084: "feet and metres", 12.0: "inches and feet", 2.54: "inches and centimetres",
    1e6: "micrometres and metres", 304.8: "feet and millimetres",
}  # fmt: skip
FLOORS = {"moments": 0.002, "skew": 0.002, "dipole": 0.03, "force": 0.03, "sketch": 0.12, "reach": 0.01}
ATYPICAL = 4.0
TYPICAL = 2.5
STEP = 5  # degrees
FEWEST = 7  # cases that tell a turn by a few degrees from variety


@dataclass(frozen=True, eq=False)
class Change:
    """Something that may have happened to a case.

    Attributes:
        what: In words, after "the case is" or so.
        kind: Of the finding.
        matrix: Orthogonal matrix applied to the coordinates.
        flips: Fields whose sign is turned.
        vectors: Vector fields turn with the mesh.
        angle: No multiple of a quarter turn.
    """

    what: str
    kind: str
    matrix: Array
    flips: frozenset[str] = field(default_factory=frozenset)
    vectors: bool = True
    angle: bool = False


@dataclass(frozen=True, eq=False)
class Signature:
    """Blocks of numbers of a case, ``(kind, field) -> array``: ``moments``, ``reach``, ``dipole``, ..."""

    blocks: Mapping[tuple[str, str], Array]
    sizes: Mapping[str, int]

    def changed(self, change: Change) -> Signature:
        """The same case after a change."""
        turn = change.matrix
        out = {}
        for (kind, name), block in self.blocks.items():
            sign = -1.0 if name in change.flips else 1.0
            if kind == "moments":
                out[kind, name] = turn @ block @ turn.T
            elif kind == "reach":
                if change.angle:
                    continue  # the box of a slanted body does not follow from that of the straight one
                ends = block @ turn.T
                out[kind, name] = np.stack([ends.min(0), ends.max(0)])
            elif kind == "sketch":
                out[kind, name] = -block[::-1] if sign < 0 and self.sizes[name] == 1 else block
            elif kind == "dipole" and self.sizes.get(name, 1) > 1 and not change.vectors:
                out[kind, name] = sign * block
            else:
                out[kind, name] = sign * (turn @ block)
        return Signature(out, self.sizes)


def signature_of(case: CaseFacts, names: list[str], scales: Mapping[str, float]) -> Signature:
    """Signature of a case from some of its fields; ``scales`` are typical sizes of their values."""
    blocks: dict[tuple[str, str], Array] = {
        ("moments", ""): case.moments, ("skew", ""): case.skew, ("reach", ""): case.reach,
    }  # fmt: skip
    sizes = {}
    for name in names:
        facts = case.fields[name]
        sizes[name] = facts.size
        blocks["sketch", name] = facts.sketch[2:-2] / scales[name]  # the ends say little of the rest
        blocks["dipole", name] = facts.dipole
        if case.surface is not None and name in case.surface.of_normal and facts.std > 0:
            whole = case.surface.of_normal[name] - facts.mean * case.surface.closure * case.surface.area
            blocks["force", name] = whole / (case.surface.area * facts.std)
    return Signature(blocks, sizes)


def other_lengths(survey: Survey, unsound: set[tuple[str, str]]) -> Iterator[Finding]:
    """Cases in another unit of length."""
    cases = [case for case in survey.good if np.isfinite(case.size) and case.size > 0]
    if len(cases) < 3:
        return
    level = np.log([case.size for case in cases])
    for i, case in enumerate(cases):
        others = np.delete(level, i)[:, None]
        middle, width = float(center(others)[0]), float(spread(others, 0.1)[0])
        sound = others[np.abs(others - middle) < 4 * width]
        difference = float(level[i]) - middle
        reach = (float(sound.min()) - middle, float(sound.max()) - middle) if len(sound) else (0.0, 0.0)
        found = _length(case, difference, abs(difference) / width, reach)
        if found is not None:
            unsound.add((case.name, ""))
            yield found


def moved(survey: Survey, unsound: set[tuple[str, str]]) -> Iterator[Finding]:
    """Cases that lie elsewhere than the others."""
    cases = [case for case in survey.good if (case.name, "") not in unsound]
    for case in cases:
        found = _moved(case, [other for other in cases if other is not case])
        if found is not None:
            unsound.add((case.name, ""))
            yield found


def _length(case: CaseFacts, difference: float, apart: float, reach: tuple[float, float]) -> Finding | None:
    factor = math.exp(abs(difference))
    if apart < 4 or factor < 2:
        return None
    gap, known = min((abs(math.log(factor / known)), known) for known in LENGTHS)
    named = gap < max(0.3 if factor > 50 else 0.1, 1.2 * abs(difference) / apart)
    if factor > 50 and not named:  # the others differ much in size: with the factor undone it is one of them
        undone = difference - math.copysign(math.log(known), difference)
        named = reach[0] - 0.1 < undone < reach[1] + 0.1
    if not named and (factor < 5 or apart < 8):
        return None
    shown = f"about {known:g}" if named else f"{factor:.3g}"
    size = f"{shown} times as large as" if difference > 0 else f"{shown} times smaller than"
    likely = LENGTHS[known] if named else "no usual factor between units"
    return Finding(
        "other length", "problem", f"the mesh is {size} the others",
        f"diagonal {case.size:.4g}, a factor {factor:.4g}; {likely}", "bring all cases to one unit of length",
        case.name,
    )  # fmt: skip


def _moved(case: CaseFacts, others: list[CaseFacts]) -> Finding | None:
    if len(others) < 2:
        return None
    size = float(np.median([c.size for c in others]))
    ends = {"low": case.low, "middle": case.middle, "high": case.high}
    apart = np.full((3, case.dim), np.inf)
    for row, (name, value) in enumerate(ends.items()):
        table = np.array([getattr(c, name) for c in others])
        apart[row] = (value - center(table)) / np.maximum(spread(table, 0.0, core=0.9) * 3, 0.05 * size)
    same_side = (np.sign(apart) == np.sign(apart[0])).all(axis=0)
    least = np.where(same_side, np.abs(apart).min(axis=0), 0.0)
    if not (least > 1).any():
        return None
    by = case.middle - center(np.array([c.middle for c in others]))
    out = np.flatnonzero(least > 1)
    lows, highs = np.array([c.low for c in others]), np.array([c.high for c in others])
    reach = 0.02 * size
    over = [k for k in out if lows[:, k].min() - reach <= -case.high[k] and -case.low[k] <= highs[:, k].max() + reach]
    if len(over) == len(out) == 1:
        return Finding(
            "mirrored", "problem", f"the mesh lies on the other side of {'xyz'[out[0]]} = 0: mirrored, or moved",
            f"from {case.low[out[0]]:.4g} to {case.high[out[0]]:.4g}, the others {lows[:, out[0]].min():.4g} to "
            f"{highs[:, out[0]].max():.4g}", CURES["mirrored"], case.name,
        )  # fmt: skip
    axes = [f"{'xyz'[k]} by {by[k]:+.4g}" for k in np.flatnonzero(least > 1)]
    return Finding(
        "moved", "problem", f"the mesh is moved along {' and '.join(axes)}",
        f"beyond the places of the others, {np.abs(by).max() / size:.2g} of their size",
        "place it as the others, unless the place matters", case.name,
    )  # fmt: skip


def other_poses(survey: Survey, unsound: set[tuple[str, str]]) -> Iterator[Finding]:
    """Cases that are like the others once they are turned, mirrored, or a field changes its sign."""
    named = {name for name in survey.fields if all(name in c.fields for c in survey.good)}
    everywhere = {n for n in named if all((c.name, n) in unsound for c in survey.good)}
    names = [n for n in survey.fields if n in named - everywhere]
    bad = {name for name, what in unsound if not what or what in names}
    cases = [case for case in survey.good if case.name not in bad]
    if len(cases) < 4:
        return
    scales = {n: float(np.median([c.fields[n].rms for c in cases])) or 1.0 for n in names}
    signatures = [signature_of(case, names, scales) for case in cases]
    judge = _Judge(signatures, table_features(cases))
    for i, case in enumerate(cases):
        before = judge.distance(i, signatures[i])
        if before < ATYPICAL:
            continue
        fixed = any(other.points_key == case.points_key for other in cases if other is not case)
        found = _explain(judge, i, signatures[i], before, case.dim, fixed)
        if found is None:
            continue
        change, after = found
        if any(_follows_a_sign(case, cases, name) for name in change.flips):
            continue
        unsound.add((case.name, ""))
        evidence = (
            f"{before:.1f} times the usual difference from the others as it is, {after:.1f} after the change back"
        )
        yield Finding(change.kind, "problem", change.what, evidence, CURES[change.kind], case.name,
                      field=next(iter(change.flips), ""))  # fmt: skip


def _follows_a_sign(case: CaseFacts, cases: list[CaseFacts], name: str) -> bool:
    """Whether a field has the other sign because what was set has: loads up and down, incidence below zero.

    The case is on the other side of zero than most, and others there have the field as it has it, or there are none.
    """
    for key, value in case.conditions.items():
        known = [(other, other.conditions[key]) for other in cases if other is not case and key in other.conditions]
        if not known or value * float(np.median([v for _, v in known])) >= 0:
            continue
        alike = [float(other.fields[name].dipole @ case.fields[name].dipole) > 0 for other, v in known if v * value > 0]
        if 2 * sum(alike) >= len(alike):
            return True
    return False


CURES = {
    "turned": "turn it back, its vector fields with it",
    "mirrored": "mirror it back, its vector fields with it",
    "sign": "write the field with the sign of the others",
}


class _Judge:
    """How far a signature is from what the other cases let expect.

    What is usual is the middle of the others, or, where that is much closer to them, what they let expect at the
    conditions of the case.
    """

    def __init__(self, signatures: list[Signature], features: Array) -> None:
        self.blocks = {
            key: np.stack([s.blocks[key].ravel() for s in signatures])
            for key in signatures[0].blocks
            if all(key in s.blocks for s in signatures)
        }
        told = features.shape[1] > 0 and len(signatures) >= 8
        self.usual = {key: self._views(key, rows, features if told else None) for key, rows in self.blocks.items()}

    def _views(self, key: tuple[str, str], rows: Array, features: Array | None) -> list[tuple[Array, float, int]]:
        """Expected block, usual difference and stride for each case."""
        plain = []
        for i in range(len(rows)):
            others = np.delete(rows, i, axis=0)
            middle = center(others)
            plain.append((middle, self._spread(np.linalg.norm(others - middle, axis=1), key[0]), 1))
        if features is None:
            return plain
        stride = 7 if key[0] == "sketch" else 1
        expected = np.stack([left_out(features, column)[0] for column in rows[:, ::stride].T], axis=1)
        off = np.linalg.norm(rows[:, ::stride] - expected, axis=1)
        informed = [(expected[i], self._spread(np.delete(off, i), key[0]), stride) for i in range(len(rows))]
        better = np.median([view[1] for view in informed]) < 0.6 * np.median([view[1] for view in plain])
        return informed if better else plain

    @staticmethod
    def _spread(distance: Array, kind: str) -> float:
        return max(float(np.quantile(distance, 0.8, method="higher")), FLOORS[kind])

    def distance(self, i: int, signature: Signature) -> float:
        """Largest difference over the blocks, in usual differences."""
        worst = 0.0
        for key, views in self.usual.items():
            if key not in signature.blocks:
                continue
            expected, usual, stride = views[i]
            worst = max(worst, float(np.linalg.norm(signature.blocks[key].ravel()[::stride] - expected)) / usual)
        return worst


def _explain(
    judge: _Judge, i: int, signature: Signature, before: float, dim: int, fixed: bool
) -> tuple[Change, float] | None:
    """The simplest change after which the case is like the others; None: there is none.

    A case on the very mesh of another (``fixed``) is not turned.
    """
    names = list(signature.sizes)
    flips = [Change(f"the sign of {n} is turned", "sign", np.eye(dim), frozenset({n})) for n in names]
    vectors = [n for n in names if signature.sizes[n] > 1]
    turns = simple_turns(dim)
    still = [Change(c.what + ", but not its vector fields", c.kind, c.matrix, vectors=False) for c in turns]
    slanted = angles(dim) if len(judge.usual[("moments", "")]) >= FEWEST else []
    groups = [flips] if fixed else [flips, turns, still if vectors else [], slanted]
    scored = [[judge.distance(i, signature.changed(change)) for change in group] for group in groups]
    best = min((min(scores) for scores in scored if scores), default=math.inf)
    if best > 0.55 * before or best > max(TYPICAL, 0.2 * before):
        return None
    enough = 1.2 * best + 0.2
    for group, scores in zip(groups, scored, strict=True):
        if not scores or min(scores) > enough:
            continue
        # Of equally good ones the simplest; of angles the best.
        k = int(np.argmin(scores)) if group is slanted else next(k for k, s in enumerate(scores) if s <= enough)
        return group[k], scores[k]
    return None


@lru_cache
def simple_turns(dim: int) -> list[Change]:
    """Quarter and half turns, mirrors, and mirrors with turns, in that order."""
    turns, mirrors, both = [], [], []
    for order in itertools.permutations(range(dim)):
        for signs in itertools.product((1.0, -1.0), repeat=dim):
            matrix = np.zeros((dim, dim))
            matrix[np.arange(dim), order] = signs
            if np.array_equal(matrix, np.eye(dim)):
                continue
            if np.linalg.det(matrix) > 0:
                turns.append(Change(f"the case is turned, {_turn_text(matrix)}", "turned", matrix))
            elif order == tuple(range(dim)) and sum(s < 0 for s in signs) == 1:
                axis = "xyz"[int(np.argmin(signs))]
                mirrors.append(Change(f"the case is mirrored along {axis}", "mirrored", matrix))
            else:
                both.append(Change(f"the case is mirrored and turned, {_axes_text(matrix)}", "mirrored", matrix))
    turns.sort(key=lambda change: -float(np.trace(change.matrix)))
    half = [t for t in turns if np.allclose(np.abs(t.matrix), np.eye(dim))]
    rest = [t for t in turns if not np.allclose(np.abs(t.matrix), np.eye(dim))]
    return [*mirrors, *half, *rest, *both]


@lru_cache
def angles(dim: int) -> list[Change]:
    """Turns by multiples of five degrees about each axis."""
    out = []
    for degrees in sorted(range(STEP - 180, 180, STEP), key=abs):
        if degrees % 90 == 0:
            continue
        c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        for a, b, axis in ((0, 1, "z"), (1, 2, "x"), (2, 0, "y")) if dim == 3 else ((0, 1, ""),):
            matrix = np.eye(dim)
            matrix[a, a], matrix[a, b], matrix[b, a], matrix[b, b] = c, -s, s, c
            about = f" about {axis}" if axis else ""
            out.append(Change(f"the case is turned by about {-degrees} degrees{about}", "turned", matrix, angle=True))
    return out


def _turn_text(matrix: Array) -> str:
    dim = len(matrix)
    if dim == 2:
        return "by 180 degrees" if matrix[0, 0] < 0 else "by 90 degrees"
    trace = float(np.trace(matrix))
    if trace == 0:
        return _axes_text(matrix)
    fixed = np.flatnonzero(np.diag(matrix) == 1)
    return f"by {180 if trace == -1 else 90} degrees" + (f" about {'xyz'[int(fixed[0])]}" if len(fixed) == 1 else
                                                        f", {_axes_text(matrix)}")  # fmt: skip


def _axes_text(matrix: Array) -> str:
    names = [f"{'-' if row.min() < 0 else ''}{'xyz'[int(np.abs(row).argmax())]}" for row in matrix]
    return f"its axes {', '.join(names)} are those of the others"
