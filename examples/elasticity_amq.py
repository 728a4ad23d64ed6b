"""Hyperelastic unit cells with AMQ-style bits: stress and displacement around a void, from its shape alone.

python examples/elasticity_amq.py --root FOLDER      # files of Geo-FNO; as published: models/amq/elasticity.yaml
python examples/elasticity_amq.py                    # some minutes on two cores
python examples/elasticity_amq.py --smoke            # seconds; cost_over_uniform 0.99

Without --root it needs scikit-fem: pip install meshops[fem].
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from meshops.datasets import create, write_graphs
from meshops.nn.bit_budget import bit_operations
from meshops.nn.costs import row_costs
from meshops.nn.quantized import MeshBits
from meshops.solvers.mesh_registry import generate_mesh
from meshops.training import DataConfig, RunConfig, TrainConfig, train
from meshops.viz.plane import graph_picture


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Solve, train, compress, draw; returns what is printed."""
    args = arguments(argv)
    out = Path(args.out)
    points, num, channels, steps = (120, 5, 32, 4) if args.smoke else (400, 60, 64, args.steps)
    root = Path(args.root) if args.root else out / f"data_{points}"
    if not root.exists():
        graphs = [generate_mesh("hyperelastic", seed, num_points=points) for seed in range(num)]
        write_graphs(graphs, root, test=num // 5)

    data = DataConfig(name="elasticity" if args.root else "mesh_files", root=str(root))
    config = RunConfig(
        out=str(out / "run"),
        model={
            "name": "amq", "backbone": "graphvit", "bits": [4, 6],
            "arguments": {"channels": channels, "tokens": 2 * channels, "depth": 3, "attention_depth": 2},
            "budget": 5, "warmup": steps // 2, "explore": steps // 10,
        },
        data=data,
        train=TrainConfig(steps=steps, batch_size=4, lr=2e-3, weight_decay=0.0),
    )  # fmt: skip
    surrogate = train(config, overwrite=True, console=Console()).surrogate

    small = surrogate.compress(budget=5)
    files = [source.save(out / f"{name}.ckpt") for name, source in (("large", surrogate), ("small", small))]
    graph = create(data.name, root=root, split="test", **data.options)[0]
    predicted = small.predict(graph)
    task, model = surrogate.task, surrogate.task.model
    inputs = model.unpack(task.inputs(task.prepared(predicted.case)[0]))
    bits = model.assign(inputs)
    uniform = bit_operations(MeshBits.uniform(5, **inputs.counts()), inputs, row_costs(model.main))
    graph_picture(graph, predicted.fields, out / "elasticity.png", bits=bits.plans["node"].bits, title="on integers")
    return {
        "cost_over_uniform": round(float(model.bit_operations(inputs, bits) / uniform), 2),
        "error_on_integers": round(predicted.errors["stress"]["rel_l2"], 3),
        "size_over_float": round(files[1].stat().st_size / files[0].stat().st_size, 2),
        "auxiliary_share": round(float(model.auxiliary_operations(inputs) / uniform), 3),
    }


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Options of the script."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--root", help="folder of the published files; default: solved here")
    options.add_argument("--out", default="runs/elasticity_amq")
    options.add_argument("--steps", type=int, default=1000)
    options.add_argument("--smoke", action="store_true")
    return options.parse_args(argv)


if __name__ == "__main__":
    sys.stdout.write("".join(f"{key} {value}\n" for key, value in main().items()))
