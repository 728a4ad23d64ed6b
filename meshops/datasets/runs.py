"""Numbered runs: the folders ``run_<i>`` of AhmedML and DrivAerML, and which of them train and test."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from meshops.datasets.base import one_of, read_number_table
from meshops.errors import InputError, MissingDataError, listing, warn

TRAIN_SHARE = 0.8
METHODS = ("auto", "ab-upt", "hash")

Splits = dict[str, tuple[int, ...]]
SplitMethod = str | Mapping[str, str | Sequence[int]]


def find_runs(root: Path, name: str, advice: str) -> tuple[int, ...]:
    """Numbers of the folders ``run_<i>`` in ``root``, ascending.

    Raises:
        MissingDataError: There is none; ``advice`` says what to do.
    """
    matches = (re.fullmatch(r"run_(\d+)", path.name) for path in root.iterdir() if path.is_dir())
    runs = sorted(int(match.group(1)) for match in matches if match)
    if not runs:
        raise MissingDataError(f"{name}: no folder run_<i> in {root}; {advice}")
    return tuple(runs)


def split_runs(
    present: Sequence[int],
    method: SplitMethod,
    *,
    name: str,
    key: str,
    published: Callable[[], Splits],
    advice: Callable[[str], str],
) -> Splits:
    """Runs of each split, ascending.

    Args:
        present: Run numbers on disk.
        method: ``"ab-upt"``: the published protocol, needs all runs. ``"hash"``: see :func:`hash_split`. A mapping such
            as ``{"train": "1-24", "test": [25, 26]}``. ``"auto"``: the published one where all runs are there, else
            ``"hash"`` with a warning.
        name: Dataset, for messages.
        key: What is hashed with the number.
        published: The published splits.
        advice: Says what to download for a run.

    Returns:
        ``{"train": ..., "val": ..., "test": ...}``, or the names of an explicit mapping.

    Raises:
        InputError: Unknown method, or a run listed twice.
        MissingDataError: A run is needed and not on disk.
    """
    if isinstance(method, Mapping):
        splits = {str(split): parse_runs(runs, name) for split, runs in method.items()}
        _check_disjoint(splits, name)
    else:
        one_of(f"{name}: split_method", method, METHODS)
        splits = published()
        every = {run for runs in splits.values() for run in runs}
        if method == "hash" or (method == "auto" and not every <= set(present)):
            splits = hash_split(present, key)
            if method == "auto":
                sizes = f"{len(splits['train'])} train and {len(splits['test'])} test"
                warn(
                    f"{name}: {len(present)} of {len(every)} runs on disk, so the published split does not apply; "
                    f"split by a hash of the run number into {sizes}"
                )
    missing = sorted({run for runs in splits.values() for run in runs} - set(present))
    if missing:
        raise MissingDataError(
            f"{name}: the split needs {len(missing)} runs that are not on disk: {listing(missing)}; "
            f"{advice(str(missing[0]))}, or give split_method='hash' or explicit lists"
        )
    return splits


def hash_split(runs: Sequence[int], key: str) -> Splits:
    """Train (about 80 %) and test by SHA-256 of ``<key>/<run>``: a run's side never depends on the other runs."""

    def share(run: int) -> float:
        return int.from_bytes(hashlib.sha256(f"{key}/{run}".encode()).digest()[:8], "big") / 2**64

    train = tuple(run for run in sorted(runs) if share(run) < TRAIN_SHARE)
    return {"train": train, "val": (), "test": tuple(run for run in sorted(runs) if share(run) >= TRAIN_SHARE)}


def parse_runs(runs: str | Sequence[int], name: str = "runs") -> tuple[int, ...]:
    """Run numbers from a list or from text such as ``"1-24,30"``, ascending and without repeats.

    Raises:
        InputError: The text is no list of numbers and ranges.

    Example:
        >>> parse_runs("1-3,7")
        (1, 2, 3, 7)
    """
    if not isinstance(runs, str):
        return tuple(sorted({int(run) for run in runs}))
    numbers: set[int] = set()
    for part in runs.split(","):
        match = re.fullmatch(r"\s*(?:run_)?(\d+)\s*(?:-\s*(\d+)\s*)?", part)
        if match is None:
            raise InputError(f"{name}: {part.strip()!r} in {runs!r} is no run number; write runs as '1-24,30'")
        first, last = int(match.group(1)), int(match.group(2) or match.group(1))
        if last < first:
            raise InputError(f"{name}: the range {part.strip()!r} runs backwards; write it as '{last}-{first}'")
        numbers.update(range(first, last + 1))
    return tuple(sorted(numbers))


def row_of_run(path: Path, run: int) -> dict[str, float]:
    """Row of a run in a table of all runs, without its number; {} where it has none.

    Raises:
        InputError: The table names no runs, or cannot be read.
    """
    rows = read_number_table(path)
    key = next((column for column in rows[0] if column.lower() in ("run", "run_id", "i")), None)
    if key is None:
        raise InputError(f"{path}: no column 'run'; columns: {listing(rows[0])}")
    row = next((row for row in rows if int(row[key]) == run), {})
    return {column: value for column, value in row.items() if column != key}


def _check_disjoint(splits: Splits, name: str) -> None:
    seen: dict[int, str] = {}
    for split, runs in splits.items():
        for run in runs:
            if run in seen:
                raise InputError(f"{name}: run {run} is in both '{seen[run]}' and '{split}'; list each run once")
            seen[run] = split
