"""Sphinx settings. Build: ``sphinx-build -W -b html docs docs/_build/html`` with meshops[docs] installed."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.ext.autosummary import Autosummary
from sphinx.util.docutils import SphinxDirective

import meshops
from meshops.cli.main import main

logging.getLogger("skfem").setLevel(logging.WARNING)  # Sphinx lets everything through, and it has much to say
sys.path.insert(0, str(Path(__file__).parent))  # gallery_scenes

project = "meshops"
author = "The meshops developers"
project_copyright = "The meshops developers, Apache-2.0"
version = release = meshops.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_gallery.gen_gallery",
    "gallery_scenes",
]
autosummary_generate = False
exclude_patterns = ["_build", "scenes"]
html_static_path = ["_static"]
html_css_files = ["pages.css"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = f"meshops {release}"
highlight_language = "text"

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True}
autodoc_preserve_defaults = True
maximum_signature_line_length = 100
napoleon_use_ivar = True
napoleon_use_rtype = False
suppress_warnings = ["config.cache", "ref.python"]  # annotations such as Case, which two modules have

sphinx_gallery_conf = {
    "examples_dirs": "scenes",
    "gallery_dirs": "gallery",
    "filename_pattern": "/plot_",
    "image_scrapers": ("gallery_scenes.scenes",),
    "capture_repr": (),
    "reset_modules": (),
    "show_memory": False,
    "write_computation_times": False,  # its page fetches scripts
    "show_signature": False,
    "download_all_examples": False,
    "remove_config_comments": True,
}


class HelpText(SphinxDirective):
    """The real text of ``meshops VERB --help``, made while the pages are built."""

    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return one literal block."""
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            code = main([*self.arguments, "--help"])
        if code:
            raise self.error(f"meshops {' '.join(self.arguments)} --help left with code {code}")
        return [nodes.literal_block(out.getvalue(), out.getvalue(), language="text")]


class PackageContents(Autosummary):
    """A table of the names a package shows, each with its first line and a link to where it is described."""

    required_arguments = 1
    has_content = False

    def run(self) -> list[nodes.Node]:
        """Return what autosummary makes of ``__all__``."""
        package = importlib.import_module(self.arguments[0])
        shown = [getattr(package, name) for name in package.__all__]
        homes = [(getattr(entry, "__module__", "") or "", getattr(entry, "__name__", "")) for entry in shown]
        lines = [f"~{home}.{name}" for home, name in homes if home.startswith("meshops.") and name]
        self.content = StringList(lines, source=self.arguments[0])
        self.options["nosignatures"] = None
        return super().run()


def skip_field_numbers(app: Any, what: str, name: str, member: Any, skip: bool, options: Any) -> bool | None:
    """Leave out the fields of named tuples, which their class docstrings describe."""
    return True if str(getattr(member, "__doc__", "")).startswith("Alias for field number") else None


def keep_layout(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Show formulas and tables in the docstrings of modules, which are plain text, with their line breaks."""
    if what != "module":
        return
    out: list[str] = []
    literal = False
    for paragraph in "\n".join(lines).strip().split("\n\n"):
        rows = paragraph.split("\n")
        laid_out = any(row.startswith(" ") or "   " in row.strip() for row in rows)
        if laid_out and not literal:
            rows = ["::", "", *("    " + row for row in rows)]
        out += [*rows, ""]
        literal = paragraph.endswith("::")
    lines[:] = out


def setup(app: Any) -> None:
    """Register the directive and the filters."""
    app.add_directive("help-text", HelpText)
    app.add_directive("package-contents", PackageContents)
    app.connect("autodoc-skip-member", skip_field_numbers)
    app.connect("autodoc-process-docstring", keep_layout)
