"""Parts chosen by name, list, group or pattern; notes in sentences."""

import re

import pytest

from meshops.data.reading import ReadNotes, choose_parts, wanted_parts
from meshops.errors import InputError

PARTS = ("body", "wheel_1", "wheel_2", "road", "a+b")
GROUPS = {"car": ("body", "wheel_1", "wheel_2")}


@pytest.mark.parametrize(
    ("region", "chosen"),
    [
        (None, PARTS),
        ("", PARTS),
        ("body", ("body",)),
        ("wheel.*,body", ("body", "wheel_1", "wheel_2")),
        (["road", "body"], ("body", "road")),
        ("car", ("body", "wheel_1", "wheel_2")),
        ("wheel_[12]", ("wheel_1", "wheel_2")),
        ("wheel_.{1,2}, road", ("wheel_1", "wheel_2", "road")),
        ("a+b", ("a+b",)),
    ],
)
def test_parts_are_chosen_in_the_order_of_the_file(region: str | list[str] | None, chosen: tuple[str, ...]) -> None:
    assert choose_parts(PARTS, region, groups=GROUPS) == chosen


@pytest.mark.parametrize("region", ["bodies", "whee", "(", "wheel.*,nothing"])
def test_a_wish_that_matches_nothing_lists_parts_and_groups(region: str) -> None:
    with pytest.raises(InputError, match=re.escape("parts: 'body', 'wheel_1'") + ".*groups: 'car'"):
        choose_parts(PARTS, region, groups=GROUPS)


def test_commas_inside_patterns_do_not_split() -> None:
    assert wanted_parts("a{1,2}b, (c|d),e") == ("a{1,2}b", "(c|d)", "e")


def test_notes_say_what_was_read() -> None:
    notes = ReadNotes("gmsh 4.1, text", 2.0, (1.0, 2.0), PARTS, chosen=("body",), cells={"triangle": 1200})
    notes.remarks.append("3 lines were left out")
    lines = notes.lines()
    assert lines[1] == "time 2 of 2"
    assert lines[2] == "parts 'body' of 5"
    assert lines[3:] == ["1,200 triangle", "3 lines were left out"]
