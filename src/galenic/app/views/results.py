"""The result of a job: plots, tables, provenance, downloads; and its progress while it runs."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from html import escape
from typing import Any

from nicegui import ui

from galenic.app.permissions import sees_all
from galenic.app.views import frame, shown
from galenic.app.views.exports import menu, plot_table
from galenic.app.views.frame import Page, button, html
from galenic.app.views.signatures import signatures_of
from galenic.app.views.tables import Html, grid, result_table
from galenic.app.views.theme import AXIS, SEVERAL, STYLES, TICKS, TOOLTIP, colour
from galenic.app.views.trends import band
from galenic.errors import GalenicError

WATCH = 0.5
FIT = "clinical.population_fit"
"""The service whose results have a page of their own."""
LIVE = ("queued", "running")
WORDS = {
    "done": "done",
    "failed": "failed",
    "cancelled": "cancelled",
    "interrupted": "interrupted by a restart",
    "queued": "waiting",
    "running": "running",
}


async def job_page(page: Page, id: str) -> None:
    """The permanent address of a job."""
    job = await asyncio.to_thread(page.room.session.job, id, page.who)
    html(f"<h1>{escape(_title(page, job['service']))}</h1>")
    place = ui.element("div").classes("page").style("padding: 0")
    watch_job(page, id, place, job)


def _title(page: Page, service: str) -> str:
    try:
        return str(page.room.session.service(service).title)
    except GalenicError:
        return service


def _signed(page: Page, job: dict[str, Any]) -> None:
    """The signatures of a result, by its content."""
    if job.get("result_hash") and sees_all(page.who):
        signatures_of(page, "artefact", job["result_hash"])


def watch_job(page: Page, id: str, place: ui.element, job: dict[str, Any]) -> None:
    """Show a job: its progress until it ends, then its result."""
    if job["state"] not in LIVE:
        with place:
            show_job(page, job)
        return
    with place, ui.element("div").classes("card"):
        words = ui.label(_progress(job)).props("role=status")
        bar = ui.linear_progress(job["progress"], show_value=False).props('aria-label="progress"')
        with ui.element("div").classes("row"):
            stop = button("Cancel", lambda: cancel(page, id))
        html(
            f'<p class="muted small">You may leave this page; the result will be at '
            f'<a href="/jobs/{escape(id)}">/jobs/{escape(id[:12])}…</a></p>'
        )

    async def look() -> None:
        now = await asyncio.to_thread(page.room.session.job, id, page.who)
        since = shown.age((page.room.now() - now["created"]) / shown.SECOND)
        words.text, bar.value = f"{_progress(now)}, for {since}", now["progress"]
        if now["state"] not in LIVE:
            timer.cancel()
            stop.delete()
            place.clear()
            with place:
                show_job(page, now)

    timer = ui.timer(WATCH, look)


def _progress(job: dict[str, Any]) -> str:
    return f"{WORDS[job['state']]}, {job['progress']:.0%} {job['message']}".strip()


async def cancel(page: Page, id: str) -> None:
    """Stop a job."""
    try:
        await asyncio.to_thread(page.room.session.cancel, id, page.who)
    except GalenicError as error:
        frame.complain(error)


def show_job(page: Page, job: dict[str, Any]) -> None:
    """An ended job: what came of it."""
    if job["state"] == "cancelled":
        frame.empty(
            "It was cancelled.", f"Job {job['id']}; the ledger has it. Call it again above."
        )
    elif job["state"] != "done":
        error = job.get("error") or {"found": f"The service was {WORDS[job['state']]}."}
        frame.failed(error, f"job {job['id']}; it stands in the ledger under {job['service']}")
    if job.get("result"):
        if job["service"] == FIT:
            html(f'<p><a href="/fits/{escape(job["id"])}">As the report of a fit</a></p>')
        show_result(job["result"], job["service"])
    _signed(page, job)
    _provenance(job)


def show_result(result: dict[str, Any], name: str) -> None:
    """Plots first, values and tables second, downloads last."""
    if result.get("text"):
        html(f'<pre class="facts">{escape(result["text"])}</pre>')
    show_plots(result, name)
    if result.get("values"):
        with ui.element("div").classes("card"):
            rows = [_value_row(key, value) for key, value in result["values"].items()]
            html(grid(["what", "value", "90 % interval", "meaning"], rows, (1, 2)))
    for table in result.get("tables", ()):
        with ui.element("div").classes("card"):
            with ui.element("div").classes("row spread"):
                html(f"<h3>{escape(table['title'])}</h3>")
                menu(table["title"], name, None, partial(dict, table))
            html(result_table(table))
    with ui.element("div").classes("row"):
        button(
            "Download JSON",
            lambda: ui.download.content(json.dumps(result, indent=1), f"{name}.json"),
        )
        for made in result.get("artefacts", ()):
            html(
                f'<a class="icon-button" download="{escape(made["name"])}" '
                f'href="/api/artefacts/{made["hash"]}">'
                f"{escape(made['name'])} ({made['size'] / 1024:.0f} kB)</a>"
            )


def show_plots(result: dict[str, Any], name: str) -> None:
    """The plots of a result, two in a row, each with its downloads."""
    if not result.get("plots"):
        return
    with ui.element("div").classes("columns"):
        for plot in result["plots"]:
            width = "span-12" if len(result["plots"]) == 1 else "span-6"
            with ui.element("figure").classes(f"card {width}").style("margin: 0"):
                with ui.element("div").classes("row spread pair"):
                    html(f"<h3>{escape(plot['title'])}</h3>")
                    holder: dict[str, Any] = {}
                    downloads(plot["title"], name, plot, holder)
                chart = ui.echart(plot_options(plot), renderer="svg").style(
                    "height: 260px; width: 100%"
                )
                holder["chart"] = chart
                chart.props(f'role=img aria-label="Plot of {escape(plot["title"])}"')


def _value_row(key: str, value: dict[str, Any]) -> list[Any]:
    low, high = value.get("lower"), value.get("upper")
    spread = (high - low) / 3.29 if low is not None and high is not None else None
    between = (
        f"{shown.number(low, spread)} to {shown.number(high, spread)}" if spread is not None else ""
    )
    text = shown.number(value["value"], spread)
    return [
        key,
        Html(shown.value_html(text, value.get("unit", ""))),
        between,
        value.get("meaning", ""),
    ]


def _provenance(job: dict[str, Any]) -> None:
    with ui.element("div").classes("card"):
        html("<h3>Where it comes from</h3>")
        rows = [
            ["service", job["service"]],
            ["asked by", job["who"]],
            ["asked", shown.stamp(job["created"])],
            [
                "took",
                shown.age((job["finished"] - job["created"]) / shown.SECOND)
                if job["finished"]
                else "",
            ],
            ["arguments", json.dumps(job["arguments"], ensure_ascii=False)],
            ["result", f"sha256 {job['result_hash']}" if job.get("result_hash") else "not kept"],
            ["job", job["id"]],
        ]
        html(grid(["", ""], rows))


def downloads(title: str, note: str, plot: dict[str, Any], holder: dict[str, Any]) -> None:
    """The menu of a plot; ``holder`` gets the chart once it is made."""
    menu(title, note, lambda: holder.get("chart"), lambda: plot_table(plot))


def plot_options(plot: dict[str, Any]) -> dict[str, Any]:
    """A plot of a result in the fixed styles."""
    x = plot["x"]
    is_time = bool(x["data"]) and isinstance(x["data"][0], str)
    lines = [s for s in plot["y"] if s.get("style", "line") == "line"]
    series: list[dict[str, Any]] = []
    for number, one in enumerate(plot["y"]):
        if one.get("lower") and one.get("upper"):
            fill = (
                "alternative-soft" if one.get("style") in ("line", "alternative") else "accent-soft"
            )
            edges = zip(x["data"], one["lower"], one["upper"], strict=True)
            kept = [row for row in edges if None not in row]
            times, low, high = ([row[k] for row in kept] for k in range(3))
            series += band(0, f"b{number}", times, low, high, fill)
        series.append(_curve(number, one, x["data"], lines, len(plot["y"])))
    units = {s.get("unit", "") for s in plot["y"]} - {"1"}
    return {
        "animation": False,
        "useUTC": True,
        "grid": {"left": 64, "right": 16, "top": 50 if len(plot["y"]) > 1 else 24, "bottom": 44},
        "legend": {
            "show": len(plot["y"]) > 1,
            "top": 0,
            "type": "scroll",
            "textStyle": {"color": colour("muted")},
            "data": [one["name"] for one in plot["y"]],
        },
        "xAxis": {
            "type": "time" if is_time else "value",
            "scale": True,
            **AXIS,
            **({} if is_time else TICKS),
            "nameLocation": "middle",
            "nameGap": 26,
            "name": _label(x["name"], x.get("unit", "")),
            "min": "dataMin",
            "max": "dataMax",
        },
        "yAxis": {
            "type": "value",
            "scale": True,
            **AXIS,
            "name": units.pop() if len(units) == 1 else "",
        },
        "tooltip": {**TOOLTIP, **({":formatter": "galenic.tip"} if is_time else {})},
        "series": series,
    }


def _curve(
    number: int, one: dict[str, Any], x: list[Any], lines: list[Any], count: int
) -> dict[str, Any]:
    made = {**STYLES[one.get("style", "line")], "name": one["name"], "id": f"s{number}"}
    if one in lines and count > 1:
        tone = colour(SEVERAL[(lines.index(one) + (count > len(lines))) % len(SEVERAL)])
        made |= {"lineStyle": {"color": tone, "width": 1.6}, "itemStyle": {"color": tone}}
    return made | {"data": [[a, b] for a, b in zip(x, one["data"], strict=True)]}


def _label(name: str, unit: str) -> str:
    return f"{name} [{unit}]" if unit and unit != "1" else name
