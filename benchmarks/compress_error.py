"""Error of 8-bit integers beside float32, without further training, on the problems of the study of bits.

make study-amq                                              # solves the cases
python benchmarks/compress_error.py --data runs/study_amq   # some minutes
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path

import torch
from amq_study import BACKBONES, PROBLEMS, learn
from meshops.tasks.graph_surrogate import FieldsSurrogate

from meshops.data.mesh_graph import MeshGraph
from meshops.models import create_model
from meshops.tasks.fields import FieldsSpec, FieldsTask, relative_errors


def main() -> None:
    """Train 300 steps in float32, compress, compare."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", default="runs/study_amq")
    options.add_argument("--steps", type=int, default=300)
    args = options.parse_args()
    torch.set_num_threads(1)
    for problem, backbone in product(PROBLEMS, BACKBONES):
        stored = torch.load(Path(args.data) / f"{problem}_200_64.pt", weights_only=True)
        graphs = [MeshGraph(**values) for values in stored]
        training, test = graphs[:64], graphs[64:]
        spec = FieldsSpec.of(training[0])
        torch.manual_seed(0)
        arguments = {**spec.model_arguments(), **BACKBONES[backbone]}
        task = FieldsTask.fit(create_model(backbone, **arguments), spec, training)
        learn(task, training, args.steps, 2e-3, 0)
        large = FieldsSurrogate(task, backbone, arguments)
        errors = []
        for surrogate in (large, large.compress()):
            found = [relative_errors(surrogate.predict(graph.clone()), graph) for graph in test]
            errors.append(sum(sum(each.values()) / len(each) for each in found) / len(found))
        print(f"{problem}, {backbone}: float32 {errors[0]:.5f}, 8-bit integers {errors[1]:.5f}, "
              f"{100 * (errors[1] / errors[0] - 1):+.2f} %", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
