"""The page and the REST interface; :mod:`meshops.serve.service` does the work. Needs the extra ``serve``."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from fastapi import FastAPI, Request
from fastapi import Path as InPath
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.requests import ClientDisconnect

from meshops.serve import assets
from meshops.serve.guard import Guard
from meshops.serve.names import clean_name
from meshops.serve.service import Busy, Job, Service, status
from meshops.serve.uploads import read_form, refuse
from meshops.version import __version__

LOG = logging.getLogger(__name__)
Id = Annotated[str, InPath(max_length=64, description="as POST answered it")]
GONE = "there is no such result; it was removed, or never there: results are kept for a while only"
SANDBOX = "sandbox allow-scripts allow-downloads; default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; "
SCENE_POLICY = SANDBOX + "script-src {own} 'unsafe-inline' 'unsafe-eval'; frame-ancestors 'self'"
REPORT_POLICY = SANDBOX + "script-src 'unsafe-inline' 'unsafe-eval'; frame-ancestors 'none'"
FORM = {
    "type": "object",
    "properties": {
        "file": {"type": "string", "format": "binary", "description": "mesh; see endings in /model"},
        "condition": {"type": "array", "items": {"type": "string"}, "description": "name=number, e.g. speed=30"},
        "scale": {"type": "number", "description": "factor that brings the coordinates to metres"},
        "region": {"type": "string", "description": "parts of the file: names, groups or patterns with commas"},
        "level": {"type": "number", "description": "of the intervals, e.g. 0.9"},
    },
}


class Status(BaseModel):
    """Where a job is."""

    id: str
    kind: Literal["prediction", "comparison"]
    name: str
    state: Literal["waiting", "running", "done", "failed"]
    before: int = Field(description="jobs that are worked on before this one")
    progress: float = Field(description="share that is done")
    seconds: float = Field(description="worked on so far")
    error: str = Field(description="why it failed")
    files: list[str] = Field(description="addresses of the results")


class Designs(BaseModel):
    """What to compare."""

    predictions: list[Annotated[str, Field(max_length=64)]] = Field(
        min_length=2, max_length=8, description="two or more"
    )
    level: float | None = Field(None, gt=0, lt=1, description="of intervals and verdicts")


class Problem(BaseModel):
    """Why a request was refused."""

    error: str


def create_app(service: Service, names: Iterable[str] = ()) -> FastAPI:
    """The application.

    Args:
        service: Queue and worker; started with the application where it is not yet, and closed with it.
        names: Host names to answer to beside those of this machine.
    """

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await service.start()
        try:
            yield
        finally:
            await service.close()

    wrong: dict[int | str, dict[str, Any]] = {code: {"model": Problem} for code in (403, 404, 413, 415, 422, 503)}
    app = FastAPI(
        title="meshops serve", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None, responses=wrong,
        description="Predictions of one surrogate. POST a mesh, ask for the state until it is done, get the results.",
    )  # fmt: skip
    app.add_middleware(cast(Any, Guard), limits=service.limits, names=tuple(names))
    _add_errors(app)
    _add_page(app, service)
    _add_predictions(app, service)
    _add_comparisons(app, service)
    _add_results(app, service)
    return app


def _add_errors(app: FastAPI) -> None:
    """Every error is one line of JSON."""

    @app.exception_handler(AnyHTTPException)
    async def refused(_: Request, error: AnyHTTPException) -> Response:
        headers = dict(error.headers or {})
        if error.status_code in (408, 413):
            headers["connection"] = "close"
        return JSONResponse({"error": str(error.detail)}, error.status_code, headers=headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:]) or "the request"
        return JSONResponse({"error": f"{clean_name(where)}: {first['msg']}; see /openapi.json"}, 422)

    @app.exception_handler(Busy)
    async def busy(_: Request, error: Busy) -> Response:
        return JSONResponse({"error": str(error)}, 503, headers={"retry-after": "30", "connection": "close"})

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, __: ClientDisconnect) -> Response:
        return Response(status_code=400)  # nobody reads it

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        LOG.error("%s %s", request.method, request.url.path, exc_info=error)
        return JSONResponse({"error": "the server failed; its log says more"}, 500)


def _add_page(app: FastAPI, service: Service) -> None:
    @app.get("/", include_in_schema=False)
    async def page() -> HTMLResponse:
        return HTMLResponse(assets.page(service.card, service.limits))

    @app.get("/assets/{name}", include_in_schema=False)
    async def asset(name: str) -> Response:
        found = assets.asset(name)
        if found is None:
            raise refuse(404, "there is no such file")
        content, kind = found
        headers = {"cache-control": "no-cache"}
        if name == "plotly.js":  # for the scene in its sandboxed frame, which counts as another origin
            headers = {"cache-control": "max-age=3600", "cross-origin-resource-policy": "cross-origin"}
        return Response(content, media_type=kind, headers=headers)

    @app.get("/model", summary="What the model predicts, which conditions and files it takes")
    async def model() -> dict[str, Any]:
        return {**service.card, "largest": service.limits.upload}


def _add_predictions(app: FastAPI, service: Service) -> None:
    body = {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": FORM}}}}

    @app.post("/predictions", status_code=202, response_model=Status, openapi_extra=body, summary="Predict a mesh")
    async def predict(request: Request) -> Any:
        with service.uploading():
            folder = service.new_folder()
            try:
                asked = await read_form(request, folder, service.card, service.limits)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
            files = [] if asked.file is None else [[asked.file.name, asked.name]]
            task = {"do": "predict", "folder": str(folder), "files": files, **asked.options}
            job = service.submit(Job(folder.name, "prediction", asked.name, folder, task))
        return status(service, job)


def _add_comparisons(app: FastAPI, service: Service) -> None:
    @app.post("/comparisons", status_code=202, response_model=Status, summary="Which of two or more designs is better")
    async def compare(designs: Designs) -> Any:
        if service.card["compares"]:
            raise refuse(422, f"designs cannot be compared: {service.card['compares']}")
        if len(set(designs.predictions)) < len(designs.predictions):
            raise refuse(422, "a prediction is given twice; give two or more different ones")
        jobs = [_found(service, id_, "prediction") for id_ in designs.predictions]
        first = jobs[0].request
        for job in jobs:
            if job.state == "failed" or not job.request["files"]:
                raise refuse(422, f"{job.name}: there is no mesh to compare; give predictions of files that worked")
            if job.request["conditions"] != first["conditions"]:
                raise refuse(
                    422,
                    f"{jobs[0].name} and {job.name} were predicted at different conditions; a difference of designs "
                    "would be mixed with one of conditions: predict all at the same",
                )
        for key in ("scale", "region"):
            if len({job.request.get(key) for job in jobs}) > 1:
                raise refuse(422, f"the designs were predicted with different {key}; predict all with the same")
        with service.uploading():
            folder = service.new_folder()
            files = []
            for job in jobs:
                ((place, name),) = job.request["files"]
                _linked(job.folder / place, folder / place)
                files.append([place, name])
            task = {"do": "compare", "folder": str(folder), "files": files, "level": designs.level}
            task |= {key: first[key] for key in ("conditions", "scale", "region") if key in first}
            name = " and ".join(job.name for job in jobs)
            return status(service, service.submit(Job(folder.name, "comparison", name, folder, task)))


def _add_results(app: FastAPI, service: Service) -> None:
    """State, results and removal, the same for predictions and comparisons."""
    for kind in ("prediction", "comparison"):
        _add_results_of(app, service, kind)


def _add_results_of(app: FastAPI, service: Service, kind: str) -> None:
    path = f"/{kind}s/{{id}}"

    @app.get(path, response_model=Status, summary=f"State of a {kind}", operation_id=f"{kind}_state")
    async def state(id: Id) -> Any:
        return status(service, _found(service, id, kind))

    @app.delete(path, status_code=204, summary=f"Stop a {kind} and remove its files", operation_id=f"{kind}_remove")
    async def remove(id: Id) -> None:
        await service.remove(_found(service, id, kind))

    @app.get(f"{path}/result", summary=f"Numbers of a {kind}", operation_id=f"{kind}_result")
    async def result(id: Id) -> Response:
        job = _done(service, id, kind)
        name = next(name for name in job.files if name.endswith(".json"))
        return FileResponse(job.folder / job.files[name], media_type="application/json")

    @app.get(f"{path}/view", include_in_schema=False)
    async def view(id: Id) -> Response:
        return FileResponse(_done(service, id, kind).folder / "view.json", media_type="application/json")

    @app.get(f"{path}/scene", include_in_schema=False)
    async def scene(id: Id, request: Request) -> Response:
        place = _done(service, id, kind).folder / "scene.html"
        if not place.is_file():
            raise refuse(404, "there is no surface to draw; see the pictures")
        own = f"{request.url.scheme}://{request.headers['host']}/assets/plotly.js"
        policy = SCENE_POLICY.format(own=own)
        return FileResponse(place, media_type="text/html", headers={"content-security-policy": policy})

    @app.get(f"{path}/files/{{name}}", summary=f"A file of a {kind}", operation_id=f"{kind}_file")
    async def file(id: Id, name: str, inline: bool = False) -> Response:
        job = _done(service, id, kind)
        if name not in job.files:
            raise refuse(404, f"there is no file '{clean_name(name)}'; there are {', '.join(job.files)}")
        disposition = "inline" if inline else "attachment"
        return FileResponse(
            job.folder / job.files[name], filename=name, content_disposition_type=disposition,
            headers={"content-security-policy": REPORT_POLICY},
        )  # fmt: skip


def _found(service: Service, id_: str, kind: str) -> Job:
    try:
        return service.job(id_, kind)
    except KeyError:
        raise refuse(404, GONE) from None


def _done(service: Service, id_: str, kind: str) -> Job:
    job = _found(service, id_, kind)
    if job.state != "done":
        raise refuse(409, job.error or f"the {kind} is {job.state}; ask again when its state is 'done'")
    return job


def _linked(source: Path, target: Path) -> None:
    """The same file in another folder."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
