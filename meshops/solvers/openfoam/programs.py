"""The programs of OpenFOAM: found on the PATH, run in a case with a log, a time limit, and an end on Ctrl-C.

They are those of openfoam.com (Debian's package ``openfoam`` is v1912). A program that is not started through the
environment of an installation looks for its settings in ``$WM_PROJECT_DIR/etc``, of Debian ``/usr/share/openfoam/etc``.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from meshops.errors import InputError, MissingPackageError

NEEDED = ("blockMesh", "snappyHexMesh", "simpleFoam")
ETC = ("/usr/share/openfoam", "/usr/lib/openfoam", "/opt/openfoam")
STACK = re.compile(r"#\d+ |.*\bin \S+\.so")  # lines of a trace of the stack
TAIL, POLL, GRACE = 12, 0.05, 5.0  # lines of a log that are shown; s between looks; s before a program is killed


class FoamError(InputError):
    """A program of OpenFOAM failed, hung, or gave no sound result; the case is refused, others go on."""


class FoamStopped(Exception):
    """A program was ended because the whole work is stopped."""


@dataclass(frozen=True)
class Programs:
    """What is needed to run programs of OpenFOAM.

    Attributes:
        paths: Name -> file.
        environment: They are started with.
        stop: Set from another thread: every program that runs is ended, and :class:`FoamStopped` raised.
    """

    paths: dict[str, str]
    environment: dict[str, str]
    stop: threading.Event = field(default_factory=threading.Event)

    def run(
        self,
        name: str,
        case: Path,
        *options: str,
        timeout: float | None = None,
        watch: Callable[[], bool] | None = None,
        every: float = 1.0,
    ) -> float:
        """Run a program in a case; its output goes to ``log.<name>`` there.

        Args:
            name: Of the program, one of those that were found.
            case: Folder of the case.
            *options: Further words of the command.
            timeout: Seconds until it is ended; None: no limit.
            watch: Called every ``every`` seconds while it runs; what it raises ends the program.
            every: Seconds.

        Returns:
            Seconds it took.

        Raises:
            FoamError: It failed (with the last lines of its log), or ran past ``timeout``.
            FoamStopped: ``stop`` was set.
        """
        log, began = case / f"log.{name}", time.monotonic()
        with log.open("wb") as out:
            child = subprocess.Popen(
                [self.paths[name], *options],
                cwd=case,
                env={**self.environment, "PWD": str(case.resolve())},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches us alone; we end the whole group
            )
            try:
                self._wait(child, name, log, began, timeout, watch, every)
            finally:
                end_group(child)
        if child.returncode != 0:
            how = f"signal {-child.returncode}" if child.returncode < 0 else f"code {child.returncode}"
            raise FoamError(f"{name} ended with {how}; the last lines of its log:\n{tail(log)}")
        return time.monotonic() - began

    def _wait(
        self,
        child: subprocess.Popen[bytes],
        name: str,
        log: Path,
        began: float,
        timeout: float | None,
        watch: Callable[[], bool] | None,
        every: float,
    ) -> None:
        looked = began
        while child.poll() is None:
            now = time.monotonic()
            if self.stop.is_set():
                raise FoamStopped
            if timeout is not None and now - began > timeout:
                raise FoamError(f"{name} ran past its limit of {timeout:g} s; the last lines of its log:\n{tail(log)}")
            if watch is not None and now - looked >= every:
                looked = now
                watch()
            try:
                child.wait(POLL)
            except subprocess.TimeoutExpired:
                continue


def find_programs(names: Sequence[str] = NEEDED, *, stop: threading.Event | None = None) -> Programs:
    """The programs on the PATH, and the environment they need.

    Args:
        names: Of the programs.
        stop: See :class:`Programs`.

    Raises:
        MissingPackageError: One is not there; says which, and how to install them.
    """
    found = {name: shutil.which(name) for name in names}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        raise MissingPackageError(
            f"OpenFOAM is needed, and {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not on the PATH; on "
            "Debian and Ubuntu: apt-get install openfoam; where it is installed in a folder of its own, source its "
            "etc/bashrc first"
        )
    environment = dict(os.environ) | {"OMP_NUM_THREADS": "1", "FOAM_SIGFPE": "true"}
    if "WM_PROJECT_DIR" not in environment and (place := _settings_folder(ETC)):
        environment["WM_PROJECT_DIR"] = place
    return Programs({k: str(v) for k, v in found.items()}, environment, stop or threading.Event())


def _settings_folder(places: Iterable[str]) -> str | None:
    """Where ``etc/controlDict`` is."""
    return next((place for place in places if (Path(place) / "etc" / "controlDict").is_file()), None)


def end_group(child: subprocess.Popen[bytes]) -> None:
    """End a program and whatever it started: asked first, killed after some seconds."""
    for number, patience in ((signal.SIGTERM, GRACE), (signal.SIGKILL, None)):
        try:
            os.killpg(child.pid, number)
        except (ProcessLookupError, PermissionError):
            break
        try:
            child.wait(patience)
        except subprocess.TimeoutExpired:
            continue
    child.wait()


def tail(log: Path, lines: int = TAIL) -> str:
    """Last lines of a log that say something, indented."""
    try:
        text = log.read_bytes()[-20_000:].decode("utf-8", "replace")
    except OSError:
        return "  (there is no log)"
    told = [line.rstrip()[:200] for line in text.splitlines() if line.strip() and not STACK.match(line)]
    return "\n".join(f"  {line}" for line in told[-lines:]) or "  (the log is empty)"
