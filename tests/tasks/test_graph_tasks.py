"""Fields on graphs and rollouts on moving meshes: losses, round trips, compression, bad input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from meshops.tasks.graph_surrogate import FieldsSurrogate, MeshRolloutSurrogate
from meshops.tasks.mesh_rollout import MeshRolloutSpec, MeshRolloutTask, frames_of, n_rmse
from torch.testing import assert_close
from torch_geometric.data import Batch

import meshops
from meshops.data.edges import triangle_edges
from meshops.data.mesh_graph import MeshGraph
from meshops.datasets.mesh_trajectory import MeshWindow
from meshops.errors import CheckpointError, InputError
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


@pytest.mark.usefixtures("integer_backend")
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


def test_bad_graphs_are_explained(tmp_path: Path) -> None:
    s = surrogate()
    with pytest.raises(InputError, match="3-D, the model was made for 2-D"):
        s.predict(MeshGraph(pos=torch.rand(5, 3), x=torch.rand(5, 1)))
    with pytest.raises(InputError, match="0 input channels in x, the model takes 'a'"):
        s.predict(MeshGraph(pos=torch.rand(5, 2)))
    s.save(tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match="kind 'fields', not 'mesh_rollout'"):
        MeshRolloutSurrogate.load(tmp_path / "a.ckpt")


def window(frames: int = 5, seed: int = 0) -> MeshWindow:
    g = torch.Generator().manual_seed(seed)
    pos = torch.rand(1, 20, 2, generator=g) + 0.01 * torch.arange(frames).view(-1, 1, 1)
    kind = torch.zeros(frames, 20, dtype=torch.long)
    kind[:, :5] = 6
    triangles = torch.randint(0, 20, (30, 3), generator=g)
    return MeshWindow(pos, torch.randn(frames, 20, 3, generator=g) + 2, kind, (triangles,) * frames)


def rollout_task(pushforward: int = 0) -> MeshRolloutTask:
    torch.manual_seed(0)
    spec = MeshRolloutSpec(
        fields=("v", "p"), sizes=(2, 1), units=("", ""), weights=(1.0, 0.1), forced=(6,), pushforward=pushforward
    )
    model = create_model("meshgraphnet", **spec.model_arguments(), channels=8, depth=1)
    return MeshRolloutTask.fit(model, spec, [frames_of(window())])


def test_forced_nodes_follow_the_data_and_others_the_model() -> None:
    task, w = rollout_task(), window()
    out = task.rollout(frames_of(w))
    assert_close(out[:, :5], w.state[1:, :5], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(out[:, 5:], w.state[1:, 5:])
    other = MeshWindow(w.pos, w.state.clone(), w.node_type, w.triangles)
    other.state[1:, 5:] = 0  # the truth of free nodes is not looked at
    assert torch.equal(task.rollout(frames_of(other))[:, 5:], out[:, 5:])


def test_the_loss_unrolls_through_all_steps() -> None:
    task, w = rollout_task(), window(3)
    frames = frames_of(w)
    state, total = task.norm(w.state[0]), torch.zeros(())
    for frame in range(2):
        state = task.step(frames, frame, state)
        error = (state - task.norm(w.state[frame + 1]))[5:].square()
        total = total + error[:, :2].mean() + 0.1 * error[:, 2].mean()
    assert_close(task.loss([frames])["loss"], total / 2)


def test_pushforward_has_gradients_of_one_step_only() -> None:
    torch.manual_seed(1)
    task, frames = rollout_task(pushforward=2), frames_of(window())
    seen = set()
    for _ in range(20):
        seen.add(round(float(task.loss([frames])["loss"].detach()), 5))
    assert len(seen) == 3  # after 0, 1 or 2 steps without gradients


def test_n_rmse_is_the_formula_of_the_readme() -> None:
    spec = rollout_task().spec
    truth, out, sigma = torch.randn(4, 6, 3), torch.randn(4, 6, 3), torch.tensor([1.0, 2.0, 3.0])
    slow = []
    for t in range(4):
        v = sum(float((out[t, i, :2] - truth[t, i, :2]).norm()) for i in range(6)) / 6 / 5**0.5
        p = sum(abs(float(out[t, i, 2] - truth[t, i, 2])) for i in range(6)) / 6 / 3
        slow.append(v + p)
    want = [sum(slow[: t + 1]) / (t + 1) for t in range(4)]
    assert_close(n_rmse(out, truth, spec, sigma), torch.tensor(want))


@pytest.mark.usefixtures("integer_backend")
def test_rollout_surrogates_survive_saving_and_compression(tmp_path: Path) -> None:
    task = rollout_task().eval()
    arguments = {**task.spec.model_arguments(), "channels": 8, "depth": 1}
    s = MeshRolloutSurrogate(task, "meshgraphnet", arguments)
    s.save(tmp_path / "a.ckpt")
    frames = frames_of(window(seed=3))
    assert torch.equal(meshops.load(str(tmp_path / "a.ckpt")).rollout(frames), s.rollout(frames))
    small = s.compress()
    small.save(tmp_path / "b.ckpt")
    assert torch.equal(meshops.load(str(tmp_path / "b.ckpt")).rollout(frames), small.rollout(frames))
    assert float((small.rollout(frames) - s.rollout(frames)).norm() / s.rollout(frames).norm()) < 0.05


def test_edges_of_triangles() -> None:
    edges = triangle_edges(torch.tensor([[0, 1, 2], [2, 1, 3]]), 4)
    assert sorted(map(tuple, edges.T.tolist())) == sorted(
        [(a, b) for a, b in [(0, 1), (1, 0), (1, 2), (2, 1), (0, 2), (2, 0), (1, 3), (3, 1), (2, 3), (3, 2)]]
    )
    assert bool((edges[1, 1:] >= edges[1, :-1]).all())
