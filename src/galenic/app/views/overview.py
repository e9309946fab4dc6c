"""The overview: every twin, what needs attention first."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from html import escape
from typing import Any

from nicegui import ui

from galenic.app.permissions import sees_all
from galenic.app.views import frame, shown
from galenic.app.views.facts import Facts, estimate_text
from galenic.app.views.feed import Feed, since, thin
from galenic.app.views.fleets import REFRESH, counts
from galenic.app.views.frame import Page, html
from galenic.app.views.room import Room
from galenic.app.views.theme import SIGNS
from galenic.twin.outlook import crossing

ORDER = {"lost": 0, "degraded": 1, "good": 2}
SPAN = 1800 * shown.SECOND


def overview_page(page: Page) -> None:
    """One card per twin, sorted by what needs attention, and one per fleet."""
    html("<h1>Overview</h1>")
    room = page.room
    fleets_here = room.fleets if sees_all(page.who) else []
    if room.feed is None or not (room.twins(page.who) or fleets_here):
        frame.empty(
            "No twin runs here yet.",
            "Name one under [[twin]] in the project file and start it again.",
        )
        return
    feed = room.feed
    known = [Facts(room.runner.twin(id), room.simulated) for id in room.twins(page.who)]
    for facts in sorted(known, key=urgency):
        html(card(facts, feed, room.now()))
        page.live(partial(_changes, facts, room))
    for name in fleets_here:
        _fleet(page, name)


def _fleet(page: Page, name: str) -> None:
    """The card of a fleet: how its instances are, and what stands."""
    id = escape(name)
    with html("", "a").classes("card twin-card fleet-card") as card_:
        card_.props(f'data-row href="/fleets?fleet={id}" aria-label="Fleet {id}"')

    async def show() -> None:
        rows = await asyncio.to_thread(page.room.runner.overview, name)
        card_.set_content(f'<div><h2>{id}</h2><div class="muted small">fleet</div></div>'
                          f"{counts(rows)}")  # fmt: skip

    ui.timer(REFRESH, show)


def _changes(facts: Facts, room: Room) -> dict[str, Any]:
    assert room.feed is not None
    return card_changes(facts, room.feed, room.now())


def urgency(facts: Facts) -> tuple[int, int, str]:
    """Health first, then the worst alarm, then the name."""
    words = list(SIGNS)
    worst = [words.index(alarm.severity) for alarm in facts.twin.alarms.standing() if alarm.active]
    return ORDER[facts.twin.health.state], min(worst, default=len(words)), facts.id


def card(facts: Facts, feed: Feed, now: int) -> str:
    """The card of one twin."""
    state = card_changes(facts, feed, now)
    id = facts.id

    def cell(name: str, tag: str = "span", css: str = "") -> str:
        return (
            f'<{tag} class="{css}" data-live="over:{escape(id)}:{name}">'
            f"{state[f'over:{id}:{name}']['html']}</{tag}>"
        )

    figures = "".join(cell(f"figure{i}", "div", "figure") for i in range(2))
    return (
        f'<a class="card twin-card" data-row href="/twin/{escape(id)}" aria-label="Twin '
        f'{escape(id)}">'
        f'<div><div class="row"><h2>{escape(id)}</h2>{cell("level")}</div>'
        f'<div class="muted small">{escape(facts.title)} · {cell("age")}</div></div>'
        f'<div>{figures}</div><div class="row" '
        f'style="flex-direction:column;align-items:flex-start">'
        f"{cell('health')}{cell('next', css='muted')}{cell('alarms')}</div></a>"
    )


def card_changes(facts: Facts, feed: Feed, now: int) -> dict[str, Any]:
    """The parts of a card that move."""
    id, twin = facts.id, facts.twin
    message = feed.twins.get(id)
    health = message["health"] if message else twin.health.to_dict()
    level = message["level"] if message else twin.level.word
    parts = {
        "level": frame.level_html(level),
        "health": frame.health_html(health),
        "age": f"data {shown.age(message['age'])} old" if message else "waiting for the first data",
        "next": escape(outlook_text(facts, feed, now)),
        "alarms": alarms_html(message["alarms"] if message else [], now),
    }
    for i in range(2):
        paths = twin.definition.shown[i : i + 1]
        parts[f"figure{i}"] = figure(facts, feed, paths[0], now) if paths else ""
    return {f"over:{id}:{name}": {"html": text} for name, text in parts.items()}


def figure(facts: Facts, feed: Feed, path: str, now: int) -> str:
    """A key figure with its recent course."""
    message = feed.twins.get(facts.id)
    text, unit = estimate_text(message["estimates"].get(path) if message else None)
    value = shown.value_html(
        text, unit, css="big" if text != shown.NONE else "big none", title="estimated"
    )
    points = since(feed.estimated.get((facts.id, path), ()), now - SPAN)
    return (
        f'{spark(points)}<div class="figure-text"><div class="muted small">'
        f"{escape(facts.meaning(path))}</div>{value}</div>"
    )


def spark(points: Sequence[Sequence[Any]]) -> str:
    """The recent course as a small line."""
    kept = thin(points, 80)
    if len(kept) < 2:
        return '<svg class="spark" aria-hidden="true" viewBox="0 0 160 32"></svg>'
    times, values = [p[0] for p in kept], [p[1] for p in kept]
    low, high = min(values), max(values)
    pad = max(high - low, 1e-3 * abs(high), 1e-12) * 0.1
    low, high = low - pad, high + pad
    span = times[-1] - times[0]
    path = "L".join(
        f"{2 + 156 * (t - times[0]) / span:.1f} {30 - 28 * (v - low) / (high - low):.1f}"
        for t, v in zip(times, values, strict=True)
    )
    return f'<svg class="spark" aria-hidden="true" viewBox="0 0 160 32"><path d="M{path}"/></svg>'


def outlook_text(facts: Facts, feed: Feed, now: int) -> str:
    """The next predicted event in words."""
    forecast = feed.forecasts.get(facts.id)
    limits = facts.limits()
    if forecast is None or not limits:
        return "" if not limits else "no forecast yet"
    found = []
    for path, (low, high) in limits.items():
        row = forecast["series"].get(path)
        made = crossing(forecast["times"], row["mean"], row["sd"], low, high) if row else None
        if made is not None:
            found.append((made, path))
    if not found:
        ahead = (forecast["times"][-1] - forecast["times"][0]) / shown.SECOND
        return f"expected within limits for {shown.age(ahead)}"
    made, path = min(found, key=lambda one: (one[0].probability < 0.5, one[0].after))
    left = made.after - (now - forecast["times"][0]) / shown.SECOND
    when = "now" if left < 15 else f"in {shown.age(left)}"
    return f"{facts.meaning(path)} {made.side} its limits {when}, {made.probability:.0%} likely"


def alarms_html(alarms: Sequence[Mapping[str, Any]], now: int) -> str:
    """The worst two alarms, and how many more."""
    active = [alarm for alarm in alarms if alarm["active"]]
    more = f'<div class="muted small">and {len(active) - 2} more</div>' if len(active) > 2 else ""
    return "".join(f"<div>{frame.alarm_html(a, now)}</div>" for a in active[:2]) + more
