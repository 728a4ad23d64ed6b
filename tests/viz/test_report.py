"""The report: complete, escaped, and closed to the network."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import pyvista as pv
from PIL import Image

from meshops.errors import InputError
from meshops.tasks.report import Report
from meshops.viz import IndexCase, ReportData, Table, TrustSection, scene_html, write_index, write_report
from meshops.viz.report import is_number, shown

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Collects tags and text, and checks that elements nest."""

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.stack and self.stack.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        if not self.stack or self.stack[-1] not in ("script", "style"):
            self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


def parse(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    page.close()
    assert not page.stack
    return page


def assert_self_contained(page: Page) -> None:
    for tag, attrs in page.tags:
        for key in ("src", "href", "srcset", "action", "data", "poster"):
            value = attrs.get(key)
            assert value is None or not re.match(r"\s*([a-z]+:)?//|\s*(https?|javascript|file):", value, re.I), value
        assert tag not in ("link", "iframe", "object", "embed")
        assert not (tag == "script" and "src" in attrs)
    policy = [a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy and "default-src 'none'" in str(policy[0]) and "http" not in str(policy[0])


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "p.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 900, 3), dtype=np.uint8)).save(path)
    return path


@pytest.fixture
def data(picture: Path) -> ReportData:
    return ReportData(
        title="Ahmed <script>alert(1)</script> & body",
        subtitle="25.stl",
        summary=[("drag coefficient", "0.345")],
        forces=(
            ["quantity", "pressure", "friction"],
            [["drag (N)", 0.017123456, np.float32(2.5e-3)], ["parts", 3, None]],
        ),
        field_table=Table(["field", "min"], [["pMean", -0.75]]),
        pictures=[(picture, 'Pressure "on" <the> surface')],
        trust=TrustSection(
            level="outside",
            sentence="Length is 20 % beyond the training set.",
            rows=[("length (m)", 1.2, 0.9, 1.0, False), ("width (m)", 0.4, 0.3, 0.5, True)],
            expected_error=(["quantity", "mean"], [["pressure, relative L2", "7.9 %"]]),
        ),
        warnings=["no units in the file; <metres> assumed"],
        provenance={"Model": {"architecture": "MSPT"}, "Software": {"torch": "2.x <y>"}},
        downloads=[("run 25/fields #1.vtp", "fields")],
    )


def test_report_says_everything(data: ReportData, tmp_path: Path) -> None:
    path = write_report(data, tmp_path / "out" / "report.html")
    page = parse(path)
    text = " ".join(" ".join(page.text).split())
    for words in (
        "drag coefficient 0.345", "drag (N) 0.01712 0.0025", "parts 3 –", "pMean -0.75", 'Pressure "on" <the> surface',
        "Outside the training range", "Length is 20 % beyond the training set.", "length (m) 1.2 0.9 1 no",
        "width (m) 0.4 0.3 0.5 yes", "pressure, relative L2 7.9 %", "no units in the file; <metres> assumed",
        "architecture MSPT", "torch 2.x <y>", "the error can be larger than any of these",
    ):  # fmt: skip
        assert words in text, words
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]


def test_report_is_escaped_and_self_contained(data: ReportData, tmp_path: Path) -> None:
    page = parse(write_report(data, tmp_path / "report.html"))
    assert not page.all("script"), "no scene, no script; the title is text"
    assert "".join(page.text).count("<script>alert(1)</script>") == 2, "in the tab and in the heading"
    assert_self_contained(page)
    assert [a["href"] for a in page.all("a") if not str(a["href"]).startswith("#")] == ["run%2025/fields%20%231.vtp"]


def test_pictures_are_embedded_and_decode(data: ReportData, tmp_path: Path, picture: Path) -> None:
    page = parse(write_report(data, tmp_path / "report.html"))
    (image,) = page.all("img")
    assert image["alt"] == 'Pressure "on" <the> surface'
    kind, content = str(image["src"]).split(",")
    assert kind == "data:image/png;base64" and base64.b64decode(content) == picture.read_bytes()


def test_tables_are_accessible(data: ReportData, tmp_path: Path) -> None:
    page = parse(write_report(data, tmp_path / "report.html"))
    assert all(attrs.get("scope") in ("col", "row") for attrs in page.all("th"))
    assert page.all("html")[0]["lang"] == "en"
    targets = {attrs["id"] for _, attrs in page.tags if attrs.get("id")}
    inner = [str(a["href"])[1:] for a in page.all("a") if str(a["href"]).startswith("#")]
    assert inner and set(inner) <= targets


def test_range_marker_lies_where_the_value_does(data: ReportData, tmp_path: Path) -> None:
    places = [str(a["style"]) for a in parse(write_report(data, tmp_path / "r.html")).all("b")]
    assert places == ["left:98.0%", "left:50.0%"], "beyond the right end; in the middle of the band"


def test_report_with_scene(tmp_path: Path) -> None:
    sphere = pv.Sphere(theta_resolution=72, phi_resolution=72)
    scene = scene_html(sphere, {"p": sphere.cell_centers().points[:, 0]}, units={"p": "Pa"})
    path = write_report(ReportData(title="Sphere", scene=scene), tmp_path / "r.html")
    page = parse(path)
    assert_self_contained(page)
    assert len(page.all("script")) == 3 and len(page.all("select")) == 1
    assert path.stat().st_size < 8e6


def test_smallest_report(tmp_path: Path) -> None:
    page = parse(write_report(ReportData(title="only a title"), tmp_path / "r.html"))
    assert not page.all("table") and not page.all("section")


def test_index_lists_cases(tmp_path: Path, picture: Path) -> None:
    cases = [
        IndexCase(name="a<b>", report="a b/report.html", values={"Cd": 0.31234567}, level="inside", picture=picture),
        IndexCase(name="c", report="c.html", values={"Cd": 0.4, "Cl": -0.1}),
    ]
    path = write_index(cases, tmp_path / "index.html", title="Demo", tables={"Errors": (["x", "y"], [["p", 0.08]])})
    page = parse(path)
    assert_self_contained(page)
    text = " ".join(" ".join(page.text).split())
    for words in ("case training range Cd Cl", "a<b> ✓ inside 0.3123 –", "c 0.4 -0.1", "Errors x y p 0.08"):
        assert words in text, words
    assert [a["href"] for a in page.all("a")] == ["a%20b/report.html", "c.html"]
    thumbnail = Image.open(io.BytesIO(base64.b64decode(str(page.all("img")[0]["src"]).split(",")[1])))
    assert thumbnail.width == 440


@pytest.mark.parametrize(
    ("value", "text", "right"),
    [
        (True, "yes", False), (np.bool_(False), "no", False), (12345, "12345", True), (np.int64(7), "7", True),
        (1234567.0, "1.235e+06", True), (float("nan"), "–", True), (None, "–", True), ("7.9 %", "7.9 %", True),
        ("-", "-", True), ("MSPT", "MSPT", False),
    ],
)  # fmt: skip
def test_cells(value: object, text: str, right: bool) -> None:
    assert shown(value) == text
    assert is_number(value) is right


@pytest.mark.parametrize("link", ["https://x.org/a", "javascript:alert(1)", "/etc/passwd", "//x.org/a", ""])
def test_links_must_be_relative(link: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not relative to the report"):
        write_report(ReportData(title="t", downloads=[(link, "x")]), tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()


def test_messages(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"table 'forces': row 1 has 1 values for 2 columns"):
        write_report(ReportData(title="t", forces=(["a", "b"], [[1, 2], [1]])), tmp_path / "r.html")
    with pytest.raises(InputError, match="does not exist"):
        write_report(ReportData(title="t", pictures=[(tmp_path / "no.png", "x")]), tmp_path / "r.html")
    (tmp_path / "x.png").write_bytes(b"GIF89a")
    with pytest.raises(InputError, match="neither PNG nor JPEG"):
        write_report(ReportData(title="t", pictures=[(tmp_path / "x.png", "x")]), tmp_path / "r.html")
    with pytest.raises(InputError, match="trust level must be one of 'inside', 'edge', 'outside', got 'far'"):
        write_report(ReportData(title="t", trust=TrustSection(level="far", sentence="")), tmp_path / "r.html")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no cases"):
        write_index([], tmp_path / "i.html")


def test_the_errors_of_a_run_become_a_page(tmp_path: Path) -> None:
    picture = tmp_path / "case <a>.png"
    Image.new("RGB", (8, 8)).save(picture)
    report = Report(
        "fields", "relative L2 error, mean of 2 cases", {"p": 0.25, "drag": None},
        cases={"<a>": {"p": 0.2, "drag": None}, "b": {"p": 0.3, "drag": 0.5}}, baselines={"constant": {"p": 0.1}},
        columns={"p": "pressure", "drag": "drag"}, pictures=[picture],
    )  # fmt: skip
    page = parse(report.write_page(tmp_path / "errors.html"))
    assert_self_contained(page)
    said = " ".join(page.text)
    assert "Errors" in said and "Cases" in said
    assert not {"Forces", "Fields", "Changed or assumed about the input"} & set(page.text), "errors are not forces"
    assert "pressure is worse than 'constant' (0.250 against 0.100): no skill there" in said
    assert "constant" in said and "<a>" in said and "pressure" in said
    assert sum(tag == "img" for tag, _ in page.tags) == 1
    missing = Report("fields", "not judged: no test cases", {}).write_page(tmp_path / "none.html")
    assert "not judged" in missing.read_text(encoding="utf-8")


def test_long_texts_and_wide_numbers_wrap_in_their_cells(tmp_path):
    """A table of many columns fits a narrow window, or scrolls in its card."""
    table = Table(
        ["", "value", "rests on", "place"], [["peak", 1.0, "averages of the fields " * 3, "0.1, 0.2, 0.345678 (0.79)"]]
    )
    page = write_report(ReportData(title="t", tables={"Peaks": table}), tmp_path / "r.html").read_text()
    assert (
        '<td class="num">1</td>' in page and '<td class="long">averages' in page and '<td class="num wide">0.1' in page
    )
    assert '<div class="scroll" tabindex="0">' in page
