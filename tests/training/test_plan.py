"""Plans: what fits, what does not and what to do, and the command that prints them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import meshops
from meshops.cli.main import main
from meshops.errors import InputError
from meshops.folders import limit_memory
from meshops.models import create_model
from meshops.tasks.base import Made
from meshops.tasks.fields import FieldsTask
from meshops.tasks.fields_spec import FieldsSpec
from meshops.tasks.node_cost import Law, NodeCost, parts_of, prediction_cost, training_cost
from meshops.training.plan import CHIPS, GPU_SHARE, LAUNCH, STATE, TRAFFIC, Chip, Measured, make_plan, reasons

MB = 1e6
CHIP = Chip("chip", memory=1000 * MB, peak=1e12, link=1e9, stream=1e11)


def cost(kilobytes: float, *, calls: int = 100) -> NodeCost:
    """Per node: so many kB, 1 us, 1 MFLOP, 10 kB made."""
    laws = (Law(1000, 1e3 * 1e3 * kilobytes), Law(1000, 1e-3), Law(1000, 1e9), Law(1000, 1e7))
    return NodeCost(*laws, calls)


def known(**changes: object) -> Measured:
    values = {"weights": 1000, "subset": 1000, "batch": 2, "passes": 4, "features": 10, "predict": cost(10),
              "train": cost(100), "prepare": 1e-6, "again": cost(30), "host": 500.0, "threads": 2}  # fmt: skip
    return Measured(**{**values, **changes})  # type: ignore[arg-type]


NETWORK = {"channels": 8, "depth": 1, "num_heads": 2, "num_patches": 4}
TREES = {"nodes": 3, "trees": 1, "depth": 2}


def blend_of(*members: tuple[str, dict[str, int], int]) -> FieldsTask:
    """A blend of networks and trees for subsets of 512 nodes."""
    spec = FieldsSpec(fields=("p",), sizes=(1,), units=("",), dim=3, inputs=("a", "b"), nodes=512, shape=True)
    known = spec.model_arguments()
    known.pop("dim")
    own = {"mspt": known, "trees": {**known, **TREES}}
    told = [{"name": name, "arguments": {**own[name], **more}} for name, more, count in members for _ in range(count)]
    arguments = {"members": told, "out_channels": 1}
    task = FieldsTask.empty(create_model("blend", **arguments), spec.to_dict())
    task.position[-1] = 1.0
    task.made = Made("blend", arguments)
    return task


def test_the_cpu_takes_what_is_measured() -> None:
    plan = make_plan(known(), 1_000_000, chip=CHIP, memory=4000 * MB)
    assert plan.chunk == 50_000 and plan.host_gb == pytest.approx(1.1) and not plan.trouble
    assert plan.network_s == pytest.approx(4 * 1e6 * 1e-6 / 2) and plan.prepare_s == pytest.approx(1.0)
    assert plan.nodes_a_step == 2000 and not plan.checkpointing
    assert plan.train_gb == pytest.approx((2000 * 1e5 + STATE * 1000) / 1e9)
    tight = make_plan(known(host=1.0), 1_000_000, chip=CHIP, memory=700 * MB)
    assert tight.chunk == 35_000  # half of the memory at 10 kB a node, whole subsets


def test_gpus_share_the_nodes_and_start_operations() -> None:
    one, eight = (make_plan(known(), 1_000_000, gpus=n, chip=CHIP, memory=4000 * MB, efficiency=0.5) for n in (1, 8))
    assert one.chunk == int(GPU_SHARE * 1000 * MB / 1e4) == 80_000
    work = max(80_000 * 1e6 / (0.5 * 1e12), TRAFFIC * 80_000 * 1e4 / 1e11)
    assert one.network_s == pytest.approx(4 * 1e6 / 80_000 * (100 * LAUNCH + work))
    assert eight.network_s == pytest.approx(one.network_s / 8) and eight.nodes_a_step == 8 * one.nodes_a_step
    assert eight.step_s == pytest.approx(one.step_s + 2 * 4 * 1000 * 7 / 8 / 1e9)


def test_what_does_not_fit_is_computed_again_then_made_smaller_and_told() -> None:
    small = Chip("small", 150 * MB, 1e12, 1e9, 1e11)
    plan = make_plan(known(), 1_000_000, gpus=1, chip=small, memory=4000 * MB)
    assert plan.checkpointing and plan.nodes_a_step == 2000 and not plan.trouble
    assert plan.most_a_step[1] == pytest.approx(GPU_SHARE * 150 * MB / 3e4, rel=0.01)
    less = make_plan(known(again=None), 1_000_000, gpus=1, chip=small, memory=4000 * MB)
    assert not less.checkpointing and less.nodes_a_step < 2000
    assert "2,000 nodes" in less.trouble[0] and "task.nodes" in less.trouble[0]
    tiny = Chip("tiny", 5 * MB, 1e12, 1e9, 1e11)
    plan = make_plan(known(), 10_000_000, gpus=1, chip=tiny, memory=2000 * MB)
    assert any("too little memory for a subset of 1,000 nodes" in line for line in plan.trouble)
    assert any("cut the mesh into 3 parts" in line or "take one with more" in line for line in plan.trouble)
    whole = make_plan(known(subset=0), 10_000_000, gpus=1, chip=CHIP, memory=9000 * MB)
    assert any("the whole mesh of 10,000,000 nodes" in line and "subsets" in line for line in whole.trouble)


def test_time_decides_passes_and_steps() -> None:
    plan = make_plan(known(), 1_000_000, chip=CHIP, memory=4000 * MB, seconds=2.1)
    assert plan.passes == 2 and plan.steps == int(2.1 / plan.step_s) and not plan.trouble
    short = make_plan(known(), 1_000_000, chip=CHIP, memory=4000 * MB, seconds=1.2)
    assert short.passes == 1 and "more than the 1 s asked for" in short.trouble[0]
    with pytest.raises(InputError, match="nodes >= 1"):
        make_plan(known(), 0, chip=CHIP, memory=1e9)


def test_the_command_prints_plans_and_what_they_rest_on(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["plan", str(checkpoint), "--cells", "160e6", "--gpus", "0", "1", "8", "64", "--memory", "1TB"]
    assert main(command) == 0
    text = capsys.readouterr().out
    kinds = ["plan for 160,000,000 nodes", "this CPU:", "1 GPU:", "8 GPUs:", "64 GPUs:", "here by probes"]
    for words in (*kinds, "stated, not measured here: NVIDIA H100 SXM", "reading and features", "checkpointing"):
        assert words in text, words
    assert main([*command[:6], "--memory", "2GB", "--gpu", "a100", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["cells"] == 160_000_000 and "take one with more" in told["plans"][0]["trouble"][0]
    assert main([*command, "--gpu", "abacus"]) == 2 and "must be one of a100, h100" in capsys.readouterr().err
    assert main([*command, "--time", "soon"]) == 2 and "such as 2h" in capsys.readouterr().err
    assert main([*command[:-1], "12 potatoes"]) == 2 and "such as 12GB" in capsys.readouterr().err
    assert all(chip.memory > 4e10 for chip in CHIPS.values())


def test_what_is_fitted_in_closed_form_has_no_training() -> None:
    for gpus in (0, 8):
        plan = make_plan(known(train=None, again=None), 1_000_000, gpus=gpus, chip=CHIP, memory=4000 * MB)
        assert plan.chunk and plan.network_s > 0 and plan.nodes_a_step == 0 and not plan.trouble


def test_parts_of_a_blend_add_up_to_it() -> None:
    task = blend_of(("mspt", NETWORK, 2), ("trees", {}, 1))
    parts, whole = parts_of(task), prediction_cost(task)
    assert [(part.name, part.count) for part in parts] == [("mspt", 2), ("trees", 1)]
    calls = sum(part.count * part.cost.calls for part in parts)
    assert 0.6 * calls < whole.calls < 1.1 * calls  # members that were made alike share their inputs
    assert sum(part.count * part.cost.flops.at(1024) for part in parts) == pytest.approx(whole.flops.at(1024))
    assert whole.bytes.at(1024) >= 0.9 * max(part.cost.bytes.at(1024) for part in parts)
    known = Measured.of(task)
    alone = training_cost(blend_of(("mspt", NETWORK, 1)))
    assert known.train is not None and alone is None
    assert known.weights == sum(p.numel() for p in task.model.members[0].parameters())
    text = "\n".join(reasons(known, CHIP, False, 0.2))
    assert "2 x mspt" in text and "trees" in text and "a step trains one mspt" in text


def test_a_run_file_is_planned_from_its_first_case(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "demo", "--cells", "1e5", "--memory", "64GB"]) == 0
    assert "1,024 nodes a step" in capsys.readouterr().out


def test_predict_takes_a_limit(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from meshops.datasets import AhmedMini

    assert meshops.load(checkpoint).kind == "fields"
    AhmedMini("test").mesh(0).save(tmp_path / "body.vtp")
    command = ["predict", str(checkpoint), str(tmp_path / "body.vtp"), "--out", str(tmp_path / "out"), "--no-pictures"]
    assert main([*command, "--memory", "lots"]) == 2 and "a size of memory" in capsys.readouterr().err
    assert main([*command, "--memory", "50MB"]) == 2
    said = capsys.readouterr().err
    assert "--memory 0.05 GB: the process holds" in said and "before a mesh is read; give more" in said
    assert not (tmp_path / "out").exists()
    assert main([*command, "--memory", "30GB"]) == 0
    limit_memory(None)
