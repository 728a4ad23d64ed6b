"""Fits of simulations in time: parts by trajectory or by frame, the winner, its folder."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch_geometric.data import Data

import meshops
from meshops.datasets.graph_trajectories import GraphTrajectories
from meshops.datasets.some_trajectories import SomeTrajectories
from meshops.errors import InputError
from meshops.selection import FitConfig, fit_trajectories
from meshops.selection.rollouts import parts_of


def waves(count: int, frames: int) -> GraphTrajectories:
    """Waves along a strip of triangles, each with its own phase."""
    pos = torch.stack(torch.meshgrid(torch.linspace(0, 1, 12), torch.linspace(0, 0.2, 3), indexing="ij"), -1)
    pos = pos.reshape(-1, 2)
    quads = torch.tensor(
        [[3 * i + j, 3 * i + j + 1, 3 * i + j + 4, 3 * i + j + 3] for i in range(11) for j in range(2)]
    )
    faces = torch.cat([quads[:, :3], quads[:, [0, 2, 3]]]).T
    graphs = []
    for i in range(count):
        time = torch.arange(frames).float()
        values = torch.sin(2 * math.pi * (pos[:, :1] - 0.04 * time) + i)
        graphs.append(Data(pos=pos, face=faces, y=values.unsqueeze(-1), name=f"wave_{i}"))
    return GraphTrajectories(graphs)


def test_whole_trajectories_judge_where_there_are_enough() -> None:
    data = waves(10, 12)
    parts = parts_of(data, FitConfig())
    assert set(parts.learn.cases) | set(parts.test.cases) == set(data.cases)
    assert not set(parts.learn.cases) & set(parts.test.cases) and len(parts.test) == 2
    assert set(parts.first.cases) | set(parts.look.cases) == set(parts.learn.cases)


def test_late_frames_judge_a_single_trajectory() -> None:
    data = waves(1, 50)
    parts = parts_of(data, FitConfig())
    assert (parts.learn.lengths, parts.test.lengths) == ((40,), (10,))
    torch.testing.assert_close(parts.test.window(0, 0, 10).state, data.window(0, 40, 10).state)
    assert parts.first.lengths[0] + parts.look.lengths[0] == 40
    assert "the last 20 % of the frames judge" in parts.note


def test_named_trajectories_judge_where_they_are_named() -> None:
    parts = parts_of(waves(4, 12), FitConfig(test=("wave_1",)))
    assert parts.test.cases == ("wave_1",) and "wave_1" not in parts.learn.cases


def test_too_few_frames_are_refused() -> None:
    with pytest.raises(InputError, match="2 trajectories of at least 6 frames are too few"):
        parts_of(waves(2, 6), FitConfig())


def test_a_choice_of_frames_counts_from_its_first() -> None:
    data = waves(3, 20)
    some = SomeTrajectories(data, [2, 0], frames=(0.5, 1.0))
    assert some.cases == ("wave_2", "wave_0") and some.lengths == (10, 10)
    torch.testing.assert_close(some.window(1, 3, 2).state, data.window(0, 13, 2).state)


def test_a_fit_of_waves_steps_better_than_standing_still(tmp_path: Path) -> None:
    config = FitConfig(minutes=0.4, out=str(tmp_path), networks=("mppde",))
    result = fit_trajectories(waves(6, 20), config)
    loaded = meshops.load(tmp_path / "model.ckpt")
    assert loaded.kind == "rollout" and loaded.task.made.name == "mppde"
    for name in ("metrics.json", "report.html"):
        assert (tmp_path / name).is_file()
    assert result.report.baselines


def test_without_a_network_nothing_steps_in_time(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"(?s)only networks step in time.*'time: last'"):
        fit_trajectories(waves(6, 12), FitConfig(out=str(tmp_path), networks=()))
    assert not any(tmp_path.iterdir())
