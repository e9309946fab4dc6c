"""The journal of alarms: every transition with its time, person and reason."""

from __future__ import annotations

import asyncio
from html import escape
from typing import Any

from nicegui import ui

from galenic.app.views import frame, shown
from galenic.app.views.alarms import QUIET, tabs
from galenic.app.views.frame import Page, button, html
from galenic.app.views.tables import Html, grid
from galenic.app.views.theme import SIGNS

SPANS = {1: "1 hour", 8: "8 hours", 24: "a day", 168: "a week", 720: "30 days", 0: "all"}
HEADS = ("time", "twin", "alarm", "priority", "from", "to", "says", "who", "why", "")
SIZE = 100


async def history_page(page: Page, twin: str = "", alarm: str = "") -> None:
    """What happened to alarms, newest first."""
    html("<h1>Alarms, history</h1>")
    tabs("/alarms/history")
    if page.room.store is None:
        frame.empty("This server has no records.", "Start it with a project.")
        return
    await History(page, twin, alarm).show()


class History:
    """Transitions by filters, a hundred at a time."""

    def __init__(self, page: Page, twin: str, alarm: str) -> None:
        self.page, self.first = page, 0
        with ui.element("div").classes("row search no-print"):
            self.span = ui.select(SPANS, value=24, label="the last")
            self.twin = ui.input("twin", value=twin)
            self.alarm = ui.input("alarm", value=alarm)
            self.who = ui.input("who")
            for box in (self.span, self.twin, self.alarm, self.who):
                box.props("outlined dense options-dense debounce=400").style("min-width: 120px")
                box.on_value_change(self.again)
            html(
                '<a href="/api/ledger/export?form=csv&kind=alarm">CSV of all</a> · '
                '<a href="/api/ledger/export?form=jsonl&kind=alarm">JSON lines</a>'
            ).classes("small")
        self.place = ui.element("div").classes("card")
        with ui.element("div").classes("row no-print"):
            self.newer = button("Newer", self.back)
            self.older = button("Older", self.on)
            self.where = html("").classes("muted small").props("role=status")

    async def again(self) -> None:
        """From the newest on, by the filters as they are now."""
        self.first = 0
        await self.show()

    async def on(self) -> None:
        """To older ones."""
        self.first += SIZE
        await self.show()

    async def back(self) -> None:
        """To newer ones."""
        self.first = max(0, self.first - SIZE)
        await self.show()

    async def show(self) -> None:
        """Read and draw."""
        found = await asyncio.to_thread(self._found)
        part = found[self.first : self.first + SIZE]
        self.place.clear()
        with self.place:
            if part:
                html(grid(HEADS, (_row(one) for one in part), css="alarm-history"))
            else:
                frame.empty("No such transitions.", "Take away a filter, or look further back.")
        self.newer.set_enabled(self.first > 0)
        self.older.set_enabled(self.first + SIZE < len(found))
        last = self.first + len(part)
        self.where.set_content(f"{self.first + 1} to {last} of {len(found)}" if part else "")

    def _found(self) -> list[Any]:
        page, hours = self.page, int(self.span.value)
        since = page.room.now() - hours * 3600 * shown.SECOND if hours else 0
        filters = [(box, str(box.value or "").strip()) for box in (self.twin, self.alarm, self.who)]
        (_, twin), (_, alarm), (_, who) = filters
        found = [
            one
            for one in page.room.told(page.who)
            if one.time >= since and twin in one.twin and alarm in one.alarm and who in one.who
        ]
        found.sort(key=lambda one: one.time)
        return found[::-1]


def _row(one: Any) -> tuple[Any, ...]:
    sign = Html(
        f'<span class="alarm {one.priority}"><span class="sign">{SIGNS[one.priority]}</span>'
        f"<span>{escape(one.priority)}</span></span>"
    )
    note = "withdrawn by late data" if one.withdrawn else ""
    note = note or ("found out late" if one.detail.get("late") else "")
    twin = Html(f'<a class="nowrap" href="/twin/{escape(one.twin)}">{escape(one.twin)}</a>')
    time = Html(f'<span class="nowrap">{escape(shown.stamp(one.time))}</span>')
    quiet = "" if one.state not in QUIET else " (holds)" if one.detail.get("active") else " (over)"
    words = frame.brief(one.text, 120)
    return (
        time, twin, one.alarm, sign, one.was, one.state + quiet, words, one.who, one.reason, note
    )  # fmt: skip
