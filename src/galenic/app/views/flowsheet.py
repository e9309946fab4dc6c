"""The flowsheet: drawn from a model's own parts and connections, with live indicators.

Parts are placed in layers by their longest way from a source, top to bottom. Each indicator is a
bar with normal range, target, trail of the last minutes and pointer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from galenic.app.views import shown
from galenic.app.views.facts import Facts, is_old
from galenic.app.views.feed import Feed, since
from galenic.units import convert

WIDTH, GAP, ROW, HEAD = 480, 12, 18, 22
BAR = 88
TRAIL = 300 * shown.SECOND
MOST = 6  # indicators of one part


@dataclass
class Indicator:
    """One row of a part: a tag or an estimate with its range."""

    path: str
    tag: str
    label: str
    low: float
    high: float
    normal: tuple[float, float] | None = None

    @property
    def key(self) -> str:
        return f"flow:{self.tag or self.path}"


@dataclass
class Box:
    """A part on the sheet."""

    path: str
    title: str
    rows: list[Indicator] = field(default_factory=list)
    x: float = 0.0
    y: float = 0.0
    width: float = 0.0

    @property
    def height(self) -> float:
        return HEAD + ROW * len(self.rows) + (6 if self.rows else 2)


def layers(names: Sequence[str], links: Sequence[tuple[str, str]]) -> list[list[str]]:
    """Names by their longest way from a source; links that close a loop are left out.

    Examples
    --------
    >>> layers(["a", "b", "c"], [("a", "c"), ("b", "c")])
    [['a', 'b'], ['c']]
    """
    depth = dict.fromkeys(names, 0)
    forward = [(a, b) for a, b in links if a in depth and b in depth and a != b]
    for _ in names:
        moved = False
        for a, b in forward:
            if depth[b] < depth[a] + 1 <= len(names) and not _leads(b, a, forward):
                depth[b], moved = depth[a] + 1, True
        if not moved:
            break
    return [
        [name for name in names if depth[name] == level]
        for level in range(max(depth.values(), default=-1) + 1)
    ]


def _leads(start: str, goal: str, links: Sequence[tuple[str, str]]) -> bool:
    seen, todo = set(), [start]
    while todo:
        at = todo.pop()
        if at == goal:
            return True
        if at not in seen:
            seen.add(at)
            todo += [b for a, b in links if a == at]
    return False


class Flowsheet:
    """The drawing of one twin.

    Parameters
    ----------
    facts : Facts
    """

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        system = facts.twin.system
        self.boxes = {part.path: Box(part.path, _title(part)) for part in system.parts.parts}
        self.links = sorted({(_part(a), _part(b)) for a, b in system.connections})
        self._fill()
        self._place()

    def _fill(self) -> None:
        facts, limits = self.facts, self.facts.limits()
        rules = {rule.tag: rule for rule in facts.twin.definition.guard.rules}
        for channel in facts.twin.channels.values():
            binding = channel.binding
            box = self.boxes.get(_part(binding.quantity))
            if box is None or channel.role == "watch" or len(box.rows) >= MOST:
                continue
            if not binding.readable or _is_flag(facts, binding.quantity):
                continue
            rule = rules.get(binding.tag)
            normal = (rule.low, rule.high) if rule else limits.get(binding.quantity)
            low, high = _range(normal, facts, binding)
            label = binding.tag.rpartition(".")[2]
            box.rows.append(Indicator(binding.quantity, binding.tag, label, low, high, normal))

    def _place(self) -> None:
        y = 4.0
        placed = layers(list(self.boxes), self.links)
        for level in placed:
            width = (WIDTH - 8 - GAP * (len(level) - 1)) / len(level)
            for i, name in enumerate(level):
                box = self.boxes[name]
                box.width = min(width, 300.0)
                room = (WIDTH - 8 - len(level) * box.width - GAP * (len(level) - 1)) / 2
                box.x, box.y = 4 + room + i * (box.width + GAP), y
            y += max(self.boxes[name].height for name in level) + 16
        self.height = y - 12

    def svg(self, feed: Feed, now: int) -> str:
        """The whole drawing."""
        pipes = "".join(
            self._pipe(a, b) for a, b in self.links if a in self.boxes and b in self.boxes
        )
        boxes = "".join(self._box(box, feed, now) for box in self.boxes.values())
        return (
            f'<svg class="flowsheet" viewBox="0 0 {WIDTH} {self.height:.0f}" role="group" '
            f'aria-label="Flowsheet of {escape(self.facts.title)}"><defs><marker id="tip" '
            f'viewBox="0 0 8 8" refX="7" '
            'refY="4" markerWidth="6" markerHeight="6" orient="auto"><path class="arrow" d="M0 '
            '0L8 4L0 8z"/></marker></defs>'
            f"{pipes}{boxes}</svg>"
        )

    def changes(self, feed: Feed, now: int) -> dict[str, Any]:
        """What may have changed on the drawing."""
        found: dict[str, Any] = {}
        for box in self.boxes.values():
            for row in box.rows:
                state = self._state(row, feed, now)
                found[row.key] = {"attrs": {"class": state["class"], "aria-label": state["words"]}}
                found[f"{row.key}:num"] = state["text"]
                found[f"{row.key}:sign"] = state["sign"]
                found[f"{row.key}:at"] = {"attrs": {"transform": f"translate({state['at']:.1f} 0)"}}
                found[f"{row.key}:trail"] = {
                    "attrs": {"x": f"{state['trail'][0]:.1f}", "width": f"{state['trail'][1]:.1f}"}
                }
        return found

    def _pipe(self, a: str, b: str) -> str:
        one, two = self.boxes[a], self.boxes[b]
        x1, y1, x2, y2 = one.x + one.width / 2, one.y + one.height, two.x + two.width / 2, two.y
        middle = y2 - 9
        return (
            f'<path class="pipe" marker-end="url(#tip)" d="M{x1:.0f} {y1:.0f}V{middle:.0f}'
            f'H{x2:.0f}V{y2:.0f}"/>'
        )

    def _box(self, box: Box, feed: Feed, now: int) -> str:
        rows = "".join(self._row(box, i, row, feed, now) for i, row in enumerate(box.rows))
        return (
            f'<g><rect class="part" x="{box.x:.0f}" y="{box.y:.0f}" width="{box.width:.0f}" '
            f'height="{box.height:.0f}" rx="3"/>'
            f'<text class="title" x="{box.x + 8:.0f}" y="{box.y + 16:.0f}">'
            f"{escape(_fit(box.title, box.width))}"
            f"<title>{escape(box.path)}: {escape(box.title)}</title></text>{rows}</g>"
        )

    def _row(self, box: Box, i: int, row: Indicator, feed: Feed, now: int) -> str:
        state = self._state(row, feed, now)
        y = box.y + HEAD + ROW * i
        left = box.x + box.width - BAR - 92
        key = escape(row.key)
        normal = ""
        if row.normal is not None:
            a, b = (self._at(row, value) for value in row.normal)
            normal = (
                f'<rect class="normal" x="{left + a:.1f}" y="{y + 4:.0f}" '
                f'width="{max(0.0, b - a):.1f}" height="8"/>'
                + "".join(
                    f'<line class="end" x1="{left + x:.1f}" x2="{left + x:.1f}" y1="{y + 4:.0f}" '
                    f'y2="{y + 12:.0f}"/>'
                    for x in (a, b)
                )
            )
        target = self.facts.target(row.path)
        aim = ""
        if target is not None and not row.tag.endswith("Setpoint"):
            x = left + self._at(row, self._in_tag_unit(row, target))
            aim = (
                f'<line class="target" x1="{x:.1f}" x2="{x:.1f}" y1="{y + 2:.0f}" y2="{y + 14:.0f}'
                f'"/>'
            )
        return (
            f'<g class="{state["class"]}" data-live="{key}" role="button" tabindex="0" '
            f'aria-label="{escape(state["words"])}" '
            f'data-label="{escape(self.facts.meaning(row.path))}" '
            f'data-quantity="{escape(row.path)}"><title>{escape(self.facts.meaning(row.path))} '
            f"({escape(row.tag)}): drag it into the trends, or press Enter</title>"
            f'<rect class="touch" x="{box.x + 2:.0f}" y="{y - 1:.0f}" '
            f'width="{box.width - 4:.0f}" height="{ROW}" rx="2"/>'
            f'<text class="name" x="{box.x + 8:.0f}" y="{y + 12:.0f}">{escape(row.label)}</text>'
            f'<rect class="bar" x="{left:.1f}" y="{y + 4:.0f}" width="{BAR}" height="8"/>{normal}'
            f'<g transform="translate({left:.1f} 0)"><rect class="trail" data-live="{key}:trail" '
            f'x="{state["trail"][0]:.1f}" '
            f'y="{y + 4:.0f}" width="{state["trail"][1]:.1f}" height="8"/>'
            f'<g data-live="{key}:at" transform="translate({state["at"]:.1f} 0)"><rect '
            f'class="pointer" x="-1.5" y="{y + 1:.0f}" width="3" height="14"/></g></g>{aim}'
            f'<text class="num" data-live="{key}:num" x="{box.x + box.width - 42:.0f}" '
            f'y="{y + 12:.0f}">{escape(state["text"])}</text>'
            f'<text class="unit-text" x="{box.x + box.width - 39:.0f}" y="{y + 12:.0f}">'
            f"{escape(_unit(self._binding(row).unit))}</text>"
            f'<text class="unit-text" data-live="{key}:sign" x="{box.x + box.width - 4:.0f}" '
            f'y="{y + 12:.0f}" text-anchor="end">{state["sign"]}</text></g>'
        )

    def _binding(self, row: Indicator) -> Any:
        return self.facts.twin.channels[row.tag].binding

    def _in_tag_unit(self, row: Indicator, value: float) -> float:
        return float(convert(value, self.facts.unit(row.path), self._binding(row).unit))

    def _at(self, row: Indicator, value: float) -> float:
        share = (value - row.low) / (row.high - row.low)
        return BAR * min(1.0, max(0.0, share))

    def _state(self, row: Indicator, feed: Feed, now: int) -> dict[str, Any]:
        parts = self.facts.tag_parts(feed, row.tag, now)
        sample, classes = feed.newest(self.facts.address(row.tag)), ["indicator"]
        at, trail = 0.0, (0.0, 0.0)
        if sample is not None and isinstance(sample["value"], int | float):
            value = float(sample["value"])
            at = self._at(row, value)
            recent = [
                point[1]
                for point in since(feed.measured.get(self.facts.address(row.tag), ()), now - TRAIL)
            ]
            if recent:
                first, last = self._at(row, min(recent)), self._at(row, max(recent))
                trail = (first, last - first)
            if is_old(sample, self._binding(row), now) or sample["quality"]:
                classes.append("stale")
            if row.normal is not None and not row.normal[0] <= value <= row.normal[1]:
                classes.append("out")
        else:
            classes.append("stale")
        text = "—" if parts["text"] == shown.NONE else parts["text"]
        words = f"{row.label} {parts['text']} {parts['unit']}, {parts['title']}: show in the trends"
        return {
            "class": " ".join(classes),
            "words": words,
            "text": text,
            "sign": parts["sign"],
            "at": at,
            "trail": trail,
        }


def _part(path: str) -> str:
    return path.partition(".")[0]


def _title(part: Any) -> str:
    words: str = part.path.replace("_", " ")
    return words[:1].upper() + words[1:] if len(words) > 3 else words.upper()


def _fit(text: str, width: float) -> str:
    most = int(width / 7)
    return text if len(text) <= most else text[: most - 1] + "…"


def _unit(text: str) -> str:
    return "" if text == "1" else text


def _is_flag(facts: Facts, path: str) -> bool:
    entry = facts.twin.entries.get(path)
    return (
        entry is not None
        and entry.kind == "input"
        and entry.role == "disturbance"
        and entry.unit.text == "1"
    )


def _range(normal: tuple[float, float] | None, facts: Facts, binding: Any) -> tuple[float, float]:
    """Ends of a bar: the normal range and as much again, else what is plausible."""
    if normal is not None and all(map(math.isfinite, normal)):
        span = normal[1] - normal[0]
        return normal[0] - 0.3 * span, normal[1] + 0.3 * span
    target = facts.target(binding.quantity)
    if target:
        return 0.0, 2.0 * float(convert(target, facts.unit(binding.quantity), binding.unit))
    low, high = binding.plausible
    if math.isfinite(low) and math.isfinite(high):
        return max(low, 0.0) if low > -10 else low, high
    entry = facts.twin.entries.get(binding.quantity)
    value = (
        facts.declared(binding.quantity, entry.value)
        if entry is not None and math.isfinite(entry.value)
        else 1.0
    )
    return 0.0, 2.0 * abs(value) or 1.0
