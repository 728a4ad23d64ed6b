"""Fields on graphs: losses, round trips, compression, bad input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from meshops.tasks.graph_surrogate import FieldsSurrogate
from torch_geometric.data import Batch

import meshops
from meshops.data.edges import triangle_edges
from meshops.data.mesh_graph import MeshGraph
from meshops.errors import InputError
from meshops.models import create_model
from meshops.tasks.fields import FieldsSpec, FieldsTask, relative_errors


def graph(n: int = 40, seed: int = 0) -> MeshGraph:
    g = torch.Generator().manual_seed(seed)
    pos = torch.rand(n, 2, generator=g)
    return MeshGraph(
        pos=pos, x=torch.randn(n, 1, generator=g), x_names=("a",), y=torch.randn(n, 3, generator=g) + 5,
        y_names=("p", "u"), y_sizes=(1, 2), y_units=("Pa", "m"),
    )  # fmt: skip


def surrogate(name: str = "amq", **changes: Any) -> FieldsSurrogate:
    torch.manual_seed(0)
    graphs = [graph(seed=i) for i in range(3)]
    spec = FieldsSpec.of(graphs[0])
    arguments: dict[str, Any] = {**spec.model_arguments(), **changes}
    if name == "amq":
        arguments = {"arguments": {"channels": 64, "depth": 2}, **arguments}
    else:
        arguments = {"channels": 64, "depth": 2, **arguments}
    task = FieldsTask.fit(create_model(name, **arguments), spec, graphs).eval()
    return FieldsSurrogate(task, name, arguments)


def test_the_loss_is_the_relative_error_in_physical_units() -> None:
    plain = surrogate("mppde")
    graphs = [graph(seed=1), graph(30, seed=2)]
    loss = plain.task.loss(Batch.from_data_list(graphs))
    errors = [relative_errors(plain.predict(g.clone()), g) for g in graphs]
    for name in ("p", "u"):
        assert float(loss[name].detach()) == pytest.approx(sum(e[name] for e in errors) / 2, rel=1e-4)
    assert float(loss["loss"].detach()) == pytest.approx(float((loss["p"] + loss["u"]).detach()) / 2)


def test_predictions_have_names_and_shapes() -> None:
    out = surrogate().predict(graph())
    assert {k: tuple(v.shape) for k, v in out.items()} == {"p": (40,), "u": (40, 2)}


@pytest.mark.parametrize("name", ["amq", "mppde", "graphvit", "meshgraphnet"])
def test_a_compressed_checkpoint_predicts_the_same_and_is_smaller(name: str, tmp_path: Path) -> None:
    large = surrogate(name)
    small = large.compress()
    before, after = (s.save(tmp_path / f"{i}.ckpt").stat().st_size for i, s in enumerate((large, small)))
    assert after < 0.75 * before  # 4 and 8 bits are 1.5 bytes a weight instead of 4, plus layers at 8 bits
    loaded = meshops.load(str(tmp_path / "1.ckpt"))
    assert loaded.integers and not any(v.requires_grad for v in loaded.task.model.buffers())
    g = graph(seed=9)
    for key, value in small.predict(g.clone()).items():
        assert torch.equal(loaded.predict(g.clone())[key], value)
    exact = large.predict(g.clone())
    if name != "amq":  # 8 bits everywhere
        assert float((exact["p"] - loaded.predict(g.clone())["p"]).norm() / exact["p"].norm()) < 0.02


def test_budgets_of_compressed_surrogates() -> None:
    large = surrogate(bits=(4, 8))
    assert large.compress(budget=6).model_arguments["budget"] == 6
    plain = surrogate("mppde")
    assert plain.compress(budget=5).model_arguments["assignment"] == "gradient"
    assert plain.compress(budget=4, bits=(4,)).model_arguments["assignment"] == "uniform"
    for source, arguments, text in (
        (large, {"budget": 3}, "outside the bits of the rows, 4, 8"),
        (large, {"bits": (2, 4)}, "fixed in training"),
        (surrogate(bits=(6, 10), budget=8), {}, "integers hold 2 to 8 bits"),
        (large.compress(), {}, "compressed already"),
    ):
        with pytest.raises(InputError, match=text):
            source.compress(**arguments)


def test_bad_graphs_are_explained() -> None:
    s = surrogate()
    with pytest.raises(InputError, match="3-D, the model was made for 2-D"):
        s.predict(MeshGraph(pos=torch.rand(5, 3), x=torch.rand(5, 1)))
    with pytest.raises(InputError, match="0 input channels in x, the model takes 'a'"):
        s.predict(MeshGraph(pos=torch.rand(5, 2)))


def test_edges_of_triangles() -> None:
    edges = triangle_edges(torch.tensor([[0, 1, 2], [2, 1, 3]]), 4)
    assert sorted(map(tuple, edges.T.tolist())) == sorted(
        [(a, b) for a, b in [(0, 1), (1, 0), (1, 2), (2, 1), (0, 2), (2, 0), (1, 3), (3, 1), (2, 3), (3, 2)]]
    )
    assert bool((edges[1, 1:] >= edges[1, :-1]).all())
