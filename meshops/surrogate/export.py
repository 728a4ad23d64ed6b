"""The network of a surrogate for other runtimes: ``torch.export`` (``.pt2``) or ONNX, with its patches as inputs.

What is exported is the network between two normalisations, not what makes its inputs: features of a body and patches
come from meshops (``task.prepared``, ``model.unpack``), or from whatever computes the same numbers. Numbers of nodes,
patches and slots may differ from call to call; graphs are given one by one.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from meshops.errors import InputError, listing
from meshops.io import replacing
from meshops.models.mspt import MSPT, MSPTInputs
from meshops.ops.dispatch import definitions
from meshops.optional import require
from meshops.surrogate.base import Surrogate
from meshops.tasks.fields import FAR, FieldsTask

FORMATS = (".pt2", ".onnx")
INPUTS = ("pos", "x", "index", "mask")
TOLERANCE = 1e-4  # of the largest output
SIZES = (301, 517)  # least nodes of the traced graph, and of the one it is checked with


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: File.
        difference: Largest difference to PyTorch on a graph of another size, over the largest output.
        about: Names of inputs and outputs, as the file holds them under ``meshops``.
    """

    path: Path
    difference: float
    about: dict[str, Any]


class PatchNetwork(nn.Module):
    """Normalisation, network, and back.

    Args:
        task: Whose model works on patches.
    """

    def __init__(self, task: FieldsTask) -> None:
        super().__init__()
        self.model = task.model
        self.input_norm, self.condition_norm, self.output_norm = task.input_norm, task.condition_norm, task.output_norm
        self.register_buffer("position", task.position.clone())
        self.bodies, self.num_conditions = task.spec.bodies, len(task.spec.conditions)

    def forward(self, pos: Tensor, x: Tensor, index: Tensor, mask: Tensor) -> Tensor:
        """Fields ``[n, c]``, see :func:`export`."""
        position = cast(Tensor, self.position)
        features, told = x[:, : x.shape[1] - self.num_conditions], x[:, x.shape[1] - self.num_conditions :]
        features = self.input_norm(features)
        if self.bodies:
            features = features.nan_to_num(0.0).clamp(-FAR, FAR)
        if self.num_conditions:
            features = torch.cat([features, self.condition_norm(told).clamp(-FAR, FAR)], 1)
        inputs = MSPTInputs((pos - position[:-1]) / position[-1], features, index, mask)
        out: Tensor = self.output_norm.inverse(self.model(inputs))
        return out


def export(surrogate: Surrogate, path: str | Path) -> Exported:
    """Write the network of a surrogate, and check what was written against PyTorch.

    The file takes one graph: ``pos [n, d]`` and ``x [n, f + c]`` (features, then the conditions of the case in every
    row) as ``task.prepared`` makes them, ``index [1, p, l]`` and ``mask [1, p, l]`` as ``model.unpack`` makes them. It
    gives ``[n, channels]``: fields at the nodes, of bodies in units of density and speed.

    Args:
        surrogate: Of kind ``fields`` with a model on patches (MSPT).
        path: Ends in ``.pt2`` (``torch.export.load``) or ``.onnx``.

    Raises:
        InputError: The ending is another, the model cannot be exported, or the file gives other numbers.
        MissingPackageError: The extra ``export`` is not installed.
    """
    path = Path(path)
    if path.suffix not in FORMATS:
        raise InputError(f"{path}: cannot export to '{path.suffix}'; give a file that ends in {' or '.join(FORMATS)}")
    if path.suffix == ".onnx":
        for package in ("onnx", "onnxscript", "onnxruntime"):
            require(package, extra="export", purpose="networks in ONNX")
    task = exportable(surrogate)
    network = PatchNetwork(task).cpu().eval()
    traced, other = (example(task, count) for count in SIZES)
    about = description(task)
    with torch.no_grad(), replacing(path) as partial:
        with quiet(), definitions():
            try:
                (_write_onnx if path.suffix == ".onnx" else _write_pt2)(network, traced, partial, about)
            except Exception as error:  # a tracer fails in many ways
                reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
                raise InputError(f"this network cannot be exported to '{path.suffix}' ({reason})") from error
        expected = network(*other)
        given = (_run_onnx if path.suffix == ".onnx" else _run_pt2)(partial, other)
        difference = float((given - expected).abs().max() / expected.abs().max().clamp(min=1e-30))
        if not difference < TOLERANCE:
            raise InputError(f"the exported network differs from PyTorch by {difference:.1e} of its largest output")
    return Exported(path, difference, about)


def exportable(surrogate: Surrogate) -> FieldsTask:
    """The task of a surrogate whose network can be exported.

    Raises:
        InputError: It has none; says which have.
    """
    task = surrogate.task
    if not isinstance(task, FieldsTask):
        raise InputError(f"surrogates of kind '{task.kind}' cannot be exported yet; those of kind 'fields' can")
    model = task.model
    if not isinstance(model, MSPT):
        raise InputError(
            f"the model '{task.made.name}' cannot be exported yet; give a surrogate whose model is "
            f"{listing(('mspt',))}, the network with its patches as inputs"
        )
    if model.embed.time is not None:
        raise InputError("networks that are told a time cannot be exported yet; train one without")
    return task


def example(task: FieldsTask, count: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Inputs of a graph of random nodes, in the order of :data:`INPUTS`."""
    draw = torch.Generator().manual_seed(count)
    spec, position, model = task.spec, task.position.cpu(), cast(Any, task.model)
    count += 3 * max(model.patch_size or 0, (model.num_patches or 0) * model.num_supernodes)  # several of each
    pos = torch.rand(count, spec.dim, generator=draw) * 2 - 1
    x = torch.randn(count, len(spec.feature_names()) + len(spec.conditions), generator=draw)
    unpacked = model.unpack(Data(pos=pos, x=x))
    index, mask = unpacked.index.cpu(), unpacked.mask
    whole = torch.ones_like(index, dtype=torch.bool) if mask is None else mask.cpu()
    return pos * position[-1] + position[:-1], x, index, whole


def description(task: FieldsTask) -> dict[str, Any]:
    """What a user of the file has to know. Plain values."""
    spec = task.spec
    return {
        "model": task.made.name,
        "inputs": list(INPUTS),
        "features": list(spec.feature_names()),
        "conditions": list(spec.conditions),
        "fields": list(spec.fields),
        "sizes": list(spec.sizes),
        "units": "of density and speed" if spec.bodies else list(spec.units),
    }


def _shapes(network: PatchNetwork) -> dict[str, Any]:
    """Sizes that may change: nodes, patches, slots (a multiple of the supernodes of a patch)."""
    model = cast(Any, network.model)
    nodes, patches, slots = (torch.export.Dim(name, min=2) for name in ("n", "p", "l"))
    length: Any = slots if model.num_supernodes == 1 else model.num_supernodes * slots
    return {"pos": {0: nodes}, "x": {0: nodes}, "index": {1: patches, 2: length}, "mask": {1: patches, 2: length}}


def _write_pt2(network: PatchNetwork, inputs: Sequence[Tensor], path: Path, about: dict[str, Any]) -> None:
    program = torch.export.export(network, tuple(inputs), dynamic_shapes=_shapes(network))
    torch.export.save(program, path, extra_files={"meshops": json.dumps(about)})


def _write_onnx(network: PatchNetwork, inputs: Sequence[Tensor], path: Path, about: dict[str, Any]) -> None:
    program: Any = torch.onnx.export(
        network, tuple(inputs), dynamo=True, dynamic_shapes=_shapes(network), input_names=INPUTS,
        output_names=["fields"], external_data=False, verbose=False,
    )  # fmt: skip
    program.model.metadata_props["meshops"] = json.dumps(about)
    program.save(path)


def _run_pt2(path: Path, inputs: Sequence[Tensor]) -> Tensor:
    out: Tensor = torch.export.load(path).module()(*inputs)
    return out


def _run_onnx(path: Path, inputs: Sequence[Tensor]) -> Tensor:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    given = {name: tensor.numpy() for name, tensor in zip(INPUTS, inputs, strict=True)}
    return torch.from_numpy(session.run(None, given)[0])


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Exporters talk."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
