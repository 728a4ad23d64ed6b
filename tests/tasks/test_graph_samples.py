"""Graphs as samples, and what the inputs of a body are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch_geometric.data import Data

from meshops.datasets import ShapeNetCar
from meshops.errors import InputError
from meshops.tasks import Draw, FieldsSettings, FieldsTask, GraphSamples, Spec


def graphs(count: int) -> list[Data]:
    return [Data(pos=torch.full((3 + i, 2), float(i))) for i in range(count)]


def test_the_last_graphs_are_held_out_and_draws_say_what_a_batch_is() -> None:
    samples = GraphSamples(graphs(4), Spec(), held_out=1)
    assert (len(samples), len(samples.held_out), samples.describe()) == (3, 1, "3 training graphs")
    assert samples.offers == {"points"}
    batch = samples.batch([Draw(2, seed=0), Draw(0, seed=9)])
    assert batch.ptr.tolist() == [0, 5, 8]
    assert batch.pos[:, 0].tolist() == [2.0] * 5 + [0.0] * 3


def test_something_must_be_left_to_learn_from() -> None:
    with pytest.raises(InputError, match=r"0\.\.3, got 4"):
        GraphSamples(graphs(4), Spec(), held_out=4)


def test_places_and_normals_of_a_set_are_not_given_beside_those_of_the_body(tmp_path: Path) -> None:
    cars = ShapeNetCar(ShapeNetCar.standin(tmp_path, num=2), "all", domain="surface")
    wanted = {"fields": ("pressure",), "nodes": 64, "radii": (0.1,), "potential_flow": False}
    body = FieldsTask.samples(cars, FieldsSettings(**wanted))  # type: ignore[arg-type]
    assert cars[0].x_names == ("x", "y", "z", "sdf", "normal_x", "normal_y", "normal_z")
    assert body.spec.bodies and body.spec.inputs == ()
    assert body.graphs[0].x.shape[1] == len(body.spec.feature_names())
    plain = FieldsTask.samples(cars, FieldsSettings(fields=("pressure",), geometry="none"))
    assert plain.spec.inputs == cars[0].x_names
