"""Members trained side by side are those that are trained one after the other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from meshops.selection import fit
from meshops.selection import search as search_module
from tests.selection.test_fit import quick, study


def test_members_of_processes_are_those_of_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_module, "slowness", lambda *_: 1.0)  # else a busy machine takes fewer steps
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = fit(study(8, same=False), quick(tmp_path / "alone", networks=("mspt",), minutes=0.5))
        torch.set_num_threads(2)
        ahead = fit(study(8, same=False), quick(tmp_path / "ahead", networks=("mspt",), minutes=0.5))
    finally:
        torch.set_num_threads(threads)
    one, other = ({c.name: c for c in result.found.candidates}["mspt"] for result in (alone, ahead))
    np.testing.assert_allclose(one.errors, other.errors, rtol=1e-4)
    assert one.note == other.note
