"""Quality of data on the page Data: scores and counts per source, reasons, dead letters."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from html import escape
from typing import Any

from nicegui import ui

from galenic.app.views import shown
from galenic.app.views.frame import Page, html
from galenic.app.views.tables import Html, grid
from galenic.twin.quality import letters, score, summary, total

EVERY = 5.0
KINDS = (
    "mapped", "converted", "rejected", "guessed", "late", "duplicates", "conflicts", "missing",
)  # fmt: skip
LETTERS = 5  # shown
GOOD, FAIR = 99.0, 90.0  # scores


class DataQuality:
    """The card of a page; counts are fetched off the event loop and refreshed every 5 s."""

    def __init__(self, page: Page) -> None:
        self.page = page
        with ui.element("section").classes("card"):
            html("<h2>Quality of data</h2>")
            self.place = html('<p class="muted">Counting …</p>')
            with ui.expansion("Tags and reasons").classes("quality-details") as self.more:
                self.details = html("").style("width: 100%")
            self.letters = html("")
        self.more.on_value_change(self.show)
        ui.timer(EVERY, self.show)
        ui.timer(0.05, self.show, once=True)

    async def show(self) -> None:
        """Draw what is known now."""
        room = self.page.room
        records = await asyncio.to_thread(room.runner.quality)
        kept, counted = await asyncio.to_thread(letters, room.store)
        self.place.set_content(overview(records))
        if self.more.value:
            self.details.set_content(details(records))
        self.letters.set_content(dead(list(kept.values()), counted))


def score_html(value: float | None) -> Html:
    """A score with a word for it, so that it needs no colour to be read."""
    if value is None:
        return Html('<span class="muted">no data</span>')
    word = "good" if value >= GOOD else "fair" if value >= FAIR else "poor"
    return Html(f"<b>{value:.1f} %</b> <span class='muted'>{word}</span>")


def overview(records: Mapping[str, Any]) -> str:
    """One row per source."""
    rows = []
    for name in sorted(records):
        numbers = total(summary(records[name]))
        rows.append([name, score_html(score(numbers)), *(numbers.get(k, 0) for k in KINDS)])
    if not rows:
        return '<p class="muted">Nothing has come yet.</p>'
    return grid(["source", "score", *KINDS], rows, range(2, 2 + len(KINDS)))


def details(records: Mapping[str, Any]) -> str:
    """Tags that something happened to, and why."""
    rows, reasons = [], []
    for name in sorted(records):
        for tag, said in sorted(summary(records[name]).items()):
            numbers = [said["numbers"].get(k, 0) for k in KINDS]
            rows.append([name, tag or "(no tag)", score_html(said["score"]), *numbers])
            reasons += [
                [
                    name, tag or "(no tag)", one["kind"], one["reason"], one["count"],
                    one["example"], shown.stamp(one["time"]) if one["time"] else "", one["by"],
                ]
                for one in said["reasons"]
            ]  # fmt: skip
    heads = ["source", "tag", "kind", "reason", "count", "last example", "last time", "said by"]
    why = grid(heads, reasons, (4,), "tall") if reasons else '<p class="muted">No reasons.</p>'
    names = ["source", "tag", "score", *KINDS]
    return grid(names, rows, range(3, 3 + len(KINDS)), "tall") + f"<h3>Reasons</h3>{why}"


def dead(found: list[Any], counted: int) -> str:
    """Messages that nobody could read: how many, and the last ones."""
    if not found and not counted:
        return '<p class="muted small">No message was unreadable.</p>'
    rows = [
        [shown.stamp(one.time), one.source, one.place, one.reason.partition("\n")[0], one.size,
         Html(f"<code>{escape(one.raw[:40].decode(errors='replace'))}</code>")]
        for one in found[-LETTERS:][::-1]
    ]  # fmt: skip
    more = f", {counted} more were only counted" if counted else ""
    head = f"<h3>Dead letters: {len(found)}{more}</h3>"
    return head + grid(["time", "source", "place", "reason", "bytes", "begins with"], rows, (4,))
