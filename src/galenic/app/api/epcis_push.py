"""EPCIS subscriptions: webhooks that are called, WebSockets that are written to.

The names of paths and fields are those of the standard; see `galenic.stages.supply.standing`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

import httpx
from fastapi import APIRouter, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from galenic.app.api.access import COOKIE, Access, bearer, reading
from galenic.app.api.calls import body_of
from galenic.app.api.epcis import HEADERS
from galenic.app.api.live import (
    NOT_PERMITTED,
    NOT_SIGNED_IN,
    RECHECK,
    USAGE,
    refused,
    until_gone,
)
from galenic.app.api.problems import Json, NotSignedIn, found
from galenic.app.permissions import Caller
from galenic.app.session import Session
from galenic.connect.epcis.document import document_of
from galenic.connect.epcis.query import Recorded
from galenic.connect.epcis.schedule import RANGES
from galenic.errors import GalenicError, NotPermitted, UnknownName
from galenic.stages.supply.repository import Repository, repository_of
from galenic.stages.supply.standing import Standing, Subscription, Subscriptions
from galenic.twin.arguments import ArgumentError

log = logging.getLogger(__name__)

EVERY = 1.0  # s between looks for new events
PATIENCE = 30.0  # s for the answer of a receiver
LONGEST = 300.0  # s between tries
READ = reading("rest.epcis")
TRUE = {"true": True, "false": False}


class Push:
    """Calls the webhooks of a repository, each subscription by itself.

    Parameters
    ----------
    repository : Repository
    client : callable, optional
        Gives the HTTP client; one over the network by default.
    """

    def __init__(
        self, repository: Repository, client: Callable[[], httpx.AsyncClient] | None = None
    ) -> None:
        self.subscriptions = Subscriptions(repository)
        self._repository = repository
        self._client = client or (lambda: httpx.AsyncClient(timeout=PATIENCE))
        self._running: dict[str, asyncio.Task[None]] = {}
        self._waits: dict[str, tuple[float, float]] = {}

    async def run(self) -> None:
        """Send what is due, for ever."""
        async with self._client() as http:
            try:
                while True:
                    try:
                        await self.once(http)
                    except GalenicError as error:
                        log.warning("EPCIS subscriptions: %s", error)
                    await asyncio.sleep(EVERY)
            finally:
                for task in self._running.values():
                    task.cancel()
                await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def once(self, http: httpx.AsyncClient) -> None:
        """Begin what is due and not under way."""
        now = asyncio.get_running_loop().time()
        self._running = {id: task for id, task in self._running.items() if not task.done()}
        for one in await asyncio.to_thread(self.subscriptions.all):
            after, _ = self._waits.get(one.id, (0.0, 0.0))
            if one.id not in self._running and now >= after:
                self._running[one.id] = asyncio.create_task(self._serve(http, one))

    async def settled(self) -> None:
        """Return when what was begun has ended."""
        await asyncio.gather(*self._running.values())

    async def _serve(self, http: httpx.AsyncClient, one: Subscription) -> None:
        """Send until nothing is due; after a failure wait, longer each time."""
        try:
            while await self._send(http, one):
                query = one.query
                one = await asyncio.to_thread(self.subscriptions.get, one.id, query)
            self._waits.pop(one.id, None)
        except UnknownName:
            self._waits.pop(one.id, None)  # it was ended meanwhile
        except (GalenicError, httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            _, wait = self._waits.get(one.id, (0.0, EVERY))
            wait = min(2 * wait, LONGEST)
            self._waits[one.id] = asyncio.get_running_loop().time() + wait, wait
            problem = (str(error) or type(error).__name__).splitlines()[0][:200]
            if one.facts.get("lastError") != problem:
                log.warning("EPCIS subscription %s: %s", one.id, problem)
                await asyncio.to_thread(self.subscriptions.failed, one, problem)

    async def _send(self, http: httpx.AsyncClient, one: Subscription) -> bool:
        """One message, if one is due; whether something was done."""
        now = self._repository.clock.now()
        events, after = await asyncio.to_thread(one.standing.look, self._repository, now)
        if after == one.standing:
            return False
        if events is not None:
            body = message_of(events, now, one.query, one.id)
            sign = await asyncio.to_thread(self.subscriptions.signature, one.id, body)
            headers = {"Content-Type": "application/ld+json", **HEADERS,
                       **({"GS1-Signature": sign} if sign else {})}  # fmt: skip
            answer = await http.post(one.dest, content=body, headers=headers)
            if not answer.is_success:
                raise httpx.HTTPError(f"the receiver answers {answer.status_code}")
        await asyncio.to_thread(self.subscriptions.taken, one, after, events is not None, now)
        return True


def message_of(events: list[Recorded], now: int, query: str, subscription: str) -> bytes:
    """A query document, as it is sent."""
    said = document_of((r.event for r in events), now, query=query, subscription=subscription)
    return json.dumps(said, ensure_ascii=False).encode()


def router(session: Session, access: Access) -> APIRouter:
    """Endpoints of subscriptions."""
    routes = APIRouter(prefix="/epcis", tags=["EPCIS"])

    def subscriptions() -> Subscriptions:
        return Subscriptions(repository_of(session.store, session.clock))

    @routes.get("/queries/{name}/subscriptions")
    def every(name: str, who: Caller = READ) -> Json:
        """Subscriptions to a named query."""
        with _missing():
            subscriptions().repository.query(name)
        return Json([one.to_dict() for one in subscriptions().all(name)], headers=HEADERS)

    @routes.post("/queries/{name}/subscriptions")
    async def subscribe(name: str, request: Request, who: Caller = READ) -> Json:
        """Have the events of a named query sent to ``dest``: at once, or on a schedule.

        Role engineer.
        """
        session.require(who, "engineer", "rest.epcis.subscriptions", effect="act")
        said = await body_of(request)
        if not isinstance(said, Mapping):
            raise ArgumentError("the body is no object", expected='{"dest": ..., "stream": true}')
        with _missing():
            await run_in_threadpool(subscriptions().repository.query, name)
        made = await run_in_threadpool(subscriptions().add, name, said, who.name)
        place = {"Location": f"/epcis/queries/{name}/subscriptions/{made.id}"}
        return Json(made.to_dict(), 201, HEADERS | place)

    @routes.get("/queries/{name}/subscriptions/{id}")
    def one(name: str, id: str, who: Caller = READ) -> Json:
        """A subscription, with what became of it last."""
        with _missing():
            return Json(subscriptions().get(id, name).to_dict(), headers=HEADERS)

    @routes.delete("/queries/{name}/subscriptions/{id}")
    def end(name: str, id: str, who: Caller = READ) -> Response:
        """End a subscription. Role engineer."""
        session.require(who, "engineer", "rest.epcis.subscriptions", effect="act")
        with _missing():
            subscriptions().remove(id, name, who.name)
        return Response(status_code=204, headers=HEADERS)

    @routes.websocket("/queries/{name}/events")
    async def stream(socket: WebSocket, name: str) -> None:
        try:
            token = bearer(socket) or socket.query_params.get("token", "")
            held = token or socket.cookies.get(COOKIE, "")
            who = access.of_token(token) if token else access.caller(socket)
            session.require(who, "viewer", "rest.epcis")
            repository = repository_of(session.store, session.clock)
            query = await run_in_threadpool(repository.query, name)
            said = controls_of(socket.query_params)
            standing = await run_in_threadpool(Standing.of, repository, query, said)
        except NotSignedIn as error:
            await refused(socket, NOT_SIGNED_IN, error.found)
            return
        except GalenicError as error:
            code = NOT_PERMITTED if isinstance(error, NotPermitted) else USAGE
            await refused(socket, code, error.found)
            return
        await socket.accept()
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            await _write(socket, repository, name, standing, lambda: access.of_token(held))

    return routes


@contextlib.contextmanager
def _missing() -> Any:
    try:
        yield
    except UnknownName as error:
        raise found(error) from error


def controls_of(given: Mapping[str, str]) -> dict[str, Any]:
    """Stream or schedule of a WebSocket, from the parameters of its address."""
    said: dict[str, Any] = {
        name: TRUE.get(given[name], given[name])
        for name in ("stream", "reportIfEmpty")
        if name in given
    }
    schedule = {name: given[name] for name in RANGES if name in given}
    return (
        said
        | ({"schedule": schedule} if schedule else {})
        | (
            {"initialRecordTime": given["initialRecordTime"]}
            if "initialRecordTime" in given
            else {}
        )
    )


async def _write(
    socket: WebSocket, repository: Repository, name: str, standing: Standing,
    still: Callable[[], object],
) -> None:  # fmt: skip
    """Query documents as they are due, until the client goes or may no longer listen."""
    gone = asyncio.create_task(until_gone(socket))
    loop = asyncio.get_running_loop()
    checked = loop.time()
    try:
        while not gone.done():
            if loop.time() - checked >= RECHECK:
                checked = loop.time()
                try:
                    await run_in_threadpool(still)
                except NotSignedIn:
                    await socket.close(NOT_SIGNED_IN, "the sign-in has ended")
                    return
            now = repository.clock.now()
            events, after = await run_in_threadpool(standing.look, repository, now)
            if events is not None:
                await socket.send_text(message_of(events, now, name, "").decode())
            elif after == standing:
                await asyncio.wait([gone], timeout=EVERY)
            standing = after
    finally:
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
