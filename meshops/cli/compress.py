"""``meshops compress CHECKPOINT --budget 5 --out small.ckpt``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import meshops
from meshops.cli.options import existing_checkpoint, parser
from meshops.errors import InputError, some

EXAMPLES = """examples:
  meshops compress runs/darcy/model.ckpt --budget 5 --out small.ckpt
  meshops compress runs/plain_graphvit/model.ckpt --out small.ckpt          8 bits everywhere
  meshops predict small.ckpt car.vtk --out predictions

Networks trained with the model amq choose bits by their auxiliary predictor; plain mppde, graphvit and meshgraphnet are
quantised as they are, all rows alike unless --bits says otherwise, which is good at 8 bits and poor below 5.
"""


def run(argv: Sequence[str]) -> int:
    """Write a checkpoint whose weights are integers and whose predictions run on integers."""
    options = parser("compress", "A smaller, faster checkpoint: integer weights, bits where they are needed.", EXAMPLES)
    options.add_argument("checkpoint", help="model.ckpt of a run")
    text = "uniform bits that a prediction may cost; default: as trained, or 8"
    options.add_argument("--budget", type=float, help=text)
    text = "bits of the rows, for networks trained without quantisation"
    options.add_argument("--bits", type=int, nargs="+", help=text)
    options.add_argument("--out", help="file to write")
    args = options.parse_args(argv)
    if args.out is None:
        raise InputError("where to write is missing; give --out FILE.ckpt")
    out = Path(args.out)
    if out.exists():
        raise InputError(f"{out}: exists already; choose another --out or remove it")
    existing_checkpoint(args.checkpoint)
    surrogate = meshops.load(args.checkpoint)
    small = surrogate.compress(args.budget, args.bits)
    small.save(out)
    before, after = Path(args.checkpoint).stat().st_size, out.stat().st_size
    made: Any = small.task.made.arguments
    model: Any = small.task.model
    sys.stdout.write(
        f"{out}: {after / 1e6:.2f} MB instead of {before / 1e6:.2f} MB; rows at {some(model.bits)} bits, cost of "
        f"uniform {made['budget']:g} bits, assignment {made['assignment']}\n"
    )
    if surrogate.trust is not None and small.trust is None:
        sys.stdout.write(
            "its intervals were measured without this rounding and are left out; measure them again with "
            f"meshops evaluate {out} --calibrate ROOT\n"
        )
    ladder = model.ladder(model.budget)
    from meshops.nn.bit_gain import break_even_share, share_of_rows

    if model.assignment != "uniform" and len(ladder) == 2 and ladder[0] < ladder[1]:
        share = share_of_rows(min(ladder), max(ladder), model.budget, model.weight_bits)
        needed = break_even_share(min(ladder), max(ladder), model.budget)
        sys.stdout.write(
            f"this pays only if the {100 * share:.0f} % of the rows at {max(ladder)} bits hold at least "
            f"{100 * needed:.0f} % of the rounding noise; meshops.nn.bit_gain measures what they hold\n"
        )
    return 0
