"""Numbers and peaks of a report: an interval in one column, the unit with the name."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from meshops.surrogate.outputs import PEAKS, _number_tables
from meshops.tasks.prediction import Estimate


def test_tables_have_one_column_for_an_interval_and_end_with_what_a_number_rests_on() -> None:
    peak = Estimate(1.5, 1.25, 2.0, 0.9, "Pa", "field", 1.4, place=(0.1, 0.2, 0.3), within=0.05, true=1.6)
    numbers = {"cd": Estimate(0.29, basis="constant")}
    prediction: Any = SimpleNamespace(level=0.9, numbers=numbers, peaks={"max p": peak})
    tables = _number_tables(prediction)
    assert tables["Numbers"] == (
        ["", "value", "interval (90 %)", "mean of the training", "rests on"],
        [["drag coefficient", 0.29, "–", "–", "constant"]],
    )
    columns, rows = tables[PEAKS]
    assert dict(zip(columns, rows[0], strict=True)) == {
        "": "max p [Pa]",
        "value": 1.5,
        "interval (90 %)": "1.25 to 2",
        "mean of the training": 1.4,
        "in the file": 1.6,
        "place (within) [m]": "0.1, 0.2, 0.3 (0.05)",
        "rests on": "field",
    }
