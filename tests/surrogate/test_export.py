"""Networks for other runtimes: the same numbers on real cases, clear errors for what cannot be exported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import meshops
from meshops.cli.main import main
from meshops.datasets import create
from meshops.errors import InputError
from meshops.ops.dispatch import definitions
from meshops.ops.patches import gather_patches
from meshops.surrogate.export import INPUTS, TOLERANCE, export


def case_inputs(surrogate: Any) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Inputs of a held-out case, and the fields PyTorch gives."""
    task = surrogate.task
    graph = task.prepared(task.open(create("ahmed_mini", split="test")[0]))[0]
    with torch.no_grad():
        unpacked = task.model.unpack(task.inputs(graph))
        fields = task.output_norm.inverse(task(graph))
    mask = torch.ones_like(unpacked.index, dtype=torch.bool) if unpacked.mask is None else unpacked.mask
    return dict(zip(INPUTS, (graph.pos, graph.x, unpacked.index, mask), strict=True)), fields


def test_an_exported_program_gives_the_fields_of_a_case(checkpoint: Path, tmp_path: Path) -> None:
    surrogate = meshops.load(checkpoint)
    made = export(surrogate, tmp_path / "net.pt2")
    assert made.difference < TOLERANCE
    content: dict[str, Any] = {"meshops": ""}
    program = torch.export.load(tmp_path / "net.pt2", extra_files=content)
    inputs, fields = case_inputs(surrogate)
    torch.testing.assert_close(
        program.module()(*inputs.values()), fields, rtol=1e-4, atol=1e-4 * float(fields.abs().max())
    )
    about = json.loads(content["meshops"])
    assert about["fields"] == ["pMean", "wallShearStressMean"] and about["features"] == list(
        surrogate.spec.feature_names()
    )
    targets = {str(node.target) for node in program.graph.nodes}
    assert not any("meshops" in target for target in targets)


@pytest.mark.slow
def test_onnxruntime_gives_the_fields_of_a_case(checkpoint: Path, tmp_path: Path, capsys: Any) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra export")
    assert main(["export", str(checkpoint), "--out", str(tmp_path / "net.onnx"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["difference"] < TOLERANCE
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"), providers=["CPUExecutionProvider"])
    assert session.get_modelmeta().custom_metadata_map["meshops"]
    inputs, fields = case_inputs(meshops.load(checkpoint))
    (found,) = session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})
    largest = float(fields.abs().max())
    torch.testing.assert_close(torch.from_numpy(found), fields, rtol=1e-4, atol=1e-4 * largest)


def test_what_cannot_be_exported_is_refused(checkpoint: Path, sheets_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot export to '.bin'; give a file that ends in .pt2 or .onnx"):
        export(meshops.load(checkpoint), tmp_path / "net.bin")
    with pytest.raises(
        InputError, match=r"the model '.*' cannot be exported yet; give a surrogate whose model is 'mspt'"
    ):
        export(meshops.load(sheets_checkpoint), tmp_path / "net.pt2")
    assert list(tmp_path.iterdir()) == []


def test_definitions_give_the_same_without_operators() -> None:
    values, index = torch.randn(5, 2), torch.tensor([[0, 4], [2, 3]])
    with definitions():
        traced = torch.export.export(Gather(), (values, index))
        alone = gather_patches(values, index, None)
    assert torch.equal(alone, gather_patches(values, index, None))
    assert "meshops" not in str(traced.graph) and "meshops" in str(torch.export.export(Gather(), (values, index)).graph)


class Gather(torch.nn.Module):
    def forward(self, values: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        return gather_patches(values, index, None)
