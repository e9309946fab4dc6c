"""Tables as every page draws them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from galenic.app.views import shown

MOST = 500
SHORT = 40  # letters


class Html(str):
    """Text that is HTML already."""


def grid(
    heads: Sequence[str], rows: Iterable[Sequence[Any]], numeric: Sequence[int] = (), css: str = ""
) -> str:
    """A table; cells are escaped unless they are `Html`.

    Examples
    --------
    >>> "&lt;b&gt;" in grid(["a"], [["<b>"]])
    True
    """
    head = "".join(f"<th{_n(i, numeric)}>{escape(name)}</th>" for i, name in enumerate(heads))
    body = "".join(
        "<tr>"
        + "".join(f"<td{_n(i, numeric)}>{cell(item)}</td>" for i, item in enumerate(row))
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll {css}"><table class="grid"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _n(i: int, numeric: Sequence[int]) -> str:
    return ' class="n"' if i in numeric else ""


def cell(item: Any) -> str:
    """The inside of a cell."""
    if isinstance(item, Html):
        return item
    if item is None:
        return ""
    if isinstance(item, float):
        return shown.number(item)
    return escape(shown.number(item) if isinstance(item, bool) else str(item))


def _short(item: Any) -> Any:
    """What names a row stays on one line where it is short, however narrow the page."""
    if not isinstance(item, str) or len(item) > SHORT:
        return item
    return Html(f'<span class="nowrap">{escape(item)}</span>')


def result_table(table: dict[str, Any]) -> str:
    """A table of a result, with units in its head; at most 500 rows are shown."""
    columns = table["columns"]
    heads = [c["name"] + (f" [{c['unit']}]" if c.get("unit") else "") for c in columns]
    rows = [
        (_short(first), *rest) for first, *rest in zip(*(c["data"] for c in columns), strict=True)
    ]
    numeric = [
        i
        for i, c in enumerate(columns)
        if c["data"]
        and all(
            isinstance(v, int | float | None) and not isinstance(v, bool) for v in c["data"][:50]
        )
    ]
    more = (
        f'<p class="muted small">{len(rows)} rows; the first {MOST} are shown, the download has '
        f"all.</p>"
    )
    return grid(heads, rows[:MOST], numeric, "tall") + (more if len(rows) > MOST else "")
