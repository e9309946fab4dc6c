"""A patient's twin: doses, levels and what comes; advice; what a dose would do."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from nicegui import ui

from galenic.app.views import frame, shown
from galenic.app.views.advice import decide
from galenic.app.views.exports import menu, plot_table
from galenic.app.views.facts import Facts
from galenic.app.views.frame import Page, button, html
from galenic.app.views.results import plot_options, show_result
from galenic.app.views.tables import Html, grid
from galenic.app.views.theme import AXIS, TEXT, colour

COURSE, ADVICE, FORECAST = (
    "clinical.patient_course", "clinical.advise_dose", "clinical.forecast_levels",
)  # fmt: skip
LABEL = "Decision support, not a prescription."
HORIZON = "48 h"


def is_patient(facts: Facts) -> bool:
    """Whether the twin is of a patient whose doses can be advised."""
    return "clinical.advise_dose" in facts.twin.definition.services


class Bedside:
    """The timeline, what is known of the patient, and questions to the twin."""

    def __init__(self, page: Page, facts: Facts) -> None:
        self.page, self.facts = page, facts
        html(
            f'<div class="banner" role="note"><span><b>{LABEL}</b> People prescribe; what is asked '
            "here and what came of it stand in the ledger.</span></div>"
        )
        self.place = ui.element("div").classes("page").style("padding: 0")
        with ui.element("div").classes("columns"):
            with ui.element("section").classes("card span-6"):
                self._what_if()
            with ui.element("section").classes("card span-6"):
                self._advice()
        self.answer = ui.element("div").classes("page").style("padding: 0")

    async def show(self) -> None:
        """Ask for the course and draw it."""
        job = await self.page.call(COURSE, {"twin": self.facts.id, "horizon": HORIZON})
        self.place.clear()
        with self.place:
            if job is None or job.result is None:
                frame.empty("The course could not be made.", "The notice above says why.")
                return
            self._course(job.result.to_dict())

    def _course(self, result: dict[str, Any]) -> None:
        tables = {table["title"]: table for table in result["tables"]}
        notes = [line for line in result["text"].splitlines() if line != LABEL]
        for line in notes:
            if line.startswith("unusual"):
                html(
                    '<div class="banner medium" role="status"><span class="sign medium">●</span>'
                    f"<span>{escape(line)}</span></div>"
                )
        plot = result["plots"][0]
        with ui.element("figure").classes("card").style("margin: 0"):
            with ui.element("div").classes("row spread pair"):
                html(f"<h2>{escape(plot['title'])}</h2>")
                menu(plot["title"], COURSE, lambda: chart, lambda: plot_table(plot))
            chart = ui.echart(timeline(plot, tables), renderer="svg")
            chart.style("height: 340px; width: 100%")
            chart.props('role=img aria-label="Doses, levels and the course of the drug"')
            told = [line for line in notes if not line.startswith("unusual")]
            html(f'<p class="muted small">{"<br>".join(map(escape, told))}</p>')
        with ui.element("div").classes("columns"):
            for title, body in (
                ("This patient", _individual(tables["parameters of the individual"])),
                ("Known of the patient", _covariates(tables["covariates"])),
                ("Doses", _doses(tables["doses"])),
                ("Levels", _levels(tables.get("levels"))),
            ):
                html(f"<h2>{title}</h2>{body}").classes("card span-6")

    def _what_if(self) -> None:
        html(
            "<h2>What would a dose do?</h2>"
            '<p class="muted small">Nothing is given and nothing is told to the twin.</p>'
        )
        with ui.element("div").classes("row"):
            amount = _number("Dose [mg]", 1000.0, 0.0)
            length = _number("Infusion [h]", 1.0, 0.0)
            begin = _number("First, in [h]", 0.0, 0.0)
            interval = _number("Then every [h]", 12.0, 0.5)
            count = _number("Doses", 4, 1)

        async def ask() -> None:
            fields = (amount, length, begin, interval, count)
            if any(field.value is None for field in fields):
                frame.said("Fill in every field: dose, infusion, first, interval, doses.")
                return
            times = [begin.value + k * interval.value for k in range(int(count.value))]
            planned = {"time": times, "amount": [amount.value] * len(times),
                       "duration": [length.value] * len(times)}  # fmt: skip
            last = max([*times, 0.0]) + max(interval.value, 12.0)
            given = {"twin": self.facts.id, "planned": planned, "horizon": f"{last:g} h"}
            await self._ask(FORECAST, given)

        with ui.element("div").classes("row"):
            button("Forecast this", ask, main=True)

    def _advice(self) -> None:
        html(
            "<h2>Which dose?</h2>"
            '<p class="muted small">Regimens that can be prepared, by the chance to be on the '
            "usual target and not too high. Other targets, doses and intervals: "
            f'<a href="/services/clinical/advise_dose?twin={escape(self.facts.id)}">all '
            "options</a>.</p>"
        )

        async def ask() -> None:
            await self._ask(ADVICE, {"twin": self.facts.id})

        with ui.element("div").classes("row"):
            button("Advise a dose", ask, main=True)

    async def _ask(self, service: str, given: Mapping[str, Any]) -> None:
        self.answer.clear()
        with self.answer:
            frame.empty("Asking the twin …", "A few seconds.")
        job = await self.page.call(service, given)
        self.answer.clear()
        if job is None or job.result is None:
            return
        with self.answer:
            html(f'<p class="small"><a href="/jobs/{escape(job.id)}">This answer, where it '
                 "comes from, signatures</a></p>")  # fmt: skip
            result = job.result.to_dict()
            if service == ADVICE:
                decide(self.page, self.facts.id, job, result)
            show_result(result, service)


def _number(label: str, value: float, least: float) -> Any:
    made = ui.number(label, value=value, min=least).props("outlined dense")
    return made.style("width: 120px")


def timeline(plot: dict[str, Any], tables: Mapping[str, Any]) -> dict[str, Any]:
    """The plot of levels with their errors, targets, the doses on the axis and a line at now."""
    options = plot_options(plot)
    columns = _columns(tables["doses"])
    rows = zip(columns["time"], columns["amount"], columns["infusion"], strict=True)
    points = [
        {"value": [time, 0.0], "name": f"{amount:g} mg over {length:g} h"}
        for time, amount, length in rows
    ]
    options["series"].append({
        "type": "scatter", "name": "dose", "symbol": "triangle", "symbolSize": 11,
        "itemStyle": {"color": colour("alternative")}, "data": points,
        "label": {**TEXT, "show": len(points) <= 12, "position": "top", "formatter": "{b}"},
        "markLine": {
            "silent": True, "symbol": "none",
            "lineStyle": {"color": colour("strong-line"), "type": "solid"},
            "label": {**TEXT, "formatter": "now"},
            "data": [{"xAxis": 0.0}],
        },
    })  # fmt: skip
    for series in options["series"]:
        if series.get("name") == "level":
            series["symbolSize"] = 8
    options["series"] += [_errors(tables.get("levels")), *map(_target, _rows(tables["targets"]))]
    options["legend"]["data"] += [
        "dose",
        *(s["name"] for s in options["series"] if "markArea" in s),
    ]
    options["yAxis"]["axisLine"] = {**AXIS["axisLine"], "onZero": False}
    options["xAxis"]["name"] = "time from now [h]"
    return options


def _errors(levels: Mapping[str, Any] | None) -> dict[str, Any]:
    """An upright line of one sd of its error to either side of each level."""
    upright: list[list[float | None]] = []
    for row in [] if levels is None else _rows(levels):
        low, high = max(row["measured"] - row["error"], 0.0), row["measured"] + row["error"]
        upright += [[row["time"], low], [row["time"], high], [row["time"], None]]
    return {
        "type": "line", "name": "_error", "id": "errors", "showSymbol": False, "silent": True,
        "data": upright, "lineStyle": {"color": colour("measured"), "width": 1.4}, "z": 5,
    }  # fmt: skip


def _target(row: Mapping[str, Any]) -> dict[str, Any]:
    """A band between the ends of a target that can stand beside levels."""
    line = {"color": colour("setpoint"), "type": "dashed", "width": 1}
    ends = [{"yAxis": row["low"]}, {"yAxis": row["high"]}]
    return {
        "type": "line", "name": f"target: {row['target']}", "data": [], "showSymbol": False,
        "lineStyle": line, "itemStyle": {"color": colour("setpoint")},
        "markLine": {"silent": True, "symbol": "none", "label": {"show": False},
                     "lineStyle": line, "data": ends},
        "markArea": {"silent": True, "data": [ends],
                     "itemStyle": {"color": colour("setpoint"), "opacity": 0.1}},
    }  # fmt: skip


def _columns(table: Mapping[str, Any]) -> dict[str, list[Any]]:
    return {column["name"]: column["data"] for column in table["columns"]}


def _individual(table: Mapping[str, Any]) -> str:
    rows = []
    for row in _rows(table):
        spread = (row["upper"] - row["lower"]) / 3.29
        between = f"{shown.number(row['lower'], spread)} to {shown.number(row['upper'], spread)}"
        value = Html(shown.value_html(shown.number(row["estimate"], spread), row["unit"]))
        rows.append((row["parameter"], value, between, shown.number(row["typical"], spread)))
    return grid(("parameter", "estimate", "90 % interval", "typical"), rows, (1, 2, 3))


def _covariates(table: Mapping[str, Any]) -> str:
    rows = [
        (row["meaning"] or row["covariate"],
         Html(shown.value_html(shown.number(row["value"]),
                               "" if row["unit"] == "1" else row["unit"])))
        for row in _rows(table)
    ]  # fmt: skip
    return grid(("what", "value"), rows, (1,))


def _doses(table: Mapping[str, Any]) -> str:
    rows = [
        (f"{row['time']:.1f}", f"{row['amount']:g}", f"{row['infusion']:g}")
        for row in _rows(table)[::-1]
    ]
    if not rows:
        return '<p class="muted">None was told yet.</p>'
    return grid(("from now [h]", "amount [mg]", "infusion [h]"), rows, (0, 1, 2), "tall")


def _levels(table: Mapping[str, Any] | None) -> str:
    if table is None:
        return '<p class="muted">None was measured yet.</p>'
    rows = [
        (f"{row['time']:.1f}", shown.number(row["measured"]), shown.number(row["error"], 0.1),
         shown.number(row["fitted"], 0.1), shown.number(row["residual"], 0.1))
        for row in _rows(table)[::-1]
    ]  # fmt: skip
    heads = ("from now [h]", "measured [mg/L]", "sd of its error [mg/L]", "fitted [mg/L]",
             "residual [sd]")  # fmt: skip
    return grid(heads, rows, (0, 1, 2, 3, 4), "tall")


def _rows(table: Mapping[str, Any]) -> list[dict[str, Any]]:
    columns = _columns(table)
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


async def patient_tab(page: Page, facts: Facts) -> None:
    """The tab."""
    await Bedside(page, facts).show()
