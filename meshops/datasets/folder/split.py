"""Which cases are learnt from and which are tested on: by name, or drawn at random with groups kept together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from meshops.datasets.folder.description import SPLITS
from meshops.datasets.folder.patterns import matches
from meshops.errors import InputError, listing

if TYPE_CHECKING:
    from meshops.datasets.folder.cases import CaseFile
    from meshops.datasets.folder.description import Description
    from meshops.datasets.folder.matching import CaseRows


def split_cases(study: Description, cases: Sequence[CaseFile], rows: CaseRows, split: str) -> tuple[CaseFile, ...]:
    """Cases of a split.

    Raises:
        InputError: No such split, no case in it, or a name of ``test`` that no case has.
    """
    if split not in SPLITS:
        raise InputError(f"split must be one of {listing(SPLITS)}, got {split!r}")
    if split == "all":
        return tuple(cases)
    column = study.groups
    groups = [rows.texts.get(case.name, {}).get(column, case.name) if column else case.name for case in cases]
    tested = set(named(study.test, cases)) if isinstance(study.test, tuple) else drawn(groups, study.test, study.seed)
    labels = [case.name for case in cases] if isinstance(study.test, tuple) else groups
    chosen = tuple(c for c, label in zip(cases, labels, strict=True) if (label in tested) == (split == "test"))
    if not chosen:
        raise InputError(
            f"{study.root}: no case for the split '{split}' of {len(cases)} cases with test: {study.test}; "
            "correct the entry 'test'"
        )
    return chosen


def named(wanted: Sequence[str], cases: Sequence[CaseFile]) -> list[str]:
    """Names of the cases that names or patterns (of names or of paths) mean.

    Raises:
        InputError: One fits no case.
    """
    out = []
    for wish in wanted:
        found = [
            case.name
            for case in cases
            if wish == case.name or matches(PurePosixPath(case.name), wish) or matches(case.relative, wish)
        ]
        if not found:
            raise InputError(f"test: no case is called '{wish}'; cases: {listing(case.name for case in cases)}")
        out += found
    return out


def drawn(groups: Sequence[str], share: float, seed: int) -> set[str]:
    """Groups drawn at random, at least one where there are two; the same for the same names and seed."""
    labels = sorted(set(groups))
    count = min(max(1, round(share * len(labels))), len(labels) - 1) if share > 0 and len(labels) > 1 else 0
    order = np.random.default_rng(seed).permutation(len(labels))
    return {labels[i] for i in order[:count]}
