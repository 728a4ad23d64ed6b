"""Is a case like those a surrogate was trained on? Numbers of the shape, and what the model sees of its nodes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meshops.aero.cases import Case
from meshops.aero.descriptors import DESCRIPTORS
from meshops.aero.symmetry import LOPSIDED
from meshops.data.mesh_graph import MeshGraph
from meshops.data.shape import shape_numbers
from meshops.errors import InputError
from meshops.nn.case_regression import projection
from meshops.tasks.fields import FieldsTask
from meshops.tasks.fields_samples import FieldsSamples
from meshops.tasks.prediction import Level, Verdict
from meshops.tasks.prepared import conditions_of, limits_of, shapes_of

Array = NDArray[np.float64]
Rows = NDArray[np.float32] | NDArray[np.float64]

ABSURD = 20.0  # bodies this many times longer or shorter than those of the training: another unit
MARGIN = 0.1  # of its training range: how far a feature may lie outside
NARROW = 0.02  # least width of that margin, features are of order one
EDGE, OUTSIDE = 0.05, 0.25  # of its range, how far a descriptor misses it; share of nodes with a feature out of range
ROWS = 65_536  # nodes that are compared at a time
FARTHEST = 10.0  # training gaps, beyond which a case is not any stranger
UNITS = {"millimetres": 1000.0, "centimetres": 100.0, "inches": 39.37, "feet": 3.281}
PLACES = {
    "inside": "The shape lies inside the range of the {} training shapes.",
    "edge": "The shape lies at the edge of the {} training shapes: expect larger errors than on the held-out shapes.",
    "outside": "The shape lies outside the {} training shapes: the prediction is an extrapolation and its error is "
    "unknown.",
}


@dataclass(frozen=True, eq=False)
class FeatureRange:
    """Range of the features a model sees, over the nodes of each training case.

    Attributes:
        names: Of the features that differ between nodes.
        lows, highs: ``[s, f]``.
    """

    names: tuple[str, ...]
    lows: Array
    highs: Array

    @classmethod
    def over(cls, names: Sequence[str], cases: Iterable[Array]) -> FeatureRange:
        """Range over cases ``[n, f]``."""
        limits = [(case.min(0), case.max(0)) for case in cases]
        lows, highs = (np.array(ends, dtype=np.float64) for ends in zip(*limits, strict=True))
        return cls(tuple(names), lows, highs)

    @property
    def low(self) -> Array:
        """``[f]`` over all cases."""
        return np.asarray(self.lows.min(0))

    @property
    def high(self) -> Array:
        """``[f]`` over all cases."""
        return np.asarray(self.highs.max(0))

    def without(self, case: int) -> FeatureRange:
        """The range of the other cases."""
        return FeatureRange(self.names, np.delete(self.lows, case, 0), np.delete(self.highs, case, 0))

    def strangers(self, features: Rows) -> tuple[float, tuple[str, ...]]:
        """Share of the nodes ``[n, f]`` with a feature outside its widened range, and the features to blame.

        Those are at most three, worst first, each with at least a fifth of the nodes of the worst.
        """
        margin = np.maximum(MARGIN * (self.high - self.low), NARROW)
        low, high, each, together = self.low - margin, self.high + margin, np.zeros(len(self.names)), 0
        for start in range(0, len(features), ROWS):  # what is compared of a large case would not fit beside it
            rows = features[start : start + ROWS].astype(np.float64)
            outside = (rows < low) | (rows > high)
            each += outside.sum(0)
            together += int(outside.any(1).sum())
        share = each / len(features)
        worst = [i for i in np.argsort(-share)[:3] if share[i] > 0 and share[i] >= 0.2 * share.max()]
        return together / len(features), tuple(self.names[i] for i in worst)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return {"names": list(self.names), "low": self.lows.tolist(), "high": self.highs.tolist()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> FeatureRange:
        """Inverse of :meth:`to_dict`."""
        return cls(
            tuple(values["names"]), *(np.atleast_2d(np.array(values[end], dtype=np.float64)) for end in ("low", "high"))
        )


@dataclass(frozen=True, eq=False)
class Novelty:
    """What a surrogate remembers of its training shapes.

    Attributes:
        values: ``[s, k]`` descriptors.
        shapes: Names of the cases.
        features: Range of the features, None: not looked at.
        described: Name and unit of each descriptor.
        informative: Leading descriptors that have no say: the length of a body.
        modes: Shift ``[v]`` and map ``[v, m]`` from numbers of a shape to descriptors, for cases that are no bodies.
    """

    values: Array
    shapes: tuple[str, ...]
    features: FeatureRange | None = None
    described: tuple[tuple[str, str], ...] = tuple(DESCRIPTORS.items())
    informative: int = 1
    modes: tuple[Array, Array] | None = None

    @classmethod
    def of(cls, task: FieldsTask, samples: FieldsSamples) -> Novelty | None:
        """What to remember of training cases; None where nothing describes them: one shape, no conditions."""
        parts = [part for part in (samples.graphs, samples.held_out) if len(part)]
        spec = task.spec
        names = [(name, spec.named(name).removeprefix(name).strip(" []")) for name in spec.conditions]
        told = np.concatenate([conditions_of(part) for part in parts])
        if samples.descriptors is not None:
            known = spec.feature_names()
            ends = [limits_of(part, [known.index(name) for name in spec.varying_names()]) for part in parts]
            seen = FeatureRange(spec.varying_names(), *(np.concatenate(end) for end in zip(*ends, strict=True)))
            values = np.concatenate([samples.descriptors, told], 1)
            return cls(values, samples.names, seen, (*DESCRIPTORS.items(), *names))
        modes = None
        if spec.domain == "graph" and task.reference is None:
            shapes = np.concatenate([shapes_of(part) for part in parts])
            modes = projection(shapes, 0)
            told = np.concatenate([told, (shapes - modes[0]) @ modes[1]], 1)
            names += [(f"shape mode {i + 1}", "") for i in range(modes[1].shape[1])]
        return cls(told, samples.names, None, tuple(names), 0, modes) if told.shape[1] else None

    def of_case(self, task: FieldsTask, case: Case) -> Verdict | None:
        """Where a case lies; notes a hint at its unit. None for a case that cannot be described so."""
        told = [case.conditions[name] for name in task.spec.conditions]
        if case.body is None and self.informative:
            return None
        prepared, _ = task.prepared(case)
        if case.body is None:
            modes = self.modes
            shape = () if modes is None else ((_shape(prepared) - modes[0]) @ modes[1]).tolist()
            return self.judge(np.array([*told, *shape]))
        value = np.array([*case.body.descriptors(case.flow), *told])
        hint = self.unit_hint(value)
        if hint:
            case.notes.append(hint)
        lopsided = case.lopsided if case.lopsided > LOPSIDED else 0.0
        return self.judge(value, task.varying_features(prepared), lopsided=lopsided)

    def left_out(self, task: FieldsTask, samples: FieldsSamples) -> list[Verdict]:
        """Where each training case lies beside the others, in the same unit of distance as new cases."""
        graphs = chain(samples.graphs, samples.held_out)
        return self.beside_others(None if self.features is None else map(task.varying_features, graphs))

    def beside_others(self, features: Iterable[Rows] | None = None) -> list[Verdict]:
        """Each of its own cases as a new one beside the others; ``features`` of each, where they are looked at."""
        out = []
        seen = iter(() if features is None else features)
        for i in range(len(self.values)):
            others = replace(
                self,
                values=np.delete(self.values, i, 0),
                shapes=(*self.shapes[:i], *self.shapes[i + 1 :]),
                features=None if self.features is None else self.features.without(i),
            )
            out.append(others.judge(self.values[i], next(seen, None), gap=self._largest_gap()))
        return out

    def judge(
        self, value: Array, features: Rows | None = None, *, lopsided: float = 0.0, gap: float | None = None
    ) -> Verdict:
        """Compare a shape with the training set.

        Inside: every descriptor within the training range widened by a twentieth of it, the nearest training shape no
        farther than twice the largest gap within the training set, and hardly a node with a feature that no training
        node had. Outside: a descriptor misses the range by more than a quarter of it, the nearest shape is more than
        four gaps away, or many nodes have such a feature. Edge: between. The length has no say.

        Args:
            value: ``[k]`` descriptors.
            features: ``[n, f]`` features of its nodes, those of :attr:`features`.
            lopsided: Share of the area without mirror image, of a shape that had to have one: outside.
            gap: Unit of the distance; None: the largest gap within the training set.
        """
        low, high = self.values.min(0), self.values.max(0)
        span = np.maximum(high - low, 1e-3 * np.maximum(np.abs(high), 1e-9))
        miss = np.maximum(low - value, value - high) / span
        miss[: self.informative] = 0.0
        distances = self._distances(self.values[:, self.informative :], value[self.informative :])
        nearest = int(distances.argmin())
        distance = float(distances[nearest] / (gap or self._largest_gap()))
        strange, blamed = (0.0, ()) if features is None or self.features is None else self.features.strangers(features)
        if (miss > OUTSIDE).any() or distance > 4 or strange > OUTSIDE or lopsided > 0:
            level: Level = "outside"
        else:
            level = "edge" if (miss > EDGE).any() or distance > 2 or strange > EDGE else "inside"
        rows = tuple(
            (name, unit, float(value[i]), float(low[i]), float(high[i]), bool(miss[i] <= EDGE))
            for i, (name, unit) in enumerate(self.described)
            if value[i] or low[i] or high[i]
        )
        names, reasons = [name for name, _ in self.described], []
        if beyond := [names[i] for i in np.argsort(-miss) if miss[i] > EDGE]:
            reasons.append(f"Out of range: {', '.join(beyond)}.")
        if strange > EDGE:
            share = f"{100 * strange:.0f} % of its nodes"
            reasons.append(f"{share} look like none of the training nodes: {', '.join(blamed)}.")
        if lopsided > 0:
            area = f"{100 * lopsided:.0f} % of its area has no mirror image"
            reasons.append(f"It has no mirror plane ({area}), and the model knows only shapes that have one.")
        if level != "inside" and not reasons:
            reasons.append(f"Every number is in range, but the combination is new ({distance:.1f} training gaps away).")
        sentence = " ".join([PLACES[level].format(len(self.shapes)), *reasons])
        beyond_range = min(max(0.0, float(miss.max(initial=0.0))) / OUTSIDE, FARTHEST)
        reach = min(distance, FARTHEST) + beyond_range + strange / OUTSIDE
        return Verdict(level, sentence, distance, self.shapes[nearest], rows, reach=reach)

    def check_length(self, length: float, label: str) -> None:
        """Refuse a body whose length (m) can only be another unit.

        Raises:
            InputError: It is :data:`ABSURD` times longer or shorter than those of the training.
        """
        low, high = self.values[:, 0].min(), self.values[:, 0].max()
        if low / ABSURD <= length <= high * ABSURD:
            return
        guess = self._unit(length)
        unit, scale = guess if guess else ("another unit", high / length)
        raise InputError(
            f"{label}: the body is {length:.4g} m long, those of the training {low:.3g} to {high:.3g} m, and "
            f"{low / ABSURD:.2g} to {high * ABSURD:.2g} m are taken; is the file in {unit}? Then pass --scale "
            f"{scale:.4g} (--scale 1 takes it as it is)"
        )

    def unit_hint(self, value: Array) -> str:
        """A hint when the length is off by the factor of another unit, else an empty string."""
        ratio = float(value[0] / np.median(self.values[:, 0]))
        guess = self._unit(float(value[0]))
        if guess:
            size = f"about {ratio:.3g} times as large as the training shapes"
            return f"the shape is {size}: is it in {guess[0]}? Then pass --scale {guess[1]:.4g}"
        if ratio > 5 or ratio < 0.2:
            return f"the shape is {ratio:.3g} times as large as the training shapes; check its unit (--scale)"
        return ""

    def _unit(self, length: float) -> tuple[str, float] | None:
        """Unit that would bring a length to those of the training, and its factor to metres."""
        ratio = length / float(np.median(self.values[:, 0]))
        return next(((unit, 1 / factor) for unit, factor in UNITS.items() if 0.5 < ratio / factor < 2.0), None)

    def _distances(self, rows: Array, value: Array) -> Array:
        values = self.values[:, self.informative :]
        scale = np.maximum(values.std(0), 1e-2 * np.maximum(np.abs(values.max(0)), 1e-9))
        return np.asarray(np.linalg.norm((rows - value) / scale, axis=-1))

    def _largest_gap(self) -> float:
        if len(self.values) < 2:
            return 1.0
        rows = self.values[:, self.informative :]
        distance = self._distances(rows[:, None], rows[None])
        np.fill_diagonal(distance, np.inf)
        return float(max(distance.min(1).max(), 1e-9))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        features = None if self.features is None else self.features.to_dict()
        modes = None if self.modes is None else [part.tolist() for part in self.modes]
        return {"values": self.values.tolist(), "shapes": list(self.shapes), "features": features,
                "described": [list(row) for row in self.described], "informative": self.informative,
                "modes": modes}  # fmt: skip

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Novelty:
        """Inverse of :meth:`to_dict`."""
        features, modes = values["features"], values.get("modes")
        rows = np.array(values["values"], dtype=np.float64)
        described = values.get("described", list(DESCRIPTORS.items()))
        return cls(
            rows,
            tuple(values["shapes"]),
            None if features is None else FeatureRange.from_dict(features),
            tuple((str(name), str(unit)) for name, unit in described),
            int(values.get("informative", 1)),
            None if modes is None else (np.array(modes[0]), np.array(modes[1]).reshape(len(modes[0]), -1)),
        )


def _shape(graph: MeshGraph) -> Array:
    """Numbers of the shape of a prepared case."""
    return np.asarray(shape_numbers(graph.pos, graph.get("area")).double().numpy())
