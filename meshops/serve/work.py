"""What one request comes to: files in the folder of the job, which is the current one."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import meshops.viz
from meshops.errors import InputError
from meshops.io import write_json, write_text
from meshops.serve.names import for_page, labels, stem_of
from meshops.surrogate import Surrogate
from meshops.surrogate.comparison import compare, comparison_report, sentence, write_comparison
from meshops.surrogate.outputs import WORDS as OF
from meshops.surrogate.outputs import case_report, write_prediction
from meshops.tasks.prediction import Prediction
from meshops.viz.report import LEVELS, AnyTable, ReportData, checked_table, is_number, shown, write_report
from meshops.viz.scene import scene_html

SCENE, VIEW = "scene.html", "view.json"
Progress = Callable[[float], None]


def predict_file(surrogate: Surrogate, request: Mapping[str, Any], progress: Progress) -> dict[str, str]:
    """Predict; name of each result as it is downloaded -> its place."""
    files = request["files"]
    place, name = files[0] if files else (None, "prediction")
    prediction = surrogate.predict(place, progress=progress, **_asked(request))
    rename(prediction, dict(files))
    if not files:
        prediction.case.label = name
    stem, out = stem_of(name), Path("out")
    out.mkdir()
    written = write_prediction(prediction, surrogate, out, "prediction")
    downloads = {} if written.mesh is None else {f"{stem}_predicted{written.mesh.suffix}": written.mesh}
    downloads[f"{stem}.json"] = written.numbers
    data = case_report(prediction, surrogate, written.pictures, [Path(link) for link in downloads])
    downloads[f"{stem}_report.html"] = write_report(data, out / "report.html")
    for picture, _ in written.pictures:
        downloads[picture.name.replace("prediction", stem, 1)] = picture
    scene = _scene(prediction, surrogate)
    if scene is not None:
        write_text(SCENE, scene)
    drawn = list(downloads)[len(downloads) - len(written.pictures) :]
    pictures = [(link, caption) for link, (_, caption) in zip(drawn, written.pictures, strict=True)]
    write_json(VIEW, view(data, pictures) | {"scene": scene is not None})
    return _named(downloads, stem)


def compare_files(surrogate: Surrogate, request: Mapping[str, Any], progress: Progress) -> dict[str, str]:
    """Compare; name of each result as it is downloaded -> its place."""
    del progress
    names = labels([name for _, name in request["files"]])
    designs = {label: place for label, (place, _) in zip(names, request["files"], strict=True)}
    found = compare(surrogate, designs, **_asked(request))
    for prediction in found.made.values():
        rename(prediction, dict(request["files"]))
    given = dict(request["files"])
    found = replace(found, notes=tuple(for_page(note, given) for note in found.notes))
    out = Path("out")
    out.mkdir()
    page, numbers = write_comparison(found, surrogate, out)
    drawn = sorted(out.glob("*.png"))
    data = comparison_report(found, (), ())
    called = [pair for pair in found.pairs if pair.call in ("larger", "smaller")]
    told = (called or found.pairs)[0]
    verdict = {
        "level": "inside" if called else "close",
        "title": f"{OF.get(told.number, told.number)}: {sentence(told).rpartition(': ')[2]}",
        "sentence": "",
        "sentences": [sentence(pair) for pair in found.pairs],
    }
    downloads = {"compare.html": page, "compare.json": numbers, **{path.name: path for path in drawn}}
    write_json(
        VIEW,
        view(data, [(path.name, path.stem.replace("_", " ")) for path in drawn]) | {"scene": False, "verdict": verdict},
    )
    return _named(downloads, "comparison")


def view(data: ReportData, pictures: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """What a report says, as the page takes it: texts and tables of texts."""
    tables = {**data.tables, "Forces": data.forces, "Fields": data.field_table}
    trust = data.trust
    verdict = None
    if trust is not None:
        verdict = {"level": trust.level, "title": LEVELS[trust.level][1], "sentence": trust.sentence}
        rows = [[name, value, low, high, "yes" if inside else "no"] for name, value, low, high, inside in trust.rows]
        heads = ["descriptor", "this shape", "training min", "training max", "inside?"]
        tables |= {"Beside the training set": (heads, rows), "Error on held-out shapes": trust.expected_error}
    return {
        "title": data.title,
        "subtitle": data.subtitle,
        "summary": [[label, shown(value)] for label, value in data.summary],
        "verdict": verdict,
        "warnings": list(data.warnings),
        "tables": [made for title, table in tables.items() if (made := _table(title, table))],
        "pictures": [{"name": name, "caption": caption} for name, caption in pictures],
    }


def _table(title: str, table: AnyTable | None) -> dict[str, Any] | None:
    checked = checked_table(title, table)
    if checked is None:
        return None
    numeric = [is_number(value) for value in checked.rows[0]]
    rows = [[shown(value) for value in row] for row in checked.rows]
    return {"title": title, "columns": list(checked.columns), "numeric": numeric, "rows": rows}


def rename(prediction: Prediction, given: Mapping[str, str]) -> None:
    """Say the names that were given, not those under which files lie here."""
    case = prediction.case
    case.label = for_page(case.label, given)
    case.notes[:] = [for_page(note, given) for note in case.notes]


def _asked(request: Mapping[str, Any]) -> dict[str, Any]:
    return {key: request[key] for key in ("conditions", "scale", "region", "level") if request.get(key) is not None}


def _scene(prediction: Prediction, surrogate: Surrogate) -> str | None:
    """A page of its own with the fields on the outer surface; None where there is none to draw."""
    spec: Any = surrogate.spec
    case = prediction.case
    if not spec.fields:
        return None
    units = dict(zip(spec.fields, spec.units_at(case.flow), strict=True))
    fields = {**prediction.fields}
    for name, width in prediction.widths.items():
        fields[f"{name}: half its interval"], units[f"{name}: half its interval"] = width, units[name]
    axes: dict[str, Any] = {"flow": case.flow.flow, "up": case.flow.up} if spec.bodies else {}
    try:
        fragment = scene_html(case.original(), fields, units=units, include_plotly=False, **axes)
    except InputError:
        return None  # a cloud of points
    style = (Path(meshops.viz.__file__).parent / "templates" / "style.css.j2").read_text(encoding="utf-8")
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Fields</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{style}\n{FRAME}</style>"
        f'<script src="/assets/plotly.js"></script></head><body>{fragment}</body></html>'
    )


# The scene fills its frame; the page around it has the card.
FRAME = """
html, body { height: 100%; } body { background: var(--card); padding: 2px; overflow: hidden; }
.scene { height: 100%; display: flex; flex-direction: column; }
.scene .scene-stage { flex: 1 1 auto; height: auto; min-height: 200px; }
.scene-controls { flex: none; } .scene-note { flex: none; }
@media (max-width: 600px) { .scene-views button:nth-child(n+4), .scene-limits + .scene-note { display: none; } }
"""


def _named(downloads: Mapping[str, Path], stem: str) -> dict[str, str]:
    """Whole names -> places, with one archive of all."""
    places = {name: path.as_posix() for name, path in downloads.items()}
    beside = {path for path in Path("out").rglob("*") if path.is_file()} - set(downloads.values())
    with zipfile.ZipFile("all.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, place in places.items():
            archive.write(place, name)
        for path in sorted(beside):  # pieces of a result of several parts
            archive.write(path, path.relative_to("out").as_posix())
    return {**places, f"{stem}.zip": "all.zip"}
