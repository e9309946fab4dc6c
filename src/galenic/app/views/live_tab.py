"""The live view of a twin: flowsheet or list at the left, trends and events at the right.

A quantity comes into the trends by drag, by click, by Enter on its indicator, by its button in the
list, or by the choice above the chart.
"""

from __future__ import annotations

import asyncio
from html import escape
from typing import Any, Protocol

from nicegui import ui

from galenic.app.views import exports, frame, shown
from galenic.app.views.facts import Facts, estimate_text
from galenic.app.views.feed import Feed
from galenic.app.views.flowsheet import Flowsheet
from galenic.app.views.frame import Page, button, html
from galenic.app.views.tables import Html, grid
from galenic.app.views.trends import Trend

FIRST = 4
SPANS = {300: "5 min", 900: "15 min", 1800: "30 min", 7200: "2 h"}
REDRAW = 1.0  # seconds between looks for new points
NOTE = (
    "dots measured · solid line estimated, 90 % · dashed predicted, 50 and 90 % · "
    "thin step target or setting · shaded outside of limits"
)


class Source(Protocol):
    """Where the values come from: the room while they are live, a playback when they were."""

    here: str  # what its present time is called

    @property
    def feed(self) -> Any: ...

    @property
    def store(self) -> Any: ...

    def now(self) -> int: ...


def live_tab(page: Page, facts: Facts, source: Source) -> None:
    """Flowsheet, trends, strip of proposals and writes."""
    with ui.element("div").classes("columns"):
        with ui.element("section").classes("card span-5").props('aria-label="Quantities"'):
            _quantities(page, facts, source)
        with ui.element("section").classes("card span-7") as zone:
            zone.props('aria-label="Trends" data-takes-quantity')
            trends = Trends(page, facts, source)
    zone.on(
        "quantity",
        lambda event: trends.take(event.args["name"], event.args["toggle"]),
        js_handler="(event) => emit(event.detail)",
    )
    page.live(lambda: shown_changes(facts, trends.chosen))


def _quantities(page: Page, facts: Facts, source: Source) -> None:
    """The flowsheet, and beside it the same and more as a list."""
    sheet = Flowsheet(facts)
    if not sheet.boxes:
        _list(page, facts, source)
        return
    with ui.element("div").classes("row no-print").props('role=group aria-label="Show as"'):
        views = {name: button(name, lambda name=name: turn(name)) for name in ("Flowsheet", "List")}
        html(
            '<span class="muted small">Drag a quantity into the trends, or press Enter on it.'
            "</span>"
        )
    drawing = html(sheet.svg(source.feed, source.now()))
    listed = ui.element("div")
    with listed:
        _list(page, facts, source)
    page.live(lambda: sheet.changes(source.feed, source.now()))

    def turn(name: str) -> None:
        drawing.set_visibility(name == "Flowsheet")
        listed.set_visibility(name == "List")
        for one, made in views.items():
            made.props(f"aria-pressed={str(one == name).lower()}")

    turn("Flowsheet")


def _list(page: Page, facts: Facts, source: Source) -> None:
    changes = list_changes(facts, source.feed, source.now())
    rows = [_row(facts, path, changes) for path in facts.offered()]
    html(grid(["quantity", "estimated", "measured or set", "trend"], rows, (1, 2), "tall listed"))
    page.live(lambda: list_changes(facts, source.feed, source.now()))


def _row(facts: Facts, path: str, changes: dict[str, Any]) -> list[Any]:
    def live(part: str) -> Html:
        key = f"list:{path}:{part}"
        return Html(f'<span data-live="{escape(key)}">{changes[key]["html"]}</span>')

    words = escape(facts.meaning(path))
    button = shown_changes(facts, first_shown(facts))[f"list:{path}:show"]
    return [
        Html(
            f'<span data-quantity="{escape(path)}" data-label="{words}">{words}<br>'
            f'<span class="muted small">{escape(path)}</span></span>'
        ),
        live("estimated"),
        live("measured"),
        Html(
            f'<button class="icon-button" data-show="{escape(path)}" data-live="'
            f'{escape(f"list:{path}:show")}" aria-label="Trend of {words}" '
            f'aria-pressed="{button["attrs"]["aria-pressed"]}">{button["text"]}</button>'
        ),
    ]


def list_changes(facts: Facts, feed: Feed, now: int) -> dict[str, Any]:
    """The newest estimate and measurement of each quantity of the list."""
    message = feed.twins.get(facts.id)
    found: dict[str, Any] = {}
    for path in facts.offered():
        text, unit = estimate_text(message["estimates"].get(path) if message else None)
        if text == shown.NONE:
            text, unit = "", ""
        found[f"list:{path}:estimated"] = {"html": shown.value_html(text, unit)}
        values = [facts.tag_html(feed, c.binding.tag, "", now) for c in facts.read_as(path)]
        found[f"list:{path}:measured"] = {"html": "<br>".join(values)}
    return found


def shown_changes(facts: Facts, chosen: list[str]) -> dict[str, Any]:
    """What the button of each row of the list does."""
    return {
        f"list:{path}:show": {
            "text": "hide" if path in chosen else "show",
            "attrs": {"aria-pressed": str(path in chosen).lower()},
        }
        for path in facts.offered()
    }


def first_shown(facts: Facts) -> list[str]:
    """The quantities that the trends begin with."""
    return facts.offered()[:FIRST]


class Trends:
    """The chart with its choice of quantities and span."""

    def __init__(self, page: Page, facts: Facts, source: Source) -> None:
        self.page, self.facts, self.source = page, facts, source
        self.chart: Any = None
        known = {path: facts.meaning(path) for path in facts.offered()}
        with ui.element("div").classes("row"):
            self.choice = (
                ui.select(
                    known,
                    multiple=True,
                    value=first_shown(facts),
                    label="quantities",
                    on_change=self.draw,
                )
                .props('outlined dense options-dense aria-label="Quantities shown"')
                .style("width: 200px")
            )
            self.span = (
                ui.select(SPANS, value=900, label="past", on_change=self.draw)
                .props('outlined dense options-dense aria-label="How far back"')
                .style("width: 120px")
            )
            exports.menu(f"{facts.id} trends", self._note, lambda: self.chart, self._table)
        html(frame.legend())
        self.choice.props(f'display-value="{len(self.choice.value)} shown"')
        self.place = ui.element("div").style(f"width: 100%; min-height: {self._trend().height}px")
        with self.place:
            html('<div class="state" role="status"><span>Drawing the trends…</span></div>')
        ui.timer(
            0.01, self.draw, once=True
        )  # the page is painted first: charts come with a library
        ui.timer(REDRAW, self.update)

    @property
    def chosen(self) -> list[str]:
        """The quantities shown."""
        return list(self.choice.value)

    def _note(self) -> str:
        now = self.source.now()
        was = "" if self.source.here == "now" else "REPLAY · "
        return f"{was}{self.page.room.site} · {shown.stamp(now)} · {NOTE}"

    async def _table(self) -> dict[str, Any]:
        now, feed = self.source.now(), self.source.feed
        start = now - int(self.span.value) * shown.SECOND
        return await asyncio.to_thread(
            exports.trend_table, self.facts, self.chosen, feed, self.source.store, start, now
        )

    def take(self, path: str, toggle: bool = False) -> None:
        """Show a quantity too; one that is shown is taken away when it is toggled."""
        if path not in self.choice.options:
            return
        if path not in self.choice.value:
            self.choice.value = [*self.choice.value, path]
        elif toggle:
            self.choice.value = [one for one in self.choice.value if one != path]

    def draw(self) -> None:
        """Make the chart anew."""
        self.choice.props(f'display-value="{len(self.choice.value)} shown"')
        self.place.clear()
        self.chart = None
        if not self.choice.value:
            with self.place:
                frame.empty(
                    "Nothing chosen.",
                    "Drag a quantity here, press Enter on an indicator, or choose above.",
                )
            return
        self.trend = Trend(self.facts, self.choice.value, float(self.span.value), self.source.here)
        options = self.trend.options(self.source.feed, self.source.now())
        with self.place:
            self.chart = ui.echart(options, renderer="svg").style(
                f"height: {self.trend.height}px; width: 100%"
            )
            self.chart.props(f'role=img aria-label="Trends of {len(self.choice.value)} quantities"')

    def _trend(self) -> Trend:
        return Trend(self.facts, self.choice.value, float(self.span.value), self.source.here)

    def update(self) -> None:
        """Send what has changed."""
        if self.chart is None:
            return
        changes = self.trend.changes(self.source.feed, self.source.now())
        if changes:
            self.chart.run_chart_method("setOption", changes)
