"""``meshops evaluate CKPT --data NAME``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from meshops.cli.options import console, key_values, output_folder, parser, print_json
from meshops.cli.tables import metrics_table, rollout_table
from meshops.errors import InputError


def run(argv: Sequence[str]) -> int:
    """Errors of a checkpoint on a split."""
    options = parser(
        "evaluate",
        "Relative L2, MAE and R2 of each field in physical units, and errors of drag and lift, on a split.\n"
        "For a model of trajectories: VRMSE, NMSE, MSE and MAE of one step and along rollouts, beside keeping the\n"
        "last frame and the floor of its tokens; on moving meshes: N-RMSE of EAGLE along rollouts. For compressed\n"
        "trajectories: relative L2 error by part of the points; for generated ones: errors, CRPS, spread.",
        "example:\n  meshops evaluate runs/demo/model.ckpt --data ahmed_mini --split test --json > errors.json\n",
    )
    options.add_argument("checkpoint", help="model.ckpt of a run")
    options.add_argument("--data", required=True, help="dataset name (ahmed_mini) or folder of a dataset")
    options.add_argument("--root", help="folder, when --data is a name")
    options.add_argument("--split", default="test", help="default: %(default)s")
    options.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help="dataset option")
    options.add_argument("--method", default="interleaved", choices=("interleaved", "anchored"))
    options.add_argument("--yardsticks", action="store_true", help="also mean, nearest and average training shape")
    options.add_argument(
        "--steps", type=int, help="trajectories: length of the rollouts (20), forecasts (two segments)"
    )
    options.add_argument("--samples", type=int, default=8, help="generated trajectories: size of the ensembles")
    options.add_argument("--pictures", metavar="DIR", help="trajectories: draw errors, spectrum and a rollout there")
    options.add_argument("--device", default="cpu")
    options.add_argument("--json", action="store_true", help="everything, case by case, as JSON")
    args = options.parse_args(argv)

    import meshops
    from meshops.datasets import create, detect, names
    from meshops.datasets.registry import options as options_of
    from meshops.training.evaluate import evaluate

    surrogate = meshops.load(args.checkpoint, device=args.device)
    if isinstance(surrogate, meshops.RolloutSurrogate):
        return _rollout(surrogate, args)
    if isinstance(surrogate, meshops.FieldsSurrogate | meshops.MeshRolloutSurrogate):
        return _graphs(surrogate, args)
    if isinstance(surrogate, meshops.AutoencodeSurrogate | meshops.GenerateSurrogate):
        return _generative(surrogate, args)
    name, root = (args.data, args.root) if args.data in names() else (detect(args.data), args.data)
    extra = key_values(args.option)
    for key, value in (("fields", surrogate.spec.fields), ("domain", surrogate.spec.domain)):
        if key in options_of(name):
            extra.setdefault(key, value)
    data = create(name, root=root, split=args.split, **extra)
    training = create(name, root=root, split="train", **extra) if args.yardsticks else None
    metrics = evaluate(surrogate, data, training=training, method=args.method, console=console())
    if args.json:
        print_json(metrics)
    else:
        sys.stdout.write(metrics_table(metrics) + "\n")
    return 0


def _rollout(surrogate: Any, args: Any) -> int:
    from meshops.datasets import create_trajectories, detect
    from meshops.datasets.registry import TRAJECTORIES
    from meshops.training.evaluate_rollout import draw_rollout, evaluate_rollout

    name, root = (args.data, args.root) if args.data in TRAJECTORIES else (detect(args.data), args.data)
    data = create_trajectories(name, root=root, split=args.split, **key_values(args.option))
    if (data.spec.channels, data.spec.constants) != (surrogate.spec.channels, surrogate.spec.constants):
        raise InputError(
            f"{root}: its channels {data.spec.channels} and constants {data.spec.constants} are not those of the "
            f"model, {surrogate.spec.channels} and {surrogate.spec.constants}"
        )
    stride = int(surrogate.info.get("run", {}).get("stride", 1))
    metrics = evaluate_rollout(surrogate.task, data, steps=args.steps or 20, stride=stride, console=console())
    if args.pictures:
        pictures = draw_rollout(
            surrogate.task, data, metrics, output_folder(args.pictures), steps=args.steps or 20, stride=stride
        )
    if args.json:
        print_json(metrics)
        return 0
    sys.stdout.write(rollout_table(metrics) + "\n")
    if args.pictures:
        sys.stdout.write(f"written: {', '.join(map(str, pictures))}\n")
    return 0


def _graphs(surrogate: Any, args: Any) -> int:
    """Errors of a model of fields on graphs, or of trajectories on moving meshes."""
    from meshops.datasets import create, create_mesh_trajectories, detect
    from meshops.datasets.registry import DATASETS, MESH_TRAJECTORIES
    from meshops.tasks.graph_surrogate import FieldsSurrogate
    from meshops.training.graphs import evaluate_fields, evaluate_mesh_rollout

    known = {*DATASETS, *MESH_TRAJECTORIES}
    name, root = (args.data, args.root) if args.data in known else (detect(args.data), args.data)
    extra = key_values(args.option)
    if isinstance(surrogate, FieldsSurrogate):
        if name == "mesh_files":
            extra = {"inputs": surrogate.spec.inputs, "fields": surrogate.spec.fields} | extra
        metrics = evaluate_fields(surrogate, create(name, root=root, split=args.split, **extra))
        lines = [f"{field:<16} {value:.4f}" for field, value in metrics["mean"].items()]
        title = f"relative L2 error, mean of {len(metrics['cases'])} cases"
    else:
        data = create_mesh_trajectories(name, root=root, split=args.split, **extra)
        metrics = evaluate_mesh_rollout(surrogate.task, data, args.steps or 20)
        lines = [f"+{step:<15} {value:.4f}" for step, value in metrics["n_rmse"].items()]
        lines.append(f"{'first frame kept':<16} {metrics['first_frame_kept']:.4f}")
        title = f"N-RMSE, mean of {len(metrics['cases'])} trajectories"
    if args.json:
        print_json(metrics)
    else:
        sys.stdout.write("\n".join([title, *lines]) + "\n")
    return 0


def _generative(surrogate: Any, args: Any) -> int:
    """Errors of a model that compresses or generates trajectories."""
    from meshops.datasets import detect
    from meshops.datasets.point_trajectories import open_points
    from meshops.datasets.registry import MESH_TRAJECTORIES, TRAJECTORIES
    from meshops.tasks.generative_surrogate import AutoencodeSurrogate
    from meshops.training.evaluate_generative import evaluate_autoencoder, evaluate_forecasts

    known = {*TRAJECTORIES, *MESH_TRAJECTORIES}
    name, root = (args.data, args.root) if args.data in known else (detect(args.data), args.data)
    compresses = isinstance(surrogate, AutoencodeSurrogate)
    spec = surrogate.spec if compresses else surrogate.autoencoder.spec
    data = open_points(name, root=root, split=args.split, options=key_values(args.option), fields=spec.fields)
    stride = int(surrogate.info.get("run", {}).get("stride", 1))
    if compresses:
        metrics = evaluate_autoencoder(surrogate.task, data, frames=spec.frames, stride=stride)
        lines = [f"{float(part):>7.0%} {error:.4f}" for part, error in metrics["mean"].items()]
        title = f"relative L2 error by part of the points given, mean of {len(metrics['cases'])} trajectories"
    else:
        folder = output_folder(args.pictures) if args.pictures else None
        metrics = evaluate_forecasts(
            surrogate, data, steps=args.steps, samples=args.samples, stride=stride, folder=folder, console=console()
        )
        title = (
            f"{metrics['given']} frames given, {metrics['steps']} ahead, {metrics['samples']} samples, mean of "
            f"{metrics['trajectories']} trajectories"
        )
        shown = {"relative L2, mean": "relative_l2", "relative L2, sample": "relative_l2_one",
                 "last given frame kept": "relative_l2_kept", "CRPS": "crps", "spread / skill": "spread_over_skill",
                 "expected error / skill": "expected_over_skill", "within 90 % interval": "coverage_90",
                 "seconds a forecast": "seconds_per_forecast"}  # fmt: skip
        lines = [f"{label:<22} {metrics[key]:.4f}" for label, key in shown.items() if key in metrics]
        lines += [f"written: {folder / 'forecast.html'}, {folder / 'errors.png'}"] if folder else []
    if args.json:
        print_json(metrics)
    else:
        sys.stdout.write("\n".join([title, *lines]) + "\n")
    return 0
