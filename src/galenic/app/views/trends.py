"""Trends: measured, estimated and predicted left and right of "now", with a strip of events.

One chart, one panel per quantity on a common time axis, a strip of proposals, writes, commands
and alarms below. After the first paint only series that changed are sent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from galenic.app.views import shown
from galenic.app.views.facts import Facts
from galenic.app.views.feed import Feed, since, thin
from galenic.app.views.theme import AXIS, STYLES, TEXT, TOOLTIP, colour

PANEL, TITLE, STRIP, BOTTOM = 92, 22, 76, 26
ROWS = ("alarm", "told", "proposed", "written")
SYMBOLS = {"alarm": "triangle", "told": "rect", "proposed": "emptyCircle", "written": "diamond"}
PAST = 900.0
MOST = 400


class Trend:
    """The options of one chart, and what of them has changed since they were last taken.

    Parameters
    ----------
    facts : Facts
    paths : sequence of str
        Quantities, one panel each.
    past : float [s]
        How far back.
    here : str
        The word at the line between what was and what is predicted.
    """

    def __init__(
        self, facts: Facts, paths: Sequence[str], past: float = PAST, here: str = "now"
    ) -> None:
        self.facts = facts
        self.paths = list(paths)
        self.past = past
        self.here = here
        self.limits = facts.limits()
        self._sent: dict[str, Any] = {}
        self._ranges: dict[int, tuple[float, float]] = {}

    @property
    def height(self) -> int:
        """Height of the chart in pixels."""
        return len(self.paths) * (PANEL + TITLE) + TITLE + STRIP + BOTTOM

    def options(self, feed: Feed, now: int) -> dict[str, Any]:
        """The whole chart, for the first paint."""
        panels = range(len(self.paths))
        grids = [
            {"left": 62, "right": 14, "top": self._top(i) + TITLE, "height": PANEL} for i in panels
        ]
        strip = len(self.paths) * (PANEL + TITLE)
        grids.append({"left": 62, "right": 14, "top": strip + TITLE, "height": STRIP})
        series = self._series(feed, now)
        self._sent = {one["id"]: one for one in series}
        times = self._times(now)
        last = len(self.paths)
        return {
            "useUTC": True,
            "animation": False,
            "grid": grids,
            "title": [*(self._title(i) for i in panels), _title("proposals and writes", strip)],
            "xAxis": [
                {
                    "id": f"x{i}",
                    "gridIndex": i,
                    "type": "time",
                    **AXIS,
                    **times,
                    "axisLabel": {**AXIS["axisLabel"], "show": i == last},
                    "splitLine": {"show": False},
                }
                for i in range(last + 1)
            ],
            "yAxis": [
                *(
                    {
                        "id": f"y{i}",
                        "gridIndex": i,
                        "type": "value",
                        **AXIS,
                        "splitNumber": 3,
                        "axisLabel": {
                            **AXIS["axisLabel"],
                            "showMinLabel": False,
                            "showMaxLabel": False,
                        },
                        **self._range(i, series),
                    }
                    for i in panels
                ),
                {
                    "id": "rows",
                    "gridIndex": last,
                    "type": "category",
                    "data": list(ROWS),
                    **AXIS,
                    "axisLabel": {**TEXT, "interval": 0},
                },
            ],
            "axisPointer": {"link": [{"xAxisIndex": "all"}], "label": {"show": False}},
            "tooltip": {**TOOLTIP, ":formatter": "galenic.tip"},
            "series": series,
        }

    def changes(self, feed: Feed, now: int) -> dict[str, Any] | None:
        """Options for what has changed; None when nothing has."""
        series = self._series(feed, now)
        fresh = [one for one in series if self._sent.get(one["id"]) != one]
        if not fresh:
            return None
        self._sent = {one["id"]: one for one in series}
        times = self._times(now)
        return {
            "series": fresh,
            "xAxis": [{"id": f"x{i}", **times} for i in range(len(self.paths) + 1)],
            "yAxis": [{"id": f"y{i}", **self._range(i, series)} for i in range(len(self.paths))],
        }

    def _top(self, i: int) -> int:
        return i * (PANEL + TITLE)

    def _title(self, i: int) -> dict[str, Any]:
        path = self.paths[i]
        unit = self.facts.unit(path)
        words = self.facts.meaning(path)
        return _title(words if unit == "1" else f"{words}  [{unit}]", self._top(i))

    def _times(self, now: int) -> dict[str, int]:
        ahead = round(self.facts.twin.definition.horizon * 1000)
        here = shown.chart_time(now)
        return {"min": here - round(self.past * 1000), "max": here + ahead}

    def _range(self, i: int, series: Sequence[dict[str, Any]]) -> dict[str, float]:
        """Ends of a value axis: what is shown, rounded; it moves only when it must."""
        low, high = math.inf, -math.inf
        for one in series:
            if one["id"].startswith(f"{i}:") and one.get("data"):
                values = sorted(_edge(one, series))
                rare = len(values) // 5
                if one["id"].endswith(":measured"):
                    rare = max(len(values) // 50, int(len(values) > 8))
                if one["type"] == "line" and "stack" not in one:
                    rare = 0
                low, high = min(low, values[rare]), max(high, values[-1 - rare])
        if not math.isfinite(low):
            return {"min": 0.0, "max": 1.0}
        span = max(high - low, 1e-3 * max(abs(low), abs(high)), 1e-9)
        kept = self._ranges.get(i)
        if kept is None or low < kept[0] or high > kept[1] or kept[1] - kept[0] > 4 * span:
            step = 10 ** math.floor(math.log10(span)) / 2
            kept = (
                math.floor((low - 0.15 * span) / step) * step,
                math.ceil((high + 0.15 * span) / step) * step,
            )
            self._ranges[i] = kept
        return {"min": round(kept[0], 9), "max": round(kept[1], 9)}

    def _series(self, feed: Feed, now: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for i, path in enumerate(self.paths):
            found += self._panel(i, path, feed, now)
        return [*found, *self._events(feed, now)]

    def _panel(self, i: int, path: str, feed: Feed, now: int) -> list[dict[str, Any]]:
        start, id = now - round(self.past * shown.SECOND), self.facts.id
        of = f"|{self.facts.meaning(path)}|{self.facts.unit(path)}"
        measured = thin(self.facts.measured(feed, path, start), MOST)
        is_set = not self.facts.observed_by(path)
        if is_set and measured:  # a setting holds until it is changed
            measured = [*measured, (now, measured[-1][1])]
        estimated = thin(since(feed.estimated.get((id, path), ()), start), MOST)
        made = [
            _one(i, "target", "setpoint", self._target(path, now), f"target{of}"),
            _one(
                i,
                "measured",
                "set" if is_set else "measured",
                [(shown.chart_time(t), v) for t, v in measured],
                f"{'as set' if is_set else 'measured'}{of}",
            ),
            *band(
                i,
                "estimate",
                [shown.chart_time(p[0]) for p in estimated],
                [p[2] for p in estimated],
                [p[3] for p in estimated],
                "accent-soft",
            ),
            _one(
                i,
                "estimated",
                "estimated",
                [(shown.chart_time(p[0]), p[1]) for p in estimated],
                f"estimated{of}",
            ),
            *fan(i, feed.forecasts.get(id), path, now, estimated[-1] if estimated else None, of),
        ]
        made[0] |= self._marks(i, path, now)
        return made

    def _target(self, path: str, now: int) -> list[tuple[int, float]]:
        value, times = self.facts.target(path), self._times(now)
        return [] if value is None else [(times["min"], value), (times["max"], value)]

    def _marks(self, i: int, path: str, now: int) -> dict[str, Any]:
        """The line of "now", and shading outside of the limits."""
        label = {"show": i == 0, "formatter": self.here, "position": "end", "distance": 2, **TEXT}
        line = {
            "silent": True,
            "symbol": "none",
            "animation": False,
            "label": label,
            "lineStyle": {"color": colour("strong-line"), "type": "solid", "width": 1},
            "data": [{"xAxis": shown.chart_time(now)}],
        }
        limits = self.limits.get(path)
        if limits is None:
            return {"markLine": line}
        areas = [[{"yAxis": -1e9}, {"yAxis": limits[0]}], [{"yAxis": limits[1]}, {"yAxis": 1e9}]]
        area = {"silent": True, "itemStyle": {"color": colour("outside")}, "data": areas}
        return {"markLine": line, "markArea": area}

    def _events(self, feed: Feed, now: int) -> list[dict[str, Any]]:
        start = now - round(self.past * shown.SECOND)
        events = [e for e in feed.events.get(self.facts.id, ()) if e["time"] >= start]
        last = len(self.paths)
        mark = {
            "silent": True,
            "symbol": "none",
            "label": {"show": False},
            "data": [{"xAxis": shown.chart_time(now)}],
            "lineStyle": {"color": colour("strong-line"), "type": "solid", "width": 1},
        }
        made = []
        for row in ROWS:
            points = [
                {
                    "value": [shown.chart_time(e["time"]), row, e["words"]],
                    "itemStyle": {"color": colour(e["tone"])},
                }
                for e in events
                if e["row"] == row
            ]
            made.append(
                {
                    "id": f"events:{row}",
                    "name": row,
                    "type": "scatter",
                    "xAxisIndex": last,
                    "yAxisIndex": last,
                    "symbol": SYMBOLS[row],
                    "symbolSize": 8,
                    "data": points[-MOST:],
                }
            )
        made[0]["markLine"] = mark
        return made


def _edge(one: dict[str, Any], series: Sequence[dict[str, Any]]) -> list[float]:
    """Values of a series; of the height of a band, those of its upper edge."""
    values = [point[1] for point in one["data"]]
    if not one["id"].endswith("~gap"):
        return values
    low = next(s for s in series if s["id"] == one["id"].removesuffix("~gap") + "-low")
    return [a + point[1] for a, point in zip(values, low["data"], strict=True)]


def _title(text: str, top: float) -> dict[str, Any]:
    return {
        "text": text,
        "left": 8,
        "top": top + 4,
        "textStyle": {**TEXT, "color": colour("text"), "fontSize": 12, "fontWeight": 500},
    }


def _one(i: int, key: str, style: str, data: Sequence[Any], name: str) -> dict[str, Any]:
    return {
        "id": f"{i}:{key}",
        "name": name,
        "xAxisIndex": i,
        "yAxisIndex": i,
        "silent": True,
        **STYLES[style],
        "data": [[point[0], _short(point[1])] for point in data],
    }


def _short(value: float) -> float:
    """A number with the digits that a chart can show."""
    return float(f"{value:.6g}")


def band(
    i: int,
    key: str,
    times: Sequence[int],
    lower: Sequence[float],
    upper: Sequence[float],
    fill: str,
) -> list[dict[str, Any]]:
    """Two stacked lines whose gap is filled; names with an underscore stay out of tooltips."""
    common = {
        "type": "line",
        "xAxisIndex": i,
        "yAxisIndex": i,
        "showSymbol": False,
        "silent": True,
        "stack": f"{i}:{key}",
        "stackStrategy": "all",
        "lineStyle": {"opacity": 0},
        "symbol": "none",
    }
    low = [[t, _short(v)] for t, v in zip(times, lower, strict=True)]
    gap = [[t, _short(b - a)] for t, a, b in zip(times, lower, upper, strict=True)]
    return [
        {**common, "id": f"{i}:{key}-low", "name": "_low", "data": low},
        {
            **common,
            "id": f"{i}:{key}~gap",
            "name": "_gap",
            "data": gap,
            "areaStyle": {"color": colour(fill)},
        },
    ]


def fan(
    i: int,
    forecast: dict[str, Any] | None,
    path: str,
    now: int,
    present: Sequence[Any] | None = None,
    of: str = "",
) -> list[dict[str, Any]]:
    """The 90 and 50 % bands and the mean of a forecast, from the present estimate on.

    ``present`` is (time, value, lower, upper) with the 90 % interval; ``of`` names the quantity
    and its unit for the hint of the chart.
    """
    row = forecast["series"].get(path) if forecast else None
    chosen = [k for k, t in enumerate(forecast["times"]) if t > now] if row and forecast else []
    times = [shown.chart_time(forecast["times"][k]) for k in chosen] if forecast else []
    joined = present is not None and bool(chosen)
    start = [shown.chart_time(now)] if joined else []
    made: list[dict[str, Any]] = []
    for low, high, share in (("0.05", "0.95", 1.0), ("0.25", "0.75", 0.41)):
        edges: list[list[float]] = [[], []]
        for edge, level, end in ((edges[0], low, 2), (edges[1], high, 3)):
            if row and chosen:
                centre = present[1] if present is not None else 0.0
                edge += [centre + share * (present[end] - centre)] if joined and present else []
                edge += [row["quantiles"][level][k] for k in chosen]
        made += band(
            i, f"fan{low}", [*start, *times] if row else [], edges[0], edges[1], "accent-faint"
        )
    first = [(start[0], present[1])] if joined and present is not None else []
    mean = (
        [*first, *((t, row["mean"][k]) for t, k in zip(times, chosen, strict=True))] if row else []
    )
    return [*made, _one(i, "fan-mean", "predicted", mean, f"predicted{of}")]
