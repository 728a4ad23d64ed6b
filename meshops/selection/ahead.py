"""Members of a network trained side by side, in processes of one thread each."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from contextlib import nullcontext, suppress
from dataclasses import replace
from typing import Any

import torch

from meshops.progress import Heartbeat
from meshops.selection.networks import Bench, Network, member_file

MOST_BYTES = 4_000_000_000  # of the cases, in all processes


def train_ahead(network: Network, bench: Bench, steps: int) -> bool:
    """Train the members in processes of one thread each; :func:`train_member` has them then.

    Steps are too short for a second thread to help, but members do not need each other. A process that fails is not
    told of: the member is then trained here, and fails here.

    Args:
        network: What is trained.
        bench: Of all members.
        steps: Of each.

    Returns:
        Whether that was tried.

    Raises:
        KeyboardInterrupt: Ctrl-C or SIGTERM; the processes have kept what they learnt.
    """
    workers, members = min(torch.get_num_threads(), len(bench.split.folds)), len(bench.split.folds)
    if workers < 2 or all(member_file(bench, network.name, fold).is_file() for fold in range(members)):
        return workers > 1
    content = pickle.dumps((network, replace(bench, console=None), steps))
    workers = min(workers, max(1, MOST_BYTES // len(content)))
    command = [sys.executable, "-m", "meshops.selection.worker"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    running, begun = list[subprocess.Popen[bytes]](), time.perf_counter()

    def line() -> str:
        done = sum(member_file(bench, network.name, fold).is_file() for fold in range(members))
        spent = time.perf_counter() - begun
        left = f", about {spent * (members / done - 1) / 60:.1f} min left" if done else ""
        return f"  {network.name}: {done} of {members} members trained, {workers} at a time{left}"

    heart = nullcontext() if bench.console is None else Heartbeat(line, bench.console)
    try:
        for k in range(workers):
            folds = [str(fold) for fold in range(k, members, workers)]
            quiet: dict[str, Any] = {
                "stdout": subprocess.DEVNULL,
                "stderr": subprocess.DEVNULL,
                "start_new_session": True,
            }
            running.append(subprocess.Popen([*command, *folds], stdin=subprocess.PIPE, env=environment, **quiet))
        for process in running:
            assert process.stdin is not None
            with suppress(BrokenPipeError), process.stdin as pipe:
                pipe.write(content)
        with heart:
            while any(process.poll() is None for process in running):
                time.sleep(0.1)
    finally:
        for process in running:
            if process.poll() is None:
                process.terminate()
        for process in running:
            process.wait()
    return True
