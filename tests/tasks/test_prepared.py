"""Features that are kept: the same as computed anew, streamed in stretches, at once when started again."""

from __future__ import annotations

import pickle
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from meshops.data.graph_store import read_graph
from meshops.datasets import AhmedMini, AhmedML
from meshops.datasets.base import CaseDataset
from meshops.datasets.store import StoredCases
from meshops.datasets.store_build import Origin, build
from meshops.tasks import FieldsSettings, FieldsTask
from meshops.tasks import prepared as prepared_module
from meshops.tasks.base import Context, Draw
from meshops.tasks.prepared import PreparedGraphs, case_folder, features_key
from meshops.training import RunConfig, TrainConfig, train
from meshops.trust import Novelty

pytest.importorskip("zarr", reason="the extra 'store' is not installed")
pytestmark = pytest.mark.filterwarnings("ignore::meshops.errors.DataWarning")  # few runs: not the published split
SETTINGS = FieldsSettings(nodes=64, radii=(0.1,), max_sources=128, passes=1)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return AhmedML.standin(tmp_path_factory.mktemp("runs"), num=3)


@pytest.fixture(scope="module")
def store(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> StoredCases:
    out = tmp_path_factory.mktemp("store")
    list(build(out, Origin(str(runs), "ahmed_ml")))
    return StoredCases(out, "all")


def test_kept_features_are_those_computed_anew_and_lie_shuffled(runs: Path, store: StoredCases) -> None:
    kept, fresh = (FieldsTask.samples(data, SETTINGS) for data in (store, AhmedML(runs, "all")))
    assert isinstance(kept.graphs, PreparedGraphs) and kept.spec == fresh.spec and kept.names == fresh.names
    for number, mine, other in zip(kept.graphs.numbers, kept.graphs, fresh.graphs, strict=True):
        lying, _ = read_graph(case_folder(kept.graphs.folder, number))
        rows = [torch.cat([g.pos, g.x.nan_to_num(-9), g.y], 1).numpy() for g in (lying, mine, other)]
        first, second = (part[np.lexsort(part.T)] for part in (rows[0], rows[2]))
        assert np.array_equal(first, second) and not np.array_equal(rows[0], rows[2])
        assert np.array_equal(rows[1], rows[2])  # read whole they come in their own order
    one, two = (FieldsTask.fit(torch.nn.Identity(), samples, SETTINGS) for samples in (kept, fresh))
    for (name, value), other in zip(one.state_dict().items(), two.state_dict().values(), strict=True):
        assert torch.equal(value, other), name  # statistics are those of all nodes, to the bit
    assert one.memory() == two.memory()
    novel, known = (Novelty.of(task, s) for task, s in ((one, kept), (two, fresh)))
    assert novel is not None and known is not None and novel.to_dict() == known.to_dict()


def test_started_again_nothing_is_computed(store: StoredCases, monkeypatch: pytest.MonkeyPatch) -> None:
    FieldsTask.samples(store, SETTINGS)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("features were computed again")

    monkeypatch.setattr(prepared_module, "prepare", refuse)
    samples = FieldsTask.samples(store, SETTINGS)
    assert samples.notes()[-1] == "3 of 3 prepared cases were there already"
    FieldsTask.samples(store, FieldsSettings(**{**vars(SETTINGS), "nodes": 128, "loss": ("mse",)}))
    with pytest.raises(AssertionError, match="computed again"):
        FieldsTask.samples(store, FieldsSettings(**{**vars(SETTINGS), "radii": (0.3,)}))


def test_the_folder_depends_on_the_features_alone() -> None:
    spec = FieldsTask.samples(AhmedMini("test"), SETTINGS).spec
    assert features_key(spec) == features_key(replace(spec, nodes=7, loss=("l1",), hide=0.9))
    assert features_key(spec) != features_key(replace(spec, inputs=("a",)))


def test_large_cases_are_read_by_stretches(store: StoredCases, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = FieldsTask.samples(store, SETTINGS)
    task = FieldsTask.fit(torch.nn.Identity(), samples, SETTINGS)
    monkeypatch.setattr(prepared_module, "WHOLE", 100)
    whole, _ = read_graph(case_folder(samples.graphs.folder, samples.graphs.numbers[1]))  # type: ignore[attr-defined]
    fresh = FieldsTask.samples(store, SETTINGS)
    batch = task.batch(fresh, [Draw(1, seed) for seed in range(4)])
    places = {tuple(row): i for i, row in enumerate(torch.cat([whole.pos, whole.y], 1).tolist())}
    for part in range(4):
        rows = torch.cat([batch.pos, batch.y], 1)[64 * part : 64 * (part + 1)].tolist()
        index = torch.tensor([places[tuple(row)] for row in rows])
        assert len(index) == 64 and set(((index[1:] - index[:-1]) % len(whole.pos)).tolist()) == {1}
        assert torch.equal(whole.x[index].nan_to_num(-9), batch.x[64 * part : 64 * (part + 1)].nan_to_num(-9))
    again = task.batch(fresh, [Draw(1, seed) for seed in range(4)])
    assert torch.equal(batch.pos, again.pos)
    wrapped = fresh.graphs.subset(1, len(whole.pos) - 1, torch.Generator().manual_seed(0))  # type: ignore[attr-defined]
    assert wrapped is not None and len(wrapped.pos) == len(whole.pos) - 1 and len(wrapped.pos.unique(dim=0)) > 0


def test_judging_from_a_store_is_judging_from_the_files(runs: Path, store: StoredCases, tmp_path: Path) -> None:
    config = RunConfig(
        out=str(tmp_path / "run"), task=replace(SETTINGS, mesh_cues=True),
        model={"name": "mspt", "channels": 16, "depth": 1, "num_heads": 2, "num_patches": 4},
        train=TrainConfig(steps=2, batch_size=2, threads=1),
    )  # fmt: skip
    surrogate = train(config, data=AhmedML(runs, "all")).surrogate
    files, kept = (surrogate.evaluate(data).to_dict() for data in (AhmedML(runs, "all"), store))
    again = surrogate.evaluate(store).to_dict()
    for key in ("mean", "cases", "baselines"):
        assert files[key] == kept[key] == again[key]


def test_a_run_from_a_store_is_that_from_the_files_and_is_judged(
    runs: Path, store: StoredCases, tmp_path: Path
) -> None:
    def run(name: str, data: CaseDataset) -> dict[str, torch.Tensor]:
        config = RunConfig(
            out=str(tmp_path / name), task=SETTINGS,
            model={"name": "mspt", "channels": 16, "depth": 1, "num_heads": 2, "num_patches": 4},
            train=TrainConfig(steps=4, batch_size=2, threads=1),
        )  # fmt: skip
        result = train(config, data=data, test=data)
        assert 0 < float(result.report.mean["pressure_rel_l2"] or 0) < 3
        return result.surrogate.task.state_dict()

    one, two, files = run("a", store), run("b", store), run("c", AhmedML(runs, "all"))
    assert all(torch.equal(value, two[name]) and torch.equal(value, files[name]) for name, value in one.items())


def test_going_on_from_a_surrogate_streams_too(runs: Path, store: StoredCases) -> None:
    settings = replace(SETTINGS, mesh_cues=True)
    start = FieldsTask.fit(torch.nn.Identity(), FieldsTask.samples(AhmedML(runs, "all"), settings), settings)
    start.cell_size = 9.0  # other cells: features of the mesh itself are hidden
    kept, fresh = (
        FieldsTask.samples(data, FieldsSettings(), Context(start=deepcopy(start)))
        for data in (store, AhmedML(runs, "all"))
    )
    assert isinstance(kept.graphs, PreparedGraphs) and "are hidden" in kept.notes()[0] and kept.notes() == fresh.notes()
    for mine, other in zip(kept.graphs, fresh.graphs, strict=True):
        assert bool(mine.x.isnan().any()) and torch.equal(mine.x.nan_to_num(-9), other.x.nan_to_num(-9))
        assert torch.equal(mine.y, other.y)
    assert np.array_equal(kept.descriptors, fresh.descriptors)  # type: ignore[arg-type]


def test_parts_share_what_is_held_and_other_processes_read_their_own(store: StoredCases) -> None:
    graphs = FieldsTask.samples(store, SETTINGS).graphs
    assert isinstance(graphs, PreparedGraphs)
    part = graphs.taken([2, 0])
    first = part[1]
    assert graphs[0] is first and part.sizes() == [len(graphs[2].pos), len(first.pos)]
    assert part.have("y") == [True, True] and part.have("y_use") == [False, False]
    sent = pickle.loads(pickle.dumps(part))
    assert len(pickle.dumps(part)) < 100_000 and torch.equal(sent[1].x.nan_to_num(-9), first.x.nan_to_num(-9))
    tight = FieldsTask.samples(store, SETTINGS).graphs
    tight._held.most = 1  # type: ignore[attr-defined]
    assert tight[1] is not tight[1]
