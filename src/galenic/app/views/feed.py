"""What pages show of the live twins: the newest of everything, and the last hours of each series.

One feed per site listens to the runner and keeps plain values; pages read it a few times a second
and send to their browser what has changed. Measured history from before the start is read from
the historian once; estimates are not recorded, so their history begins with the server.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping, Reversible, Sequence
from itertools import takewhile
from typing import Any

from galenic.clock import nanoseconds
from galenic.errors import GalenicError
from galenic.units import convert

log = logging.getLogger(__name__)

KEPT = 7200  # points of a series
EVENTS = 500
GUESTS = 50  # instances of fleets
PAST = 3600.0  # seconds of measured history read at the start
Point = tuple[int, float]


class Feed:
    """The live values of one site.

    Parameters
    ----------
    runner : Runner
    store : Store
    """

    def __init__(self, runner: Any, store: Any) -> None:
        self.runner = runner
        self.store = store
        self.tags: dict[str, dict[str, Any]] = {}
        self.twins: dict[str, dict[str, Any]] = {}
        self.forecasts: dict[str, dict[str, Any]] = {}
        self.proposals: dict[str, dict[str, Any]] = {}
        self.problems: dict[str, str] = {}
        self.events: dict[str, deque[dict[str, Any]]] = {}
        self.measured: dict[str, deque[Point]] = {}
        self.estimated: dict[tuple[str, str], deque[tuple[int, float, float, float]]] = {}
        self.changes = 0
        self._guests: OrderedDict[str, Sequence[str]] = OrderedDict()
        self._lock = threading.Lock()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to listen, once; to be called in the event loop of the runner."""
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._listen())

    def stop(self) -> None:
        """End listening."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def newest(self, tag: str) -> dict[str, Any] | None:
        """The newest sample of a tag, or None."""
        return self.tags.get(tag)

    async def _listen(self) -> None:
        subscription = self.runner.live.subscribe()
        try:
            try:
                await asyncio.to_thread(self._recall)
            except GalenicError as error:
                log.warning("history for the control room: %s", error)
            async for message in subscription:
                self.take(message)
        finally:
            subscription.close()

    def _recall(self) -> None:
        """Latest values and the last hour of measurements from the records."""
        known = self.runner.fleets.known
        latest = self.store.latest()
        self._remember({tag: s for tag, s in latest.items() if not known(tag.partition("/")[0])})

    def welcome(self, id: str, tags: Sequence[str]) -> None:
        """Have the values of an instance of a fleet: those of the last few are kept."""
        if id not in self._guests:
            self._remember(self.store.latest(tags))
        with self._lock:
            self._guests[id] = tags
            self._guests.move_to_end(id)
            while len(self._guests) > GUESTS:
                self._forget(*self._guests.popitem(last=False))

    def _forget(self, id: str, tags: Sequence[str]) -> None:
        for tag in tags:
            self.tags.pop(tag, None)
            self.measured.pop(tag, None)
        for kept in (self.twins, self.forecasts, self.proposals, self.events):
            kept.pop(id, None)
        for key in [key for key in list(self.estimated) if key[0] == id]:
            self.estimated.pop(key, None)

    def _remember(self, latest: Mapping[str, Any]) -> None:
        """Newest values and the last hour of measurements."""
        for tag, sample in latest.items():
            self._sample(
                tag,
                {
                    "value": sample.value,
                    "unit": sample.unit,
                    "time": sample.source_time,
                    "quality": sample.quality,
                },
            )
        now = self.runner.clock.now()
        self.recall(list(latest), now - nanoseconds(PAST), now)

    def recall(self, tags: Sequence[str], start: int, stop: int) -> None:
        """Measurements of tags from the records, before those that are here."""
        if not tags:
            return
        table = self.store.history(tags, start, stop, nanoseconds(2.0))
        rows = zip(*(table.column(n).to_pylist() for n in ("tag", "time", "last")), strict=True)
        for tag, series in _by_tag(rows).items():
            newer = [point for point in self.measured.get(tag, ()) if point[0] > series[-1][0]]
            self.measured[tag] = deque([*series, *newer], KEPT)

    def take(self, message: dict[str, Any]) -> None:
        """Take in one message of the runner's live feed."""
        self.changes += 1
        handler = getattr(self, f"_take_{message['type']}", None)
        if handler is not None:
            handler(message)

    def _take_samples(self, message: dict[str, Any]) -> None:
        for tag, row in message["samples"].items():
            self._sample(tag, row)

    def _sample(self, tag: str, row: dict[str, Any]) -> None:
        known = self.tags.get(tag)
        if known is not None and known["time"] > row["time"]:
            return
        self.tags[tag] = row
        value = row["value"]
        if isinstance(value, bool):
            value = float(value)
        if isinstance(value, int | float) and row["quality"] < 2:
            self.measured.setdefault(tag, deque(maxlen=KEPT)).append((row["time"], float(value)))

    def _take_twin(self, message: dict[str, Any]) -> None:
        id, time = message["id"], message["time"]
        self.twins[id] = message
        for path, row in message["estimates"].items():
            series = self.estimated.setdefault((id, path), deque(maxlen=KEPT))
            if not series or series[-1][0] < time:
                series.append((time, row["value"], row["lower"], row["upper"]))

    def _take_forecast(self, message: dict[str, Any]) -> None:
        self.forecasts[message["id"]] = message["forecast"]

    def _take_proposal(self, message: dict[str, Any]) -> None:
        id = message["id"]
        before = self.proposals.get(id, {}).get("time")
        self.proposals[id] = message
        if message.get("time") and message["time"] != before:
            display = message["proposal"].get("display", {})
            words = ", ".join(
                f"{path} {value:.4g} {unit}" for path, (value, unit) in display.items()
            )
            self._event(id, message["time"], "proposed", words or "a move")

    def _take_effect(self, message: dict[str, Any]) -> None:
        effect, id = message["effect"], message["id"]
        if effect["kind"] == "alert":
            over = "" if effect["active"] else "over: "
            self._event(id, effect["time"], "alarm", over + effect["text"], effect["severity"])
        elif effect["kind"] == "record" and effect["what"] in ("level", "command", "bypass"):
            words = f"{effect['what']}: {effect['reason']}"
            self._event(id, effect["time"], "told", words)

    def _take_receipt(self, message: dict[str, Any]) -> None:
        receipt = message["receipt"]
        words = f"{receipt['tag']} = {receipt['read_back']} ({receipt['outcome']})"
        self._event(message["id"], receipt["time"], "written", words)

    def _take_runner(self, message: dict[str, Any]) -> None:
        self.problems = message["problems"]

    def _event(self, id: str, time: int, row: str, words: str, tone: str = "measured") -> None:
        kept = self.events.setdefault(id, deque(maxlen=EVENTS))
        kept.append({"time": time, "row": row, "words": words, "tone": tone})


def _by_tag(rows: Iterable[tuple[str, int, Any]]) -> dict[str, list[Point]]:
    found: dict[str, list[Point]] = {}
    for tag, time, value in rows:
        if isinstance(value, int | float):
            found.setdefault(tag, []).append((time, float(value)))
    return found


def since(series: Reversible[Sequence[Any]], start: int) -> list[Sequence[Any]]:
    """The points of a series, which is in order of time, from ``start`` [ns] on."""
    kept = list(takewhile(lambda point: point[0] >= start, reversed(series)))
    kept.reverse()
    return kept


def thin(points: Sequence[Sequence[Any]], most: int = 400) -> list[Sequence[Any]]:
    """At most about ``most`` points that keep every peak: lowest and highest of each bucket.

    Examples
    --------
    >>> (50, 9.0) in thin([(t, 9.0 if t == 50 else 1.0) for t in range(100)], 10)
    True
    """
    if len(points) <= most:
        return list(points)
    size = -(-2 * len(points) // most)
    kept: list[Sequence[Any]] = []
    for start in range(0, len(points), size):
        bucket = points[start : start + size]
        low, high = min(bucket, key=lambda p: p[1]), max(bucket, key=lambda p: p[1])
        kept += [low] if low is high else sorted((low, high), key=lambda p: p[0])
    if kept[-1] is not points[-1]:
        kept.append(points[-1])
    return kept


def in_unit(
    points: Iterable[Point], source: str, wanted: str, gain: float = 1.0, offset: float = 0.0
) -> list[Point]:
    """Points of a tag calibrated and in the unit of its quantity."""
    if source == wanted:
        return [(time, gain * value + offset) for time, value in points]
    zero = float(convert(offset, source, wanted))
    slope = float(convert(offset + 1.0, source, wanted)) - zero
    return [(time, slope * gain * value + zero) for time, value in points]
