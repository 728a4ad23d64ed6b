"""AMR-Transformer and IAP against ViT, U-Net and FNO on the 2-D Riemann problem, all with the same budget of samples.

    meshops generate riemann_2d --num 10 --out data/shock --train 8 --test 2
    python benchmarks/shock.py data/shock --out runs/shock            # hours on two cores; --models vit,unet for some
    python benchmarks/shock.py data/shock --out runs/shock --table    # the table of what is there

    meshops generate riemann_2d --num 10 --resolution 64 --out data/shock64 --train 8 --test 2
    python benchmarks/shock.py data/shock64 --out runs/shock64 --models amr,amr-finest --seeds 0,1,2 --residual \
        --noise 0.05 --max-size 16 --tokens 512 --steps 1600

Every model sees the same windows in the same order. Sizes are small (about a million weights) so that a CPU can do it.
What is there already is not run again: a stopped study goes on where it was. For long rollouts: --noise, --pushforward
and --horizon (see RolloutSettings). Parts of AMR-Transformer are changed one at a time: amr-finest has the tokens of
the finest regular grid (2 x 2 cells each), amr-regular those of 4 x 4 cells, amr-window attends in windows of 16 cells,
amr-rotary has rotary positions.
FLOPs: of one forward pass, counted by PyTorch (matrix products, convolutions, attention; the FFTs of FNO are not).
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from meshops.datasets import TheWell
from meshops.surrogate import load
from meshops.tasks import RolloutSettings
from meshops.tasks.rollout_grid import one_step_windows
from meshops.training import DataConfig, RunConfig, TrainConfig, train

SIZE = {"channels": 96, "num_heads": 4, "depth": 4}
IAP = {"name": "iap", "budget": 1024, "p_min": 2, "p_max": 8, **SIZE, "depth": 3}
AMR = {"name": "amrtransformer", "max_size": 32, **SIZE, "hidden": 192}
MODELS: dict[str, dict[str, Any]] = {
    "amr": AMR,
    "amr-finest": {**AMR, "max_size": 2},
    "amr-regular": {**AMR, "max_size": 4, "min_cell": 2},
    "amr-window": {**AMR, "window": 16},
    "amr-rotary": {**AMR, "rotary": True},
    "amr-finest-rotary": {**AMR, "max_size": 2, "rotary": True},
    "iap": IAP,
    "iap-local": {**IAP, "decoder": "local", "depth": 4},
    "vit": {"name": "vit", "patch_size": 4, **SIZE},
    "unet": {"name": "unet", "channels": 24, "depth": 3},
    "fno": {"name": "fno", "channels": 24, "modes": 16, "depth": 4},
    "iap-elastic": {**IAP, "decoder": "local", "depth": 4, "budget_range": [300, 1536]},
}
BUDGETS = (300, 512, 768, 1024, 1536)


def _attention_flops(query: Any, key: Any, value: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
    return int(sdpa_flop_count(query, key, value))


ATTENTION = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops}  # PyTorch leaves it out


def settings(name: str, args: argparse.Namespace, seed: int) -> RunConfig:
    """Settings of one run."""
    model = dict(MODELS[name])
    if model["name"] == "amrtransformer" and model["max_size"] > 4:
        model["max_size"] = args.max_size
        model["thresholds"] = thresholds(args.root, args.stride, args.tokens, args.max_size)
    if model["name"] == "iap":
        model["budget"] = args.tokens
    task = RolloutSettings(
        stride=args.stride, steps=199 // args.stride - 1, residual=args.residual, noise=args.noise,
        pushforward=args.pushforward, horizon=args.horizon,
    )  # fmt: skip
    return RunConfig(
        kind="rollout",
        out=f"{args.out}/{title(name, args, seed)}",
        model=model,
        data=DataConfig(name="the_well", root=args.root),
        task=task,
        train=TrainConfig(
            steps=args.steps, batch_size=args.batch, lr=1e-3, weight_decay=0.01, seed=seed,
            threads=args.threads,
        ),
    )  # fmt: skip


def title(name: str, args: argparse.Namespace, seed: int) -> str:
    """Folder of a run: model and all that is not the default."""
    parts = [name, "residual" if args.residual else "", f"noise{args.noise:g}" if args.noise else ""]
    parts += [f"push{args.pushforward}" if args.pushforward else "", f"horizon{args.horizon}" if args.horizon else ""]
    parts += [f"steps{args.steps}" if args.steps != 800 else "", f"seed{seed}" if seed else ""]
    return "-".join(part for part in parts if part)


def thresholds(root: str, stride: int, tokens: int = 1024, max_size: int = 32) -> list[float]:
    """Thresholds that give AMR-Transformer as many tokens as the others have, on the training data."""
    from meshops.partition import RefineByCriteria

    data = TheWell(root, "train")
    frames = torch.cat([data.window(i, 0, data.lengths[i])[:: 2 * stride] for i in range(len(data))])
    limits = RefineByCriteria(velocity=data.spec.velocity, max_size=max_size).calibrated(frames, tokens).thresholds
    return [float(v) for v in (limits.gradient, limits.vorticity, limits.momentum, limits.shear)]


def measure(folder: Path, root: str, stride: int) -> dict[str, Any]:
    """Tokens, FLOPs and seconds of one forward and of one training step per sample."""
    task = load(folder / "model.ckpt").task
    data = TheWell(root, "test")
    batch = next(one_step_windows(data, 0, task.spec.history, stride, 4))
    frames, constants = batch.frames, batch.constants
    with FlopCounterMode(display=False, custom_mapping=ATTENTION) as counter, torch.no_grad():
        task(frames, constants)
    model: Any = task.model
    tokens = None
    if hasattr(model, "patches"):
        tokens = float(model.patches(task.encode(frames, constants)).count.float().mean())
    elif hasattr(model, "num_tokens"):
        tokens = float(model.num_tokens(tuple(frames.shape[3:])))
    best = float("inf")
    task.train()
    for _ in range(3):
        start = time.perf_counter()
        task.loss(batch)["loss"].backward()
        best = min(best, time.perf_counter() - start)
    return {
        "tokens": tokens,
        "gflops": counter.get_total_flops() / len(frames) / 1e9,
        "step_seconds": best / len(frames),
        "weights": sum(p.numel() for p in task.parameters()),
    }


def elasticity(folder: Path, args: argparse.Namespace) -> dict[str, float]:
    """One-step VRMSE of a trained IAP at five budgets."""
    task = load(folder / "model.ckpt").task
    data = TheWell(args.root, "test")
    out = {}
    for budget in BUDGETS:
        task.model.tokenizer.budget = budget  # type: ignore[union-attr]
        out[str(budget)] = float(task.evaluate(data, steps=1, stride=args.stride, windows=16).mean["vrmse"])
    return out


def table(out: Path) -> str:
    """The results of all runs in a folder; runs that differ by their seed in one line, mean and spread."""
    lines = [
        "| model | seeds | tokens | weights | GFLOP | s / step | one step | NMSE | floor | rollout, half | last |",
        "| --- " * 11 + "|",
    ]
    runs: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(out.glob("*/result.json")):
        runs.setdefault(path.parent.name.split("-seed")[0], []).append(json.loads(path.read_text()))
    for name, found in runs.items():
        r, middle = found[0], len(found[0]["curves"]["vrmse"]) // 2 - 1
        weights, floor = f"{r['weights'] / 1e6:.2f} M", [x["baselines"].get("token floor", {}) for x in found]
        cells = [
            "" if r["tokens"] is None else f"{r['tokens']:.0f}", weights, f"{r['gflops']:.2f}",
            f"{r['step_seconds']:.3f}", spread([x["mean"]["vrmse"] for x in found], 4),
            f"{sum(x['mean']['nmse'] for x in found) / len(found):.2e}",
            spread([x["vrmse"] for x in floor if x], 4),
            spread([x["curves"]["vrmse"][middle] for x in found], 3),
            spread([x["curves"]["vrmse"][-1] for x in found], 3),
        ]  # fmt: skip
        lines.append(f"| {name} | {len(found)} | " + " | ".join(cells) + " |")
        kept, curve = r["baselines"]["keep last frame"], r["curves"]["vrmse_kept"]
        persistence = kept["vrmse"], kept["nmse"], curve[middle], curve[-1]
    lines.append("| keep last frame | | | | | | {:.4f} | {:.2e} | | {:.3f} | {:.3f} |".format(*persistence))
    return "\n".join(lines)


def spread(values: list[float], digits: int) -> str:
    """Mean, and half the range where there are several."""
    if not values:
        return ""
    mean = f"{sum(values) / len(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {(max(values) - min(values)) / 2:.{digits}f}"


def main() -> None:
    """Train, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", help="folder of the shock data, layout of The Well")
    parser.add_argument("--out", default="runs/shock")
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--stride", type=int, default=10, help="frames from one step to the next")
    parser.add_argument("--seeds", default="0", help="such as 0,1,2: each model once per seed")
    parser.add_argument("--tokens", type=int, default=1024, help="of AMR-Transformer on average and of IAP")
    parser.add_argument("--max-size", type=int, default=32, help="side of AMR-Transformer's coarsest regions, cells")
    parser.add_argument("--noise", type=float, default=0.0, help="on the input while training")
    parser.add_argument("--pushforward", type=int, default=0, help="steps without gradients before what is learnt")
    parser.add_argument("--horizon", type=int, help="steps of a training window")
    parser.add_argument("--elasticity", action="store_true", help="IAP at five budgets")
    parser.add_argument("--quiet", action="store_true")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--residual", action="store_true", help="predict the change instead of the state")
    parser.add_argument(
        "--remeasure", action="store_true", help="only time the trained models again, on a quiet machine"
    )
    parser.add_argument("--table", action="store_true", help="only print what is there")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    for path in sorted(Path(args.out).glob("*/result.json")) if args.remeasure else []:
        row = json.loads(path.read_text()) | measure(path.parent, args.root, args.stride)
        path.write_text(json.dumps(row, indent=2) + "\n")
    names = [] if args.table or args.remeasure else args.models.split(",")
    for name, seed in itertools.product(names, map(int, args.seeds.split(","))):
        done = Path(args.out) / title(name, args, seed) / "result.json"
        if done.exists():
            continue
        config = settings(name, args, seed)
        start = time.perf_counter()
        result = train(config, overwrite=True, console=Console(quiet=args.quiet))
        row = {**result.report.to_dict(), "minutes": (time.perf_counter() - start) / 60}
        row |= measure(result.folder, args.root, args.stride)
        if name.startswith("iap") and args.elasticity:
            row["elasticity"] = elasticity(result.folder, args)
        done.write_text(json.dumps(row, indent=2) + "\n")
    print(table(Path(args.out)))


if __name__ == "__main__":
    main()
