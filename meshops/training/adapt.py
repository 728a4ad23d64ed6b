"""A trained surrogate of fields goes on with a few cases of other data: as it is, all weights, or low-rank changes.

Which of them, and for how many steps, is chosen by cross-validation over the cases; normalisation stays as it was. What
is chosen is then learnt from all cases. ``scaled`` only fits a factor and an offset of each field: the least two data
sets can differ by, and all that can be learnt of one case.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from meshops.data.mesh_graph import MeshGraph
from meshops.errors import InputError
from meshops.metrics.fields import relative_l2
from meshops.nn.low_rank import add_low_rank, merged_state
from meshops.nn.optim import make_optimizer, parameter_groups
from meshops.tasks.base import Draw
from meshops.tasks.fields import FieldsTask
from meshops.tasks.fields_samples import FieldsSamples
from meshops.tasks.inference import predict_nodes

AS_IS, SCALED = "as it is", "scaled"
WAYS = ("all weights", "low rank")


@dataclass(frozen=True, kw_only=True)
class Adaption:
    """How a surrogate is adapted.

    Attributes:
        marks: Numbers of steps that are compared, ascending.
        lr: Peak learning rate of all weights.
        low_rank_lr: Of low-rank changes.
        rank: Of those.
        warmup: Steps of rising rate.
        ema: Decay of the averaged weights, which are judged and kept.
        weight_decay: Of all weights; towards where they started.
        batch_size: Cases a step.
        folds: Parts of the cases that are held out in turn, at most; each case alone where there are fewer.
        passes: Interleavings averaged when a case is judged.
        seed: Of everything random.
    """

    marks: tuple[int, ...] = (25, 50, 100, 200, 400)
    lr: float = 3e-4
    low_rank_lr: float = 2e-3
    rank: int = 8
    warmup: int = 10
    ema: float = 0.95
    weight_decay: float = 0.0
    batch_size: int = 1
    folds: int = 4
    passes: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse marks that are none."""
        if not self.marks or list(self.marks) != sorted(set(self.marks)) or self.marks[0] < 1:
            raise InputError(f"marks must be ascending numbers of steps, got {list(self.marks)}")


@dataclass(frozen=True)
class Choice:
    """What cross-validation chose.

    Attributes:
        way: ``as it is``, ``scaled``, ``all weights`` or ``low rank``.
        steps: Of training.
        errors: Held-out error of each way and number of steps: mean over cases of the mean over fields.
    """

    way: str
    steps: int
    errors: dict[tuple[str, int], float]

    def line(self) -> str:
        """For the screen."""
        best: dict[str, tuple[float, int]] = {}
        for (way, steps), error in self.errors.items():
            best[way] = min(best.get(way, (np.inf, 0)), (error, steps))
        told = ", ".join(f"{way} {error:.4f}" + (f" ({n} steps)" if n else "") for way, (error, n) in best.items())
        return f"continued: {self.way}" + (f", {self.steps} steps" if self.steps else "") + f"; held-out errors: {told}"


def adapted(
    start: FieldsTask, samples: FieldsSamples, config: Adaption | None = None, *,
    progress: Callable[[str], None] | None = None,
) -> tuple[FieldsTask, Choice]:  # fmt: skip
    """A copy of a surrogate that has learnt from further cases, and what was chosen.

    Args:
        start: Trained surrogate; stays as it is.
        samples: From :func:`meshops.tasks.fields_begun.begun_samples`.
        config: How.
        progress: Told a line after each fold.

    Raises:
        InputError: There is no case.
    """
    config = config or Adaption()
    graphs = list(samples.graphs)
    if not graphs:
        raise InputError("there is no case to learn from")
    choice = chosen(start, samples, config, progress=progress)
    if choice.way == AS_IS:
        return _copy(start, samples), choice
    if choice.way == SCALED:
        return scaled(_copy(start, samples), graphs, config.passes), choice
    *_, (_, task) = learnt(start, samples, range(len(graphs)), choice.way, config, marks=(choice.steps,))
    return task, choice


def chosen(
    start: FieldsTask, samples: FieldsSamples, config: Adaption, *, progress: Callable[[str], None] | None = None
) -> Choice:
    """Compare the ways by cross-validation over the cases."""
    graphs, found = samples.graphs, {}
    base = _copy(start, samples)
    found[AS_IS, 0] = [error(base, graph, config.passes) for graph in graphs]
    for fold in folds_of(len(graphs), config):
        rest = [i for i in range(len(graphs)) if i not in fold]
        tried = [((SCALED, 0), scaled(_copy(start, samples), [graphs[i] for i in rest], config.passes))]
        for key, task in tried:
            found.setdefault(key, []).extend(error(task, graphs[i], config.passes) for i in fold)
        for way in WAYS:
            for steps, task in learnt(start, samples, rest, way, config, marks=config.marks):
                found.setdefault((way, steps), []).extend(error(task, graphs[i], config.passes) for i in fold)
        if progress is not None:
            progress(f"  held out {', '.join(samples.names[i] for i in fold)}")
    errors = {key: float(np.mean(values)) for key, values in found.items()}
    way, steps = min(errors, key=lambda key: (errors[key], key[1]))
    return Choice(way, steps, errors)


def folds_of(count: int, config: Adaption) -> list[list[int]]:
    """Cases that are held out in turn; none where there is only one."""
    parts = min(config.folds, count)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(config.seed)).tolist()
    return [sorted(order[k::parts]) for k in range(parts)] if count > 1 else []


def learnt(
    start: FieldsTask, samples: FieldsSamples, rows: Sequence[int], way: str, config: Adaption, *, marks: Sequence[int]
) -> Iterator[tuple[int, FieldsTask]]:  # fmt: skip
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
    optimizer = make_optimizer("adamw", groups, lr=lr, weight_decay=config.weight_decay, betas=(0.9, 0.98))  # type: ignore[arg-type]
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


def scaled(task: FieldsTask, graphs: Sequence[MeshGraph], passes: int) -> FieldsTask:
    """Change the output normalisation of a task by the factor and the offset that fit the cases best.

    Each case counts the same. A vector has a factor only: an offset would prefer a direction.
    """
    shift, scale = task.output_norm.shift.clone(), task.output_norm.scale.clone()
    found = [(predict_nodes(task, graph, passes=passes), task.output_norm(graph.y).cpu()) for graph in graphs]
    for channels in task.spec.slices().values():
        rows = torch.cat([p[:, channels].reshape(-1) / len(p) ** 0.5 for p, _ in found]).double()
        wanted = torch.cat([y[:, channels].reshape(-1) / len(y) ** 0.5 for _, y in found]).double()
        one = torch.cat([torch.full((p[:, channels].numel(),), len(p) ** -0.5) for p, _ in found]).double()
        columns = torch.stack([rows, one], 1) if channels.stop - channels.start == 1 else rows.unsqueeze(1)
        solution = torch.linalg.lstsq(columns, wanted).solution
        factor, offset = float(solution[0]), float(solution[1]) if len(solution) > 1 else 0.0
        shift[channels] = shift[channels] + scale[channels] * offset
        scale[channels] = scale[channels] * factor
    task.output_norm.shift.copy_(shift)
    task.output_norm.scale.copy_(scale)
    return task


def error(task: FieldsTask, graph: MeshGraph, passes: int) -> float:
    """Mean over the fields of the relative L2 error of a prepared case."""
    values = task.output_norm.inverse(predict_nodes(task, graph, passes=passes).to(task.device)).cpu()
    return float(np.mean([relative_l2(values[:, c], graph.y[:, c]) for c in task.spec.slices().values()]))


def _copy(start: FieldsTask, samples: FieldsSamples) -> FieldsTask:
    out = deepcopy(start).eval()
    out.spec = samples.spec
    return out
