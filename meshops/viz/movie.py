"""The files of an animation: GIF, MP4, and a page that plays its frames by itself.

Each is put together in memory and then written whole, so that an error on the way leaves no file.
"""

from __future__ import annotations

import base64
import io
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from meshops.errors import InputError, listing
from meshops.io import write_bytes
from meshops.optional import require
from meshops.viz.film import Film
from meshops.viz.report import AnyTable, checked_table, environment

SUFFIXES = (".gif", ".mp4", ".html")
# Colors of a film. Fewer make a GIF smaller, whose packing gains nothing from smooth fields; a PNG is packed better.
GIF_COLORS = 128
PNG_COLORS = 255
FASTEST = 50  # frames per second: a GIF counts in hundredths of a second, and viewers slow down below two


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A picture on a page.

    Attributes:
        png: The file.
        caption: Below it.
        places: Where each frame stands, as parts of the width; a line then follows the animation.
        band: Top and bottom of that line, as parts of the height.
    """

    png: bytes
    caption: str
    places: Sequence[float] = ()
    band: tuple[float, float] = (0.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class Page:
    """What stands on the page besides the animation.

    Attributes:
        title, subtitle: Head of the page.
        summary: Label and value of the few numbers to read first.
        heading: Of the plots.
        plots: Pictures below the animation.
        tables: Heading and table.
        notes: Sentences below the animation.
    """

    title: str
    subtitle: str = ""
    summary: Sequence[tuple[str, Any]] = ()
    heading: str = "Against time"
    plots: Sequence[Plot] = ()
    tables: Sequence[tuple[str, AnyTable]] = ()
    notes: Sequence[str] = ()


def kind_of(path: str | Path, fps: float) -> str:
    """Suffix of a file that can be written here, at a speed that viewers show.

    Raises:
        InputError: The suffix is unknown or the speed impossible.
        MissingPackageError: MP4 without its encoder.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(
            f"an animation is a file ending in one of {listing(SUFFIXES)}, got '{path}'; choose one of these endings"
        )
    if not 0 < fps <= FASTEST:
        raise InputError(f"fps must be above 0 and at most {FASTEST}, got {fps}; take every other frame to go faster")
    if suffix == ".mp4":
        require("imageio_ffmpeg", extra="video", purpose="MP4 files")
    return suffix


def write_film(film: Film, path: str | Path, *, fps: float, page: Page) -> Path:
    """Write the frames as the suffix of the path says."""
    kind = kind_of(path, fps)
    if kind == ".html":
        return write_page(film, path, fps=fps, page=page)
    return write_bytes(path, gif(film, fps) if kind == ".gif" else mp4(film, fps))


def write_page(film: Film, path: str | Path, *, fps: float, page: Page) -> Path:
    """Write one HTML file that holds the frames, a player, plots and tables; it needs no network."""
    html = environment().get_template("animation.html.j2").render(
        page=page,
        frames=[_address(_png(image)) for image in _indexed(film, PNG_COLORS)],
        words=film.words,
        panels=", ".join(film.rows),
        size=film.size,
        delay=round(1000 / fps),
        notes=[*film.remarks, *page.notes],
        plots=[(plot, _address(plot.png)) for plot in page.plots],
        tables=[(heading, checked_table(heading, table)) for heading, table in page.tables],
    )  # fmt: skip
    return write_bytes(path, html.encode("utf-8"))


def gif(film: Film, fps: float) -> bytes:
    """Frames with one palette for all, each stored as what changed since the one before."""
    first, *rest = _indexed(film, GIF_COLORS)
    buffer = io.BytesIO()
    first.save(
        buffer, "GIF", save_all=True, append_images=rest, duration=10 * max(round(100 / fps), 2), loop=0, optimize=True
    )
    return buffer.getvalue()


def mp4(film: Film, fps: float) -> bytes:
    """H.264 that every browser plays."""
    ffmpeg = require("imageio_ffmpeg", extra="video", purpose="MP4 files")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        encoder = ffmpeg.write_frames(
            str(path), film.size, fps=fps, codec="libx264", quality=8, macro_block_size=2, ffmpeg_log_level="error",
            output_params=["-movflags", "+faststart"],
        )  # fmt: skip
        encoder.send(None)
        try:
            for frame in film.frames():
                encoder.send(np.ascontiguousarray(frame))
        finally:
            encoder.close()
        return path.read_bytes()


def _indexed(film: Film, most: int) -> Iterable[Any]:
    """Frames as numbers of the colors of the film."""
    from PIL import Image

    colors = film.palette(most)[:256]
    palette = Image.new("P", (1, 1))
    # The rest repeats the first color: Pillow fills up with black otherwise, which letters would then take.
    palette.putpalette(np.concatenate([colors, np.tile(colors[:1], (256 - len(colors), 1))]).tobytes())
    for frame in film.frames():
        yield Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE)


def _png(image: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _address(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"
