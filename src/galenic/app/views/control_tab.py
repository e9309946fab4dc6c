"""Control: targets, limits, what is proposed and why, what waits for a person, levels per tag."""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape
from typing import Any

from nicegui import ui

from galenic.app.views import frame, shown
from galenic.app.views.exports import menu
from galenic.app.views.facts import Facts
from galenic.app.views.frame import Page, button, html
from galenic.app.views.tables import Html, grid
from galenic.app.views.theme import AXIS, SEVERAL, TOOLTIP, colour
from galenic.twin import look
from galenic.twin.level import Level
from galenic.units import from_si

PERIOD = 2.0
WORDS = {
    "allow": "allowed",
    "refuse": "refused",
    "wait": "waits for approval",
    "same": "no change needed",
    "advice": "advice: not at level TWIN",
}


class Control:
    """The tab; its parts are made anew when what they show has changed."""

    def __init__(self, page: Page, facts: Facts) -> None:
        self.page, self.facts = page, facts
        self.shown: dict[str, Any] = {}
        self.proposed: Mapping[str, Any] = {}
        with ui.element("div").classes("columns"):
            with ui.element("section").classes("card span-5"):
                html("<h2>Targets</h2>")
                self.targets = ui.element("div")
            with ui.element("section").classes("card span-7"):
                html("<h2>Last proposal</h2>")
                self.proposal = html('<p class="muted">reading…</p>')
                self.waiting = ui.element("div")
            with ui.element("section").classes("card span-12"):
                html("<h2>Limits and moves</h2>")
                self.moves = html("")
            with ui.element("section").classes("card span-12"):
                with ui.element("div").classes("row spread"):
                    html("<h2>Planned moves</h2>")
                    menu(f"{facts.id} plan", page.room.site, None, self._plan_table)
                self.plan = ui.element("div").style("width: 100%")
            with ui.element("section").classes("card span-12"):
                with ui.element("div").classes("row spread"):
                    html("<h2>Level of each writable tag</h2>")
                    button("Change the level of one tag", self.change_tag)
                self.levels = html("")
        ui.timer(0.05, self.update, once=True)
        ui.timer(PERIOD, self.update)

    async def update(self) -> None:
        """Look again."""
        facts = await self.page.room.ask(self.facts.id, look.recommend)
        status = await self.page.room.ask(self.facts.id, look.status)
        self.proposed = facts
        if self._new("targets", facts["targets"]):
            self._targets(facts["targets"])
        self.proposal.set_content(self._words(facts))
        if self._new("waiting", facts["waiting"]):
            self._waiting(facts["waiting"])
        self.moves.set_content(self._moves(facts, status["levels"]))
        if self._new("plan", facts["time"]):
            self._plan(facts)
        self.levels.set_content(self._levels(status["levels"]))

    def _new(self, key: str, value: Any) -> bool:
        before = self.shown.get(key, frame)
        self.shown[key] = value
        return bool(before != value)

    def _targets(self, targets: Mapping[str, Any]) -> None:
        self.targets.clear()
        with self.targets:
            if not targets:
                frame.empty(
                    "No targets are set.",
                    "Set them in the definition, or with galenic twins target.",
                )
            for path, row in targets.items():
                with ui.element("div").classes("row spread pair").style("padding: 3px 0"):
                    html(
                        f'<span title="{escape(path)}">{escape(self.facts.meaning(path))}</span> '
                        f"{shown.value_html(shown.number(row['value']), row['unit'])}"
                    )
                    button(
                        "Change", lambda path=path, row=row: self.change_target(path, row)
                    ).props(f'aria-label="Change the target of {escape(self.facts.meaning(path))}"')

    def _words(self, facts: Mapping[str, Any]) -> str:
        proposal = facts["proposal"]
        if not facts["time"] or not proposal:
            return (
                '<p class="muted">The controller has not answered yet. At level MODEL it does not '
                "run.</p>"
            )
        moves = "".join(
            f"<li>{escape(path)}: {shown.value_html(shown.number(value), unit)}</li>"
            for path, (value, unit) in proposal.get("display", {}).items()
        )
        reasons = (
            "".join(f"<li>{escape(r)}</li>" for r in proposal.get("reasons", ()))
            or "<li>none was given</li>"
        )
        slack = "".join(
            f"<li>{escape(path)} is expected beyond its soft limit</li>"
            for path in proposal.get("slack", {})
        )
        return (
            f'<p class="muted small">{shown.clock(facts["time"])}, '
            f"{escape(str(proposal.get('status', '')))} in "
            f"{proposal.get('elapsed', 0.0):.2f} s; time-outs in a row: {facts['timeouts']}</p>"
            f'<div class="columns"><div class="span-6"><h3>Moves</h3><ul>{moves}</ul></div>'
            f'<div class="span-6"><h3>Reasons</h3><ul>{reasons}{slack}</ul></div></div>'
        )

    def _waiting(self, waiting: Mapping[str, Any]) -> None:
        self.waiting.clear()
        with self.waiting:
            for key, row in waiting.items():
                unit = self.facts.twin.channels[row["tag"]].binding.unit
                text = f"{shown.number(row['value'])} {unit if unit != '1' else ''}".strip()
                with ui.element("div").classes("row spread"):
                    html(
                        f"<b>{escape(row['tag'])} → {escape(text)}</b> waits for approval until "
                        f"{shown.clock(row['expires'])}: {escape(row['reason'])}"
                    )
                    with ui.element("div").classes("row"):
                        button(
                            "Reject",
                            lambda key=key, row=row, text=text: self.decide(
                                "reject", key, row, text
                            ),
                        )
                        button(
                            f"Write {text} to {row['tag']}",
                            lambda key=key, row=row, text=text: self.decide(
                                "approve", key, row, text
                            ),
                            main=True,
                        )

    def _moves(self, facts: Mapping[str, Any], levels: Mapping[str, str]) -> str:
        verdicts = {v["move"]["tag"]: v for v in facts["verdicts"]}
        feed, now = self.page.room.feed, self.page.room.now()
        rows = []
        for rule in self.facts.twin.definition.guard.rules:
            unit = self.facts.twin.channels[rule.tag].binding.unit
            verdict = verdicts.get(rule.tag)
            wanted = verdict["move"]["value"] if verdict else None
            here = Html(self.facts.tag_html(feed, rule.tag, "", now)) if feed else ""
            proposed = Html(shown.value_html(shown.number(wanted), unit)) if verdict else ""
            said = WORDS.get(verdict["outcome"], verdict["outcome"]) if verdict else ""
            why = f"{said}: {verdict['why']}" if verdict and verdict["why"] else said
            rows.append(
                [
                    rule.tag,
                    here,
                    proposed,
                    why,
                    _limit(rule.low, unit),
                    _limit(rule.high, unit),
                    "" if math.isinf(rule.rate) else f"{rule.rate:g} {unit}/min",
                    "yes" if rule.approval else "",
                    levels.get(rule.tag, ""),
                ]
            )
        heads = [
            "tag",
            "now",
            "proposed",
            "the guard says",
            "lowest",
            "highest",
            "fastest",
            "approval",
            "level",
        ]
        return grid(heads, rows, (1, 2, 4, 5, 6))

    def _plan(self, facts: Mapping[str, Any]) -> None:
        self.plan.clear()
        proposal = facts["proposal"]
        with self.plan:
            if not proposal.get("plan"):
                frame.empty("There is no plan yet.", "It appears when the controller has answered.")
                return
            with ui.element("div").classes("columns"):
                groups = (
                    ("moves", proposal["plan"]),
                    ("predicted under the plan", proposal.get("forecast", {})),
                )
                for title, rows in groups:
                    for path, values in rows.items():
                        with ui.element("figure").classes("span-3").style("margin: 0"):
                            html(
                                f'<h3 title="{escape(path)}">{escape(path)} <span class=small>'
                                f"{title}</span></h3>"
                            )
                            options = self._curve(path, proposal, values, title == "moves")
                            ui.echart(options, renderer="svg").style("height: 130px; width: 100%")

    def _plan_table(self) -> dict[str, Any]:
        """Moves and what is predicted under them, for a download."""
        proposal = self.proposed.get("proposal") or {}
        times = [round(float(time), 3) for time in proposal.get("times", ())]
        columns = [{"name": "time from the proposal", "unit": "s", "data": times}]
        for group, word in (("plan", "move"), ("forecast", "predicted")):
            for path, values in proposal.get(group, {}).items():
                unit = proposal["units"].get(path, "1")
                data: list[float | None] = [float(from_si(value, unit)) for value in values]
                data = [*data, *[None] * len(times)][: len(times)]
                columns.append({"name": f"{path} {word}", "unit": unit, "data": data})
        return {"title": f"plan of {self.facts.id}", "columns": columns}

    def _curve(
        self, path: str, proposal: Mapping[str, Any], values: Any, steps: bool
    ) -> dict[str, Any]:
        unit = proposal["units"].get(path, "1")
        shown_values = [float(from_si(value, unit)) for value in values]
        data = [
            [time / 60.0, value]
            for time, value in zip(proposal["times"], shown_values, strict=False)
        ]
        tone = colour(SEVERAL[0])
        return {
            "animation": False,
            "grid": {"left": 52, "right": 8, "top": 20, "bottom": 22},
            "xAxis": {
                "type": "value",
                "min": 0,
                **AXIS,
                "axisLabel": {**AXIS["axisLabel"], "formatter": "{value} min"},
                "splitNumber": 3,
            },
            "yAxis": {
                "type": "value",
                "scale": True,
                "splitNumber": 3,
                **AXIS,
                "name": "" if unit == "1" else unit,
            },
            "tooltip": TOOLTIP,
            "series": [
                {
                    "type": "line",
                    "step": "start" if steps else False,
                    "showSymbol": False,
                    "data": data,
                    "lineStyle": {"color": tone, "width": 1.6, "type": "dashed"},
                    "itemStyle": {"color": tone},
                }
            ],
        }

    def _levels(self, levels: Mapping[str, str]) -> str:
        rows = [[tag, Html(frame.level_html(word))] for tag, word in levels.items()]
        return (
            grid(["tag", "level"], rows) if rows else '<p class="muted">It writes to nothing.</p>'
        )

    def decide(self, verb: str, key: str, row: Mapping[str, Any], text: str) -> None:
        """Approve or reject a move that waits."""

        async def act(reason: str) -> bool:
            given = {"twin": self.facts.id, "key": key, "reason": reason}
            return await self.page.call(f"twins.{verb}", given) is not None

        name = (
            f"Write {text} to {row['tag']}"
            if verb == "approve"
            else f"Reject {row['tag']} → {text}"
        )
        frame.confirm(name, name, act, explain=str(row["reason"]))

    def change_target(self, path: str, row: Mapping[str, Any]) -> None:
        """Ask for a new target and why."""
        box: dict[str, Any] = {}

        def content() -> None:
            html(f"Now {shown.value_html(shown.number(row['value']), row['unit'])}")
            box["to"] = ui.input("New target", value=f"{row['value']:g}").props(
                f'outlined dense suffix="{row["unit"]}" inputmode=decimal'
            )

        async def act(reason: str) -> bool:
            to = (
                f"{box['to'].value} {row['unit']}".strip()
                if row["unit"] != "1"
                else box["to"].value
            )
            given = {"twin": self.facts.id, "quantity": path, "to": to, "reason": reason}
            return await self.page.call("twins.target", given) is not None

        frame.confirm(
            f"Target of {self.facts.meaning(path)}", "Set the target", act, content=content
        )

    def change_tag(self) -> None:
        """Ask for a tag, its level and why."""
        box: dict[str, Any] = {}

        def content() -> None:
            tags = list(self.facts.twin.levels.tags)
            box["tag"] = ui.select(tags, value=tags[0] if tags else None, label="tag").props(
                "outlined dense"
            )
            box["to"] = ui.select(
                [level.word for level in Level], value="shadow", label="level"
            ).props("outlined dense")

        async def act(reason: str) -> bool:
            given = {
                "twin": self.facts.id,
                "to": box["to"].value,
                "tags": [box["tag"].value],
                "reason": reason,
            }
            return await self.page.call("twins.level", given) is not None

        frame.confirm("Level of one tag", "Change the level", act, content=content)


def _limit(value: float, unit: str) -> Html:
    return Html("" if math.isinf(value) else shown.value_html(shown.number(value), unit))


def control_tab(page: Page, facts: Facts) -> None:
    """The tab."""
    Control(page, facts)
