"""EPCIS 2.0 over REST: capture and query of the site's own repository, below ``/epcis``.

The names of paths, parameters and headers are those of the standard. Capture goes through the
service ``supply.capture`` (so permission, ledger and jobs are as for every call); queries read.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from galenic.app.api.access import current, reading
from galenic.app.api.calls import body_of
from galenic.app.api.problems import Json, found
from galenic.app.permissions import Caller
from galenic.app.session import Session
from galenic.connect.epcis.document import document_of
from galenic.connect.epcis.query import MOST, PAGE, Query
from galenic.errors import DataError, UnknownName
from galenic.stages.supply.repository import LARGEST, MOST_EVENTS, Repository, repository_of
from galenic.twin.arguments import ArgumentError

HEADERS = {"GS1-EPCIS-Version": "2.0.0", "GS1-CBV-Version": "2.0.0", "GS1-EPCIS-Min": "2.0.0",
           "GS1-EPCIS-Max": "2.0.0", "GS1-EPC-Format": "Always_GS1_Digital_Link"}  # fmt: skip
LIMITS = {"GS1-EPCIS-Capture-Limit": str(MOST_EVENTS),
          "GS1-EPCIS-Capture-File-Size-Limit": str(LARGEST)}  # fmt: skip
Source = Callable[[], Repository]
SETTINGS = ("perPage", "nextPageToken")
PARTS: dict[str, tuple[str, str]] = {
    "eventTypes": ("eventType", "type"), "bizSteps": ("EQ_bizStep", "bizStep"),
    "bizLocations": ("EQ_bizLocation", "bizLocation"), "readPoints": ("EQ_readPoint", "readPoint"),
    "dispositions": ("EQ_disposition", "disposition"), "epcs": ("MATCH_anyEPC", "thing"),
}  # fmt: skip
READ = reading("rest.epcis")
CALL = 60.0  # seconds that a capture may take before it is answered with a job


async def content_of(request: Request) -> bytes:
    """The body of a capture, bounded."""
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > LARGEST:
            raise ArgumentError("the document is too large", expected=f"at most {LARGEST} bytes")
    return bytes(data)


def parameters_of(request: Request) -> dict[str, list[str]]:
    """Query parameters that are not about pages, with all their values."""
    given: dict[str, list[str]] = {}
    for name, value in request.query_params.multi_items():
        if name not in SETTINGS:
            given.setdefault(name, []).append(value)
    return given


def router(session: Session) -> APIRouter:
    """Endpoints of the repository."""
    routes = APIRouter(prefix="/epcis", tags=["EPCIS"])

    def repository() -> Repository:
        return repository_of(session.store, session.clock)

    _capture(routes, session, repository)
    _events(routes, session, repository)
    _queries(routes, session, repository)
    _parts(routes, repository)

    @routes.options("/{path:path}", include_in_schema=False)
    async def discovery(path: str) -> Response:
        return Response(status_code=204, headers=HEADERS | LIMITS)

    return routes


def _capture(routes: APIRouter, session: Session, repository: Source) -> None:
    async def take(request: Request, data: bytes) -> dict[str, Any]:
        who = current(request)
        behaviour = request.headers.get("GS1-Capture-Error-Behaviour", "rollback")
        content = base64.b64encode(data).decode()
        given = {"document": {"name": "capture", "content": content}, "behaviour": behaviour}
        job = await run_in_threadpool(session.call, "supply.capture", given, who, wait=CALL)
        result = job.outcome()
        return repository().captured(str(result["capture"]))

    @routes.post("/capture")
    async def capture(request: Request) -> Json:
        """Capture a document of events (JSON-LD, or XML 1.2 and 2.0): all of them, or none.

        With the header ``GS1-Capture-Error-Behaviour: proceed`` wrong events are refused and the
        others captured. Role operator.
        """
        current(request)
        made = await take(request, await content_of(request))
        return Json(made, 202, {**HEADERS, "Location": f"/epcis/capture/{made['captureID']}"})

    @routes.get("/capture")
    def captures(who: Caller = READ) -> Json:
        """Every capture."""
        return Json(repository().captures(), headers=HEADERS | LIMITS)

    @routes.get("/capture/{id}")
    def captured(id: str, who: Caller = READ) -> Json:
        """What became of a capture."""
        try:
            return Json(repository().captured(id), headers=HEADERS)
        except UnknownName as error:
            raise found(error) from error

    @routes.post("/events")
    async def capture_one(request: Request) -> Json:
        """Capture one event. Role operator."""
        current(request)
        made = await take(request, await content_of(request))
        where = made["events"][0] if made["events"] else ""
        return Json(made, 201, {**HEADERS, "Location": f"/epcis/events/{where}"})


def _answer(
    request: Request, repository: Source, query: Query, name: str = "SimpleEventQuery"
) -> Json:
    """A page of events as a query document, with the link of the next page."""
    per_page = _number(request.query_params.get("perPage", str(PAGE)))
    token = request.query_params.get("nextPageToken", "")
    events, following = repository().page(query, per_page, token)
    headers = dict(HEADERS)
    if following:
        kept = [(n, v) for n, v in request.query_params.multi_items() if n != "nextPageToken"] + [
            ("nextPageToken", following)
        ]
        headers["Link"] = f'<{request.url.path}?{urlencode(kept)}>; rel="next"'
    said = document_of((one.event for one in events), repository().clock.now(), query=name)
    return Json(said, headers=headers)


def _number(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text[:9]) <= MOST:
        raise DataError(f"perPage {text[:20]!r}", expected=f"1 to {MOST}")
    return int(text)


def _events(routes: APIRouter, session: Session, repository: Source) -> None:
    @routes.get("/events")
    def events(request: Request, who: Caller = READ) -> Json:
        """Events by the parameters of the query language, a page at a time."""
        return _answer(request, repository, Query.of(parameters_of(request)))

    @routes.get("/events/{id:path}")
    def event(id: str, request: Request, who: Caller = READ) -> Json:
        """One event by its id; ids without one of their own are hashes of the content."""
        wanted = f"{id}?{request.url.query}" if request.url.query else id
        for name in (wanted, id):
            try:
                one = repository().event(name)
            except UnknownName as error:
                missing = error
                continue
            said = one.event.to_dict()
            context = document_of([], one.record_time)["@context"]
            own = said.pop("@context", None)
            both = [*context, *(own if isinstance(own, list) else [own] if own else [])]
            return Json({"@context": both, **said, "eventID": one.id}, headers=HEADERS)
        raise found(missing)


def _queries(routes: APIRouter, session: Session, repository: Source) -> None:
    @routes.get("/queries")
    def queries(who: Caller = READ) -> Json:
        """Named queries."""
        kept = repository().queries().items()
        return Json([{"name": name, "query": one["parameters"]} for name, one in kept])

    @routes.post("/queries")
    async def keep(request: Request) -> Json:
        """Keep a query under a name: ``{"name": ..., "query": {...}}``. Role engineer."""
        who = current(request)
        session.require(who, "engineer", "rest.epcis.queries", effect="act")
        said = await body_of(request)
        asked = said.get("query") if isinstance(said, Mapping) else None
        if not isinstance(asked, Mapping) or not isinstance(said.get("name"), str):
            raise ArgumentError("the body names no query", expected='{"name": ..., "query": {...}}')
        given = {str(key): _values(value) for key, value in asked.items()}
        await run_in_threadpool(repository().keep_query, said["name"], given, who.name)
        place = {"Location": f"/epcis/queries/{said['name']}"}
        return Json({"name": said["name"], "query": given}, 201, HEADERS | place)

    @routes.get("/queries/{name}")
    def query(name: str, who: Caller = READ) -> Json:
        """One named query."""
        return Json({"name": name, "query": _named(repository, name).given}, headers=HEADERS)

    @routes.delete("/queries/{name}")
    def forget(name: str, who: Caller = READ) -> Response:
        """Remove a named query. Role engineer."""
        session.require(who, "engineer", "rest.epcis.queries", effect="act")
        _named(repository, name)
        repository().forget_query(name, who.name)
        return Response(status_code=204, headers=HEADERS)

    @routes.get("/queries/{name}/events")
    def results(name: str, request: Request, who: Caller = READ) -> Json:
        """Events of a named query."""
        return _answer(request, repository, _named(repository, name), name)


def _named(repository: Source, name: str) -> Query:
    try:
        return repository().query(name)
    except UnknownName as error:
        raise found(error) from error


def _values(value: Any) -> Sequence[str]:
    several = value if isinstance(value, list) else [value]
    return ["true" if v is True else "false" if v is False else str(v) for v in several]


def _parts(routes: APIRouter, repository: Source) -> None:
    """Everything that was named in events, and the events of one of them."""
    for part, (parameter, what) in PARTS.items():
        _part(routes, repository, part, parameter, what)


def _part(routes: APIRouter, repository: Source, part: str, parameter: str, what: str) -> None:
    @routes.get(f"/{part}", description=f"All {part} that events name.")
    def names(who: Caller = READ) -> Json:
        return Json({"type": "Collection", "member": repository().names(what)}, headers=HEADERS)

    @routes.get(f"/{part}/{{name:path}}/events", description=f"Events of one of the {part}.")
    def of_one(name: str, request: Request, who: Caller = READ) -> Json:
        given = {**parameters_of(request), parameter: [name]}
        return _answer(request, repository, Query.of(given))
