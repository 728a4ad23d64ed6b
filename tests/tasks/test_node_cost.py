"""What nodes cost: linear in them, as large as a real run, and chunks that fit into what is free."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import meshops
from meshops import folders
from meshops.data.mesh_graph import MeshGraph
from meshops.errors import InputError
from meshops.nn.live_memory import LiveBytes
from meshops.tasks import FieldsTask, node_cost
from meshops.tasks.build import build_model
from meshops.tasks.fields_spec import FieldsSpec
from meshops.tasks.inference import predict_nodes
from meshops.tasks.node_cost import Law, check_features, fitting_chunk, prediction_cost, training_cost


def task_of(nodes: int, **model: object) -> FieldsTask:
    spec = FieldsSpec(fields=("a",), sizes=(1,), units=("",), dim=3, inputs=("u", "v"), conditions=(), numbers=(),
                      quantity_units=(), location="point", nodes=nodes)  # fmt: skip
    settings = {"name": "mspt", "channels": 16, "depth": 2, "num_heads": 2, "num_patches": 4, **model}
    made, _ = build_model(settings, spec.model_arguments(), frozenset({"points", "graph"}))
    task = FieldsTask.empty(made, spec.to_dict())
    task.position[-1] = 1.0
    return task.eval()


def test_laws_go_through_what_was_measured() -> None:
    law = Law.through(200, 10.0, 40.0)
    assert law.power == 2 and law.at(100) == pytest.approx(10) and law.at(400) == pytest.approx(160)
    assert law.most(160.0) == pytest.approx(400, abs=1)
    assert Law.through(200, 10.0, 12.0).power == 1  # what does not grow is not trusted to stay


@pytest.mark.parametrize("chunk", [512, 2048])
def test_the_probe_says_what_a_prediction_takes(chunk: int) -> None:
    task = task_of(256)
    graph = MeshGraph(pos=torch.rand(4096, 3), x=torch.rand(4096, 2))
    with LiveBytes() as live:
        predict_nodes(task, graph, passes=1, chunk_size=chunk)
    order = 8 * 4096 * 3  # of the nodes, dealt into subsets
    cost = prediction_cost(task)
    assert cost.bytes.power == pytest.approx(1, abs=0.05)
    assert cost.bytes.at(chunk) == pytest.approx(live.peak, rel=0.35, abs=order)
    assert cost.flops.at(chunk) > 0 and cost.calls > 10


def test_checkpointing_takes_less_and_a_model_without_says_so() -> None:
    task = task_of(256, depth=4)
    plain, again = training_cost(task), training_cost(task, checkpoint=True)
    assert plain is not None and again is not None
    assert again.bytes.at(256) < 0.7 * plain.bytes.at(256) and again.flops.at(256) > plain.flops.at(256)
    assert plain.bytes.at(256) > 3 * prediction_cost(task).bytes.at(256)
    assert task.model.checkpoint is False and not task.training  # the task itself is as it was
    assert all(p.grad is None for p in task.parameters())


def test_the_chunk_shrinks_with_the_memory_to_whole_subsets_and_then_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task = task_of(256)
    each = prediction_cost(task).bytes.at(256) / node_cost.SHARE
    free = {"bytes": 1e12}
    monkeypatch.setattr(node_cost, "available_memory", lambda: free["bytes"])
    assert fitting_chunk(task, 100_000) == node_cost.CHUNK
    assert fitting_chunk(task, 1000) == node_cost.CHUNK  # small meshes are not looked at
    free["bytes"] = 5.5 * each
    assert fitting_chunk(task, 100_000) == 5 * 256
    free["bytes"] = 0.9 * each
    with pytest.raises(InputError, match=r"one subset of 256 nodes.*end other programs.*fewer task\.nodes"):
        fitting_chunk(task, 100_000)
    whole = task_of(0)
    free["bytes"] = prediction_cost(whole).bytes.at(30_000)
    with pytest.raises(InputError, match=r"all 30,000 nodes.*train on subsets"):
        fitting_chunk(whole, 30_000)
    free["bytes"] *= 3
    assert fitting_chunk(whole, 30_000) == node_cost.CHUNK
    free["bytes"] = 4.0 * 2 * 1e6
    with pytest.raises(InputError, match=r"big\.vtu: the features of its 1,000,000 nodes take about 0\.0 GB"):
        check_features(task, 1_000_000, "big.vtu")


def test_the_least_of_machine_group_and_limit_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in (("memory.max", "3000000\n"), ("memory.current", "1500000\n"),
                       ("memory.stat", "anon 9\ninactive_file 500000\n")):  # fmt: skip
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(folders, "CGROUP", tmp_path)
    assert folders.available_memory() == 2_000_000
    (tmp_path / "memory.max").write_text("max\n")
    machine = folders.available_memory()
    assert machine > 1e7
    try:
        folders.limit_memory(1.0)
        assert folders.available_memory() == 0
    finally:
        folders.limit_memory(None)


def test_the_chunk_does_not_change_the_prediction(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from meshops.datasets import AhmedMini

    surrogate, mesh = meshops.load(checkpoint), AhmedMini("test").mesh(0)
    asked: list[int] = []
    monkeypatch.setattr("meshops.tasks.fields.fitting_chunk", lambda task, nodes: asked.append(nodes) or 2048)
    one, two = surrogate.predict(mesh), surrogate.predict(mesh, chunk_size=50_000)
    assert asked == [mesh.n_cells]
    for name, values in one.fields.items():
        assert abs(values - two.fields[name]).max() < 1e-4 * abs(values).max()
