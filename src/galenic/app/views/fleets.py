"""Fleets: thousands of twins of one kind; which of them need somebody."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from nicegui import ui

from galenic.app.views import frame, shown
from galenic.app.views.frame import Page, button, html
from galenic.app.views.tables import Html, grid
from galenic.app.views.theme import SIGNS
from galenic.stages.fleets.services import ORDERS, chosen

SIZE = 50
REFRESH = 5.0  # seconds
WORDS = {"any": "any health", "lost": "lost", "degraded": "degraded", "good": "good",
         "none": "no event yet"}  # fmt: skip


async def fleets_page(page: Page, fleet: str = "", words: str = "") -> None:
    """One fleet at a time, what needs attention first."""
    html("<h1>Fleets</h1>")
    names = page.room.fleets
    if not names:
        frame.empty("This site has no fleet.", "Name one under [[fleet]] in the project file.")
        return
    await FleetView(page, fleet if fleet in names else names[0], words).show()


class FleetView:
    """The instances of a fleet by filters, an order and pages."""

    def __init__(self, page: Page, fleet: str, words: str) -> None:
        self.page, self.first = page, 0
        with ui.element("div").classes("row search no-print"):
            self.fleet = ui.select(page.room.fleets, value=fleet, label="fleet")
            self.health = ui.select(WORDS, value="any", label="health")
            levels = {"any": "any level", "model": "model", "shadow": "shadow", "twin": "twin"}
            self.level = ui.select(levels, value="any", label="level")
            self.order = ui.select(list(ORDERS), value="alarms", label="order")
            self.words = ui.input("search id or words", value=words)
            self.words.props('clearable aria-label="Search the fleet"')
            boxes = (self.fleet, self.health, self.level, self.order, self.words)
            for box in boxes:
                box.props("outlined dense options-dense debounce=300").style("min-width: 130px")
                box.on_value_change(self.again)
            self.alarms = ui.checkbox("only with alarms", on_change=self.again).props("dense")
        self.counts = html("").props("role=status")
        self.place = ui.element("div").classes("card")
        with ui.element("div").classes("row no-print"):
            self.newer = button("Previous", self.back)
            self.older = button("Next", self.on)
            self.where = html("").classes("muted small").props("role=status")
        ui.timer(REFRESH, self.show)

    async def again(self) -> None:
        """From the first page on, by the filters as they are now."""
        self.first = 0
        await self.show()

    async def on(self) -> None:
        """The next page."""
        self.first += SIZE
        await self.show()

    async def back(self) -> None:
        """The page before."""
        self.first = max(0, self.first - SIZE)
        await self.show()

    async def show(self) -> None:
        """Look at the fleet and draw it."""
        rows = await asyncio.to_thread(self.page.room.runner.overview, str(self.fleet.value))
        found = chosen(
            rows,
            str(self.words.value or "").strip(),
            str(self.health.value),
            str(self.level.value),
            bool(self.alarms.value),
            str(self.order.value),
        )
        part = found[self.first : self.first + SIZE]
        self.counts.set_content(counts(rows))
        self.place.clear()
        with self.place:
            if part:
                html(_table(part, self.page.room.now()))
            else:
                frame.empty("No such instances.", "Take away a filter, or add instances.")
        self.newer.set_enabled(self.first > 0)
        self.older.set_enabled(self.first + SIZE < len(found))
        last = self.first + len(part)
        self.where.set_content(f"{self.first + 1} to {last} of {len(found)}" if part else "")


def counts(rows: Sequence[Mapping[str, Any]]) -> str:
    """How many there are, how they are, and what stands."""
    health = Counter(row["health"] or "no event yet" for row in rows)
    alarms: Counter[str] = Counter()
    for row in rows:
        alarms.update(row["alarms"])
    states = " · ".join(
        f"<b>{health[word]}</b> {word}"
        for word in ("lost", "degraded", "good", "no event yet")
        if health[word]
    )
    signs = "".join(
        f'<span class="alarm {word}"><span class="sign">{sign}</span><span><b>{alarms[word]}</b> '
        f"{word}</span></span>"
        for word, sign in SIGNS.items()
        if alarms[word]
    )
    memory = sum(row["in_memory"] for row in rows)
    return (
        f'<div class="row" style="gap: 20px"><span><b>{len(rows)}</b> instances</span>'
        f"<span>{states}</span>{signs or '<span>no alarms</span>'}"
        f'<span class="muted small">{memory} in memory</span></div>'
    )


def _table(rows: Sequence[Mapping[str, Any]], now: int) -> str:
    paths = list(dict.fromkeys(path for row in rows for path in row["shown"]))
    units = {path: unit for row in rows for path, (_, unit) in row["shown"].items()}
    heads = ["instance", "level", "health", "alarms", "last", *(_head(p, units[p]) for p in paths)]
    numeric = tuple(range(5, 5 + len(paths)))
    return grid(heads, (_row(row, paths, now) for row in rows), numeric, "fleet")


def _head(path: str, unit: str) -> str:
    return f"{path} [{unit}]" if unit not in ("", "1") else path


def _row(row: Mapping[str, Any], paths: list[str], now: int) -> list[Any]:
    id = escape(row["id"])
    health = (
        frame.health_html({"state": row["health"], "words": row["words"]})
        if row["health"]
        else f'<span class="muted">{escape(row["words"])}</span>'
    )
    signs = "".join(
        f'<span class="alarm {word}" title="{row["alarms"][word]} {word}"><span class="sign">{sign}'
        f'</span><span>{row["alarms"][word]}<span class="visually-hidden"> {word}</span></span>'
        "</span> "
        for word, sign in SIGNS.items()
        if row["alarms"].get(word)
    )
    fresh = f" · <b>{row['fresh']} new</b>" if row["fresh"] else ""
    age = shown.age((now - row["time"]) / shown.SECOND) + " ago" if row["time"] else ""
    level = frame.level_html(row["level"]) if row["level"] else ""
    return [
        Html(f'<a class="nowrap" data-row href="/twin/{id}">{id}</a>'),
        Html(level),
        Html(f'<div class="clamp">{health}</div>'),
        Html(f'<span class="nowrap">{signs}{fresh}</span>'),
        Html(f'<span class="nowrap">{age}</span>'),
        *(row["shown"].get(path, (None,))[0] for path in paths),
    ]
