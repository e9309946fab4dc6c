"""A live twin as pages see it: quantities, tags, limits, and which belong together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from html import escape
from typing import Any

from galenic.app.views import shown
from galenic.app.views.feed import Feed, in_unit, since
from galenic.twin.binding import MANUAL, Channel
from galenic.twin.definition import limits_si
from galenic.units import from_si


@dataclass(frozen=True)
class Facts:
    """A live twin as pages see it; instances of a fleet have the same tags, each with its id."""

    twin: Any
    simulated: bool = False
    is_instance: bool = False

    @property
    def id(self) -> str:
        return str(self.twin.id)

    @property
    def title(self) -> str:
        return str(self.twin.definition.name)

    def address(self, tag: str) -> str:
        """What a tag of this twin is called in feed and history."""
        return f"{self.id}/{tag}" if self.is_instance else tag

    def unit(self, path: str) -> str:
        """Declared unit of a quantity."""
        entry = self.twin.entries.get(path)
        return entry.unit.text if entry is not None else "1"

    def meaning(self, path: str) -> str:
        """What a quantity is, in words; with its part where another one is called the same."""
        words = self._words(path)
        part = path.rpartition(".")[0]
        return f"{words}, {part.replace('_', ' ')}" if part and words in self._shared else words

    def _words(self, path: str) -> str:
        """What the model says of a quantity; its path where it says nothing."""
        entry = self.twin.entries.get(path)
        return entry.meaning if entry is not None and entry.meaning else path

    @cached_property
    def _shared(self) -> set[str]:
        """Words that more than one quantity of the pages has."""
        counts = Counter(self._words(path) for path in self.offered())
        return {words for words, count in counts.items() if count > 1}

    def declared(self, path: str, value: float) -> float:
        """A value in SI as one in the declared unit."""
        return float(from_si(value, self.twin.entries[path].unit))

    def observed_by(self, path: str) -> list[Channel]:
        """The channels that measure a quantity."""
        return [
            channel
            for channel in self.twin.channels.values()
            if channel.binding.quantity == path and channel.role == "observation"
        ]

    def read_as(self, path: str) -> list[Channel]:
        """The channels whose values are those of a quantity: measured, or else as it is set."""
        read = [
            channel
            for channel in self.twin.channels.values()
            if channel.binding.quantity == path and channel.binding.readable
        ]
        return self.observed_by(path) or [one for one in read if one.role == "input"]

    def offered(self) -> list[str]:
        """Quantities that a trend can show: those of the definition, then all that are read."""
        entries = self.twin.entries
        read = [c.binding.quantity for c in self.twin.channels.values() if c.binding.readable]
        return list(
            dict.fromkeys([*self.twin.definition.shown, *(q for q in read if q in entries)])
        )

    def limits(self) -> dict[str, tuple[float, float]]:
        """Limits of quantities in declared units."""
        found = limits_si(self.twin.definition.limits, self.twin.system)
        return {
            path: (self.declared(path, low), self.declared(path, high))
            for path, (low, high) in found.items()
        }

    def target(self, path: str) -> float | None:
        """Present target of a quantity in its declared unit."""
        value = self.twin.targets.get(path)
        return None if value is None else self.declared(path, value)

    def measured(self, feed: Feed, path: str, start: int = 0) -> list[tuple[int, float]]:
        """Measurements of a quantity from ``start`` [ns] on, in its declared unit."""
        points: list[tuple[int, float]] = []
        for channel in self.read_as(path):
            binding = channel.binding
            series = since(feed.measured.get(self.address(binding.tag), ()), start)
            points += in_unit(
                [(t, v) for t, v in series], binding.unit, self.unit(path), *binding.calibration
            )
        return sorted(points)

    def tag_html(self, feed: Feed, tag: str, key: str = "", now: int = 0) -> str:
        """The newest value of a tag with unit, quality and age."""
        parts = self.tag_parts(feed, tag, now)
        return shown.value_html(
            parts["text"],
            parts["unit"],
            key=key,
            css=parts["css"],
            sign=parts["sign"],
            title=parts["title"],
        )

    def tag_change(self, feed: Feed, tag: str, now: int) -> dict[str, str]:
        """The same as a change for the browser."""
        parts = self.tag_parts(feed, tag, now)
        return {
            "html": shown.value_inner(parts["text"], parts["unit"], parts["sign"]),
            "class": f"value {parts['css']}",
            "title": parts["title"],
        }

    def tag_parts(self, feed: Feed, tag: str, now: int) -> dict[str, str]:
        """Text, unit, class, sign and title of the newest value of a tag."""
        sample, binding = feed.newest(self.address(tag)), self.twin.channels[tag].binding
        if sample is None or sample["value"] is None:
            return {
                "text": shown.NONE,
                "unit": "",
                "css": "none",
                "sign": "",
                "title": "nothing was received yet",
            }
        old = is_old(sample, binding, now)
        sign, words = shown.mark(
            sample["quality"], old, binding.connection == MANUAL, self.simulated
        )
        value = sample["value"]
        spread = binding.sd if not isinstance(value, bool | str) else None
        return {
            "text": shown.number(value, spread or None),
            "unit": sample["unit"] or binding.unit,
            "css": shown.quality_class(sample["quality"], old),
            "sign": sign,
            "title": f"{tag}: measured {shown.clock(sample['time'])}"
            + (f", {words}" if words else ""),
        }


def is_old(sample: Mapping[str, Any], binding: Any, now: int) -> bool:
    """Whether a value is older than its binding allows."""
    limit = binding.stale_after
    return limit is not None and (now - sample["time"]) / shown.SECOND > limit


def estimate_text(row: Mapping[str, Any] | None) -> tuple[str, str]:
    """Estimated value with its standard deviation, and unit."""
    if row is None:
        return shown.NONE, ""
    return shown.with_spread(row["value"], row["sd"]), row["unit"]


def named(facts: Facts, path: str) -> str:
    """A quantity's meaning with its path as a hint."""
    return f'<span title="{escape(path)}">{escape(facts.meaning(path))}</span>'
