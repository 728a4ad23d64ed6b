"""Who should get the bits? Five assignments at five equal costs, on generated Darcy flow and hyperelasticity.

    make study-amq                                  # 3 seeds, two processes, about 40 minutes
    python benchmarks/amq_study.py --smoke          # a minute, numbers mean nothing

For each problem, backbone and seed one float32 network is trained, then fine-tuned with quantisation once per
assignment (uniform, random, gradient, oracle, auxiliary) with the budget drawn anew every step, and tested at the cost
of uniform 3, 4, 5, 6 and 8 bits. The auxiliary network is inside of the cost. Writes results.json, table.md,
pareto.png (error over cost) and seconds.png (error over measured time on integers).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing as mp
import os
import time
from copy import deepcopy
from itertools import product
from pathlib import Path
from typing import Any

BUDGETS = (3.0, 4.0, 5.0, 6.0, 8.0)
LADDERS = {3.0: (2, 4), 4.0: (3, 5), 5.0: (4, 6), 6.0: (5, 7), 8.0: (7, 9)}
ASSIGNMENTS = ("uniform", "random", "gradient", "oracle", "auxiliary")
BACKBONES = {
    "mppde": {"channels": 64, "depth": 4},
    "graphvit": {"channels": 32, "tokens": 64, "depth": 2, "attention_depth": 2, "cluster_size": 10},
}
PROBLEMS = ("darcy", "hyperelastic")


def main() -> None:
    """Run or resume the study."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--out", default="runs/study_amq")
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--workers", type=int, default=2)
    options.add_argument("--pretrain", type=int, default=500, help="float32 steps")
    options.add_argument("--steps", type=int, default=150, help="quantised steps of each assignment")
    options.add_argument("--nodes", type=int, default=200)
    options.add_argument("--cases", type=int, default=64, help="training cases; a quarter as many to test on")
    options.add_argument("--smoke", action="store_true")
    args = options.parse_args()
    if args.smoke:
        args.seeds, args.pretrain, args.steps, args.nodes, args.cases = 1, 10, 4, 80, 4
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    start = time.time()
    os.environ |= {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    jobs = [(p, b, s, vars(args)) for s, p, b in product(range(args.seeds), PROBLEMS, BACKBONES)]
    with mp.get_context("spawn").Pool(args.workers) as pool:
        pool.map(make_cases, [(problem, vars(args)) for problem in PROBLEMS], chunksize=1)
        rows = [row for part in pool.imap_unordered(run_group, jobs, chunksize=1) for row in part]
    report(rows, out, time.time() - start, args)


def make_cases(job: tuple[str, dict[str, Any]]) -> None:
    """Solve the cases of one problem, once."""
    import torch

    from meshops.solvers.mesh_registry import generate_mesh

    problem, args = job
    path = Path(args["out"]) / f"{problem}_{args['nodes']}_{args['cases']}.pt"
    if path.exists():
        return
    count = args["cases"] + max(1, args["cases"] // 4)
    graphs = [generate_mesh(problem, seed, num_points=args["nodes"]) for seed in range(count)]
    keep = ("pos", "x", "y", "edge_index", "x_names", "y_names", "y_sizes", "y_units")
    torch.save([{key: graph[key] for key in keep if key in graph} for graph in graphs], path)


def run_group(job: tuple[str, str, int, dict[str, Any]]) -> list[dict[str, Any]]:
    """All assignments of one problem, backbone and seed."""
    import torch

    from meshops.nn.quantized import quantize
    from meshops.tasks import FieldsSettings, FieldsTask
    from meshops.tasks.build import build_model

    problem, backbone, seed, args = job
    done = Path(args["out"]) / f"rows_{problem}_{backbone}_{seed}.json"
    if done.exists():
        rows: list[dict[str, Any]] = json.loads(done.read_text())
        return rows
    torch.set_num_threads(1)
    samples = read(Path(args["out"]) / f"{problem}_{args['nodes']}_{args['cases']}.pt", args["cases"])
    training, test = samples.graphs, samples.held_out
    known = samples.spec.model_arguments()
    torch.manual_seed(seed)
    sizes = dict(BACKBONES[backbone])
    if not samples.spec.inputs and backbone == "mppde":
        sizes["fourier"] = 3
    plain, _ = build_model({"name": backbone, **sizes}, known, samples.offers)
    task = FieldsTask.fit(plain, samples, FieldsSettings())
    learn(task, training, args["pretrain"], 2e-3, seed)
    base = {"problem": problem, "backbone": backbone, "seed": seed}
    rows = [base | {"assignment": "float32", "budget": 32.0, "cost": 1024.0, "error": judge(task, test, None)[0]}]
    for assignment in ASSIGNMENTS:
        start = time.time()
        torch.manual_seed(seed + 100)
        uniform = assignment == "uniform"
        bits = tuple(int(b) for b in BUDGETS) if uniform else tuple(sorted({b for v in LADDERS.values() for b in v}))
        chosen = {
            "name": "amq", "backbone": backbone, "arguments": sizes, "bits": bits, "budget": 5.0, "budgets": BUDGETS,
            "ladders": None if uniform else LADDERS, "assignment": assignment, "explore": args["steps"] // 5,
        }  # fmt: skip
        model: Any = build_model(chosen, known, samples.offers)[0]
        model.main = quantize(deepcopy(plain), bits)
        tuned = FieldsTask.fit(model, samples, FieldsSettings())
        if assignment == "auxiliary":
            learn(tuned, training, args["steps"], 1e-3, seed, alone=True)
        learn(tuned, training, args["steps"], 1e-3, seed)
        for budget in BUDGETS:
            model.set_budget(budget)
            error, cost, rank = judge(tuned, test, budget)
            rows.append(base | {"assignment": assignment, "budget": budget, "cost": cost, "error": error, "rank": rank,
                                "seconds": round(time.time() - start, 1)})  # fmt: skip
    done.write_text(json.dumps(rows))
    print(problem, backbone, seed, "done", flush=True)
    return rows


def read(path: Path, cases: int) -> Any:
    """Samples of stored cases; those behind the first ``cases`` are held out."""
    import torch

    from meshops.data.mesh_graph import MeshGraph
    from meshops.tasks import Context, FieldsSettings, FieldsTask

    graphs = [MeshGraph(**values) for values in torch.load(path, weights_only=True)]
    return FieldsTask.samples(graphs, FieldsSettings(), Context(held_out=len(graphs) - cases))


def learn(task: Any, graphs: list[Any], steps: int, lr: float, seed: int, *, alone: bool = False) -> None:
    """Adam with a cosine schedule on batches of four graphs; ``alone``: only the auxiliary network."""
    import torch
    from torch_geometric.data import Batch

    from meshops.nn.optim import parameter_groups

    task.train()
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(parameter_groups(task, lr), lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        chosen = torch.randint(len(graphs), (4,), generator=generator).tolist()
        batch = Batch.from_data_list([graphs[i] for i in chosen])
        if alone:
            inputs = task.model.unpack(task.inputs(batch))
            loss = task.model.teach(inputs, task.output_norm(batch.y))
        else:
            loss = task.loss(batch)["loss"]
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(task.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    task.eval()


def judge(task: Any, graphs: list[Any], budget: float | None) -> tuple[float, float, float]:
    """Relative L2 error, cost over that of one bit by one bit, rank correlation of scores and true log loss."""
    import torch
    from scipy.stats import spearmanr

    from meshops.nn.bit_budget import bit_operations
    from meshops.nn.costs import row_costs
    from meshops.nn.quantized import MeshBits, assigned

    errors, costs, ranks = [], [], []
    model = task.model
    with torch.no_grad():
        for graph in graphs:
            inputs = model.unpack(task.inputs(graph))
            truth = task.output_norm(graph.y)
            if budget is None:
                out = model(inputs)
            else:
                true_loss = model.oracle_scores(inputs, truth)
                scores = true_loss if model.assignment == "oracle" else None
                bits = model.assign(inputs, scores)
                with assigned(model.main, bits):
                    out = model.main(inputs)
                unit = MeshBits.uniform(8, **inputs.counts())
                costs.append(float(model.bit_operations(inputs, bits) /
                                   bit_operations(unit, inputs, row_costs(model.main))) * 64)  # fmt: skip
                if model.assignment not in ("uniform", "oracle"):
                    ranks.append(spearmanr(model.scores(inputs), true_loss).statistic)
            shift = task.output_norm.shift / task.output_norm.scale
            part = [(out - truth)[:, s].norm() / (truth + shift)[:, s].norm() for s in task.spec.slices().values()]
            errors.append(float(torch.stack(part).mean()))
    mean = lambda values: sum(values) / len(values) if values else float("nan")  # noqa: E731
    return mean(errors), mean(costs), mean(ranks)


def time_integers(out: Path, args: Any) -> dict[tuple[str, str, str, float], float]:
    """Seconds of one pass over 32 meshes at once on integers, by problem, backbone, assignment and budget (to 6 bits).

    Weights are random: speed does not depend on them. Scores are computed in the time, the oracle's are given.
    """
    import torch
    from torch_geometric.data import Batch

    from meshops.nn.integer_linear import to_integers
    from meshops.nn.quantized import assigned
    from meshops.tasks.build import build_model

    found: dict[tuple[str, str, str, float], float] = {}
    for problem, backbone, assignment in product(PROBLEMS, BACKBONES, ASSIGNMENTS):
        samples = read(out / f"{problem}_{args.nodes}_{args.cases}.pt", args.cases)
        batch = Batch.from_data_list([*samples.graphs, *samples.held_out][:32])
        uniform = assignment == "uniform"
        chosen = {
            "name": "amq", "backbone": backbone, "arguments": BACKBONES[backbone], "assignment": assignment,
            "bits": (3, 4, 5, 6, 8) if uniform else (2, 3, 4, 5, 6, 7), "budgets": BUDGETS[:4],
            "ladders": None if uniform else {b: LADDERS[b] for b in BUDGETS[:4]},
        }  # fmt: skip
        model: Any = build_model(chosen, samples.spec.model_arguments(), samples.offers)[0]
        to_integers(model)
        inputs = model.unpack(batch)
        scores = torch.randn(len(inputs.pos)) if assignment == "oracle" else None
        with torch.no_grad():
            for _, budget in product(range(8), BUDGETS[:4]):  # in turns: what disturbs one disturbs all
                model.set_budget(budget)
                start = time.perf_counter()
                with assigned(model.main, model.assign(inputs, scores)):
                    model.main(inputs)
                taken, key = time.perf_counter() - start, (problem, backbone, assignment, budget)
                found[key] = min(taken, found.get(key, taken))
    return found


def report(rows: list[dict[str, Any]], out: Path, seconds: float, args: Any) -> None:
    """Table of mean and spread over the seeds, and the pictures."""
    import statistics

    from meshops.viz.pareto import pareto_picture

    (out / "results.json").write_text(json.dumps({"seconds": round(seconds), "rows": rows}, indent=1))
    lines = [f"{round(seconds / 60)} minutes, {len({r['seed'] for r in rows})} seeds; relative L2 test error in %, mean"
             " (standard deviation over seeds).", ""]  # fmt: skip
    panels: dict[str, dict[str, list[tuple[float, float]]]] = {}
    clocks: dict[str, dict[str, list[tuple[float, float]]]] = {}
    taken = time_integers(out, args)
    for problem, backbone in product(PROBLEMS, BACKBONES):
        mine = [r for r in rows if r["problem"] == problem and r["backbone"] == backbone]
        full = [100 * r["error"] for r in mine if r["assignment"] == "float32"]
        lines += [f"**{problem}, {backbone}** (float32: {statistics.mean(full):.2f})", "",
                  "| assignment | " + " | ".join(f"{b:g} bits" for b in BUDGETS) + " | rank |",
                  "|---" * 7 + "|"]  # fmt: skip
        curves = panels.setdefault(f"{problem}, {backbone}", {})
        for assignment in ASSIGNMENTS:
            cells, points = [], []
            for budget in BUDGETS:
                found = [r for r in mine if r["assignment"] == assignment and r["budget"] == budget]
                errors = [100 * r["error"] for r in found]
                spread = statistics.stdev(errors) if len(errors) > 1 else 0.0
                cells.append(f"{statistics.mean(errors):.2f} ({spread:.2f})")
                points.append((statistics.mean(r["cost"] for r in found), statistics.mean(errors)))
            ranks = [r["rank"] for r in mine if r["assignment"] == assignment and r["rank"] == r["rank"]]
            lines.append(f"| {assignment} | " + " | ".join(cells) + f" | {statistics.mean(ranks):.2f} |" if ranks
                         else f"| {assignment} | " + " | ".join(cells) + " | |")  # fmt: skip
            curves[assignment] = points
            clocks.setdefault(f"{problem}, {backbone}", {})[assignment] = [
                (1000 * taken[problem, backbone, assignment, budget], points[i][1])
                for i, budget in enumerate(BUDGETS[:4])
            ]
        lines.append("")
    (out / "table.md").write_text("\n".join(lines))
    pareto_picture(panels, out / "pareto.png", xlabel="bit operations per multiply-accumulate", ylabel="error, %")
    pareto_picture(
        clocks, out / "seconds.png", xlabel="milliseconds for 32 meshes, on integers", ylabel="error, %", lines=False
    )
    print("\n".join(lines))


if __name__ == "__main__":
    main()
