"""The page of one twin: header, tabs, and the change of its level."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from html import escape
from typing import Any

from nicegui import ui

from galenic.app.views import frame, live_tab, replay_view, shown
from galenic.app.views.facts import Facts
from galenic.app.views.frame import Page, button, html
from galenic.twin.level import Level

MEANS = {
    "model": "No automatic data flow: nothing is read from the plant, nothing is written.",
    "shadow": "It follows the plant's data, forecasts and proposes. It writes nothing.",
    "twin": "It also writes to the plant, within the guard's limits and rates.",
}


async def twin_page(page: Page, id: str, tab: str = "", replay: str = "") -> None:
    """Everything about one twin; with ``replay`` a recorded stretch of it."""
    twin = page.room.runner.twin(id) if page.room.runner is not None else None
    if twin is None:
        frame.empty("No twin runs here.", "Start a project with twins: galenic run PROJECT.toml")
        return
    if replay:
        await replay_view.replay_page(page, twin, replay)
        return
    facts = Facts(twin, page.room.simulated, page.room.runner.fleets.known(id))
    if facts.is_instance and page.room.feed is not None:
        tags = [facts.address(tag) for tag in twin.channels]
        await asyncio.to_thread(page.room.feed.welcome, id, tags)
    _header(page, facts)
    await _tabs(page, facts, tab)


def _header(page: Page, facts: Facts) -> None:
    room, id = page.room, facts.id
    with ui.element("div").classes("row spread"):
        with ui.element("div").classes("row"):
            html(f"<h1>{escape(id)}</h1>")
            badge = (
                html(header_changes(facts, room)["head:level"]["html"])
                .props(
                    f'role=button tabindex=0 aria-label="Level of {escape(id)}: change" '
                    f'data-live="head:level"'
                )
                .style("cursor: pointer")
            )
            badge.on("click", lambda: change_level(page, facts))
            badge.on("keydown.enter", lambda: change_level(page, facts))
            html(header_changes(facts, room)["head:health"]["html"]).props(
                'data-live="head:health"'
            )
        with ui.element("div").classes("row muted small"):
            html(header_changes(facts, room)["head:facts"]["html"]).props('data-live="head:facts"')
            button("Replay", lambda: replay_view.choose(page, facts)).props(
                'aria-label="Replay a recorded stretch" aria-haspopup=dialog'
            )
    page.live(lambda: header_changes(facts, room))


def header_changes(facts: Facts, room: Any) -> dict[str, Any]:
    """Level, health, time, age and speed."""
    message = room.feed.twins.get(facts.id)
    twin = facts.twin
    level = message["level"] if message else twin.level.word
    health = message["health"] if message else twin.health.to_dict()
    age = shown.age(message["age"]) if message else "unknown"
    time = message["time"] if message else twin.now
    kind = "virtual plant" if facts.simulated else "plant"
    words = f"{facts.title} · {kind} time {shown.clock(time)} · newest data {age} old"
    speed = message["speed"] if message else {"asked": 1.0, "held": 1.0, "behind": False}
    if speed["asked"] != 1.0 or speed["behind"]:
        words += f" · speed {speed['held']:.3g}" + (
            f" of {speed['asked']:g} asked" if speed["behind"] else ""
        )
    return {
        "head:level": {"html": frame.level_html(level)},
        "head:health": {"html": frame.health_html(health)},
        "head:facts": {"html": escape(words)},
    }


async def _tabs(page: Page, facts: Facts, first: str) -> None:
    from galenic.app.views import (
        control_tab,
        estimates_tab,
        model_tab,
        patient_tab,
        records,
        what_if,
    )

    tabs: dict[str, Callable[[], Any]] = {}
    if patient_tab.is_patient(facts):
        tabs["Patient"] = lambda: patient_tab.patient_tab(page, facts)
    tabs |= {
        "Live": lambda: live_tab.live_tab(page, facts, page.room),
        "What-if": lambda: what_if.what_if_tab(page, facts),
        "Estimates": lambda: estimates_tab.estimates_tab(page, facts),
        "Control": lambda: control_tab.control_tab(page, facts),
        "Model": lambda: model_tab.model_tab(page, facts),
        "Records": lambda: records.records_of(page, facts.id),
    }
    chosen = first if first in tabs else next(iter(tabs))
    with ui.tabs().props("align=left no-caps dense inline-label") as bar:
        for name in tabs:
            ui.tab(name, label=name)
    built: set[str] = set()
    with ui.tab_panels(bar, value=chosen, animated=False, keep_alive=True).style("width: 100%"):
        panels = {name: ui.tab_panel(name) for name in tabs}

    async def build(name: str) -> None:
        """A tab is made when it is first looked at."""
        if name in built:
            return
        built.add(name)
        with panels[name]:
            made = tabs[name]()
            if made is not None:
                await made

    bar.on_value_change(lambda event: build(event.value))
    await build(chosen)


def change_level(page: Page, facts: Facts) -> None:
    """Ask for the new level and why, and give the command."""
    now = facts.twin.level
    words = [level.word for level in Level]
    chosen: dict[str, Any] = {}

    def content() -> None:
        chosen["level"] = ui.radio(
            {word: f"{word.upper()}: {MEANS[word]}" for word in words}, value=now.word
        ).props("dense")
        html(
            f'<p class="muted small">Signed as {escape(page.who.name)}. Health: '
            f"{escape(facts.twin.health.words)}</p>"
        )

    async def act(reason: str) -> bool:
        to = chosen["level"].value
        if to == facts.twin.level.word:
            frame.said(f"{facts.id} is at level {to} already")
            return False
        job = await page.call("twins.level", {"twin": facts.id, "to": to, "reason": reason})
        if job is not None:
            frame.said(f"{facts.id} is now at level {facts.twin.level.word}")
        return job is not None

    frame.confirm(
        f"Level of {facts.id}",
        "Change the level",
        act,
        explain=f"Now {now.word.upper()}. The change, your name and the reason go into the ledger.",
        content=content,
    )


__all__ = ["button", "change_level", "twin_page"]
