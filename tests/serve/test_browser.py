"""The page in a real browser: upload, turn the scene, compare, an error, a phone, nothing from elsewhere."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
CHROMIUM = Path(os.environ.get("MESHOPS_CHROMIUM", "/usr/bin/chromium"))
SECONDS = 60_000
EVIL = '<img src=x onerror="alert(1)">.vtu'
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"needs {CHROMIUM} (apt install chromium)"),
]


@pytest.fixture
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as play:
        made = play.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", "--enable-unsafe-swiftshader"])
        yield made
        made.close()


class Watched:
    """A page with what it complains of and where it asks."""

    def __init__(self, browser: Any, address: str, **options: Any) -> None:
        self.problems: list[str] = []
        self.asked: set[str] = set()
        self.page = browser.new_page(**options)
        self.page.on("console", lambda m: m.type == "error" and self.problems.append(m.text))
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("dialog", lambda dialog: self.problems.append(f"dialog {dialog.message}"))
        self.page.on("request", lambda request: self.asked.add(request.url))
        self.page.goto(address)

    def upload(self, *files: tuple[str, bytes], angle: str = "0.2") -> None:
        payload = [{"name": n, "mimeType": "application/octet-stream", "buffer": content} for n, content in files]
        self.page.set_input_files("#files", payload)
        self.page.get_by_label("angle").fill(angle)
        self.page.locator("#send").click()

    def results(self, count: int) -> None:
        self.page.locator(".job .summary").nth(count - 1).wait_for(timeout=SECONDS)


def test_a_person_predicts_turns_compares_and_errs(
    browser: Any,
    started: Any,
    sheet_file: bytes,
    wide_file: bytes,
    tmp_path: Path,
) -> None:
    address = f"http://127.0.0.1:{started.port}/"
    watched = Watched(browser, address, viewport={"width": 1200, "height": 900})
    page = watched.page
    watched.upload(("old.vtu", sheet_file), (EVIL, wide_file))
    watched.results(2)
    evil = page.locator(".job", has_text="<img src=x")
    assert evil.count() == 1 and "mass" in evil.locator(".summary").inner_text()

    # The scene: its frame draws, and a view turns it.
    page.locator(".job iframe").last.scroll_into_view_if_needed()
    scene = page.frame_locator(".job iframe").last
    canvas = scene.locator("canvas").first
    canvas.wait_for(timeout=SECONDS)
    page.wait_for_timeout(1500)
    before = canvas.screenshot()
    scene.get_by_role("button", name="front three-quarter").click()
    page.wait_for_timeout(1500)
    assert canvas.screenshot() != before

    # By keyboard: both boxes, the button, the verdict.
    for box in page.locator(".pick input").all():
        box.focus()
        page.keyboard.press("Space")
    page.locator("#compare").focus()
    page.keyboard.press("Enter")
    watched.results(3)
    verdict = page.locator(".job").first.locator(".verdict").inner_text()
    assert re.search(r"mass: .* is (larger|smaller), (over )?\d+ % sure", verdict), verdict

    with page.expect_download() as coming:
        page.get_by_role("link", name="old_predicted.vtu").click()
    coming.value.save_as(tmp_path / "old.vtu")
    assert b"p_predicted" in (tmp_path / "old.vtu").read_bytes()

    # Errors are lines: of the page at once, of the server after its answer.
    page.set_input_files("#files", [{"name": "x.zip", "mimeType": "application/zip", "buffer": b"PK"}])
    assert "x.zip: archives are not unpacked" in page.locator("#messages").inner_text()
    watched.upload(("half.vtu", b"<VTKFile"), angle="steep")
    assert "angle must be a number, got 'steep'" in page.locator("#messages").inner_text()
    page.get_by_label("angle").fill("0,3")
    page.locator("#send").click()
    page.locator(".job .why").wait_for(timeout=SECONDS)
    assert "half.vtu: " in page.locator(".job .why").inner_text()

    for remove in page.get_by_role("button", name=re.compile("^Remove ")).all()[::-1]:
        remove.click()
    assert page.locator(".job").count() == 0 and page.locator("#empty").is_visible()
    assert watched.problems == []
    assert {re.match(r"(data|blob):|http://127\.0\.0\.1:\d+/", url) is not None for url in watched.asked} == {True}
    page.wait_for_timeout(500)
    folders = [path for path in started.folder.glob("meshops-serve-*/*")]
    assert folders == []


def test_a_phone_in_the_dark_needs_no_sideways_scrolling_and_keeps_results(
    browser: Any,
    started: Any,
    sheet_file: bytes,
) -> None:
    address = f"http://127.0.0.1:{started.port}/"
    watched = Watched(browser, address, viewport={"width": 360, "height": 740}, color_scheme="dark", has_touch=True)
    watched.upload(("a_rather_long_name_of_a_design_from_a_catalogue_of_designs_2026.vtu", sheet_file))
    watched.results(1)
    for details in watched.page.locator(".job summary").all():
        details.click()
    assert watched.page.evaluate("() => document.documentElement.scrollWidth") == 360
    assert watched.page.evaluate("() => getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 27)"
    watched.page.reload()
    watched.results(1)
    assert watched.problems == []


@pytest.mark.parametrize("width", [1100, 390])
def test_wide_tables_of_a_report_stay_in_their_card(browser: Any, tmp_path: Path, width: int) -> None:
    from meshops.viz import ReportData, Table, write_report

    heads = ["", "value", "from (85 %)", "to", "unit", "mean of the training", "rests on", "place (within) [m]"]
    basis = "fields 29 %, Gaussian process 23 %, constant 22 %, fields, corrected 16 %, ridge 9 %"
    row = ["max |wallShearStressMean|", 0.02867, 0.0, 0.1335, "m^2/s^2", 0.04375, basis, "0.908, -0.153, 0.321 (0.96)"]
    report = write_report(ReportData(title="Peaks", tables={"Peaks": Table(heads, [row])}), tmp_path / "report.html")
    watched = Watched(browser, report.as_uri(), viewport={"width": width, "height": 800})
    assert watched.page.evaluate("() => document.documentElement.scrollWidth") == width
    card = "() => { const s = document.querySelector('.scroll'); return [s.scrollWidth, s.clientWidth]; }"
    inner, shown = watched.page.evaluate(card)
    assert inner == shown if width == 1100 else inner > shown
    basis_width = watched.page.evaluate("() => document.querySelector('td.long').clientWidth")
    assert basis_width >= 200, "the text is squeezed"
