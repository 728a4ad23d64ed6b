"""``study.yaml``: what is written is read again, comments name guesses, what is wrong is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshops.aero.conditions import FlowConditions
from meshops.datasets import FieldEntry, Quantity, Snapshot, Study, guess_study
from meshops.errors import InputError, MissingDataError

NAME = st.text(min_size=1, max_size=12).filter(lambda text: text.isprintable() and text.strip() == text)


@settings(max_examples=80, deadline=None)
@given(
    fields=st.lists(NAME, max_size=3, unique=True),
    quantities=st.lists(NAME, max_size=4, unique=True),
    unit=st.text("m/s^2 °C[]:#'\"", max_size=5).map(str.strip),
    test=st.one_of(
        st.floats(0, 0.9), st.lists(NAME.filter(lambda t: not _number(t)), min_size=1, max_size=3).map(tuple)
    ),
    why=st.text(max_size=40),
    speed=st.floats(0.1, 1e5),
)
def test_round_trip(
    tmp_path_factory: pytest.TempPathFactory, fields: list[str], quantities: list[str], unit: str,
    test: float | tuple[str, ...], why: str, speed: float,
) -> None:  # fmt: skip
    root = tmp_path_factory.mktemp("data")
    half = len(quantities) // 2
    study = Study(
        root=root, layout="folders", files="run_*/[a]*.vtp", region="wheel.*,body", time=0.25, scale=1e-3,
        tables=("a b.csv", "#x.csv"), left_out=("null", "3", "yes"), inputs=tuple(quantities),
        fields=tuple(FieldEntry(name, "cell", 3, unit, "velocity") for name in fields),
        conditions=tuple(Quantity(name, unit) for name in quantities[:half]),
        numbers=tuple(Quantity(name, "", "drag") for name in quantities[half:]),
        flow=FlowConditions(speed=speed, ground=None, kinematic=True), flow_stated=True, groups="geo",
        test=test, seed=7, snapshots=(Snapshot("p", "p.npy", "k/v", ("nodes", "cases")),),
        guesses={"files": why, "left_out.3": why, **{f"fields.{name}": why for name in fields}},
    )  # fmt: skip
    assert replace(Study.load(study.save(root / "sub" / "study.yaml")), root=root) == study


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def test_guesses_are_comments(flat: Path) -> None:
    study = guess_study(flat)
    text = study.save(flat).read_text()
    for entry in ("files", "tables", "test"):
        lines = text.split(f"\n{entry}:")[0].splitlines()
        assert lines[-1].startswith("#"), entry
    assert "# 20 to 30" not in text and "# 11 to 30 m/s" in text
    assert Study.load(flat) == replace(study, guesses={})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("fils: '*.vtu'", "no entry 'fils'; did you mean 'files'"),
        ("fields: {p: {plase: cell}}", "no entry 'plase'; did you mean 'place'"),
        ("fields: {p: {place: edge}}", "must be at the same place, 'cell' or 'point'"),
        ("fields: {p: {place: cell}, q: {place: point}}", "must be at the same place"),
        ("flow: {sped: 3}", "no entry 'sped'; did you mean 'speed'"),
        ("flow: {speed: -3}", "speed must be positive"),
        ("flow_stated: maybe", "must be true or false"),
        ("test: 1.5", r"share of the cases in \[0, 1\)"),
        ("time: soon", "cannot use 'soon'"),
        ("seed: x", "cannot use 'x'"),
        ("scale: 0", "positive factor"),
        ("data: nowhere", "there is no folder"),
        ("- a", "must hold entries"),
        ("", "must hold entries"),
        ("a: &x 1\nb: *x", "anchors and aliases"),
        ("seed: 1\nseed: 2", "'seed' is there twice"),
        ("seed: " + "[" * 100 + "]" * 100, "nested more than"),
        ("seed: 2024-99-99", "cannot use|no YAML"),
        ("seed: !!python/object:os.system {}", "no YAML of plain values"),
        ("files: {a: b}", "must be one text"),
        ("conditions: {a: {}}\nnumbers: {a: {}}", "'a' is there twice"),
    ],
)
def test_what_is_wrong_is_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "study.yaml").write_text(text)
    with pytest.raises(InputError, match=says):
        Study.load(tmp_path / "study.yaml")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no such file"):
        Study.load(tmp_path / "study.yaml")
    (tmp_path / "study.yaml").write_bytes(b"data: \xff\xfe")
    with pytest.raises(InputError, match="no YAML of plain values"):
        Study.load(tmp_path / "study.yaml")


def test_the_bombs_of_others(shared_data: Path) -> None:
    files = sorted((shared_data / "fuzz" / "yaml").glob("*.yaml"))
    assert files
    for path in files:
        with pytest.raises(InputError):
            Study.load(path)


def test_data_is_relative_to_the_file(flat: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = guess_study(flat)
    path = study.save(tmp_path / "notes" / "study.yaml")
    assert "data: ../flat" in path.read_text()
    monkeypatch.chdir("/")
    assert len(Study.load(path).open()) == 6
