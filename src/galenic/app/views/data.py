"""Data: sources, tags with age and quality, bypass of a sensor, laboratory values by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from html import escape
from typing import Any

from nicegui import ui

from galenic.app.api.twins import newest
from galenic.app.permissions import sees_all
from galenic.app.views import frame, shown
from galenic.app.views.facts import Facts
from galenic.app.views.frame import Page, button, html
from galenic.app.views.quality import DataQuality
from galenic.app.views.tables import Html, grid
from galenic.signals import Quality
from galenic.twin.binding import MANUAL

COUNTS = (
    "received",
    "accepted",
    "duplicates",
    "rejected",
    "late",
    "conflicts",
    "future",
    "ignored",
)
ENTRIES = 20
LOOKED = 500  # entries and corrections looked at
HAND = ("entry", "correction")


def data_page(page: Page) -> None:
    """Connections first, then the tags of each twin."""
    html("<h1>Data</h1>")
    room = page.room
    if room.runner is None or room.feed is None:
        frame.empty(
            "No sources are connected here.", "Name them under [[connection]] in the project file."
        )
        return
    with ui.element("section").classes("card"):
        html("<h2>Sources</h2>")
        html(sources(room)).props('data-live="sources"')
    page.live(lambda: {"sources": {"html": sources(room)}})
    if sees_all(page.who):
        DataQuality(page)
    for id in room.twins():
        facts = Facts(room.runner.twin(id), room.simulated)
        if any(c.binding.connection == MANUAL for c in facts.twin.channels.values()):
            Laboratory(page, facts)
        _tags(page, facts)


def sources(room: Any) -> str:
    """Connections with state, since when, why, and queues."""
    rows = []
    for name, status in room.runner.status()["connections"].items():
        up = status["connected"]
        word = (
            '<span class="health good"><span class="lamp"></span>connected</span>'
            if up
            else (
                '<span class="alarm high"><span class="sign">▲</span><span>not connected</span>'
                "</span>"
            )
        )
        since = shown.age((room.now() - status["since"]) / shown.SECOND)
        queue = status["queue"]
        words = (
            ", ".join(
                f"{k} {v}" for k, v in queue.items() if isinstance(v, int) and v and k != "capacity"
            )
            if isinstance(queue, dict)
            else ""
        )
        rows.append(
            [
                name,
                Html(word),
                since,
                "" if up else status["reason"],
                str(status["attempts"] or ""),
                words,
            ]
        )
    if not rows:
        return '<p class="muted">No connection is named in the project file.</p>'
    return grid(["source", "state", "since", "reason", "failed attempts", "queue"], rows)


def _tags(page: Page, facts: Facts) -> None:
    room, id = page.room, facts.id
    with ui.element("section").classes("card"):
        with ui.element("div").classes("row spread"):
            html(f"<h2>Tags of {escape(id)}</h2>")
            button("Bypass a sensor", lambda: bypass(page, facts))
        bypasses = ui.element("div")
        html(tag_table(facts, room)).props(f'data-live="tags-of:{escape(id)}"')
    page.live(lambda: _tag_changes(facts, room))
    kept: dict[str, Any] = {}

    def show_bypasses() -> None:
        now = room.now()
        active = [b for b in facts.twin.fold.bypasses if b.covers(now)]
        if kept.get("active") == active:
            return
        kept["active"] = active
        bypasses.clear()
        with bypasses:
            for one in active:
                with ui.element("div").classes("row spread"):
                    html(
                        f"<span>⊘ <b>{escape(one.tag)}</b> is bypassed until "
                        f"{shown.clock(one.until)} by "
                        f"{escape(one.who)}: {escape(one.reason)}</span>"
                    )
                    button("End the bypass", lambda tag=one.tag: end_bypass(page, facts, tag))

    show_bypasses()
    ui.timer(1.0, show_bypasses)


def tag_table(facts: Facts, room: Any) -> str:
    """Every tag: value, age, quality, what became of its samples."""
    changes = _tag_changes(facts, room)
    rows = []
    for tag, channel in facts.twin.channels.items():
        binding, key = channel.binding, f"{facts.id}:{tag}"

        def live(part: str, css: str = "", key: str = key) -> Html:
            change = changes[f"{part}:{key}"]
            inner = change["html"] if isinstance(change, dict) else escape(change)
            css = change.get("class", css) if isinstance(change, dict) else css
            return Html(f'<span class="{css}" data-live="{part}:{escape(key)}">{inner}</span>')

        rows.append(
            [
                tag,
                binding.quantity,
                binding.connection,
                channel.role,
                live("value"),
                live("age"),
                live("quality"),
                live("counts"),
            ]
        )
    return grid(
        ["tag", "stands for", "source", "used as", "newest", "age", "quality", "samples"],
        rows,
        (4, 5),
    )


def _tag_changes(facts: Facts, room: Any) -> dict[str, Any]:
    feed, now = room.feed, room.now()
    found: dict[str, Any] = {}
    for tag in facts.twin.channels:
        key, sample = f"{facts.id}:{tag}", feed.newest(tag)
        found[f"value:{key}"] = facts.tag_change(feed, tag, now)
        found[f"age:{key}"] = (
            shown.age((now - sample["time"]) / shown.SECOND) if sample else "never"
        )
        found[f"quality:{key}"] = Quality(sample["quality"]).name.lower() if sample else ""
        counters = facts.twin.counters.get(tag)
        counts = [(n, getattr(counters, n)) for n in COUNTS] if counters is not None else []
        found[f"counts:{key}"] = ", ".join(f"{n} {count}" for n, count in counts if count)
    return found


def bypass(page: Page, facts: Facts) -> None:
    """Ask which sensor, how long and why."""
    box: dict[str, Any] = {}
    tags = [tag for tag, c in facts.twin.channels.items() if c.role == "observation"]

    def content() -> None:
        box["tag"] = ui.select(
            tags, value=tags[0] if tags else None, label="sensor", with_input=True
        ).props("outlined dense")
        box["minutes"] = ui.number(
            "for how many minutes (a day at most)", value=60, min=1, max=1440, on_change=tell
        ).props("outlined dense")
        box["until"] = html("").classes("muted small").props("role=status")
        tell()

    def tell() -> None:
        minutes = box["minutes"].value
        until = page.room.now() + round((minutes or 0) * 60 * shown.SECOND)
        words = f"It comes back at {shown.stamp(until)}." if minutes else "Say how long."
        box["until"].set_content(escape(words))

    async def act(reason: str) -> bool:
        given = {
            "twin": facts.id,
            "tag": box["tag"].value,
            "minutes": box["minutes"].value,
            "reason": reason,
        }
        return await page.call("twins.bypass", given) is not None

    frame.confirm(
        "Bypass a sensor",
        "Bypass the sensor",
        act,
        content=content,
        explain="The twin and its health leave it out for a while; it comes back by itself.",
    )


def end_bypass(page: Page, facts: Facts, tag: str) -> None:
    """Take the sensor back now."""

    async def act(reason: str) -> bool:
        return (
            await page.call("twins.end_bypass", {"twin": facts.id, "tag": tag, "reason": reason})
            is not None
        )

    frame.confirm(f"End the bypass of {tag}", "End the bypass", act)


class Laboratory:
    """Values entered by hand, with the time at which they were true, and their correction."""

    def __init__(self, page: Page, facts: Facts) -> None:
        self.page, self.facts = page, facts
        self.tags = {
            t: c.binding for t, c in facts.twin.channels.items() if c.binding.connection == MANUAL
        }
        with ui.element("section").classes("card"):
            with ui.element("div").classes("row spread"):
                html("<h2>Entered by hand</h2>")
                button("Enter a laboratory value", self.enter, main=True)
            self.place = ui.element("div")
        ui.timer(0.05, self.show, once=True)

    async def show(self) -> None:
        """What was entered, newest first; a corrected value shows both."""
        found = await asyncio.to_thread(
            newest, self.page.room.store, LOOKED, subject=self.facts.id, kinds=HAND
        )
        amended: dict[str, list[Any]] = {}
        for entry in reversed(found):
            if entry.kind == "correction":
                amended.setdefault(entry.detail["amends"], []).append(entry)
        entered = [entry for entry in found if entry.kind == "entry"][:ENTRIES]
        self.place.clear()
        with self.place:
            if not entered:
                html('<p class="muted">Nothing was entered yet.</p>')
            for entry in entered:
                self._row(entry, amended.get(entry.detail["key"], []))

    def _row(self, entry: Any, corrections: list[Any]) -> None:
        said = entry.detail
        newest = {**said, **corrections[-1].detail} if corrections else said
        with ui.element("div").classes("row spread entered"):
            html(f"<div>{entered_html(entry, corrections)}</div>")
            button("Correct", lambda: self.correct(said["key"], newest)).props(
                f'aria-label="Correct {said["tag"]} of {shown.stamp(said["time"])}"'
            )

    def enter(self) -> None:
        """Ask for a value and the time at which it was true."""
        box: dict[str, Any] = {}
        first = next(iter(self.tags))
        now = self.page.room.now()

        def content() -> None:
            box["tag"] = ui.select(list(self.tags), value=first, label="what").props(
                "outlined dense"
            )
            box["value"] = ui.input(f"value [{self.tags[first].unit}]").props(
                "outlined dense inputmode=decimal"
            )
            box["time"] = ui.input(
                "true at (when the sample was drawn)", value=shown.stamp(now).replace(" ", "T")
            ).props("outlined dense")
            box["tag"].on_value_change(
                lambda e: box["value"].props(f'label="value [{self.tags[e.value].unit}]"')
            )

        async def act(reason: str) -> bool:
            tag = box["tag"].value
            given = {
                "tag": tag,
                "value": _number(box["value"].value),
                "unit": self.tags[tag].unit,
                "time": box["time"].value,
                "reason": reason,
                "twin": self.facts.id,
            }
            job = await self.page.call("twins.enter", given)
            if job is not None:
                await self.show()
            return job is not None

        frame.confirm(
            "Enter a laboratory value",
            "Enter the value",
            act,
            content=content,
            explain="It counts from when it was true; what followed is estimated again.",
        )

    def correct(self, key: str, given: dict[str, Any]) -> None:
        """Ask for the right value and why; the old version is kept."""
        box: dict[str, Any] = {}

        def content() -> None:
            html(
                f"It says {_written(given)}, true at {shown.stamp(given['time'])}. The old version "
                "is kept."
            )
            box["value"] = ui.input(f"right value [{given['unit']}]; empty withdraws it").props(
                "outlined dense inputmode=decimal"
            )

        async def act(reason: str) -> bool:
            text = (box["value"].value or "").strip()
            new = {"key": key, "reason": reason, "unit": given["unit"], "twin": self.facts.id}
            new |= {"value": _number(text)} if text else {}
            job = await self.page.call("twins.correct", new)
            if job is not None:
                frame.said(f"{given['tag']} is {'corrected' if text else 'withdrawn'}")
                await self.show()
            return job is not None

        frame.confirm(f"Correct {given['tag']}", "Correct the value", act, content=content)


def _written(said: Mapping[str, Any]) -> str:
    """A value that was entered, in full."""
    if said["value"] is None:
        return "withdrawn"
    return escape(f"{said['value']} {said['unit'] if said['unit'] != '1' else ''}".strip())


def entered_html(entry: Any, corrections: list[Any]) -> str:
    """An entry with all that was made of it: value, when it was true, who, when and why."""
    value = _written(entry.detail)
    lines = [
        f"true at {shown.stamp(entry.detail['time'])}, entered {shown.stamp(entry.time)} by "
        f"{escape(entry.who)}" + (f": {escape(entry.reason)}" if entry.reason else "")
    ]
    for one in corrections:
        word = "withdrawn" if one.detail["value"] is None else "corrected"
        value = f"<s>{value}</s> → {_written(one.detail)}"
        lines.append(f"{word} {shown.stamp(one.time)} by {escape(one.who)}: {escape(one.reason)}")
    more = "".join(f'<div class="muted small">{line}</div>' for line in lines)
    return f"{shown.HAND} <b>{escape(entry.detail['tag'])}</b> {value}{more}"


def _number(text: Any) -> Any:
    """A number where it is one; else the text, for the service to judge."""
    try:
        return float(str(text).strip().replace(",", "."))
    except ValueError:
        return text
