r"""Forecasts under one budget of processor time: flow matching, its deterministic variant, stepping U-Net and FNO.

    meshops generate vorticity --num 110 --train 100 --test 10 --resolution 64 --frames 41 --out data/vorticity
    python benchmarks/echo_study.py --data data/vorticity --fields vorticity --absolute --minutes 3
    meshops generate gray_scott --num 66 --train 60 --test 6 --resolution 64 --frames 41 --option extent=1 \
        --vary feed=0.026:0.034 --out data/gray_scott
    python benchmarks/echo_study.py --data data/gray_scott --minutes 3
    python benchmarks/echo_study.py --data data/gray_scott --minutes 3 --seeds 0 1 2      # mean and range
    python benchmarks/echo_study.py --data data/vorticity --fields vorticity --smoke      # numbers mean nothing

A quarter of the budget trains the auto-encoder, which both latent generators share; the rest encodes and trains the
generator. The autoregressive networks have all of it. All see the same first frames and are scored to twice the length
they were trained on; scores are averaged as in every evaluation (``meshops.metrics.forecasts``: spread and skill as
squares). Every row says how many steps and seconds made it, the latent ones what their auto-encoder alone loses. Writes
results.json, table.md, errors.png, spectrum.png and a page per generator. What is there already is not trained again,
and what was stopped goes on where it stood.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from meshops.data.normalize import logarithmic
from meshops.datasets import open_data
from meshops.datasets.point_trajectories import PointTrajectories
from meshops.errors import MissingPackageError
from meshops.metrics.ensembles import missing_variance
from meshops.metrics.forecasts import forecast_errors, forecast_scores
from meshops.metrics.grids import band_errors, energy_spectrum
from meshops.models import create_model
from meshops.nn.causal_tower import compression
from meshops.surrogate import Surrogate
from meshops.tasks import AutoencodeTask, GenerateTask
from meshops.tasks.base import Made
from meshops.tasks.carry import learn_carry
from meshops.tasks.grid_channels import GridRolloutSpec, channel_norms
from meshops.tasks.latents import encoded_segments
from meshops.tasks.rollout_grid import GridBatch, GridRollout
from meshops.tasks.segments import GenerateSpec
from meshops.tasks.windows import AutoencodeSpec
from meshops.viz import curve_picture, ensemble_page, tradeoff_picture

GIVEN = 3  # first frames that are known, 1 + f
SHORT = 9  # frames of an example the auto-encoder learns from
SAMPLES = 8
MODEL: dict[str, Any] = {
    "cells": 16, "channels": 64, "kernel": 3, "hidden": 16, "layers": ["space", "time", "res", "res"], "subcells": 4
}  # fmt: skip
LATENT = 8  # channels for every channel of the fields: 15 times smaller on 64 x 64 cells
HISTORY = 2  # latent frames a step sees
JITTER = 0.1  # noise on them in training
GENERATOR: dict[str, Any] = {
    "channels": 96, "depth": 4, "num_heads": 4, "fold_time": True, "local": True, "whole_periods": True
}  # fmt: skip
SAMPLING: dict[str, Any] = {"steps": 3, "method": "midpoint"}
SHARE = 0.25  # of the budget for the auto-encoder
SAVED = 20.0  # seconds of training between two states that are kept
HEADS = ("system", "L2 +1", "L2 trained length", "L2 twice", "CRPS trained", "CRPS twice", "spread / skill, trained",
         "spread / skill, twice", "expected / skill", "in 90 %", "spectrum, low band", "middle band", "steps",
         "training, s", "forecast, s")  # fmt: skip


def main() -> None:
    """Run or resume the study of one set, for every seed."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", required=True, help="folder in the layout of The Well")
    options.add_argument("--fields", nargs="+")
    options.add_argument("--minutes", type=float, default=15, help="processor time every system trains for")
    options.add_argument("--frames", type=int, default=21, help="of a segment, 1 + 2 m")
    options.add_argument("--cases", type=int, default=10, help="test trajectories at most")
    options.add_argument("--threads", type=int, default=1, help="more threads use the budget up faster")
    options.add_argument("--baselines", nargs="*", default=["unet", "fno"], help="fno needs neuraloperator")
    options.add_argument("--absolute", action="store_true", help="the equation knows where it is (a stirring force)")
    options.add_argument("--fine", help="the test trajectories solved on twice the cells: error at points not given")
    options.add_argument("--out")
    options.add_argument("--seeds", type=int, nargs="+", default=[0])
    options.add_argument("--smoke", action="store_true")
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    if args.smoke:
        args.minutes, args.cases = 0.05, 1
    out = Path(args.out or f"runs/echo_study_{Path(args.data).name}")
    found = {seed: study(args, seed, out / f"seed_{seed}") for seed in args.seeds}
    if len(found) > 1:
        text = over_seeds(list(found.values()))
        (out / "table.md").write_text(text)
        print(text)


def study(args: Any, seed: int, out: Path) -> dict[str, Any]:
    """All systems of one seed."""
    torch.manual_seed(seed)
    out.mkdir(parents=True, exist_ok=True)
    seconds = 60 * args.minutes
    train, test = (
        PointTrajectories(open_data("the_well", root=args.data, split=split), args.fields)
        for split in ("train", "test")
    )
    results: dict[str, Any] = {"minutes": args.minutes, "seed": seed}
    compressed = autoencoder(out, train, test, args.frames, seconds, args.cases, results)
    if args.fine:
        finer = PointTrajectories(open_data("the_well", root=args.fine, split="test"), args.fields)
        results["autoencoder"]["twice the cells"] = super_resolution(compressed, test, finer, args.frames, args.cases)
        print("twice the cells", results["autoencoder"]["twice the cells"], flush=True)
    systems: dict[str, Callable[[Tensor, int, int], Tensor]] = {}
    trained: dict[str, dict[str, float]] = {}
    for title, deterministic in (("flow matching", False), ("deterministic", True)):
        made, told = generator(out, compressed, train, deterministic, args, results)
        parameters = [test.parameters(i, made.spec.parameters) or None for i in range(len(test))]
        variants = {title: made.carry} | ({f"{title}, nothing given back": None} if deterministic else {})
        for name, carry in variants.items():

            def forecast(
                frames: Tensor,
                steps: int,
                case: int,
                made: Any = made,
                parameters: Any = parameters,
                carry: Any = carry,
            ) -> Tensor:
                made.carry, given = carry, test.window(case, 0, len(frames))
                return made.forecast(given, steps, samples=SAMPLES, parameters=parameters[case], **SAMPLING)

            systems[name], trained[name] = forecast, told
    for name in args.baselines:
        task, told = baseline(out, name, train, seconds)
        if task is not None:
            systems[name], trained[name] = partial(roll, task, test=test), told
    systems["last frame kept"] = lambda frames, steps, case: frames[-1:].expand(steps, -1, -1).unsqueeze(0)
    decoded = [compressed.through(test.window(i, 0, test.lengths[i])) for i in range(min(args.cases, len(test)))]
    judge(out, systems, trained, decoded, test, args, results)
    return results


def learn(
    task: Any, batch: Callable[[torch.Generator], Any], seconds: float, lr: float, path: Path
) -> dict[str, float]:  # fmt: skip
    """AdamW with a cosine over the time of the budget and averaged weights; steps and seconds. Kept in ``path``."""
    if path.exists():
        stored = torch.load(path, weights_only=True)
        task.load_state_dict(stored["weights"])
        task.eval()
        return {"steps": stored["steps"], "seconds": stored["seconds"]}
    chosen = list(task.parameters())
    optimizer = torch.optim.AdamW(chosen, lr=lr, weight_decay=1e-4, betas=(0.9, 0.95))
    average = [p.detach().clone() for p in chosen]
    draw = torch.Generator().manual_seed(torch.initial_seed())
    before, steps, kept = 0.0, 0, path.with_suffix(".part")
    if kept.exists():
        state = torch.load(kept, weights_only=True)
        task.load_state_dict(state["weights"])
        optimizer.load_state_dict(state["optimizer"])
        average, before, steps = state["average"], state["seconds"], state["steps"]
        draw.set_state(state["draw"])
        torch.set_rng_state(state["random"])
    start, saved = time.process_time() - before, before
    task.train()
    while (spent := time.process_time() - start) < seconds:
        if spent - saved > SAVED:
            saved = spent
            state = {
                "weights": task.state_dict(),
                "optimizer": optimizer.state_dict(),
                "average": average,
                "seconds": spent,
                "steps": steps,
                "draw": draw.get_state(),
                "random": torch.get_rng_state(),
            }
            torch.save(state, kept.with_suffix(".new"))
            kept.with_suffix(".new").replace(kept)
        for group in optimizer.param_groups:
            group["lr"] = lr * min(1.0, (steps + 1) / 50) * 0.5 * (1 + math.cos(math.pi * spent / seconds))
        optimizer.zero_grad(set_to_none=True)
        task.loss(batch(draw))["loss"].backward()
        torch.nn.utils.clip_grad_norm_(chosen, 1.0)
        optimizer.step()
        steps += 1
        keep = min(0.99, steps / (steps + 10))
        with torch.no_grad():
            for held, p in zip(average, chosen, strict=True):
                held.lerp_(p, 1 - keep)
    with torch.no_grad():
        for held, p in zip(average, chosen, strict=True):
            p.copy_(held)
    task.eval()
    told = {"steps": steps, "seconds": round(time.process_time() - start, 1)}
    torch.save({"weights": task.state_dict()} | told, path)
    kept.unlink(missing_ok=True)
    print(f"{path.stem}: {steps} steps in {told['seconds']:.0f} s", flush=True)
    return told


def autoencoder(
    out: Path, train: PointTrajectories, test: PointTrajectories, frames: int, seconds: float, cases: int,
    results: dict[str, Any],
) -> AutoencodeTask:  # fmt: skip
    """Stage 1; errors by part of the points at the start, where it is components of blocks, and at the end."""
    given = train.spec
    spec = AutoencodeSpec(
        fields=given.fields, sizes=given.sizes, units=given.units, low=given.low, high=given.high,
        periodic=given.periodic, frames=frames, points=(0.2, 1.0), targets=1024, relative_to="frame",
    )  # fmt: skip
    arguments: dict[str, Any] = spec.model_arguments() | MODEL | {"latent_channels": LATENT * spec.channels}
    torch.manual_seed(torch.initial_seed())  # what was trained before does not matter
    model: Any = create_model("echoautoencoder", **arguments)
    windows = [(i, s) for i in range(len(train)) for s in range(train.lengths[i] - frames + 1)]
    some = windows[:: max(1, len(windows) // 32)]
    begin = time.process_time()
    task = AutoencodeTask.fitted(model, spec, (train.window(*w, frames) for w in some))
    task.begin(lambda: (train.window(*w, frames) for w in some))
    begun = time.process_time() - begin
    at_start = None if (out / "autoencoder.pt").exists() else task.evaluate(test.data, cases=cases).mean

    def trajectories(draw: torch.Generator) -> Any:
        index = int(torch.randint(len(train), (), generator=draw))
        short = min(SHORT, frames)
        start = int(torch.randint(train.lengths[index] - short + 1, (), generator=draw))
        return train.window(index, start, short)

    told = learn(task, trajectories, SHARE * seconds - begun, 1.5e-3, out / "autoencoder.pt")
    kept = out / "autoencoder.json"
    if at_start is not None:
        found = task.evaluate(test.data, cases=cases)
        report = {"at the start": at_start, "trained": found.mean, "by frame": found.curves["relative_l2"]}
        kept.write_text(json.dumps(report | {"seconds of components": begun}))
    results["autoencoder"] = told | {
        "compression": compression(math.prod(given.grid), spec.channels, frames, model.latent_shape(frames)),
        "weights": sum(p.numel() for p in model.parameters()),
        "principal components": principal_components(train, test, frames, task, cases),
    } | json.loads(kept.read_text())  # fmt: skip
    print(json.dumps(results["autoencoder"]), flush=True)
    task.made = Made("echoautoencoder", arguments)
    return task.eval()


def principal_components(
    train: PointTrajectories, test: PointTrajectories, frames: int, task: AutoencodeTask, cases: int
) -> float:
    """Error of a yardstick: blocks of cells and frames, one for every latent node, in as many linear numbers.

    The first frame, which has a latent of its own, is left out. The blocks need the whole grid.
    """
    depth, _, *cells = task.model.latent_shape(frames)
    sizes = [task.model.time_factor, *(n // m for n, m in zip(train.spec.grid, cells, strict=True))]

    def blocks(data: PointTrajectories, index: int, start: int) -> Tensor:
        window = data.window(index, start, frames)
        parts = grid(task.norm(window.series()), data.spec.grid)[1:].movedim(1, -1)  # [t, *grid, c]
        for axis, size in enumerate(sizes):
            parts = parts.unflatten(2 * axis, (-1, size))
        count = len(sizes)
        return parts.permute(*range(0, 2 * count, 2), *range(1, 2 * count, 2), 2 * count).flatten(0, count - 1)

    rows = torch.cat([blocks(train, i, s).flatten(1)[::7] for i in range(len(train)) for s in (0, frames - 1)])
    basis = torch.linalg.eigh(rows.T @ rows).eigenvectors[:, -depth:]
    errors = []
    for index in range(min(cases, len(test))):
        for start in (0, test.lengths[index] - frames):
            whole = blocks(test, index, start)
            flat = whole.flatten(1)
            made = (flat @ basis @ basis.T).view_as(whole)
            true, guess = (task.norm.inverse(part).flatten(0, -2) for part in (whole, made))
            errors.append((guess - true).norm(dim=0) / true.norm(dim=0))
    return float(torch.stack(errors).mean())


@torch.no_grad()
def super_resolution(
    compressed: AutoencodeTask, coarse: PointTrajectories, fine: PointTrajectories, frames: int, cases: int
) -> float:
    """Relative L2 error at the cells of a finer solution, from the coarse one."""
    errors = []
    for index in range(min(cases, len(coarse))):
        source, target = coarse.window(index, 0, frames), fine.window(index, 0, frames)
        errors.append(float((compressed.reconstruct(source, target) - target.values).norm() / target.values.norm()))
    return sum(errors) / len(errors)


def generator(
    out: Path, compressed: AutoencodeTask, train: PointTrajectories, deterministic: bool, args: Any,
    results: dict[str, Any],
) -> tuple[GenerateTask, dict[str, float]]:  # fmt: skip
    """Stage 3 on the latents of all training segments; what it took, auto-encoder included."""
    begin, count = time.process_time(), 2 if args.smoke else len(train)
    latents = encoded_segments(compressed, train, range(count), out / "latents.pt", every=4, runs=False)
    spec = GenerateSpec(
        latent=tuple(latents["latents"].shape[1:]), time_factor=compressed.model.time_factor,
        parameters=train.spec.parameters, logarithmic=logarithmic(latents["parameters"]), tasks=(1.0, 0.0, 0.0, 0.0),
        deterministic=deterministic, history=HISTORY, weigh=True, jitter=JITTER, periodic=train.spec.periodic,
    )  # fmt: skip
    arguments: dict[str, Any] = spec.model_arguments() | GENERATOR | {"absolute": args.absolute}
    torch.manual_seed(torch.initial_seed())  # what was trained before does not matter
    task = GenerateTask.fitted(
        create_model("echogenerator", **arguments), spec, latents["latents"], latents["parameters"]
    )
    task.attach({"autoencoder": compressed})
    task.weigh(train.window(0, 0, args.frames))
    clock = out / "encoding.json"  # both generators pay for it, once
    if not clock.exists():
        carry = learn_carry(compressed, train, range(0, count, 4), given=GIVEN)
        clock.write_text(json.dumps({"seconds": time.process_time() - begin, "carry": carry.tolist()}))
    shared = json.loads(clock.read_text())
    task.carry = torch.tensor(shared["carry"])

    def batch(draw: torch.Generator) -> dict[str, Tensor]:
        chosen = torch.randint(len(latents["latents"]), (32,), generator=draw)
        return {name: values[chosen] for name, values in latents.items()}

    spent = results["autoencoder"]["seconds"] + results["autoencoder"]["seconds of components"] + shared["seconds"]
    name = "deterministic" if deterministic else "flow"
    told = learn(task, batch, max(60 * args.minutes - spent, 1.0), 1.5e-3, out / f"{name}.pt")
    task.made = Made("echogenerator", arguments)
    Surrogate(task.eval()).save(out / f"{name}.ckpt")
    return task, {"steps": told["steps"], "seconds": told["seconds"] + spent}


def baseline(
    out: Path, name: str, train: PointTrajectories, seconds: float
) -> tuple[GridRollout | None, dict[str, float]]:  # fmt: skip
    """A network of one step that sees as many frames as the others are given."""
    spec = train.spec
    channels = tuple(f"{n}_{i}" for n, size in zip(spec.fields, spec.sizes, strict=True) for i in range(size))
    spacing = tuple((b - a) / n for a, b, n in zip(spec.low, spec.high, spec.grid, strict=True))
    rollout = GridRolloutSpec(
        channels=channels, spacing=spacing, periodic=spec.periodic, history=GIVEN, residual=True,
        constants=spec.parameters,
    )  # fmt: skip
    sizes = {"in_channels": rollout.in_channels, "out_channels": len(channels), "dim": len(spec.grid)}
    torch.manual_seed(torch.initial_seed())  # what was trained before does not matter
    try:
        model: Any = create_model(name, **sizes, **({"periodic": spec.periodic} if name == "unet" else {}))
    except MissingPackageError as error:
        print(f"{name}: left out ({error})", flush=True)
        return None, {}
    some = [train.window(i, 0, train.lengths[i]) for i in range(0, len(train), max(1, len(train) // 16))]
    constants = [fixed(train, i) for i in range(len(train))]
    frames = (grid(w.values.transpose(0, 1), spec.grid) for w in some)
    task = GridRollout(model, rollout, *channel_norms(rollout, frames, constants))

    def batch(draw: torch.Generator) -> GridBatch:
        rows = torch.randint(len(train), (8,), generator=draw).tolist()
        starts = [int(torch.randint(train.lengths[i] - GIVEN, (), generator=draw)) for i in rows]
        frames = torch.stack([
            grid(train.window(i, s, GIVEN + 1).values.transpose(0, 1), spec.grid)
            for i, s in zip(rows, starts, strict=True)
        ])  # fmt: skip
        return GridBatch(frames[:, :-1], torch.stack([constants[i] for i in rows]), frames[:, -1:])

    return task, learn(task, batch, seconds, 1e-3, out / f"{name}.pt")


def judge(
    out: Path, systems: dict[str, Callable[[Tensor, int, int], Tensor]], trained: dict[str, dict[str, float]],
    decoded: list[Tensor], test: PointTrajectories, args: Any, results: dict[str, Any],
) -> None:  # fmt: skip
    """Errors against time, scores and spectra of all systems on the same test trajectories."""
    scale = torch.stack([test.window(i, 0, test.lengths[i]).values.std((0, 1)) for i in range(len(test))]).mean(0)
    ahead = args.frames - GIVEN
    curves: dict[str, dict[str, list[float]]] = {}
    spectra: dict[str, list[tuple[float, float]]] = {}
    for title, forecast in systems.items():
        tables, bands, energies, seconds = {}, [], [], []
        made_of: list[tuple[Tensor, Tensor]] = []
        for case in range(min(args.cases, len(test))):
            steps = min(2 * args.frames, test.lengths[case]) - GIVEN
            frames = test.window(case, 0, GIVEN + steps).values.transpose(0, 1)
            begin = time.perf_counter()
            samples = forecast(frames[:GIVEN], steps, case)
            seconds.append(time.perf_counter() - begin)
            made_of.append((samples / scale, frames[GIVEN:] / scale))
            alone = decoded[case].transpose(0, 1)[GIVEN : GIVEN + steps]
            tables[test.cases[case]] = forecast_errors(
                samples, frames[GIVEN:], frames[GIVEN - 1 : GIVEN], scale=scale, decoded=alone
            )  # fmt: skip
            last = min(ahead, steps) - 1
            made, true = (grid(part, test.spec.grid) for part in (samples[:, last], frames[GIVEN + last][None]))
            bands.append(band_errors(made, true.expand_as(made), dim=len(test.spec.grid)).mean((0, 1)))
            pair = [energy_spectrum(part[:, :1], dim=len(test.spec.grid)) for part in (made, true)]
            energies.append(torch.stack([pair[0][1].mean(0), pair[1][1].mean(0)]))
            if case == 0 and len(samples) > 1 and len(test.spec.grid) == 2 and "," not in title:
                ensemble_page(
                    out / f"{title.replace(' ', '_')}.html", truth=grid(frames[GIVEN:], test.spec.grid)[:, 0],
                    samples=grid(samples, test.spec.grid)[:, :, 0], label=test.spec.fields[0], title=title,
                )  # fmt: skip
        kept = forecast_scores(tables).curves
        curves[title] = {key: values.tolist() for key, values in kept.items()}
        wave, (ours, truth) = pair[0][0], torch.stack(energies).mean(0)
        spectra[title] = [(float(k), float(e)) for k, e in zip(wave, ours, strict=True) if k and e > 0]
        spectra["truth"] = [(float(k), float(e)) for k, e in zip(wave, truth, strict=True) if k and e > 0]
        row = {"bands": torch.stack(bands).mean(0).tolist(), "forecast seconds": sum(seconds) / len(seconds)}
        row |= calibrated(made_of) | {f"training {key}": value for key, value in trained.get(title, {}).items()}
        for name, place in (("first", 0), ("trained", min(ahead, len(kept["crps"])) - 1), ("end", -1)):
            row |= {f"{key} {name}": float(kept[key][place]) for key in ("relative_l2", "relative_l2_sample", "crps")}
            row[f"relative_l2_decoded {name}"] = float(kept["relative_l2_decoded"][place])
            if "spread" in kept:
                row[f"spread_skill {name}"] = float(kept["spread"][place] / kept["skill"][place])
        results[title] = row
        print(title, json.dumps(row), flush=True)
    first = next(iter(systems))
    curves["truth encoded and decoded"] = {"relative_l2": curves[first]["relative_l2_decoded"]}
    results["truth encoded and decoded"] = {
        f"relative_l2 {name}": results[first][f"relative_l2_decoded {name}"] for name in ("first", "trained", "end")
    }
    (out / "results.json").write_text(json.dumps(results | {"curves": curves}, indent=1))
    text = table([*systems, "truth encoded and decoded"], results)
    (out / "table.md").write_text(text)
    print(text)
    curve_picture(
        {title: curve["relative_l2"] for title, curve in curves.items() if "," not in title}, out / "errors.png",
        xlabel="frames ahead", ylabel="relative L2 error of the mean", title=f"trained to {ahead} frames ahead",
    )  # fmt: skip
    tradeoff_picture(
        spectra, out / "spectrum.png", xlabel="wave number", ylabel="energy", title=f"after {ahead} frames"
    )  # fmt: skip


def cells(row: dict[str, Any]) -> list[float | None]:
    """Numbers of a line of the table, in the order of :data:`HEADS`; None where there is none."""
    keys = ("relative_l2 first", "relative_l2 trained", "relative_l2 end", "crps trained", "crps end",
            "spread_skill trained", "spread_skill end", "expected_skill", "coverage_90")  # fmt: skip
    found = [row.get(key) for key in keys]
    found += list(row.get("bands", [None, None])[:2])
    return [*found, row.get("training steps"), row.get("training seconds"), row.get("forecast seconds")]


def table(systems: Sequence[str], results: dict[str, Any]) -> str:
    """All systems of one seed."""
    lines = [f"| {' | '.join(HEADS)} |", "|" + " --- |" * len(HEADS)]
    for title in systems:
        lines.append(f"| {title} | {' | '.join(shown(value) for value in cells(results[title]))} |")
    return "\n".join(lines) + "\n"


def shown(value: float | None) -> str:
    """A number with three decimals, a large one with four digits, a dash where there is none."""
    if value is None or math.isnan(value):
        return "-"
    return f"{value:.4g}" if value >= 100 else f"{value:.3f}"


def over_seeds(found: Sequence[dict[str, Any]]) -> str:
    """Mean over seeds, and the range, of everything that stands in the table."""
    lines = [f"| {' | '.join(HEADS)} |", "|" + " --- |" * len(HEADS)]
    for title in (name for name, row in found[0].items() if isinstance(row, dict) and "relative_l2 first" in row):
        row = []
        for column in zip(*(cells(results[title]) for results in found), strict=True):
            values = [v for v in column if v is not None and not math.isnan(v)]
            row.append(f"{sum(values) / len(values):.3f} ({min(values):.3f} to {max(values):.3f})" if values else "-")
        lines.append(f"| {title} | {' | '.join(row)} |")
    return "\n".join(lines) + "\n"


def calibrated(forecasts: list[tuple[Tensor, Tensor]]) -> dict[str, float]:
    """Expected error of every trajectory, calibrated on all others: over skill, and cover of 90 % intervals."""
    if len(forecasts) < 2:
        return {"expected_skill": math.nan, "coverage_90": math.nan}
    shortest = min(len(truth) for _, truth in forecasts)
    forecasts = [(samples[:, :shortest], truth[:shortest]) for samples, truth in forecasts]
    missing = torch.stack([missing_variance(samples, truth) for samples, truth in forecasts])  # [cases, t, c]
    expected, squares, inside = [], [], []
    for case, (samples, truth) in enumerate(forecasts):
        others = [i for i in range(len(forecasts)) if i != case]
        k = len(samples)
        variance = samples.double().var(0) * (k + 1) / k if k > 1 else torch.zeros_like(truth, dtype=torch.float64)
        variance = (variance + missing[others].mean(0).unsqueeze(1)).clamp(min=0)
        wrong = samples.double().mean(0) - truth
        expected.append(variance.mean())
        squares.append(wrong.square().mean())
        inside.append((wrong.abs() <= 1.645 * variance.sqrt()).double().mean())
    ratio = torch.stack(expected).mean().sqrt() / torch.stack(squares).mean().sqrt()
    return {"expected_skill": float(ratio), "coverage_90": float(torch.stack(inside).mean())}


def roll(task: GridRollout, frames: Tensor, steps: int, case: int, test: PointTrajectories) -> Tensor:
    """``[1, steps, n, c]`` frames of an autoregressive network."""
    first = grid(frames, test.spec.grid).unsqueeze(0)
    made = task.rollout(first, steps, fixed(test, case, task.spec.constants).unsqueeze(0))
    return made.flatten(3).transpose(2, 3)


def grid(values: Tensor, shape: tuple[int, ...]) -> Tensor:
    """``[..., n, c] -> [..., c, *grid]``."""
    out: Tensor = values.movedim(-1, -2).unflatten(-1, shape)
    return out


def fixed(data: PointTrajectories, index: int, names: tuple[str, ...] | None = None) -> Tensor:
    """Parameters of a trajectory as channels ``[k, *grid]``."""
    values = list(data.parameters(index, data.spec.parameters if names is None else names).values())
    return torch.tensor(values).view(-1, *(1,) * len(data.spec.grid)).expand(-1, *data.spec.grid)


if __name__ == "__main__":
    main()
