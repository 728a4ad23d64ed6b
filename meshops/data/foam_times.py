"""Where the times, regions and pieces of an OpenFOAM case lie."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from meshops.data.foam_fields import FieldKind, list_fields
from meshops.data.foam_files import find_file
from meshops.data.reading import ReadNotes, Time, choose_time
from meshops.errors import InputError, listing

TIME = re.compile(r"\d+(?:\.\d*)?(?:[eE][-+]?\d+)?")
PROCESSOR = re.compile(r"processor(\d+)")
COLLATED = re.compile(r"processors\d*(?:_\d+-\d+)?")


@dataclass
class Place:
    """The case itself, or its processor folders.

    Attributes:
        name: For messages.
        roots: The case folder, or one folder for each processor.
        times: Time -> name of its folder, for times that hold fields.
    """

    name: str
    roots: list[Path]
    times: dict[float, str] = field(default_factory=dict)


@dataclass
class Found:
    """What is to be read.

    Attributes:
        place: The case or its processor folders.
        time: None: there are no fields.
        folder: Name of the time folder.
        regions: Regions of the mesh; ``""`` is the one without a name.
    """

    place: Place
    time: float | None
    folder: str | None
    regions: tuple[str, ...]

    def fields(self, region: str) -> dict[str, FieldKind]:
        """Fields of a region that all pieces have."""
        if self.folder is None:
            return {}
        lists = [list_fields(root / self.folder / region) for root in self.place.roots]
        return {name: kind for name, kind in lists[0].items() if all(name in other for other in lists)}


def time_folders(root: Path) -> dict[float, str]:
    """Time -> name of its folder, ascending."""
    names = [path.name for path in root.iterdir() if path.is_dir() and TIME.fullmatch(path.name)]
    return {time: name for time, name in sorted((float(name), name) for name in names)}


def mesh_folders(root: Path, region: str, time: float | None) -> tuple[Path, Path] | None:
    """Folders of the faces and of the points of a mesh at a time: the newest until then (the mesh may have moved)."""
    earlier = [name for t, name in reversed(time_folders(root).items()) if time is None or t <= time * (1 + 1e-12)]
    places = [root / name / region / "polyMesh" for name in earlier] + [root / "constant" / region / "polyMesh"]
    faces = next((place for place in places if find_file(place / "faces")), None)
    points = next((place for place in places if find_file(place / "points")), None)
    if faces is None:
        faces = next((place for place in places if place.is_dir()), None)  # damaged: said when it is read
    return None if faces is None else (faces, points or faces)


def regions_of(root: Path) -> tuple[str, ...]:
    """Regions with a mesh: ``""`` for the one without a name."""
    found = set()
    for place in (root / "constant", *(root / name for name in time_folders(root).values())):
        if (place / "polyMesh").is_dir():
            found.add("")
        if place.is_dir():
            found |= {path.name for path in place.iterdir() if (path / "polyMesh").is_dir()}
    return tuple(sorted(found))


def find_case(folder: Path, time: Time, notes: ReadNotes, label: str) -> Found:
    """Choose the time and the place it is read from: the case itself, or its processor folders.

    Raises:
        InputError: No mesh, no such time, or the time lies in collated files only.
    """
    processors = sorted(
        (path for path in folder.iterdir() if path.is_dir() and PROCESSOR.fullmatch(path.name)),
        key=lambda path: int(path.name.removeprefix("processor")),
    )
    places = []
    for place in (Place("the case", [folder]), Place("processor*/", processors)):
        if place.roots and all(regions_of(root) for root in place.roots):
            place.times = _times(place.roots)
            places.append(place)
    collated = _collated(folder)
    if not places:
        raise InputError(_no_mesh(label, bool(collated)))
    known = sorted({t for place in places for t in place.times} | set(collated))
    notes.times = tuple(known)
    chosen = known[choose_time(known, time, label)] if known or time != "last" else None
    holding = [place for place in places if chosen in place.times]
    if chosen is not None and not holding:
        others = sorted(t for place in places for t in place.times)
        readable = f", or give one of the times {listing(f'{t:g}' for t in others)}" if others else ""
        raise InputError(
            f"{label}: time {chosen:g} lies in collated files ({collated[chosen]}/), which cannot be read; run "
            f"reconstructPar{readable}"
        )
    place = holding[0] if holding else places[0]
    notes.time = chosen
    _say_place(places, place, chosen, notes)
    regions = regions_of(place.roots[0])
    return Found(place, chosen, place.times.get(chosen) if chosen is not None else None, regions)


def _times(roots: list[Path]) -> dict[float, str]:
    """Times that hold fields in every folder."""
    out = {}
    for time, name in time_folders(roots[0]).items():
        if all((root / name).is_dir() for root in roots) and any(_has_fields(root / name) for root in roots):
            out[time] = name
    return out


def _has_fields(folder: Path) -> bool:
    inner = [
        path for path in folder.iterdir() if path.is_dir() and path.name not in ("polyMesh", "uniform", "lagrangian")
    ]
    return bool(list_fields(folder)) or any(list_fields(path) for path in inner)


def _collated(folder: Path) -> dict[float, str]:
    """Times of collated results -> the folder they lie in."""
    out: dict[float, str] = {}
    for path in sorted(folder.iterdir()):
        if path.is_dir() and COLLATED.fullmatch(path.name):
            out |= {time: path.name for time in time_folders(path)}
    return out


def _no_mesh(label: str, collated: bool) -> str:
    if collated:
        return (
            f"{label}: the mesh lies in collated files (processors*/), which cannot be read; run reconstructParMesh "
            "-constant and reconstructPar"
        )
    return f"{label}: the case has no mesh (constant/polyMesh is missing); run the mesher first"


def _say_place(places: list[Place], place: Place, time: float | None, notes: ReadNotes) -> None:
    if len(place.roots) > 1 or place.name != "the case":
        notes.remarks.append(f"read from processor*/ ({len(place.roots)} pieces, put together)")
    for other in places:
        if other is place or time is None:
            continue
        if time not in other.times:
            newest = max(other.times, default=None)
            is_ = "no time with fields" if newest is None else f"time {newest:g} as its newest"
            notes.remarks.append(f"time {time:g} was read from {place.name}; {other.name} has {is_}")
            continue
        more = set(list_fields(other.roots[0] / other.times[time])) - set(
            list_fields(place.roots[0] / place.times[time])
        )
        if more:
            notes.remarks.append(f"{other.name} has {listing(sorted(more))} at time {time:g} too; run reconstructPar")
    if time == 0:
        notes.remarks.append(
            "time 0 is the only one with fields: an initial state?"
            if len(notes.times) == 1
            else "time 0: the initial state"
        )
