"""Run commands one after another in one process, and write what came of each: a helper of ``test_fuzz.py``.

Usage: ``python run_commands.py COMMANDS.json RESULTS.jsonl``; a command is the arguments of ``meshops``, or
``["call", EXPRESSION]`` for an expression that uses ``meshops``.
"""

from __future__ import annotations

import contextlib
import io
import json
import resource
import signal
import sys
import time
import traceback

SECONDS, MEMORY = 60, 8 << 30  # more ends a command


def too_long(*_: object) -> None:
    """Called by the alarm."""
    raise TimeoutError(f"took more than {SECONDS} s")


def largest_memory() -> float:
    """MB that this process held at most, or any that it started.

    Not its ``ru_maxrss``: Linux carries that of the process which started it, here a whole test run, over to it.
    """
    with open("/proc/self/status", encoding="ascii") as status:
        own = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    return max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) / 1024


def outcome(command: list[str]) -> dict[str, object]:
    """Exit code, what was said, seconds, and the largest memory of this process so far (MB)."""
    import meshops
    from meshops.cli.main import main
    from meshops.errors import MeshopsError

    out, err, start = io.StringIO(), io.StringIO(), time.monotonic()
    signal.alarm(SECONDS)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            if command[0] == "call":
                eval(command[1], {"meshops": meshops})
                code: object = 0
            else:
                code = main(command)
        except MeshopsError as error:
            code, _ = 2, err.write(f"{type(error).__name__}: {error}")
        except SystemExit as error:
            code = error.code
        except BaseException:
            code, _ = "traceback", err.write(traceback.format_exc())
    signal.alarm(0)
    return {"code": code, "out": out.getvalue(), "err": err.getvalue(), "seconds": time.monotonic() - start,
            "memory": largest_memory()}  # fmt: skip


if __name__ == "__main__":
    signal.signal(signal.SIGALRM, too_long)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    with open(sys.argv[1], encoding="utf-8") as file:
        commands = json.load(file)
    with open(sys.argv[2], "a", encoding="utf-8") as results:
        for name, command in commands.items():
            results.write(json.dumps({"name": name, **outcome(command)}) + "\n")
            results.flush()
