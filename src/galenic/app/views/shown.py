"""How numbers, times, ages and qualities are written: the same on every page."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from html import escape
from typing import Any

from galenic.signals import Quality

NONE = "no data"
MANUAL = "hand"
SECOND = 1_000_000_000


def decimals(spread: float) -> int:
    """Digits after the point that an uncertainty of ``spread`` leaves meaningful.

    Examples
    --------
    >>> decimals(0.8), decimals(0.013), decimals(25.0)
    (1, 3, 0)
    """
    if not spread > 0 or not math.isfinite(spread):
        return 2
    first = math.floor(math.log10(spread))
    if spread / 10**first < 1.95:  # two digits of an uncertainty that begins with 1
        first -= 1
    return max(0, min(9, -first))


ROUNDING = 1e-8
"""A relative spread below it comes from arithmetic, not from doubt."""


def number(value: Any, spread: float | None = None) -> str:
    """A number with the digits that its uncertainty leaves, four significant ones without any.

    Examples
    --------
    >>> number(101.3274, 0.8), number(0.1), number(None), number(79812.4, 300), number(True)
    ('101.3', '0.1', 'no data', '79\u2009812', 'yes')
    """
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if spread is not None and spread > 0 and math.isfinite(spread):
        return f"{value:,.{decimals(spread)}f}".replace(",", "\u2009")
    if value == 0:
        return "0"
    if abs(value) >= 1e6 or abs(value) < 1e-4:
        return f"{value:.3e}"
    places = max(0, 3 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{places}f}".replace(",", "\u2009")
    return text.rstrip("0").rstrip(".") if "." in text else text


def with_spread(value: Any, spread: float | None) -> str:
    """Value and standard deviation, as 101.3 ± 0.8; a spread that is mere rounding is none.

    Examples
    --------
    >>> with_spread(101.3274, 0.8), with_spread(8.90103139, 2e-10)
    ('101.3 ± 0.8', '8.901')
    """
    if spread is None or value is None or not spread > ROUNDING * abs(value):
        return number(value)
    return f"{number(value, spread)} ± {spread:.{decimals(spread)}f}"


def age(seconds: float | None) -> str:
    """A length of time, short.

    Examples
    --------
    >>> age(4.2), age(130), age(7300), age(None), age(200_000)
    ('4 s', '2 min', '2.0 h', 'never', '2.3 d')
    """
    if seconds is None:
        return "never"
    if seconds < 100:
        return f"{max(0.0, seconds):.0f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} d"


def local(time: int) -> datetime:
    """A time stamp [ns] in the site's zone (that of the server)."""
    whole, part = divmod(time, SECOND)
    return (datetime.fromtimestamp(whole, UTC) + timedelta(microseconds=part // 1000)).astimezone()


def offset(time: int) -> str:
    """The site's offset from UTC at a time, as UTC+01:00."""
    text = local(time).strftime("%z")
    return f"UTC{text[:3]}:{text[3:5]}"


def clock(time: int) -> str:
    """Hours, minutes and seconds in the site's zone."""
    return local(time).strftime("%H:%M:%S")


def stamp(time: int) -> str:
    """Date and time in the site's zone with its offset."""
    return local(time).isoformat(" ", "seconds")


def chart_time(time: int) -> int:
    """Milliseconds for a chart's axis, on which the site's zone is written as if it were UTC."""
    shift = local(time).utcoffset()
    return time // 1_000_000 + (round(shift.total_seconds() * 1000) if shift else 0)


def quality_class(quality: int, old: bool) -> str:
    """CSS class of a value."""
    if quality == Quality.BAD:
        return "bad"
    return "stale" if old or quality == Quality.UNCERTAIN else ""


def mark(quality: int, old: bool, manual: bool = False, simulated: bool = False) -> tuple[str, str]:
    """The sign beside a value, and what it means."""
    if quality == Quality.BAD:
        return "✕", "bad quality"
    if old:
        return "◷", "stale: older than it may be"
    if quality == Quality.UNCERTAIN:
        return "?", "uncertain quality"
    if manual:
        return MANUAL, "entered by hand"
    return ("S", "from a simulated plant") if simulated else ("", "")


def value_html(
    text: str, unit: str, *, key: str = "", css: str = "", sign: str = "", title: str = ""
) -> str:
    """A value as every page shows it: number, unit, quality sign."""
    live = f' data-live="{escape(key)}"' if key else ""
    return (
        f'<span class="value {css}"{live} title="{escape(title)}">{value_inner(text, unit, sign)}'
        f"</span>"
    )


HAND = (
    '<svg class="hand" viewBox="0 0 16 16" role="img" aria-label="entered by hand">'
    '<path d="M5 8V3.2a1 1 0 0 1 2 0V7h.5V2a1 1 0 0 1 2 0v5h.5V3a1 1 0 0 1 2 0v5h.5V5a1 1 0 0 1 2 '
    "0v5"
    'a5 5 0 0 1-5 5H8.500A5 5 0 0 1 4.500 13L1.700 9.300a1 1 0 0 1 1.600-1.200L5 10z"/></svg>'
)


def value_inner(text: str, unit: str, sign: str = "") -> str:
    """What is inside of a value's element."""
    unit = "" if unit == "1" or text == NONE else unit
    return (
        f'<span class="num">{escape(text)}</span>'
        + (f'<span class="unit">{escape(unit)}</span>' if unit else "")
        + (f'<span class="mark">{HAND if sign == MANUAL else escape(sign)}</span>' if sign else "")
    )
