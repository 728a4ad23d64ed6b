"""Signs of life: a bar on a terminal; elsewhere a line after a few seconds and then every ten."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import TypeVar

from rich.console import Console

T = TypeVar("T")
FIRST_SIGN, SELDOM = 3.0, 10.0  # seconds to the first line, and between lines


def followed(each: Iterable[T], what: str, screen: Console, *, count: int | None = None) -> Iterator[T]:
    """The items, with progress on a screen.

    Args:
        each: What is worked through.
        what: Said in front, e.g. ``"solving wake"``.
        screen: Where progress goes.
        count: How many there are; None: ``len(each)``.
    """
    total = count if count is not None else len(each) if isinstance(each, Sized) else 0
    if screen.is_terminal:
        from rich.progress import track

        yield from track(each, what, total=total or None, console=screen, transient=True)
        return
    done, begun = 0, time.monotonic()

    def line() -> str:
        spent = time.monotonic() - begun
        left = f", about {spent / done * (total - done):.0f} s left" if done and total else ""
        return f"  {what}: {done}/{total}  {spent:.0f} s{left}"

    with Heartbeat(line, screen):
        for item in each:
            yield item
            done += 1


class Heartbeat:
    """Says a line after a few seconds and then every ten, whatever the program is busy with.

    Args:
        line: What to say.
        screen: Where to.
    """

    def __init__(self, line: Callable[[], str], screen: Console) -> None:
        self.line, self.screen = line, screen
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Heartbeat:
        """Start."""
        if not self.screen.quiet:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Be silent."""
        self._done.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        pause = FIRST_SIGN
        while not self._done.wait(pause):
            self.screen.print(self.line())
            pause = SELDOM
