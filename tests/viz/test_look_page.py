"""The page on a folder and the pictures of its cases."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from meshops.datasets import AhmedMini, Elasticity
from meshops.errors import InputError
from meshops.viz.look_page import LookPage, write_look
from meshops.viz.thumbnails import MOST, cases_picture, thumbnail


def test_text_of_users_is_no_markup_and_nothing_is_fetched(tmp_path):
    bad = "<script>alert(1)</script>"
    page = LookPage(
        title=bad,
        summary=[("cases", bad)],
        findings=[("problem", bad, bad, bad, bad), ("hint", "b", "w", "", "")],
        overview=[(bad, bad)],
        tables={bad: (("name",), [(bad,)])},
        audit=[bad],
        study=bad,
        commands=[bad],
    )
    text = write_look(page, tmp_path / "look.html").read_text()
    assert bad not in text and text.count("&lt;script&gt;") >= 12
    assert "http" not in text.split("</head>")[1] and "default-src 'none'" in text


def test_a_table_of_unequal_rows_is_refused(tmp_path):
    with pytest.raises(InputError, match="row 0 has 1 values for 2 columns"):
        write_look(LookPage(title="t", tables={"x": (("a", "b"), [("1",)])}), tmp_path / "look.html")


@pytest.mark.parametrize("count", [1, 5, 30])
def test_pictures_of_bodies(tmp_path, count):
    data = AhmedMini("all")
    drawn = [thumbnail(data[i], "pMean", data.cases[i]) for i in range(count)]
    image = np.asarray(Image.open(cases_picture(drawn, "pMean", tmp_path / "cases.png", unit="m^2/s^2")).convert("RGB"))
    rows = -(-min(count, MOST) // {1: 1, 5: 3, 30: 4}[count])
    assert image.shape[1] == 1800 and image.shape[0] > 200 * rows
    colored = (np.ptp(image.astype(int), axis=2) > 60).mean()
    assert colored > 0.01


def test_pictures_of_plane_cases_and_of_points(tmp_path):
    data = Elasticity(Elasticity.standin(tmp_path / "e", 3), "all")
    drawn = [thumbnail(graph, "stress", str(graph.name)) for graph in data]
    image = np.asarray(Image.open(cases_picture(drawn, "stress", tmp_path / "cases.png")).convert("RGB"))
    assert (np.ptp(image.astype(int), axis=2) > 60).mean() > 0.05
    with pytest.raises(InputError, match="no case to draw"):
        cases_picture([], "stress", tmp_path / "none.png")
