"""How sphinx-gallery shows ``meshops.viz.Scene``: a picture for the thumbnail, and the scene itself in the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from meshops.viz import Scene, surface_picture

SCRIPT = "plotly.min.js"  # once in _static, for the scenes of all pages


def scenes(block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """Scraper: the scenes that a block of an example has made."""
    shown = block_vars.setdefault("scenes shown", [])
    out = []
    for name, scene in block_vars["example_globals"].items():
        if not isinstance(scene, Scene) or any(scene is other for other in shown):
            continue
        shown.append(scene)
        picture = Path(next(block_vars["image_path_iterator"]))
        first = next(iter(scene.fields))
        values = scene.fields[first]
        location = "cell" if len(values) == scene.mesh.n_cells else "point"
        unit = scene.units.get(first, "")
        surface_picture(scene.mesh, values, picture, title=first, unit=unit, views=["front three-quarter"],
                        flow=scene.flow, up=scene.up, association=location)  # fmt: skip
        lines = [] if len(shown) > 1 else [f'<script src="../_static/{SCRIPT}"></script>']
        lines += scene.html(f"{picture.stem}-{name}", include_plotly=False).splitlines()
        out.append("\n".join([".. raw:: html", "", *("    " + line for line in lines), ""]))
    return "\n".join(out)


def write_script(app: Any) -> None:
    """Put plotly's script where the pages find it without a network."""
    from plotly.offline import get_plotlyjs

    folder = Path(app.outdir) / "_static"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SCRIPT).write_text(str(get_plotlyjs()), encoding="utf-8")


def setup(app: Any) -> dict[str, bool]:
    """Have the script written with the pages."""
    app.connect("builder-inited", write_script)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
