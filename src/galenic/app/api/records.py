"""The ledger and its verification."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from fastapi import Query as Asked
from fastapi.responses import StreamingResponse

from galenic.app.api.access import reading
from galenic.app.api.entries import Query, written
from galenic.app.api.problems import Json
from galenic.app.permissions import Caller
from galenic.clock import from_iso
from galenic.errors import DataError
from galenic.twin.arguments import ArgumentError

PAGE = 1000
LEDGER = reading("rest.ledger")


def router(store: Any) -> APIRouter:
    """Endpoints over the site's records."""
    routes = APIRouter(prefix="/api/ledger", tags=["records"])

    @routes.get("")
    def ledger(
        request: Request,
        who: Caller = LEDGER,
        start: Annotated[int | None, Asked(ge=0, le=2**62)] = None,
        limit: Annotated[int, Asked(ge=1, le=PAGE)] = 100,
        kind: Annotated[list[str] | None, Asked()] = None,
    ) -> Json:
        """Entries from ``start`` on; the newest ``limit`` ones where it is left out.

        ``signatures`` has those of the entries, by index.
        """
        head = store.head()
        first = max(0, head.index + 1 - limit) if start is None else start
        entries = []
        for entry in store.ledger_read(first, kinds=kind):
            entries.append(entry.to_dict())
            if len(entries) == limit:
                break
        desk = request.app.state.desk
        signed = desk.signed_entries([entry["index"] for entry in entries])
        return Json({"head": head.to_dict(), "entries": entries, "signatures": signed})

    @routes.get("/export")
    def export(
        who: Caller = LEDGER,
        form: Literal["jsonl", "csv"] = "jsonl",
        kind: str = "",
        subject: str = "",
        by: str = "",
        words: str = "",
        since: str = "",
        until: str = "",
    ) -> StreamingResponse:
        """Selected entries in full, oldest first, as lines of JSON or as CSV.

        ``since`` and ``until`` are times with a zone; ``by`` is who did it.
        """
        times = [_moment(name, text) for name, text in (("since", since), ("until", until))]
        query = Query(kind, subject, by, words, *times)
        media = {"jsonl": "application/x-ndjson", "csv": "text/csv; charset=utf-8"}[form]
        name = {"Content-Disposition": f'attachment; filename="ledger.{form}"'}
        return StreamingResponse(written(store, query, form), media_type=media, headers=name)

    @routes.get("/head")
    def head(who: Caller = LEDGER) -> Json:
        """The newest entry's index and hash: keep it elsewhere, to verify against later."""
        return Json(store.head().to_dict())

    @routes.post("/verify")
    def verify(who: Caller = LEDGER) -> Json:
        """Recompute everything that the ledger vouches for."""
        return Json(store.verify().to_dict())

    return routes


def _moment(name: str, text: str) -> int | None:
    if not text:
        return None
    try:
        return from_iso(text.replace(" ", "+"))
    except DataError as error:
        raise ArgumentError(
            error.found, where=name, expected=error.expected, hint=error.hint
        ) from error
