"""The REST interface: what it answers, what it refuses, and that nothing is left of what it refused."""

from __future__ import annotations

import io
import json
import random
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pyvista as pv

import meshops
from meshops.surrogate.comparison import compare
from tests.serve.conftest import Served


def test_a_prediction_is_that_of_the_surrogate_and_its_files_are_there(
    served: Served, sheets_checkpoint: Path, sheet_file: bytes, tmp_path: Path
) -> None:
    state = served.wait(served.post(sheet_file, "my sheet.vtu"))
    assert state["state"] == "done" and state["name"] == "my sheet.vtu" and not state["error"]
    numbers = served.client.get(f"/predictions/{state['id']}/result").json()
    (tmp_path / "sheet.vtu").write_bytes(sheet_file)
    alone = meshops.load(sheets_checkpoint).predict(tmp_path / "sheet.vtu", conditions={"angle": 0.2})
    assert numbers["numbers"]["mass"]["value"] == pytest.approx(alone.numbers["mass"].value)
    assert numbers["file"] == "my sheet.vtu" and numbers["training_set"]["level"] == "inside"
    names = [link.rsplit("/", 1)[1] for link in state["files"]]
    assert names[:3] == ["my_sheet_predicted.vtu", "my_sheet.json", "my_sheet_report.html"]
    answer = served.client.get(state["files"][0])
    assert answer.headers["content-disposition"] == 'attachment; filename="my_sheet_predicted.vtu"'
    (tmp_path / "out.vtu").write_bytes(answer.content)
    assert pv.read(tmp_path / "out.vtu")["p_predicted"] == pytest.approx(alone.fields["p"])
    report = served.client.get(state["files"][2]).text
    assert 'href="my_sheet.json"' in report and "my sheet.vtu" in report and served.service.folder.name not in report
    archive = zipfile.ZipFile(io.BytesIO(served.client.get(state["files"][-1]).content))
    assert archive.namelist() == names[:-1]
    view = served.client.get(f"/predictions/{state['id']}/view").json()
    assert view["scene"] and view["verdict"]["level"] == "inside"
    scene = served.client.get(f"/predictions/{state['id']}/scene")
    assert "sandbox" in scene.headers["content-security-policy"] and "Plotly.react" in scene.text


def test_two_uploads_of_one_name_are_told_apart_and_compared(
    served: Served, sheets_checkpoint: Path, sheet_file: bytes, wide_file: bytes, tmp_path: Path
) -> None:
    one, other = (served.wait(served.post(content)) for content in (sheet_file, wide_file))
    assert one["id"] != other["id"] and one["name"] == other["name"] == "sheet.vtu"
    state = served.wait(served.client.post("/comparisons", json={"predictions": [one["id"], other["id"]]}))
    assert state["state"] == "done", state
    (pair,) = served.client.get(f"/comparisons/{state['id']}/result").json()["pairs"]
    for name, content in (("a.vtu", sheet_file), ("b.vtu", wide_file)):
        (tmp_path / name).write_bytes(content)
    designs = {name: tmp_path / name for name in ("a.vtu", "b.vtu")}
    (alone,) = compare(meshops.load(sheets_checkpoint), designs, conditions={"angle": 0.2}).pairs
    assert (pair["a"], pair["b"], pair["call"]) == ("sheet.vtu", "sheet.vtu (2)", "smaller")
    assert pair["difference"] == pytest.approx(alone.difference) and pair["low"] == pytest.approx(alone.low)
    verdict = served.client.get(f"/comparisons/{state['id']}/view").json()["verdict"]
    assert verdict["level"] == "inside" and verdict["title"].startswith("mass: sheet.vtu is smaller")

    tilted = served.wait(served.post(sheet_file, condition="angle=0.5"))
    for designs_, words in (
        ([one["id"]], "at least 2"),
        ([one["id"], one["id"]], "given twice"),
        ([one["id"], "../../etc/passwd"], "no such result"),
        ([one["id"], tilted["id"]], "at different conditions"),
    ):
        answer = served.client.post("/comparisons", json={"predictions": designs_})
        assert answer.status_code in (404, 422) and words in answer.json()["error"], answer.text


@pytest.mark.parametrize(
    ("name", "content", "code", "words"),
    [
        ("sheet.exe", b"MZ", 415, "such files are not taken; taken are .stl, .vtp"),
        ("sheet.zip", b"PK\3\4", 415, "archives are not unpacked; unpack it"),
        ("case.vtm", b"<VTKFile/>", 415, "save a file that names other files"),
        (".vtu", b"x", 415, "such files are not taken"),
        ("sheet.vtu", b"", 422, "empty (0 bytes); export or copy it again"),
        ("sheet.vtu", bytes(300_001), 413, "300 kB are more than the 300 kB"),
        ("sheet.vtu", bytes(1_400_000), 413, "larger than 1,300,000, the most this server takes"),
    ],
)
def test_files_that_cannot_be_taken_are_refused_at_once(
    served: Served, name: str, content: bytes, code: int, words: str
) -> None:
    before = served.left()
    answer = served.post(content, name)
    assert answer.status_code == code and words in answer.json()["error"]
    assert served.left() == before and not served.service._uploading


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("../../a/b.vtu", b"PK\3\4" + bytes(50), "b.vtu: the content is not '.vtu' but a ZIP archive; unpack it"),
        ("C:\\temp\\noise.stl", random.Random(0).randbytes(500), "noise.stl: "),
        ("half.vtu", b'<VTKFile type="UnstructuredGrid"><Unstr', "half.vtu: "),
    ],
)
def test_files_that_cannot_be_read_say_so_under_the_name_that_was_given(
    served: Served, name: str, content: bytes, words: str
) -> None:
    before = served.left()
    state = served.wait(served.post(content, name))
    assert state["state"] == "failed" and state["error"].startswith(words)
    assert "meshops-serve" not in state["error"] and "Traceback" not in state["error"]
    assert served.left() - before == {state["id"]}  # an empty folder
    assert served.client.get(f"/predictions/{state['id']}/result").status_code == 409
    assert served.client.delete(f"/predictions/{state['id']}").status_code == 204
    assert served.left() == before


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"condition": "angel=1"}, "no condition 'angel'; did you mean 'angle'? the model takes 'angle'"),
        ({"condition": "angle"}, "not of the form name=number"),
        ({"condition": "angle=steep"}, "must be a finite number, got 'steep'"),
        ({"condition": "angle=nan"}, "must be a finite number, got 'nan'"),
        ({"condition": ["angle=1", "angle=2"]}, "given twice"),
        ({"scale": "-1"}, "scale must be above 0, got -1"),
        ({"level": "90"}, "level must be above 0 and below 1, got 90"),
        ({"colour": "red"}, "a part 'colour'; it takes 'file', 'condition'"),
    ],
)
def test_wrong_conditions_are_refused(served: Served, sheet_file: bytes, form: dict[str, Any], words: str) -> None:
    before = served.left()
    answer = served.post(sheet_file, **form)
    assert answer.status_code == 422 and words in answer.json()["error"]
    assert served.left() == before


def test_a_missing_condition_is_told_without_options_of_the_command_line(served: Served, sheet_file: bytes) -> None:
    answer = served.client.post("/predictions", files={"file": ("sheet.vtu", sheet_file)})
    error = served.wait(answer)["error"]
    assert error.startswith("sheet.vtu: the model needs the condition 'angle'; give the condition angle=VALUE")


def test_pages_of_others_and_foreign_names_are_refused(served: Served, sheet_file: bytes) -> None:
    def ask(**headers: str) -> int:
        names = {key.replace("_", "-"): value for key, value in headers.items()}
        code: int = served.client.post("/comparisons", json={}, headers=names).status_code
        return code

    assert ask() == ask(origin="http://127.0.0.1:8000") == ask(host="localhost:8000") == 422
    assert ask(host="[::1]:8000") == ask(sec_fetch_site="same-origin") == 422
    assert ask(origin="http://evil.example") == ask(origin="null") == ask(host="evil.example") == 403
    assert ask(host="127.0.0.1:1;x") == ask(host="") == 403
    assert ask(origin="http://127.0.0.1:9000") == ask(sec_fetch_site="cross-site") == 403
    page = served.client.get("/", headers={"host": "evil.example"})
    assert page.status_code == 403 and "--allow-host" in page.json()["error"]


def test_more_than_may_wait_is_turned_away(served: Served, sheet_file: bytes) -> None:
    limits, served.service.limits = served.service.limits, replace(served.service.limits, waiting=1)
    try:
        with served.service.uploading():
            answer = served.post(sheet_file)
    finally:
        served.service.limits = limits
    assert answer.status_code == 503 and "try again" in answer.json()["error"] and answer.headers["retry-after"]
    assert served.wait(served.post(sheet_file))["state"] == "done"


@pytest.mark.slow  # another process loads the model
def test_what_takes_too_long_is_stopped_and_the_next_is_predicted(served: Served, sheet_file: bytes) -> None:
    limits, served.service.limits = served.service.limits, replace(served.service.limits, seconds=0.02)
    worker = served.service.worker
    try:
        state = served.wait(served.post(sheet_file))
    finally:
        served.service.limits = limits
    assert state["state"] == "failed" and "more than 0.02 s and was stopped" in state["error"]
    assert served.wait(served.post(sheet_file))["state"] == "done" and served.service.worker != worker


def test_old_results_and_the_oldest_of_many_are_removed(served: Served, sheet_file: bytes) -> None:
    states = [served.wait(served.post(sheet_file)) for _ in range(2)]
    limits = served.service.limits
    for changed, kept in (({"kept": 1}, [False, True]), ({"keep_seconds": 1e-9}, [False, False])):
        served.service.limits = replace(limits, **changed)
        served.client.portal.call(served.service.sweep)
        served.service.limits = limits
        assert [served.client.get(f"/predictions/{s['id']}").status_code == 200 for s in states] == kept
    assert served.left() == set()


def test_malformed_requests_get_one_line_and_leave_nothing(served: Served, sheet_file: bytes) -> None:
    """Some two hundred: paths, methods, forms cut anywhere, JSON of any shape."""
    draw = random.Random(1)
    before = served.left()
    whole = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.vtu"\r\n\r\n' + sheet_file + b"\r\n--x--\r\n"
    )
    kinds = [
        "multipart/form-data; boundary=x",
        "multipart/form-data",
        "multipart/form-data; boundary=\xe9",
        "text/x",
        "",
    ]
    junk: list[Any] = [
        None,
        1,
        [],
        {},
        "x" * 999,
        {"predictions": 3},
        {"predictions": [[]]},
        {"predictions": ["a"] * 99},
    ]
    for number in range(200):
        kind, path = (
            draw.choice(kinds),
            draw.choice(["/predictions", "/comparisons", "/predictions/%00/files/..%2f", "/x"]),
        )
        if number % 4 == 0:
            body = json.dumps(draw.choice(junk)).encode()
        else:
            cut = bytearray(whole[: draw.randrange(len(whole) - 6)])
            for _ in range(number % 5):
                cut[draw.randrange(120) % max(1, len(cut))] = draw.randrange(256) if cut else 0
            body = bytes(cut)
        method = draw.choice(["POST", "POST", "POST", "PUT", "DELETE", "GET"])
        headers = {b"content-type": kind.encode("latin-1")}
        answer = served.client.request(method, path, content=body, headers=headers)
        assert 400 <= answer.status_code < 500, (answer.status_code, method, path, kind, body[:200])
        assert "\n" not in answer.json()["error"] and "Traceback" not in answer.text
    assert served.left() == before and not served.service._uploading


def test_the_interface_is_described(served: Served) -> None:
    spec = served.client.get("/openapi.json").json()
    assert {"/predictions", "/predictions/{id}", "/predictions/{id}/result", "/comparisons"} <= set(spec["paths"])
    form = spec["paths"]["/predictions"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert set(form["properties"]) == {"file", "condition", "scale", "region", "level"}
    model = served.client.get("/model").json()
    assert model["conditions"][0]["name"] == "angle" and model["compares"] == "" and model["largest"] == 300_000


def test_the_page_fetches_nothing_from_elsewhere(served: Served) -> None:
    page = served.client.get("/")
    assert "default-src 'none'" in page.headers["content-security-policy"] and "angle" in page.text
    for text in (page.text, *(served.client.get(f"/assets/{name}").text for name in ("page.js", "page.css"))):
        assert "http://" not in text and "https://" not in text
    assert len(served.client.get("/assets/plotly.js").content) > 1_000_000
    assert served.client.get("/assets/..%2f..%2fapp.py").status_code == 404


@pytest.mark.slow  # another worker
def test_a_body_has_forces_and_a_surrogate_without_calibration_says_so(checkpoint: Path, tmp_path: Path) -> None:
    from fastapi.testclient import TestClient

    from meshops.serve import Service
    from meshops.serve.app import create_app
    from meshops.solvers.ahmed_body import ahmed_body

    shape = {"length": 1.0, "width": 0.36, "height": 0.29, "front_radius": 0.1, "slant_length": 0.2,
             "slant_angle": 20.0, "ground_clearance": 0.05}  # fmt: skip
    ahmed_body(**shape).save(tmp_path / "car.stl")
    service = Service(checkpoint)
    with TestClient(create_app(service), base_url="http://127.0.0.1:8000") as client:
        served = Served(client, service)
        state = served.wait(served.post((tmp_path / "car.stl").read_bytes(), "car.stl", condition="speed=30"))
        assert state["state"] == "done", state
        result = client.get(f"/predictions/{state['id']}/result").json()
        alone = meshops.load(checkpoint).predict(tmp_path / "car.stl", conditions={"speed": 30.0})
        assert result["forces"]["cd"] == pytest.approx(alone.forces.cd, rel=1e-4) and result["level"] is None
        assert "flow" in client.get(f"/predictions/{state['id']}/scene").text
        answer = client.post("/comparisons", json={"predictions": [state["id"], "other"]})
        assert answer.status_code == 422 and "not calibrated" in answer.json()["error"]
