"""Fields on graphs: losses, round trips, compression, conditions and numbers, undefined errors, bad input."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch_geometric.data import Batch, Data

import meshops
from meshops.aero.prepare import prepare
from meshops.data.edges import triangle_edges
from meshops.data.mesh_graph import MeshGraph
from meshops.errors import InputError
from meshops.metrics.fields import relative_l2
from meshops.surrogate import Surrogate
from meshops.tasks import FieldsSettings, FieldsSpec, FieldsTask, Prediction
from meshops.tasks.build import build_model
from meshops.tasks.fields_samples import FieldsSamples


def graph(n: int = 40, seed: int = 0, **more: Any) -> MeshGraph:
    g = torch.Generator().manual_seed(seed)
    pos = torch.rand(n, 2, generator=g)
    return MeshGraph(
        pos=pos, x=torch.randn(n, 1, generator=g), x_names=("a",), y=torch.randn(n, 3, generator=g) + 5,
        y_names=("p", "u"), y_sizes=(1, 2), y_units=("Pa", "m"), **more,
    )  # fmt: skip


def made(graphs: list[Any], settings: FieldsSettings, **model: Any) -> tuple[FieldsTask, FieldsSamples]:
    """A task of an untrained model, as a run makes it."""
    torch.manual_seed(0)
    samples = FieldsTask.samples(graphs, settings)
    network, how = build_model(model, samples.spec.model_arguments(), samples.offers)
    task = FieldsTask.fit(network, samples, settings)
    task.made = how
    return task.eval(), samples


def surrogate(name: str = "amq", **changes: Any) -> Surrogate:
    sizes: dict[str, Any] = {"channels": 64, "depth": 2}
    sizes = {"arguments": sizes, "bits": (4, 8)} if name == "amq" else sizes
    task, _ = made([graph(seed=i) for i in range(3)], FieldsSettings(), name=name, **{**sizes, **changes})
    return Surrogate(task)


def errors(made: Prediction, truth: MeshGraph) -> dict[str, float]:
    return {name: relative_l2(torch.as_tensor(made.fields[name]), truth.field(name)) for name in ("p", "u")}


def test_the_loss_is_the_relative_error_in_physical_units() -> None:
    plain = surrogate("mppde")
    graphs = [graph(seed=1), graph(30, seed=2)]
    assert isinstance(plain.task, FieldsTask)
    prepared = [prepare(g, plain.task.spec)[0] for g in graphs]
    loss = plain.task.loss(Batch.from_data_list(prepared))
    found = [errors(plain.predict(g.clone()), g) for g in graphs]
    for name in ("p", "u"):
        assert float(loss[name].detach()) == pytest.approx(sum(e[name] for e in found) / 2, rel=1e-4)
    assert float(loss["loss"].detach()) == pytest.approx(float((loss["p"] + loss["u"]).detach()))
    prediction = plain.predict(graphs[0])
    for name, error in errors(prediction, graphs[0]).items():
        assert prediction.errors[name]["rel_l2"] == pytest.approx(error, rel=1e-6)


def test_weights_of_the_fields() -> None:
    task, samples = made([graph(seed=i) for i in range(2)], FieldsSettings(weights=(0.5, 3.0)), name="mppde")
    loss = task.loss(Batch.from_data_list(samples.graphs))
    expected = 0.5 * loss["p"] + 3.0 * loss["u"]
    assert float(loss["loss"].detach()) == pytest.approx(float(expected.detach()))


def test_predictions_have_names_and_shapes() -> None:
    out = surrogate().predict(graph())
    assert {k: tuple(v.shape) for k, v in out.fields.items()} == {"p": (40,), "u": (40, 2)}
    assert {k: tuple(v.shape) for k, v in out.truth.items()} == {"p": (40,), "u": (40, 2)}
    assert out.forces is None and not out.numbers and out.verdict is None


@pytest.mark.parametrize("name", ["amq", "mppde", "graphvit", "meshgraphnet"])
def test_a_compressed_checkpoint_predicts_the_same_and_is_smaller(name: str, tmp_path: Path) -> None:
    large = surrogate(name)
    small = large.compress()
    before, after = (s.save(tmp_path / f"{i}.ckpt").stat().st_size for i, s in enumerate((large, small)))
    assert after < 0.75 * before  # 4 and 8 bits are 1.5 bytes a weight instead of 4, plus layers at 8 bits
    loaded = meshops.load(str(tmp_path / "1.ckpt"))
    assert loaded.task.made.integers and not any(v.requires_grad for v in loaded.task.model.buffers())
    g = graph(seed=9)
    found = loaded.predict(g.clone()).fields
    for key, value in small.predict(g.clone()).fields.items():
        assert (found[key] == value).all()
    exact = torch.as_tensor(large.predict(g.clone()).fields["p"])
    if name != "amq":  # 8 bits everywhere
        assert float((exact - torch.as_tensor(found["p"])).norm() / exact.norm()) < 0.02


def test_a_coarse_rounding_takes_the_intervals_away() -> None:
    fine = surrogate("mppde").calibrate([graph(seed=i) for i in range(20, 28)])
    assert fine.trust is not None and fine.compress().trust is fine.trust and fine.compress(budget=5).trust is None
    rounded = surrogate(bits=(4, 8)).calibrate([graph(seed=i) for i in range(20, 28)])  # measured as it is rounded
    assert rounded.compress().trust is rounded.trust and rounded.compress(budget=4.5).trust is None


def test_budgets_of_compressed_surrogates() -> None:
    large = surrogate(bits=(4, 8))
    assert large.compress(budget=6).task.made.arguments["budget"] == 6
    plain = surrogate("mppde")
    for budget, bits, assignment in ((5, [5], "uniform"), (5.5, [5, 6], "gradient"), (None, [8], "uniform")):
        made = plain.compress(budget=budget).task.made.arguments
        assert (made["bits"], made["assignment"]) == (bits, assignment)
    assert plain.compress(budget=5, bits=(4, 8)).task.made.arguments["assignment"] == "gradient"
    assert plain.compress(budget=4, bits=(4,)).task.made.arguments["assignment"] == "uniform"
    for source, arguments, text in (
        (large, {"budget": 3}, "outside the bits of the rows, 4, 8"),
        (plain, {"budget": 1}, "must be 2 to 16, got 1"),
        (plain, {"budget": 12}, "integers hold 2 to 8 bits"),
        (large, {"bits": (2, 4)}, "fixed in training"),
        (surrogate(bits=(6, 10), budget=8), {}, "integers hold 2 to 8 bits"),
        (large.compress(), {}, "compressed already"),
    ):
        with pytest.raises(InputError, match=text):
            source.compress(**arguments)  # type: ignore[arg-type]


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


SMALL = {"name": "mspt", "channels": 8, "depth": 1, "num_heads": 1, "num_patches": 2}


# ---- one's own list of PyG Data


def plain(count: int = 3, **more: Any) -> list[Data]:
    g = torch.Generator().manual_seed(count)
    return [Data(pos=torch.rand(20, 2, generator=g), y=torch.rand(20, 1, generator=g), **more) for _ in range(count)]


def test_a_list_of_data_is_all_that_is_needed() -> None:
    task, samples = made(plain(), FieldsSettings(), **SMALL)
    assert samples.spec.fields == ("y",) and samples.spec.inputs == () and samples.names[0] == "graph_0"
    assert samples.describe() == "3 training cases, fields y"
    vector = [Data(pos=g.pos, y=g.y[:, 0], x=g.pos[:, 0]) for g in plain()]  # one channel, without its axis
    task, samples = made(vector, FieldsSettings(), **SMALL)
    assert samples.spec.inputs == ("x0",) and samples.graphs[0].y.shape == (20, 1)
    before = {key: value.clone() for key, value in vector[0].to_dict().items()}
    Surrogate(task).predict(vector[0])
    assert all(torch.equal(before[key], value) for key, value in vector[0].to_dict().items())


def test_what_is_indexed_like_a_list_is_one() -> None:
    """A tuple, a dataset of PyG or of PyTorch."""

    class Set(torch.utils.data.Dataset[Data]):
        def __len__(self) -> int:
            return 3

        def __getitem__(self, index: int) -> Data:
            return plain()[index]

    for data in (tuple(plain()), Set()):
        _, samples = made(data, FieldsSettings(), **SMALL)  # type: ignore[arg-type]
        assert samples.cases == 3
    with pytest.raises(InputError, match=r"the data are a Data; give a data set or a list"):
        made(plain()[0], FieldsSettings(), **SMALL)  # type: ignore[arg-type]


def test_names_of_graphs() -> None:
    cases = plain()
    for data in cases[:2]:
        data.name = "wing"
    cases[2].name = "tail"
    task, samples = made(cases, FieldsSettings(), **SMALL)
    assert samples.names == ("wing_0", "wing_1", "tail")
    assert len(task.evaluate(cases).cases) == 3


@pytest.mark.parametrize(
    ("graphs", "words"),
    [
        ([], "the list of graphs is empty; give at least one PyG Data with pos and y"),
        ([Data(y=torch.rand(5, 1))], "graph 0 of the list has no positions; set data.pos"),
        ([*plain(1), {"pos": 1}], "graph 1 of the list is a dict; give torch_geometric.data.Data"),
        ([*plain(1), Data(pos=torch.rand(5, 3), y=torch.rand(5, 1))], "dimensions of graph 0 are 2, of graph 1 3"),
        ([*plain(1), Data(pos=torch.rand(5, 2), y=torch.rand(5, 2))], r"channels of the fields .* \(1,\), .* \(2,\)"),
        ([*plain(1), Data(pos=torch.rand(5, 2), y=torch.rand(5, 1), x=torch.rand(5, 1))], "input channels of graph 0"),
        ([*plain(1), graph()], "the graphs differ"),
        ([Data(pos=torch.rand(5, 2), y=torch.rand(4, 1))], "graph_0: .*4"),
        ([*plain(1), Data(pos=torch.full((5, 2), torch.nan), y=torch.rand(5, 1))], "graph_1: .*NaN"),
        ([Data(pos=torch.rand(5, 2))], "graph_0"),
        ([Data(pos=torch.rand(5, 2), y=["a"] * 5)], "graph 0 of the list"),
        (plain(2, conditions=[3.0]), "graph_0: conditions must be a dictionary of numbers, got list"),
        (plain(2, conditions={"speed": "fast"}), "graph_0: conditions: 'speed' must be a number, got 'fast'"),
        (plain(2, conditions={"speed": math.nan}), "graph_0: conditions: 'speed' must be a number, got nan"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_lists_that_cannot_be_used_are_one_sentence(graphs: list[Any], words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        made(graphs, FieldsSettings(), **SMALL)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 250


@pytest.mark.parametrize("data", ["folder", 7, None, {"a": 1}, torch.zeros(3)], ids=repr)
def test_data_that_are_no_sequence_of_cases_are_one_sentence(data: Any) -> None:
    with pytest.raises(InputError, match=r"give a data set or a list of torch_geometric\.data\.Data"):
        FieldsTask.samples(data, FieldsSettings())


# ---- conditions and numbers


def winds(speeds: list[float], seed: int = 0) -> list[Data]:
    """``p = speed (1 - r^2)`` on free points; ``cd = 3 + 2 speed``."""
    g = torch.Generator().manual_seed(seed)
    out = []
    for speed in speeds:
        pos = 2 * torch.rand(60, 2, generator=g) - 1
        out.append(
            Data(
                pos=pos,
                y=speed * (1 - pos.square().sum(1, keepdim=True)),
                y_names=("p",),
                y_sizes=(1,),
                conditions={"speed": speed, "rho": 1.2},
                numbers={"cd": 3 + 2 * speed, "cl": 0.1},
            )
        )
    return out


def test_conditions_that_differ_are_told_to_the_model() -> None:
    _, samples = made(winds([1.0, 2.0, 3.0]), FieldsSettings(), **SMALL)
    assert samples.spec.conditions == ("speed",) and samples.describe().endswith("fields p, conditions speed")
    assert samples.spec.model_arguments()["in_channels"] == 1
    both = made(winds([1.0, 2.0, 3.0]), FieldsSettings(conditions=("rho", "speed")), **SMALL)[1]
    assert both.spec.conditions == ("rho", "speed") and both.graphs[1].conditions.tolist() == [[pytest.approx(1.2), 2]]
    none = made(winds([1.0, 2.0]), FieldsSettings(conditions=()), **SMALL)[1]
    assert none.spec.conditions == () and none.graphs[0].get("conditions") is None
    with pytest.raises(InputError, match="not every case states the condition 'yaw'; all state 'speed', 'rho'"):
        made(winds([1.0, 2.0]), FieldsSettings(conditions=("yaw",)), **SMALL)
    with pytest.raises(InputError, match="graph_0: no number 'cs' to learn; the case has 'cd', 'cl'"):
        made(winds([1.0, 2.0]), FieldsSettings(numbers=("cs",)), **SMALL)


def test_what_is_missing_unknown_or_strange_is_said() -> None:
    task, _ = made(winds([1.0, 2.0, 3.0]), FieldsSettings(), **SMALL)
    bare = Data(pos=torch.rand(30, 2))
    with pytest.raises(InputError, match=r"the condition 'speed' is missing; give it \(--set speed=VALUE\)"):
        Surrogate(task).predict(bare)
    with pytest.raises(InputError, match="not trained with the condition 'spede'; it takes 'speed'"):
        Surrogate(task).predict(bare, conditions={"speed": 2.0, "spede": 2.0})
    inside = Surrogate(task).predict(bare, conditions={"speed": 3.05})
    assert inside.case.notes == [] and inside.errors == {}
    outside = Surrogate(task).predict(bare, conditions={"speed": 7.0})
    assert len(outside.case.notes) == 1
    assert "speed = 7 is outside the 1 to 3 of the training: an extrapolation" in outside.case.notes[0]
    again = Surrogate(task).predict(outside.case, conditions={"speed": 2.0})  # of an opened case
    assert again.case.conditions == {"speed": 2.0}


def test_numbers_are_part_of_the_loss() -> None:
    settings = FieldsSettings(numbers=("cd",), number_weight=10.0)
    task, samples = made(winds([1.0, 2.0, 3.0]), settings, **SMALL)
    loss = task.loss(Batch.from_data_list(samples.graphs))
    assert float(loss["loss"].detach()) == pytest.approx(float((loss["p"] + 10 * loss["numbers"]).detach()))
    loss["numbers"].backward()
    assert not any(p.grad is not None and bool(p.grad.any()) for p in task.model.parameters())
    head: Any = task.number_head
    assert all(bool(p.grad.any()) for p in head.parameters())


# ---- undefined errors


def test_a_field_that_is_zero_has_no_relative_error(tmp_path: Path) -> None:
    """A dash in the table, null in the file, and other cases count."""
    task, _ = made(plain(), FieldsSettings(), **SMALL)
    zero = Data(pos=torch.rand(20, 2), y=torch.zeros(20, 1))
    report = task.evaluate([zero])
    assert report.mean["y_rel_l2"] is None and report.mean["y_r2"] is None and report.mean["y_mae"] > 0  # type: ignore[operator]
    assert report.table().splitlines()[2].split() == ["surrogate", "–"]
    content = json.loads(report.write(tmp_path / "m.json").read_text())
    assert content["mean"]["y_rel_l2"] is None and content["cases"]["graph_0"]["y_rel_l2"] is None
    both = task.evaluate([zero, plain(1)[0]])
    assert both.mean["y_rel_l2"] == both.cases["graph_1"]["y_rel_l2"]
    assert Surrogate(task).predict(zero).errors["y"]["rel_l2"] is None


def test_validation_on_a_field_that_is_zero_ends_nothing(tmp_path: Path) -> None:
    from meshops.training import RunConfig, TrainConfig, train

    data = [*plain(), Data(pos=torch.rand(20, 2), y=torch.zeros(20, 1))]
    settings = TrainConfig(steps=2, batch_size=1, validation=1, val_every=1, accelerator="cpu", threads=1)
    result = train(RunConfig(out=str(tmp_path / "run"), model=SMALL, train=settings), data=data, test=data)
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["val/y"] for line in lines if "val/y" in line] == [None, None]
    assert result.report.mean["y_rel_l2"] is not None and len(result.report.cases) == 4


def test_validation_is_over_what_is_defined(tmp_path: Path) -> None:
    """One of two fields is zero in one of two cases: the other errors still choose the weights."""
    from meshops.training import RunConfig, TrainConfig, train

    names = {"y_names": ("a", "b"), "y_sizes": (1, 1)}
    data = [Data(pos=torch.rand(20, 2), y=torch.rand(20, 2), **names) for _ in range(5)]
    data[-1].y[:, 1] = 0
    settings = TrainConfig(steps=1, batch_size=1, validation=2, val_every=1, accelerator="cpu", threads=1, ema=0.0)
    result = train(RunConfig(out=str(tmp_path / "run"), model=SMALL, train=settings), data=data, test=data[3:])
    (line,) = [json.loads(t) for t in (tmp_path / "run" / "log.jsonl").read_text().splitlines() if "val/" in t]
    first, second = result.report.cases["graph_0"], result.report.cases["graph_1"]
    assert line["val/b"] == pytest.approx(first["b_rel_l2"]) and second["b_rel_l2"] is None
    whole = ((first["a_rel_l2"] + first["b_rel_l2"]) / 2 + second["a_rel_l2"]) / 2  # type: ignore[operator]
    assert line["val/error"] == pytest.approx(whole)


def test_a_spec_survives_its_checkpoint_and_says_what_does_not_fit() -> None:
    spec = FieldsSpec(
        fields=("p", "u"), sizes=(1, 2), units=("Pa", "m/s"), dim=2, conditions=("speed",), numbers=("cd",),
        loss=("mse", "l1"), weights=(1.0, 2.0),
    )  # fmt: skip
    assert FieldsSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    for wrong, words in (
        ({"weights": (1.0, 2.0)}, r"task\.weights has 2 entries for 3 fields \('a', 'b', 'c'\); give one for all"),
        ({"loss": ("mse", "mse")}, r"task\.loss has 2 entries for 3 fields"),
        ({"pressure": "q"}, "pressure field 'q' is not among the fields"),
    ):
        with pytest.raises(InputError, match=words):
            FieldsSpec(fields=("a", "b", "c"), sizes=(1, 1, 1), units=("", "", ""), dim=2, **wrong)  # type: ignore[arg-type]
