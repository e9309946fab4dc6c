"""The ledger and its verification."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from galenic.app.api.access import WHO
from galenic.app.api.problems import Json
from galenic.app.session import Caller

PAGE = 1000


def router(store: Any) -> APIRouter:
    """Endpoints over the site's records."""
    routes = APIRouter(prefix="/api/ledger", tags=["records"])

    @routes.get("")
    def ledger(
        who: Caller = WHO,
        start: Annotated[int | None, Query(ge=0, le=2**62)] = None,
        limit: Annotated[int, Query(ge=1, le=PAGE)] = 100,
        kind: Annotated[list[str] | None, Query()] = None,
    ) -> Json:
        """Entries from ``start`` on; the newest ``limit`` ones where it is left out."""
        head = store.head()
        first = max(0, head.index + 1 - limit) if start is None else start
        entries = []
        for entry in store.ledger_read(first, kinds=kind):
            entries.append(entry.to_dict())
            if len(entries) == limit:
                break
        return Json({"head": head.to_dict(), "entries": entries})

    @routes.get("/head")
    def head(who: Caller = WHO) -> Json:
        """The newest entry's index and hash: keep it elsewhere, to verify against later."""
        return Json(store.head().to_dict())

    @routes.post("/verify")
    def verify(who: Caller = WHO) -> Json:
        """Recompute everything that the ledger vouches for."""
        return Json(store.verify().to_dict())

    return routes
