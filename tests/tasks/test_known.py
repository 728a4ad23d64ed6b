"""Surface and volume in one network: fields that exist at part of the nodes, joint subsets, published numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch_geometric.data import Batch

from meshops.data.mesh_graph import JUDGED, LEARNT, UNKNOWN, MeshGraph
from meshops.data.sampling import interleave_kinds, random_subset_of_kinds
from meshops.datasets import AhmedML, ShapeNetCar
from meshops.datasets.ahmed.ml import _joined
from meshops.errors import InputError
from meshops.selection import FitConfig, fit
from meshops.surrogate import Surrogate, load
from meshops.tasks import FieldsSettings, FieldsTask
from meshops.tasks.inference import predict_nodes
from meshops.tasks.known import among
from meshops.training import RunConfig, TrainConfig, train

MODEL = {"name": "mspt", "channels": 16, "depth": 1, "num_heads": 2, "num_patches": 4}
LOSSES = ("mse", "relative_l2")
REAL = Path(__file__).parents[2].parent / "shared" / "data"


def joint(seed: int, nodes: int = 60) -> MeshGraph:
    """A third of the nodes on a wall, which has a pressure; a velocity around it, on the wall learnt only."""
    rng = torch.Generator().manual_seed(seed)
    pos = torch.rand(nodes, 3, generator=rng)
    wall = torch.arange(nodes) >= nodes - nodes // 3
    y = torch.cat([pos.sum(1, keepdim=True), pos * 2 + 1], 1)
    use = torch.stack([torch.where(wall, JUDGED, UNKNOWN), torch.where(wall, LEARNT, JUDGED)], 1).to(torch.int8)
    return MeshGraph(
        pos=pos, x=torch.where(wall, 0.0, pos[:, 0]).unsqueeze(1), x_names=("sdf",), y=y, y_names=("p", "U"),
        y_sizes=(1, 3), y_units=("Pa", "m/s"), y_use=use, node_type=torch.where(wall, 0, 2), location="free",
        name=f"case_{seed}",
    )  # fmt: skip


def trained(folder: Path, graphs: list[MeshGraph], **changes: object) -> FieldsTask:
    config = RunConfig(
        out=str(folder), model=MODEL, task=FieldsSettings(**{"loss": LOSSES, "passes": 2, **changes}),  # type: ignore[arg-type]
        train=TrainConfig(steps=8, batch_size=2, lr=1e-2, threads=1, seed=0),
    )  # fmt: skip
    task = train(config, data=graphs, overwrite=True).surrogate.task
    assert isinstance(task, FieldsTask)
    return task


def other_unknown(graphs: list[MeshGraph]) -> list[MeshGraph]:
    """The same cases with other numbers where there is no value."""
    out = []
    for graph in graphs:
        copy = graph.clone_shallow()
        copy.y = graph.y.clone()
        copy.y[graph.y_use[:, 0] == UNKNOWN, 0] = 1e3
        out.append(copy)
    return out


@settings(deadline=None)
@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=6), min_size=1, max_size=5))
def test_pointers_among_some_nodes_are_those_of_a_loop(graphs: list[list[bool]]) -> None:
    ptr = torch.tensor([0, *np.cumsum([len(rows) for rows in graphs])])
    bounds = [0]
    for rows in graphs:
        if any(rows):
            bounds.append(bounds[-1] + sum(rows))
    assert among(torch.tensor([x for rows in graphs for x in rows]), ptr).tolist() == bounds


def test_what_has_no_value_plays_no_part(tmp_path: Path) -> None:
    graphs = [joint(seed) for seed in range(4)]
    one, other = trained(tmp_path / "a", graphs), trained(tmp_path / "b", other_unknown(graphs))
    for (name, mine), theirs in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs), name
    reports = [task.evaluate(cases).mean for task, cases in ((one, graphs), (other, other_unknown(graphs)))]
    assert reports[0] == reports[1] and set(reports[0]) >= {"p_rel_l2", "U_rel_l2"}


def test_losses_and_errors_are_those_of_the_nodes_that_have_a_value(tmp_path: Path) -> None:
    graphs = [joint(seed) for seed in range(3)]
    task = trained(tmp_path, graphs)
    samples = FieldsTask.samples(graphs, FieldsSettings(loss=LOSSES))
    batch = Batch.from_data_list(samples.graphs)
    with torch.no_grad():
        made, parts = task(batch).split(60), task.loss(batch)
    wanted: dict[str, list[Tensor]] = {"p": [], "U": []}
    origin = -task.output_norm.shift / task.output_norm.scale
    for rows, graph in zip(made, samples.graphs, strict=True):
        truth, wall = task.output_norm(graph.y), torch.arange(60) >= 40
        wanted["p"].append((rows - truth)[wall, 0].square().mean())
        wanted["U"].append((rows - truth)[:, 1:].norm() / (truth - origin)[:, 1:].norm())
    for name, values in wanted.items():
        assert float(parts[name]) == pytest.approx(float(torch.stack(values).mean()), rel=1e-5)
    fields = task.output_norm.inverse(made[0].detach())
    row = task.judge(samples, samples.graphs[0])
    wall = torch.arange(60) >= 40
    for name, channels, where in (("p", slice(0, 1), wall), ("U", slice(1, 4), ~wall)):
        error = fields[where][:, channels] - graphs[0].y[where][:, channels]
        assert row[name] == pytest.approx(float(error.norm() / graphs[0].y[where][:, channels].norm()), rel=1e-4)
    assert task.evaluate(graphs[:1]).mean["p_rel_l2"] == pytest.approx(row["p"], rel=1e-4)


def test_statistics_are_of_the_nodes_that_have_a_value(tmp_path: Path) -> None:
    graphs = [joint(seed) for seed in range(3)]
    task = trained(tmp_path, graphs)
    walls = torch.cat([graph.y[40:, 0] for graph in graphs]).double()
    assert float(task.output_norm.shift[0]) == pytest.approx(float(walls.mean()), rel=1e-5)
    assert float(task.output_norm.scale[0]) == pytest.approx(float(walls.std(correction=0)), rel=1e-5)
    around = torch.cat([graph.y[:, 1:] for graph in graphs]).double()
    torch.testing.assert_close(task.output_norm.shift[1:].double(), around.mean(0), rtol=1e-5, atol=1e-6)


@settings(deadline=None)
@given(
    st.lists(st.booleans(), min_size=2, max_size=60),
    st.integers(2, 12),
    st.floats(0.1, 0.9),
)
def test_subsets_of_two_kinds_cover_all_nodes_in_the_wanted_share(kinds: list[bool], size: int, share: float) -> None:
    inside = torch.tensor(kinds)
    subsets, times = interleave_kinds(inside, size, share, torch.Generator().manual_seed(0))
    assert bool((times > 0).all()) and int(times.sum()) == sum(map(len, subsets))
    first = min(max(1, round(share * size)), size - 1)
    drawn = random_subset_of_kinds(inside, size, share, torch.Generator().manual_seed(0))
    assert len(drawn) == size and all(len(part.unique()) == len(part) <= size for part in subsets)
    if 0 < int(inside.sum()) < len(kinds):
        assert int((~inside[drawn]).sum()) == first
        assert all(0 < int((~inside[part]).sum()) <= first for part in subsets)


def test_a_joint_prediction_from_subsets_is_the_mean_over_those_that_hold_a_node(tmp_path: Path) -> None:
    graphs = [joint(seed, 90) for seed in range(3)]
    task = trained(tmp_path, graphs, nodes=20, surface_share=0.5)
    graph = FieldsTask.samples(graphs, FieldsSettings()).graphs[0]
    subsets, _ = interleave_kinds(graph.in_volume, 20, 0.5, torch.Generator().manual_seed(0))
    rows: list[list[Tensor]] = [[] for _ in range(90)]
    for index in subsets:
        part = graph.subset(index)
        with torch.no_grad():
            for node, values in zip(index.tolist(), task(part), strict=True):
                rows[node].append(values)
    wanted = torch.stack([torch.stack(values).mean(0) for values in rows])
    torch.testing.assert_close(predict_nodes(task, graph, passes=1), wanted, rtol=1e-4, atol=1e-5)
    small = predict_nodes(task, graph, passes=1, chunk_size=20)
    torch.testing.assert_close(small, wanted, rtol=1e-4, atol=1e-5)


def test_what_does_not_fit_is_refused() -> None:
    graphs = [joint(seed) for seed in range(3)]
    with pytest.raises(InputError, match=r"these cases hold both; leave out task\.geometry"):
        FieldsTask.samples(graphs, FieldsSettings(geometry="body"))
    plain = [MeshGraph(pos=g.pos, x=g.x, y=g.y, y_names=g.y_names, y_sizes=g.y_sizes) for g in graphs]
    for cases, given_too in ((plain, {"nodes": 20}), (graphs, {})):
        with pytest.raises(InputError, match="surface_share divides subsets of cases that hold surface and volume"):
            FieldsTask.samples(cases, FieldsSettings(surface_share=0.5, **given_too))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="surface_share must be between 0 and 1, got 1"):
        FieldsSettings(surface_share=1.0)
    graphs[0].y_use = graphs[0].y_use[:, :1]
    with pytest.raises(InputError, match=r"'y_use' must be \[n, 2\], a column per field, got \(60, 1\)"):
        graphs[0].validate()


def test_cars_with_the_air_around_them_as_published(tmp_path: Path) -> None:
    root = ShapeNetCar.standin(tmp_path / "cars", num=3)
    learn, held = ShapeNetCar(root, "train", cache=True), ShapeNetCar(root, "test", cache=True)
    config = RunConfig(
        out=str(tmp_path / "run"), model={**MODEL, "num_patches": 170, "patching": "file"},
        task=FieldsSettings(loss=("mse",), weights=(1 / 3, 0.5), nodes=0),
        train=TrainConfig(steps=2, batch_size=1, lr=1e-3, threads=1),
    )  # fmt: skip
    report = train(config, data=learn, test=held).report
    assert set(report.mean) >= {"velocity_rel_l2", "pressure_rel_l2", "car_cd_rel_error", "car_cd_rank_correlation"}
    graph = held[0]
    made = load(tmp_path / "run" / "model.ckpt").predict(graph)
    on_surface = np.asarray(graph.node_type != 2)
    truth = {name: graph.field(name).numpy() for name in ("velocity", "pressure")}
    for name, rows in (("pressure", on_surface), ("velocity", ~on_surface)):  # all 3,682 points, the loose ones too
        error = np.linalg.norm((made.fields[name] - truth[name])[rows]) / np.linalg.norm(truth[name][rows])
        assert report.mean[f"{name}_rel_l2"] == pytest.approx(error, rel=1e-3)
    found, true = held.measured(graph, made.fields)["car_cd"], held.measured(graph, truth)["car_cd"]
    assert report.mean["car_cd_rel_error"] == pytest.approx(abs((found - true) / true), rel=1e-3)


def test_distances_of_the_air_are_those_to_the_nearest_cell() -> None:
    rng = torch.Generator().manual_seed(0)
    surface = MeshGraph(pos=torch.rand(20, 3, generator=rng), y=torch.rand(20, 4, generator=rng),
                        y_names=("pMean", "wallShearStressMean"), y_sizes=(1, 3), y_units=("a", "b"),
                        normal=torch.rand(20, 3, generator=rng))  # fmt: skip
    volume = MeshGraph(pos=torch.rand(50, 3, generator=rng), y=torch.rand(50, 4, generator=rng),
                       y_names=("pMean", "UMean"), y_sizes=(1, 3), y_units=("a", "c"))  # fmt: skip
    graph = _joined(volume, surface).validate()
    gaps = (volume.pos[:, None] - surface.pos).norm(dim=-1)
    torch.testing.assert_close(graph.x[:50, 0], gaps.min(1).values)
    away = volume.pos - surface.pos[gaps.argmin(1)]
    torch.testing.assert_close(graph.x[:50, 1:], away / away.norm(dim=1, keepdim=True))
    assert torch.equal(graph.x[50:], torch.cat([torch.zeros(20, 1), surface.normal], 1))
    assert graph.fields == ("pMean", "wallShearStressMean", "pMean_volume", "UMean")
    assert graph.y_use.sum(0).tolist() == [20, 20, 50, 50]
    assert torch.equal(graph.field("UMean")[:50], volume.y[:, 1:]) and torch.equal(
        graph.field("pMean")[50:], surface.y[:, 0]
    )


@pytest.mark.skipif(not (REAL / "ahmed_rans" / "run_1" / "volume_1.vtu").is_file(), reason="no RANS volumes beside")
def test_real_bodies_with_the_air_around_them(tmp_path: Path) -> None:
    runs = {"train": [1, 7], "test": [13]}
    root = REAL / "ahmed_rans"
    parts = {s: AhmedML(root, s, domain="all", split_method=runs, volume_nodes=4000, cache=True) for s in runs}
    graph = parts["train"][0].validate()
    assert int((graph.node_type == 2).sum()) == 4000 and len(graph.pos) > 10_000
    config = RunConfig(
        out=str(tmp_path / "run"), model={**MODEL, "num_patches": 16},
        task=FieldsSettings(nodes=1024, surface_share=0.5),
        train=TrainConfig(steps=30, batch_size=1, lr=3e-3, threads=1),
    )  # fmt: skip
    mean = train(config, data=parts["train"], test=parts["test"]).report.mean
    assert 0 < float(mean["UMean_rel_l2"] or 0) < 0.5 and 0 < float(mean["pMean_rel_l2"] or 0) < 1.0


def test_volume_nodes_belong_to_the_whole(tmp_path: Path) -> None:
    root = AhmedML.standin(tmp_path / "runs", num=2)
    with pytest.raises(InputError, match=r"volume_nodes keeps some of the volume cells with domain='all'"):
        AhmedML(root, "all", volume_nodes=10)
    with pytest.raises(InputError, match=r"the fields are fixed; choose among them with task\.fields"):
        AhmedML(root, "all", domain="all", fields=("pMean",))


def test_what_compares_models_node_by_node_refuses_joint_cases(tmp_path: Path) -> None:
    graphs = [joint(seed) for seed in range(6)]
    with pytest.raises(InputError, match="fit compares models at nodes that have all; train one network instead"):
        fit(graphs, FitConfig(minutes=0.1, out=str(tmp_path / "fit"), networks=()))
    surrogate = Surrogate(trained(tmp_path / "run", graphs))
    with pytest.raises(InputError, match="exist at part of the nodes only; such cases have no intervals"):
        surrogate.calibrate(graphs)
