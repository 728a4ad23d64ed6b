"""Inputs and embedding of points."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close
from torch_geometric.data import Batch, Data

from meshops.errors import InputError
from meshops.nn.point_model import PointEmbedding, grid_distances, point_inputs, sinusoid


def test_inputs_of_a_graph_and_of_a_batch() -> None:
    one = Data(pos=torch.rand(5, 2))
    inputs = point_inputs(one)
    assert inputs.pos is one.pos and inputs.x.shape == (5, 0) and inputs.time is None
    assert inputs.graph_ptr.tolist() == [0, 5]
    two = [Data(pos=torch.rand(n, 2), x=torch.rand(n, 3), time=torch.tensor([0.5])) for n in (4, 3)]
    both = point_inputs(Batch.from_data_list(two))
    assert both.graph_ptr.tolist() == [0, 4, 7] and both.x.shape == (7, 3)
    assert both.time is not None and both.time.shape == (2,)
    with pytest.raises(InputError, match="'batch' must be sorted"):
        point_inputs(Data(pos=torch.rand(2, 2), batch=torch.tensor([1, 0])))


def test_embedding_is_the_equation() -> None:
    embed = PointEmbedding(3, 8, pos_dim=2, time=True)
    pos, x = torch.rand(5, 4, 2), torch.rand(5, 4, 3)
    assert_close(embed(pos, x), embed.mlp(torch.cat([pos, x], 2)) + embed.placeholder)
    time = torch.tensor([0.1, 0.7])
    assert embed.time is not None
    assert_close(embed.at(time), embed.time(sinusoid(time, 8)))
    assert PointEmbedding(3, 8, pos_dim=2).at(time) is None
    assert PointEmbedding(0, 8, pos_dim=2)(pos).shape == (5, 4, 8)


def test_unified_positions() -> None:
    pos = torch.rand(6, 3) * 2 - 1
    distances = grid_distances(pos, 3)
    assert distances.shape == (6, 27)
    assert_close(distances[:, 0], (pos + 1).norm(dim=1))
    assert_close(distances[:, 26], (pos - 1).norm(dim=1))
    embed = PointEmbedding(1, 8, pos_dim=3, unified_pos=3)
    x = torch.rand(6, 1)
    assert_close(embed(pos, x), embed.mlp(torch.cat([distances, x], 1)) + embed.placeholder)


def test_sinusoid() -> None:
    values = sinusoid(torch.tensor([0.0, 2.0]), 6)
    assert_close(values[0], torch.tensor([1.0, 1, 1, 0, 0, 0]))
    angles = 2 * torch.tensor([1.0, 1e4 ** (-1 / 3), 1e4 ** (-2 / 3)])
    assert_close(values[1], torch.cat([angles.cos(), angles.sin()]))


def test_error_messages() -> None:
    embed = PointEmbedding(3, 8, pos_dim=2, time=True)
    with pytest.raises(InputError, match="2 coordinates in pos and 3 features in x, got 3 and 3"):
        embed(torch.rand(4, 3), torch.rand(4, 3))
    with pytest.raises(InputError, match="2 coordinates in pos and 3 features in x, got 2 and 0"):
        embed(torch.rand(4, 2))
    with pytest.raises(InputError, match="built with time=True"):
        embed.at(None)
