"""Population fits: a list, the report of one, several side by side."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from nicegui import ui

from galenic.app.views import frame, shown
from galenic.app.views.frame import Page, button, html
from galenic.app.views.results import FIT, plot_options, show_plots, show_result
from galenic.app.views.tables import Html, grid
from galenic.app.views.theme import AXIS, SEVERAL, TEXT, TOOLTIP, colour
from galenic.errors import UnknownName

MOST = 100  # fits of the list
BESIDE = 6  # fits beside each other at most
LIKELIHOOD = ("objective", "-2LL", "AIC", "BIC")
JUDGED = (*LIKELIHOOD, "condition number", "converged")
POOR = 50.0  # % relative standard error from which on an estimate is marked
SHRUNK = 30.0  # % shrinkage from which on plots of individual estimates mislead
SOURCE = "Savic and Karlsson, AAPS J 11:558-569, 2009, doi:10.1208/s12248-009-9133-0"


@dataclass(frozen=True)
class Fit:
    """A finished job of the service as its pages need it."""

    job: Mapping[str, Any]

    @property
    def id(self) -> str:
        return str(self.job["id"])

    @property
    def values(self) -> dict[str, Any]:
        return {name: one["value"] for name, one in self.job["result"]["values"].items()}

    @property
    def arguments(self) -> Mapping[str, Any]:
        return dict(self.job["arguments"])

    @property
    def data(self) -> str:
        """What was fitted, by the name and the content of the file."""
        data = self.arguments.get("data", "")
        return str(data.get("name", data)) if isinstance(data, Mapping) else str(data)

    @property
    def content(self) -> Any:
        data = self.arguments.get("data", "")
        return data.get("sha256", data) if isinstance(data, Mapping) else data

    @property
    def words(self) -> str:
        """The model and the method."""
        method = self.arguments.get("method", "focei")
        return f"{self.arguments.get('model', '')}, {str(method).upper()}"

    def table(self, title: str) -> dict[str, list[Any]]:
        """The columns of a table of the result by name."""
        for table in self.job["result"]["tables"]:
            if table["title"] == title:
                return {column["name"]: column["data"] for column in table["columns"]}
        return {}

    def rows(self) -> list[dict[str, Any]]:
        """The estimates, a row for each number."""
        columns = self.table("estimates")
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


async def fits_page(page: Page) -> None:
    """All finished fits, to open one or compare several."""
    html("<h1>Population fits</h1>")
    jobs = await asyncio.to_thread(page.room.session.finished, FIT, page.who, MOST)
    if not jobs:
        frame.empty(
            "No population was fitted yet.",
            "Call the service “Fit a population”, here, from the shell or over REST.",
        )
        html('<p><a href="/services/clinical/population_fit">Fit a population</a></p>')
        return
    chosen: dict[str, bool] = {}
    with ui.element("div").classes("card"):
        heads = ("compare", "fit", "data", "objective", "AIC", "BIC", "converged", "who", "when")
        numeric = " class=n"
        head = "".join(
            f"<th{numeric if name in (*LIKELIHOOD,) else ''}>{name}</th>" for name in heads
        )
        with ui.element("div").classes("scroll"), ui.element("table").classes("grid"):
            html(f"<tr>{head}</tr>", "thead")
            with ui.element("tbody"):
                for fit in map(Fit, jobs):
                    _row(fit, chosen)

        def compare() -> None:
            ids = [id for id, wanted in chosen.items() if wanted]
            if not 2 <= len(ids) <= BESIDE:
                frame.said(f"Mark 2 to {BESIDE} fits to compare them.")
                return
            ui.navigate.to(f"/fits/compare?of={','.join(ids)}")

        with ui.element("div").classes("row"):
            button("Compare the marked", compare, main=True)


def _row(fit: Fit, chosen: dict[str, bool]) -> None:
    values = fit.values
    with ui.element("tr"):
        with ui.element("td"):
            ui.checkbox(on_change=lambda e: chosen.update({fit.id: e.value})).props(
                f'dense aria-label="compare {escape(fit.words)} of {escape(fit.data)}"'
            )
        link = f'<a data-row href="/fits/{escape(fit.id)}">{escape(fit.words)}</a>'
        cells = [link, escape(fit.data)]
        cells += [shown.number(values[name], 0.1) for name in ("objective", "AIC", "BIC")]
        cells += ["yes" if values["converged"] else "<b>no</b>", escape(fit.job["who"]),
                  escape(shown.stamp(fit.job["created"]))]  # fmt: skip
        for k, text in enumerate(cells):
            html(text, "td").classes("n" if 2 <= k <= 4 else "")


async def fit_page(page: Page, id: str) -> None:
    """The report of one fit."""
    fit = await _fit(page, id)
    html(f'<p class="small"><a href="/fits">Fits</a></p><h1>{escape(fit.words)}</h1>'
         f'<p class="muted">{escape(fit.data)}, fitted by {escape(fit.job["who"])} on '
         f"{escape(shown.stamp(fit.job['created']))}</p>")  # fmt: skip
    for line in str(fit.job["result"].get("text", "")).splitlines()[1:]:
        html(
            '<div class="banner medium" role="status"><span class="sign medium">●</span>'
            f"<span>{escape(line)}</span></div>"
        )
    values = fit.values
    facts = {name: values[name] for name in JUDGED if name in values}
    cells = "".join(
        f"<div><dt>{name}</dt><dd>{_judged(name, value)}</dd></div>"
        for name, value in facts.items()
    )
    first = str(fit.job["result"].get("text", "")).partition(":")[0]
    html(f'<h2>{escape(first)}</h2><dl class="facts-list">{cells}</dl>').classes("card facts-card")
    html("<h2>Estimates</h2>" + _estimates(fit) + _shrinkage(fit)).classes("card")
    with ui.element("div").classes("page").style("padding: 0"):
        show_plots(fit.job["result"], "population-fit")
    rest = {
        "tables": [t for t in fit.job["result"]["tables"] if t["title"] == "individuals"],
        "artefacts": fit.job["result"].get("artefacts", ()),
    }
    show_result(rest, FIT)
    html(f'<p class="small"><a href="/jobs/{escape(fit.id)}">The job, where it comes from, '
         "signatures</a></p>")  # fmt: skip


def _judged(name: str, value: Any) -> str:
    if name == "converged":
        return "yes" if value else "<b>no</b>"
    return shown.number(value, 0.1 if name in LIKELIHOOD else None)


def _estimates(fit: Fit) -> str:
    rows = []
    for row in fit.rows():
        rse = None if row["rse"] is None else 100 * row["rse"]
        mark = f"<b>{shown.number(rse, 1)}</b> poor" if rse is not None and rse > POOR else None
        between = (
            "held" if row["se"] is None
            else f"{shown.number(row['lower'], row['se'] / 10)} to "
                 f"{shown.number(row['upper'], row['se'] / 10)}"
        )  # fmt: skip
        rows.append((row["name"], _quantity(row), "" if row["se"] is None else
                     shown.number(row["se"], row["se"] / 10),
                     Html(mark) if mark else "" if rse is None else shown.number(rse, 1),
                     between))  # fmt: skip
    return grid(("quantity", "estimate", "SE", "RSE [%]", "95 % interval"), rows, (1, 2, 3))


def _quantity(row: Mapping[str, Any]) -> Html:
    unit = row["unit"] if row["unit"] != "1" else ""
    step = row["se"] / 10 if row["se"] else None
    return Html(shown.value_html(shown.number(row["value"], step), unit or ""))


def _shrinkage(fit: Fit) -> str:
    columns = fit.table("shrinkage")
    if not columns:
        return ""
    parts = ", ".join(
        f"{escape(name)} {value:.0f} %"
        for name, value in zip(columns["effect"], columns["shrinkage"], strict=True)
    )
    high = any(value > SHRUNK for value in columns["shrinkage"])
    note = (
        f' <span title="{escape(SOURCE)}">Above {SHRUNK:g} % plots of individual estimates may '
        "mislead; trust the predictive check.</span>"
        if high
        else ""
    )
    return f'<p class="small">Shrinkage: {parts}.{note}</p>'


async def compare_page(page: Page, of: str = "") -> None:
    """Fits side by side."""
    html('<p class="small"><a href="/fits">Fits</a></p><h1>Fits side by side</h1>')
    ids = [id for id in dict.fromkeys(of.split(",")) if id]
    if not 2 <= len(ids) <= BESIDE:
        frame.empty(f"Name 2 to {BESIDE} fits to compare them.", "Mark them in the list of fits.")
        return
    fits = [await _fit(page, id) for id in ids]
    if len({str(fit.content) for fit in fits}) > 1:
        html(
            '<div class="banner medium" role="status"><span class="sign medium">●</span><span>'
            "They are fits of different data: their objectives, AIC and BIC cannot be compared."
            "</span></div>"
        )
    html("<h2>How well they fit</h2>" + _likelihoods(fits)).classes("card")
    html("<h2>What they found</h2>" + _beside(fits)).classes("card")
    shared = _shared(fits)
    if shared:
        with ui.element("figure").classes("card").style("margin: 0"):
            html("<h3>Estimates with 95 % intervals, over those of A</h3>")
            chart = ui.echart(_forest(fits, shared), renderer="svg")
            chart.style(f"height: {90 + 34 * len(shared)}px; width: 100%")
            chart.props('role=img aria-label="Estimates relative to fit A"')
    with ui.element("div").classes("columns"):
        for title in _common_plots(fits):
            for letter, fit in zip("ABCDEF", fits, strict=False):
                _panel(fit, letter, title, "span-6" if len(fits) == 2 else "span-4")


def _panel(fit: Fit, letter: str, title: str, width: str) -> None:
    plot = next(plot for plot in fit.job["result"]["plots"] if plot["title"] == title)
    with ui.element("figure").classes(f"card {width}").style("margin: 0"):
        html(f"<h3>{letter}: {escape(title)}</h3>")
        chart = ui.echart(plot_options(plot), renderer="svg").style("height: 240px; width: 100%")
        chart.props(f'role=img aria-label="{escape(title)} of fit {letter}"')


def _common_plots(fits: Sequence[Fit]) -> list[str]:
    """Titles of the plots that all have."""
    titles = [[plot["title"] for plot in fit.job["result"]["plots"]] for fit in fits]
    return [title for title in titles[0] if all(title in other for other in titles[1:])]


def _likelihoods(fits: Sequence[Fit]) -> str:
    rows = []
    best = {name: min(fit.values[name] for fit in fits) for name in LIKELIHOOD}
    for letter, fit in zip("ABCDEF", fits, strict=False):
        values = fit.values
        cells: list[Any] = [
            letter,
            Html(f'<a href="/fits/{escape(fit.id)}">{escape(fit.words)}</a>'),
            fit.data,
        ]
        for name in LIKELIHOOD:
            more = values[name] - best[name]
            text = shown.number(values[name], 0.1)
            tail = "least" if more == 0 else f"+{shown.number(more, 0.1)}"
            cells.append(Html(f'{text} <span class="muted small">{tail}</span>'))
        cells += [_judged("condition number", values["condition number"]),
                  Html(_judged("converged", values["converged"]))]  # fmt: skip
        rows.append(cells)
    heads = ("", "fit", "data", *LIKELIHOOD, "condition number", "converged")
    return grid(heads, rows, (3, 4, 5, 6, 7))


def _beside(fits: Sequence[Fit]) -> str:
    tables = [{row["name"]: row for row in fit.rows()} for fit in fits]
    names = dict.fromkeys(name for table in tables for name in table)
    rows = []
    for name in names:
        cells: list[Any] = [name]
        for table in tables:
            row = table.get(name)
            if row is None:
                cells.append("")
                continue
            rse = "held" if row["rse"] is None else f"{shown.number(100 * row['rse'], 1)} %"
            cells.append(Html(f'{_quantity(row)} <span class="muted small">({rse})</span>'))
        rows.append(cells)
    letters = "ABCDEF"[: len(fits)]
    heads = ("quantity", *(f"{letter}: estimate (RSE)" for letter in letters))
    return grid(heads, rows, tuple(range(1, len(fits) + 1)))


def _shared(fits: Sequence[Fit]) -> list[str]:
    """Numbers that all estimated, not zero in the first, of the same unit."""
    tables = [{row["name"]: row for row in fit.rows()} for fit in fits]
    return [
        name
        for name, row in tables[0].items()
        if row["value"]
        and all(
            name in table and table[name]["se"] is not None and table[name]["unit"] == row["unit"]
            for table in tables
        )
    ]


def _forest(fits: Sequence[Fit], names: Sequence[str]) -> dict[str, Any]:
    """Points and intervals of each number, over the first fit's."""
    tables = [{row["name"]: row for row in fit.rows()} for fit in fits]
    series: list[dict[str, Any]] = []
    for k, (letter, table) in enumerate(zip("ABCDEF", tables, strict=False)):
        tone, points = colour(SEVERAL[k % len(SEVERAL)]), []
        shift = 0.5 + (k - (len(fits) - 1) / 2) * 0.14
        for i, name in enumerate(names):
            row, by = table[name], tables[0][name]["value"]
            y = i + shift
            ends = sorted(row[end] / by for end in ("lower", "upper"))
            points.append([row["value"] / by, y])
            if all(map(math.isfinite, ends)):
                series.append({
                    "type": "line", "name": letter, "showSymbol": False, "silent": True,
                    "lineStyle": {"color": tone, "width": 2}, "itemStyle": {"color": tone},
                    "data": [[ends[0], y], [ends[1], y]],
                })  # fmt: skip
        series.append({"type": "scatter", "name": letter, "symbolSize": 8,
                       "itemStyle": {"color": tone}, "data": points})  # fmt: skip
    series.append({
        "type": "line", "name": "A's estimate", "showSymbol": False, "silent": True,
        "lineStyle": {"color": colour("strong-line"), "width": 1, "type": "dashed"},
        "itemStyle": {"color": colour("strong-line")}, "data": [[1, 0], [1, len(names)]],
    })  # fmt: skip
    letters = list("ABCDEF"[: len(fits)])
    return {
        "animation": False,
        "grid": {"left": 150, "right": 24, "top": 34, "bottom": 40},
        "legend": {"show": True, "top": 0, "data": letters,
                   "textStyle": {"color": colour("muted")}},
        "xAxis": {"type": "value", "scale": True, **AXIS, "nameLocation": "middle", "nameGap": 26,
                  "name": "estimate over that of A"},
        "yAxis": {"type": "value", "min": 0, "max": len(names), "interval": 1, "inverse": True,
                  **AXIS, "axisLabel": {"show": False}},
        "tooltip": {**TOOLTIP, "trigger": "item"},
        "series": [*series, _names(names)],
    }  # fmt: skip


def _names(names: Sequence[str]) -> dict[str, Any]:
    """The names of the rows, written at the left edge of the chart."""
    return {
        "type": "scatter",
        "name": "names",
        "symbolSize": 0,
        "silent": True,
        "data": [],
        "markPoint": {
            "symbol": "rect",
            "symbolSize": 0.1,
            "silent": True,
            "label": {**TEXT, "show": True, "position": "left", "formatter": "{b}"},
            "data": [
                {"name": name, "x": 144, "yAxis": i + 0.5, "value": name}
                for i, name in enumerate(names)
            ],
        },
    }


async def _fit(page: Page, id: str) -> Fit:
    job = await asyncio.to_thread(page.room.session.job, id, page.who)
    if job["service"] != FIT or job["state"] != "done" or not job.get("result"):
        raise UnknownName.among("finished population fit", id, [])
    return Fit(job)
