"""Replicas of other sites that this one keeps: their edge machines send what follows on.

A replica lies in ``replicas/ID`` of this site's folder, and reads like any site
(``galenic verify SITE/replicas/ID``). `galenic.records.replica` takes, and proves, what is sent.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi import Path as InPath
from fastapi import Query as Asked
from starlette.concurrency import run_in_threadpool

from galenic.app.api.access import current
from galenic.app.api.calls import body_of
from galenic.app.api.problems import Json
from galenic.app.permissions import SITE
from galenic.app.session import Session
from galenic.errors import DataError
from galenic.records.replica import Replica

FOLDER = "replicas"
DAMAGE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)

SiteId = Annotated[str, InPath(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,99}$")]
Name = Annotated[str, InPath(max_length=200)]


def router(session: Session) -> APIRouter:
    """Endpoints that an edge machine calls, with a token of the role *service*."""
    routes = APIRouter(prefix="/api/replicas", tags=["replicas"])

    def permitted(request: Request, effect: str = "act") -> None:
        session.require(current(request), "service", "rest.replicas", SITE, effect)

    async def done(work: Callable[[], Any]) -> Json:
        try:
            return Json(await run_in_threadpool(work))
        except DAMAGE as error:
            raise DataError(f"what was sent cannot be read: {error!r}"[:300]) from error

    def replica(site: str) -> Replica:
        return Replica(Path(session.store.folder) / FOLDER / site)

    @routes.get("/{site}")
    async def mark(site: SiteId, request: Request) -> Json:
        """How far the replica of a site is."""
        permitted(request, "read")
        return await done(lambda: replica(site).mark())

    @routes.post("/{site}/parts")
    async def part(site: SiteId, request: Request) -> Json:
        """Take what follows on; the new mark. What is known already changes nothing."""
        permitted(request)
        given = await body_of(request)

        def take() -> Any:
            if given["site"] != site:
                raise DataError(f"a part of the site {given['site']!r}", expected=site)
            return replica(site).take(given)

        return await done(take)

    @routes.put("/{site}/files/{folder}/{name}")
    async def file(
        site: SiteId,
        folder: Name,
        name: Name,
        request: Request,
        sha256: Annotated[str, Asked(pattern=r"^[0-9a-f]{64}$")],
        start: Annotated[int, Asked(ge=0, le=2**40)] = 0,
        size: Annotated[int, Asked(ge=0, le=2**40)] = 0,
    ) -> Json:
        """Take a piece of a sealed file; how many bytes of it are there."""
        permitted(request)
        data = await request.body()
        place = f"{folder}/{name}"
        return await done(
            lambda: {"bytes": replica(site).put_file(place, sha256, data, start, size)},
        )

    return routes
