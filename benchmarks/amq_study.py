"""Who should get the bits, and can it pay? Six assignments at equal cost, one network per budget, both costs.

    make study-amq                                          # everything: hours on one core; see --problems, --seeds
    python benchmarks/amq_study.py --problems darcy --backbones mppde --seeds 0
    python benchmarks/amq_study.py --nodes 2000             # larger meshes
    python benchmarks/amq_study.py --smoke                  # two minutes, numbers mean nothing

For each problem, backbone and seed one float32 network is trained; on it is measured what share of the rounding noise
the noisiest nodes hold, and what can be foreseen of that (``meshops.nn.bit_gain``). Then copies of it are tuned for the
same further steps: in float32, and quantised once per cost, budget and assignment. Costs: weights at the bits of the
row (``matched``, b^2) or at 8 bits (``shared``, b). The auxiliary network is inside of the cost. ``change`` knows how
much the output of a node changes from the low to the high bits of the budget, which is what the auxiliary network
learns; the oracle knows what this mends of the true loss, and so sees the truth that it is judged by. Error: relative
L2 on test cases, mean of the fields; of wakes: of the change in one step, over the nodes that are predicted. Every cell
is written when it is done; a run that stopped goes on where it was, and several seeds may run at once into the same
folder. Writes ``cells_*.jsonl`` and ``table.md``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

import torch
from scipy.stats import spearmanr
from torch import Tensor

from meshops.cli.main import main as meshops_command
from meshops.data.mesh_graph import MeshGraph
from meshops.datasets import Eagle
from meshops.nn import MeshBits, assigned, bit_gain, bit_operations, quantize, row_costs
from meshops.nn.mesh_model import MeshInputs
from meshops.nn.optim import parameter_groups
from meshops.solvers.mesh_registry import generate_mesh
from meshops.tasks import Context, FieldsSettings, FieldsTask, RolloutSettings, RolloutTask
from meshops.tasks.base import Draw
from meshops.tasks.build import build_model

LADDERS = {3.0: (2, 4), 4.0: (3, 5), 5.0: (4, 6), 6.0: (5, 7)}
ASSIGNMENTS = ("uniform", "random", "gradient", "change", "oracle", "auxiliary")
COSTS = ("matched", "shared")
BACKBONES: dict[str, dict[str, Any]] = {
    "mppde": {"channels": 64, "depth": 4},
    "graphvit": {"channels": 32, "tokens": 64, "depth": 2, "attention_depth": 2, "cluster_size": 10},
}
STATIONARY = ("darcy", "hyperelastic")
PROBLEMS = (*STATIONARY, "wake")
ROW = dict[str, Any]


def options() -> argparse.ArgumentParser:
    """What can be chosen."""
    out = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    out.add_argument("--out", default="runs/study_amq")
    out.add_argument("--problems", nargs="+", choices=PROBLEMS, default=list(PROBLEMS))
    out.add_argument("--backbones", nargs="+", choices=list(BACKBONES), default=list(BACKBONES))
    out.add_argument("--costs", nargs="+", choices=COSTS, default=list(COSTS))
    out.add_argument("--budgets", nargs="+", type=float, choices=list(LADDERS), default=[3.0, 4.0])
    out.add_argument("--assignments", nargs="+", choices=ASSIGNMENTS, default=list(ASSIGNMENTS))
    out.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    out.add_argument("--pretrain", type=int, default=1000, help="float32 steps")
    out.add_argument("--steps", type=int, default=200, help="further steps of each cell")
    out.add_argument("--teach", type=int, default=150, help="steps of the auxiliary network alone, before those")
    out.add_argument("--nodes", type=int, default=200)
    out.add_argument("--cases", type=int, default=128, help="training cases (wake: a tenth as many trajectories)")
    out.add_argument("--auxiliary-channels", type=int, help="default: 3 %% of the budget")
    out.add_argument("--free-auxiliary", action="store_true", help="leave the auxiliary network out of the budget")
    out.add_argument("--smoke", action="store_true")
    return out


def main() -> None:
    """Run or go on."""
    args = options().parse_args()
    if args.smoke:
        args.seeds, args.pretrain, args.steps, args.teach, args.nodes, args.cases = [0], 10, 3, 3, 80, 8
    torch.set_num_threads(1)
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    settings = {key: getattr(args, key) for key in ("pretrain", "steps", "teach", "nodes", "cases", "free_auxiliary",
                                                    "auxiliary_channels")}  # fmt: skip
    stored = out / "settings.json"
    if stored.exists() and json.loads(stored.read_text()) != settings:
        sys.exit(f"{out} holds a study with other settings: {stored.read_text()}; give another --out")
    stored.write_text(json.dumps(settings))
    for seed, problem, backbone in product(args.seeds, args.problems, args.backbones):
        run_group(problem, backbone, seed, args)
        table(out)
    sys.stdout.write((out / "table.md").read_text())


def run_group(problem: str, backbone: str, seed: int, args: argparse.Namespace) -> None:
    """All cells of one float32 network that are not done yet."""
    place = Path(args.out) / f"cells_{problem}_{backbone}_{seed}.jsonl"
    done = [json.loads(line) for line in place.read_text().splitlines()] if place.exists() else []
    names = ("kind", "cost", "budget", "assignment")
    known = {tuple(row.get(key) for key in names) for row in done}
    wanted: list[ROW] = [{"kind": "float32"}]
    wanted += [{"kind": "gain", "cost": c, "budget": b} for c, b in product(args.costs, args.budgets)]
    wanted += [
        {"kind": "cell", "cost": c, "budget": b, "assignment": a}
        for c, b, a in product(args.costs, args.budgets, args.assignments)
    ]
    wanted = [row for row in wanted if tuple(row.get(key) for key in names) not in known]
    if not wanted:
        return
    data = Data(problem, args)
    plain = trained(data, backbone, seed, args)
    for row in wanted:
        start = time.perf_counter()
        if row["kind"] == "gain":
            found = measured_gain(data, plain, row)
        elif row["kind"] == "float32":
            task = data.task(deepcopy(plain))
            before, _ = judge(data, task)
            learn(data, task, args.steps, 1e-3, seed + 1)
            found = {"before": before, "error": judge(data, task)[0]}
        else:
            found = run_cell(data, plain, backbone, seed, row, args)
        line = {"problem": problem, "backbone": backbone, "seed": seed, **row, **found}
        line["seconds"] = round(time.perf_counter() - start, 1)
        with place.open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)


class Data:
    """Cases of one problem, solved once: a task for a model, batches to learn from, pairs to be judged on."""

    def __init__(self, problem: str, args: argparse.Namespace) -> None:
        self.problem = problem
        name = f"{problem}_{args.nodes}_{args.cases}"
        self.samples: Any
        if problem == "wake":
            train, test = max(2, args.cases // 10), max(1, args.cases // 40)
            root = Path(args.out) / name
            if not root.exists():
                frames = 5 if args.smoke else 30
                command = f"generate wake --num {train + test} --train {train} --test {test} --points {args.nodes}"
                meshops_command(
                    [*command.split(), "--frames", str(frames), "--option", "spin_up=12", "--out", str(root)]
                )
            self.samples = RolloutTask.samples(Eagle(root, "train"), RolloutSettings(horizon=1))
            self.test: Any = Eagle(root, "test")
            self.batch_size = 2
        else:
            graphs = stationary_cases(problem, Path(args.out) / f"{name}.pt", args.nodes, args.cases)
            self.samples = FieldsTask.samples(graphs, FieldsSettings(), Context(held_out=len(graphs) - args.cases))
            self.batch_size = 4

    def model(self, chosen: dict[str, Any]) -> Any:
        """A network for this problem."""
        return build_model(chosen, self.samples.spec.model_arguments(), self.samples.offers)[0]

    def task(self, model: Any) -> Any:
        """With statistics of the training cases."""
        if self.problem == "wake":
            return RolloutTask.fit(model, self.samples, RolloutSettings(horizon=1))
        return FieldsTask.fit(model, self.samples, FieldsSettings())

    def batch(self, task: Any, generator: torch.Generator) -> Any:
        """Some training cases, or windows of two frames."""
        numbers = torch.randint(len(self.samples), (self.batch_size,), generator=generator).tolist()
        return task.batch(self.samples, [Draw(number, number) for number in numbers])

    def pairs(self, task: Any, batch: Any) -> Iterator[tuple[MeshInputs, Tensor]]:
        """Inputs and normalised truth."""
        if self.problem != "wake":
            yield task.model.unpack(task.inputs(batch)), task.output_norm(batch.y)
            return
        for frames in batch:
            state = task.norm(frames.state[0])
            yield task.inputs(frames, 0, state), task.norm(frames.state[1]) - state

    def tests(self, task: Any) -> Iterator[tuple[MeshInputs, Tensor]]:
        """Pairs of held-out cases; of a trajectory every fifth step."""
        if self.problem != "wake":
            for graph in self.samples.held_out:
                yield from self.pairs(task, graph)
            return
        for index, length in enumerate(self.test.lengths):
            yield from self.pairs(task, [task.frames(self.test, index, k, 2, 1) for k in range(0, length - 1, 5)])


def stationary_cases(problem: str, path: Path, nodes: int, cases: int) -> list[MeshGraph]:
    """Solved once and kept; a quarter as many behind the first ``cases`` to test on."""
    if not path.exists():
        graphs = [generate_mesh(problem, seed, num_points=nodes) for seed in range(cases + max(1, cases // 4))]
        keep = ("pos", "x", "y", "edge_index", "x_names", "y_names", "y_sizes", "y_units")
        torch.save([{key: graph[key] for key in keep if key in graph} for graph in graphs], path)
    return [MeshGraph(**values) for values in torch.load(path, weights_only=True)]


def sizes_of(data: Data, backbone: str) -> dict[str, Any]:
    """Arguments of a backbone; without inputs it is told positions as waves, of wakes the kinds of nodes."""
    sizes = dict(BACKBONES[backbone])
    if backbone == "mppde" and data.problem == "wake":
        sizes["variables"] = 9
    elif backbone == "mppde" and not data.samples.spec.inputs:
        sizes["fourier"] = 3
    return sizes


def trained(data: Data, backbone: str, seed: int, args: argparse.Namespace) -> Any:
    """The float32 network of a seed, trained once and kept."""
    path = Path(args.out) / f"float32_{data.problem}_{backbone}_{seed}.pt"
    torch.manual_seed(seed)
    plain = data.model({"name": backbone, **sizes_of(data, backbone)})
    if path.exists():
        plain.load_state_dict(torch.load(path, weights_only=True))
        return plain
    learn(data, data.task(plain), args.pretrain, 2e-3, seed)
    torch.save(plain.state_dict(), path)
    return plain


def measured_gain(data: Data, plain: Any, row: ROW) -> ROW:
    """Shares of the noise on the test cases, nothing tuned."""
    task = data.task(deepcopy(plain)).eval()
    inputs = [pair[0] for pair in data.tests(task)]
    low, high = LADDERS[row["budget"]]
    return asdict(bit_gain(task.model, inputs, bits=(low, high), budget=row["budget"], weights=row["cost"]))


def run_cell(data: Data, plain: Any, backbone: str, seed: int, row: ROW, args: argparse.Namespace) -> ROW:
    """Tune a quantised copy at one budget and judge it."""
    torch.manual_seed(seed + 100)
    uniform = row["assignment"] == "uniform"
    bits = (int(row["budget"]),) if uniform else LADDERS[row["budget"]]
    chosen = {
        "name": "amq", "backbone": backbone, "arguments": sizes_of(data, backbone), "bits": list(bits),
        "budget": row["budget"], "assignment": "oracle" if row["assignment"] == "change" else row["assignment"],
        "weights": row["cost"], "oracle": "change" if row["assignment"] == "change" else "loss",
        "auxiliary_channels": args.auxiliary_channels, "count_auxiliary": not args.free_auxiliary, "exploration": 0.0,
    }  # fmt: skip
    model = data.model(chosen)
    model.main = quantize(deepcopy(plain), bits, weights=row["cost"])
    task = data.task(model)
    found: ROW = {"untuned": judge(data, task)[0]}
    if row["assignment"] == "auxiliary":
        found["auxiliary_share"] = model.auxiliary_share
        learn(data, task, args.teach, 1e-3, seed, alone=True)
    learn(data, task, args.steps, 1e-3, seed + 1)
    error, more = judge(data, task)
    return found | {"error": error} | more


def learn(data: Data, task: Any, steps: int, lr: float, seed: int, *, alone: bool = False) -> None:
    """Adam with a cosine schedule; ``alone``: only the auxiliary network."""
    task.train()
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(parameter_groups(task, lr), lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        batch = data.batch(task, generator)
        if alone:
            loss = torch.stack([task.model.teach(inputs, truth) for inputs, truth in data.pairs(task, batch)]).mean()
        else:
            loss = task.loss(batch)["loss"]
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(task.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    task.eval()


@torch.no_grad()
def judge(data: Data, task: Any) -> tuple[float, ROW]:
    """Relative L2 error; cost over that of uniform bits; rank correlation of scores with change and with oracle."""
    task.eval()
    model, errors, seen = task.model, [], {"cost_over_uniform": [], "rank_change": [], "rank_oracle": []}  # type: ignore[var-annotated]
    origin = -task.output_norm.shift / task.output_norm.scale if data.problem != "wake" else 0.0
    for inputs, truth in data.tests(task):
        counted = slice(None) if inputs.counted is None else inputs.counted
        if hasattr(model, "assign"):
            oracle = model.oracle_scores(inputs, truth)
            scores = oracle if model.assignment == "oracle" else None
            bits = model.assign(inputs, scores)
            with assigned(model.main, bits):
                out = model.main(inputs)
            unit = MeshBits.uniform(int(model.budget), **inputs.counts())
            uniform = bit_operations(unit, inputs, row_costs(model.main))
            seen["cost_over_uniform"].append(float(model.bit_operations(inputs, bits) / uniform))
            if model.assignment in ("random", "gradient", "auxiliary"):
                ours, change = model.scores(inputs), model.change(inputs)
                for key, other in (("rank_change", change), ("rank_oracle", oracle)):
                    seen[key].append(float(spearmanr(ours[counted], other[counted]).statistic))
        else:
            out = model(inputs)
        wrong, right = (out - truth)[counted], (truth - origin)[counted]
        part = [wrong[:, c].norm() / right[:, c].norm() for c in task.spec.slices().values()]
        errors.append(float(torch.stack(part).mean()))
    means = {key: round(statistics.mean(values), 4) for key, values in seen.items() if values}
    return statistics.mean(errors), means


def table(out: Path) -> None:
    """Mean and spread over the seeds, and what the break-even share says."""
    rows = [json.loads(line) for file in sorted(out.glob("cells_*.jsonl")) for line in file.read_text().splitlines()]
    lines: list[str] = []
    for problem, backbone in product(PROBLEMS, BACKBONES):
        mine = [row for row in rows if row["problem"] == problem and row["backbone"] == backbone]
        full = [row for row in mine if row["kind"] == "float32"]
        if not full:
            continue
        budgets = sorted({row["budget"] for row in mine if row["kind"] == "cell"})
        costs = [cost for cost in COSTS if any(row.get("cost") == cost for row in mine)]
        lines += [f"**{problem}, {backbone}** (float32: {told(full, 'before')}, tuned as long: {told(full, 'error')}; "
                  f"{len({row['seed'] for row in full})} seeds)", "",
                  "| | " + " | ".join(f"{cost}, {b:g} bits" for cost, b in product(costs, budgets)) + " |",
                  "|---" * (1 + len(costs) * len(budgets)) + "|"]  # fmt: skip
        for assignment in ASSIGNMENTS:
            cells = [told(chosen(mine, "cell", cost, b, assignment), "error") for cost, b in product(costs, budgets)]
            lines.append(f"| {assignment} | " + " | ".join(cells) + " |")
        shares = {
            "noise share needed / held / foreseen": ("needed", "held", "foreseen"),
            "noise mixed / uniform, untuned": ("mixed", "uniform"),
        }
        for name, keys in shares.items():
            cells = []
            for cost, b in product(costs, budgets):
                gains = chosen(mine, "gain", cost, b)
                cells.append(" / ".join(f"{statistics.mean(g[key] for g in gains):.2g}" for key in keys if gains))
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        ranks = [told(chosen(mine, "cell", c, b, "auxiliary"), "rank_change", 1.0) for c, b in product(costs, budgets)]
        lines += ["| rank of the auxiliary | " + " | ".join(ranks) + " |", ""]
    (out / "table.md").write_text("\n".join(lines) + "\n")


def chosen(rows: list[ROW], kind: str, cost: str, budget: float, assignment: str | None = None) -> list[ROW]:
    """Rows of one cell of the table."""
    key = (kind, cost, budget, assignment)
    return [row for row in rows if (row["kind"], row.get("cost"), row.get("budget"), row.get("assignment")) == key]


def told(rows: list[ROW], key: str, factor: float = 100.0) -> str:
    """Mean, and in brackets the standard deviation over the seeds where there are several."""
    values = [factor * row[key] for row in rows if key in row]
    if not values:
        return ""
    spread = f" ({statistics.stdev(values):.2f})" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f}{spread}"


if __name__ == "__main__":
    main()
