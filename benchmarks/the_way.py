"""Times of the way from a file to a written result, and of what training and the core spend their time on.

    python benchmarks/the_way.py model.ckpt --cells 10000 1000000 --against OTHER_CHECKOUT --threads 2

Every part runs in a process of its own, with this checkout and the other in turns; the least of the repeats is printed,
seconds of all cores (process time) and seconds that passed. ``model.ckpt`` is one of `meshops demo`, of any quality.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

PARTS = ("predict", "training", "segments", "tree", "echo")
HERE = Path(__file__).resolve().parent.parent


def main(argv: Sequence[str] | None = None) -> dict[str, dict[str, list[float]]]:
    """Times of each part and step, by checkout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", nargs="?")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--cells", nargs="+", type=int, default=[10_000, 1_000_000])
    parser.add_argument("--against", type=Path, help="another checkout of this repository")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--one", nargs=2, metavar=("PART", "FILE"), help="used by the command itself")
    args = parser.parse_args(argv)
    if args.one:
        import torch

        torch.set_num_threads(args.threads)
        steps: dict[str, list[float]] = {}
        globals()[f"_{args.one[0]}"](_Clock(steps), args.checkpoint, args.one[1])
        return {"": steps}
    if "predict" in args.parts and not args.checkpoint:
        parser.error("predict needs a checkpoint")
    places = [HERE] if args.against is None else [HERE, args.against.resolve()]
    found: dict[str, dict[str, list[float]]] = {str(place): {} for place in places}
    with tempfile.TemporaryDirectory() as folder:
        runs = [(part, "") for part in args.parts if part != "predict"]
        if "predict" in args.parts:
            runs = [("predict", str(_body(cells, Path(folder)))) for cells in args.cells] + runs
        for part, file in runs:
            for turn in range(args.repeat):
                for place in places if turn % 2 == 0 else places[::-1]:
                    label = f"{part} {Path(file).stem}".strip()
                    for step, times in _once(place, part, file, args).items():
                        old = found[str(place)].setdefault(f"{label}: {step}", times)
                        found[str(place)][f"{label}: {step}"] = [min(a, b) for a, b in zip(old, times, strict=True)]
    return found


class _Clock:
    """Seconds of all cores and seconds passed since the last step."""

    def __init__(self, steps: dict[str, list[float]]) -> None:
        self.steps = steps
        self.start()

    def start(self) -> None:
        self.last = time.process_time(), time.perf_counter()

    def stop(self, step: str) -> None:
        now = time.process_time(), time.perf_counter()
        self.steps[step] = [now[0] - self.last[0], now[1] - self.last[1]]
        self.start()

    def best(self, step: str, work: Callable[[], Any], repeat: int = 7) -> None:
        """Least of some repeats, after one that compiles."""
        work()
        for _ in range(repeat):
            self.start()
            work()
            before = self.steps.get(step, [1e9, 1e9])
            self.stop(step)
            self.steps[step] = [min(a, b) for a, b in zip(before, self.steps[step], strict=True)]


def _once(place: Path, part: str, file: str, args: argparse.Namespace) -> dict[str, list[float]]:
    command = [sys.executable, "-W", "ignore", str(Path(__file__).resolve())]
    command += [str(Path(args.checkpoint).resolve())] if args.checkpoint else []
    command += ["--threads", str(args.threads), "--one", part, file]
    count = str(args.threads)
    env = os.environ | {"PYTHONPATH": str(place), "OMP_NUM_THREADS": count, "NUMBA_NUM_THREADS": count}
    done = subprocess.run(command, env=env, cwd=place, stdout=subprocess.PIPE, text=True, check=True)
    out: dict[str, list[float]] = json.loads(done.stdout)[""]
    return out


def _body(cells: int, folder: Path) -> Path:
    """An STL of an Ahmed body with at least so many cells."""
    from meshops.data.surface import refine
    from meshops.data.writers import write_mesh
    from meshops.solvers.ahmed_body import ahmed_body

    body = ahmed_body(1.044, 0.36, 0.29, 0.1, 0.2, 20.0, 0.05)
    area = float(body.compute_cell_sizes(length=False, volume=False)["Area"].sum())
    edge = 2.2 * (area / cells) ** 0.5
    mesh, _ = refine(body, edge)
    while mesh.n_cells < cells:
        edge *= 0.97
        mesh, _ = refine(body, edge)
    path = folder / f"{cells}.stl"
    write_mesh(mesh, path)
    return path


def _predict(clock: _Clock, checkpoint: str, file: str) -> None:
    """A file to a written result, as ``meshops predict --no-pictures`` does it."""
    import meshops
    from meshops.surrogate import outputs

    begin = time.process_time(), time.perf_counter()
    clock.start()
    surrogate: Any = meshops.load(checkpoint)
    clock.stop("checkpoint")
    task = surrogate.task
    case = task.open(file)
    clock.stop("reading")
    task.prepared(case)
    clock.stop("features")
    raw = task.raw(case)
    clock.stop("network")
    prediction = task.told(raw)
    if surrogate.novelty is not None:
        surrogate.novelty.of_case(task, case)
    clock.stop("forces, verdict")
    with tempfile.TemporaryDirectory() as folder:
        outputs.write_prediction(prediction, surrogate, Path(folder), "body", pictures=False)
        clock.stop("writing")
    clock.steps["all"] = [time.process_time() - begin[0], time.perf_counter() - begin[1]]


def _training(clock: _Clock, checkpoint: str, file: str) -> None:
    """A step of the demo's MSPT: forward, backward and optimiser, 1,024 cells."""
    import torch

    from meshops.data.mesh_graph import MeshGraph
    from meshops.models.registry import create_model

    torch.manual_seed(0)
    model = create_model("mspt", in_channels=39, out_channels=4, channels=96, depth=4, num_heads=6, num_patches=16,
                         dropout=0.1)  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    graph = MeshGraph(pos=torch.rand(1024, 3), x=torch.rand(1024, 39))

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        model(model.unpack(graph)).square().mean().backward()
        optimizer.step()

    clock.best("step", lambda: [step() for _ in range(20)])
    clock.steps["step"] = [seconds / 20 for seconds in clock.steps["step"]]


def _segments(clock: _Clock, checkpoint: str, file: str) -> None:
    """Sums of 60,000 rows x 64 in segments of 256, forward and backward, beside ``index_add``."""
    import torch

    from meshops.ops import segment_max, segment_mean, segment_sum

    values = torch.randn(60_000, 64).requires_grad_()
    ptr = torch.cat([torch.arange(0, 60_000, 256), torch.tensor([60_000])])
    index = torch.repeat_interleave(ptr.diff())
    grad = torch.randn(len(ptr) - 1, 64)

    def both(function: Callable[[], torch.Tensor]) -> Callable[[], None]:
        def run() -> None:
            values.grad = None
            function().backward(grad)

        return run

    clock.best("index_add", both(lambda: values.new_zeros(len(grad), 64).index_add(0, index, values)), 50)
    for name, op in (("sum", segment_sum), ("mean", segment_mean), ("max", segment_max)):
        clock.best(name, both(lambda op=op: op(values, ptr)), 50)  # type: ignore[misc]


def _tree(clock: _Clock, checkpoint: str, file: str) -> None:
    """A million points into patches of 256, centres and radii included."""
    import torch

    from meshops.partition import BallTree

    pos = torch.rand(1_000_000, 3, generator=torch.Generator().manual_seed(0))
    tree = BallTree(patch_size=256)
    clock.best("partition", lambda: tree.partition(pos))

    def whole() -> None:
        patches = tree.partition(pos)
        assert patches.center.shape[0] == patches.radius.shape[0]

    clock.best("with centres and radii", whole)


def _echo(clock: _Clock, checkpoint: str, file: str) -> None:
    """A frame of 2^18 points through the encoder and the decoder of ECHO."""
    import torch

    from meshops.models.echo import EchoAutoencoder

    torch.manual_seed(0)
    model = EchoAutoencoder(
        1, low=(0.0, 0.0), high=(1.0, 1.0), periodic=(True, True), cells=256,
        layers=("res", "space", "res", "space", "res", "time", "time", "res"), channels=64,
    ).eval()  # fmt: skip
    pos = torch.rand(2**18, 2)
    values = (2 * torch.pi * pos).sin().sum(1).view(1, -1, 1).transpose(0, 1)
    with torch.no_grad():
        near, wanted = model.neighborhood(pos, torch.tensor([0, len(pos)])), model.grid.to_points(pos)
        latent = model.encode(values, near, frames=1).mean
        nodes = model.decode_nodes(latent, 1)
        clock.best("encode", lambda: model.encode(values, near, frames=1), 3)
        clock.best("tower back", lambda: model.decode_nodes(latent, 1), 3)
        clock.best("read at the points", lambda: model.read(nodes, wanted), 3)


if __name__ == "__main__":
    print(json.dumps(main(), indent=1))
