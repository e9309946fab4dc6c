"""The live channel: values 2 to 4 times a second, only what changed, and what was missed.

A client connects to ``/api/live?rate=3&since=<ns>`` and gets JSON frames:

``hello``   first: the site's status, the newest value of each tag, every twin's last message; with
            ``since`` also ``missed``: history of the tags and ledger entries from then on
``frame``   then: ``samples`` (newest per tag), ``twins``, ``forecasts``, ``proposals`` (newest per
            id), ``effects`` and ``receipts`` (all, in order), ``problems``, ``dropped``
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import Any

from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from starlette.concurrency import run_in_threadpool

from galenic.app.api.access import COOKIE, Access, bearer
from galenic.app.api.problems import NotSignedIn
from galenic.app.api.twins import newest, tags_seen
from galenic.app.permissions import Caller, visible
from galenic.app.session import Session
from galenic.errors import GalenicError
from galenic.twin.result import plain

FASTEST, SLOWEST = 4.0, 0.2
POINTS = 500  # of each tag in a catch-up
LONGEST = 24 * 3600 * 1_000_000_000  # catch-up reaches back a day at most
NOT_SIGNED_IN, NOT_PERMITTED, USAGE = 4401, 4403, 4400
RECHECK = 5.0  # seconds after which the sign-in of an open socket is looked at again
OF_TWINS = ("twins", "forecasts", "proposals")
NEWEST = {"twin": "twins", "forecast": "forecasts", "proposal": "proposals"}


class Frame:
    """Messages of the feed gathered until the next frame is sent."""

    def __init__(self) -> None:
        self.parts: dict[str, Any] = {}

    def add(self, message: dict[str, Any]) -> None:
        """Take a message in; a newer value replaces an older one."""
        kind = message["type"]
        if kind == "samples":
            self.parts.setdefault("samples", {}).update(message["samples"])
        elif kind in NEWEST:
            self.parts.setdefault(NEWEST[kind], {})[message["id"]] = message
        elif kind == "runner":
            self.parts["problems"] = message["problems"]
        else:
            self.parts.setdefault(f"{kind}s", []).append(message)

    def take(self) -> dict[str, Any]:
        """What was gathered; empty afterwards."""
        parts, self.parts = self.parts, {}
        return parts


def router(session: Session, access: Access) -> APIRouter:
    """The WebSocket endpoint."""
    routes = APIRouter()

    @routes.websocket("/api/live")
    async def live(socket: WebSocket, rate: str = "3", since: str = "", token: str = "") -> None:
        try:
            who = access.of_token(token) if token else access.caller(socket)
            session.require(who, "viewer", "rest.live", ())
            pause = 1.0 / min(FASTEST, max(SLOWEST, float(rate)))
            start = int(since) if since else None
        except NotSignedIn as error:
            await refused(socket, NOT_SIGNED_IN, error.found)
            return
        except GalenicError as error:
            await refused(socket, NOT_PERMITTED, error.found)
            return
        except ValueError:
            await refused(socket, USAGE, "rate and since are numbers")
            return
        await socket.accept()
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            held = token or bearer(socket) or socket.cookies.get(COOKIE, "")
            await _serve(socket, session, _View(session, access, held, who), pause, start)

    return routes


async def refused(socket: WebSocket, code: int, reason: str) -> None:
    """Browsers see a close code only of an accepted socket."""
    await socket.accept()
    await socket.close(code, reason[:100])


class _View:
    """What one listener may see, as long as their sign-in or token holds."""

    def __init__(self, session: Session, access: Access, token: str, who: Caller) -> None:
        self._access, self._token = access, token
        self._checked = time.monotonic()
        self.tags = tags_seen(session, who)
        self.twins = visible(who, session.runner.twins)

    def holds(self) -> bool:
        """Whether the listener may still listen; asked at most every few seconds."""
        if time.monotonic() - self._checked < RECHECK:
            return True
        self._checked = time.monotonic()
        try:
            self._access.of_token(self._token)
        except NotSignedIn:
            return False
        return True

    def of(self, parts: dict[str, Any]) -> dict[str, Any]:
        """The parts of a message that they may see."""
        if self.tags is None:
            return parts
        seen = dict(parts)
        for name in ("samples", "latest"):
            if name in seen:
                seen[name] = {tag: row for tag, row in seen[name].items() if tag in self.tags}
        for name in OF_TWINS:
            if name in seen:
                seen[name] = {id: row for id, row in seen[name].items() if id in self.twins}
        for name in ("effects", "receipts"):
            if name in seen:
                seen[name] = [row for row in seen[name] if row["id"] in self.twins]
        for name in ("status", "problems", "missed"):
            seen.pop(name, None)
        return seen


async def _serve(
    socket: WebSocket, session: Session, view: _View, pause: float, since: int | None
) -> None:
    subscription = session.runner.live.subscribe()
    watch = asyncio.create_task(until_gone(socket))
    gather = asyncio.create_task(_gather(subscription, frame := Frame()))
    try:
        await _send(socket, view.of(await run_in_threadpool(_hello, session, since)))
        number = 0
        while not watch.done() and not gather.done():
            await asyncio.wait([watch, gather], timeout=pause)
            parts = view.of(frame.take())
            if not await run_in_threadpool(view.holds):
                await socket.close(NOT_SIGNED_IN, "the sign-in has ended")
                return
            if parts:
                number += 1
                facts = {"type": "frame", "number": number, "now": session.runner.clock.now()}
                await _send(socket, facts | parts | {"dropped": subscription.dropped})
        if not watch.done():
            await socket.close(1001, "the server stops")
    finally:
        subscription.close()
        for task in (watch, gather):
            task.cancel()
        await asyncio.gather(watch, gather, return_exceptions=True)


async def _gather(subscription: Any, frame: Frame) -> None:
    async for message in subscription:
        frame.add(message)


async def until_gone(socket: WebSocket) -> None:
    """End when the client goes; what it says is not needed."""
    while True:
        await socket.receive_text()


async def _send(socket: WebSocket, content: dict[str, Any]) -> None:
    await socket.send_text(json.dumps(plain(content), ensure_ascii=False, allow_nan=False))


def _hello(session: Session, since: int | None) -> dict[str, Any]:
    from galenic.twin import look

    runner, store = session.runner, session.store
    latest = {tag: sample.to_dict() for tag, sample in store.latest().items()}
    twins = {id: runner.look(id, look.status) for id in runner.twins}
    hello = {"type": "hello", "now": runner.clock.now(), "status": runner.status()}
    hello |= {"latest": latest, "twins": twins}
    if since is not None:
        hello["missed"] = missed(store, list(latest), since, runner.clock.now())
    return hello


def missed(store: Any, tags: list[str], since: int, now: int) -> dict[str, Any]:
    """History and ledger entries after ``since`` [ns], thinned to what a screen can show."""
    start = max(since + 1, now - LONGEST)
    if start >= now or not tags:
        return {"since": start, "history": {}, "entries": []}
    table = store.history(tags, start, now, max(1, (now - start) // POINTS))
    history = {name: table.column(name).to_pylist() for name in table.column_names}
    entries = [entry.to_dict() for entry in newest(store, POINTS) if entry.time > since]
    return {"since": start, "history": history, "entries": entries[::-1]}
