"""Many bodies, several at a time, into one folder in the layout of AhmedML; a second call goes on where it stopped.

``ROOT/run_<i>`` appears under its name when it is whole. What is not finished lies in ``ROOT/.work`` and is made anew.
A body whose mesh fails, or whose flow does not converge, is named with its reason in ``ROOT/generate.json``.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from meshops.data.folder_lock import writing
from meshops.errors import InputError, listing
from meshops.io import read_json, write_json
from meshops.solvers.ahmed_body import AhmedShape
from meshops.solvers.openfoam.ahmed_case import AhmedSettings, draw_shape, parameters_of, write_case
from meshops.solvers.openfoam.history import verdict_of
from meshops.solvers.openfoam.layout import write_run
from meshops.solvers.openfoam.programs import FoamError, FoamStopped, Programs, find_programs

REPORT, WORK = "generate.json", ".work"
DONE, REFUSED = "done", "refused"
Ranges = dict[str, tuple[float, float]]


def generate_ahmed(
    root: Path,
    *,
    num: int,
    seed: int = 0,
    settings: AhmedSettings | None = None,
    ranges: Ranges | None = None,
    jobs: int = 1,
    keep: Path | None = None,
    retry: bool = False,
    told: Callable[[str, dict[str, Any]], None] = lambda name, row: None,
) -> dict[str, dict[str, Any]]:
    """Solve bodies 1 to ``num`` of a seed; those that are there already are kept.

    Args:
        root: Folder for ``run_1``, ``run_2``, ...
        num: Of bodies.
        seed: Of their dimensions.
        settings: Mesh and solver; default :class:`AhmedSettings`.
        ranges: See :func:`draw_shape`.
        jobs: Cases at a time, one process each.
        keep: Folder for the OpenFOAM cases themselves, ``keep/run_<i>``; None: they are removed.
        retry: Also try those again that were refused before.
        told: Called with the name and the row of every case that ends.

    Returns:
        Name -> what came of it, as in the report: ``state`` (``"done"``, ``"refused"``), ``reason``, ``cells``,
        ``iterations``, ``seconds``, ``cd``, ``cl``.

    Raises:
        MissingPackageError: OpenFOAM is not there.
        InputError: Numbers that make no sense, or the folder holds other data.
    """
    settings = settings or AhmedSettings()
    for name, value in (("num", num), ("jobs", jobs)):
        if value < 1:
            raise InputError(f"ahmed: {name} must be at least 1, got {value}")
    stop = threading.Event()
    programs = find_programs(stop=stop)
    shapes = {f"run_{i}": draw_shape(seed, i, ranges) for i in range(1, num + 1)}
    _check_place(root)
    with writing(root / WORK):
        report = _begun(root, settings, seed, ranges)
        cases: dict[str, dict[str, Any]] = report["cases"]
        left = [name for name in shapes if not _finished(root, name, cases, retry)]

        def work(name: str) -> dict[str, Any]:
            return solve_body(root, name, shapes[name], settings, programs, keep)

        for name, row in several(work, left, jobs, stop):
            cases[name] = row
            write_json(root / REPORT, report)
            told(name, row)
        write_json(root / REPORT, report)
    shutil.rmtree(root / WORK, ignore_errors=True)
    return {name: cases[name] for name in shapes}


def several(
    work: Callable[[str], dict[str, Any]], names: Iterable[str], jobs: int, stop: threading.Event
) -> Iterable[tuple[str, dict[str, Any]]]:
    """Do ``work`` for every name, ``jobs`` at a time, and yield what is done as it comes.

    Where the caller is stopped, ``stop`` is set and all threads have ended before the exception goes on.
    """
    waiting = list(names)
    running: dict[Future[dict[str, Any]], str] = {}
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    name = waiting.pop(0)
                    running[pool.submit(work, name)] = name
                done, _ = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
                for future in done:
                    yield running.pop(future), future.result()
        except BaseException:
            stop.set()
            raise


def solve_body(
    root: Path, name: str, shape: AhmedShape, settings: AhmedSettings, programs: Programs, keep: Path | None
) -> dict[str, Any]:
    """Solve one body and put it into the layout; a row of the report, whatever came of it but a stop."""
    number = int(name.removeprefix("run_"))
    case, made = root / WORK / name, root / WORK / f"{name}.layout"
    row: dict[str, Any] = {"state": REFUSED, "shape": parameters_of(shape)}
    try:
        for folder in (case, made):
            shutil.rmtree(folder, ignore_errors=True)
        write_case(case, shape, settings)
        row["seconds"] = run_case(case, programs, settings)
        verdict = verdict_of(case, residual=settings.residual, drag_change=settings.drag_change, window=settings.window)
        row |= verdict.to_dict()
        if verdict.converged:
            found = write_run(
                made, number, case, verdict, stl=case / "constant" / "triSurface" / "body.stl",
                parameters=parameters_of(shape), area=shape.width * shape.height, half=settings.half,
                volume=settings.volume,
            )  # fmt: skip
            row |= {"cells": found.cells, "cd": found.cd, "cl": found.cl, "cd_of_fields": found.integrated.cd}
            shutil.rmtree(root / name, ignore_errors=True)
            made.rename(root / name)
            row["state"] = DONE
    except FoamStopped:
        raise KeyboardInterrupt from None
    except FoamError as error:
        row["reason"] = str(error)
    finally:
        _put_away(case, None if keep is None else keep / name)
        shutil.rmtree(made, ignore_errors=True)
    return row


def add_to_study(root: Path, case: Path, settings: AhmedSettings, *, area: float) -> Path:
    """Put a finished case into a folder of runs as the next of them; its folder.

    Args:
        root: Folder of ``run_<i>``; made where it is not there.
        case: Finished case of :func:`~meshops.solvers.openfoam.ahmed_case.write_body_case`.
        settings: Of the case.
        area: Frontal area of the body, m^2.

    Raises:
        FoamError: It did not converge, or its fields are not sound.
    """
    verdict = verdict_of(case, residual=settings.residual, drag_change=settings.drag_change, window=settings.window)
    if not verdict.converged:
        raise FoamError(f"{case}: did not converge ({verdict.reason}), so it is not put into {root}")
    with writing(root / WORK):
        taken = [int(p.name[4:]) for p in root.iterdir() if p.name.startswith("run_") and p.name[4:].isdigit()]
        number = max(taken, default=0) + 1
        made = root / WORK / f"run_{number}.layout"
        shutil.rmtree(made, ignore_errors=True)
        write_run(
            made, number, case, verdict, stl=case / "constant" / "triSurface" / "body.stl", parameters={}, area=area,
            half=settings.half, volume=True,
        )  # fmt: skip
        made.rename(root / f"run_{number}")
    shutil.rmtree(root / WORK, ignore_errors=True)
    return root / f"run_{number}"


def run_case(case: Path, programs: Programs, settings: AhmedSettings) -> dict[str, float]:
    """Mesh and solve a case; program -> seconds.

    Raises:
        FoamError: A program failed.
    """
    spent = mesh_case(case, programs, settings)
    spent["simpleFoam"] = programs.run("simpleFoam", case, timeout=settings.timeout)
    return spent


def mesh_case(case: Path, programs: Programs, settings: AhmedSettings) -> dict[str, float]:
    """Mesh a case; program -> seconds.

    Raises:
        FoamError: A program failed, or left no body in the mesh.
    """
    spent = {}
    for program, options in (("blockMesh", ()), ("snappyHexMesh", ("-overwrite",))):
        spent[program] = programs.run(program, case, *options, timeout=settings.timeout)
    return spent


def _begun(root: Path, settings: AhmedSettings, seed: int, ranges: Ranges | None) -> dict[str, Any]:
    """The report of an earlier call with the same settings, or a new one.

    Raises:
        InputError: There is one with other settings.
    """
    same = {"seed": seed, "ranges": {k: list(v) for k, v in (ranges or {}).items()}, "settings": settings.told()}
    new = {"solver": "OpenFOAM simpleFoam, k-omega SST", **same, "cases": {}}
    path = root / REPORT
    if not path.is_file():
        return new
    old = read_json(path, "remove it together with the runs beside it")
    if not isinstance(old, dict) or not isinstance(old.get("cases"), dict):
        raise InputError(f"{path}: is no report of 'meshops generate ahmed'; choose another folder")
    was = {**old.get("settings", {}), "seed": old.get("seed"), "ranges": old.get("ranges")}
    now = {**same["settings"], "seed": seed, "ranges": same["ranges"]}  # type: ignore[dict-item]
    differ = [name for name in now if was.get(name) != now[name]]
    if differ:
        told = ", ".join(f"{name} {was.get(name)}, now {now[name]}" for name in differ)
        raise InputError(f"{root}: was made with other settings ({told}); give the same, or choose another folder")
    return old


def _check_place(root: Path) -> None:
    """Raise ``InputError`` where a folder holds runs that are not ours."""
    if root.exists() and not root.is_dir():
        raise InputError(f"{root}: is a file; give a folder")
    if not root.is_dir() or (root / REPORT).is_file():
        return
    others = sorted(path.name for path in root.iterdir() if path.name != WORK)
    if others:
        raise InputError(
            f"{root}: holds {listing(others, 3)} and no {REPORT}, so it is not ours; choose another folder"
        )


def _finished(root: Path, name: str, cases: dict[str, dict[str, Any]], retry: bool) -> bool:
    row = cases.get(name)
    if row is None:
        return False
    return (root / name).is_dir() if row.get("state") == DONE else not retry


def _put_away(case: Path, keep: Path | None) -> None:
    """Keep a case, or remove it."""
    if keep is not None and case.is_dir():
        shutil.rmtree(keep, ignore_errors=True)
        keep.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(case, keep)
    shutil.rmtree(case, ignore_errors=True)
