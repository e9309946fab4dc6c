"""Records: the ledger with filters, each entry in full, and the verification."""

from __future__ import annotations

import asyncio
import json
from html import escape
from typing import Any

from nicegui import ui

from galenic.app.api.twins import newest
from galenic.app.views import frame, shown
from galenic.app.views.frame import Page, button, html
from galenic.app.views.tables import Html, grid

ROWS = 200
LONGEST = 28
KINDS = (
    "level",
    "command",
    "bypass",
    "intended",
    "done",
    "failed",
    "refused",
    "service",
    "health",
    "alert",
    "entry",
    "correction",
    "action",
    "evolve",
    "integrity",
    "late",
    "sign-in",
    "person",
    "start",
    "stop",
    "seal",
    "speed",
)


async def records_page(page: Page, kind: str = "", subject: str = "") -> None:
    """The whole ledger."""
    html("<h1>Records</h1>")
    if page.room.store is None:
        frame.empty(
            "This server has no records.", "Start it with a project: galenic run PROJECT.toml"
        )
        return
    _verification(page)
    await _ledger(page, kind, subject)


async def records_of(page: Page, id: str) -> None:
    """The ledger entries of one twin."""
    await _ledger(page, "", id)


def _verification(page: Page) -> None:
    store = page.room.store
    with ui.element("section").classes("card"):
        with ui.element("div").classes("row spread"):
            head = store.head()
            html(
                f"<span>Entry {head.index} is the newest, hash <code>{head.hash[:16]}…</code> "
                '<span class="muted small">Keep the head elsewhere: a later verification can be '
                "held against it.</span></span>"
            )
            with ui.element("div").classes("row"):
                button("Copy the head", lambda: ui.clipboard.write(store.head().text))
                check = button("Verify", lambda: verify(), main=True)
        place = ui.element("div").props("role=status")

    async def verify() -> None:
        check.disable()
        place.clear()
        with place:
            html('<p class="muted">Recomputing everything that the ledger vouches for…</p>')
        report = await asyncio.to_thread(store.verify)
        place.clear()
        with place:
            if report.ok:
                html(f'<p><b>✓ intact</b></p><pre class="facts">{escape(report.text)}</pre>')
            else:
                first = report.first_bad
                frame.failed(
                    {
                        "found": f"Not intact: {first}",
                        "hint": "compare with a copy of the site's folder",
                    }
                )
                html(f'<pre class="facts">{escape(report.text)}</pre>')
        check.enable()


async def _ledger(page: Page, kind: str, subject: str) -> None:
    with ui.element("div").classes("row search"):
        what = (
            ui.select(["", *KINDS], value=kind if kind in KINDS else "", label="kind")
            .props("outlined dense")
            .style("width: 160px")
        )
        word = (
            ui.input("search words")
            .props('outlined dense clearable aria-label="Search records"')
            .style("width: 260px")
        )
        button("Refresh", lambda: show())
    place = ui.element("div").classes("card")

    async def show() -> None:
        kinds = (what.value,) if what.value else ()
        entries = await asyncio.to_thread(
            newest, page.room.store, ROWS, subject=subject, kinds=kinds
        )
        words = (word.value or "").lower().split()
        kept = [e for e in entries if all(w in _words(e).lower() for w in words)]
        place.clear()
        with place:
            if not kept:
                frame.empty("No such entries.", "Choose another kind, or fewer words.")
                return
            html(grid(["entry", "time", "kind", "of", "who", "why", "what"], map(_row, kept), (0,)))
            if len(entries) == ROWS:
                html(
                    f'<p class="muted small">The newest {ROWS}; <code>galenic verify</code> and '
                    f"the API give all.</p>"
                )

    what.on_value_change(show)
    word.on_value_change(show)
    await show()


def _words(entry: Any) -> str:
    return f"{entry.index} {entry.kind} {entry.subject} {entry.who} {entry.reason} {entry.detail}"


def _row(entry: Any) -> list[Any]:
    detail = json.dumps(entry.detail, ensure_ascii=False, default=str, indent=1)
    more = (
        f"<details><summary>{escape(summary(entry.detail))}</summary><pre class=facts>"
        f"{escape(detail)}\n"
        f"previous {entry.previous}\nhash     {entry.hash}</pre></details>"
    )
    return [
        entry.index,
        _short(shown.stamp(entry.time)),
        entry.kind,
        _short(entry.subject),
        entry.who,
        Html(f'<div class="clamp" title="{escape(entry.reason)}">{escape(entry.reason)}</div>'),
        Html(more),
    ]


def _short(text: str) -> Html:
    cut = text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
    return Html(f'<span class="nowrap" title="{escape(text)}">{escape(cut)}</span>')


def summary(detail: Any) -> str:
    """The telling part of an entry's detail, in a line."""
    keys = ("from", "to", "tag", "value", "unit", "outcome", "state", "name", "text")
    parts = [f"{k} {shown.number(detail[k])}" for k in keys if detail.get(k) not in ("", None)]
    return ", ".join(parts)[:110] or "in full"
