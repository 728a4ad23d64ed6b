"""The page of a prediction: conditions as asked, held-out errors, no flow that nobody stated."""

from __future__ import annotations

from pathlib import Path

import meshops
from meshops.selection import FitConfig, fit
from meshops.surrogate.outputs import write_prediction
from tests.selection.test_reduced import cases


def test_the_page_gives_conditions_and_errors_and_invents_no_flow(tmp_path: Path) -> None:
    fit(cases(12, same=True), FitConfig(minutes=0.2, out=str(tmp_path / "fit"), networks=()))
    surrogate = meshops.load(tmp_path / "fit" / "model.ckpt")
    (name,) = surrogate.spec.conditions
    prediction = surrogate.predict(conditions={name: 0.123})
    page = write_prediction(prediction, surrogate, tmp_path, "case", report=True).report
    assert page is not None
    text = page.read_text(encoding="utf-8")
    assert "0.123" in text and "error on held-out cases" in text
    assert "kg/m³" not in text and "free stream" not in text
