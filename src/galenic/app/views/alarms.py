"""Alarms: what is wrong, how bad, since when, what now."""

from __future__ import annotations

from html import escape
from typing import Any

from nicegui import ui

from galenic.app.views import frame, shown
from galenic.app.views.frame import Page, button, html
from galenic.app.views.theme import SIGNS


def alarms_page(page: Page) -> None:
    """Standing alarms of all twins, the worst first, each with its acknowledgement."""
    html("<h1>Alarms</h1>")
    place = ui.element("div").classes("page").style("padding: 0")
    seen: dict[str, Any] = {"key": None}

    def show() -> None:
        rows = standing(page)
        key = [(id, a["key"], a["active"], a["acknowledged"], a["text"]) for id, a in rows]
        if key == seen["key"]:
            return
        seen["key"] = key
        place.clear()
        with place:
            if not rows:
                frame.empty(
                    "No alarms stand.", "What happened before is in the records, kind alert."
                )
            over = [row for row in rows if not row[1]["active"]]
            for title, part in (
                ("Standing", [r for r in rows if r[1]["active"]]),
                ("Over, not yet seen", over),
            ):
                if part:
                    _list(page, title, part)

    show()
    ui.timer(1.0, show)
    page.live(
        lambda: {
            f"since:{id}:{a['key']}": shown.age((page.room.now() - a["since"]) / shown.SECOND)
            for id, a in standing(page)
        }
    )


def standing(page: Page) -> list[tuple[str, dict[str, Any]]]:
    """Alarms with their twin: active before over, worst first, newest first."""
    feed = page.room.feed
    found = [(id, a) for id, m in (feed.twins.items() if feed else ()) for a in m["alarms"]]
    found = [(id, a) for id, a in found if page.who.may("viewer", id)]
    order = list(SIGNS)
    return sorted(
        found, key=lambda r: (not r[1]["active"], order.index(r[1]["severity"]), -r[1]["since"])
    )


def _list(page: Page, title: str, rows: list[tuple[str, dict[str, Any]]]) -> None:
    with ui.element("section").classes("card").style("gap: 0"):
        with ui.element("div").classes("row spread"):
            html(f'<h2>{title} <span class="muted small">{len(rows)}</span></h2>')
            if len(rows) > 1 and not rows[0][1]["active"]:
                button("Acknowledge all that are over", lambda: acknowledge_all(page, rows))
        for id, alarm in rows:
            with ui.element("article").classes("row spread alarm-row"):
                html(_row(page, id, alarm))
                if not alarm["acknowledged"]:
                    button("Acknowledge", lambda id=id, alarm=alarm: acknowledge(page, id, alarm))


def _row(page: Page, id: str, alarm: dict[str, Any]) -> str:
    severity, over = alarm["severity"], "" if alarm["active"] else " over"
    since = shown.age((page.room.now() - alarm["since"]) / shown.SECOND)
    subject = f" · {escape(alarm['subject'])}" if alarm["subject"] not in ("", id) else ""
    seen = f" · seen by {escape(alarm['who'])}" if alarm["acknowledged"] else ""
    return (
        f'<span class="alarm {severity}{over}"><span class="sign">{SIGNS[severity]}</span><span>'
        f'<span class="word">{severity}{" (over)" if over else ""}</span> '
        f"{escape(frame.brief(alarm['text'], 260))}</span></span>"
        f'<div class="muted small"><a href="/twin/{escape(id)}">{escape(id)}</a>{subject} · since '
        f'<span data-live="since:{escape(id)}:{escape(alarm["key"])}">{since}</span> '
        f"({shown.clock(alarm['since'])}){seen}</div>"
    )


def acknowledge_all(page: Page, rows: list[tuple[str, dict[str, Any]]]) -> None:
    """Say that all of these were seen."""

    async def act(reason: str) -> bool:
        for id, alarm in rows:
            given = {"twin": id, "key": alarm["key"], "reason": reason}
            if await page.call("twins.acknowledge", given) is None:
                return False
        return True

    frame.confirm(
        f"Acknowledge {len(rows)} alarms",
        "Acknowledge all",
        act,
        reason="seen",
        explain="All of them are over.",
    )


def acknowledge(page: Page, id: str, alarm: dict[str, Any]) -> None:
    """Say that it was seen, and what is done about it."""

    async def act(reason: str) -> bool:
        job = await page.call(
            "twins.acknowledge", {"twin": id, "key": alarm["key"], "reason": reason}
        )
        return job is not None

    frame.confirm(
        "Acknowledge an alarm",
        "Acknowledge",
        act,
        explain=alarm["text"],
        reason="seen",
    )
