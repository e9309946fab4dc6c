"""Twins: what they know and foresee, what they wrote, and what people tell them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool

from galenic.app.api.access import ANY, current, reading
from galenic.app.api.calls import answer, body_of
from galenic.app.api.problems import Json, found
from galenic.app.permissions import Caller, sees_all, visible
from galenic.app.session import Session, as_arguments
from galenic.errors import UnknownName
from galenic.twin.arguments import ArgumentError, DurationKind, Kind
from galenic.twin.references import MomentKind

WRITES = ("intended", "done", "failed", "unknown", "refused")
STEP = 2000  # ledger entries looked at in one go
ROWS = 20_000
TWINS, TWIN = reading("rest.twins", ANY), reading("rest.twins")
HISTORY, STATUS = reading("rest.history", ANY), reading("rest.status")

Names = Annotated[list[str] | None, Query()]


def router(session: Session) -> APIRouter:
    """Endpoints over the live twins of a site."""
    routes = APIRouter(prefix="/api", tags=["twins"])
    _looking(routes, session)
    _records(routes, session)

    @routes.post("/twins/{id}/commands")
    async def commands(id: str, request: Request) -> Json:
        """Tell a twin: ``{"command": "level", "arguments": {"to": "shadow", "reason": "..."}}``.

        Commands are the acting services of the stage ``twins``.
        """
        who = current(request)
        _twin(session, id)
        body = as_arguments(await body_of(request))
        name, given = body.get("command"), as_arguments(body.get("arguments", {}))
        known = {e.name: e for e in session.services().values() if _tells(e)}
        key = str(name).replace("-", "_")
        if key not in known:
            close = UnknownName.among("command", str(name), known)
            raise ArgumentError(close.found, where="command", hint=close.hint)
        job = await run_in_threadpool(
            session.call, known[key].full_name, {**given, "twin": id}, who, wait=30
        )
        return answer(job)

    return routes


def _tells(entry: Any) -> bool:
    return entry.stage == "twins" and entry.effect == "act" and "twin" in entry.twins


def _twin(session: Session, id: str) -> Any:
    try:
        return session.runner.twin(id)
    except UnknownName as error:
        raise found(error) from error


def _read(kind: Kind, given: str | None) -> Any:
    """A query parameter by the rules of an argument kind."""
    if given is None:
        return None
    plain = kind.check(given)
    return None if plain is None else kind.value(plain, None)


def _looking(routes: APIRouter, session: Session) -> None:
    runner = session.runner

    async def ask(id: str, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        _twin(session, id)
        return await runner.ask(id, function, *args, **options)

    @routes.get("/status")
    def status(who: Caller = STATUS) -> Json:
        """Connections, pace, queues, and what is wrong."""
        return Json(runner.status())

    @routes.get("/twins")
    async def twins(who: Caller = TWINS) -> Json:
        """All twins with level, health, age of data and alarms."""
        from galenic.twin import look

        return Json([await ask(id, look.status) for id in visible(who, runner.twins)])

    @routes.get("/twins/{id}")
    async def twin(id: str, who: Caller = TWIN) -> Json:
        """Level, health, age of data, counters, alarms, bypasses and lots of a twin."""
        from galenic.twin import look

        return Json(await ask(id, look.status))

    @routes.get("/twins/{id}/health")
    async def health(id: str, who: Caller = TWIN) -> Json:
        """Health in words and numbers."""
        from galenic.twin import look

        return Json((await ask(id, look.status))["health"])

    @routes.get("/twins/{id}/definition")
    async def definition(id: str, request: Request, who: Caller = TWIN) -> Json:
        """Definition, parts and connections for the flowsheet, bindings, targets, signatures."""
        shown = await ask(id, defined)
        signed = request.app.state.desk.signatures("definition", id)
        return Json(shown | {"signatures": [one.to_dict() for one in signed]})

    @routes.get("/twins/{id}/belief")
    async def belief(id: str, who: Caller = TWIN) -> Json:
        """The belief: states, parameters and disturbances with intervals; innovations."""
        return Json(await ask(id, lambda twin: twin.belief.to_dict()))

    @routes.get("/twins/{id}/estimates")
    async def estimates(id: str, quantity: Names = None, who: Caller = TWIN) -> Json:
        """Estimated quantities now, with 90 % intervals."""
        from galenic.twin import look

        return Json(await ask(id, look.estimates, quantity))

    @routes.get("/twins/{id}/forecast")
    async def forecast(
        id: str,
        horizon: str | None = None,
        every: str | None = None,
        output: Names = None,
        who: Caller = TWIN,
    ) -> Json:
        """The running forecast: mean, sd and quantiles over time."""
        _twin(session, id)
        span = DurationKind(lower=1.0, upper=7 * 86400.0)
        made = await run_in_threadpool(
            runner.forecast, id, _read(span, horizon), _read(span, every), output
        )
        return Json(made.to_dict())

    @routes.get("/twins/{id}/proposals")
    async def proposals(id: str, who: Caller = TWIN) -> Json:
        """The last proposal, the guard's verdicts, what waits for approval, targets."""
        from galenic.twin import look

        return Json(await ask(id, look.recommend))


def defined(twin: Any) -> dict[str, Any]:
    """What a page must know to draw a twin."""
    system = twin.system
    return {
        "id": twin.id,
        "name": twin.definition.name,
        "version": twin.definition.version,
        "model": system.name,
        "parts": system.parts.to_dict(),
        "connections": [list(pair) for pair in system.connections],
        "bindings": [
            {**channel.binding.to_dict(), "role": channel.role}
            for channel in twin.channels.values()
        ],
        "shown": list(twin.definition.shown),
        "horizon": twin.definition.horizon,
        "every": twin.definition.every,
    }


def _records(routes: APIRouter, session: Session) -> None:
    store = session.store

    @routes.get("/twins/{id}/writes")
    def writes(
        id: str,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        who: Caller = TWIN,
    ) -> Json:
        """The newest writes: intended, done, failed, refused."""
        _twin(session, id)
        return Json([e.to_dict() for e in newest(store, limit, subject=id, kinds=WRITES)])

    @routes.get("/latest")
    def latest(tag: Names = None, who: Caller = HISTORY) -> Json:
        """The newest sample of each tag."""
        seen = tags_seen(session, who)
        found = store.latest(tag).items()
        return Json({name: s.to_dict() for name, s in found if seen is None or name in seen})

    @routes.get("/history")
    def history(
        tag: Annotated[list[str], Query()],
        start: str,
        stop: str | None = None,
        every: str | None = None,
        limit: Annotated[int, Query(ge=1, le=ROWS)] = 5000,
        who: Caller = HISTORY,
    ) -> Json:
        """Samples of tags by columns; with ``every`` one row per interval that has samples."""
        from galenic.clock import nanoseconds

        seen = tags_seen(session, who)
        if seen is not None and not seen.issuperset(tag):
            session.require(who, "viewer", "rest.history")
        begin = _read(MomentKind(), start)
        if begin is None:
            raise ArgumentError("start is now", where="start", expected="a time before now")
        end = _read(MomentKind(), stop) or session.clock.now() + 1
        span = _read(DurationKind(lower=0.001), every)
        step = None if span is None else nanoseconds(span)
        if step is not None and (end - begin) // step > ROWS:
            raise ArgumentError("too many rows", where="every", expected=f"at most {ROWS}")
        table = store.history(tag, begin, end, step, None if step else limit)
        return Json({name: table.column(name).to_pylist() for name in table.column_names})


def tags_seen(session: Session, who: Caller) -> set[str] | None:
    """The tags of the twins that a caller may see; None where they see all of the site."""
    if sees_all(who):
        return None
    twins = (session.runner.twin(id) for id in visible(who, session.runner.twins))
    return {tag for twin in twins for tag in twin.channels}


def newest(store: Any, limit: int, *, subject: str = "", kinds: tuple[str, ...] = ()) -> list[Any]:
    """The newest ledger entries of a subject and of kinds, newest first."""
    chosen: list[Any] = []
    stop = store.head().index + 1
    while stop > 0 and len(chosen) < limit:
        start = max(0, stop - STEP)
        chosen += reversed([e for e in _page(store, start, stop, kinds) if _of(e, subject)])
        stop = start
    return chosen[:limit]


def _page(store: Any, start: int, stop: int, kinds: tuple[str, ...]) -> Iterator[Any]:
    entries: Iterator[Any] = store.ledger_read(start, stop, kinds or None)
    return entries


def _of(entry: Any, subject: str) -> bool:
    return not subject or entry.subject == subject
