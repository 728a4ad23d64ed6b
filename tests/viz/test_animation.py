"""Animations: as many frames as steps, with the colors they should have, in files that are whole and closed."""

from __future__ import annotations

import ast
import base64
import io
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence
from torch import Tensor

import meshops.optional
from meshops.errors import InputError, MissingPackageError
from meshops.optional import available
from meshops.viz import animate_grid, animate_points, animation, ensemble_numbers, ensemble_page
from meshops.viz.animation import frame_words
from meshops.viz.colors import NAN_COLOR
from meshops.viz.film import Film, GridPainter, PointPainter, arrange

GRAY = np.array([int(NAN_COLOR[n : n + 2], 16) for n in (1, 3, 5)])
SQUARE = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
HALVES = torch.tensor([[0, 1, 2], [0, 2, 3]])


class Html(HTMLParser):
    """Tags and text; elements must nest."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        assert not self.stack

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "input", "br"):
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += "" if self.stack[-1:] in (["script"], ["style"]) else " ".join(data.split()) + " "

    def all(self, tag: str, kind: str = "") -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag and (not kind or attrs.get("class") == kind)]


def wave(steps: int = 5) -> Tensor:
    t, x = torch.arange(steps)[:, None, None], torch.linspace(0, 6, 12)
    return torch.sin(x[:, None] - t) * torch.cos(x[:8])


def rows(steps: int = 5) -> dict[str, Tensor]:
    return {"truth": wave(steps), "mean": 0.9 * wave(steps), "spread": 0.1 * wave(steps).abs()}


def frames_of(path: Path) -> list[np.ndarray]:
    return [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(Image.open(path))]


def panel(frame: np.ndarray, film: Film, n: int = 0) -> np.ndarray:
    """The inside of a panel, without the pixels at its border."""
    left, top = film._place(n)
    (across, down), edge = film.panel, 2
    x, y = round(left) + edge, round(top) + edge
    return frame[y : y + down - 2 * edge, x : x + across - 2 * edge].astype(int)


def grid_film(values: dict[str, Tensor], **options: Any) -> Film:
    arrays = {name: row.numpy() for name, row in values.items()}
    shape = next(iter(arrays.values())).shape
    return Film(arrays, GridPainter(shape[1:]), frame_words(None, shape[0], ""), width=360, **options)


def colors(image: np.ndarray) -> np.ndarray:
    return np.unique(image.reshape(-1, 3), axis=0)


def test_gif_has_a_frame_for_every_step_and_their_time(tmp_path: Path) -> None:
    path = animate_grid(
        rows(), tmp_path / "new" / "wave.gif", fps=10, label="height (m)", times=range(5), time_unit="s"
    )
    image = Image.open(path)
    durations = [frame.info["duration"] for frame in ImageSequence.Iterator(image)]
    assert image.n_frames == 5 and durations == [100] * 5 and image.info["loop"] == 0  # type: ignore[attr-defined]
    assert image.width == 720 and image.width % 2 == image.height % 2 == 0
    assert path.stat().st_size < 120_000
    assert [p.name for p in path.parent.iterdir()] == ["wave.gif"]
    assert len(colors(np.concatenate(frames_of(path)))) <= 128, "one palette for all frames"


def test_a_constant_field_has_one_color_and_gaps_are_gray(tmp_path: Path) -> None:
    field = torch.full((2, 6, 6), 3.0)
    film = grid_film({"truth": field})
    (path,) = [animate_grid({"truth": field}, tmp_path / "a.gif", width=360)]
    for frame in [*film.frames(), *frames_of(path)]:
        assert len(colors(panel(frame, film))) == 1
    field[1, :3] = math.nan
    field[1, 0] = math.inf
    before, after = frames_of(animate_grid({"truth": field}, tmp_path / "b.gif", width=360))
    half = panel(after, film).shape[1] // 2
    assert np.abs(panel(after, film)[:, : half - 4] - GRAY).max() <= 6
    assert np.array_equal(panel(after, film)[:, half + 4 :], panel(before, film)[:, half + 4 :])


def test_first_axis_goes_right_and_second_up() -> None:
    field = torch.zeros(1, 4, 3)
    field[0, 3, 0] = 1.0
    film = grid_film({"truth": field}, clim=(0, 1))
    assert film.panel[0] / film.panel[1] == pytest.approx(4 / 3, rel=0.02)
    image = panel(next(film.frames()), film)
    bright = np.argwhere(image[..., 0] > 200)
    assert bright[:, 0].min() > 0.6 * image.shape[0] and bright[:, 1].min() > 0.7 * image.shape[1]


def test_spread_has_its_own_scale_and_the_others_share_one() -> None:
    few = {"truth": wave(), "mean": 0.5 * wave(), "spread": wave().abs()}
    film = grid_film(few, own=["spread"])
    many = grid_film(few | {"spread": 100 * wave().abs()}, own=["spread"])
    assert list(film.groups) == [("truth", "mean"), ("spread",)]
    shared, own = film.groups.values()
    assert shared.diverging and not own.diverging and own.low == 0
    assert many.groups["spread",].high == pytest.approx(100 * own.high)
    for one, other in zip(film.frames(), many.frames(), strict=True):
        assert all(np.array_equal(panel(one, film, n), panel(other, many, n)) for n in range(3))
    alone = grid_film({"mean": 0.5 * wave()})
    mean, truth = panel(next(film.frames()), film, 1), panel(next(film.frames()), film, 0)
    assert mean.std() < truth.std() and alone.groups["mean",].high < shared.high
    assert film.remarks[1].startswith("spread: ")


def test_points_move(tmp_path: Path) -> None:
    steps = 4
    pos = SQUARE + 3 * torch.arange(steps)[:, None, None] * torch.tensor([1.0, 0.0])
    values = {"truth": torch.ones(steps, 4)}
    for triangles in (None, HALVES):
        painter = PointPainter(pos.numpy(), None if triangles is None else triangles.numpy())
        film = Film({"truth": values["truth"].numpy()}, painter, ["."] * steps, width=360)
        path = animate_points(pos, values, tmp_path / "a.gif", triangles=triangles, width=360)
        middles = []
        for drawn, written in zip(film.frames(), frames_of(path), strict=True):
            inside = [np.argwhere(panel(frame, film).min(-1) < 200)[:, 1].mean() for frame in (drawn, written)]
            assert inside[0] == pytest.approx(inside[1], abs=1.5)
            middles.append(inside[1])
        assert np.diff(middles) == pytest.approx(np.diff(middles)[0], rel=0.2) and middles[0] < middles[-1]


def test_still_mesh_takes_new_values_and_gray_nodes(tmp_path: Path) -> None:
    values = torch.tensor([[0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0], [math.nan] * 4])
    path = animate_points(SQUARE, {"truth": values}, tmp_path / "a.gif", triangles=HALVES, width=360, clim=(0, 1))
    film = Film({"truth": values.numpy()}, PointPainter(SQUARE.numpy()[None], HALVES.numpy()), [""] * 3, width=360)
    low, high, gap = (panel(frame, film)[20:-20, 20:-20] for frame in frames_of(path))
    assert low.mean() < 90 < high[..., 0].mean() and np.abs(gap - GRAY).max() <= 6


def test_wide_panels_stand_in_lines_and_square_ones_side_by_side() -> None:
    assert arrange(3, 1.0, 960)[:2] == (3, 1)
    assert arrange(3, 6.0, 960)[:2] == (1, 3)
    assert arrange(6, 1.0, 960)[:2] == (3, 2)
    columns, lines, (across, down) = arrange(1, 1e9, 960)
    assert (columns, lines) == (1, 1) and across <= 960 and down >= 24


def test_times_have_the_digits_that_tell_them_apart() -> None:
    assert frame_words(None, 2, "s") == ["step 1 of 2", "step 2 of 2"]
    assert frame_words(torch.tensor([0.0, 0.5]), 2, "s") == ["t = 0 s", "t = 0.5 s"]
    assert frame_words([1000.01, 1000.02], 2, "") == ["t = 1000.01", "t = 1000.02"]


def assert_closed(page: Html) -> None:
    assert "http" not in page.source.replace('http-equiv="Content-Security-Policy"', "")
    assert "default-src 'none'" in str(page.all("meta")[2]["content"])
    for _, attrs in page.tags:
        assert "href" not in attrs
        assert str(attrs.get("src", "data:")).startswith("data:")


def test_page_plays_every_step_without_a_network(tmp_path: Path) -> None:
    path = animate_grid(
        rows(4), tmp_path / "a.html", title="Waves <b> & so", times=[0.0, 0.5, 1.0, 2.0], time_unit="s", width=360,
        label="height (m)", curves={"RMSE": [0.1, 0.2, math.nan, 0.4]}, curve_label="RMSE (m)",
        table=(["quantity", "value"], [["mean RMSE", 0.23456]]),
    )  # fmt: skip
    page = Html(path)
    assert_closed(page)
    frames = page.all("img", "frame")
    assert [f["alt"] for f in frames] == [f"truth, mean, spread; t = {t} s" for t in ("0", "0.5", "1", "2")]
    assert ["hidden" in f for f in frames] == [False, True, True, True]
    for frame in frames:
        image = Image.open(io.BytesIO(base64.b64decode(str(frame["src"]).partition(",")[2])))
        assert image.format == "PNG" and [str(n) for n in image.size] == [frame["width"], frame["height"]]
    (slider,) = page.all("input")
    assert slider["max"] == "3" and slider["aria-label"] and slider["aria-valuetext"] == "t = 0 s"
    assert [b["class"] for b in page.all("button")] == ["play", "back", "on"]
    assert all(key in page.source for key in ("ArrowLeft", "ArrowRight", "Home", "End"))
    assert "Waves <b> & so" in page.text and "mean RMSE 0.2346" in page.text and "full range" in page.text
    (line,) = [attrs for attrs in page.all("i") if attrs.get("data-places")]
    places = [float(place) for place in str(line["data-places"]).split()]
    assert 0 < places[0] and places[-1] < 100
    assert np.diff(places)[1:] / np.diff(places)[0] == pytest.approx([1, 2], rel=0.01), "where the times are"


def test_page_without_curves_and_with_one_frame(tmp_path: Path) -> None:
    pos = torch.rand(9, 2, generator=torch.Generator().manual_seed(0))
    page = Html(animate_points(pos, {"u": torch.arange(9.0)[None]}, tmp_path / "a.html", width=360))
    assert_closed(page)
    assert len(page.all("img")) == 1 and not page.all("table") and "Trajectory" in page.text


@pytest.mark.skipif(not available("imageio_ffmpeg"), reason="needs imageio-ffmpeg: pip install 'meshops[video]'")
def test_mp4_has_a_frame_for_every_step(tmp_path: Path) -> None:
    import imageio_ffmpeg

    path = animate_grid(rows(), tmp_path / "a.mp4", fps=10, width=360)
    frames, seconds = imageio_ffmpeg.count_frames_and_secs(str(path))
    assert frames == 5 and seconds == pytest.approx(0.5, abs=0.11)
    reader = imageio_ffmpeg.read_frames(str(path))
    across, down = next(reader)["size"]
    film = grid_film(rows(), own=["spread"])
    assert (across, down) == film.size
    first = np.frombuffer(next(reader), np.uint8).reshape(down, across, 3)
    assert np.abs(first.astype(int) - next(film.frames())).mean() < 6
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_mp4_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meshops.optional, "available", lambda name: False)
    with pytest.raises(MissingPackageError, match=r"MP4 files and is not installed.*pip install 'meshops\[video\]'"):
        animate_grid(rows(), tmp_path / "a.mp4")
    assert not list(tmp_path.iterdir())


def gaussian(members: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    size = 0.1 + torch.rand(3, 40, 30, generator=generator)
    truth = size * torch.randn(3, 40, 30, generator=generator)
    return truth, size * torch.randn(members, 3, 40, 30, generator=generator)


def test_numbers_of_an_ensemble_against_loops() -> None:
    truth, samples = torch.tensor([[0.0, 2.0], [1.0, 5.0]]), torch.tensor([[1.0, 2.0], [2.0, 4.0], [3.0, 2.0]])
    samples = torch.stack([samples, samples - 1], dim=1)
    found = ensemble_numbers(truth, samples)
    for t in range(2):
        crps, square, variance = [], [], []
        for place in range(2):
            x, y = samples[:, t, place].double(), truth[t, place].double()
            pairs = sum((a - b).abs() for a in x for b in x) / (2 * 3 * 2)
            crps.append((x - y).abs().mean() - pairs)
            square.append((x.mean() - y) ** 2)
            variance.append(x.var())
        assert found.crps[t] == pytest.approx(float(sum(crps) / 2))
        assert found.error[t] == pytest.approx(math.sqrt(float(sum(square) / 2)))
        assert found.spread[t] == pytest.approx(math.sqrt(4 / 3 * float(sum(variance) / 2)))
    # Below all; two ties of (2, 2, 4) share ranks 0 to 2; one tie of (0, 1, 2) ranks 1 and 2; above all.
    assert found.ranks == pytest.approx([1 + 1 / 3, 1 / 3 + 1 / 2, 1 / 3 + 1 / 2, 1.0])


def test_a_calibrated_ensemble_looks_like_one() -> None:
    truth, samples = gaussian(20)
    found = ensemble_numbers(truth, samples)
    assert found.spread == pytest.approx(found.error, rel=0.08)
    assert found.bin_spread[5:] == pytest.approx(found.bin_error[5:], rel=0.15)
    assert found.ranks.sum() == pytest.approx(truth.numel())
    assert found.ranks / found.ranks.mean() == pytest.approx(np.ones(21), abs=0.35)
    truth[0, 0, 0], samples[2, 1] = math.nan, math.inf
    holes = ensemble_numbers(truth, samples)
    assert holes.left_out == 1 + 1200 and math.isnan(holes.crps[1]) and holes.crps[2] == found.crps[2]


def test_page_shows_what_is_expected_of_the_error(tmp_path: Path) -> None:
    truth, samples = gaussian()
    path = ensemble_page(tmp_path / "e.html", truth=truth, samples=samples, expected=torch.rand_like(truth), width=360)
    page = Html(path)
    words = "truth, mean, spread, expected error, sample 1, sample 2; step 1 of 3"
    assert page.all("img", "frame")[0]["alt"] == words
    with pytest.raises(InputError, match="expected must be like truth"):
        ensemble_page(tmp_path / "f.html", truth=truth, samples=samples, expected=truth[0])


def test_page_of_an_ensemble(tmp_path: Path) -> None:
    truth, samples = gaussian()
    truth[1, 0, 0] = math.nan
    page = Html(
        ensemble_page(tmp_path / "e.html", truth=truth, samples=samples, label="u (m/s)", subtitle="case 7", width=360)
    )
    assert_closed(page)
    assert len(page.all("img", "frame")) == 3
    assert page.all("img", "frame")[0]["alt"] == "truth, mean, spread, sample 1, sample 2; step 1 of 3"
    captions = [str(a["alt"]) for a in page.all("img") if "class" not in a]
    assert [c.split()[0] for c in captions] == ["RMSE", "Spread", "Rank"]
    for words in (
        "members 6",
        "steps 3",
        "CRPS",
        "case 7",
        "1 values that are not finite",
        "truth outside all members",
    ):
        assert words in page.text, words
    assert len(page.all("table")) == 1


def test_page_of_an_ensemble_on_moving_points_with_numbers_of_many(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    pos = torch.rand(2, 30, 2, generator=generator)
    samples = torch.randn(3, 2, 30, generator=generator)
    page = Html(
        ensemble_page(
            tmp_path / "e.html", truth=torch.randn(2, 30, generator=generator), samples=samples, pos=pos, shown=0,
            width=360,
            curves={"CRPS over 50 cases": [0.1, 0.2]}, spread_skill=([0.1, 0.2], [0.1, 0.3]), ranks=[5, 1, 1, 6],
            table=(["model", "CRPS"], [["MSPT", 0.125]]),
        )
    )  # fmt: skip
    assert [f["alt"] for f in page.all("img", "frame")][1] == "truth, mean, spread; step 2 of 2"
    assert "CRPS over 50 cases against step" in page.text and "MSPT 0.125" in page.text
    assert "RMSE of the mean against" not in page.text


FIELD = torch.zeros(3, 4, 5)
LINE = torch.zeros(3, 4)
MESSAGES: list[tuple[Any, str]] = [
    (lambda p: animate_grid({}, p / "a.gif"), r"no rows to animate; give at least one, such as .*\[t, nx, ny\]"),
    (lambda p: animate_grid({"a": FIELD}, p / "a.avi"), r"one of '.gif', '.mp4', '.html', got '.*a.avi'; choose"),
    (lambda p: animate_grid({"a": FIELD, "b": FIELD[:2]}, p / "a.gif"), r"one shape.*'a' \[3, 4, 5\], 'b' \[2, 4, 5\]"),
    (lambda p: animate_grid({"a": FIELD[..., None]}, p / "a.gif"), r"got shape \[3, 4, 5, 1\]; cut a plane out of"),
    (lambda p: animate_grid({"a": FIELD[0]}, p / "a.gif"), r"'a' must be \[t, nx, ny\], got shape \[4, 5\]; choose"),
    (lambda p: animate_grid({"a": FIELD[:0]}, p / "a.gif"), r"row 'a' of shape \[0, 4, 5\] is empty"),
    (lambda p: animate_grid({"a": FIELD}, p / "a.gif", times=[0, 1]), r"3 finite numbers, one per frame, got 2; leave"),
    (lambda p: animate_grid({"a": FIELD}, p / "a.gif", times=[0, 1, math.nan]), r"got 3 with some not finite"),
    (lambda p: animate_grid({"a": FIELD}, p / "a.gif", fps=0), r"fps must be above 0 and at most 50, got 0"),
    (lambda p: animate_grid({"a": FIELD}, p / "a.gif", spread=["b"]), r"spread names 'b', which no row has; rows are"),
    (lambda p: animate_grid({"a": FIELD}, p / "a.gif", width=90), r"width must be at least 360 pixels, got 90"),
    (lambda p: animate_grid({"a": FIELD}, p / "a.gif", extent=(0, 0, 0, 1)), r"extent must be .* rising order"),
    (lambda p: animate_grid({"a": FIELD * math.nan}, p / "a.gif"), r"nothing to draw in 'a': no value of any frame is"),
    (lambda p: animate_grid({"a": FIELD}, p / "a.html", curves={"e": [1.0]}), r"curve 'e' must have one value per.*3"),
    (lambda p: animate_grid({"a": FIELD}, p / "a.html", table=(["x"], [[1, 2]])), r"row 0 has 2 values for 1 columns"),
    (lambda p: animate_grid({"a": FIELD.to(torch.complex64)}, p / "a.gif"), r"'a' holds complex values; give a real"),
    (lambda p: animate_points(SQUARE[:3], {"a": LINE}, p / "a.gif"), r"pos must be \[4, 2\] or \[3, 4, 2\].*\[3, 2\]"),
    (lambda p: animate_points(SQUARE * math.nan, {"a": LINE}, p / "a.gif"), r"pos holds values that are not finite"),
    (lambda p: animate_points(SQUARE, {"a": LINE}, p / "a.gif", triangles=HALVES + 1), r"name nodes 0 to 3, got 1 to"),
    (lambda p: animate_points(SQUARE, {"a": LINE}, p / "a.gif", triangles=HALVES.T), r"whole numbers \[m, 3\], got"),
    (lambda p: ensemble_page(p / "a.gif", truth=FIELD, samples=FIELD[None]), r"ends in '.html', got '.*a.gif'"),
    (lambda p: ensemble_page(p / "a.html", truth=FIELD, samples=FIELD[None]), r"at least two members, got 1"),
    (lambda p: ensemble_page(p / "a.html", truth=FIELD, samples=FIELD), r"samples must be \[members, \*truth\]"),
    (lambda p: ensemble_page(p / "a.html", truth=LINE, samples=torch.zeros(2, 3, 4)), r"needs their places; give pos"),
    (lambda p: ensemble_page(p / "a.html", truth=FIELD, samples=torch.rand(2, 3, 4, 5), ranks=[0, 0]), r"not all z"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), MESSAGES, ids=[message[:30] for _, message in MESSAGES])
def test_messages(call: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        call(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".gif", ".html"])
def test_an_error_on_the_way_leaves_the_old_file(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"old")

    def fail(self: Any, drawn: Any, values: Any, frame: int) -> Any:
        if frame == 2:
            raise RuntimeError("halfway")
        return drawn

    monkeypatch.setattr(animation.GridPainter, "show", fail)
    with pytest.raises(RuntimeError, match="halfway"):
        animate_grid(rows(), path, width=360)
    assert path.read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("name", ["animation", "ensemble", "film", "movie", "timeplot"])
def test_drawing_is_imported_inside_functions(name: str) -> None:
    source = Path(animation.__file__).with_name(f"{name}.py").read_text(encoding="utf-8")
    heads = [ast.unparse(n) for n in ast.parse(source).body if isinstance(n, ast.Import | ast.ImportFrom)]
    assert not [head for head in heads if re.search("matplotlib|PIL|jinja2|imageio", head)]
