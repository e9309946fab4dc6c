"""Records: the ledger with filters and pages, entries side by side, export, verification."""

from __future__ import annotations

import asyncio
import json
from html import escape
from typing import Any
from urllib.parse import urlencode

from nicegui import ui

from galenic.app.api import entries
from galenic.app.api.entries import Query
from galenic.app.views import frame, shown
from galenic.app.views.frame import Page, button, html
from galenic.app.views.signatures import signatures_of
from galenic.app.views.tables import Html, grid
from galenic.app.views.verification import Verification
from galenic.clock import from_iso, to_iso
from galenic.errors import DataError

LONGEST = 28
SIZES = (25, 50, 100, 200)
KINDS = (
    "level",
    "command",
    "bypass",
    "intended",
    "done",
    "failed",
    "unknown",
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
    "poison",
    "sign-in",
    "person",
    "start",
    "stop",
    "journal",
    "artefact",
    "seal",
    "volume",
    "speed",
    "genesis",
    "signature",
    "request",
    "token",
    "security",
    "break-glass",
)
TELLING = (
    "meaning",
    "printed",
    "from",
    "to",
    "tag",
    "value",
    "unit",
    "outcome",
    "state",
    "name",
    "text",
)
TOO_LONG = 40  # a value that says little in a line


async def records_page(
    page: Page, kind: str = "", subject: str = "", who: str = "", entry: str = ""
) -> None:
    """The whole ledger."""
    html("<h1>Records</h1>")
    if page.room.store is None:
        frame.empty(
            "This server has no records.", "Start it with a project: galenic run PROJECT.toml"
        )
        return
    html('<p class="small"><a href="/requests">Calls that wait for signatures</a></p>')
    Verification(page)
    ledger = Ledger(page, Query(kind if kind in KINDS else "", subject, who))
    await ledger.open(int(entry) if entry.isdigit() else None)


async def records_of(page: Page, id: str) -> None:
    """The ledger entries of one twin."""
    await Ledger(page, Query(subject=id)).open()


class Ledger:
    """Entries, newest first, by pages.

    Parameters
    ----------
    page : Page
    query : Query
        What the filters start with.
    """

    def __init__(self, page: Page, query: Query) -> None:
        self.page, self.store = page, page.room.store
        self.marked: list[int] = []
        self.tops: list[int | None] = [None]  # of the pages so far: the index below which each is
        self.below: int | None = None
        self.wanted: int | None = None
        self._filters(query)
        self.compared = ui.element("div")
        self.place = ui.element("div").classes("card")
        self.place.on("mark", self._mark, js_handler="(event) => emit(event.detail)")
        self.place.on("earlier", self._earlier, js_handler="(event) => emit(event.detail)")
        self.place.on("sign", self._signatures, js_handler="(event) => emit(event.detail)")
        with ui.element("div").classes("row spread no-print"):
            with ui.element("div").classes("row"):
                self.newest = button("Newest", self.again)
                self.newer = button("Newer", self.back)
                self.older = button("Older", self.on)
                self.size = (
                    ui.select(list(SIZES), value=50, label="per page", on_change=self.again)
                    .props("outlined dense options-dense")
                    .style("width: 110px")
                )
                self.jump = (
                    ui.input("go to entry")
                    .props("outlined dense inputmode=numeric")
                    .style("width: 120px")
                    .on("keydown.enter", self.go)
                )
            self.where = html("").classes("muted small").props("role=status")

    def _filters(self, query: Query) -> None:
        self.query = query
        with ui.element("div").classes("row search no-print"):
            kinds = {"": "all kinds", **{kind: kind for kind in KINDS}}
            self.kind = ui.select(kinds, value=query.kind, label="kind").style("width: 140px")
            self.subject = ui.input("of (twin, tag, service)", value=query.subject)
            self.who = ui.input("who", value=query.who).style("width: 110px")
            self.words = ui.input("search words").props('aria-label="Search records"')
            now = shown.stamp(self.page.room.now()).replace(" ", "T")
            self.since = ui.input("from", placeholder=f"as {now}").style("width: 210px")
            self.until = ui.input("to", placeholder=f"as {now}").style("width: 210px")
            for box in (self.kind, self.subject, self.who, self.words, self.since, self.until):
                box.props("outlined dense options-dense")
                box.on_value_change(self.again)
            for box in (self.subject, self.who, self.words, self.since, self.until):
                box.props("clearable debounce=400")
            with ui.button("Export", color=None).classes("plain") as made:
                made.props(
                    'no-caps unelevated dense aria-haspopup=menu aria-label="Export these entries"'
                ).style("padding: 5px 14px")
                with ui.menu().props("auto-close"):
                    ui.menu_item("JSON lines", lambda: self.export("jsonl"))
                    ui.menu_item("CSV", lambda: self.export("csv"))

    async def open(self, entry: int | None = None) -> None:
        """Show the newest page, or the one with an entry."""
        self.wanted = entry
        self.tops = [None if entry is None else entry + 1]
        await self.show()

    async def again(self) -> None:
        """Begin with the newest entries, by the filters as they are now."""
        try:
            since, until = (_moment(box.value) for box in (self.since, self.until))
        except DataError:
            return  # it is still being typed
        boxes = (self.subject, self.who, self.words)
        subject, who, words = (str(box.value or "").strip() for box in boxes)
        self.query = Query(self.kind.value or "", subject, who, words, since, until)
        self.tops, self.wanted = [None], None
        await self.show()

    async def on(self) -> None:
        """To older entries."""
        if self.below is not None:
            self.tops.append(self.below)
            await self.show()

    async def back(self) -> None:
        """To newer entries."""
        if len(self.tops) > 1:
            self.tops.pop()
            await self.show()

    async def go(self) -> None:
        """To the entry whose number was typed, whatever the filters say."""
        text = str(self.jump.value or "").strip()
        if not text.isdigit() or entries.entry_of(self.store, int(text)) is None:
            frame.said(f"There is no entry {text!r}; the newest is {self.store.head().index}.")
            return
        self.query = Query()
        await self.open(int(text))

    async def show(self) -> None:
        """Read the page and draw it."""
        top, most = self.tops[-1], int(self.size.value)
        found = await asyncio.to_thread(entries.page, self.store, self.query, top, most)
        self.below, self.marked = found.below, []
        self.place.clear()
        with self.place:
            if not found.entries:
                frame.empty(
                    "No such entries.",
                    "Take away a filter, or go on to older ones."
                    if found.below
                    else "Choose another kind, or fewer words.",
                )
            else:
                heads = ["", "entry", "time", "kind", "of", "who", "why", "what"]
                rows = (_row(entry, self.wanted) for entry in found.entries)
                html(grid(heads, rows, (1,), "ledger"))
        self.newer.set_enabled(len(self.tops) > 1)
        self.older.set_enabled(found.below is not None)
        self.where.set_content(self._place(found))

    def _place(self, found: entries.Page) -> str:
        head = self.store.head().index
        if not found.entries:
            return f"looked at all down to entry {found.below or 0}; the newest is {head}"
        first, last = found.entries[0].index, found.entries[-1].index
        return f"entries {first} to {last} of 0 to {head}; mark two to compare them"

    def export(self, form: str) -> None:
        """Download what the filters select, all of it."""
        query = self.query
        times = {name: getattr(query, name) for name in ("since", "until")}
        asked = {"form": form, "kind": query.kind, "subject": query.subject, "by": query.who}
        asked |= {"words": query.words}
        asked |= {name: to_iso(time) for name, time in times.items() if time is not None}
        kept = {name: text for name, text in asked.items() if text}
        ui.download.from_url(f"/api/ledger/export?{urlencode(kept)}", f"ledger.{form}")

    async def _mark(self, event: Any) -> None:
        """Two entries are marked: show what differs."""
        self.marked = sorted(map(int, event.args))
        if len(self.marked) == 2:
            one, two = (entries.entry_of(self.store, index) for index in self.marked)
            self._compare(one, two)

    async def _earlier(self, event: Any) -> None:
        """An entry beside the one before it of the same kind and subject."""
        two = entries.entry_of(self.store, int(event.args))
        one = await asyncio.to_thread(entries.before, self.store, two)
        if one is None:
            frame.said(f"Entry {two.index} is the first of its kind and subject.")
            return
        self._compare(one, two)

    def _signatures(self, event: Any) -> None:
        """The signatures of an entry, and the way to sign it."""
        index = int(event.args)
        self.compared.clear()
        with self.compared:
            signatures_of(self.page, "entry", str(index), f"Signatures of entry {index}")

    def _compare(self, one: Any, two: Any) -> None:
        apart = entries.differences(one, two)
        self.compared.clear()
        with self.compared, ui.element("section").classes("card") as card:
            card.props('tabindex=-1 aria-label="Comparison"')
            with ui.element("div").classes("row spread"):
                html(f"<h2>Entries {one.index} and {two.index}: what differs</h2>")
                button("Close", self.compared.clear)
            later = shown.age((two.time - one.time) / shown.SECOND)
            html(
                f'<p class="muted small">{escape(one.kind)} of {escape(one.subject)}, '
                f"{shown.stamp(one.time)}, and {escape(two.kind)} of {escape(two.subject)}, "
                f"{later} later.</p>"
            )
            if apart:
                heads = ["what", f"entry {one.index}", f"entry {two.index}"]
                html(grid(heads, ([path, _told(a), _told(b)] for path, a, b in apart)))
            else:
                html("<p>They say the same, apart from number, time and hash.</p>")
        ui.run_javascript(f"getHtmlElement({card.id})?.focus()")


def _told(value: Any) -> Html:
    """A value of an entry; one that is not there is said so."""
    if value is None:
        return Html('<span class="muted">—</span>')
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return Html(f'<span class="wrap">{escape(text)}</span>')


def _moment(text: str | None) -> int | None:
    return from_iso(text.strip().replace(" ", "T")) if text and text.strip() else None


def _row(entry: Any, wanted: int | None) -> list[Any]:
    detail = json.dumps(entry.detail, ensure_ascii=False, default=str, indent=1)
    here = " open" if entry.index == wanted else ""
    more = (
        f"<details{here}><summary>{escape(summary(entry.detail))}</summary><pre class=facts>"
        f"{escape(detail)}\n"
        f"previous {entry.previous}\nhash     {entry.hash}</pre>"
        f'<button class="icon-button" data-earlier="{entry.index}">What changed since the one '
        f"before of this kind and subject</button> "
        f'<button class="icon-button" data-sign="{entry.index}">Signatures</button></details>'
    )
    mark = (
        f'<input type="checkbox" data-mark="{entry.index}" aria-label="Mark entry {entry.index}">'
    )
    number = f"<b>▸ {entry.index}</b>" if here else f"{entry.index}"
    return [
        Html(mark),
        Html(number),
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
    """The telling part of an entry's detail, in a line.

    Examples
    --------
    >>> summary({"tag": "T", "value": 2.0, "unit": "kg"}), summary({"offset": 7}), summary({})
    ('tag T, value 2, unit kg', 'offset 7', 'in full')
    >>> summary({"tags": []}), summary({"value": [1.0, 2.0]})
    ('tags []', 'value [1.0, 2.0]')
    """
    keys = [key for key in TELLING if detail.get(key) not in ("", None)]
    if not keys:
        flat = entries.flat(detail)
        keys = [key for key, value in flat.items() if len(str(value)) <= TOO_LONG][:3]
        detail = flat
    return ", ".join(f"{key} {_brief(detail[key])}" for key in keys)[:110] or "in full"


def _brief(value: Any) -> str:
    if value is None or isinstance(value, bool | int | float | str):
        return shown.number(value) if value is not None else "none"
    return json.dumps(value, ensure_ascii=False, default=str)
