"""Performance of the alarm system: figures beside their targets, and what to mend first."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from html import escape
from typing import Any

from nicegui import ui

from galenic.app.views import frame, shown
from galenic.app.views.alarms import tabs
from galenic.app.views.frame import Page, html
from galenic.app.views.tables import Html, grid
from galenic.app.views.theme import AXIS, SIGNS, TEXT, TOOLTIP, colour
from galenic.clock import nanoseconds
from galenic.twin.alarm.performance import FLOOD, Performance, performance

SPANS = {8: "8 hours", 24: "a day", 168: "a week", 720: "30 days"}
VERDICTS = {True: ("✓", "met"), False: ("✕", "missed"), None: ("", "")}
WAITS = ((60, "under 1 min"), (300, "1 to 5 min"), (900, "5 to 15 min"), (1e12, "longer"))


async def figures_page(page: Page) -> None:
    """The figures of ISA-18.2 and EEMUA 191 for a span of time."""
    html("<h1>Alarms, performance</h1>")
    tabs("/alarms/performance")
    if page.room.store is None or page.room.runner is None:
        frame.empty("This server has no records.", "Start it with a project.")
        return
    await Figures(page).show()


class Figures:
    """Figures and pictures, by span and number of operators."""

    def __init__(self, page: Page) -> None:
        self.page = page
        with ui.element("div").classes("row search no-print"):
            self.span = ui.select(SPANS, value=24, label="the last")
            self.people = ui.number("operators", value=1, min=1, max=100, precision=0)
            for box in (self.span, self.people):
                box.props("outlined dense options-dense debounce=400").style("width: 140px")
                box.on_value_change(self.show)
        self.place = ui.element("div").classes("columns")

    async def show(self) -> None:
        """Compute and draw."""
        made = await asyncio.to_thread(self._made)
        self.place.clear()
        with self.place:
            with ui.element("section").classes("card span-5"):
                html(f"<h2>Figures</h2>{_figures(made)}")
            with ui.element("section").classes("card span-7"):
                html("<h2>Alarms in ten minutes</h2>")
                _chart(rates(made), 260, "alarms in each ten minutes by priority")
                html(_suppressed(made))
            with ui.element("section").classes("card span-5"):
                html("<h2>Priorities</h2>")
                _chart(shares(made), 200, "share of each priority beside its target")
                html("<h2>Time to acknowledge</h2>")
                _chart(waits(made), 160, "how long alarms waited to be acknowledged")
            with ui.element("section").classes("card span-7"):
                html(f"<h2>The most frequent</h2>{_worst(made)}")
                html(_stale(made))

    def _made(self) -> Performance:
        page = self.page
        stop = int(page.room.now())
        start = stop - nanoseconds(3600.0 * float(self.span.value))
        rows = page.room.told(page.who)
        return performance(rows, start, stop, max(1.0, float(self.people.value or 1)))


def _chart(options: dict[str, Any], height: int, name: str) -> None:
    chart = ui.echart(options, renderer="svg").style(f"height: {height}px; width: 100%")
    chart.props(f'role=img aria-label="{escape(name)}"')


def _figures(made: Performance) -> str:
    rows = []
    for figure in made.figures:
        sign, word = VERDICTS[figure.met]
        value = "" if figure.value is None else shown.number(figure.value)
        unit = (
            "" if figure.unit == "1" or not value else f' <span class="unit">{figure.unit}</span>'
        )
        css = "verdict missed" if figure.met is False else "verdict"
        verdict = Html(f'<span class="{css}">{sign} {word}</span>')
        shown_value = Html(f"{escape(value)}{unit}" if value else '<span class="muted">none</span>')
        rows.append((figure.name, shown_value, figure.target, verdict))
    return grid(("figure", "value", "target", ""), rows, (1,))


def _suppressed(made: Performance) -> str:
    parts = [f"{count} {escape(state)}" for state, count in made.suppressed.items()]
    words = ", ".join(parts) or "nothing is suppressed"
    return f'<p class="muted small">{made.annunciated} annunciated; at the end {words}</p>'


def _worst(made: Performance) -> str:
    if not made.worst:
        return '<p class="muted">No alarm came.</p>'
    rows = [
        (
            Html(f'<a href="/alarms/history?twin={escape(t)}&alarm={escape(a)}">{escape(a)}</a>'),
            t,
            count,
            f"{100 * count / made.annunciated:.0f} %",
            f"{made.chattering[t, a]} in a minute" if (t, a) in made.chattering else "",
        )
        for t, a, count in made.worst
    ]
    return grid(("alarm", "twin", "times", "share", "chatters"), rows, (2, 3))


def _stale(made: Performance) -> str:
    if not made.stale:
        return ""
    rows = [(alarm, twin, shown.stamp(since)) for twin, alarm, since in made.stale]
    return f"<h2>Stale</h2>{grid(('alarm', 'twin', 'since'), rows)}"


def _base(**more: Any) -> dict[str, Any]:
    return {"animation": False, "useUTC": True, "tooltip": {**TOOLTIP}, **more}


def rates(made: Performance) -> dict[str, Any]:
    """Alarms of each ten minutes, stacked by priority, with the flood line."""
    series: list[dict[str, Any]] = [
        {
            "type": "bar",
            "stack": "alarms",
            "name": f"{sign} {word}",
            "barMaxWidth": 14,
            "itemStyle": {"color": colour("low" if word == "journal" else word)},
            "data": [[shown.chart_time(begin), by.get(word, 0)] for begin, by in made.windows],
        }
        for word, sign in SIGNS.items()
        if made.priorities.get(word)
    ]
    ends = [shown.chart_time(begin) for begin in (made.start, made.stop)]
    series.append(
        {
            "type": "line",
            "name": "flood above",
            "showSymbol": False,
            "lineStyle": {"color": colour("setpoint"), "width": 1},
            "itemStyle": {"color": colour("setpoint")},
            "data": [[end, FLOOD] for end in ends],
        }
    )
    return _base(
        grid={"left": 40, "right": 16, "top": 34, "bottom": 28},
        legend={"top": 0, "textStyle": TEXT},
        xAxis={"type": "time", **AXIS, "min": ends[0], "max": ends[1]},
        yAxis={"type": "value", "minInterval": 1, **AXIS},
        series=series,
    )


def _bars(names: Sequence[str], series: list[dict[str, Any]], unit: str) -> dict[str, Any]:
    return _base(
        grid={"left": 110, "right": 40, "top": 28, "bottom": 24},
        legend={"top": 0, "textStyle": TEXT, "show": len(series) > 1},
        xAxis={"type": "value", "minInterval": 1, "name": unit, **AXIS},
        yAxis={"type": "category", "data": list(names), "inverse": True, **AXIS},
        series=series,
    )


def shares(made: Performance) -> dict[str, Any]:
    """Share of each priority beside its target [%]."""
    total = max(1, sum(made.priorities.values()))
    count = made.priorities.get
    high = count("high", 0) + count("critical", 0)
    values = [high, count("medium", 0), count("low", 0)]
    names = [f"{SIGNS['high']} high, critical", f"{SIGNS['medium']} medium", f"{SIGNS['low']} low"]
    bar = {"type": "bar", "barMaxWidth": 14}
    return _bars(
        names,
        [
            {**bar, "name": "found", "itemStyle": {"color": colour("accent")},
             "data": [round(100 * value / total, 1) for value in values]},
            {**bar, "name": "target", "itemStyle": {"color": colour("bar-normal")},
             "data": [5, 15, 80]},
        ],
        "%",
    )  # fmt: skip


def waits(made: Performance) -> dict[str, Any]:
    """How many alarms waited how long."""
    counts, low = [], 0.0
    for high, _ in WAITS:
        counts.append(sum(low <= wait < high for wait in made.waits))
        low = float(high)
    bar = {"type": "bar", "barMaxWidth": 14, "itemStyle": {"color": colour("accent")}}
    return _bars([name for _, name in WAITS], [{**bar, "name": "alarms", "data": counts}], "")
