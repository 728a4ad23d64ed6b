"""Seven studies as they lie, two commands each, ``meshops look`` and ``meshops fit``: minutes, winner, held-out errors.

    OMP_NUM_THREADS=1 python benchmarks/two_commands.py front plate foam wake --minutes 4
    OMP_NUM_THREADS=1 python benchmarks/two_commands.py cars bodies aerodynamics --start runs/demo/model.ckpt

``front``, ``plate``, ``wake`` and ``foam`` are first made by solvers of our own (``meshops generate``). ``cars``,
``bodies`` and ``aerodynamics`` (continued from ``--start``) are folders of others under ``--shared``; none of their
files is changed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MADE = {"front": ("front", 100), "plate": ("plate", 30), "wake": ("wake_files", 12), "foam": ("foam", 20)}
FOUND = {"cars": "plaid_cars", "bodies": "ahmed_rans", "aerodynamics": "ahmedml_sample"}


def command(*words: str) -> float:
    """Seconds that a command of meshops took; its last lines, if it failed."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "meshops", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"meshops {' '.join(words)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return time.perf_counter() - start


def study(name: str, args: argparse.Namespace, at: Path) -> str:
    """Look at one study, fit it, and say how it went."""
    if name in MADE:
        kind, cases = MADE[name]
        data = at / name
        command("generate", kind, "--cases", str(cases), "--seed", "0", "--out", str(data))
    else:
        data = args.shared / FOUND[name]
    more = ["--start", str(args.start)] if name == "aerodynamics" else []
    more += ["--networks", args.networks] if args.networks else []
    look, fit = f"{at}/{name}_look", f"{at}/{name}_fit"
    looked = command("look", str(data), "--out", look)
    took = command("fit", f"{look}/study.yaml", "--minutes", str(args.minutes), "--out", fit, "--overwrite", *more)
    told = json.loads(Path(fit, "metrics.json").read_text())
    rows = {"fit": told["mean"], **told["baselines"]}
    errors = "; ".join(f"{row} {_errors(values)}" for row, values in rows.items() if row == row.strip())
    if told["kind"] == "rollout":
        tried = {"chosen": min(told["first_looks"], key=told["first_looks"].get), "first looks": told["first_looks"]}
    else:
        found = {way: round(row["error"], 4) for way, row in told["cross_validation"]["candidates"].items()}
        tried = {"chosen": told["chosen"], "tried": found}
    return f"{name}: look {looked:.0f} s, fit {took / 60:.1f} min; {errors}; {tried}"


def _errors(row: dict[str, float]) -> str:
    return " ".join(f"{key} {value:.4g}" for key, value in row.items() if key.endswith(("_l2", "_error")) or "@" in key)


def main() -> None:
    """Run them one after the other."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("studies", nargs="+", choices=[*MADE, *FOUND])
    options.add_argument("--minutes", type=float, default=4.0, help="of each fit")
    options.add_argument("--shared", type=Path, default=Path("../shared/data"))
    options.add_argument("--start", type=Path, default=Path("runs/demo/model.ckpt"))
    options.add_argument("--networks", help="that may be tried; none: none")
    options.add_argument("--keep", type=Path, help="a folder to keep data, pages and fits in")
    args = options.parse_args()
    with tempfile.TemporaryDirectory() as made:
        at = args.keep or Path(made)
        at.mkdir(parents=True, exist_ok=True)
        for name in args.studies:
            sys.stdout.write(study(name, args, at) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
