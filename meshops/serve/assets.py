"""The page and what it loads; all from this package and plotly's, nothing from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from meshops.serve.limits import Limits, size_text

PAGE = Path(__file__).parent / "page"
STYLE = Path(__file__).parents[1] / "viz" / "templates" / "style.css.j2"


def page(card: Mapping[str, Any], limits: Limits) -> str:
    """The page for one model."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    templates = Environment(
        loader=FileSystemLoader(PAGE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    told = {
        "endings": card["endings"],
        "largest": limits.upload,
        "largest_text": size_text(limits.upload),
        "mesh": card["mesh"],
        "compares": card["compares"],
    }
    return templates.get_template("page.html.j2").render(
        card=card, limits=limits, largest=size_text(limits.upload), told=json.dumps(told)
    )


@cache
def asset(name: str) -> tuple[bytes, str] | None:
    """Content and kind; None: there is none of that name."""
    if name == "page.css":
        return STYLE.read_bytes() + (PAGE / "page.css").read_bytes(), "text/css"
    if name == "page.js":
        return (PAGE / "page.js").read_bytes(), "text/javascript"
    if name == "plotly.js":
        from plotly.offline import get_plotlyjs

        return get_plotlyjs().encode("utf-8"), "text/javascript"
    return None
