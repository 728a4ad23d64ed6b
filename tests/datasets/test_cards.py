"""The data files beside the dataset cards say what the code does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from meshops.datasets import AhmedMini
from meshops.datasets.ahmed.ml import ab_upt_split

CARDS = Path(__file__).resolve().parents[2] / "datasets"


def test_split_list():
    listed = json.loads((CARDS / "ahmed_ml" / "split_ab_upt.json").read_text())
    assert {name: tuple(runs) for name, runs in listed.items()} == ab_upt_split()


def test_statistics_of_ahmed_mini():
    listed = json.loads((CARDS / "ahmed_ml" / "ahmed_mini_statistics.json").read_text())
    y = torch.cat([graph.y for graph in AhmedMini("train")]).double()
    assert (listed["cases"], listed["polygons"]) == (24, len(y))
    for name, values in (("mean", y.mean(0)), ("std", y.std(0, correction=0))):
        written = [*listed[name]["pMean"], *listed[name]["wallShearStressMean"]]
        assert written == pytest.approx(values.tolist(), rel=1e-5)
