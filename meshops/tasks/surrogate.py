"""Surrogate: a trained task with everything needed to use it on a new shape. The checkpoint is this object.

A checkpoint holds tensors and plain values only, and loads under ``torch.load(weights_only=True)``: opening one from a
stranger runs no code.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from meshops.aero.conditions import FlowConditions
from meshops.aero.features import body_of
from meshops.aero.forces import Forces
from meshops.aero.frame import Frame
from meshops.aero.symmetry import LOPSIDED, lopsided_share
from meshops.data.mesh_graph import MeshGraph
from meshops.data.normalize import Normalizer
from meshops.errors import CheckpointError
from meshops.metrics.fields import FieldMetrics
from meshops.models import create_model
from meshops.tasks.cases import Case, open_case
from meshops.tasks.checkpoint import read_checkpoint, write_checkpoint
from meshops.tasks.compress import compressed_model, empty_integers
from meshops.tasks.envelope import Envelope, Judgement
from meshops.tasks.inference import Method, predict_nodes
from meshops.tasks.steady import SteadySpec, SteadyTask, varying_features, without_cues


@dataclass(frozen=True, eq=False)
class Prediction:
    """Fields on the original cells of one file, and what follows from them.

    Attributes:
        case: The file as it was read: original cells, arrays, geometry.
        fields: Predicted values per cell or point of ``case.mesh``, physical units, axes of the file.
        truth: True values where the file has them.
        errors: Relative L2, MAE and R2 per field, where the truth is known.
        forces: Integrated prediction (surface with pressure), else None; ``true_forces`` the same for the truth.
        judgement: Place of the shape relative to the training set; None for volumes.
        cues: Features of the mesh itself were used.
        seconds: Time of reading, features and network.
    """

    case: Case
    fields: dict[str, NDArray[np.float32]]
    truth: dict[str, NDArray[np.float32]]
    errors: dict[str, dict[str, float]]
    forces: Forces | None
    true_forces: Forces | None
    judgement: Judgement | None
    cues: bool
    seconds: float

    @property
    def mesh(self) -> Any:
        """PyVista mesh with the original arrays, ``<field>_predicted`` and, where known, ``<field>_error``."""
        from meshops.data.writers import with_predictions  # importing VTK takes a second

        return with_predictions(self.case.mesh, self.fields, association=self.case.location)

    def to_dict(self) -> dict[str, Any]:
        """Numbers for JSON: forces, errors, place in the training set."""
        return {
            "file": self.case.label,
            "cells": int(self.case.mesh.n_cells),
            "forces": None if self.forces is None else self.forces.to_dict(),
            "forces_of_true_fields": None if self.true_forces is None else self.true_forces.to_dict(),
            "errors": self.errors,
            "training_set": None if self.judgement is None else self.judgement.to_dict(),
            "notes": list(self.case.notes),
            "mesh_cues": self.cues,
            "seconds": round(self.seconds, 3),
        }


@dataclass(eq=False)
class Surrogate:
    """A trained model that predicts fields for meshes.

    Attributes:
        task: Model and normalisation.
        model_name, model_arguments: How to build the model again.
        envelope: Descriptors of the training shapes, None for volumes.
        cell_size: Median edge length of the training meshes over their body length: coarser files are refined.
        cell_points: Mean number of points of their cells: 3 for triangles, about 4 for solver meshes.
        info: Where it comes from: data, run, software, held-out errors. Plain values.
        integers: The weights are integers, see :meth:`compress`.
    """

    task: SteadyTask
    model_name: str
    model_arguments: dict[str, Any]
    envelope: Envelope | None = None
    cell_size: float | None = None
    cell_points: float | None = None
    info: dict[str, Any] = field(default_factory=dict)
    integers: bool = False

    @property
    def spec(self) -> SteadySpec:
        """What is predicted."""
        return self.task.spec

    def predict(
        self,
        source: Any,
        *,
        scale: float | None = None,
        region: str | None = None,
        method: Method = "interleaved",
        passes: int | None = None,
        chunk_size: int = 50_000,
        refine: bool = True,
        cues: bool | None = None,
        names: Mapping[str, str] | None = None,
        conditions: FlowConditions | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> Prediction:
        """Fields of a file, a PyVista mesh or a :class:`Case`.

        Args:
            source: Path of a mesh or of an OpenFOAM case, a PyVista mesh, or an opened case.
            scale: Factor that brings the coordinates to metres. Without one, a body of an absurd length is refused.
            region: Boundary patch of an OpenFOAM case.
            method: See :mod:`meshops.tasks.inference`.
            passes: Interleavings averaged; default from training.
            chunk_size: Nodes worked on at a time; bounds the memory.
            refine: Split triangles much coarser than the training meshes (the result is averaged back).
            cues: Use features of the mesh itself; default: if it is like the training meshes.
            names: Field of the model -> array of the file that holds its truth, where the names differ.
            conditions: Flow past the body: axes, speed, density, unit of the pressure; default: that of an opened
                case, else of the training. Whether mirror images share one half was decided in training.
            progress: Called with the fraction done.

        Raises:
            InputError: The file cannot be used; the message says why.
        """
        start = time.perf_counter()
        case = self._open(source, scale, region, names, refine, conditions)
        used = self._like_training_mesh(case) if cues is None else cues
        prepared, frame = self._prepared(case)
        if not used:
            prepared = without_cues(prepared, self.spec)
        values = predict_nodes(
            self.task, prepared, method=method, passes=passes, chunk_size=chunk_size, progress=progress
        )
        norm = self.task.output_norm
        device = norm.scale.device
        physical = self.task.physical(values.to(device), frame.to(device), case.conditions)
        fine = {name: array.cpu().numpy() for name, array in physical.items()}
        judgement = None if self.envelope is None or case.body is None else self._judge(case)
        return Prediction(
            case=case,
            fields={name: case.to_mesh(array) for name, array in fine.items()},
            truth=case.truth,
            errors=self._errors(case, fine),
            forces=case.forces(fine, self.spec),
            true_forces=case.forces(case.truth, self.spec) if case.truth and not case.refined else None,
            judgement=judgement,
            cues=used,
            seconds=time.perf_counter() - start,
        )

    def _open(
        self,
        source: Any,
        scale: float | None,
        region: str | None,
        names: Mapping[str, str] | None,
        refine: bool,
        conditions: FlowConditions | None,
    ) -> Case:
        if isinstance(source, Case):
            if conditions is not None and self.spec.at(conditions) != source.conditions:
                source.conditions, source.prepared = self.spec.at(conditions), None
            return source
        size = self.cell_size if refine else None
        case = open_case(
            source, self.spec, scale=scale, region=region, names=names, cell_size=size, conditions=conditions
        )
        if scale is None and self.envelope is not None and case.body is not None:
            self.envelope.check_length(case.body.length(case.conditions), case.label)
        return case

    def _prepared(self, case: Case) -> tuple[MeshGraph, Frame]:
        if case.prepared is None:
            case.prepared = self.task.prepare(case.graph, self.spec, case.conditions)
            frame = case.prepared[1]
            if frame.folded:
                case.lopsided = lopsided_share(body_of(case.graph, frame, self.spec.domain))
            if case.lopsided > LOPSIDED:
                case.notes.append(
                    f"{case.label}: the body has no mirror plane across the flow ({100 * case.lopsided:.0f} % of its "
                    "area has no mirror image), but the model learnt from bodies that have one and uses it"
                )
        return case.prepared

    def _like_training_mesh(self, case: Case) -> bool:
        """Cells about as large and with as many points as those of the training meshes; says so when they are not."""
        if not self.spec.features.cues(self.spec.domain):
            return False
        alike = False
        if self.cell_size is not None and self.cell_points is not None and case.body is not None and not case.refined:
            size, points = case.body.resolution(case.conditions)
            alike = 0.5 < size / self.cell_size < 2 and abs(points - self.cell_points) < 0.4
        if not alike:
            case.notes.append(
                "the mesh is not like the simulation meshes of the training set (a CAD triangulation?): features of "
                "the mesh itself were left out, expect the errors given for that"
            )
        return alike

    def _judge(self, case: Case) -> Judgement:
        assert self.envelope is not None and case.body is not None
        value = case.body.descriptors(case.conditions)
        hint = self.envelope.unit_hint(value)
        if hint:
            case.notes.append(hint)
        prepared, _ = self._prepared(case)
        lopsided = case.lopsided if case.lopsided > LOPSIDED else 0.0
        return self.envelope.judge(value, varying_features(prepared, self.spec), lopsided=lopsided)

    def _errors(self, case: Case, fields: Mapping[str, NDArray[np.float32]]) -> dict[str, dict[str, float]]:
        errors = {}
        for name, truth in case.truth.items():
            metric = FieldMetrics(name)
            area = None if case.graph.get("area") is None or case.refined else case.graph.area
            predicted = torch.as_tensor(case.to_mesh(fields[name]))
            keep = torch.as_tensor(case.used)
            metric.update("", predicted[keep], torch.as_tensor(truth)[keep], None if area is None else area[keep])
            errors[name] = metric.compute()
        return errors

    def compress(self, budget: float | None = None, bits: Sequence[int] | None = None) -> Surrogate:
        """A surrogate on integers, smaller and faster; for models on graphs (amq, mppde, graphvit, meshgraphnet).

        Args:
            budget: Uniform bits that a prediction may cost; None: as trained, or 8.
            bits: Bits of the rows, for models that were trained without quantisation.

        Raises:
            InputError: See :func:`meshops.tasks.compress.compressed_model`.
        """
        model, name, arguments = compressed_model(self.task.model, self.model_name, self.model_arguments, budget, bits)
        task = deepcopy(self.task)
        task.model = model
        return replace(
            self, task=task.eval(), model_name=name, model_arguments=arguments, info=dict(self.info), integers=True
        )

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the checkpoint (temporary name, then rename)."""
        content = {
            "model": {"name": self.model_name, "arguments": self.model_arguments},
            "frame": "body",
            "spec": self.spec.to_dict(),
            "weights": {name: value.detach().cpu() for name, value in self.task.state_dict().items()},
            "envelope": None if self.envelope is None else self.envelope.to_dict(),
            "cell_size": self.cell_size,
            "cell_points": self.cell_points,
            "info": self.info,
            "integers": self.integers,
        }
        return write_checkpoint(path, content)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, device: str = "cpu") -> Surrogate:
        """Read a checkpoint.

        Raises:
            CheckpointError: Not a file, damaged, pickled code in it, or another program's.
        """
        return cls.from_content(read_checkpoint(Path(path)), path, device=device)

    @classmethod
    def from_content(
        cls, content: Mapping[str, Any], path: str | os.PathLike[str], *, device: str = "cpu"
    ) -> Surrogate:
        """Surrogate from the content of a checkpoint; ``path`` is for messages."""
        if content.get("task", "steady") != "steady":
            raise CheckpointError(f"{path}: holds a surrogate of trajectories; open it with meshops.load")
        if content.get("frame") != "body":
            raise CheckpointError(
                f"{path}: written by an older meshops, whose models depend on the place of a body in its file; train "
                "again"
            )
        spec = SteadySpec.from_dict(content["spec"])
        integers = bool(content.get("integers", False))
        make = empty_integers if integers else create_model
        model = make(content["model"]["name"], **content["model"]["arguments"])
        weights = content["weights"]
        task = SteadyTask(
            model,
            spec,
            Normalizer.identity(weights["input_norm.shift"].numel()),
            Normalizer.identity(weights["output_norm.shift"].numel()),
            torch.zeros(4),
        )
        try:
            task.load_state_dict(weights)
        except RuntimeError as error:
            raise CheckpointError(
                f"{path}: weights do not fit the model '{content['model']['name']}': {error}"
            ) from None
        envelope = None if content["envelope"] is None else Envelope.from_dict(content["envelope"])
        task.eval().to(device)
        return cls(
            task, content["model"]["name"], content["model"]["arguments"], envelope, content["cell_size"],
            content["cell_points"], content["info"], integers,
        )  # fmt: skip


def software() -> dict[str, str]:
    """Versions that a result depends on."""
    import torch_geometric

    import meshops

    return {
        "meshops": meshops.__version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "torch_geometric": torch_geometric.__version__,
        "numpy": str(np.__version__),
    }
