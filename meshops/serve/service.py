"""Jobs of a server: a bounded queue, one worker at a time, results that go after a while. Knows nothing of HTTP.

Every job has a random name that nobody can guess and a folder of that name; what an upload was called is only shown.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from meshops.errors import InputError, MeshopsError
from meshops.serve.child import Child, Died
from meshops.serve.limits import Limits, size_text

State = Literal["waiting", "running", "done", "failed"]
LOG = logging.getLogger(__name__)
SWEEP_SECONDS = 5.0
TOO_LONG = (
    "it took more than {:g} s and was stopped; give a smaller mesh, or start the server with a larger --time-limit"
)
ENDED = (
    "the prediction ended without a result: out of memory ({} are allowed), or a damaged file; give a smaller mesh, or "
    "export it again"
)


class Busy(MeshopsError):
    """There is no room for another request now."""


@dataclass(eq=False)
class Job:
    """One prediction or comparison.

    Attributes:
        id: Random.
        kind: ``"prediction"`` or ``"comparison"``.
        name: What it is called, for people only.
        folder: Its own.
        request: What the worker is asked.
        state: Where it is.
        progress: Share that is done while it runs.
        error: Why it failed, a sentence.
        files: Name of each result as it is downloaded -> its place in ``folder``.
        created, begun, ended: Times, s.
    """

    id: str
    kind: Literal["prediction", "comparison"]
    name: str
    folder: Path
    request: dict[str, Any]
    state: State = "waiting"
    progress: float = 0.0
    error: str = ""
    files: dict[str, str] = field(default_factory=dict)
    created: float = field(default_factory=time.monotonic)
    begun: float | None = None
    ended: float | None = None


class Service:
    """Queue and worker.

    Args:
        checkpoint: Surrogate to serve.
        limits: Bounds.
        device: Where the worker predicts.
        modules: The worker imports before it loads the model.
    """

    def __init__(
        self, checkpoint: Path, limits: Limits | None = None, *, device: str = "cpu", modules: tuple[str, ...] = ()
    ) -> None:
        self.limits = limits or Limits()
        self.jobs: dict[str, Job] = {}
        self.card: dict[str, Any] = {}
        self.folder = Path()
        self._child = Child(checkpoint, device=device, memory=self.limits.memory, modules=modules)
        self._queue: asyncio.Queue[Job] = asyncio.Queue()
        self._running: Job | None = None
        self._uploading = 0
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Make the folder of all jobs, load and warm the model. Nothing when it is started already.

        Raises:
            InputError: The checkpoint cannot be served.
        """
        if self._tasks:
            return
        self.card = await self._child.start()
        self.folder = Path(tempfile.mkdtemp(prefix="meshops-serve-"))
        atexit.register(self._clean)
        self._tasks = [asyncio.create_task(self._work()), asyncio.create_task(self._sweep())]

    async def close(self) -> None:
        """End the worker and remove everything."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._child.end()
        self.jobs.clear()
        self._clean()
        atexit.unregister(self._clean)

    @property
    def worker(self) -> int | None:
        """Process that predicts."""
        return self._child.pid

    # ---- what requests ask for

    @contextlib.contextmanager
    def uploading(self) -> Iterator[None]:
        """A place in the queue while a request is still being read.

        Raises:
            Busy: All are taken, or the disk is nearly full.
        """
        waiting = self._uploading + sum(job.state == "waiting" for job in self.jobs.values())
        if waiting >= self.limits.waiting:
            raise Busy(f"{waiting} requests are waiting, which is the most this server takes; try again in a minute")
        free = shutil.disk_usage(self.folder).free
        if free < 2 * self.limits.upload:
            raise Busy(f"only {size_text(free)} of disk are left for uploads; try again when other results are removed")
        self._uploading += 1
        try:
            yield
        finally:
            self._uploading -= 1

    def new_folder(self) -> Path:
        """Folder of a new job; its name is the job's."""
        folder = self.folder / secrets.token_urlsafe(16)
        folder.mkdir()
        return folder

    def submit(self, job: Job) -> Job:
        """Put a job into the queue."""
        self.jobs[job.id] = job
        self._queue.put_nowait(job)
        return job

    def job(self, id_: str, kind: str) -> Job:
        """The job of that name.

        Raises:
            KeyError: There is none: it was never there, or was removed.
        """
        job = self.jobs[id_]
        if job.kind != kind:
            raise KeyError(id_)
        return job

    def place(self, job: Job) -> int:
        """Jobs that are worked on before this one."""
        before = sum(j.state == "waiting" and j.created < job.created for j in self.jobs.values())
        return before + (self._running is not None)

    async def remove(self, job: Job) -> None:
        """Stop a job where it runs, and remove what there is of it."""
        self.jobs.pop(job.id, None)
        if job is self._running:
            await self._child.end()  # the loop of the worker starts another
        shutil.rmtree(job.folder, ignore_errors=True)

    async def sweep(self) -> None:
        """Remove results that are old, and the oldest of too many; happens every few seconds by itself."""
        ended = sorted((j for j in self.jobs.values() if j.ended), key=lambda j: j.ended or 0.0)
        now, too_many = time.monotonic(), len(ended) - self.limits.kept
        for i, job in enumerate(ended):
            if i < too_many or now - (job.ended or now) > self.limits.keep_seconds:
                await self.remove(job)

    def _clean(self) -> None:
        if self.folder != Path():
            shutil.rmtree(self.folder, ignore_errors=True)

    # ---- the worker

    async def _work(self) -> None:
        while True:
            job = await self._queue.get()
            if job.id not in self.jobs:
                continue
            self._running, job.state, job.begun = job, "running", time.monotonic()
            try:
                await self._do(job)
            except Exception as error:  # the queue must live on
                LOG.exception("job %s", job.id)
                job.state, job.error = "failed", f"the server failed ({type(error).__name__}); its log says more"
            finally:
                self._running, job.ended = None, time.monotonic()
            if job.id not in self.jobs:  # removed while it ran
                shutil.rmtree(job.folder, ignore_errors=True)
            if not self._child.alive:
                await self._restart()

    async def _do(self, job: Job) -> None:
        def progress(share: float) -> None:
            job.progress = share

        if not self._child.alive:
            await self._restart()
        try:
            if not self._child.alive:
                raise Died("the process of the model cannot be started")
            answer = await asyncio.wait_for(self._child.ask(job.request, progress), self.limits.seconds)
        except TimeoutError:
            await self._child.end()
            answer = {"refused": TOO_LONG.format(self.limits.seconds)}
        except Died:
            await self._child.end()
            answer = {"refused": ENDED.format(size_text(self.limits.memory))}
        if "done" in answer:
            job.state, job.progress, job.files = "done", 1.0, answer["done"]
        else:
            job.state, job.error = "failed", answer.get("refused") or "the server failed; its log says more"
            if "failed" in answer:
                LOG.error("job %s\n%s", job.id, answer["failed"])
            _keep_nothing(job.folder)

    async def _restart(self) -> None:
        try:
            await self._child.start()
        except InputError as error:
            LOG.error("the model cannot be loaded again: %s", error)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(min(SWEEP_SECONDS, self.limits.keep_seconds))
            await self.sweep()


def _keep_nothing(folder: Path) -> None:
    """Of a job that failed."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def status(service: Service, job: Job) -> Mapping[str, Any]:
    """What is told of a job."""
    now = time.monotonic()
    spent = 0.0 if job.begun is None else (job.ended or now) - job.begun
    return {
        "id": job.id,
        "kind": job.kind,
        "name": job.name,
        "state": job.state,
        "before": service.place(job) if job.state == "waiting" else 0,
        "progress": round(job.progress, 3),
        "seconds": round(spent, 1),
        "error": job.error,
        "files": [f"/{job.kind}s/{job.id}/files/{quote(name)}" for name in job.files],
    }
