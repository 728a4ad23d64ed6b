"""Seconds of one forward pass on the integer path beside float32, end to end, with its profile.

    python benchmarks/integer_speed.py                 # 20,000 nodes, two threads
    python benchmarks/integer_speed.py --nodes 2000 --repeats 1
    python benchmarks/integer_speed.py --profile       # where the time goes, per kind of operation

The networks have random weights: speed does not depend on them. Mixed: the cost of uniform 5 bits, some
nodes at 8 bits and the others at 4. Rounds of all versions alternate, the best of each counts: other
work disturbs all alike.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from scipy.spatial import Delaunay

from meshops.data.edges import triangle_edges
from meshops.data.mesh_graph import MeshGraph
from meshops.models import create_model
from meshops.nn.bit_budget import mesh_bits
from meshops.nn.costs import cost_report, row_costs
from meshops.nn.integer_linear import to_integers
from meshops.nn.quantized import MeshBits, assigned, quantize
from meshops.ops.integer_backend import cpu_backend


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--nodes", type=int, default=20_000)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument("--profile", action="store_true")
    options.add_argument("--out", help="also write the numbers as JSON")
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    pos = torch.rand(args.nodes, 2)
    edges = triangle_edges(torch.as_tensor(Delaunay(pos.numpy()).simplices, dtype=torch.int64), args.nodes)
    graph = MeshGraph(pos=pos, x=torch.randn(args.nodes, 4), edge_index=edges)
    print(f"{args.nodes} nodes, {edges.shape[1]} edges, {args.threads} threads, integer version: {cpu_backend()}\n")
    print("| network | float32 | 8 bits | mixed 4, 8 | 4 bits | 8 bits | mixed | GMAC | difference at 8 bits |")
    print("|---|---|---|---|---|---|---|---|---|")
    numbers = {}
    for name in ("graphvit", "mppde", "meshgraphnet"):
        numbers[name] = measure(name, graph, args)
    if args.out:
        Path(args.out).write_text(json.dumps(numbers, indent=1))


def measure(name: str, graph: MeshGraph, args: Any) -> dict[str, float]:
    """One line of the table."""
    plain: Any = create_model(name, in_channels=4, out_channels=3, pos_dim=2).eval()
    model: Any = quantize(deepcopy(plain), (4, 8))
    inputs = plain.unpack(graph)
    costs, scores = row_costs(model), torch.randn(len(graph.pos))
    counts = inputs.counts()
    versions: dict[str, Callable[[], torch.Tensor]] = {"float32": lambda: plain(inputs)}
    plans = {
        "8 bits": MeshBits.uniform(8, **counts),
        "mixed": mesh_bits(scores, inputs, costs, widths=(4, 8), budget=5),
        "4 bits": MeshBits.uniform(4, **counts),
    }
    to_integers(model)
    for key, plan in plans.items():
        versions[key] = lambda plan=plan: run_at(model, inputs, plan)  # type: ignore[misc]
    best = dict.fromkeys(versions, float("inf"))
    with torch.no_grad():
        out = {key: version() for key, version in versions.items()}  # compiles, warms up
        for _ in range(args.repeats):
            for key, version in versions.items():
                start = time.perf_counter()
                version()
                best[key] = min(best[key], time.perf_counter() - start)
        if args.profile:
            profile(name, versions)
    gmac = sum(line.macs for line in cost_report(plain, inputs)) / 1e9
    error = float((out["8 bits"] - out["float32"]).norm() / out["float32"].norm())
    cells = [f"{best[key]:.2f} s" for key in versions]
    cells += [f"{best['float32'] / best[key]:.2f}x" for key in ("8 bits", "mixed")]
    print(f"| {name} | {' | '.join(cells)} | {gmac:.0f} | {error:.4f} |", flush=True)
    return best | {"gmac": gmac, "difference": error}


def run_at(model: Any, inputs: Any, bits: MeshBits) -> torch.Tensor:
    """Output at these bits."""
    with assigned(model, bits):
        out: torch.Tensor = model(inputs)
    return out


def profile(name: str, versions: dict[str, Callable[[], torch.Tensor]]) -> None:
    """Share of the time inside of the integer kernel, or of the largest operations of float32."""
    from unittest import mock

    from meshops.nn import integer_linear

    inside = [0.0]
    plain = integer_linear.integer_linear

    def timed(*arguments: Any, **settings: Any) -> torch.Tensor:
        start = time.perf_counter()
        out = plain(*arguments, **settings)
        inside[0] += time.perf_counter() - start
        return out

    for key in ("8 bits", "mixed"):
        inside[0] = 0.0
        with mock.patch.object(integer_linear, "integer_linear", timed):
            start = time.perf_counter()
            versions[key]()
        print(f"  {name}, {key}: {inside[0] / (time.perf_counter() - start):.0%} inside of the integer kernel")
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as record:
        versions["float32"]()
    table = sorted(record.key_averages(), key=lambda event: -event.self_cpu_time_total)[:6]
    total = sum(event.self_cpu_time_total for event in record.key_averages())
    print("  float32: " + ", ".join(f"{event.key} {event.self_cpu_time_total / total:.0%}" for event in table))


if __name__ == "__main__":
    main()
