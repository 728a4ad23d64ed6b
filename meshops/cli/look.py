"""``meshops look FOLDER``: what a folder of finished simulations holds, and what is wrong with it."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshops.cli.options import output_folder, parser, print_json
from meshops.errors import DataWarning, MeshopsError

if TYPE_CHECKING:
    from meshops.datasets.base import CaseDataset
    from meshops.doctor.look import Look

EVERY = 5.0  # seconds between signs of life off a terminal


def run(argv: Sequence[str]) -> int:
    """Print the tables; write ``study.yaml``, ``look.html`` and ``cases.png``."""
    options = parser(
        "look",
        "What a folder of finished simulations holds, and what is wrong with it: cases, meshes, fields, conditions,\n"
        "numbers; copies, other units and poses, swapped rows, runs that have not converged; forces beside the table.\n"
        "Writes study.yaml (every guess with its reason, to be corrected), look.html and cases.png.",
        "example:\n  meshops look runs\n  meshops fit runs_look/study.yaml\n",
    )
    options.add_argument("folder", help="folder of the simulations, or a study.yaml")
    options.add_argument("--out", help="folder for the files; default: NAME_look in the current folder")
    options.add_argument("--strict", action="store_true", help="exit code 1 if there is a problem")
    options.add_argument("--json", action="store_true", help="everything as JSON on the standard output")
    options.add_argument("--no-pictures", action="store_true", help="leave cases.png out")
    options.add_argument("--overwrite", action="store_true", help="replace a study.yaml that is there")
    args = options.parse_args(argv)
    name = Path(args.folder).expanduser().resolve()
    name = name.parent if name.suffix.lower() in (".yaml", ".yml") else name
    out = output_folder(args.out or f"{name.name or 'study'}_look")
    show = _Progress(args.folder)

    from meshops.doctor.look import cases_of, look_at, study_of
    from meshops.doctor.tell import as_json

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # remarks on single cases are in the study and the page
        study = study_of(args.folder)
        data = cases_of(study)
        look = look_at(study, data=data, progress=show.step)
    show.done()
    written = _write(look, data, out, args)
    if args.json:
        print_json(as_json(look) | {"files": [str(path) for path in written]})
    else:
        _print(look, written)
    return 1 if args.strict and any(f.severity == "problem" for f in look.findings) else 0


class _Progress:
    """Signs of life by time: a line that changes on a terminal, a new line now and then elsewhere."""

    def __init__(self, folder: str) -> None:
        self.live = sys.stderr.isatty()
        self.start = self.last = time.monotonic()
        sys.stderr.write(f"reading {folder} ...\n")
        sys.stderr.flush()

    def step(self, done: int, total: int) -> None:
        """Say how many cases are done, and about how long the rest takes."""
        now = time.monotonic()
        if done == 1:  # the imports before it are no measure of the rest
            self.start = now
        if done == 1 or now - self.last < (0.2 if self.live else EVERY):
            return
        self.last = now
        left = (now - self.start) / (done - 1) * (total - done)
        end, start = ("", "\r\x1b[K") if self.live else ("\n", "")
        sys.stderr.write(f"{start}{done} of {total} cases, about {left:.0f} s left{end}")
        sys.stderr.flush()

    def done(self) -> None:
        """Clear the line."""
        if self.live:
            sys.stderr.write("\r\x1b[K")


def _write(look: Look, data: CaseDataset, out: Path, args: Any) -> list[Path]:
    """Study, picture and page; what cannot be drawn is said and left out."""
    study = out / "study.yaml"
    if study.exists() and not args.overwrite:
        study = out / "study_new.yaml"
        _note(
            f"{out / 'study.yaml'} is kept, it may have been corrected; the new one is {study.name} (or: --overwrite)"
        )
    written = [look.study.save(study)]
    pictures = []
    if not args.no_pictures:
        try:
            pictures = [(draw_cases(look, data, out / "cases.png"), "A choice of the cases, colored alike")]
        except (MeshopsError, OSError, RuntimeError, ValueError) as error:
            _note(f"the cases were not drawn: {error}")
    page = write_page(look, pictures, study, out / "look.html")
    return [*written, *(picture for picture, _ in pictures), page]


def _note(text: str) -> None:
    sys.stderr.write(f"note: {text}\n")


def draw_cases(look: Look, data: CaseDataset, path: Path) -> Path:
    """Thumbnails of up to twelve cases, evenly chosen, by the first field that is not constant, or by a result."""
    from meshops.viz.thumbnails import MOST, cases_picture, thumbnail

    good = look.survey.good
    if not look.survey.fields:
        return _draw_results(look, data, path)
    varied = [n for n in look.survey.fields if any(n in c.fields and not c.fields[n].constant for c in good)]
    field = (varied or list(look.survey.fields))[0]
    usable = [c for c in good if field in c.fields and c.fields[field].bad == 0 and c.fields[field].spike < 1000]
    step = max(1, -(-len(usable) // MOST))
    flow = look.study.flow
    lateral = (0.0, 1.0, 0.0) if flow is None else flow.lateral
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        drawn = [thumbnail(data[c.index], field, c.name, lateral=lateral) for c in usable[::step][:MOST]]
    unit = look.survey.field_unit(field)
    title = f"{look.survey.name}: {field}, {len(drawn)} of {len(look.survey.cases)} cases"
    pose = {} if flow is None else {"flow": flow.flow, "up": flow.up}
    return cases_picture(drawn, field, path, unit=unit, title=title, **pose)


def _draw_results(look: Look, data: CaseDataset, path: Path) -> Path:
    """Thumbnails of up to twelve shapes, each in the color of its first result."""
    from torch import full

    from meshops.viz.thumbnails import MOST, cases_picture, thumbnail

    number = look.study.numbers[0]
    usable = [c for c in look.survey.good if number.name in c.numbers]
    step, drawn = max(1, -(-len(usable) // MOST)), []
    for case in usable[::step][:MOST]:
        graph = data[case.index].clone_shallow()
        graph.y, graph.y_names, graph.y_sizes = (
            full((len(graph.pos), 1), case.numbers[number.name]),
            (number.name,),
            (1,),
        )
        drawn.append(thumbnail(graph, number.name, case.name))
    title = f"{look.survey.name}: {number.name}, {len(drawn)} of {len(look.survey.cases)} shapes"
    return cases_picture(drawn, number.name, path, unit=number.unit, title=title)


def write_page(look: Look, pictures: Sequence[tuple[Path, str]], study: Path, path: Path) -> Path:
    """``look.html``."""
    from meshops.doctor.tell import field_rows, overview, quantity_rows
    from meshops.viz.look_page import LookPage, write_look

    wrong = sum(f.severity == "problem" for f in look.findings)
    tables = {"Fields": field_rows(look), "Conditions and numbers": quantity_rows(look)}
    if look.noise:
        rows = [(n.name, n.value, f"{n.relative:.1%}", n.how) for n in look.noise]
        tables["Noise of the labels: no error goes below"] = (("number", "noise", "of its spread", "from"), rows)  # type: ignore[assignment]
    sentences = [s for s in ((look.audit.text if look.audit else ""), (look.axes.reason if look.axes else "")) if s]
    page = LookPage(
        title=f"{look.survey.name}: {len(look.survey.cases)} simulations",
        subtitle=str(look.study.root),
        summary=[("cases", str(len(look.survey.cases))), ("fields", str(len(look.survey.fields))),
                 ("problems", str(wrong)), ("hints", str(len(look.findings) - wrong))],
        findings=[(f.severity, ", ".join(f.cases) or "all cases", f.what, f.evidence, f.cure) for f in look.findings],
        overview=overview(look),
        tables=tables,
        audit=[f"{s[0].upper()}{s[1:]}." for s in sentences],
        pictures=pictures,
        study=study.read_text(encoding="utf-8"),
        commands=[f"meshops fit {study}"],
    )  # fmt: skip
    return write_look(page, path)


def _print(look: Look, written: Sequence[Path]) -> None:
    """The tables on the standard output: with rules on a terminal, plain text elsewhere."""
    from meshops.doctor.tell import field_rows, overview, quantity_rows, summary

    lines = sys.stdout.write
    width = max(len(label) for label, _ in overview(look))
    for label, text in overview(look):
        lines(f"{label:<{width}}  {text}\n")
    for title, (columns, rows) in {"fields": field_rows(look), "conditions and numbers": quantity_rows(look)}.items():
        if rows:
            _table(title, columns, rows)
    if look.audit is not None:
        lines(f"\nforces: {look.audit.text}\n")
    if look.axes is not None:
        lines(f"axes: {look.axes.reason}\n")
    for floor in look.noise:
        lines(f"noise of the labels, {floor}\n")
    lines("\n")
    for finding in look.findings:
        lines(f"{finding.severity}: {finding}\n")
    lines(f"{summary(look)}; written: {', '.join(str(path) for path in written)}\n")


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(title=title, title_justify="left", title_style="bold")
        for column in columns:
            table.add_column(column)
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))  # text of users is never markup
        Console(highlight=False).print(table)
        return
    widths = [max(len(str(row[k])) for row in (columns, *rows)) for k in range(len(columns))]
    sys.stdout.write(f"\n{title}\n")
    for row in (columns, *rows):
        sys.stdout.write("  " + "  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip() + "\n")
