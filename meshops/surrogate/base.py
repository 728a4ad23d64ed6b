"""Surrogate: a trained task of any kind with all it needs to be used; the checkpoint is this object.

A checkpoint holds tensors and plain values only, and loads under ``torch.load(weights_only=True)``: opening one from a
stranger runs no code.
"""

from __future__ import annotations

import os
import platform
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch_geometric.data import Data

from meshops.aero.case_spec import CaseSpec
from meshops.aero.cases import Case, Source
from meshops.aero.conditions import FlowConditions, stream_of
from meshops.data.mesh_graph import MeshGraph
from meshops.errors import CheckpointError, InputError, listing
from meshops.models import create_model
from meshops.models.compress import compressed_model, empty_integers
from meshops.surrogate.checkpoint import as_written, read_checkpoint, write_checkpoint
from meshops.tasks import get_task
from meshops.tasks.base import ALONE, CaseSource, Context, Made, Plain, Spec, Stored, Task
from meshops.tasks.fields import FieldsTask
from meshops.tasks.numbers import NumbersTask
from meshops.tasks.prediction import Prediction
from meshops.tasks.report import Report
from meshops.trust import Novelty, Trust, calibrated_on, check_level, yardstick_rows
from meshops.trust.of_numbers import expected, placed, told_numbers
from meshops.version import __version__

UNCALIBRATED = (
    "this surrogate is not calibrated, its numbers carry no interval; calibrate it with 'meshops evaluate CKPT "
    "--calibrate ROOT' on cases it did not learn from"
)
UNHEARD = (
    8.0  # bits from which on rounding adds nothing that intervals would show: docs of AMQ, below 0.3 % of the error
)


@dataclass(eq=False)
class Surrogate:
    """A trained model of any kind.

    Attributes:
        task: Model and normalisation; its methods are what the kind can do (``task.rollout``, ``task.forecast``, ...).
        info: Where it comes from: data, run, software, held-out errors. Plain values.
        novelty: What is remembered of training cases; None where that is not known.
        trust: Its errors on cases it did not learn from; None: not calibrated, numbers come without intervals.
        bare: The same without features of the mesh itself, as for a CAD triangulation; None: as ``trust``.
    """

    task: Task  # type: ignore[type-arg]
    info: dict[str, Plain] = field(default_factory=dict)
    novelty: Novelty | None = None
    trust: Trust | None = None
    bare: Trust | None = None

    @property
    def kind(self) -> str:
        """Of the task: fields, rollout, autoencode, generate."""
        return self.task.kind

    @property
    def spec(self) -> Spec:
        """What is predicted."""
        return self.task.spec

    def predict(
        self,
        source: Source | Data | Case | None = None,
        *,
        scale: float | None = None,
        region: str | None = None,
        refine: bool = True,
        names: Mapping[str, str] | None = None,
        flow: FlowConditions | None = None,
        conditions: Mapping[str, float] | None = None,
        method: str | None = None,
        passes: int | None = None,
        chunk_size: int | None = None,
        cues: bool | None = None,
        level: float | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> Prediction:
        """Fields of a file, a PyVista mesh, a PyG graph or an opened :class:`~meshops.aero.cases.Case`.

        Args:
            source: Path of a mesh or of an OpenFOAM case, a PyVista mesh, a graph, or an opened case; None: the mesh
                that all training cases share, at other conditions.
            scale: Factor that brings the coordinates to metres. Without one, a body of an absurd length is refused.
            region: Parts of the file: name, group or pattern, several separated by commas.
            refine: Split triangles much coarser than the training meshes (the result is averaged back).
            names: Field of the model -> array of the file that holds its truth, where the names differ.
            flow: Flow past a body; default: that of an opened case, else of the training. Whether mirror images share
                one half was decided in training.
            conditions: Named conditions the model was trained with; numbers of the flow (``speed``, ``density``,
                ``yaw``, ...) change the flow.
            method: See :mod:`meshops.tasks.inference`; default from training.
            passes: Interleavings averaged; default from training.
            chunk_size: Nodes worked on at a time; bounds the memory. None: as many as fit into what is free.
            cues: Use features of the mesh itself; default: if it is like the training meshes.
            level: Of the intervals, such as 0.9; default: the highest up to 0.9 that the held-out cases support.
            progress: Called with the fraction done.

        Raises:
            InputError: The source cannot be used, the held-out cases do not support the level, or this kind does not
                predict single cases; the message says why.
        """
        task = self.task
        if isinstance(task, NumbersTask):
            if source is None:
                source = self._common_shape()
            told: dict[str, Any] = {"scale": scale, "region": region, "names": names, "conditions": conditions}
            return self.predict_case(task.open(source, **told), level=level)
        if not isinstance(task, FieldsTask):
            task.predict(source)  # says what to use instead
            raise AssertionError("a task that is not of fields predicted a case")
        unknown = [name for name in names or {} if name not in task.spec.fields]
        if unknown:
            raise InputError(
                f"no field {listing(unknown)} to compare with a true one; the model predicts "
                f"{listing(task.spec.fields)}"
            )
        if source is None:
            source = _shared_mesh(task, scale=scale, region=region, names=names)
        named, flow = _split_conditions(task, conditions or {}, flow)
        case = task.open(source, scale=scale, region=region, refine=refine, names=names, flow=flow, conditions=named)
        if self.novelty is not None and scale is None and case.body is not None and not isinstance(source, Case):
            self.novelty.check_length(case.body.length(case.flow), case.label)
        asked: dict[str, Any] = {"method": method, "passes": passes, "chunk_size": chunk_size, "cues": cues}
        return self.predict_case(case, level=level, progress=progress, **asked)

    def _common_shape(self) -> Data:
        """A graph that stands for the shape that all training cases share: only its size counts.

        Raises:
            InputError: They differ.
        """
        if self.trust is None or self.trust.shape or self.novelty is None:
            raise InputError("give the file of a shape: those of the training differ, and the results with them")
        pos = torch.zeros(2, cast(CaseSpec, self.spec).dim)
        pos[1, 0] = float(np.median(self.novelty.values[:, 0]))
        graph = MeshGraph(pos=pos)
        graph.name = "the shape of the training"
        return graph

    def predict_case(self, case: Case, *, level: float | None = None, **asked: Any) -> Prediction:
        """:meth:`predict` of a case that was opened for this surrogate; ``asked`` as there.

        Raises:
            InputError: The held-out cases do not support the level, or there are none.
        """
        task = self.task
        if isinstance(task, NumbersTask):
            assert self.trust is not None
            begin = time.perf_counter()
            verdict = None if self.novelty is None else placed(self.novelty, case, task.spec.conditions)
            if verdict is not None:
                verdict = replace(verdict, expected=expected(self.trust, verdict.level))
            return told_numbers(task, self.trust, case, verdict, level, time.perf_counter() - begin)
        assert isinstance(task, FieldsTask)
        if self.trust is None and level is not None:
            raise InputError(f"intervals of {100 * level:g} % are asked for, but {UNCALIBRATED}")
        if self.trust is not None and level is not None:
            check_level(level, len(self.trust.cases))  # before the work
        raw = task.raw(case, **asked)
        verdict = None if self.novelty is None else self.novelty.of_case(task, case)
        trust = self.trust if raw.cues or self.bare is None else self.bare
        if trust is None:
            told = task.told(raw)
            if told.numbers and UNCALIBRATED not in case.notes:
                case.notes.append(UNCALIBRATED)
            return replace(told, verdict=verdict)
        if verdict is not None:
            verdict = replace(verdict, expected=trust.expected(verdict.level, task))
        made = replace(trust.told(task, raw, verdict, level), verdict=verdict)
        case.notes.extend(note for note in trust.contradictions(task, made) if note not in case.notes)
        return made

    def calibrate(self, data: CaseSource, *, context: Context = ALONE) -> Surrogate:
        """A copy with intervals from cases it did not learn from.

        Args:
            data: Complete cases, none of them learnt from.
            context: Where progress goes.

        Raises:
            InputError: This kind has no calibration, or a case was learnt from.
        """
        task = self.task
        if not isinstance(task, FieldsTask):
            raise InputError(f"surrogates of kind '{task.kind}' have no calibration; only those of kind 'fields' have")
        trust, bare = calibrated_on(task, self.novelty, data, context)
        return replace(self, trust=trust, bare=bare)

    def evaluate(
        self, data: CaseSource, *, training: CaseSource | None = None, context: Context = ALONE, **asked: Plain
    ) -> Report:
        """Errors on cases with known truth.

        Args:
            data: Cases.
            training: The cases it was trained on: adds the yardsticks "nearest" and "average" for surfaces of bodies.
            context: Where progress and pictures go.
            **asked: Overrides what the run was asked (``steps``, ``samples``, ``passes``, ...).
        """
        if isinstance(self.task, FieldsTask | NumbersTask):
            report = self.task.evaluate(data, context=context, predict=self.predict_case, **asked)
            if self.trust is not None:
                report.baselines["constant"] = self.trust.constants(report.cases)
        else:
            report = self.task.evaluate(data, context=context, **asked)
        if training is not None and isinstance(self.task, FieldsTask):
            report.baselines |= yardstick_rows(self.task.spec, data, training)
        return report

    def compress(self, budget: float | None = None, bits: Sequence[int] | None = None) -> Surrogate:
        """A surrogate on integers, smaller and faster; for models on graphs (amq, mppde, graphvit, meshgraphnet).

        Intervals are kept only where the rounding they were measured with is that of the integers, or where it is
        nothing beside the error (8 bits and more); else calibrate anew.

        Args:
            budget: Uniform bits that a prediction may cost; None: as trained, or 8.
            bits: Bits of the rows, for models that were trained without quantisation.

        Raises:
            InputError: See :func:`meshops.models.compress.compressed_model`.
        """
        made = self.task.made
        if not made.name:
            raise InputError(f"a surrogate of kind '{self.kind}' has no network that could be compressed")
        model, name, arguments = compressed_model(self.task.model, made.name, dict(made.arguments), budget, bits)
        task = deepcopy(self.task)
        task.model, task.made = model, Made(name, arguments, integers=True)
        rounded = float(arguments["budget"])
        heard = rounded < UNHEARD and getattr(self.task.model, "budget", None) != rounded
        trust, bare = (None, None) if heard else (self.trust, self.bare)
        return Surrogate(task.eval(), dict(self.info), self.novelty, trust, bare)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the checkpoint (temporary name, then rename)."""
        novelty = None if self.novelty is None else self.novelty.to_dict()
        known = {key: None if t is None else t.to_dict() for key, t in (("trust", self.trust), ("bare", self.bare))}
        return write_checkpoint(path, {**task_content(self.task), "info": self.info, "novelty": novelty, **known})

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, device: str = "cpu") -> Surrogate:
        """Read a checkpoint of any kind.

        Raises:
            CheckpointError: Not a file, damaged, pickled code in it, or another program's.
            InputError: There is no such device.
        """
        content = read_checkpoint(Path(path))
        sound = as_written(content)
        place = checked_device(device)
        try:
            task = task_of(content, str(path)).eval().to(place)
            novelty = None if content["novelty"] is None else Novelty.from_dict(content["novelty"])
            known = [Trust.from_dict(content[key]) if content.get(key) else None for key in ("trust", "bare")]
            out = cls(task, dict(content["info"]), novelty, *known)
        except CheckpointError:
            raise
        except InputError as error:
            raise CheckpointError(f"{path}: {error}") from None
        except Exception as error:  # what a stranger wrote can fail anywhere
            reason = f"{type(error).__name__}: {error}"[:200]
            raise CheckpointError(
                f"{path}: damaged, its content does not fit together ({reason}); train again"
            ) from None
        if not all(bool(weight.isfinite().all()) for weight in task.parameters()):
            raise CheckpointError(f"{path}: holds weights that are NaN or infinite; train again")
        if not sound:  # last: what else is wrong says more
            raise CheckpointError(f"{path}: damaged, its content is not what was written; copy or train it again")
        return out


def load(path: str | os.PathLike[str], *, device: str = "cpu") -> Surrogate:
    """Open a trained surrogate of any kind; see :meth:`Surrogate.load`."""
    return Surrogate.load(path, device=device)


def task_content(task: Task) -> dict[str, Stored]:  # type: ignore[type-arg]
    """A task as a checkpoint holds it, those it works with included."""
    return {
        "kind": task.kind,
        "model": asdict(task.made),
        "spec": task.spec.to_dict(),
        "asked": task.asked,
        "memory": task.memory(),
        "weights": {name: value.detach().cpu() for name, value in task.state_dict().items()},
        "parts": {name: task_content(part) for name, part in task.parts().items()},
    }


def task_of(content: Mapping[str, Stored], path: str) -> Task:  # type: ignore[type-arg]
    """Inverse of :func:`task_content`; ``path`` is for messages."""
    made = Made(**cast("dict[str, Any]", content["model"]))
    with no_larger_than(cast("dict[str, torch.Tensor]", content["weights"]), path):
        build = empty_integers if made.integers else create_model
        model = build(made.name, **made.arguments) if made.name else torch.nn.Identity()
    task = get_task(str(content["kind"])).empty(model, cast("dict[str, Plain]", content["spec"]))
    try:
        task.load_state_dict(cast("dict[str, torch.Tensor]", content["weights"]))
    except RuntimeError as error:
        first = " ".join(str(error).splitlines()[1].split())[:120]
        raise CheckpointError(
            f"{path}: its weights do not fit the model '{made.name}' it names ({first} ...); train again"
        ) from None
    task.made, task.asked = made, dict(cast("dict[str, Plain]", content["asked"]))
    task.remember(cast("dict[str, Stored]", content["memory"]))
    parts = cast("dict[str, dict[str, Stored]]", content["parts"])
    task.attach({name: task_of(part, path) for name, part in parts.items()})
    return task


@contextmanager
def no_larger_than(weights: Mapping[str, torch.Tensor], path: str) -> Iterator[None]:
    """End the building of a model that has far more weights than a checkpoint holds, before it takes all memory.

    Raises:
        CheckpointError: It has.
    """
    tensors, values = 1000 + 20 * len(weights), 10_000_000 + 20 * sum(w.numel() for w in weights.values())
    thread, made = threading.get_ident(), [0, 0]

    def count(module: torch.nn.Module, name: str, weight: torch.nn.Parameter | None) -> None:
        del module, name
        if weight is None or threading.get_ident() != thread:
            return
        made[0] += 1
        made[1] += weight.numel()
        if made[0] > tensors or made[1] > values:
            raise CheckpointError(
                f"{path}: damaged, the model it names is far larger than its {len(weights)} weights; train again"
            )

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()


def checked_device(name: str) -> torch.device:
    """The device of that name.

    Raises:
        InputError: It is not there.
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"device must be cpu, cuda or cuda:NUMBER, got '{name}'") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError("device 'cuda': this machine has no GPU that PyTorch can use; use --device cpu")
    return device


def software() -> dict[str, Plain]:
    """Versions that a result depends on."""
    import torch_geometric

    return {
        "meshops": __version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "torch_geometric": torch_geometric.__version__,
        "numpy": str(np.__version__),
    }


def _shared_mesh(task: FieldsTask, **of_files: object) -> MeshGraph:
    """The mesh of the training cases.

    Raises:
        InputError: They do not share one, or an option for files is given.
    """
    mesh: MeshGraph | None = getattr(task, "reference", None)
    if mesh is None:
        raise InputError(
            "a mesh is missing: the training cases do not share one; give the file of the shape to predict"
        )
    given = [name for name, value in of_files.items() if value]
    if given:
        raise InputError(f"{listing(given)} is for files; leave it out when predicting on the mesh of the training")
    return mesh.clone_shallow()


def _split_conditions(
    task: FieldsTask, given: Mapping[str, float], flow: FlowConditions | None
) -> tuple[dict[str, float], FlowConditions | None]:
    """Conditions the model was trained with, and the flow changed by the others that describe one."""
    settable = FlowConditions.settable() if task.spec.flow_stated else ()
    of_flow = {name: v for name, v in given.items() if name in settable and name not in task.spec.conditions}
    named = {name: v for name, v in given.items() if name not in of_flow}  # unknown ones are refused on opening
    base = flow or task.spec.flow
    changed = base.changed(of_flow) if of_flow else base
    if task.spec.flow_stated and flow is None:  # a condition that is the speed or density says so of the flow too
        changed = stream_of(changed, {name: v for name, v in named.items() if name in task.spec.conditions})
    return named, flow if changed == base else changed
