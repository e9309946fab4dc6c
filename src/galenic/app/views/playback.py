"""Playing a recording: where it stands, how fast it goes, and what was known at that time."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from galenic.app.views import shown
from galenic.app.views.feed import KEPT, PAST, Feed
from galenic.app.views.replaying import Recording, unpacked
from galenic.clock import nanoseconds, seconds

SPEEDS = (0.5, 1, 2, 5, 10, 20, 60, 120)
SPAN = 5.0  # seconds of wall time over which the speed that is held is measured


class Playback:
    """A recording with a place in it; its feed has what was known there, and nothing later.

    Parameters
    ----------
    recording : Recording
    store : Store
        For measurements before the stretch.
    tags : list of str
        Whose measurements these are.
    """

    here = "then"

    def __init__(self, recording: Recording, store: Any, tags: list[str]) -> None:
        self.recording = recording
        self.store = store
        self.tags = tags
        self.cursor = recording.stretch.start
        self.speed = 1.0
        self.playing = False
        self.feed = Feed(None, store)
        self._before: dict[str, Any] = {}
        self._taken = 0
        self._marks: deque[tuple[float, int]] = deque()

    def now(self) -> int:
        """The time [ns] that is shown."""
        return self.cursor

    def recall(self) -> None:
        """Read what was measured in the hour before the stretch."""
        start = self.recording.stretch.start
        self.feed.recall(self.tags, start - nanoseconds(PAST), start)
        self._before = {tag: list(points) for tag, points in self.feed.measured.items()}
        self._start_feed()

    def measured_only(self) -> None:
        """Where the twin cannot be made again: what was measured, from the records."""
        stretch = self.recording.stretch
        table = self.store.history(self.tags, stretch.start, stretch.stop + 1)
        names = ("time", "tag", "value", "unit", "quality")
        columns = (table.column(name).to_pylist() for name in names)
        rows = sorted(zip(*columns, strict=True), key=lambda row: (row[0], row[1]))
        for at, tag, value, unit, quality in rows:
            sample = {"value": value, "unit": unit, "time": at, "quality": quality}
            self.recording.take({"type": "samples", "samples": {tag: sample}, "at": at})
        self.recording.ready = stretch.stop

    def play(self, playing: bool = True) -> None:
        """Go on, from the start if it stands at the end; or stand still."""
        if playing and self.cursor >= self.recording.stretch.stop:
            self.seek(self.recording.stretch.start)
        self.playing = playing
        self._marks.clear()

    def go(self, speed: float) -> None:
        """Seconds of the record per second."""
        self.speed = speed
        self._marks.clear()

    def advance(self, elapsed: float, wall: float | None = None) -> None:
        """Move on by ``elapsed`` seconds of wall time, as far as the recording has come."""
        if self.playing:
            stretch = self.recording.stretch
            goal = self.cursor + nanoseconds(self.speed * elapsed)
            self.cursor = max(self.cursor, min(goal, stretch.stop, self.recording.ready))
            self._mark(time.monotonic() if wall is None else wall)
            if self.cursor >= stretch.stop:
                self.play(False)
        self._take()

    def step(self, by: int) -> None:
        """Stand still ``by`` ns further on or back."""
        self.play(False)
        self.seek(self.cursor + by)

    def seek(self, to: int) -> None:
        """Go to a time [ns], as far as the recording has come."""
        stretch = self.recording.stretch
        to = max(stretch.start, min(to, stretch.stop, max(self.recording.ready, stretch.start)))
        if to < self.cursor:
            self._start_feed()
        self.cursor = to
        self._marks.clear()
        self._take()

    def _start_feed(self) -> None:
        """A feed that knows what was measured before the stretch, and nothing of it."""
        self.feed, self._taken = Feed(None, self.store), 0
        for tag, points in self._before.items():
            self.feed.measured[tag] = deque(points, KEPT)
            time, value = points[-1]
            self.feed.tags[tag] = {"value": value, "unit": "", "time": time, "quality": 0}

    def _take(self) -> None:
        """Tell the feed what was known until here."""
        messages = self.recording.messages
        while self._taken < len(messages) and messages[self._taken]["at"] <= self.cursor:
            self.feed.take(unpacked(messages[self._taken]))
            self._taken += 1

    def _mark(self, wall: float) -> None:
        self._marks.append((wall, self.cursor))
        while wall - self._marks[0][0] > SPAN:
            self._marks.popleft()

    @property
    def held(self) -> float | None:
        """The speed that is really held; None until it is known."""
        if len(self._marks) < 2 or self._marks[-1][0] - self._marks[0][0] < SPAN / 4:
            return None
        (first, start), (last, stop) = self._marks[0], self._marks[-1]
        return seconds(stop - start) / (last - first)

    @property
    def words(self) -> str:
        """What a person must know about its pace."""
        recording, held = self.recording, self.held
        if recording.way < 1.0 and not recording.done:
            return f"making the twin of that time: {recording.way:.0%}"
        if self.playing and held is not None and held < 0.8 * self.speed:
            why = "" if recording.done else ": the stretch is still being made"
            return f"asked for {self.speed:g}×, holding {held:.2g}×{why}"
        if not recording.done:
            return f"made until {shown.clock(recording.ready)}" if recording.ready else "starting"
        return "end of the stretch" if self.cursor >= recording.stretch.stop else ""


class PastTwin:
    """A twin as it was: what does not move is the live twin's, what moves is the playback's.

    It takes no events and no commands.
    """

    def __init__(self, twin: Any, playback: Playback) -> None:
        self.id = twin.id
        self.definition, self.channels = twin.definition, twin.channels
        self.entries, self.system = twin.entries, twin.system
        self._playback = playback

    @property
    def now(self) -> int:
        """The time that is shown [ns]."""
        return self._playback.cursor

    @property
    def targets(self) -> dict[str, float]:
        """The targets of that time, in SI."""
        message = self._playback.feed.twins.get(self.id)
        return dict(message.get("targets", {})) if message else {}
