"""The page of a twin in replay: a recorded stretch with play, pause, step, speed and place.

It shows what the live page showed. Nothing here calls a service that changes something.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from html import escape
from typing import Any

from nicegui import ui

from galenic.app.views import frame, live_tab, shown
from galenic.app.views.aside import Aside
from galenic.app.views.facts import Facts
from galenic.app.views.frame import Page, button, html
from galenic.app.views.playback import SPEEDS, PastTwin, Playback
from galenic.app.views.replaying import LONGEST, Recording, Stretch, record
from galenic.clock import from_iso, nanoseconds, seconds, to_iso
from galenic.errors import DataError
from galenic.twin import resume

PERIOD = 0.25
MOST = 2  # replays that are made at the same time
STRETCHES = {300: "the last 5 min", 900: "the last 15 min", 3600: "the last hour"}
making: list[Aside] = []


def address(stretch: Stretch) -> str:
    """Where a stretch is shown; it can be kept and sent to others."""
    return f"/twin/{stretch.twin}?replay={to_iso(stretch.start)}/{to_iso(stretch.stop)}"


def read_stretch(twin: str, text: str) -> Stretch:
    """The stretch that an address names, as 2026-11-23T08:00:00Z/2026-11-23T08:15:00Z."""
    start, _, stop = text.replace(" ", "+").partition("/")
    try:
        return Stretch(twin, from_iso(start), from_iso(stop))
    except (ValueError, TypeError) as error:
        raise DataError(
            f"{text!r} is not a stretch of time", expected="two times with a zone, joined by /"
        ) from error


def choose(page: Page, facts: Facts) -> None:
    """Ask from when to when."""
    now = page.room.now()
    box: dict[str, Any] = {}

    def past(span: int) -> None:
        ui.navigate.to(address(Stretch(facts.id, now - span * shown.SECOND, now)))

    def go() -> None:
        try:
            times = [from_iso(box[end].value.strip().replace(" ", "T")) for end in ("from", "to")]
            ui.navigate.to(address(Stretch(facts.id, *times)))
        except (DataError, ValueError) as error:
            frame.complain(error if isinstance(error, DataError) else DataError(str(error)))

    with ui.dialog() as dialog, ui.card():
        html(
            f"<h2>Replay {escape(facts.id)}</h2>"
            '<p class="muted">What was recorded is shown again as it was then. Nothing can be '
            "written from a replay.</p>"
        )
        with ui.element("div").classes("row"):
            for span, words in STRETCHES.items():
                button(words, lambda span=span: past(span))
        for end, back in (("from", 900), ("to", 0)):
            value = shown.stamp(now - back * shown.SECOND).replace(" ", "T")
            box[end] = ui.input(end, value=value).props("outlined dense")
        with ui.element("div").classes("row").style("justify-content: flex-end"):
            button("Cancel", dialog.close)
            button("Replay", go, main=True)
    dialog.on("hide", dialog.delete)
    dialog.open()


async def replay_page(page: Page, twin: Any, text: str) -> None:
    """The page of a twin over a recorded stretch."""
    page.is_replay = True
    stretch = read_stretch(twin.id, text)
    store, is_instance = page.room.store, page.room.runner.fleets.known(twin.id)
    stretch = await asyncio.to_thread(_from_the_beginning, store, stretch)
    own = Facts(twin, page.room.simulated, is_instance)
    tags = [own.address(tag) for tag in twin.channels]
    playback = Playback(Recording(stretch), store, tags)
    await asyncio.to_thread(playback.recall)
    facts = Facts(PastTwin(twin, playback), page.room.simulated, is_instance)
    _banner(page, stretch)
    _header(page, facts, playback)
    Controls(page, playback, twin.definition.tick)
    live_tab.live_tab(page, facts, playback)
    await _begin(page, playback, twin.id)


def _from_the_beginning(store: Any, stretch: Stretch) -> Stretch:
    """The part of a stretch of which there is a record, where it begins before that."""
    first = min((life.start["time"] for life in resume.lives(store, stretch.twin)), default=0)
    return replace(stretch, start=first) if stretch.start < first < stretch.stop else stretch


def _banner(page: Page, stretch: Stretch) -> None:
    start, stop = shown.stamp(stretch.start), shown.stamp(stretch.stop)
    with ui.element("div").classes("replay-banner").props("role=status"):
        html(
            f"<span><b>REPLAY</b> of what was recorded {escape(start)} to {escape(stop)}. "
            "Nothing below is live, and nothing can be written from here.</span>"
        )
        html(f'<a class="icon-button" href="/twin/{escape(stretch.twin)}">Back to live</a>')


def _header(page: Page, facts: Facts, playback: Playback) -> None:
    first = header_changes(facts, playback)
    with ui.element("div").classes("row spread"):
        with ui.element("div").classes("row"):
            html(f"<h1>{escape(facts.id)}</h1>")
            for part in ("level", "health"):
                html(first[f"past:{part}"]["html"]).props(f'data-live="past:{part}"')
    page.live(lambda: header_changes(facts, playback))


def header_changes(facts: Facts, playback: Playback) -> dict[str, Any]:
    """Level, health and standing alarms of the time that is shown."""
    message = playback.feed.twins.get(facts.id)
    if message is None:
        return {"past:level": {"html": ""}, "past:health": {"html": ""}}
    active = [alarm for alarm in message["alarms"] if alarm["active"]]
    alarms = "".join(frame.alarm_html(alarm, playback.now()) for alarm in active[:2])
    return {
        "past:level": {"html": frame.level_html(message["level"])},
        "past:health": {"html": f"{frame.health_html(message['health'])} {alarms}"},
    }


async def _begin(page: Page, playback: Playback, id: str) -> None:
    """Start to make the recording; it stops with the page."""
    making[:] = [one for one in making if one.is_alive]
    if len(making) >= MOST:
        raise DataError(
            f"{MOST} replays are being made already", hint="wait for one, or close its page"
        )
    project = page.room.runner.project
    spec = next((one for one in project.twins if one.id == id), None)
    recorder = record(str(page.room.store.folder), spec, playback.recording)
    making.append(recorder)
    page.client.on_delete(lambda: asyncio.to_thread(recorder.stop))
    trouble = ui.element("div")

    async def look() -> None:
        if not playback.recording.done:
            return
        timer.cancel()
        error = playback.recording.error
        if error is not None:
            if not playback.recording.messages:
                await asyncio.to_thread(playback.measured_only)
            with trouble:
                frame.failed(
                    error,
                    "Only measurements are shown: the twin of that time cannot be made again.",
                )

    timer = ui.timer(PERIOD, look)


class Controls:
    """Play, pause, step, speed, place.

    Parameters
    ----------
    page : Page
    playback : Playback
    tick : float [s]
        One step.
    """

    def __init__(self, page: Page, playback: Playback, tick: float) -> None:
        self.playback = playback
        self.wall = time.monotonic()
        self.held = False  # whether a hand is on the slider
        stretch = playback.recording.stretch
        length, one = seconds(stretch.stop - stretch.start), nanoseconds(tick)
        with (
            ui.element("div")
            .classes("replay-controls card")
            .props('role=group aria-label="Replay controls"')
        ):
            with ui.element("div").classes("row"):
                button("◂ step", lambda: self.moved(playback.step, -one)).props(
                    'aria-label="One step back"'
                )
                self.toggle = button("Play", self.turn, main=True)
                self.toggle.props("data-play").style("min-width: 76px")
                button("step ▸", lambda: self.moved(playback.step, one)).props(
                    'aria-label="One step on"'
                )
            clock = html(self.changes()["replay:clock"], tag="span").classes("replay-clock")
            clock.props('data-live="replay:clock"')
            with ui.element("div"):
                self.slider = ui.slider(min=0.0, max=length, step=tick, value=0.0).props(
                    'dense aria-label="Place in the stretch, in seconds from its start"'
                )
                html("", tag="div").classes("muted small replay-words").props(
                    'role=status data-live="replay:words"'
                )
            self.slider.on("pan", self._panned)
            self.slider.on("change", lambda event: self._placed(float(event.args)))
            ui.select(
                {speed: f"{speed:g}×" for speed in SPEEDS},
                value=1,
                label="replay speed",
                on_change=lambda event: playback.go(float(event.value)),
            ).props('outlined dense options-dense aria-label="Replay speed"').style("width: 136px")
        page.live(self.changes)
        ui.timer(PERIOD, self.update)

    def changes(self) -> dict[str, Any]:
        """Clock and words."""
        now = self.playback.now()
        return {
            "replay:clock": f"{shown.clock(now)} {shown.offset(now)}",
            "replay:words": self.playback.words,
        }

    def turn(self) -> None:
        """Play or pause."""
        self.playback.play(not self.playback.playing)
        self.update()

    def moved(self, function: Any, by: int) -> None:
        """A step on or back."""
        function(by)
        self.update()

    def _panned(self, event: Any) -> None:
        self.held = event.args == "start"

    def _placed(self, second: float) -> None:
        self.held = False
        self.playback.seek(self.playback.recording.stretch.start + nanoseconds(second))

    def update(self) -> None:
        """Let time go on, and show where it stands."""
        wall = time.monotonic()
        self.playback.advance(wall - self.wall)
        self.wall = wall
        self.toggle.text = "Pause" if self.playback.playing else "Play"
        if not self.held:
            start = self.playback.recording.stretch.start
            self.slider.value = round(seconds(self.playback.cursor - start), 1)


__all__ = ["LONGEST", "Controls", "address", "choose", "read_stretch", "replay_page"]
