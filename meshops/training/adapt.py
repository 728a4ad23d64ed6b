"""A trained surrogate of fields goes on with a few cases of other data.

Tried are the surrogate as it is, all its weights trained on at a small rate, low-rank changes of its linear layers, and
boosted trees of the new cases alone. Cross-validation over the cases chooses the number of steps, and for every field
the weights of these in a blend (Breiman 1996): what one data set says about the pressure may hold on the other where
its shear does not. Inputs, features and normalisation stay those of the surrogate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import nnls
from torch import Tensor, nn

from meshops.errors import InputError
from meshops.models import create_model
from meshops.nn.low_rank import add_low_rank, merged_state
from meshops.nn.optim import make_optimizer, parameter_groups
from meshops.tasks.base import Draw, Made, Plain
from meshops.tasks.fields import FieldsTask
from meshops.tasks.fields_samples import FieldsSamples
from meshops.tasks.inference import predict_nodes
from meshops.tasks.prepared import sizes_of, taken
from meshops.training.boosting import Boosting, boosted
from meshops.training.compared import compared_nodes

AS_IS, TREES = "as it is", "boosted trees"
WAYS = ("all weights", "low rank")
LEAST = 0.02  # smaller weights of a blend are left out
Array = NDArray[np.float64]
Key = tuple[str, int]
Sheet = dict[int, Tensor]  # normalised held-out prediction of each case at the compared nodes


class HeldOut(NamedTuple):
    """A case as surrogates that did not learn from it have it, blended by weights it had no part in.

    Attributes:
        values: ``[s, c]`` normalised fields at the compared nodes.
        spread: ``[s, c]`` weighted standard deviation of the ways.
        bare: ``[s, c]`` values without features of the mesh itself; None where the surrogate has none.
    """

    values: Tensor
    spread: Tensor
    bare: Tensor | None


@dataclass(frozen=True, kw_only=True)
class Adaption:
    """How a surrogate is adapted.

    Attributes:
        marks: Numbers of steps that are compared, ascending; (): the network stays as it is.
        least: Cases from which on the network is trained. With fewer it forgets more than it learns, and two cases
            that happen to be alike cannot say so (docs/benchmarks.md).
        lr: Learning rate of all weights.
        low_rank_lr: Of low-rank changes.
        rank: Of those.
        warmup: Steps of rising rate.
        ema: Decay of the averaged weights, which are judged and kept.
        batch_size: Cases a step.
        folds: Parts of the cases that are held out in turn, at most; each case alone where there are fewer.
        passes: Interleavings averaged when a case is judged.
        trees: How trees are fitted; None: they are not tried.
        seed: Of everything random.
    """

    marks: tuple[int, ...] = (50, 100, 200)
    least: int = 4
    lr: float = 3e-4
    low_rank_lr: float = 2e-3
    rank: int = 8
    warmup: int = 10
    ema: float = 0.95
    batch_size: int = 1
    folds: int = 4
    passes: int = 1
    trees: Boosting | None = field(default_factory=lambda: Boosting(members=1))
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse marks that are none."""
        if list(self.marks) != sorted(set(self.marks)) or any(mark < 1 for mark in self.marks):
            raise InputError(f"marks must be ascending numbers of steps, got {list(self.marks)}")


@dataclass(frozen=True, eq=False)
class Choice:
    """What cross-validation came to.

    Attributes:
        weights: Of each field, in the order of the spec, by way and number of steps.
        errors: Held-out relative L2 error of each field, mean over the cases, by way and number of steps.
        folds: Cases that were held out together.
        held_out: Each case, held out.
        nodes: ``[s]`` nodes of each case at which the ways were compared.
    """

    weights: dict[Key, tuple[float, ...]]
    errors: dict[Key, tuple[float, ...]]
    folds: list[list[int]]
    held_out: list[HeldOut]
    nodes: list[Tensor]

    def lines(self, fields: Sequence[str]) -> list[str]:
        """For the screen."""
        out = []
        for key, errors in self.errors.items():
            told = ", ".join(f"{name} {error:.4f}" for name, error in zip(fields, errors, strict=True))
            share = " / ".join(f"{weight:.2f}" for weight in self.weights.get(key, (0.0,) * len(fields)))
            out.append(f"{_named(key)}: held-out error {told}; weight {share}")
        return out


def adapted(
    start: FieldsTask, samples: FieldsSamples, config: Adaption | None = None, *,
    progress: Callable[[str], None] | None = None,
) -> tuple[FieldsTask, Choice]:  # fmt: skip
    """A surrogate that also learnt from further cases, and what was chosen.

    Args:
        start: Trained surrogate; stays as it is.
        samples: Two cases or more, from :func:`meshops.tasks.fields_begun.begun_samples`.
        config: How.
        progress: Told a line after each fold.

    Raises:
        InputError: There are fewer than two cases: nothing could be held out to choose by.
    """
    config = config or Adaption()
    if len(samples.graphs) < 2:
        raise InputError(
            f"{len(samples.graphs)} case: at least two are needed to continue a surrogate, one to learn from and one "
            "to choose by; use the surrogate as it is"
        )
    if len(samples.graphs) < config.least:
        config = replace(config, marks=())
    choice = chosen(start, samples, config, progress=progress)
    members: list[tuple[FieldsTask, tuple[float, ...]]] = []
    everything = range(len(samples.graphs))
    for (way, steps), weights in choice.weights.items():
        *_, (_, task) = _candidates(start, samples, everything, config, only=(way, steps))
        members.append((task, weights))
    return _blended(start, samples, members), choice


def chosen(
    start: FieldsTask, samples: FieldsSamples, config: Adaption, *, progress: Callable[[str], None] | None = None
) -> Choice:
    """Compare the ways by cross-validation over the cases, and weigh the best of each.

    Of every way and case is kept what it predicts at :func:`~meshops.training.compared.compared_nodes`.
    """
    count = len(samples.graphs)
    nodes = [compared_nodes(size, i, count, seed=config.seed) for i, size in enumerate(sizes_of(samples.graphs))]
    sheets: dict[Key, Sheet] = {}
    bare: dict[Key, Sheet] = {}
    folds = folds_of(count, config)
    for fold in folds:
        rest = [i for i in range(count) if i not in fold]
        for key, task in _candidates(start, samples, rest, config):
            for i in fold:
                graph = samples.graphs[i]
                sheets.setdefault(key, {})[i] = predict_nodes(task, graph, passes=config.passes)[nodes[i]]
                if start.spec.cues():
                    hidden = predict_nodes(task, task.without_cues(graph), passes=config.passes)
                    bare.setdefault(key, {})[i] = hidden[nodes[i]]
        if progress is not None:
            progress(f"held out {', '.join(samples.names[i] for i in fold)}")
    truth = {i: start.output_norm(graph.y[nodes[i]]).cpu() for i, graph in enumerate(samples.graphs)}
    tables = {key: _errors(start, sheet, truth) for key, sheet in sheets.items()}
    errors = {key: tuple(float(v) for v in table.mean(0)) for key, table in tables.items()}
    best = {way: min((key for key in errors if key[0] == way), key=lambda key: sum(errors[key])) for way, _ in errors}
    kept = list(best.values())

    def weights(cases: Iterable[int]) -> Array:
        known = {i: truth[i] for i in cases}
        return np.stack(
            [_weights(start, [sheets[key] for key in kept], known, c) for c in start.spec.slices().values()], 1
        )

    used = {key: tuple(map(float, row)) for key, row in zip(kept, weights(truth), strict=True) if row.any()}
    found: dict[int, HeldOut] = {}
    for fold in folds:
        of_others = torch.as_tensor(np.repeat(weights(i for i in truth if i not in fold), start.spec.sizes, axis=1))
        for i in fold:
            rows = torch.stack([sheets[key][i] for key in kept])
            values, spread = _moments(rows, of_others)
            without = _moments(torch.stack([bare[key][i] for key in kept]), of_others)[0] if bare else None
            found[i] = HeldOut(values, spread, without)
    return Choice(used, errors, folds, [found[i] for i in range(count)], nodes)


def _moments(rows: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted mean and standard deviation ``[n, c]`` of ``rows [k, n, c]``; ``weights [k, c]``, sum 1."""
    share = weights.to(rows.dtype).unsqueeze(1)
    mean = (rows * share).sum(0)
    return mean, ((rows - mean).square() * share).sum(0).sqrt()


def folds_of(count: int, config: Adaption) -> list[list[int]]:
    """Cases that are held out in turn."""
    parts = min(config.folds, count)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(config.seed)).tolist()
    return [sorted(order[k::parts]) for k in range(parts)]


def _candidates(
    start: FieldsTask, samples: FieldsSamples, rows: Sequence[int], config: Adaption, *, only: Key | None = None
) -> Iterator[tuple[Key, FieldsTask]]:
    """Every way, learnt from some of the cases."""
    if only is None or only[0] == AS_IS:
        yield (AS_IS, 0), _copy(start, samples)
    if config.trees is not None and (only is None or only[0] == TREES):
        task = _copy(start, samples)
        task.model, task.made = boosted(start, taken(samples.graphs, rows), config.trees, seed=config.seed)
        yield (TREES, 0), task
    for way in WAYS if config.marks else ():
        if only is None or only[0] == way:
            marks = config.marks if only is None else (only[1],)
            yield from (((way, steps), task) for steps, task in learnt(start, samples, rows, way, config, marks=marks))


def learnt(
    start: FieldsTask, samples: FieldsSamples, rows: Sequence[int], way: str, config: Adaption, *, marks: Sequence[int]
) -> Iterator[tuple[int, FieldsTask]]:
    """Train a copy on some of the cases; a finished copy at each number of steps in ``marks``.

    The rate stays at its peak: the average of the weights is what is kept, so that every mark is an end.
    """
    task = _copy(start, samples)
    generator = torch.Generator().manual_seed(config.seed)
    if way == "low rank":
        learning, lr = add_low_rank(task.model, rank=config.rank, generator=generator), config.low_rank_lr
        groups = [{"params": learning}]
    else:
        learning, lr = list(task.model.parameters()), config.lr
        groups = parameter_groups(task.model, lr)
    optimizer = make_optimizer("adamw", groups, lr=lr, weight_decay=0.0, betas=(0.9, 0.98))  # type: ignore[arg-type]
    average = [p.detach().clone() for p in learning]
    with torch.random.fork_rng(devices=[]):  # dropout
        torch.manual_seed(config.seed)
        for step in range(1, marks[-1] + 1):
            _step(task, samples, rows, optimizer, lr * min(1.0, step / config.warmup), config, generator)
            with torch.no_grad():
                torch._foreach_lerp_(average, [p.detach() for p in learning], 1 - min(config.ema, step / (step + 9)))
            if step in marks:
                yield step, _finished(_copy(start, samples), task, learning, average)


def _step(
    task: FieldsTask, samples: FieldsSamples, rows: Sequence[int], optimizer: torch.optim.Optimizer, lr: float,
    config: Adaption, generator: torch.Generator,
) -> None:  # fmt: skip
    picked = torch.randint(len(rows), (config.batch_size,), generator=generator).tolist()
    seeds = torch.randint(2**31, (config.batch_size,), generator=generator).tolist()
    batch = task.batch(samples, [Draw(rows[i], seed) for i, seed in zip(picked, seeds, strict=True)])
    for group in optimizer.param_groups:
        group["lr"] = lr
    task.train()
    optimizer.zero_grad()
    task.loss(batch.to(task.device))["loss"].backward()
    nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], 1.0)
    optimizer.step()


def _finished(
    out: FieldsTask, task: FieldsTask, learning: Sequence[nn.Parameter], average: Sequence[Tensor]
) -> FieldsTask:
    """``out`` with the averaged weights of ``task``, changes of low rank merged; ``task`` stays as it is."""
    now = [p.detach().clone() for p in learning]
    with torch.no_grad():
        for p, value in zip(learning, average, strict=True):
            p.copy_(value)
        out.model.load_state_dict(merged_state(task.model))
        for p, value in zip(learning, now, strict=True):
            p.copy_(value)
    return out


def _blended(
    start: FieldsTask, samples: FieldsSamples, members: Sequence[tuple[FieldsTask, tuple[float, ...]]]
) -> FieldsTask:
    """One task of several; a single member stands alone."""
    if len(members) == 1:
        return members[0][0]
    arguments: dict[str, Plain] = {
        "members": [{"name": task.made.name, "arguments": dict(task.made.arguments)} for task, _ in members],
        "out_channels": samples.spec.channels,
    }
    blend = create_model("blend", **arguments)
    state = {f"members.{i}.{k}": v for i, (task, _) in enumerate(members) for k, v in task.model.state_dict().items()}
    weights = np.stack([np.repeat(weights, samples.spec.sizes) for _, weights in members])
    blend.load_state_dict({**state, "weights": torch.as_tensor(weights, dtype=torch.float32)})
    out = _copy(start, samples)
    out.model, out.made = blend, Made("blend", arguments)
    return out.eval()


def _errors(start: FieldsTask, sheet: Sheet, truth: Sheet) -> Array:
    """``[cases, fields]`` relative L2 errors."""
    origin = (-start.output_norm.shift / start.output_norm.scale).cpu()
    return np.array(
        [
            [
                float((rows[:, c] - truth[i][:, c]).norm() / (truth[i][:, c] - origin[c]).norm().clamp(min=1e-12))
                for c in start.spec.slices().values()
            ]
            for i, rows in sheet.items()
        ]
    )


def _weights(start: FieldsTask, sheets: Sequence[Sheet], truth: Sheet, channels: slice) -> Array:
    """Weights of a field, not negative and of sum 1, with the least mean squared relative error."""
    origin = (-start.output_norm.shift / start.output_norm.scale).cpu()[channels]
    count = len(sheets)
    normal = np.zeros((count, count))
    for i, wanted in truth.items():
        y = wanted[:, channels]
        off = torch.stack([(sheet[i][:, channels] - y).flatten().double() for sheet in sheets])
        normal += (off @ off.T / (y - origin).double().square().sum().clamp(min=1e-12)).numpy()
    # least w' N w with sum 1: least squares of the Cholesky factor, beside a heavy row for the sum
    size = max(float(np.trace(normal)), 1e-30)
    factor = np.linalg.cholesky(normal + 1e-9 * size * np.eye(count)).T
    system = np.concatenate([factor, 1e3 * np.sqrt(size) * np.ones((1, count))])
    found = nnls(system, np.concatenate([np.zeros(count), [1e3 * np.sqrt(size)]]))[0]
    found[found < LEAST * found.sum()] = 0.0
    return np.asarray(found / found.sum())


def _copy(start: FieldsTask, samples: FieldsSamples) -> FieldsTask:
    out = deepcopy(start).eval()
    out.spec = samples.spec
    return out


def _named(key: Key) -> str:
    way, steps = key
    return f"{way}, {steps} steps" if steps else way
