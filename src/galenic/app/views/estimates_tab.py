"""Estimates: what the twin has learned - parameters before and now - and how well it fits."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from nicegui import ui

from galenic.app.views import shown
from galenic.app.views.facts import Facts, named
from galenic.app.views.frame import Page, html
from galenic.app.views.tables import Html, grid
from galenic.inference import diagnose

PERIOD = 4.0
WIDTH = 160


def look(twin: Any) -> dict[str, Any]:
    """Prior, posterior and innovations of a twin, in declared units; for `Runner.ask`."""
    prior = twin.estimator.start(None, twin.now)
    belief = twin.belief
    states = {entry.path for entry in twin.system.states}
    return {
        "prior": prior.to_dict()["quantities"],
        "now": belief.to_dict()["quantities"],
        "states": states,
        "time": belief.time,
        "tags": dict(twin.fold.state.monitor.tags),
    }


def estimates_tab(page: Page, facts: Facts) -> None:
    """Tables that are made anew every few seconds."""
    with ui.element("section").classes("card"):
        html(
            '<h2>Parameters and disturbances</h2><p class="muted small">Before any data (grey '
            "bar) and now (blue bar), "
            "each with its 90 % interval.</p>"
        )
        parameters = html('<p class="muted">reading…</p>')
    with ui.element("section").classes("card"):
        html(
            '<h2>Innovations</h2><p class="muted small">Each measurement against what was '
            "expected, in standard "
            "deviations; the last 20 of each tag. Lines at ±2.</p>"
        )
        innovations = html('<p class="muted">reading…</p>')
    with ui.element("section").classes("card"):
        html("<h2>States</h2>")
        states = html('<p class="muted">reading…</p>')

    async def show() -> None:
        found = await page.room.ask(facts.id, look)
        names = found["now"]
        learned = [name for name in names if name not in found["states"]]
        parameters.set_content(parameter_table(facts, found, learned))
        innovations.set_content(innovation_table(facts, found["tags"]))
        rows = [
            [Html(named(facts, name)), name, Html(_value(names[name]))]
            for name in names
            if name in found["states"]
        ]
        states.set_content(grid(["state", "name", "now"], rows, (2,), "tall"))

    ui.timer(0.05, show, once=True)
    ui.timer(PERIOD, show)


def _value(row: Mapping[str, Any]) -> str:
    return shown.value_html(shown.with_spread(row["value"], row["sd"]), row["unit"])


def parameter_table(facts: Facts, found: Mapping[str, Any], names: list[str]) -> str:
    """Prior and posterior of each parameter that is estimated."""
    if not names:
        return '<p class="muted">This twin estimates its states only.</p>'
    rows = []
    for name in names:
        before, now = found["prior"].get(name), found["now"][name]
        learned = (
            f"{max(0.0, 1.0 - now['sd'] / before['sd']):.0%}" if before and before["sd"] > 0 else ""
        )
        rows.append(
            [
                Html(named(facts, name)),
                name,
                Html(_value(before)) if before else "",
                Html(_value(now)),
                Html(_bars(before, now)) if before else "",
                learned,
            ]
        )
    heads = ["parameter", "name", "before", "now", "90 % before and now", "uncertainty removed"]
    return grid(heads, rows, (2, 3, 5))


def _bars(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Two intervals on one scale."""
    low, high = min(before["lower"], now["lower"]), max(before["upper"], now["upper"])
    span = (high - low) or 1.0

    def bar(row: Mapping[str, Any], y: int, css: str) -> str:
        a, b = (WIDTH * (row[end] - low) / span for end in ("lower", "upper"))
        at = WIDTH * (row["value"] - low) / span
        return (
            f'<rect x="{a:.1f}" y="{y}" width="{max(1.0, b - a):.1f}" height="6" fill="var(--{css}'
            f')"/>'
            f'<rect x="{at - 1:.1f}" y="{y - 1}" width="2" height="8" fill="var(--text)"/>'
        )

    return (
        f'<svg width="{WIDTH}" height="20" aria-hidden="true">{bar(before, 2, "range")}'
        f"{bar(now, 12, 'accent')}</svg>"
    )


def innovation_table(facts: Facts, tags: Mapping[str, Any]) -> str:
    """Residual tests of each tag."""
    rows = []
    for tag, watch in sorted(tags.items()):
        z = list(watch.innovations)
        if not z:
            continue
        fit = diagnose.consistency([value**2 for value in z])
        white = diagnose.ljung_box(z).p if len(z) >= 8 else None
        verdict = {
            "consistent": "as expected",
            "overconfident": "larger than expected",
            "underconfident": "smaller than expected",
        }[fit["verdict"]]
        rows.append(
            [
                tag,
                Html(_dots(z)),
                f"{sum(z) / len(z):+.2f}",
                f"{fit['mean']:.2f}",
                f"{fit['lower']:.2f} to {fit['upper']:.2f}",
                verdict,
                "" if white is None else ("yes" if white > 0.01 else "no"),
                str(watch.accepted),
                str(watch.rejected),
            ]
        )
    if not rows:
        return '<p class="muted">No measurement has been compared with the model yet.</p>'
    heads = [
        "tag",
        "last innovations",
        "mean",
        "mean square",
        "95 % band",
        "size",
        "independent",
        "accepted",
        "rejected",
    ]
    return grid(heads, rows, (2, 3, 4, 7, 8))


def _dots(z: list[float]) -> str:
    points = "".join(
        f'<circle cx="{6 + 7.4 * i:.1f}" cy="{16 - 3.5 * max(-4.0, min(4.0, value)):.1f}" r="2" '
        f'fill="var(--{"high" if abs(value) > 3 else "measured"})"/>'
        for i, value in enumerate(z[-20:])
    )
    lines = "".join(
        f'<line x1="0" x2="{WIDTH}" y1="{y}" y2="{y}" stroke="var(--line)"/>' for y in (9, 16, 23)
    )
    words = ", ".join(f"{value:+.1f}" for value in z[-20:])
    return (
        f'<svg width="{WIDTH}" height="32" role="img" aria-label="{escape(words)}">{lines}{points}'
        f"</svg>"
    )
