"""Services, jobs, artefacts and models."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from galenic.app.api.access import ANY, WHO, current, reading
from galenic.app.api.problems import Json, found
from galenic.app.index import ServiceEntry
from galenic.app.jobs import Job
from galenic.app.permissions import Caller
from galenic.app.session import Session, as_arguments
from galenic.errors import DataError, UnknownName
from galenic.twin.arguments import ArgumentError

ARTEFACTS, MODELS, JOBS = (reading(f"rest.{what}", ANY) for what in ("artefacts", "models", "jobs"))


async def body_of(request: Request) -> Any:
    """The JSON body of a request, none counting as an empty object."""
    data = await request.body()
    if not data.strip():
        return {}
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ArgumentError("the body is not JSON", hint=str(error)[:200]) from error


def answer(job: Job) -> Json:
    """A job as an answer: 200 ended well, 202 goes on, or its error."""
    if job.live:
        return Json(job.to_dict(), 202, {"Location": f"/api/jobs/{job.id}"})
    job.outcome()
    return Json(job.to_dict())


def router(session: Session) -> APIRouter:
    """Endpoints that need only the session."""
    routes = APIRouter(prefix="/api")
    _services(routes, session)
    _jobs(routes, session)

    @routes.get("/artefacts/{hash}", tags=["jobs"])
    def artefact(hash: str, who: Caller = ARTEFACTS) -> Response:
        """The content of an artefact."""
        try:
            made = session.artefact(hash, who)
        except (UnknownName, DataError) as error:
            raise found(error) from error
        headers = {
            "Content-Disposition": "attachment",
            "X-Content-Type-Options": "nosniff",
            "ETag": f'"{hash}"',
        }
        return Response(made.data, media_type=made.media, headers=headers)

    @routes.get("/models", tags=["models"])
    def models(who: Caller = MODELS) -> Json:
        """The catalogue of models."""
        from galenic import plugins

        found_models = [plugins.models()[name] for name in sorted(plugins.models())]
        return Json([{"name": m.name, "title": m.title, "origin": m.origin} for m in found_models])

    @routes.get("/models/{name}", tags=["models"])
    async def model(name: str, who: Caller = MODELS) -> Json:
        """The card of a model: equations, quantities, parameters with sources."""
        from galenic import plugins

        if name not in plugins.models():
            raise found(UnknownName.among("model", name, plugins.models()))
        call = partial(session.call, "models.card", {"model": name}, who, wait=30)
        card = (await run_in_threadpool(call)).outcome().artefacts[0]
        return Json(json.loads(card.data))

    return routes


def _services(routes: APIRouter, session: Session) -> None:
    @routes.get("/services", tags=["services"])
    def services(who: Caller = WHO) -> Json:
        """All services."""
        return Json([entry.summary() for entry in session.services().values()])

    @routes.get("/services/{stage}/{name}", tags=["services"])
    def service(stage: str, name: str, who: Caller = WHO) -> Json:
        """One service: its form, and the JSON schema of its arguments."""
        entry = _entry(session, stage, name)
        return Json(entry.form() | {"schema": entry.schema()})

    for entry in session.services().values():
        routes.add_api_route(
            f"/services/{entry.stage}/{entry.name}",
            _caller(session, entry),
            methods=["POST"],
            summary=entry.title,
            description=entry.description,
            tags=[f"stage: {entry.stage}"],
            openapi_extra={
                "requestBody": {"content": {"application/json": {"schema": entry.schema()}}}
            },
        )

    @routes.post("/services/{stage}/{name}", include_in_schema=False)
    async def unknown(stage: str, name: str, request: Request) -> Json:
        current(request)
        made: Json = await _caller(session, _entry(session, stage, name))(request)
        return made


def _caller(session: Session, entry: ServiceEntry) -> Any:
    async def post(request: Request) -> Json:
        who = current(request)
        arguments = as_arguments(await body_of(request))
        job = await run_in_threadpool(session.call, entry.full_name, arguments, who)
        return answer(job)

    return post


def _entry(session: Session, stage: str, name: str) -> ServiceEntry:
    try:
        return session.service(f"{stage}.{name}")
    except UnknownName as error:
        raise found(error) from error


def _jobs(routes: APIRouter, session: Session) -> None:
    @routes.get("/jobs", tags=["jobs"])
    def jobs(who: Caller = JOBS) -> Json:
        """The jobs of this server since its start, newest first, without results."""
        return Json([job.record() for job in session.jobs(who)])

    @routes.get("/jobs/{id}", tags=["jobs"])
    def job(id: str, request: Request, who: Caller = JOBS) -> Json:
        """State and progress of a job, and its result when it is done, with its signatures."""
        try:
            shown = session.job(id, who)
            if session.store is not None and shown["result_hash"]:
                signed = request.app.state.desk.signatures("artefact", shown["result_hash"])
                shown["signatures"] = [one.to_dict() for one in signed]
            return Json(shown)
        except UnknownName as error:
            raise found(error) from error

    @routes.post("/jobs/{id}/cancel", tags=["jobs"])
    def cancel(id: str, who: Caller = WHO) -> Json:
        """Stop a job."""
        try:
            return Json(session.cancel(id, who))
        except UnknownName as error:
            raise found(error) from error
