"""The live view of a twin: flowsheet at the left, trends and events at the right."""

from __future__ import annotations

from typing import Any

from nicegui import ui

from galenic.app.views import frame
from galenic.app.views.facts import Facts
from galenic.app.views.flowsheet import Flowsheet
from galenic.app.views.frame import Page, html
from galenic.app.views.trends import Trend

FIRST = 4
SPANS = {300: "5 min", 900: "15 min", 1800: "30 min", 7200: "2 h"}
REDRAW = 1.0  # seconds between looks for new points


def live_tab(page: Page, facts: Facts) -> None:
    """Flowsheet, trends, strip of proposals and writes."""
    feed, room = page.room.feed, page.room
    assert feed is not None
    sheet = Flowsheet(facts)
    with ui.element("div").classes("columns"):
        with ui.element("section").classes("card span-5").props('aria-label="Flowsheet"'):
            if sheet.boxes:
                drawing = html(sheet.svg(feed, room.now()))
                page.live(lambda: sheet.changes(feed, room.now()))
            else:
                drawing = None
                _readings(page, facts)
        with ui.element("section").classes("card span-7").props('aria-label="Trends"'):
            trends = Trends(page, facts)
    if drawing is not None:
        script = "(e) => emit(e.target.closest('[data-quantity]')?.dataset.quantity)"
        drawing.on("click", lambda event: trends.add(event.args), js_handler=script)


def _readings(page: Page, facts: Facts) -> None:
    """For a model without parts: its tags as a list."""
    feed, room = page.room.feed, page.room
    assert feed is not None
    rows = "".join(
        f"<tr><td>{tag}</td><td class=n>{facts.tag_html(feed, tag, f'tag:{tag}', room.now())}</td>"
        f"</tr>"
        for tag in facts.twin.channels
    )
    html(f'<table class="grid"><tr><th>tag</th><th class=n>newest value</th></tr>{rows}</table>')
    page.live(
        lambda: {f"tag:{t}": facts.tag_change(feed, t, room.now()) for t in facts.twin.channels}
    )


class Trends:
    """The chart with its choice of quantities and span."""

    def __init__(self, page: Page, facts: Facts) -> None:
        self.page, self.facts = page, facts
        self.feed: Any = page.room.feed
        self.chart: Any = None
        paths = list(facts.twin.definition.shown)
        known = {path: facts.meaning(path) for path in self._offered(paths)}
        with ui.element("div").classes("row"):
            self.choice = (
                ui.select(
                    known,
                    multiple=True,
                    value=paths[:FIRST],
                    label="quantities",
                    on_change=self.draw,
                )
                .props('outlined dense options-dense aria-label="Quantities shown"')
                .style("width: 200px")
            )
            self.span = (
                ui.select(SPANS, value=900, label="past", on_change=self.draw)
                .props("outlined dense options-dense")
                .style("width: 120px")
            )
            html(frame.legend())
        self.place = ui.element("div").style("width: 100%")
        self.draw()
        ui.timer(REDRAW, self.update)

    def _offered(self, paths: list[str]) -> list[str]:
        channels = self.facts.twin.channels.values()
        measured = [c.binding.quantity for c in channels if c.role == "observation"]
        return list(dict.fromkeys([*paths, *measured]))

    def add(self, path: str | None) -> None:
        """Show a quantity too, as when its indicator was clicked."""
        if path and path in self.choice.options and path not in self.choice.value:
            self.choice.value = [*self.choice.value, path]

    def draw(self) -> None:
        """Make the chart anew."""
        self.choice.props(f'display-value="{len(self.choice.value)} shown"')
        self.place.clear()
        self.chart = None
        if not self.choice.value:
            with self.place:
                frame.empty(
                    "Nothing chosen.",
                    "Choose quantities above, or click an indicator of the flowsheet.",
                )
            return
        self.trend = Trend(self.facts, self.choice.value, float(self.span.value))
        options = self.trend.options(self.feed, self.page.room.now())
        with self.place:
            self.chart = ui.echart(options, renderer="svg").style(
                f"height: {self.trend.height}px; width: 100%"
            )
            self.chart.props(f'role=img aria-label="Trends of {len(self.choice.value)} quantities"')

    def update(self) -> None:
        """Send what has changed."""
        if self.chart is None:
            return
        changes = self.trend.changes(self.feed, self.page.room.now())
        if changes:
            self.chart.run_chart_method("setOption", changes)
