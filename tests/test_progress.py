"""Signs of life come by time, whatever takes long."""

from __future__ import annotations

import io
import time

import pytest
from rich.console import Console

from meshops import progress
from meshops.progress import Heartbeat, followed


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Console:
    monkeypatch.setattr(progress, "FIRST_SIGN", 0.05)
    monkeypatch.setattr(progress, "SELDOM", 0.1)
    return Console(file=io.StringIO(), width=200)


def lines(screen: Console) -> list[str]:
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue().splitlines()


def test_items_pass_and_lines_come_by_time(screen: Console) -> None:
    seen = []
    for item in followed(range(4), "working", screen):
        time.sleep(0.1)
        seen.append(item)
    assert seen == [0, 1, 2, 3]
    told = lines(screen)
    assert 2 <= len(told) <= 5 and told[0].startswith("  working: 0/4")
    assert any("s left" in line for line in told)


def test_one_long_item_gives_signs_too(screen: Console) -> None:
    (item,) = followed(iter(["only"]), "reading", screen, count=1)
    assert item == "only"
    for _ in followed(iter(["only"]), "reading", screen, count=1):
        time.sleep(0.3)
    assert len(lines(screen)) >= 2 and all("0/1" in line for line in lines(screen))


def test_fast_work_is_silent_and_so_is_a_quiet_screen(screen: Console) -> None:
    assert list(followed([1, 2, 3], "working", screen)) == [1, 2, 3]
    assert lines(screen) == []
    quiet = Console(quiet=True)
    with Heartbeat(lambda: 1 / 0, quiet):  # type: ignore[arg-type, return-value]
        time.sleep(0.15)


def test_an_error_ends_the_signs(screen: Console) -> None:
    with pytest.raises(ValueError, match="broken"), Heartbeat(lambda: "alive", screen):
        time.sleep(0.08)
        raise ValueError("broken")
    before = len(lines(screen))
    time.sleep(0.25)
    assert before == 1 == len(lines(screen))
