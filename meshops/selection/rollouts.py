"""A fit of simulations in time on meshes: which network steps best, judged on trajectories or frames it never saw.

Networks get a first look on a part of what is learnt from; the best is trained with the rest of the time. Yardsticks,
such as the last frame, stand beside it.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from torch.utils.flop_counter import FlopCounterMode

from meshops.datasets.mesh_trajectory import MeshTrajectoryDataset
from meshops.datasets.some_trajectories import SomeTrajectories
from meshops.doctor.findings import Finding
from meshops.errors import InputError, Stopped, listing
from meshops.selection.config import FitConfig
from meshops.selection.folder import fit_folder
from meshops.selection.folds import FEW, split_cases
from meshops.selection.networks import LEAST_STEPS, NOMINAL, Network, steps_for
from meshops.surrogate import Surrogate
from meshops.tasks import get_task
from meshops.tasks.base import Draw, Plain
from meshops.tasks.build import build_model
from meshops.tasks.report import Report
from meshops.tasks.rollout import RolloutSettings
from meshops.training.config import RunConfig, TrainConfig

LATE = 0.2  # share of the frames that judge where there is one trajectory, or few
LOOK, TRAINED = 0.15, 0.75  # of the time: for a first look at each network, and for all
HORIZON = 3
ROLLOUTS = (
    Network("mppde", {"name": "mppde"}, {"batch_size": 1, "lr": 1e-3}),
    Network("meshgraphnet", {"name": "meshgraphnet", "channels": 64, "depth": 6}, {"batch_size": 1, "lr": 1e-3}),
)


@dataclass(frozen=True, eq=False)
class RolloutFit:
    """What a fit of trajectories leaves.

    Attributes:
        folder: With ``model.ckpt``, ``metrics.json`` and ``report.html``.
        surrogate: The winner.
        report: Its errors on what it never saw, beside yardsticks.
        looks: Error of each network at the first look.
        notes: What the user should know.
    """

    folder: Path
    surrogate: Surrogate
    report: Report
    looks: dict[str, float]
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Parts:
    """What is learnt from, what judges, and a split of the first for the first look."""

    learn: MeshTrajectoryDataset
    test: MeshTrajectoryDataset
    first: MeshTrajectoryDataset
    look: MeshTrajectoryDataset
    note: str


def fit_trajectories(
    data: MeshTrajectoryDataset, config: FitConfig, *, resume: bool = False, overwrite: bool = False,
    console: Console | None = None, about: Mapping[str, Plain] | None = None, notes: Sequence[str] = (),
    findings: Sequence[Finding] = (),
) -> RolloutFit:  # fmt: skip
    """The best surrogate of simulations in time that the time allows; arguments as for :func:`meshops.selection.fit`.

    Raises:
        InputError: Too few frames, or a setting or the folder cannot be used.
        Stopped: Ctrl-C or SIGTERM; the fit can be resumed.
    """
    screen = console or Console(quiet=True)
    wanted = ROLLOUTS if config.networks is None else tuple(Network(n, {"name": n}) for n in config.networks)
    if not wanted:
        raise InputError(
            f"{len(data)} simulations in time: only networks step in time, and none may be tried; leave 'networks' "
            f"out or name some, e.g. {listing([n.name for n in ROLLOUTS])}.\nFor the last frames as finished cases set "
            "'time: last' in study.yaml"
        )
    parts = parts_of(data, config)
    settings: dict[str, Plain] = {**asdict(config), "cases": list(data.cases)}
    settings.pop("out")
    with fit_folder(Path(config.out), settings, resume=resume, overwrite=overwrite) as folder:
        screen.print(f"{len(data)} trajectories, fields {', '.join(data.spec.fields)}; {parts.note}")
        costs = {network.name: _seconds_per_step(network, parts.learn) for network in wanted}
        seconds, looks = 60 * TRAINED * config.minutes, {}
        for network in wanted if len(wanted) > 1 else ():
            steps = steps_for(LOOK * seconds, costs[network.name])
            out = folder / "work" / f"look-{network.name}"
            looks[network.name] = _error(_train(network, parts.first, parts.look, out, steps, config, screen)[1])
            screen.print(f"  first look at {network.name}: {looks[network.name]:.4f} after {steps} steps")
        best = min(wanted, key=lambda network: looks.get(network.name, 0.0))
        steps = steps_for((1 - LOOK * len(looks)) * seconds, costs[best.name])
        if steps == LEAST_STEPS:
            screen.print(f"  {config.minutes:g} minutes are little for {best.name}: it takes {LEAST_STEPS} steps")
        surrogate, report = _train(best, parts.learn, parts.test, folder / "work" / best.name, steps, config, screen)
        surrogate.info["data"] = {**dict(about or {}), "training cases": len(parts.learn)}
        surrogate.info["held_out"] = {"mean": report.mean, "baselines": report.baselines}
        surrogate.save(folder / "model.ckpt")
        result = RolloutFit(folder, surrogate, report, looks, (parts.note, *notes, *map(str, findings)))
        _write(result)
        return result


def parts_of(data: MeshTrajectoryDataset, config: FitConfig) -> Parts:
    """Whole trajectories judge where there are enough of them, else the late frames of each.

    Raises:
        InputError: A name that is none, or too few frames.
    """
    count = len(data)
    named = not isinstance(config.test, float | int)
    if named or (count >= FEW and config.test):
        split = split_cases(config.group_of(data.cases), test=config.judges(data.cases), seed=config.seed)
        first = [i for i in split.learn if i not in split.folds[0]]
        names = [data.cases[i] for i in split.test]
        note = f"held out to judge: {listing(names, 6)}"
        chosen = (split.learn, split.test, first, split.folds[0])
        learn, judge, early, look = (SomeTrajectories(data, index) for index in chosen)
        return Parts(learn, judge, early, look, note)
    least = min(data.lengths)
    if least < 10:
        raise InputError(
            f"{count} trajectories of at least {least} frames are too few to hold any out; give {FEW} or more "
            "trajectories, or 10 or more frames"
        )
    whole, middle = tuple(range(count)), (1 - LATE) * (1 - LATE)
    spans = ((0.0, 1 - LATE), (1 - LATE, 1.0), (0.0, middle), (middle, 1 - LATE))
    note = f"too few trajectories to hold one out: the last {100 * LATE:.0f} % of the frames judge"
    learn, judge, early, look = (SomeTrajectories(data, whole, frames=span) for span in spans)
    return Parts(learn, judge, early, look, note)


def _seconds_per_step(network: Network, data: MeshTrajectoryDataset) -> float:
    kind, settings = get_task("rollout"), RolloutSettings(horizon=HORIZON)
    samples = kind.samples(data, settings)
    model, _ = build_model(network.model, samples.spec.model_arguments(), samples.offers)
    task = kind.fit(model, samples, settings)
    batch = task.batch(samples, [Draw(0, 0)] * int(network.train.get("batch_size", 1)))
    with FlopCounterMode(display=False) as counter:
        task.loss(batch)["loss"].backward()
    return float(counter.get_total_flops() / NOMINAL[0] + HORIZON * NOMINAL[1])


def _train(
    network: Network, learn: MeshTrajectoryDataset, test: MeshTrajectoryDataset, out: Path, steps: int,
    config: FitConfig, screen: Console,
) -> tuple[Surrogate, Report]:  # fmt: skip
    from meshops.training.run import train

    ahead = max(1, min(50, min(test.lengths) - 1))
    run = RunConfig(
        kind="rollout",
        out=str(out),
        model=dict(network.model),
        task=RolloutSettings(horizon=HORIZON, steps=ahead),
        train=TrainConfig(**{**network.train, "steps": steps, "seed": config.seed}),
    )
    begun = (out / "checkpoints" / "last.ckpt").is_file() or (out / "model.ckpt").is_file()
    try:
        result = train(run, data=learn, test=test, resume=begun, console=screen)
    except Stopped as stop:
        raise Stopped(stop.signal, 0, out) from None
    return result.surrogate, result.report


def _error(report: Report) -> float:
    """The first error of a report that is defined."""
    known = [value for key in report.columns if (value := report.mean.get(key)) is not None]
    return float(known[0]) if known else float("inf")


def _write(result: RolloutFit) -> None:
    from meshops.io import write_json

    looks = {"first_looks": result.looks, "notes": list(result.notes)}
    write_json(result.folder / "metrics.json", {**result.report.to_dict(), **looks})
    result.report.write_page(result.folder / "report.html")
    for picture in result.report.pictures:
        shutil.copy(picture, result.folder / picture.name)
