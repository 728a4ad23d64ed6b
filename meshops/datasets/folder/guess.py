"""What a folder of simulations holds, guessed from its files, each guess with its reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from meshops.datasets.base import CaseDataset
from meshops.datasets.folder import roles
from meshops.datasets.folder.arrays import CaseLook, family_of_most, guess_arrays
from meshops.datasets.folder.cases import CaseFile, file_cases, list_cases
from meshops.datasets.folder.columns import guess_tables
from meshops.datasets.folder.description import Description, FieldEntry, Quantity
from meshops.datasets.folder.families import Family, families
from meshops.datasets.folder.foam import guess_foam
from meshops.datasets.folder.looking import Looked, look
from meshops.datasets.folder.matching import Owners
from meshops.datasets.folder.patterns import pattern_of, select
from meshops.datasets.folder.plaid import as_problem, guess_plaid
from meshops.datasets.folder.snapshot_guess import guess_snapshots
from meshops.datasets.folder.snapshots import row_names
from meshops.datasets.folder.suffixes import MESHES, WITH_FIELDS
from meshops.datasets.folder.tables import SURE, read_table
from meshops.datasets.folder.unused import unused
from meshops.datasets.folder.walk import SPLIT_FOLDERS, Listing, list_folder, split_of
from meshops.datasets.registry import create, published_layout
from meshops.errors import InputError, MeshopsError, MissingDataError, collecting, listing

FEWEST_TIMES = 5  # of a file, to be a simulation in time rather than a finished case with a few states
GENERIC = ("mesh_files", "study")


def guess_description(folder: str | Path) -> Description:
    """The study of a folder: a published layout, or whatever lies there.

    Every guess has its reason in ``study.guesses``; :meth:`Study.save` writes them as comments.

    Args:
        folder: That holds the simulations.

    Raises:
        MissingDataError: No folder.
        InputError: Nothing to learn from; says what was found and what to give.

    Example:
        >>> study = guess_study("runs")  # doctest: +SKIP
        >>> study.files, study.numbers  # doctest: +SKIP
        ('run_*/boundary_*.vtp', (Quantity(name='cd', unit='', role='drag'),))
    """
    found = list_folder(folder)
    published = _published(found.root)
    if published is not None:
        return published
    study = _layout(found)
    if found.unreadable:
        study = study.note("data", f"no right to read {listing(found.unreadable, 4)}")
    return study


def _layout(found: Listing) -> Description:
    for guess in (guess_plaid, guess_foam, guess_snapshots):
        study = guess(found)
        if study is not None:
            cases = list_cases(study, found)
            return described(study, cases, look(study, cases), found)
    tried: list[str] = []
    choices = [with_table(family, found) for family in families(found)]
    if not choices:
        raise nothing_found(found)
    best = _best_family(found, choices, tried) or _shapes_with_results(found, choices)
    if best is None:
        reasons = "\n".join(tried[:2])
        hint = _beside_shapes(found, choices)
        raise InputError(f"{found.root}: found {found.found()}, but no fields to learn.\n{reasons}{hint}")
    return best


def _beside_shapes(found: Listing, choices: Sequence[Family]) -> str:
    """What lies beside meshes without fields and is no field yet, and how to make it one."""
    cases = file_cases(found.root, choices[0].paths, folders=choices[0].layout == "folders")
    tables = found.with_suffix(SURE)
    owners = Owners(cases)
    owned = [path for path in tables if owners.of(path) is not None]
    if len(owned) > 1:
        return (
            f"\n'{owned[0]}' belongs to one of the meshes: if it holds a row per node, give it columns x, y and z "
            "(each table is then a cloud of points), or write mesh and values into one file, such as .vtu"
        )
    if tables:
        return (
            f"\n'{tables[0]}' may hold results of the cases, which are learnt from shapes too: give one row per shape, "
            "its file name in the first column, and a column per result, such as cd"
        )
    return ""


def _shapes_with_results(found: Listing, choices: Sequence[Family]) -> Description | None:
    """Meshes without fields, and a table with what came out for each: results are learnt from shapes and conditions."""
    owners = Owners(file_cases(found.root, choices[0].paths, folders=choices[0].layout == "folders"))
    if len([path for path in found.with_suffix(SURE) if owners.of(path) is not None]) > 1:
        return None  # values by node in a table for each
    family = max(choices, key=lambda one: one.num_cases)
    if family.layout == "series" or family.num_cases < 2:
        return None
    others = [path for choice in choices if choice is not family for path in choice.paths]
    pattern = pattern_of(family.paths, [path for path in others if path.suffix == family.paths[0].suffix])
    study = Description(root=found.root, layout=family.layout, files=pattern)
    study = study.note("files", f"shapes without fields: {family.num_cases}")
    study = study.note("fields", "none in the files: the numbers below are learnt from shape and conditions")
    try:
        return described(study, list_cases(study, found), look(study, list_cases(study, found)), found, alone=True)
    except InputError:
        return None


def nothing_found(found: Listing) -> InputError:
    """The error of a folder without simulations."""
    return MissingDataError(
        f"{found.root}: no simulations; found {found.found()}, looked for meshes ({listing(MESHES, 8)}), OpenFOAM "
        "cases, arrays beside a mesh, and tables (with columns x, y, z) or arrays of points, a file per case.\n"
        "Give the folder with one file or one folder per case, or a study.yaml"
    )


def _best_family(found: Listing, choices: Sequence[Family], tried: list[str]) -> Description | None:
    """The family with fields; of several the one with most cases, a surface before a volume."""
    made: list[tuple[tuple[object, ...], Description, Family]] = []
    for family in choices[:8]:
        if family.suffix not in WITH_FIELDS and made:
            continue
        try:
            study, looks = _family_study(found, family, choices)
        except MeshopsError as error:
            tried.append(str(error).removeprefix(f"{found.root}: "))
            continue
        surface = looks[0].dimension in ("surface", "2-D")
        made.append(((family.num_cases, surface, len(study.fields)), study, family))
    if not made:
        return None
    made.sort(key=lambda item: item[0], reverse=True)
    most = made[0][0][0]
    # Nearly as many surfaces as volumes: the surfaces.
    near = [item for item in made if int(str(item[0][0])) >= 0.5 * int(str(most))]
    near.sort(key=lambda item: (item[0][1], item[0][0], item[0][2]), reverse=True)
    study, family = near[0][1], near[0][2]
    others = [item[2] for item in made if item[2] is not family]
    others = [other for other in others if len(select(other.paths, study.files)) < len(other.paths)]
    if others:
        names = [f"{pattern_of(other.paths)} ({other.num_cases})" for other in others]
        study = study.note("files", f"also with fields: {', '.join(names[:6])}; name one here to use it instead")
    return study


def with_table(family: Family, found: Listing) -> Family:
    """Numbered files of one folder with a table of as many rows are cases, whatever stands before the numbers."""
    if family.layout != "series" or family.num_cases > 1:
        return family
    for path in found.with_suffix(SURE):
        try:
            table = read_table(found.root / path)
        except InputError:
            continue
        timed = any(name.lower() in ("time", "t", "step", "iteration") for name in table.columns)
        if len(table.rows) == len(family.paths) and not timed:
            return Family("files", family.paths)
    return family


def _family_study(found: Listing, family: Family, choices: Sequence[Family]) -> tuple[Description, Sequence[CaseLook]]:
    others = [path for choice in choices if choice is not family for path in choice.paths]
    pattern = pattern_of(family.paths, [path for path in others if path.suffix == family.paths[0].suffix])
    study = Description(root=found.root, layout=family.layout, files=pattern)
    what = {"files": "one file per case", "folders": "one folder per case", "series": "numbered files in time"}
    study = study.note("files", f"{what[family.layout]}: {family.num_cases} cases")
    if family.layout == "series":
        count = len(family.paths) / family.num_cases
        said = f"{count:.0f} frames in each" if count == int(count) else f"{count:.0f} frames in each, about"
        study = replace(study, time="all").note("time", f"all: trajectories ({said}); last: finished cases")
    cases = list_cases(study, found)
    looked = look(study, cases)
    frames = min((seen.times for seen in looked.looks), default=1)
    if family.layout != "series" and frames >= FEWEST_TIMES:
        study = replace(study, layout="series", time="all").note("files", f"each of {frames} times or more")
        study = study.note("time", f"all: trajectories ({frames} frames in each, or more); last: finished cases")
        cases = list_cases(study, found)
        looked = look(study, cases)
    study = described(study, cases, looked, found)
    return study, looked.looks


def described(
    study: Description, cases: Sequence[CaseFile], looked: Looked, found: Listing, *, alone: bool = False
) -> Description:
    """Fields, inputs, tables, split and cases left out of a study whose files are known.

    Args:
        study: So far.
        cases: Of it.
        looked: What some of them hold.
        found: All files.
        alone: There are no fields, and results of tables are to be learnt.

    Raises:
        InputError: There is nothing to learn.
    """
    if not looked.looks:
        first = next(iter(looked.bad.items()))
        raise InputError(
            f"{study.root}: none of the {len(looked.bad)} cases opened can be read;\n{first[0]}: {first[1]}"
        )
    kept, odd = family_of_most(looked.looks)
    arrays = guess_arrays(kept)
    if not arrays.fields and not alone:
        why = arrays.reasons.get("inputs", "")
        raise InputError(
            f"{study.root}: {len(cases)} files '{study.files}' hold no field to learn"
            + (f" ({why[:300]})" if why else "; they are shapes alone: give the results of the simulations")
        )
    bad = {**looked.bad, **odd, **_other_sizes(kept, arrays.fields)}
    reasons = {} if alone else arrays.reasons
    study = replace(
        study,
        fields=arrays.fields,
        inputs=() if alone else arrays.inputs,
        guesses={
            **study.guesses,
            **reasons,
            **{f"left_out.{name}": why for name, why in bad.items()},
        },
        left_out=tuple(bad),
    )
    if len(bad) == len(cases):
        raise InputError(f"{study.root}: none of the {len(cases)} cases can be used; {next(iter(bad.values()))}")
    if not looked.all_cases:
        study = study.note("fields", f"looked at {len(looked.looks)} of {len(cases)} cases")
    if bad:
        study = study.note("left_out", f"{len(bad)} of {len(cases)} cases cannot be used with the others")
    left = [case for case in cases if case.name not in bad]
    tabled = guess_tables(study, left, found, looked.looks)
    if study.layout == "snapshots":
        study = _renamed(replace(study, tables=tabled.tables), cases)
        tabled = guess_tables(study, list_cases(study, found), found)
    study = tabled
    if alone and not study.numbers:
        study = _results_of_columns(study)
    left = [case for case in list_cases(study, found) if case.name not in study.left_out]
    study = with_split(study, left)
    not_read = unused(study, cases, found)
    if not_read:
        study = study.note("data", f"not read: {not_read}")
    return as_problem(study, found, [case.name for case in left]) if study.layout == "plaid" else study


def _results_of_columns(study: Description) -> Description:
    """The same with columns that say nothing of a load, a speed, an angle or a shape taken for results.

    Raises:
        InputError: There is no such column.
    """
    named = {name for name, why in study.guesses.items() if "from the names of the cases" in why or "constant:" in why}
    results = tuple(
        entry for entry in study.conditions
        if not entry.role and not roles.is_shape(entry.name) and f"conditions.{entry.name}" not in named
    )  # fmt: skip
    if not results:
        raise InputError(f"{study.root}: no table has a column of results")
    guesses = {key: why for key, why in study.guesses.items() if key not in {f"conditions.{e.name}" for e in results}}
    for entry in results:
        guesses[f"numbers.{entry.name}"] = "taken for a result, since none is named as one: move it if it was set"
    left = tuple(entry for entry in study.conditions if entry not in results)
    return replace(study, conditions=left, numbers=results, guesses=guesses)


def _renamed(study: Description, cases: Sequence[CaseFile]) -> Description:
    """Call rows of snapshots that are left out as the table calls them: it was not known when they were looked at."""
    if study.layout != "snapshots" or not study.left_out:
        return study
    names = dict(zip((case.name for case in cases), row_names(study, len(cases)), strict=True))
    guesses = dict(study.guesses)
    for old, new in names.items():
        if f"left_out.{old}" in guesses:
            guesses[f"left_out.{new}"] = guesses.pop(f"left_out.{old}")
    return replace(study, left_out=tuple(names[name] for name in study.left_out), guesses=guesses)


def _other_sizes(looks: Sequence[CaseLook], fields: Sequence[FieldEntry]) -> dict[str, str]:
    """Cases that lack a field or hold it with another number of components."""
    out = {}
    for seen in looks:
        for entry in fields:
            array = seen.arrays.get((entry.place, entry.name))
            if array is None:
                out[seen.name] = f"has no array '{entry.name}' at the {entry.place}s"
            elif array.size != entry.size:
                out[seen.name] = (
                    f"the array '{entry.name}' has {array.size} components, in the other cases {entry.size}"
                )
            elif array.bad:
                out[seen.name] = f"the array '{entry.name}' holds {array.bad} NaN or infinite values"
    return out


def with_split(study: Description, cases: Sequence[CaseFile]) -> Description:
    """Test on the folder called test where there are such folders; else on cases drawn at random."""
    tested = [case for case in cases if split_of(case.relative) == "test"]
    if tested and len(tested) < len(cases):
        folders = sorted({_split_pattern(case.relative) for case in tested})
        return replace(study, test=tuple(folders)).note("test", f"{len(tested)} cases lie in a folder for tests")
    share = "groups drawn at random and kept together" if study.groups else "cases drawn at random"
    return study.note("test", f"share of the {share} with the seed below; or names of cases, or patterns")


def _split_pattern(path: PurePosixPath) -> str:
    for depth, part in enumerate(path.parts[:-1], start=1):
        if SPLIT_FOLDERS.get(part.lower()) == "test":
            rest = len(path.parts) - depth
            return "/".join([*path.parts[:depth], *["*"] * rest])
    return path.as_posix()


def _published(root: Path) -> Description | None:
    """A study of a published layout; None where the folder has none, or its first case does not keep to it."""
    name = published_layout(root)
    if name is None or name in GENERIC:
        return None
    try:
        with collecting([]):
            data = create(name, root, "all")
            first = data[0]
    except Exception:  # damaged files fail in any way
        return None
    if not isinstance(data, CaseDataset):
        return Description(root=root, layout=name).note("layout", "a published layout, recognised by its files")
    sizes = {n: s.stop - s.start for n, s in first.field_slices().items()}
    place = "cell" if first.get("location") == "cell" else "point"
    entries = tuple(
        FieldEntry(n, place, sizes.get(n, 1), unit, roles.field_role(n, sizes.get(n, 1)))  # type: ignore[arg-type]
        for n, unit in zip(data.fields, data.units, strict=True)
    )

    def quantities(names: Sequence[str]) -> tuple[Quantity, ...]:
        return tuple(Quantity(n, data.quantity_units.get(n, ""), roles.quantity_role(n)) for n in names)

    conditions, numbers = tuple(data.conditions_of(0)), tuple(data.numbers_of(0))
    return Description(
        root=root, layout=name, fields=entries, conditions=quantities(conditions), numbers=quantities(numbers),
        flow=data.flow, flow_stated=data.flow_stated,
    ).note("layout", "a published layout, recognised by its files; its dataset says flow and split")  # fmt: skip
