"""The gallery: its scripts run, and its pages get scenes that fetch nothing."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import pyvista as pv

from meshops.viz import Scene

DOCS = Path(__file__).resolve().parents[2] / "docs"
SCRIPTS = sorted((DOCS / "scenes").glob("plot_*.py"))


def test_there_are_scripts() -> None:
    assert len(SCRIPTS) >= 4


@pytest.mark.slow
@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_makes_a_scene(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if "meshops.solvers.wake" in path.read_text(encoding="utf-8"):
        pytest.importorskip("skfem")
    scene = runpy.run_path(str(path))["scene"]
    assert isinstance(scene, Scene)
    assert all(np.isfinite(values).all() and np.ptp(values) > 0 for values in scene.fields.values())


def test_a_scene_of_a_block_is_shown_once_with_its_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DOCS))
    from gallery_scenes import scenes

    mesh = pv.Sphere(theta_resolution=6, phi_resolution=6)
    scene = Scene(mesh=mesh, fields={"height": mesh.cell_centers().points[:, 2]}, units={"height": "m"})
    names = (tmp_path / f"sphx_{n}.png" for n in range(9))
    block = {"example_globals": {"scene": scene, "other": 1}, "image_path_iterator": names}
    page = scenes(None, block, {})
    assert page.startswith(".. raw:: html") and (tmp_path / "sphx_0.png").stat().st_size > 1000
    assert re.findall(r"(?:src|href)=\S+", page) == ['src="../_static/plotly.min.js"></script>'], (
        "one file of the pages"
    )
    assert len(page) < 60_000
    assert scenes(None, block, {}) == "", "the next block shows what is new"
    sys.modules.pop("gallery_scenes")


def test_a_notebook_gets_the_whole_scene_under_a_name_of_its_own() -> None:
    mesh = pv.Plane(i_resolution=2, j_resolution=2)
    scene = Scene(mesh=mesh, fields={"p": np.arange(4.0)})
    first, second = (scene._repr_html_() for _ in range(2))
    found = [re.search(r'<div class="scene" id="(scene-\w+)"', text) for text in (first, second)]
    assert found[0] and found[1] and found[0].group(1) != found[1].group(1)
    assert "Plotly" in first and '"name":"p"' in first
