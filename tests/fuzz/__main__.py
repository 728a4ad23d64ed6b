"""Fuzz every reader and the loader of checkpoints with damaged files; prints a table, keeps what goes wrong.

    python -m tests.fuzz --count 20000 --keep found

Each input is made of a sound file by its number alone: ``--only READER --first NUMBER --count 1`` repeats it. All are
read in one process with limits of time and memory; one that ends or hangs it is counted and the rest go on in
another. Exit code 1 if anything but a documented error came out.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import faulthandler
import multiprocessing as mp
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

from tests.fuzz import mutate, seeds, targets

SECONDS, HANG = 60, 120  # of one input: more is too slow; more than this ends the process
MEMORY = 1000  # MB that one input may take
ADDRESSES = 8 << 30  # bytes of addresses of the process
# How often a kind of input is tried beside our own readers: others are read in another process, which damage ends or
# (Fluent, Kratos) sends round in circles until its time is up, and checks of data sets take long.
OWN = ("stl", "obj", "ply", "gmsh", "su2", "openfoam", "calculix")
WEIGHTS = {
    **dict.fromkeys(OWN, 1.0), "mesh": 0.3, "load": 3.0, "check": 0.15, "run": 0.05, "shapenet_car": 0.01,
    "store": 0.05, "ahmed_ml": 0.01, "fluent": 0.03, "mdpa": 0.03,
}  # fmt: skip
FIGURES = ("read", "refused", "wrong", "slow", "memory", "crash", "hang")


class TooSlow(BaseException):
    """Raised by the alarm."""


def damage(seed: seeds.Seed, place: Path, number: int, others: list[bytes]) -> Path:
    """Damage one file of a seed that lies at ``place``; returns the file."""
    draw = random.Random(f"{seed.name} {number}")
    path = place / draw.choice(seed.files)
    raw = path.read_bytes()
    structured = mutate.in_hdf5 if raw[:4] == b"\x89HDF" else mutate.in_checkpoint if path.suffix == ".ckpt" else None
    if structured is not None and draw.random() < 0.6:
        with contextlib.suppress(KeyError):
            structured(path, draw)
            return path
        path.write_bytes(raw)
    path.write_bytes(mutate.damaged(raw, draw, draw.choice(others)))
    return path


def work(seed_list: list[seeds.Seed], jobs: list[tuple[int, int]], keep: str, pipe: Any) -> None:
    """Do the jobs (seed, number) and report each; runs in a process of its own."""
    others = [(s.root / s.files[0]).read_bytes()[:20_000] for s in seed_list]
    signal.signal(signal.SIGALRM, _alarm)
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for which, number in jobs:
        seed = seed_list[which]
        with tempfile.TemporaryDirectory(prefix="fuzz", ignore_cleanup_errors=True) as folder:
            place = Path(folder) / "case"
            shutil.copytree(seed.root, place)
            file = damage(seed, place, number, others)
            pipe.send(("begin", which, number, str(file), file.read_bytes()))
            start, before = time.monotonic(), _peak(reset=True)
            signal.setitimer(signal.ITIMER_REAL, SECONDS)
            try:
                what, said = targets.outcome(seed.action, place / seed.given, seed.data)
            except TooSlow:
                what, said = "slow", traceback.format_exc()
            except BaseException:
                what, said = "wrong", traceback.format_exc()
            signal.setitimer(signal.ITIMER_REAL, 0)
            memory = _peak() - before
            if what in ("read", "refused") and memory > MEMORY:
                what, said = "memory", f"{memory:.0f} MB: {said}"
            pipe.send(("end", what, said, time.monotonic() - start, memory))


def _alarm(*_: object) -> None:
    raise TooSlow


def _peak(*, reset: bool = False) -> float:
    """Largest memory of this process since the last reset, MB."""
    if reset:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    return 0.0


def drive(
    seed_list: list[seeds.Seed], jobs: list[tuple[int, int]], keep: Path, tell: Any, until: float
) -> dict[str, Any]:
    """Run all jobs, or those before a time, in a new process after each that ended one."""
    figures: dict[str, Any] = collections.defaultdict(lambda: collections.Counter())
    context = mp.get_context("fork")
    left, done = list(jobs), 0
    while left and time.monotonic() < until:
        mine, theirs = context.Pipe(duplex=False)
        process = context.Process(target=work, args=(seed_list, left, str(keep), theirs))
        process.start()
        theirs.close()
        running: Any = None
        while True:
            try:
                found = mine.recv() if mine.poll(HANG) else None
            except EOFError:
                found = ()
            if found and found[0] == "begin":
                running = found
                continue
            if found:
                _, what, said, seconds, memory = found
            elif running is None:
                break
            else:
                process.kill() if found is None else None
                process.join()
                what, said = ("hang", "") if found is None else ("crash", f"exit code {process.exitcode}")
                seconds, memory = float(HANG), 0.0
            _, which, number, file, content = running
            running = None
            _count(figures, seed_list[which], what, seconds, memory)
            if what not in ("read", "refused"):
                _save(keep, seed_list[which], number, file, content, what, said)
                tell(f"{what}: {seed_list[which].name} {number}: {said.strip().splitlines()[-1][:200] if said else ''}")
            left, done = left[1:], done + 1
            if done % 1000 == 0:
                tell(f"{done} of {len(jobs)}")
            if not found or not left or time.monotonic() > until:
                break
        process.kill()
        process.join()
    return figures


def _count(figures: dict[str, Any], seed: seeds.Seed, what: str, seconds: float, memory: float) -> None:
    row = figures[seed.name.partition(":")[0] if not seed.data else seed.name.replace(": ", " ")]
    row[what] += 1
    row["seconds"] = max(row["seconds"], seconds)
    row["sum"] += seconds
    row["MB"] = max(row["MB"], memory)


def _save(keep: Path, seed: seeds.Seed, number: int, file: str, content: bytes, what: str, said: str) -> None:
    folder = keep / f"{what} {seed.name.replace(': ', ' ').replace('/', '_')} {number}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / Path(file).name).write_bytes(content)
    (folder / "said.txt").write_text(f"{file}\n{said}\n")


def shared_out(every: list[seeds.Seed], count: int, first: int) -> list[tuple[int, int]]:
    """(seed, number) of all inputs, seeds in turn; data sets, whose check takes long, less often."""
    shares = [
        WEIGHTS.get(seed.data, WEIGHTS.get(seed.name.partition(":")[0], WEIGHTS.get(seed.action, 1.0)))
        for seed in every
    ]
    many = [-(-count * share // sum(shares)) for share in shares]
    jobs = [(i, first + n) for n in range(int(max(many))) for i in range(len(every)) if n < many[i]]
    return jobs[:count]


def table(figures: dict[str, Any]) -> str:
    """A row per reader."""
    head = ["reader", "inputs", *FIGURES, "s in all", "longest s", "most MB"]
    rows = [
        [
            name,
            sum(row[key] for key in FIGURES),
            *(row[key] for key in FIGURES),
            f"{row['sum']:.0f}",
            f"{row['seconds']:.1f}",
            f"{row['MB']:.0f}",
        ]
        for name, row in sorted(figures.items())
    ]
    total = ["all", *(sum(row[i] for row in rows) for i in range(1, len(FIGURES) + 2))]
    ends = [f"{of(float(row[i]) for row in rows):g}" for i, of in ((-3, sum), (-2, max), (-1, max))]
    lines = [head, ["---"] * len(head), *rows, [*total, *ends]]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def main() -> int:
    """Entry point."""
    options = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.partition("\n")[0])
    options.add_argument("--count", type=int, default=2000, help="inputs in all (default: %(default)s)")
    options.add_argument("--first", type=int, default=0, help="number of the first input of each seed")
    options.add_argument("--minutes", type=float, default=1e6, help="stop after so long, and tell what was done")
    options.add_argument("--only", default="", help="only seeds whose name holds this")
    options.add_argument("--keep", type=Path, default=Path("fuzz_found"), help="where inputs that did harm are kept")
    options.add_argument("--seeds", type=Path, help="folder where the sound files stay for the next call")
    args = options.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    faulthandler.enable()
    start = time.monotonic()
    with contextlib.ExitStack() as stack:
        folder = args.seeds or stack.enter_context(tempfile.TemporaryDirectory(prefix="seeds"))
        wants_runs = any(name in args.only or args.only in f"{name}:" for name in ("checkpoint", "run"))
        every = [s for s in seeds.known(Path(folder), runs=wants_runs) if args.only in s.name]
        jobs = shared_out(every, args.count, args.first)
        until = start + 60 * args.minutes
        figures = drive(every, jobs, args.keep, lambda text: print(text, file=sys.stderr, flush=True), until)
    print(table(figures))
    count = sum(row[key] for row in figures.values() for key in FIGURES)
    print(f"\n{count} inputs of {len(every)} sound files in {time.monotonic() - start:.0f} s")
    return 1 if any(row[key] for row in figures.values() for key in FIGURES[2:]) else 0


if __name__ == "__main__":
    sys.exit(main())
