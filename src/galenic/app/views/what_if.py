"""What-if: other inputs side by side with the running forecast, and a way to propose them."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from nicegui import ui

from galenic.app.views import frame, shown
from galenic.app.views.facts import Facts
from galenic.app.views.frame import Page, button, html
from galenic.app.views.results import downloads, plot_options
from galenic.app.views.tables import Html, grid
from galenic.twin.level import Level

STEPS = 200
SAME = 1e-9


class WhatIf:
    """Sliders for what can be moved, both forecasts, and their differences."""

    def __init__(self, page: Page, facts: Facts) -> None:
        self.page, self.facts = page, facts
        self.start: dict[str, float] = {}
        self.sliders: dict[str, Any] = {}
        with ui.element("div").classes("columns"):
            with ui.element("section").classes("card span-4"):
                html(
                    '<h2>Inputs</h2><p class="muted small">Ends of each slider are the limits of '
                    "the guard. "
                    "Nothing is written until you propose it.</p>"
                )
                for rule in facts.twin.definition.guard.rules:
                    self._slider(rule)
                if not self.sliders:
                    frame.empty(
                        "This twin has no inputs that may be moved.",
                        "Give its definition a guard with rules.",
                    )
                with ui.element("div").classes("row"):
                    button("Compare", self.compare, main=True)
                    button("As it is now", self.reset)
                    self.go = button("Propose this", self.propose)
            with ui.element("section").classes("span-8"):
                self.place = ui.element("div").classes("page").style("padding: 0")
        with self.place:
            frame.empty("Nothing to compare yet.", "Move a slider; both forecasts appear here.")

    def _slider(self, rule: Any) -> None:
        channel = self.facts.twin.channels[rule.tag]
        sample = None
        if self.page.room.feed is not None:
            sample = self.page.room.feed.newest(self.facts.address(rule.tag))
        value = sample["value"] if sample else None
        if channel.role != "input" or isinstance(value, bool | str) or value is None:
            return
        low, high = min(rule.low, value), max(rule.high, value)
        if not low > -1e300 or not high < 1e300:
            return
        unit = channel.binding.unit
        step = (high - low) / STEPS
        self.start[rule.tag] = float(value)
        with ui.element("div"):
            label = html(self._label(rule.tag, unit, float(value)))
            slider = ui.slider(min=low, max=high, step=step, value=value).props(
                f'aria-label="{rule.tag} in {unit}" dense'
            )
            slider.on_value_change(
                lambda e, tag=rule.tag: label.set_content(self._label(tag, unit, e.value))
            )
            slider.on("change", self.compare)
            html(
                f'<div class="row spread muted small"><span>{shown.number(low)} {escape(unit)}'
                f"</span>"
                f"<span>{shown.number(high)} {escape(unit)}</span></div>"
            )
        self.sliders[rule.tag] = slider

    def _label(self, tag: str, unit: str, value: float) -> str:
        was = self.start[tag]
        text = f"<span>{escape(tag)}</span>"
        before = (
            f'<span class="muted">{shown.number(was)} → </span>' if abs(value - was) > SAME else ""
        )
        return (
            f'<div class="row spread">{text}<span>{before}'
            f"{shown.value_html(shown.number(value), unit)}</span></div>"
        )

    def changes(self) -> dict[str, float]:
        """Tags whose slider was moved, in the unit of the tag."""
        step = {tag: 0.6 * float(s._props["step"]) for tag, s in self.sliders.items()}
        return {
            t: float(s.value)
            for t, s in self.sliders.items()
            if abs(s.value - self.start[t]) > step[t]
        }

    def reset(self) -> None:
        """Sliders back to what the plant has."""
        for tag, slider in self.sliders.items():
            slider.value = self.start[tag]

    async def compare(self) -> None:
        """Ask for both forecasts."""
        self.place.clear()
        with self.place:
            html('<div class="state" role="status"><span>Forecasting both…</span></div>')
        changes = {
            tag: f"{value:.6g} {self._unit(tag)}".strip() for tag, value in self.changes().items()
        }
        job = await self.page.call("twins.what_if", {"twin": self.facts.id, "changes": changes})
        self.place.clear()
        with self.place:
            if job is None or job.result is None:
                frame.empty("There is no comparison.", "Change the inputs and compare again.")
                return
            self._show(job.result.to_dict(), bool(changes))

    def _unit(self, tag: str) -> str:
        unit = str(self.facts.twin.channels[tag].binding.unit)
        return "" if unit == "1" else unit

    def _show(self, result: Mapping[str, Any], changed: bool) -> None:
        with ui.element("div").classes("card"):
            html("<h2>At the end of the forecast</h2>" + self._differences(result))
            if not changed:
                html(
                    '<p class="muted small">No input differs from what the plant has; both '
                    "forecasts are the same.</p>"
                )
        with ui.element("div").classes("columns"):
            for plot in result.get("plots", ()):
                with ui.element("figure").classes("card span-6").style("margin: 0"):
                    words = self.facts.meaning(plot["title"])
                    both, holder = side_by_side(plot), dict[str, Any]()
                    with ui.element("div").classes("row spread pair"):
                        html(f"<h3>{escape(words)}</h3>")
                        downloads(f"what-if {words}", self.facts.id, both, holder)
                    chart = ui.echart(plot_options(both), renderer="svg")
                    holder["chart"] = chart.style("height: 210px; width: 100%").props(
                        f'role=img aria-label="{escape(words)} as it runs and changed"'
                    )

    def _differences(self, result: Mapping[str, Any]) -> str:
        limits = self.facts.limits()
        rows = []
        for plot in result.get("plots", ()):
            path, (now, then) = plot["title"], plot["y"]
            a, b, unit = now["data"][-1], then["data"][-1], now.get("unit", "")
            spread = (then["upper"][-1] - then["lower"][-1]) / 3.29
            inside = _within(limits.get(path), b)
            rows.append(
                [
                    self.facts.meaning(path),
                    Html(shown.value_html(shown.number(a, spread), unit)),
                    Html(shown.value_html(shown.with_spread(b, spread), unit)),
                    Html(shown.value_html(_apart(b - a, spread), unit)),
                    inside,
                ]
            )
        return grid(["quantity", "as it runs", "changed", "difference", "limits"], rows, (1, 2, 3))

    def propose(self) -> None:
        """Hand the changed inputs to the guard, each by its own command."""
        changes = self.changes()
        if not changes:
            frame.said("No input differs from what the plant has. Move a slider first.")
            return
        acts = self.facts.twin.level is Level.TWIN
        lines = [
            f"{tag}: {shown.number(self.start[tag])} → {shown.number(value)} {self._unit(tag)}"
            for tag, value in changes.items()
        ]
        verb = ("Write " if acts else "Propose ") + "; ".join(
            f"{shown.number(v)} {self._unit(t)} to {t}" for t, v in changes.items()
        )

        async def act(reason: str) -> bool:
            followed = []
            for tag, value in changes.items():
                given = {
                    "twin": self.facts.id,
                    "tag": tag,
                    "to": f"{value:.6g} {self._unit(tag)}".strip(),
                    "reason": reason,
                }
                job = await self.page.call("twins.setpoint", given)
                if job is None:
                    return False
                followed += [row for table in job.result.tables for row in table.rows()]
            frame.said(
                "\n".join(f"{what} {of}: {says}" for what, of, says in followed) or "recorded"
            )
            return True

        explain = "The guard checks range, rate, interlocks and age of data first." + (
            "" if acts else " The twin is not at level TWIN, so nothing will be written."
        )
        frame.confirm(
            "Propose these inputs",
            verb,
            act,
            explain=explain,
            content=lambda: html("<br>".join(map(escape, lines))),
        )


def _apart(change: float, spread: float) -> str:
    """A difference with its sign, to a tenth of the uncertainty.

    Examples
    --------
    >>> _apart(-0.021, 0.08), _apart(0.0004, 0.08)
    ('−0.021', '0')
    """
    text = shown.number(abs(change), spread / 10)
    if not text.strip("0."):
        return "0"
    return ("+" if change > 0 else "−") + text


def _within(limits: tuple[float, float] | None, value: float) -> str:
    if limits is None:
        return ""
    low, high = limits
    words = f"{shown.number(low)} to {shown.number(high)}"
    return f"inside {words}" if low <= value <= high else f"OUTSIDE {words}"


def side_by_side(plot: Mapping[str, Any]) -> dict[str, Any]:
    """The plot of a comparison with plain names for its two curves."""
    now, then = plot["y"]
    return {
        **plot,
        "y": [{**now, "name": "as it runs"}, {**then, "name": "changed", "style": "alternative"}],
    }


def what_if_tab(page: Page, facts: Facts) -> None:
    """The tab."""
    WhatIf(page, facts)
