"""Names of the theme's colours for charts, and the manner of every chart.

The colours themselves are in ``static/theme.css``; charts are drawn as SVG, where CSS variables
work, so that a change of theme needs no new data.
"""

from __future__ import annotations

from typing import Any


def colour(name: str) -> str:
    """A colour of the theme, for an SVG attribute.

    Examples
    --------
    >>> colour("accent")
    'var(--accent)'
    """
    return f"var(--{name})"


TEXT: dict[str, Any] = {
    "color": colour("muted"),
    "fontFamily": "Roboto, system-ui, sans-serif",
    "fontSize": 11,
}
THIN = {"lineStyle": {"color": colour("line"), "width": 1}}
AXIS: dict[str, Any] = {
    "axisLine": {"lineStyle": {"color": colour("strong-line")}},
    "axisTick": {"lineStyle": {"color": colour("strong-line")}},
    "axisLabel": {**TEXT, "hideOverlap": True},
    "splitLine": {"show": True, **THIN},
    "nameTextStyle": TEXT,
}
TICKS: dict[str, Any] = {"axisLabel": {**AXIS["axisLabel"], ":formatter": "galenic.tick"}}
"""An axis that ends where its data end, with ends that read well."""
TOOLTIP: dict[str, Any] = {
    "trigger": "axis",
    "axisPointer": {
        "type": "line",
        "lineStyle": {"color": colour("strong-line")},
        "label": {"show": False},
    },
    "backgroundColor": colour("card"),
    "borderColor": colour("line"),
    "textStyle": {**TEXT, "color": colour("text"), "fontSize": 12},
    "transitionDuration": 0,
}
STYLES: dict[str, dict[str, Any]] = {
    "measured": {
        "type": "scatter",
        "symbolSize": 3,
        "itemStyle": {"color": colour("measured")},
    },
    "estimated": {
        "type": "line",
        "showSymbol": False,
        "lineStyle": {"color": colour("accent"), "width": 1.6},
        "itemStyle": {"color": colour("accent")},
    },
    "predicted": {
        "type": "line",
        "showSymbol": False,
        "lineStyle": {"color": colour("accent"), "width": 1.6, "type": "dashed"},
        "itemStyle": {"color": colour("accent")},
    },
    "setpoint": {
        "type": "line",
        "step": "end",
        "showSymbol": False,
        "lineStyle": {"color": colour("setpoint"), "width": 1},
        "itemStyle": {"color": colour("setpoint")},
    },
    "set": {
        "type": "line",
        "step": "end",
        "showSymbol": False,
        "lineStyle": {"color": colour("measured"), "width": 1},
        "itemStyle": {"color": colour("measured")},
    },
    "line": {
        "type": "line",
        "showSymbol": False,
        "lineStyle": {"color": colour("accent"), "width": 1.6},
        "itemStyle": {"color": colour("accent")},
    },
    "alternative": {
        "type": "line",
        "showSymbol": False,
        "lineStyle": {"color": colour("alternative"), "width": 1.6, "type": "dashed"},
        "itemStyle": {"color": colour("alternative")},
    },
}
SEVERAL = ("accent", "alternative", "high", "measured", "medium", "faint")
"""Colours of plain lines, when one plot has several."""

SIGNS = {"critical": "■", "high": "▲", "medium": "●", "low": "◆", "journal": "·"}
"""Shape of each severity, beside its colour and its word."""
