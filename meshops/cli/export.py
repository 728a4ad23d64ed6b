"""``meshops export CKPT --out net.onnx``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from meshops.cli.options import console, existing_checkpoint, output_folder, parser, print_json


def run(argv: Sequence[str]) -> int:
    """Export a network."""
    options = parser(
        "export",
        "The network of a surrogate with its patches as inputs, for other runtimes: ONNX (.onnx) or torch.export\n"
        "(.pt2). The file is run on a graph of another size and compared with PyTorch before it is kept.",
        "examples:\n  meshops export runs/mspt/model.ckpt --out net.onnx\n  meshops export CKPT --out net.pt2 --json\n",
    )
    options.add_argument("checkpoint", help="model.ckpt of a run whose model is MSPT")
    text = "file that ends in .onnx or .pt2 (default: %(default)s)"
    options.add_argument("--out", default="network.onnx", help=text)
    options.add_argument("--json", action="store_true", help="print names of inputs and outputs as JSON")
    args = options.parse_args(argv)
    existing_checkpoint(args.checkpoint)
    output_folder(str(Path(args.out).parent))

    from meshops.surrogate import load
    from meshops.surrogate.export import export

    made = export(load(args.checkpoint), args.out)
    if args.json:
        print_json({**made.about, "difference": made.difference})
    else:
        sys.stdout.write(f"inputs {', '.join(made.about['inputs'])}; fields {', '.join(made.about['fields'])}\n")
    console().print(f"differs from PyTorch by {made.difference:.1e} of the largest output\n  -> {made.path}")
    return 0
