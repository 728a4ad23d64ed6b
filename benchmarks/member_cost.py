"""What a prediction by all members costs, beside one by a single network: from an opened mesh, features included.

    python benchmarks/member_cost.py runs/demo/model.ckpt

The shape is the new one of the demo, 8,172 triangles after refinement. Least of five times each, in turns.
"""

from __future__ import annotations

import argparse
import sys
import time
from copy import deepcopy

import meshops
from meshops.cli.demo import NEW_SHAPE
from meshops.solvers.ahmed_body import ahmed_body
from meshops.tasks.fields import FieldsTask

REPEATS = 5


def main() -> None:
    """Time both and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("checkpoint", help="of a fit whose model is a blend")
    surrogate = meshops.load(options.parse_args().checkpoint)
    task = surrogate.task
    assert isinstance(task, FieldsTask)
    members = list(task.model.members)  # type: ignore[arg-type]
    alone = deepcopy(task)
    alone.model = next(member for member in members if type(member).__name__ == "MSPT")
    case = task.open(ahmed_body(**NEW_SHAPE))
    times: dict[str, list[float]] = {"all": [], "one": []}
    for _ in range(1 + REPEATS):
        for name in times:
            case.prepared = None  # features are computed again
            begin = time.perf_counter()
            if name == "all":
                surrogate.predict_case(case)
            else:
                alone.predict(case, passes=2)
            times[name].append(time.perf_counter() - begin)
    best = {name: min(values[1:]) for name, values in times.items()}
    sys.stdout.write(
        f"{len(members)} members with intervals {best['all']:.2f} s, one network with two passes {best['one']:.2f} s: "
        f"{best['all'] / best['one']:.2f} times\n"
    )


if __name__ == "__main__":
    main()
