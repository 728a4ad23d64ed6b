"""Rollouts on meshes that may move: forced nodes, losses, clusters, reports, lists of graphs, bad input."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.testing import assert_close
from torch_geometric.data import Data

from meshops.datasets import Eagle
from meshops.datasets.graph_trajectories import GraphTrajectories
from meshops.datasets.mesh_trajectory import MeshWindow
from meshops.errors import DataWarning, InputError
from meshops.models import create_model
from meshops.models.registry import model_arguments
from meshops.tasks import MeshRollout, RolloutSettings, RolloutTask
from meshops.tasks.base import Context, Draw, get_task
from meshops.tasks.build import build_model
from meshops.tasks.mesh_states import Frames, MeshRolloutSpec, mesh_norms, n_rmse
from meshops.tasks.rollout_mesh import stored_cluster_size


def window(frames: int = 5, seed: int = 0) -> MeshWindow:
    g = torch.Generator().manual_seed(seed)
    pos = torch.rand(1, 20, 2, generator=g) + 0.01 * torch.arange(frames).view(-1, 1, 1)
    kind = torch.zeros(frames, 20, dtype=torch.long)
    kind[:, :5] = 6
    triangles = torch.randint(0, 20, (30, 3), generator=g)
    return MeshWindow(pos, torch.randn(frames, 20, 3, generator=g) + 2, kind, (triangles,) * frames)


def rollout_task(name: str = "meshgraphnet", **changes: Any) -> MeshRollout:
    torch.manual_seed(0)
    given = {"fields": ("v", "p"), "sizes": (2, 1), "units": ("", ""), "weights": (1.0, 0.1), "forced": (6,)}
    spec = MeshRolloutSpec(**given | changes)
    small: dict[str, Any] = {"channels": 8, "depth": 1}
    small = {"arguments": {"channels": 64, "depth": 1}, "bits": (4, 8)} if name == "amq" else small
    model = create_model(name, **spec.model_arguments(), **small)
    return MeshRollout(model, spec, *mesh_norms(spec, [(window().state, window().pos)]))


def test_forced_nodes_follow_the_data_and_others_the_model() -> None:
    task, w = rollout_task(), window()
    out = task.rollout(w)
    assert_close(out[:, :5], w.state[1:, :5], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(out[:, 5:], w.state[1:, 5:])
    other = MeshWindow(w.pos, w.state.clone(), w.node_type, w.triangles)
    other.state[1:, 5:] = 0  # the truth of free nodes is not looked at
    assert torch.equal(task.rollout(Frames.of(other))[:, 5:], out[:, 5:])


@pytest.mark.parametrize("loss", ["mse", "mae", "nmse"])
@pytest.mark.parametrize("residual", [True, False])
def test_the_loss_unrolls_through_all_steps(loss: Any, residual: bool) -> None:
    task, w = rollout_task(loss=loss, residual=residual), window(3)
    frames = Frames.of(w)
    state, total = task.norm(w.state[0]), torch.zeros(())
    for frame in range(2):
        truth = task.norm(w.state[frame + 1])
        wanted = truth - state.detach() if residual else truth
        state = task.step(frames, frame, state)
        error = (state - truth)[5:]
        error = error.abs() if loss == "mae" else error.square()
        for weight, channels in ((1, slice(0, 2)), (0.1, slice(2, 3))):
            size = wanted[5:, channels].square().mean() if loss == "nmse" else torch.ones(())
            total = total + weight * error[:, channels].mean() / size
    assert_close(task.loss([frames])["loss"], total / 2)


def test_a_model_of_zero_keeps_the_state_or_says_the_mean() -> None:
    for residual in (True, False):
        task, w = rollout_task(residual=residual, forced=()), window(2)
        for p in task.model.parameters():
            torch.nn.init.zeros_(p)
        assert_close(task.rollout(w)[0], w.state[0] if residual else task.norm.shift.expand(20, 3))


def test_models_with_losses_of_their_own_bring_them() -> None:
    with pytest.warns(DataWarning, match="use a wider backbone"):
        parts = rollout_task("amq").loss([Frames.of(window(3))])
    assert set(parts) == {"loss", "v", "p", "auxiliary"}


def test_forced_nodes_are_neither_taught_nor_given_bits() -> None:
    """Through the loss of the task: targets of forced nodes may be anything, and rollouts give them the fewest bits."""
    task, frames = rollout_task("amq"), Frames.of(window(2))
    model: Any = task.model
    model.auxiliary_share, seen = 0.0, []
    original = model.teach
    model.teach = lambda inputs, *rest: seen.append(inputs.counted) or original(inputs, *rest)
    task.loss([frames])
    assert [kept.tolist() for kept in seen] == [[False] * 5 + [True] * 15]
    inputs: Any = task.inputs(frames, 0, task.norm(frames.state[0]))
    bits = model.assign(inputs).plans["node"].bits
    assert bits[:5].tolist() == [model.bits[0]] * 5 and bool((bits[5:] == model.bits[1]).any())
    model.target = "step"
    wild = frames._replace(state=frames.state.clone())
    wild.state[1, :5] = 1e6
    with torch.random.fork_rng():
        one = task.loss([frames])["auxiliary"]
    with torch.random.fork_rng():
        other = task.loss([wild])["auxiliary"]
    assert_close(one, other, rtol=0.02, atol=1e-3)


def test_pushforward_has_gradients_of_one_step_only() -> None:
    torch.manual_seed(1)
    task, frames = rollout_task(pushforward=2), Frames.of(window())
    seen = set()
    for _ in range(20):
        seen.add(round(float(task.loss([frames])["loss"].detach()), 5))
    assert len(seen) == 3  # after 0, 1 or 2 steps without gradients


def test_noise_is_on_free_nodes_in_training_alone() -> None:
    task, frames = rollout_task(noise=0.5), Frames.of(window(2))
    assert task.eval().loss([frames])["loss"] == task.loss([frames])["loss"]
    seen: list[torch.Tensor] = []
    inputs = task.inputs
    task.inputs = lambda frames, frame, state: seen.append(state) or inputs(frames, frame, state)  # type: ignore
    for _ in range(200):
        task.train().loss([frames])
    noise = torch.stack(seen) - task.norm(frames.state[0])
    assert bool((noise[:, :5] == 0).all())
    assert_close(noise[:, 5:].std(), torch.tensor(0.5), rtol=0.05, atol=0)


def test_models_are_told_which_channels_are_a_velocity() -> None:
    spec = rollout_task().spec
    assert "velocity" not in spec.model_arguments()
    assert replace(spec, fields=("p", "velocity"), sizes=(1, 2)).model_arguments()["velocity"] == [1, 2]
    assert "velocity" not in replace(spec, fields=("velocity", "p"), sizes=(1, 2)).model_arguments()


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


def graphs(count: int = 3, frames: int = 6, nodes: int = 20) -> list[Data]:
    """Values that sink to zero, on random points with edges of their own."""
    g = torch.Generator().manual_seed(0)
    out = []
    for _ in range(count):
        start = torch.randn(nodes, 1, 1, generator=g)
        decay = 0.7 ** torch.arange(frames).view(1, -1, 1)
        ring = torch.arange(nodes)
        edges = torch.cat([torch.stack([ring, ring.roll(1)]), torch.stack([ring.roll(1), ring])], 1)
        out.append(Data(pos=torch.rand(nodes, 2, generator=g), y=start * decay, edge_index=edges, y_names=("T",)))
    return out


def made(data: Any, settings: RolloutSettings, held_out: int = 0, name: str = "meshgraphnet", **model: Any) -> Any:
    """Task and samples, built as a run does."""
    torch.manual_seed(0)
    samples: Any = RolloutTask.samples(data, settings, Context(held_out=held_out))
    known = {k: v for k, v in samples.spec.model_arguments().items() if k in model_arguments(name)}
    task = RolloutTask.fit(create_model(name, **known | {"channels": 8, "depth": 1} | model), samples, settings)
    return task, samples


@pytest.mark.parametrize(
    ("name", "model"),
    [("meshgraphnet", {}), ("mspt", {"num_heads": 2, "num_patches": 4}), ("gino", {"cells": 4})],
)
def test_lists_of_graphs_are_learnt(name: str, model: dict[str, Any]) -> None:
    task, samples = made(graphs(), RolloutSettings(horizon=2, steps=4), 1, name, **model)
    assert isinstance(task, MeshRollout) and len(samples) == 2 * 4 and samples.offers == {"graph", "points"}
    assert samples.describe() == "2 trajectories, 8 windows, T" and task.spec.residual
    before = task.evaluate(graphs()).mean["n_rmse@4"]
    optimizer = torch.optim.Adam(task.parameters(), 1e-2)
    for step in range(60):
        loss = task.loss(task.batch(samples, [Draw(step % 8, 0), Draw((step + 4) % 8, 0)]))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    report = task.evaluate(graphs())
    assert report.mean["n_rmse@4"] < 0.6 * before and report.warnings() == []
    assert [float(e) for e in task.judge(samples, 2).values()] == [report.cases["2"]["n_rmse@4"]]


def test_strides_skip_frames() -> None:
    data = GraphTrajectories(graphs())
    task, samples = made(data, RolloutSettings(horizon=2, stride=2, steps=2))
    assert samples.windows == [(i, s) for i in range(3) for s in range(2)] and task.asked["stride"] == 2
    frames = task.batch(samples, [Draw(1, 0)])[0]
    assert torch.equal(frames.state, data.window(0, 1, 5).state[::2]) and len(frames.edges) == 3
    report = task.evaluate(data)
    assert report.details == {"trajectories": 3, "steps": 2, "stride": 2}
    assert list(report.mean) == ["n_rmse@1", "n_rmse@2"] and list(report.cases) == ["0", "1", "2"]
    by_hand = task.rollout(data.window(0, 0, 5).every(2))
    want = n_rmse(by_hand, data.window(0, 0, 5).state[2::2], task.spec, task.norm.scale)
    assert report.cases["0"]["n_rmse@2"] == float(want[-1])
    kept = data.window(0, 0, 1).state.expand(2, -1, -1)
    still = n_rmse(kept, data.window(0, 0, 5).state[2::2], task.spec, task.norm.scale)
    rows = [float(v) for v in report.baselines["first frame kept"].values()]  # type: ignore[arg-type]
    assert len(rows) == 2 and float(still[-1]) > 0 and task.evaluate(data, cases=1).cases["0"] == report.cases["0"]
    assert task.evaluate(data, cases=1).baselines["first frame kept"]["n_rmse@2"] == float(still[-1])


def test_stored_clusters_are_used_wherever_frames_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training, choice of weights and evaluation ask the set for the clusters the model was made for."""
    data = Eagle(Eagle.standin(tmp_path / "eagle", num=3))
    model = {"tokens": 16, "attention_depth": 1, "num_heads": 2, "clustering": "kmeans", "cluster_size": 10}
    task, samples = made(data, RolloutSettings(horizon=2, steps=3), name="graphvit", **model)
    asked: list[tuple[int, int, int]] = []
    original = Eagle.clusters

    def noted(self: Eagle, index: int, frame: int, size: int) -> Any:
        asked.append((index, frame, size))
        return original(self, index, frame, size)

    monkeypatch.setattr(Eagle, "clusters", noted)
    frames = task.batch(samples, [Draw(1, 0)])[0]
    assert asked == [(0, 1, 10), (0, 2, 10), (0, 3, 10)]
    assert torch.equal(frames.cluster[1], original(data, 0, 2, 10))
    for judge in (lambda: task.judge(samples, 0), lambda: task.evaluate(data, cases=1)):
        asked.clear()
        judge()
        assert asked == [(0, frame, 10) for frame in range(4)]
    report = task.evaluate(data, cases=1)
    plain = task.rollout(frames._replace(cluster=None))
    assert report.cases[data.cases[0]]["n_rmse@3"] == task.judge(samples, 0)["error"]
    assert plain.shape == task.rollout(frames).shape
    tree, _ = made(data, RolloutSettings(horizon=2), name="graphvit", **model | {"clustering": "ball_tree"})
    assert stored_cluster_size(task.model) == 10 and stored_cluster_size(tree.model) == 0


def test_what_a_run_was_asked_is_repeated() -> None:
    task, _ = made(graphs(), RolloutSettings(horizon=2, steps=3, stride=1, cases=2))
    fresh = create_model("meshgraphnet", **task.spec.model_arguments(), channels=8, depth=1)
    loaded: Any = get_task("rollout").empty(fresh, task.spec.to_dict())
    loaded.load_state_dict(task.state_dict())
    loaded.asked = dict(task.asked)
    assert isinstance(loaded, MeshRollout) and loaded.spec == task.spec
    report = task.evaluate(graphs(), context=Context())
    assert loaded.evaluate(graphs()).to_dict() == report.to_dict() and len(report.cases) == 2


def test_rollouts_that_are_not_finite_have_no_error() -> None:
    task, _ = made(graphs(), RolloutSettings(horizon=1, steps=2))
    bad = graphs()
    bad[1].y[3, 1] = torch.nan
    report = task.evaluate(bad)
    assert report.cases["1"] == {"n_rmse@1": None, "n_rmse@2": None} and report.mean["n_rmse@2"] is not None
    zero = [Data(**{**graph.to_dict(), "y": torch.zeros_like(graph.y)}) for graph in graphs()]
    still, _ = made(zero, RolloutSettings(horizon=1, steps=2))
    assert still.evaluate(zero).baselines["first frame kept"] == {"n_rmse@1": 0.0, "n_rmse@2": 0.0}


def test_bad_input_is_explained() -> None:
    task, samples = made(graphs(), RolloutSettings(horizon=2, steps=3))
    with pytest.raises(InputError, match=r"lower task\.horizon"):
        RolloutTask.samples(graphs(), RolloutSettings(horizon=500))
    with pytest.raises(InputError, match=r"on meshes the model sees one frame: task.history must be 1, got 2"):
        RolloutTask.samples(graphs(), RolloutSettings(history=2))
    with pytest.raises(InputError, match=r"task.pushforward must be less than task.horizon, .* got 5 and 5"):
        RolloutTask.samples(graphs(), RolloutSettings(pushforward=5))
    with pytest.raises(InputError, match="the list of graphs is empty"):
        RolloutTask.samples([], RolloutSettings())
    other = [Data(**{**graph.to_dict(), "y_names": ("q",)}) for graph in graphs()]
    with pytest.raises(InputError, match=r"2-D data with fields 'q' of 1 channels do not fit .* 2-D with fields 'T'"):
        task.evaluate(other)
    with pytest.raises(InputError, match="cannot be asked for 'windows'; it takes 'steps', 'stride', 'cases'"):
        task.evaluate(graphs(), windows=3)
    with pytest.raises(InputError, match=r"0: a step takes 8 frames \(stride 7\), it has 6"):
        task.evaluate(graphs(), stride=7)
    with pytest.raises(InputError, match=r"works on trajectories: .* surrogate\.task\.rollout\(window\)"):
        task.predict("car.stl")
    w = samples.data.window(0, 0, 3)
    with pytest.raises(InputError, match="at least two frames"):
        task.rollout(samples.data.window(0, 0, 1))
    with pytest.raises(InputError, match=r"state must be \[t, n, 1\] \(T\) and pos \[t, n, 2\]"):
        task.rollout(Frames.of(w)._replace(state=w.state[0]))
    with pytest.raises(InputError, match="NaN or infinite"):
        task.rollout(Frames.of(w)._replace(state=w.state / 0))
    with pytest.raises(InputError, match=r"give one weight per field \(2\), got 1"):
        rollout_task(weights=(1.0,))


def diffusion(count: int, frames: int = 6, *, known: bool = True) -> GraphTrajectories:
    """A ring of nodes whose values decay at the rate of the trajectory, twice as fast where the material is 1."""
    angle = 2 * torch.pi * torch.arange(12) / 12
    pos = torch.stack([angle.cos(), angle.sin()], 1)
    edges = torch.cat([torch.stack([torch.arange(12), (torch.arange(12) + k) % 12]) for k in (1, -1)], 1)
    graphs = []
    for i in range(count):
        rate = 0.1 + 0.8 * i / max(1, count - 1)
        material = (torch.arange(12) % 3 == i % 3).float()
        start = 1 + 0.5 * torch.sin(angle + i)
        decay = torch.exp(-0.3 * rate * (1 + material).unsqueeze(1) * torch.arange(frames))
        graph = Data(pos=pos, edge_index=edges, y=(start.unsqueeze(1) * decay).unsqueeze(-1), name=f"run {i}")
        if known:
            graph.x, graph.x_names, graph.conditions = material.unsqueeze(1), ("material",), {"rate": rate, "same": 1.0}
        graphs.append(graph)
    return GraphTrajectories(graphs)


def trained(data: GraphTrajectories, **settings: Any) -> MeshRollout:
    """By the real optimiser, a few steps of the whole set."""
    wanted = RolloutSettings(horizon=2, **settings)
    samples = RolloutTask.samples(data, wanted)
    torch.manual_seed(0)
    small: dict[str, Any] = {"name": "meshgraphnet", "channels": 16, "depth": 1}
    model, made = build_model(small, samples.spec.model_arguments(), samples.offers)
    task = RolloutTask.fit(model, samples, wanted)
    task.made = made
    optimizer = torch.optim.Adam(task.parameters(), lr=1e-2)
    for _ in range(150):
        optimizer.zero_grad()
        task.loss(task.batch(samples, [Draw(i, 0) for i in range(0, len(samples), 3)]))["loss"].backward()
        optimizer.step()
    return task.eval()


def test_conditions_and_inputs_tell_what_the_frame_alone_does_not() -> None:
    data = diffusion(9)
    told, blind = trained(data), trained(diffusion(9, known=False))
    assert (told.spec.conditions, told.spec.inputs) == (("rate",), ("material",))
    errors = [float(task.evaluate(data if task is told else diffusion(9, known=False)).mean["n_rmse@1"])
              for task in (told, blind)]  # fmt: skip
    assert errors[0] < 0.5 * errors[1], errors


def test_an_unseen_rate_changes_the_rollout_the_right_way(tmp_path: Path) -> None:
    import meshops
    from meshops.surrogate import Surrogate

    data = diffusion(9)
    Surrogate(trained(data)).save(tmp_path / "model.ckpt")
    task = meshops.load(tmp_path / "model.ckpt").task
    assert isinstance(task, MeshRollout)
    start = data.window(4, 0, 3)
    slow, fast = (task.rollout(start, conditions={"rate": rate})[-1].mean() for rate in (0.25, 0.75))
    truth = start.state[0].mean()
    assert fast < slow < truth
    with pytest.raises(InputError, match=r"told 'rate', and 'rate' is no number here; given are 'Rate'"):
        task.rollout(start, conditions={"Rate": 0.5})
    with pytest.raises(InputError, match=r"takes 1 inputs \('material'\), got 0"):
        task.rollout(replace(start, x=None), conditions={"rate": 0.5})
    with pytest.raises(InputError, match="do not fit the surrogate"):
        task.evaluate(diffusion(2, known=False))


def test_wanted_conditions_are_told_and_missing_ones_named() -> None:
    data = diffusion(3)
    assert RolloutTask.samples(data, RolloutSettings(conditions=("same",))).spec.conditions == ("same",)  # type: ignore[attr-defined]
    assert RolloutTask.samples(data, RolloutSettings(conditions=())).spec.conditions == ()  # type: ignore[attr-defined]
    with pytest.raises(InputError, match="run 0: no condition 'speed' to tell the model; the case has 'rate', 'same'"):
        RolloutTask.samples(data, RolloutSettings(conditions=("speed",)))


def test_the_order_of_nodes_does_not_matter_to_what_is_known() -> None:
    data = diffusion(4)
    task, order = trained(data), torch.randperm(12, generator=torch.Generator().manual_seed(1))
    place = torch.argsort(order)
    start = data.window(2, 0, 3)
    assert start.x is not None and start.edge_index is not None
    turned = replace(
        start, pos=start.pos[:, order], state=start.state[:, order], node_type=start.node_type[:, order],
        x=start.x[:, order], edge_index=place[start.edge_index],
    )  # fmt: skip
    assert_close(
        task.rollout(turned, {"rate": 0.4}), task.rollout(start, {"rate": 0.4})[:, order], atol=1e-5, rtol=1e-5
    )


def test_steps_of_any_length_are_told_their_length() -> None:
    def uneven(*, stated: bool) -> GraphTrajectories:
        graphs = []
        for i in range(6):
            times = torch.cat([torch.zeros(1), 0.1 + torch.rand(7, generator=torch.Generator().manual_seed(i))]).cumsum(
                0
            )
            start = 1 + 0.5 * torch.sin(torch.arange(12.0) + i)
            y = (start.unsqueeze(1) * torch.exp(-0.6 * times)).unsqueeze(-1)
            pos = torch.rand(12, 2, generator=torch.Generator().manual_seed(99))
            graph = Data(
                pos=pos, edge_index=torch.stack([torch.arange(12), torch.arange(12).roll(1)]), y=y, name=f"{i}"
            )
            if stated:
                graph.times = times
            graphs.append(graph)
        return GraphTrajectories(graphs)

    told, blind = trained(uneven(stated=True)), trained(uneven(stated=False))
    assert told.spec.uneven and not blind.spec.uneven and told.spec.time_step > 0.3
    errors = [float(task.evaluate(uneven(stated=task is told)).mean["n_rmse@1"]) for task in (told, blind)]  # type: ignore[arg-type]
    assert errors[0] < 0.5 * errors[1], errors
    start = uneven(stated=True).window(0, 0, 2)
    assert start.times is not None
    near, far = (told.rollout(replace(start, times=torch.tensor([0.0, dt])))[0].mean() for dt in (0.2, 0.9))
    assert far < near
    with pytest.raises(InputError, match=r"told the length of each step; give the times \[t\] of the frames"):
        told.rollout(replace(start, times=None))


def test_times_that_fall_or_miss_frames_are_refused() -> None:
    data = diffusion(1).graphs[0]
    for times in ([0.0, 1.0], [0.0, 1.0, 2.0, 2.0, 3.0, 4.0]):
        data.times = torch.tensor(times)
        with pytest.raises(InputError, match="graph run 0: times must be 6 rising numbers"):
            GraphTrajectories([data])
