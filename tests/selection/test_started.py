"""A fit that goes on from a surrogate of other data: what wins, and intervals from the cases held out in turn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import meshops
from meshops.errors import InputError
from meshops.selection import FitConfig, fit
from meshops.selection import run as run_module
from meshops.selection.search import Found
from meshops.selection.started import Started, join
from meshops.training import compared
from tests.training.test_adapt import bodies, start  # noqa: F401 - a fixture


@pytest.mark.parametrize(("location", "nodes"), [("cell", 600), ("point", compared.NODES)])
def test_what_goes_on_is_calibrated_by_the_cases_held_out_in_turn(
    start: Path,  # noqa: F811
    tmp_path: Path,
    location: str,
    nodes: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def going_on_wins(found: Found, made: Started) -> bool:  # these fields are so simple that components are better
        join(found, made)
        return True

    monkeypatch.setattr(run_module, "join", going_on_wins)
    monkeypatch.setattr(compared, "NODES", nodes)  # fewer than the 1280 cells of a case, and more
    cases = bodies(6, 1.6, location, seed=5)
    result = fit(cases[:5], FitConfig(minutes=0.1, out=str(tmp_path), networks=(), start=str(start), test=0))
    trust = result.surrogate.trust
    assert any(candidate.name.startswith("continued") for candidate in result.found.candidates)
    assert trust is not None and len(trust.cases) == 5 and trust.how == "cross-validation"
    known = result.surrogate.novelty
    assert known is not None and known.shapes == tuple(f"body_{i}" for i in range(5))
    made = meshops.load(tmp_path / "model.ckpt").predict(cases[5])
    assert (len(made.fields["p"]) == 1280) and bool(made.case.notes) == (location == "point")
    assert made.level == 0.8 and set(made.numbers) == {"cd", "cl"}
    for number in made.numbers.values():
        assert number.low is not None and number.high is not None and number.low < number.value < number.high
    wide = float(np.median(made.widths["p"]))
    assert 0.02 < wide / 1.6 < 2.0  # of a pressure between -1.6 and 1.6
    with pytest.raises(InputError, match="need 9 held-out cases, this surrogate has 5"):
        result.surrogate.predict(cases[5], level=0.9)
