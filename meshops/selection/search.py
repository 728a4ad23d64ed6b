"""The search for the best surrogate: closed forms, trees, networks, their blend; all compared at the same nodes.

Folds of the learning cases choose; cases of the outer split, which nothing here sees, judge the winner.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from torch import nn

from meshops.errors import Stopped
from meshops.models import create_model
from meshops.selection.ahead import train_ahead
from meshops.selection.blending import apart, blend_weights, blended, nested
from meshops.selection.folds import FEW, Split
from meshops.selection.networks import (
    CORES,
    LEAST_STEPS,
    Bench,
    Member,
    Network,
    named_networks,
    predict_at,
    seconds_per_step,
    slowness,
    steps_for,
    train_member,
    usable,
)
from meshops.selection.reduced import Carried, Variant, cross_validated, fitted
from meshops.selection.scores import Sheet, Truth, score
from meshops.tasks.base import Made
from meshops.tasks.fields import FieldsTask
from meshops.tasks.fields_samples import FieldsSamples
from meshops.tasks.prepared import taken
from meshops.training.boosting import Boosting, boosted

TREES = "boosted trees"
TREE_SHARE, TREE_ROW = 0.15, 2e-4  # of the time for trees of folds, and seconds of a channel of a row on one core
CLOSED, TRAINED = 0.15, 0.7  # shares of the time for closed forms, and for networks
LOOK = 0.1  # of the time for networks: a first look at each, where there are several
MANY = 3  # members of a network, from which on each sees the nodes of a case dealt into subsets once
BLENDED = 4  # candidates in a blend at most
Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Candidate:
    """What was tried.

    Attributes:
        name: For tables.
        errors: ``[cases, fields]`` held-out relative L2 errors.
        sheet: Held-out predictions.
        bare: The same without features of the mesh itself; empty: as ``sheet``.
        variant: Of a closed form.
        members: Of a network, one per fold.
        refitted: Trees, fitted to all cases when they are chosen.
        note: Why it is not in the race, or how it was made.
    """

    name: str
    errors: Array
    sheet: Sheet
    bare: Sheet = field(default_factory=list)
    variant: Variant | None = None
    members: tuple[Member, ...] = ()
    refitted: bool = False
    note: str = ""

    @property
    def score(self) -> float:
        """Mean error."""
        return score(self.errors)


@dataclass(eq=False)
class Found:
    """What a search came to; complete at any time after the closed forms.

    Attributes:
        candidates: All that was tried, best first.
        blend: Weights ``[candidates in it, fields]`` by name, where a blend is the best; else of the one that is.
        score: Held-out error of what was chosen, weights chosen without the fold they are judged on.
        sheet: Held-out predictions of it; ``bare``: without features of the mesh itself; empty: unknown.
        spread: Standard deviation of the members of the blend.
        halves: Held-out error of a network on half of the cases, and on those of a fold: for the learning curve.
        stopped: It was stopped before it had tried all.
    """

    candidates: list[Candidate] = field(default_factory=list)
    blend: dict[str, Array] = field(default_factory=dict)
    score: float = float("nan")
    sheet: Sheet = field(default_factory=list)
    bare: Sheet = field(default_factory=list)
    spread: Sheet = field(default_factory=list)
    halves: dict[int, float] = field(default_factory=dict)
    stopped: Stopped | None = None


@dataclass(frozen=True, eq=False)
class Search:
    """All a search works with.

    Attributes:
        task: Normalisation of the learning cases; its model is replaced.
        samples: The learning cases, in the order of ``split.learn``.
        split: Folds.
        seconds: That it may take on the nominal machine.
        folder: For finished parts.
        console: Where progress goes.
        seed: Of all that is random.
        networks: Names of those that may be tried; None: those that suit the data.
    """

    task: FieldsTask
    samples: FieldsSamples
    split: Split
    seconds: float
    folder: Path
    console: Console
    seed: int = 0
    networks: tuple[str, ...] | None = None

    def run(self) -> tuple[Found, Carried]:
        """Try everything the time allows; Ctrl-C ends it with what there is."""
        truth = Truth.of(self.task, self.samples.graphs)
        carried = Carried.of(self.task, self.samples.graphs, truth)
        found = Found()
        bench = Bench(self.task, self.samples, truth, self.split, self.folder, self.console, self.seed)
        with interruptible():
            for part in (self._closed_forms, self._trees, self._networks):
                try:
                    part(found, bench, carried)
                except Stopped as stop:
                    found.stopped = stop
                except KeyboardInterrupt as stop:
                    found.stopped = Stopped(stop.args[0] if stop.args else signal.SIGINT, 0, self.folder)
                if not found.candidates:
                    raise KeyboardInterrupt
                self._choose(found, truth)
                if found.stopped is not None:
                    break
        return found, carried

    def _closed_forms(self, found: Found, bench: Bench, carried: Carried) -> None:
        truth = bench.truth
        zeros: Sheet = [torch.zeros_like(values) for values in truth.values]
        found.candidates.append(Candidate("constant", truth.table(zeros), zeros, note="mean of all nodes"))
        start = time.perf_counter()
        leading: dict[str, Candidate] = {}
        try:
            for variant, sheet in cross_validated(
                carried, truth, self.split, allowed=lambda: time.perf_counter() - start < CLOSED * self.seconds * 2
            ):
                made = Candidate(variant.name, truth.table(sheet), sheet, variant=variant)
                if variant.family not in leading or made.score < leading[variant.family].score:
                    leading[variant.family] = made
        finally:  # what is done counts, also where the rest is stopped
            found.candidates += leading.values()
            for candidate in sorted(leading.values(), key=lambda c: c.score):
                self.console.print(f"  {candidate.name}: held-out error {candidate.score:.4f}")

    def _trees(self, found: Found, bench: Bench, carried: Carried) -> None:
        """Boosted trees of the nodes' own inputs: for bodies, where these hold the shape around a node and its flow."""
        del carried
        if not self.samples.spec.bodies or len(self.split.learn) + len(self.split.test) < FEW:
            return
        config = tree_config(self.samples, len(self.split.folds), self.seconds)
        sheet: Sheet = [torch.empty(0)] * len(self.split.learn)
        bare: Sheet = list(sheet) if self.samples.spec.cues() else []
        for fold in range(len(self.split.folds)):
            rest, held = bench.parts(fold)
            model, made = boosted(self.task, taken(self.samples.graphs, rest), config, seed=self.seed)
            task = with_model(self.task, model, made)
            for case in held:
                graph, nodes = self.samples.graphs[case], bench.truth.nodes[case]
                sheet[case] = predict_at(task, graph, nodes)
                if bare:
                    bare[case] = predict_at(task, task.without_cues(graph), nodes)
        found.candidates.append(Candidate(TREES, bench.truth.table(sheet), sheet, bare, refitted=True))
        self.console.print(f"  {TREES}: held-out error {found.candidates[-1].score:.4f}")

    def _networks(self, found: Found, bench: Bench, carried: Carried) -> None:
        del carried
        wanted = named_networks(self.networks, bodies=self.samples.spec.bodies)
        able = [network for network in wanted if usable(network, self.samples)]
        if not able or len(self.samples.graphs) < 4:
            return
        seconds, members = TRAINED * self.seconds, len(self.split.folds)
        costs = {network.name: seconds_per_step(network, bench) for network in able}
        needs = {name: LEAST_STEPS * cost * members / TRAINED / CORES / 60 for name, cost in costs.items()}
        for network in [n for n in able if needs[n.name] * 60 > self.seconds]:
            name = network.name
            self.console.print(f"  {name}: left out, its {members} members need {needs[name]:.1f} minutes or more")
            able.remove(network)
        if not able:
            return
        if len(able) > 1:
            able, seconds = self._first_look(able, costs, bench, seconds)
        network = able[0]
        cost = costs[network.name]
        share = slowness(network, bench, cost)
        steps = steps_for(CORES * seconds * share / members, cost)
        self.console.print(f"  {network.name}: {members} members of {steps} steps, about {seconds / 60:.1f} min")
        trained, sheet, begun = [], [torch.empty(0)] * len(self.split.learn), time.perf_counter()
        bare: Sheet = list(sheet) if self.samples.spec.cues() else []

        ahead = train_ahead(network, bench, steps)
        for fold in range(members):
            member, rows, hidden = train_member(network, bench, fold, steps)
            for k, case in enumerate(bench.parts(fold)[1]):
                sheet[case] = rows[k]
                if bare:
                    bare[case] = hidden[k]
            trained.append(member)
            errors = [score(np.array([list(bench.truth.errors(i, sheet[i]).values())])) for i in bench.parts(fold)[1]]
            left = (members - fold - 1) / (fold + 1) * (time.perf_counter() - begun) / 60
            told = f"held-out error {np.mean(errors):.4f}" + ("" if ahead else f", about {left:.1f} min left")
            self.console.print(f"  {network.name} {fold + 1} of {members}: {told}")
        found.candidates.append(
            Candidate(
                network.name, bench.truth.table(sheet), sheet, bare, members=tuple(trained), note=f"{steps} steps"
            )
        )

    def _first_look(
        self, able: list[Network], costs: dict[str, float], bench: Bench, seconds: float
    ) -> tuple[list[Network], float]:
        """Train each for a short time without the first fold; the best goes on."""
        errors = {}
        for network in able:
            steps = steps_for(LOOK * seconds, costs[network.name])
            _, rows, _ = train_member(network, bench, 0, steps, name=f"look-{network.name}")
            held = bench.parts(0)[1]
            tables = [list(bench.truth.errors(case, r).values()) for case, r in zip(held, rows, strict=True)]
            errors[network.name] = score(np.array(tables))
            self.console.print(f"  first look at {network.name}: {errors[network.name]:.4f} after {steps} steps")
        leader = min(able, key=lambda network: errors[network.name])
        return [leader], seconds * (1 - LOOK * len(able))

    def _choose(self, found: Found, truth: Truth) -> None:
        """The best candidate, or a blend of the best where that is better on folds it was not weighed on."""
        found.candidates.sort(key=lambda c: (not np.isfinite(c.score), c.score))
        leader = found.candidates[0]
        fields = len(truth.channels)
        found.blend, found.score, found.sheet = {leader.name: np.ones((fields,))}, leader.score, leader.sheet
        rows = {case: i for i, case in enumerate(self.split.learn)}
        folds = [[rows[i] for i in fold] for fold in self.split.folds]
        best = None if len(folds) < 3 else best_blend(found.candidates[:BLENDED], truth, folds)
        if best is not None and best[0] < found.score:
            found.score, found.blend, found.sheet = best
        by_name = {c.name: c for c in found.candidates}
        chosen = [by_name[name] for name in found.blend]
        weights = np.array(list(found.blend.values()))
        cases = range(len(truth.values))
        found.spread = [apart([c.sheet for c in chosen], weights, truth, i) for i in cases]
        if self.samples.spec.cues():
            found.bare = [blended([c.bare or c.sheet for c in chosen], weights, truth, i) for i in cases]


def best_blend(
    candidates: Sequence[Candidate], truth: Truth, folds: Sequence[Sequence[int]]
) -> tuple[float, dict[str, Array], Sheet] | None:
    """Held-out error, weights and predictions of the best blend of the leading candidates; None of a single one.

    Tried are least-squares weights of the best two, three, ..., judged on folds they were not fitted to, and the plain
    mean of each pair, which has no weights that could be fitted to chance.
    """
    tried: list[tuple[float, dict[str, Array], Sheet]] = []
    for count in range(2, len(candidates) + 1):
        part = candidates[:count]
        sheets = [candidate.sheet for candidate in part]
        weights = blend_weights(sheets, truth, range(len(truth.values)))
        weights[weights < 0.01] = 0.0
        weights /= weights.sum(0)
        named = {c.name: w for c, w in zip(part, weights, strict=True) if w.any()}
        out = nested(sheets, truth, folds)
        tried.append((score(truth.table(out)), named, out))
    for one, other in combinations(candidates, 2):
        both = [(a + b) / 2 for a, b in zip(one.sheet, other.sheet, strict=True)]
        halves = np.full(len(truth.channels), 0.5)
        tried.append((score(truth.table(both)), {one.name: halves, other.name: halves}, both))
    return min(tried, key=lambda item: item[0], default=None)


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM stops what runs within as Ctrl-C does; elsewhere than in the main thread nothing changes."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt(number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def tree_config(samples: FieldsSamples, folds: int, seconds: float) -> Boosting:
    """Trees of the folds: fewer than those of the end, and of fewer nodes where the time is short."""
    rows = int(TREE_SHARE * seconds / (TREE_ROW * folds * samples.spec.channels))
    return Boosting(members=1, most_rows=max(5_000, min(rows, 150_000)))


def assemble(search: Search, found: Found, carried: Carried) -> FieldsTask:
    """The task with the model that was chosen, refitted to all learning cases where it is in closed form."""
    by_name = {candidate.name: candidate for candidate in found.candidates}
    members: list[tuple[nn.Module, Made, Array]] = []
    for name, weights in found.blend.items():
        candidate = by_name[name]
        if candidate.variant is not None:
            members.append((*fitted(carried, candidate.variant), weights))
        if candidate.refitted:
            config = tree_config(search.samples, len(search.split.folds), search.seconds)
            config = replace(config, members=2, most_rows=2 * config.most_rows)
            members.append((*boosted(search.task, search.samples.graphs, config, seed=search.seed), weights))
        for member in candidate.members:
            members.append((member.model, member.made, weights / len(candidate.members)))
    if not members:  # the training mean alone: components without any
        members.append((*fitted(carried, Variant("average", 0)), np.zeros(len(search.samples.spec.fields))))
    out = with_model(search.task, *_one_model(members, search.samples.spec.sizes))
    if any(len(by_name[name].members) >= MANY for name in found.blend):
        out.asked["passes"] = 1  # the members average over each other, that is enough
    return out


def _one_model(members: Sequence[tuple[nn.Module, Made, Array]], sizes: Sequence[int]) -> tuple[nn.Module, Made]:
    if len(members) == 1 and (members[0][2] == 1).all():
        return members[0][0], members[0][1]
    arguments: dict[str, Any] = {
        "members": [{"name": made.name, "arguments": dict(made.arguments)} for _, made, _ in members],
        "out_channels": sum(sizes),
    }
    blend = create_model("blend", **arguments)
    state = {f"members.{i}.{k}": v for i, (model, _, _) in enumerate(members) for k, v in model.state_dict().items()}
    weights = torch.as_tensor(np.stack([np.repeat(w, sizes) for *_, w in members]), dtype=torch.float32)
    blend.load_state_dict({**state, "weights": weights})
    return blend, Made("blend", arguments)


def with_model(task: FieldsTask, model: nn.Module, made: Made) -> FieldsTask:
    """A task of the same normalisation with another model."""
    out = FieldsTask(
        model,
        task.spec,
        input_norm=task.input_norm,
        output_norm=task.output_norm,
        position=task.position,
        condition_norm=task.condition_norm,
        number_norm=task.number_norm,
    )
    out.made, out.asked, out.reference = made, dict(task.asked), task.reference
    out.remember(task.memory())
    return out.eval()


def yardstick_tasks(search: Search, carried: Carried) -> dict[str, FieldsTask]:
    """Average and nearest of the learning cases, as tasks, to stand beside the winner."""
    families = [name for name in ("average", "nearest") if name in carried.families()]
    most = len(carried.vectors)
    return {
        name: with_model(search.task, *fitted(carried, Variant(name, most * (name == "nearest")))) for name in families
    }
