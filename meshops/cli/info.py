"""``meshops info``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from meshops.cli.options import parser, print_json
from meshops.optional import available


def run(argv: Sequence[str]) -> int:
    """Print versions, devices and back ends."""
    options = parser("info", "Versions, devices and back ends: paste this into a bug report.")
    options.add_argument("--json", action="store_true", help="as JSON")
    args = options.parse_args(argv)

    import torch

    from meshops.models import list_models
    from meshops.ops import explain, knn_search, median_split, segment_sum
    from meshops.ops.integer_backend import explain_backend
    from meshops.ops.kernels.compile import kept_in
    from meshops.surrogate.base import software

    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    content = {
        **software(),
        "threads": torch.get_num_threads(),
        "cpu cores": os.cpu_count(),
        "gpus": devices or "none",
        "kernels": os.environ.get("MESHOPS_KERNELS", "auto"),
        "segments": explain(segment_sum, torch.zeros(2, 3)),
        "neighbours": explain(knn_search, torch.zeros(2, 3)),
        "integers": explain_backend(),
        "compiled in": kept_in(),
        "ball tree": explain(median_split, torch.zeros(2, 3)),
        "optional": {name: available(name) for name in ("tensorboard", "triton", "pymetis")},
        "models": list_models(),
    }
    if args.json:
        print_json(content)
        return 0
    width = max(map(len, content))
    for key, value in content.items():
        if isinstance(value, dict):
            value = ", ".join(f"{name} {'yes' if there else 'no'}" for name, there in value.items())
        elif isinstance(value, list):
            value = ", ".join(value)
        sys.stdout.write(f"{key:<{width}}  {value}\n")
    return 0
