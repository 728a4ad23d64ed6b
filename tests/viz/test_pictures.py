"""Pictures show what they are given: checked by the colors of their pixels."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvista as pv
from PIL import Image

from meshops.errors import InputError
from meshops.viz import comparison_picture, curve_picture, partition_picture, slice_picture, surface_picture
from meshops.viz.colors import PALETTE, color_scale, patch_colors
from meshops.viz.pictures import cell_point_pairs


@pytest.fixture(scope="module")
def body() -> Any:
    """Ellipsoid along x; potential-flow pressure coefficient of a sphere, 1 - 9/4 sin^2, on its cells."""
    mesh = pv.Sphere(theta_resolution=48, phi_resolution=48)
    cosine = mesh.cell_centers().points[:, 0] / 0.5
    mesh.cell_data["Cp"] = 1 - 2.25 * (1 - cosine**2)
    mesh.cell_data["shear"] = np.stack([1 - cosine**2, 0 * cosine, 0 * cosine], axis=1)
    mesh.points *= [2.0, 1.0, 1.0]
    return mesh


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def colored(image: np.ndarray) -> float:
    """Fraction of pixels that are not white, gray or black."""
    return float((np.ptp(image, axis=-1) > 24).mean())


def test_surface_picture_shows_the_mesh(body: Any, tmp_path: Path) -> None:
    path = surface_picture(body, "Cp", tmp_path / "deep" / "cp.png", unit="1")
    image = pixels(path)
    assert image.shape[1] == 1800
    assert (image < 250).any(axis=2).mean() > 0.25
    assert colored(image) > 0.15
    assert [p.name for p in path.parent.iterdir()] == ["cp.png"], "no temporary file may stay behind"


def test_fields_differ_and_high_pressure_is_red(body: Any, tmp_path: Path) -> None:
    front = pixels(surface_picture(body, "Cp", tmp_path / "a.png", views=["front"]))
    side = pixels(surface_picture(body, "Cp", tmp_path / "b.png", views=["side"]))
    shear = pixels(surface_picture(body, "shear", tmp_path / "c.png", views=["front"]))
    middle = front[front.shape[0] // 2 - 60, front.shape[1] // 2]
    assert middle[0] > middle[2] + 60, "stagnation point is red"
    middle = side[side.shape[0] // 2 - 60, side.shape[1] // 2]
    assert middle[2] > middle[0] + 60, "suction at the widest place is blue"
    assert np.abs(front[: shear.shape[0], : shear.shape[1]] - shear[: front.shape[0]]).mean() > 5


def test_named_array_and_values_give_the_same_picture(body: Any, tmp_path: Path) -> None:
    first = surface_picture(body, "Cp", tmp_path / "a.png", title="x", views=["side"])
    second = surface_picture(body, np.asarray(body["Cp"]), tmp_path / "b.png", title="x", views=["side"])
    difference = np.abs(pixels(first) - pixels(second))
    assert (difference.max(axis=2) > 0).mean() < 0.01, "only the label under the bar differs"


def test_point_fields_and_planar_meshes(tmp_path: Path) -> None:
    plane = pv.Plane(i_resolution=20, j_resolution=10)
    plane.point_data["u"] = plane.points[:, 0]
    image = pixels(surface_picture(plane, "u", tmp_path / "p.png", association="point"))
    rows = image[image.shape[0] // 3]
    left, right = rows[560], rows[1240]
    assert left[2] > left[0] + 60 and right[0] > right[2] + 60, "downstream is to the right"


def test_perfect_prediction_has_no_error_color(body: Any, tmp_path: Path) -> None:
    truth = np.asarray(body["Cp"])
    perfect = pixels(comparison_picture(body, "Cp", truth, truth, tmp_path / "a.png", views=["front"]))
    wrong = pixels(comparison_picture(body, "Cp", truth, truth + 0.5, tmp_path / "b.png", views=["front"]))
    height, width, _ = perfect.shape
    error_panel = slice(100, height - 320), slice(2 * width // 3 + 20, width - 10)
    arrow_only = colored(perfect[error_panel])
    assert arrow_only < 0.01
    assert colored(wrong[error_panel]) > 0.25
    assert colored(perfect[100 : height - 320, : width // 3]) > 0.1, "truth itself is colored"


def test_comparison_refuses_unlike_shapes(body: Any, tmp_path: Path) -> None:
    truth = np.asarray(body["Cp"])
    with pytest.raises(InputError, match="prediction"):
        comparison_picture(body, "Cp", truth, np.stack([truth, truth], axis=1), tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


def test_touching_patches_get_different_colors() -> None:
    grid = pv.ImageData(dimensions=(31, 31, 2)).cast_to_unstructured_grid()
    center = grid.cell_centers().points
    patch = (center[:, 0] // 5).astype(int) * 6 + (center[:, 1] // 5).astype(int)
    cells, points = cell_point_pairs(grid)
    slow = {
        (a, b)
        for point in np.unique(points)
        for a in patch[cells[points == point]]
        for b in patch[cells[points == point]]
        if a != b
    }
    edges = np.array(sorted(slow)).T
    color = patch_colors(patch, edges, 36)
    assert len(set(color)) > 4 and color.max() < len(PALETTE)
    assert all(color[a] != color[b] for a, b in slow)
    assert np.array_equal(color, patch_colors(patch, edges, 36))


def test_partition_picture_uses_the_palette(body: Any, tmp_path: Path) -> None:
    x = body.cell_centers().points[:, 0]
    patch = np.digitize(x, np.linspace(-1, 1, 9)[1:-1])
    image = pixels(partition_picture(body, patch, tmp_path / "p.png", num_patches=8, views=["side"]))
    assert colored(image) > 0.2
    hidden = pixels(
        partition_picture(body, np.full(body.n_cells, -1), tmp_path / "none.png", num_patches=1, views=["top"])
    )
    assert colored(hidden) < 0.02, "cells without a patch are gray"
    with pytest.raises(InputError, match="num_patches is 4"):
        partition_picture(body, patch, tmp_path / "q.png", num_patches=4)
    with pytest.raises(InputError, match="whole numbers"):
        partition_picture(body, patch + 0.5, tmp_path / "q.png")


def test_slice_shows_the_body_as_a_hole(tmp_path: Path) -> None:
    grid = pv.ImageData(dimensions=(41, 21, 21), spacing=(0.25, 0.25, 0.25), origin=(-3, -2.5, 0))
    grid = grid.cast_to_unstructured_grid()
    center = grid.cell_centers().points
    solid = (np.abs(center[:, 0]) < 1) & (np.abs(center[:, 1]) < 0.5) & (np.abs(center[:, 2] - 1.5) < 0.5)
    volume = grid.extract_cells(np.flatnonzero(~solid))
    volume.clear_data()
    volume.cell_data["U"] = np.tile([1.0, 0.0, 0.0], (volume.n_cells, 1)) * (2 + volume.cell_centers().points[:, :1])
    image = pixels(slice_picture(volume, "U", tmp_path / "u.png", unit="m/s"))
    solid_gray = np.array([0xC9, 0xCD, 0xD3])
    hole = (np.abs(image - solid_gray).max(axis=2) <= 1).mean()
    assert 0.02 < hole < 0.25
    assert colored(image) > 0.3


def test_slice_of_real_volume(shared_data: Path, tmp_path: Path) -> None:
    volume = pv.read(shared_data / "ahmed_rans" / "run_25" / "volume_25.vtu")
    assert colored(pixels(slice_picture(volume, "UMean", tmp_path / "u.png", unit="m/s"))) > 0.3


def test_curves(tmp_path: Path) -> None:
    path = curve_picture({"train": [1.0, 0.5, 0.2], "validation": [1.2, float("nan"), 0.4]}, tmp_path / "c.png")
    assert colored(pixels(path)) > 0.001
    with pytest.raises(InputError, match="no training history"):
        curve_picture({"train": []}, tmp_path / "d.png")


def test_limits_ignore_a_few_hot_cells_and_say_so() -> None:
    values = np.r_[np.linspace(0, 1, 1000), [1e6, np.nan]]
    scale = color_scale(values)
    assert scale.high < 1.01 and scale.extend == "both" and "1e+06" in scale.remark
    areas = np.r_[np.ones(1000), [1e-9, 1.0]]
    assert color_scale(values, weights=areas).high == pytest.approx(0.99, abs=2e-3)
    assert "by area" in color_scale(values, weights=areas).remark


def test_diverging_map_has_its_middle_at_zero() -> None:
    scale = color_scale(np.array([-3.0, 1.0]), clim=(-3, 1))
    assert scale.diverging
    zero = scale.colors[round(255 * 0.75)]
    assert np.ptp(zero) < 0.03, "zero is gray although the limits are not symmetric"
    assert not color_scale(np.array([0.0, 2.0])).diverging
    assert not color_scale(np.array([101320.0, 101330.0])).diverging


@pytest.mark.parametrize("value", [0.0, 5.0, -2.0])
def test_constant_fields_have_limits(value: float) -> None:
    scale = color_scale(np.full(10, value))
    assert scale.low < value < scale.high


def test_messages_say_what_to_do(body: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no field 'p' in cell data; arrays present: .*'Cp'"):
        surface_picture(body, "p", tmp_path / "a.png")
    with pytest.raises(InputError, match=r"shape \(3,\) for a mesh of \d+ cells"):
        surface_picture(body, np.zeros(3), tmp_path / "a.png")
    with pytest.raises(InputError, match="unknown view 'left'; choose from"):
        surface_picture(body, "Cp", tmp_path / "a.png", views=["left"])
    with pytest.raises(InputError, match="parallel"):
        surface_picture(body, "Cp", tmp_path / "a.png", flow=(0, 0, 2))
    with pytest.raises(InputError, match="none of the"):
        surface_picture(body, np.full(body.n_cells, np.nan), tmp_path / "a.png")
    with pytest.raises(InputError, match="unknown color map 'jets'"):
        surface_picture(body, "Cp", tmp_path / "a.png", cmap="jets")
    with pytest.raises(InputError, match="low < high"):
        surface_picture(body, "Cp", tmp_path / "a.png", clim=(1, 1))


def test_importing_viz_loads_no_heavy_package() -> None:
    code = (
        "import sys, importlib.util, types\n"
        "import meshops.errors\n"
        "before = set(sys.modules)\n"
        "import meshops.viz\n"
        "new = {name.split('.')[0] for name in set(sys.modules) - before}\n"
        "assert not new & {'pyvista', 'vtkmodules', 'plotly', 'matplotlib', 'jinja2'}, new\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
