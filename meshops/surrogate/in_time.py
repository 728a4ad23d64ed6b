"""From one state on a mesh file to the states that follow: prediction of networks that step in time, and its files."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from meshops.aero.cases import Case, check_conditions
from meshops.aero.opening import open_case
from meshops.checks import check_counts
from meshops.errors import InputError, listing
from meshops.io import replacing_folder, write_json, write_text
from meshops.surrogate.base import Surrogate
from meshops.tasks import MeshRollout
from meshops.tasks.base import Plain
from meshops.tasks.mesh_states import Frames, told

if TYPE_CHECKING:
    from meshops.aero.cases import Source

OWN = re.compile(r"step_\d{4,}\.vtu")
MOST_DRAWN = 20_000  # nodes of a plane mesh that is animated


@dataclass(frozen=True, eq=False)
class Future:
    """The states that follow one.

    Attributes:
        case: The state it starts from, as it was opened.
        fields: ``[t, n]`` or ``[t, n, k]`` of each field, physical units, at the points or cells of ``case.mesh``; the
            first is the start.
        units: Of each field.
        time_step: Time between two states, s; 0 where unknown.
        notes: What the user should know.
        seconds: It took.
    """

    case: Case
    fields: dict[str, NDArray[np.float32]]
    units: dict[str, str]
    time_step: float
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def steps(self) -> int:
        """Number of predicted states."""
        return len(next(iter(self.fields.values()))) - 1

    def times(self) -> list[float]:
        """Time of each state after the start, s; their number where the step is unknown."""
        return [k * (self.time_step or 1.0) for k in range(self.steps + 1)]

    def line(self) -> str:
        """For the screen."""
        length = f", {self.times()[-1]:.4g} s" if self.time_step else ""
        last = ", ".join(f"{name} {v[-1].min():.4g} to {v[-1].max():.4g} {self.units[name]}".rstrip()
                         for name, v in self.fields.items())  # fmt: skip
        return f"{self.steps} steps{length} on {self.case.rows:,} {self.case.location}s; at the end {last}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values: conditions, times, and least, mean and largest value of each field at each time."""
        axes = {name: tuple(range(1, values.ndim)) for name, values in self.fields.items()}
        return {
            "file": self.case.label,
            "nodes": self.case.rows,
            "conditions": dict(self.case.conditions),
            "time_step": self.time_step or None,
            "times": self.times(),
            "fields": {
                name: {
                    "unit": self.units[name], "min": values.min(axes[name]).tolist(),
                    "mean": values.mean(axes[name]).tolist(), "max": values.max(axes[name]).tolist(),
                }
                for name, values in self.fields.items()
            },
            "notes": list(self.notes),
            "seconds": self.seconds,
        }  # fmt: skip


def predict_future(
    surrogate: Surrogate,
    source: Source,
    *,
    steps: int | None = None,
    conditions: Mapping[str, float] | None = None,
    names: Mapping[str, str] | None = None,
    scale: float | None = None,
    region: str | None = None,
) -> Future:
    """The states that follow the one in a file.

    Args:
        surrogate: Of kind rollout, on meshes.
        source: Path of a mesh or a case, or a PyVista mesh, with the fields of one state and the inputs the network
            takes; of several times the last.
        steps: How many; default: as many as it was judged on.
        conditions: Named conditions; those left out are looked for in the file.
        names: Field -> array of the file that holds it, where the names differ.
        scale: Factor that brings the coordinates to metres.
        region: Parts of the file.

    Raises:
        InputError: The surrogate does not step on meshes, the file lacks a field, an input or a condition, or the
            network needs values that only data have (walls and inflows that are known in advance).

    Example:
        >>> import meshops
        >>> surrogate = meshops.load("model.ckpt")  # doctest: +SKIP
        >>> future = predict_future(surrogate, "start.vtu", steps=50, conditions={"load": 3.0})  # doctest: +SKIP
        >>> future.fields["temperature"].shape  # doctest: +SKIP
        (51, 4021)
    """
    task = surrogate.task
    if not isinstance(task, MeshRollout):
        task.predict(source)  # says what to use instead
        raise AssertionError("a task that is no rollout on meshes predicted a case")
    spec, wanted = task.spec, task.spec.case_spec()
    if spec.forced:
        raise InputError(
            "this network takes the values of some nodes (walls, inflow) from the data at every step, and a file of "
            "one state has none; use surrogate.task.rollout(window) in Python"
        )
    judged = int(str(task.asked["steps"]))
    count = judged if steps is None else steps
    check_counts(1, steps=count)
    check_conditions(conditions or {}, wanted)
    start = time.perf_counter()
    case = open_case(source, wanted, scale=scale, region=region, names=names, conditions=conditions)
    state = torch.from_numpy(_state(case, spec.fields))
    graph = case.graph
    if graph.get("edge_index") is None:
        raise InputError(f"{case.label}: points without cells have no neighbours to step with; give a mesh")
    conditions_of = told(spec, case.conditions, case.label)
    x = graph.get("x") if spec.inputs else None
    frames = Frames(
        graph.pos.float().expand(count + 1, *graph.pos.shape),
        state.expand(count + 1, *state.shape),
        torch.zeros(count + 1, len(state), dtype=torch.int64),
        [graph.edge_index] * (count + 1),
        None if x is None else x.float().expand(count + 1, *x.shape),
        conditions=conditions_of,
        times=spec.time_step * torch.arange(count + 1, dtype=torch.float64) if spec.uneven else None,
    )
    out = torch.cat([state.unsqueeze(0), task.rollout(frames)]).numpy()
    fields = {name: np.ascontiguousarray(_flat(out[..., channels])) for name, channels in spec.slices().items()}
    made = Future(
        case, fields, dict(zip(spec.fields, spec.units, strict=True)), spec.time_step,
        [*case.notes, *_doubts(task, case, fields, count, judged, surrogate.info.get("held_out"))],
        time.perf_counter() - start,
    )  # fmt: skip
    return made


def _state(case: Case, fields: Sequence[str]) -> NDArray[np.float32]:
    """``[n, c]`` values of the fields of a file.

    Raises:
        InputError: One is missing, or not finite everywhere.
    """
    lost = [name for name in fields if name not in case.truth]
    if lost:
        mesh = case.original()
        there = [*mesh.cell_data, *mesh.point_data]
        raise InputError(
            f"{case.label}: no field {listing(lost)} to start from at the {case.location}s; arrays: {listing(there)}; "
            f"name another one with --truth {lost[0]}=ARRAY (names={{...}} in Python)"
        )
    parts = [np.asarray(case.truth[name], dtype=np.float32).reshape(case.rows, -1) for name in fields]
    bad = {name: int((~np.isfinite(part)).any(1).sum()) for name, part in zip(fields, parts, strict=True)}
    for name, count in bad.items():
        if count:
            raise InputError(
                f"{case.label}: the field '{name}' holds NaN or infinite values at {count} of {case.rows} "
                f"{case.location}s; a network starts from a whole state, repair it or start from another time"
            )
    return np.concatenate(parts, 1)


def _flat(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return values[..., 0] if values.shape[-1] == 1 else values


def _doubts(
    task: MeshRollout, case: Case, fields: Mapping[str, NDArray[np.float32]], steps: int, judged: int, held_out: Plain
) -> list[str]:
    """Sentences on what speaks against a prediction, and how far it was right on held-out trajectories."""
    said = []
    if task.spec.moves:
        said.append("warning: the meshes it learnt from move, and the mesh of one file stays where it is")
    for name, (low, high) in zip(task.spec.conditions, task.spec.ranges, strict=False):
        value = case.conditions[name]
        if not low <= value <= high:
            said.append(f"warning: {name} {value:g} lies outside of what was learnt from, {low:g} to {high:g}")
    wild = [name for name, values in fields.items() if not np.isfinite(values).all()]
    if wild:
        said.append(f"warning: {listing(wild)} is no number at the end: the rollout is not stable; take fewer steps")
    if steps > judged:
        said.append(f"warning: it was judged over {judged} steps, what comes after was never tested")
    known = held_out if isinstance(held_out, dict) else {}
    mean = known.get("mean")
    if isinstance(mean, dict) and mean:
        key, error = list(mean.items())[-1]
        kept = next((row.get(key) for row in (known.get("baselines") or {}).values()), None)  # type: ignore[union-attr]
        beside = f", of the start kept {kept:.3g}" if isinstance(kept, float) else ""
        if isinstance(error, float):
            after = key.rpartition("@")[2]
            said.append(f"on held-out trajectories the N-RMSE over {after} steps was {error:.3g}{beside}")
    return said


def write_future(future: Future, folder: Path, stem: str, *, pictures: bool = True) -> tuple[Path, ...]:
    """Write ``<stem>_predicted/step_0000.vtu, ...``, ``<stem>_predicted.pvd``, ``<stem>.json`` and an animation.

    Args:
        future: From :func:`predict_future`.
        folder: Existing folder.
        stem: Start of the names.
        pictures: Animate plane meshes as ``<stem>.gif``.

    Returns:
        The files to open: the ``.pvd`` first.

    Raises:
        InputError: There are such files of something else, or they cannot be written.
    """
    from meshops.data.writers import as_grid, write_mesh  # VTK

    case, target = future.case, folder / f"{stem}_predicted"
    mesh = as_grid(case.original()).copy(deep=True)
    mesh.clear_data()
    data = mesh.cell_data if case.location == "cell" else mesh.point_data
    files = [f"step_{k:04d}.vtu" for k in range(future.steps + 1)]
    if target.exists() and not (target.is_dir() and all(OWN.fullmatch(file.name) for file in target.iterdir())):
        raise InputError(f"{target}: holds other files than states of a prediction; choose another folder or name")
    with replacing_folder(target) as partial:
        partial.mkdir()
        for k, file in enumerate(files):
            for name, values in future.fields.items():
                data[name] = values[k]
            write_mesh(mesh, partial / file)
        shutil.rmtree(target, ignore_errors=True)  # an earlier prediction of the same file
    rows = "\n".join(
        f'    <DataSet timestep="{when:.9g}" file="{escape(f"{target.name}/{file}")}"/>'
        for when, file in zip(future.times(), files, strict=True)
    )
    text = f'<VTKFile type="Collection" version="0.1">\n  <Collection>\n{rows}\n  </Collection>\n</VTKFile>\n'
    written = [write_text(folder / f"{stem}_predicted.pvd", text)]
    written.append(write_json(folder / f"{stem}.json", future.to_dict()))
    if pictures and case.graph.pos.shape[1] == 2 and len(case.graph.pos) <= MOST_DRAWN:
        written += _animated(future, folder, stem)
    return tuple(written)


def _animated(future: Future, folder: Path, stem: str) -> list[Path]:
    from meshops.viz import animate_points
    from meshops.viz.case import file_part
    from meshops.viz.plane import canvas

    graph = future.case.graph
    drawn = {"pos": graph.pos} if future.case.location == "cell" else canvas(graph)
    out = []
    for name, values in future.fields.items():
        size = values if values.ndim == 2 else np.linalg.norm(values, axis=2)
        path = folder / f"{stem}_{file_part(name)}.gif"
        unit = f" [{future.units[name]}]" if future.units[name] else ""
        out.append(
            animate_points(
                drawn["pos"], {name: torch.from_numpy(np.ascontiguousarray(size))}, path,
                triangles=drawn.get("triangles"), times=future.times(), time_unit="s" if future.time_step else "",
                label=f"{name}{unit}", title=f"{stem}, predicted", fps=6,
            )
        )  # fmt: skip
    return out
